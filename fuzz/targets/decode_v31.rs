//! The codec of MQTT 3.1: see `codec`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    myriad_fuzz::codec::check(myriad::packet::ProtocolVersion::V31, data);
});
