//! Wills over a crash: published after their delay or after the grace for coming back, once; not for those who came back.

use std::time::{Duration, Instant};

use super::{Durable, settle};
use crate::client::Client;
use crate::wire::{Connect, Property, Publish, Will};

/// A broker with a grace of a second, and a client that waits for Wills.
fn start() -> Option<(Durable, Client)> {
    let broker = Durable::start(&["storage.will_grace_s=1"])?;
    let mut watcher = broker.connect(Connect::v5("watcher").persistent());
    watcher.subscribe("will/#", 2);
    Some((broker, watcher))
}

fn watch(broker: &Durable) -> Client {
    broker.resume(Connect::v5("watcher").persistent())
}

/// A client with a persistent session and a Will of this delay.
fn with_will(id: &str, delay_s: u32) -> Connect {
    let will = Will::new(&format!("will/{id}"), "gone").qos(2).with(Property::WillDelay(delay_s));
    Connect::v5(id).persistent().will(will)
}

#[test]
fn mqtt5_3_1_2_5_a_will_comes_after_the_grace_unless_its_client_came_back() {
    let Some((mut broker, _)) = start() else { return };
    let old = |id: &str| Connect::v311(id).persistent().will(Will::new(&format!("will/{id}"), "gone").qos(2));
    let _clients = [with_will("away", 0), with_will("back", 0), old("old-away"), old("old-back")]
        .map(|connect| broker.connect(connect));
    let start = Instant::now();
    broker.crash();
    let _back = [broker.resume(with_will("back", 0)), broker.resume(old("old-back"))];
    let mut watcher = watch(&broker);
    let mut topics = [watcher.recv_message().topic, watcher.recv_message().topic];
    topics.sort();
    assert_eq!(topics, ["will/away", "will/old-away"]);
    assert!(start.elapsed() >= Duration::from_millis(950), "{:?}", start.elapsed());
    watcher.expect_nothing();
    // Once: not again after the next crash, and those who are there still have theirs.
    settle(&mut watcher);
    broker.crash();
    let mut watcher = watch(&broker);
    let mut topics = [watcher.recv_message().topic, watcher.recv_message().topic];
    topics.sort();
    assert_eq!(topics, ["will/back", "will/old-back"]);
    watcher.expect_nothing();
}

#[test]
fn mqtt5_3_1_3_2_a_will_delay_counts_over_a_crash() {
    let Some((mut broker, _)) = start() else { return };
    let connected = broker.connect(with_will("connected", 3));
    let cut = broker.connect(with_will("cut", 4));
    let start = Instant::now();
    cut.abort();
    // No answer says that its end is on disk; another SUBACK of each shard would, and a moment does as well.
    std::thread::sleep(Duration::from_millis(700));
    broker.crash();
    drop(connected);
    let mut watcher = watch(&broker);
    // In this order, unless the machine took its time for the crash: the first one's delay begins with that.
    let mut due = vec![("will/connected", 2_900), ("will/cut", 3_900)];
    while !due.is_empty() {
        let topic = watcher.recv_message().topic.clone();
        let at = due.iter().position(|(of, _)| *of == topic).unwrap_or_else(|| panic!("{topic} again"));
        let (_, earliest_ms) = due.remove(at);
        let elapsed = start.elapsed();
        assert!(elapsed >= Duration::from_millis(earliest_ms), "{topic} after {elapsed:?}");
    }
    watcher.expect_nothing();
}

#[test]
fn mqtt5_3_1_2_8_no_will_of_those_who_said_farewell() {
    let Some((mut broker, _)) = start() else { return };
    broker.connect(with_will("gentle", 0)).disconnect();
    // Without a Will from now on.
    drop(broker.connect(with_will("changed", 0)));
    let mut client = broker.connect(Connect::v5("changed").persistent());
    settle(&mut client);
    broker.crash();
    broker.stop_and_start();
    let mut watcher = watch(&broker);
    std::thread::sleep(Duration::from_millis(1_800));
    let waiting: Vec<_> = std::iter::from_fn(|| watcher.recv_within(Duration::from_millis(100))).collect();
    // The first connection of "changed" was cut, so its Will may have been published before it was replaced.
    assert!(waiting.iter().all(|packet| format!("{packet:?}").contains("will/changed")), "{waiting:?}");
    assert!(waiting.len() <= 1, "{waiting:?}");
}

