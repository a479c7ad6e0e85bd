//! The codec of MQTT 5.0: see `codec`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    myriad_fuzz::codec::check(myriad::packet::ProtocolVersion::V5, data);
});
