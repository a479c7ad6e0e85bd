//! What operators see beyond the counters: the `$SYS` tree, presence, alarms, traces, slow subscribers, topic metrics, latency, logs.

mod alarms;
mod latency;
mod log;
mod presence;
mod slow;
mod sys_tree;
mod topic_metrics;
mod trace;

use crate::broker::{Broker, Options, peer_is_mosquitto};

/// A broker whose control socket answers; `$SYS` comes every second. `None`: the peer in use has nothing of this.
fn observed(shards: u16, settings: &[&str]) -> Option<Broker> {
    if peer_is_mosquitto() {
        println!("skipped: this is ours");
        return None;
    }
    let options = Options::shards(shards).set("sys.interval_s=1").set("node.name=n1");
    Broker::start(&settings.iter().fold(options, |options, setting| options.set(setting)))
}
