//! emqttd's modules: automatic subscriptions, rewritten topics, delayed messages, `$queue/`, bridges, and clients
//! that are sent away.

mod auto_subscriptions;
mod bridge;
mod delayed;
mod drain;
mod queue;
mod rewrite;

use crate::broker::{Broker, Options, peer_is_mosquitto};

/// A broker with that configuration file. `None`: the peer in use reads others.
fn configured(shards: u16, file: &str) -> Option<Broker> {
    Broker::start(&Options::shards(shards).file(file))
}

/// A broker that can be asked over its control socket. `None`: the peer in use can't.
fn plain(shards: u16) -> Option<Broker> {
    if peer_is_mosquitto() {
        println!("skipped: Mosquitto has no such module");
        return None;
    }
    Broker::start(&Options::shards(shards))
}
