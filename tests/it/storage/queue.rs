//! Messages that wait for a client that is away.

use super::Durable;
use crate::wire::{Connect, Property, Publish, Version};

fn publish(broker: &Durable, numbers: std::ops::Range<u32>) {
    let mut publisher = broker.connect(Connect::v5("p"));
    for number in numbers {
        publisher.publish(Publish::new("t", number.to_string()).qos(1 + (number % 2) as u8));
    }
}

#[test]
fn mqtt5_4_6_0_6_what_waits_keeps_its_order() {
    let Some(mut broker) = Durable::start(&[]) else { return };
    for version in [Version::V311, Version::V50] {
        let mut client = broker.connect(Connect::new(version, &format!("{version:?}")).persistent());
        client.subscribe("t", 2);
        client.disconnect();
    }
    publish(&broker, 0..30);
    broker.crash();
    publish(&broker, 30..60);
    broker.crash();
    broker.stop_and_start();
    publish(&broker, 60..70);
    for version in [Version::V311, Version::V50] {
        let mut client = broker.resume(Connect::new(version, &format!("{version:?}")).persistent());
        client.expect_payloads((0..70).map(|number: u32| number.to_string()));
        client.expect_nothing();
    }
}

#[test]
fn mqtt5_3_3_1_2_the_lower_qos_counts_after_a_crash() {
    let Some(mut broker) = Durable::start(&[]) else { return };
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.subscribe_all(&["one/#", "both/#"], 1);
    client.subscribe("two/#", 2);
    client.disconnect();
    let mut publisher = broker.connect(Connect::v5("p"));
    for topic in ["one/x", "both/x", "two/x"] {
        publisher.publish(Publish::new(topic, "x").qos(2));
    }
    broker.crash();
    let mut client = broker.resume(Connect::v5("c").persistent());
    let got: Vec<_> = (0..3).map(|_| client.recv_message()).map(|p| (p.topic, p.qos)).collect();
    assert_eq!(got, [("one/x".into(), 1), ("both/x".into(), 1), ("two/x".into(), 2)]);
}

#[test]
fn what_overflowed_before_a_crash_does_not_come_back() {
    let Some(mut broker) = Durable::start(&["session.queue_len_max=10"]) else { return };
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.subscribe("t", 1);
    client.disconnect();
    publish(&broker, 0..25);
    broker.crash();
    publish(&broker, 25..27);
    let mut client = broker.resume(Connect::v5("c").persistent());
    client.expect_payloads((17..27).map(|number: u32| number.to_string()));
    client.expect_nothing();
}

#[test]
fn mqtt5_3_3_4_3_subscription_identifiers_of_what_waits_come_back() {
    let Some(mut broker) = Durable::start(&[]) else { return };
    let mut client = broker.connect(Connect::v5("c").persistent());
    for (id, filter) in [(1, "t"), (2, "+"), (300, "#")] {
        let subscribe = crate::wire::Subscribe::new(id, filter, 1);
        assert_eq!(client.subscribe_with(subscribe.with(Property::SubscriptionId(id.into()))), [1]);
    }
    client.disconnect();
    broker.connect(Connect::v5("p")).publish(Publish::new("t", "x").qos(1));
    broker.crash();
    let mut client = broker.resume(Connect::v5("c").persistent());
    let mut ids = client.recv_message().subscription_ids();
    // A broker may send one copy for each subscription instead.
    while ids.len() < 3 {
        ids.extend(client.recv_message().subscription_ids());
    }
    ids.sort_unstable();
    assert_eq!(ids, [1, 2, 300]);
}

#[test]
fn many_receivers_of_one_payload_get_it_and_the_disk_has_it_once() {
    let Some(mut broker) = Durable::start(&[]) else { return };
    const RECEIVERS: usize = 40;
    const BYTES: usize = 200_000;
    for number in 0..RECEIVERS {
        let mut client = broker.connect(Connect::v5(&format!("c-{number}")).persistent());
        client.subscribe("t", 1);
        client.disconnect();
    }
    broker.connect(Connect::v5("p")).publish(Publish::new("t", vec![b'x'; BYTES]).qos(1));
    if !super::has_no_journal() {
        let bytes = super::modes::sizes(&broker.journal()).values().sum::<u64>();
        // Each shard may be the first to name it, but they don't wait for each other: once a shard at most.
        assert!(bytes > BYTES as u64 && bytes < 3 * BYTES as u64, "{bytes} bytes of journal");
    }
    broker.crash();
    for number in 0..RECEIVERS {
        let mut client = broker.resume(Connect::v5(&format!("c-{number}")).persistent());
        assert_eq!(client.recv_message().payload.len(), BYTES);
        client.ping();
    }
}
