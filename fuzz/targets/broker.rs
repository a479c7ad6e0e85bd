//! Sequences of packets into a broker: see `broker`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    myriad_fuzz::broker::check(data);
});