#[test]
fn mqtt5_3_1_2_17_a_will_after_a_crash_is_retained() {
    let Some((mut broker, _)) = start() else { return };
    // At QoS 2 it is delivered when it is on disk.
    let will = Will::new("will/kept", "gone").qos(2).retain().with(Property::user("a", "b"));
    let _client = broker.connect(Connect::v5("c").persistent().will(will));
    broker.crash();
    watch(&broker).expect_message("will/kept", "gone");
    broker.crash();
    let mut client = broker.connect(Connect::v5("late"));
    client.subscribe("will/#", 1);
    let publish = client.expect_message("will/kept", "gone");
    assert!(publish.retain && publish.properties == [Property::user("a", "b")], "{publish:?}");
}

#[test]
fn wills_of_many_come_at_the_rate_that_is_set() {
    let Some(mut broker) = Durable::start(&["storage.will_grace_s=1", "storage.will_rate=20"]) else {
        return;
    };
    let mut watcher = broker.connect(Connect::v5("watcher").persistent());
    watcher.subscribe("will/#", 1);
    let clients: Vec<_> = (0..100).map(|n| broker.connect(with_will(&format!("c-{n}"), 0))).collect();
    // One shard, so that the rate is that of all.
    broker.broker.kill();
    let options = broker.options.with_shards(1);
    broker.broker.restart(&options);
    drop(clients);
    let mut watcher = watch(&broker);
    let first = watcher.recv_message();
    let start = Instant::now();
    (1..100).for_each(|_| drop(watcher.recv_message()));
    let elapsed = start.elapsed();
    // The first second's may come at once.
    assert!(elapsed >= Duration::from_millis(3_000), "{elapsed:?} after {first:?}");
    watcher.expect_nothing();
}

#[test]
fn mqtt5_3_1_2_5_a_will_that_was_published_before_the_crash_is_not_published_again() {
    let Some((mut broker, mut watcher)) = start() else { return };
    drop(broker.connect(with_will("c", 0)));
    watcher.expect_message("will/c", "gone");
    settle(&mut watcher);
    broker.connect(Connect::v5("p")).publish(Publish::new("will/marker", "x").qos(1));
    broker.crash();
    let mut watcher = watch(&broker);
    watcher.expect_message("will/marker", "x");
    std::thread::sleep(Duration::from_millis(1_500));
    watcher.expect_nothing();
}

/// The former Will is on its way over other shards while the new one is written already: its end must not be that of the new one.
#[test]
fn mqtt5_3_1_4_3_the_will_of_a_takeover_outlasts_that_of_the_one_before() {
    let Some((mut broker, _)) = start() else { return };
    broker.stop_and_start();
    let mut clients = Vec::new();
    for n in 0..8 {
        let id = format!("taken-{n}");
        clients.push(broker.connect(with_will(&id, 0)));
        let second = Will::new(&format!("will/second-{n}"), "gone").qos(2);
        clients.push(broker.connect(Connect::v5(&id).persistent().will(second)));
    }
    settle(&mut watch(&broker));
    broker.crash();
    let mut watcher = watch(&broker);
    let mut topics: Vec<_> = (0..16).map(|_| watcher.recv_message().topic).collect();
    topics.sort();
    let mut expected: Vec<_> =
        (0..8).flat_map(|n| [format!("will/second-{n}"), format!("will/taken-{n}")]).collect();
    expected.sort();
    assert_eq!(topics, expected);
}

#[test]
fn mqtt5_3_1_2_5_sigterm_puts_wills_off_until_the_next_start() {
    let Some((mut broker, _)) = start() else { return };
    let _clients = [broker.connect(with_will("away", 0)), broker.connect(with_will("back", 0))];
    broker.stop_and_start();
    let _back = broker.resume(with_will("back", 0));
    let mut watcher = watch(&broker);
    watcher.expect_message("will/away", "gone");
    watcher.expect_nothing();
}
