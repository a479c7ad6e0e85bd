//! Topics and their matching: see `topics`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    myriad_fuzz::topics::check(data);
});
