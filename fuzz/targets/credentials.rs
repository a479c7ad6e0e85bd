//! Files and tokens of authentication: see `credentials`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    myriad_fuzz::credentials::check(data);
});
