//! The journal: entries, frames, segments, what they come to.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    myriad_fuzz::journal::check(data);
});
