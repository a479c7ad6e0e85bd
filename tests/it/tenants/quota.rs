//! Quotas of a user, over all its clients.

use std::time::{Duration, Instant};

use super::{as_user, connect, tenants};
use crate::client::{Client, TIMEOUT};
use crate::numbers::wait_for;
use crate::wire::{Connect, Packet, Publish, Version};

/// Connects once there is room: a place becomes free a moment after its connection has closed.
pub(super) fn connect_when_free(broker: &crate::broker::Broker, connect: &Connect) -> Client {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let mut client = broker.open(connect.version);
        client.send(connect.clone());
        match client.recv() {
            Packet::Connack(connack) if connack.reason == 0 => return client,
            _ => assert!(Instant::now() < deadline, "no place becomes free"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn connections_beyond_the_quota_are_refused_with_0x97() {
    for shards in [1, 4] {
        let broker = tenants(shards, &["quota.connections_max=3"]);
        let mut clients: Vec<_> = (0..3).map(|n| connect(&broker, "a", &format!("c-{n}"))).collect();
        broker.expect_refused(as_user("a", Connect::v5("late")), 0x97);
        broker.expect_refused(as_user("a", Connect::v311("late")), 3);
        connect(&broker, "b", "c-0").ping();
        broker.connect(Connect::v5("anonymous")).ping();
        clients.pop().unwrap().disconnect();
        clients.push(connect_when_free(&broker, &as_user("a", Connect::v5("next"))));
        clients.iter_mut().for_each(Client::ping);
        wait_for(&broker, "metrics/quota/refused", |refused| refused == 2);
    }
}

#[test]
fn a_takeover_at_the_quota_takes_the_place_of_the_old_connection() {
    for shards in [1, 4] {
        let broker = tenants(shards, &["quota.connections_max=2"]);
        let mut other = connect(&broker, "a", "other");
        let mut old = connect(&broker, "a", "c");
        for _ in 0..5 {
            let new = connect(&broker, "a", "c");
            old.expect_disconnect(0x8E);
            old = new;
            broker.expect_refused(as_user("a", Connect::v5("late")), 0x97);
        }
        // Not the session of another user, though its Client Identifier is the same.
        let _b = [connect(&broker, "b", "b"), connect(&broker, "b", "d")];
        broker.expect_refused(as_user("b", Connect::v5("c")), 0x97);
        old.ping();
        other.ping();
    }
}

#[test]
fn sessions_beyond_the_quota_are_refused_and_resumed_ones_are_not_new() {
    for shards in [1, 4] {
        let broker = tenants(shards, &["quota.sessions_max=2"]);
        let persistent = |id: &str| as_user("a", Connect::v5(id).persistent());
        for round in 0..3 {
            for id in ["one", "two"] {
                connect_when_free(&broker, &persistent(id)).disconnect();
            }
            broker.expect_refused(persistent(&format!("three-{round}")), 0x97);
        }
        // Clean Start, and away with it: there is room for another one.
        broker.connect(as_user("a", Connect::v5("one"))).disconnect();
        connect_when_free(&broker, &persistent("three")).disconnect();
        broker.expect_refused(persistent("one"), 0x97);
    }
}

#[test]
fn subscriptions_beyond_the_quota_are_0x97_in_suback() {
    for shards in [1, 4] {
        let broker = tenants(shards, &["quota.subscriptions_max=3"]);
        let mut first = connect(&broker, "a", "first");
        let mut second = broker.connect(as_user("a", Connect::new(Version::V311, "second")));
        first.subscribe_all(&["x", "$share/g/y"], 1);
        second.subscribe("z", 1);
        assert_eq!(first.subscribe_reason("w", 1), 0x97);
        assert_eq!(second.subscribe_reason("w", 1), 0x80);
        assert_eq!(first.subscribe_reason("x", 2), 2, "not a new one");
        first.unsubscribe(&["$share/g/y"]);
        assert_eq!(second.subscribe_reason("w", 1), 1);
        assert_eq!(first.subscribe_reason("v", 1), 0x97);
        second.disconnect();
        first.subscribe_all(&["u", "v"], 1);
        connect(&broker, "b", "b").subscribe_all(&["1", "2", "3"], 0);
    }
}

#[test]
fn retained_messages_beyond_the_quota_are_delivered_and_not_kept() {
    for shards in [1, 4] {
        let broker = tenants(shards, &["quota.retained_max=2"]);
        let mut a = connect(&broker, "a", "a");
        let mut reader = connect(&broker, "a", "reader");
        reader.subscribe("#", 1);
        for topic in ["1", "2", "3"] {
            a.publish(Publish::new(topic, topic).qos(1).retain());
            reader.expect_message(topic, topic);
        }
        let kept = |client: &str| {
            let mut late = connect(&broker, "a", client);
            late.subscribe("#", 1);
            let mut topics = Vec::new();
            while let Some(Packet::Publish(publish)) = late.recv_within(Duration::from_millis(300)) {
                late.acknowledge(&publish);
                topics.push(publish.topic);
            }
            topics.sort();
            topics
        };
        assert_eq!(kept("late-1"), ["1", "2"]);
        // Replacing costs nothing, deleting makes room.
        a.publish(Publish::new("2", "new").qos(1).retain());
        a.publish(Publish::new("1", "").qos(1).retain());
        a.publish(Publish::new("3", "3").qos(1).retain());
        assert_eq!(kept("late-2"), ["2", "3"]);
        let mut b = connect(&broker, "b", "b");
        b.publish(Publish::new("1", "1").qos(1).retain());
        assert_eq!(kept("late-3"), ["2", "3"]);
    }
}
