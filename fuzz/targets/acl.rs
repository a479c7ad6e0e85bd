//! The ACL file in emqttd's syntax.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    myriad_fuzz::acl::check(data);
});
