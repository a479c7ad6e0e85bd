//! The configuration file: any text is refused in one line, or what it means prints to a text that means the same.
#![no_main]

use myriad::config::Config;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Config::from_toml(text, "myriad.toml") {
        Ok(config) => {
            let printed = config.to_toml();
            assert_eq!(Config::from_toml(&printed, "printed").as_ref(), Ok(&config), "{printed}");
        }
        Err(error) => assert_eq!(error.to_string().lines().count(), 1, "{error}"),
    }
});
