//! The HTTP API and what is served beside it, over the control socket and over TCP.

mod bans;
mod clients;
mod health;
pub mod http;
mod list;
mod node;
mod retained;
mod sessions;
mod subscriptions;
mod topics;

use crate::broker::{Broker, Options, peer_is_mosquitto};

/// A broker with a port for HTTP. `None`: the peer in use has no HTTP.
fn served(shards: u16, settings: &[&str]) -> Option<Broker> {
    if peer_is_mosquitto() {
        println!("skipped: Mosquitto has no HTTP");
        return None;
    }
    let options = Options::shards(shards).set("admin.listen=127.0.0.1:0");
    Broker::start(&settings.iter().fold(options, |options, setting| options.set(setting)))
}
