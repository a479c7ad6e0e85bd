//! What keeps one client, one address or everybody together from using the broker up.

mod arrival;
mod audit;
mod bans;
mod memory;
mod rates;

use std::time::{Duration, Instant};

use crate::broker::{Broker, Options};
use crate::client::TIMEOUT;

/// A broker with these settings, `sys.interval_s=1` among them.
fn limited(shards: u16, settings: &[&str]) -> Broker {
    let options = Options::shards(shards).set("sys.interval_s=1");
    Broker::start(&settings.iter().fold(options, |options, setting| options.set(setting))).unwrap()
}

/// Waits until `is_so`, or for the longest time allowed.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
