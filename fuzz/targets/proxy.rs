//! PROXY headers of both versions: see `layers`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    myriad_fuzz::layers::check_proxy(data);
});
