//! What keeps one client, one address or everybody together from using the broker up.

mod arrival;
mod audit;
mod bans;
mod memory;
mod rates;

use crate::broker::wait_until;
use crate::broker::{Broker, Options};

/// A broker with these settings, `sys.interval_s=1` among them.
fn limited(shards: u16, settings: &[&str]) -> Broker {
    let options = Options::shards(shards).set("sys.interval_s=1");
    Broker::start(&settings.iter().fold(options, |options, setting| options.set(setting))).unwrap()
}
