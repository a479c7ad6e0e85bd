//! WebSocket upgrades and frames: see `layers`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    myriad_fuzz::layers::check_websocket(data);
});
