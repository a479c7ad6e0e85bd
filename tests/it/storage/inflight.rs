//! Messages that were sent and not acknowledged: they come again under their Packet Identifiers, in their order.

use super::{Durable, settle};
use crate::wire::{Ack, AckKind, Connect, Packet, Property, Publish, Version};

/// Publishes these payloads, QoS 1 and 2 in turn.
fn publish(broker: &Durable, numbers: std::ops::Range<u32>) {
    let mut publisher = broker.connect(Connect::v5("p"));
    for number in numbers {
        publisher.publish(Publish::new("t", number.to_string()).qos(1 + (number % 2) as u8));
    }
}

fn come_again(version: Version) {
    let Some(mut broker) = Durable::start(&[]) else { return };
    let connect = || Connect::new(version, "c").persistent();
    let mut client = broker.connect(connect());
    client.subscribe("t", 2);
    publish(&broker, 0..6);
    let mut sent: Vec<Publish> = (0..6).map(|_| client.recv_publish()).collect();
    assert!(sent.iter().all(|publish| !publish.dup));
    client.send(Ack::new(AckKind::Puback, sent.remove(2).id));
    settle(&mut client);
    for _ in 0..3 {
        broker.crash();
        let mut client = broker.resume(connect());
        for first in &sent {
            let again = client.recv_publish();
            assert_eq!((again.id, again.qos, again.text()), (first.id, first.qos, first.text()));
            assert!(again.dup, "[MQTT-3.3.1-1] {again:?}");
        }
        client.expect_nothing();
    }
    let mut client = broker.resume(connect());
    client.expect_payloads(["0", "1", "3", "4", "5"]);
    settle(&mut client);
    broker.crash();
    broker.resume(connect()).expect_nothing();
}

#[test]
fn mqtt_4_4_0_1_unacknowledged_messages_come_again_with_their_identifiers() {
    come_again(Version::V311);
}

#[test]
fn mqtt5_4_4_0_1_unacknowledged_messages_come_again_with_their_identifiers() {
    come_again(Version::V50);
}

#[test]
fn mqtt5_4_3_3_identifiers_in_use_are_not_given_to_new_messages() {
    let Some(mut broker) = Durable::start(&[]) else { return };
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.subscribe("t", 2);
    publish(&broker, 0..10);
    let mut used: Vec<u16> = (0..10).map(|_| client.recv_publish().id).collect();
    settle(&mut client);
    broker.crash();
    let mut client = broker.resume(Connect::v5("c").persistent());
    (0..10).for_each(|_| drop(client.recv_publish()));
    publish(&broker, 10..20);
    for number in 10..20 {
        let publish = client.recv_publish();
        assert_eq!((publish.text(), publish.dup), (number.to_string(), false));
        assert!(!used.contains(&publish.id), "{publish:?} takes an identifier of {used:?}");
        used.push(publish.id);
    }
}

#[test]
fn mqtt5_3_3_4_9_the_window_and_what_waits_behind_it_keep_their_order() {
    let Some(mut broker) = Durable::start(&[]) else { return };
    let connect = || Connect::v5("c").persistent().with(Property::ReceiveMax(4));
    let mut client = broker.connect(connect());
    client.subscribe("t", 1);
    publish(&broker, 0..40);
    let sent: Vec<u16> = (0..4).map(|_| client.recv_publish().id).collect();
    client.expect_nothing();
    client.send(Ack::new(AckKind::Puback, sent[0]));
    let fifth = client.recv_publish();
    assert_eq!(fifth.text(), "4");
    settle(&mut client);
    broker.crash();
    let mut client = broker.resume(connect());
    for (number, id) in [(1, sent[1]), (2, sent[2]), (3, sent[3]), (4, fifth.id)] {
        let publish = client.recv_message();
        assert_eq!((publish.id, publish.text(), publish.dup), (id, number.to_string(), true));
    }
    for number in 5..40 {
        let publish = client.recv_message();
        assert_eq!((publish.text(), publish.dup), (number.to_string(), false));
    }
    client.expect_nothing();
}

#[test]
fn mqtt5_4_4_0_1_a_message_with_all_properties_comes_again_unaltered() {
    let Some(mut broker) = Durable::start(&[]) else { return };
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.subscribe("t", 1);
    let publish = Publish::new("t", vec![0, 255, 1])
        .qos(1)
        .with(Property::ContentType("a/b".into()))
        .with(Property::ResponseTopic("answers".into()))
        .with(Property::CorrelationData(vec![0, 1, 2]))
        .with(Property::user("b", "1"))
        .with(Property::user("a", "größe"))
        .with(Property::user("b", "1"));
    broker.connect(Connect::v5("p")).publish(publish);
    let first = client.recv_publish();
    assert_eq!(first.properties.len(), 6);
    settle(&mut client);
    for _ in 0..2 {
        broker.crash();
        let mut client = broker.resume(Connect::v5("c").persistent());
        let again = client.recv_publish();
        assert_eq!((again.payload, again.properties), (first.payload.clone(), first.properties.clone()));
    }
}

#[test]
fn mqtt5_4_3_2_a_megabyte_comes_again() {
    let Some(mut broker) = Durable::start(&["storage.segment_bytes=65536"]) else { return };
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.subscribe("t", 1);
    client.disconnect();
    let payload: Vec<u8> = (0..1_000_000_u32).map(|number| ((number * 31) >> 3) as u8).collect();
    let mut publisher = broker.connect(Connect::v5("p"));
    (0..4).for_each(|_| publisher.publish(Publish::new("t", payload.clone()).qos(1)));
    broker.crash();
    broker.crash();
    let mut client = broker.resume(Connect::v5("c").persistent());
    for _ in 0..4 {
        match client.recv() {
            Packet::Publish(publish) => assert!(publish.payload == payload, "altered"),
            other => panic!("{other:?}"),
        }
    }
}
