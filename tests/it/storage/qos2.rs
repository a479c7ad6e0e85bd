//! The states of QoS 2, both ways, over a crash (section 4.3.3).

use super::{Durable, settle};
use crate::wire::{Ack, AckKind, Connect, Packet, Publish, Version};

fn subscriber(broker: &Durable) -> crate::client::Client {
    let mut subscriber = broker.connect(Connect::v5("s").persistent());
    subscriber.subscribe("t/#", 2);
    subscriber
}

#[test]
fn mqtt5_4_3_3_10_a_publish_repeated_after_a_crash_is_not_delivered_twice() {
    let Some(mut broker) = Durable::start(&[]) else { return };
    for version in [Version::V311, Version::V50] {
        subscriber(&broker).disconnect();
        let connect = || Connect::new(version, "p").persistent();
        let mut publisher = broker.connect(connect());
        publisher.send(Publish::new("t/1", "once").qos(2).id(7));
        publisher.expect_ack(AckKind::Pubrec, 7, 0);
        for _ in 0..2 {
            broker.crash();
            let mut publisher = broker.resume(connect());
            publisher.send(Publish::new("t/1", "once").qos(2).id(7).dup());
            publisher.expect_ack(AckKind::Pubrec, 7, 0);
        }
        let mut publisher = broker.resume(connect());
        publisher.send(Ack::new(AckKind::Pubrel, 7));
        publisher.expect_ack(AckKind::Pubcomp, 7, 0);
        broker.crash();
        let mut subscriber = broker.resume(Connect::v5("s").persistent());
        subscriber.expect_message("t/1", "once");
        subscriber.expect_nothing();
        // PUBCOMP has freed the identifier for ever.
        let mut publisher = broker.resume(connect());
        publisher.publish(Publish::new("t/1", "next").qos(2).id(7));
        subscriber.expect_message("t/1", "next");
        subscriber.expect_nothing();
    }
}

#[test]
fn mqtt5_4_3_3_pubrel_after_a_crash_finds_its_identifier() {
    let Some(mut broker) = Durable::start(&[]) else { return };
    subscriber(&broker);
    let connect = || Connect::v5("p").persistent();
    let mut publisher = broker.connect(connect());
    for id in 1..=20 {
        publisher.send(Publish::new("t/1", id.to_string()).qos(2).id(id));
        publisher.expect_ack(AckKind::Pubrec, id, 0);
    }
    broker.crash();
    let mut publisher = broker.resume(connect());
    for id in 1..=20 {
        publisher.send(Ack::new(AckKind::Pubrel, id));
        publisher.expect_ack(AckKind::Pubcomp, id, 0);
    }
    broker.crash();
    let mut publisher = broker.resume(connect());
    publisher.send(Ack::new(AckKind::Pubrel, 1));
    publisher.expect_ack(AckKind::Pubcomp, 1, 0x92);
    let mut subscriber = broker.resume(Connect::v5("s").persistent());
    subscriber.expect_payloads((1..=20).map(|id: u32| id.to_string()));
    subscriber.expect_nothing();
}

#[test]
fn mqtt5_4_4_0_1_pubrel_is_sent_again_and_not_its_publish() {
    let Some(mut broker) = Durable::start(&[]) else { return };
    for version in [Version::V311, Version::V50] {
        let connect = || Connect::new(version, "c").persistent();
        let mut client = broker.connect(connect());
        client.subscribe("t/#", 2);
        let mut publisher = broker.connect(Connect::v5("p"));
        (0..4).for_each(|number: u32| publisher.publish(Publish::new("t/1", number.to_string()).qos(2)));
        let ids: Vec<u16> = (0..4).map(|_| client.recv_publish().id).collect();
        // The second and the third are received, the second also released.
        for id in &ids[1..3] {
            client.send(Ack::new(AckKind::Pubrec, *id));
            client.recv_ack(AckKind::Pubrel, *id);
        }
        client.send(Ack::new(AckKind::Pubcomp, ids[1]));
        settle(&mut client);
        for _ in 0..2 {
            broker.crash();
            let mut client = broker.resume(connect());
            let again: Vec<(u16, bool)> = (0..3)
                .map(|_| match client.recv() {
                    Packet::Publish(publish) => (publish.id, publish.dup),
                    Packet::Ack(Ack { kind: AckKind::Pubrel, id, .. }) => (id, false),
                    other => panic!("{other:?}"),
                })
                .collect();
            assert_eq!(again, [(ids[0], true), (ids[2], false), (ids[3], true)]);
            client.expect_nothing();
        }
        let mut client = broker.resume(connect());
        let waiting: Vec<Packet> = (0..3).map(|_| client.recv()).collect();
        for packet in waiting {
            match packet {
                Packet::Publish(publish) => client.acknowledge(&publish),
                Packet::Ack(ack) => client.send(Ack::new(AckKind::Pubcomp, ack.id)),
                other => panic!("{other:?}"),
            }
        }
        settle(&mut client);
        broker.crash();
        broker.resume(connect()).expect_nothing();
    }
}

#[test]
fn mqtt5_4_3_3_a_refused_message_does_not_come_again() {
    let Some(mut broker) = Durable::start(&[]) else { return };
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.subscribe("t/#", 2);
    broker.connect(Connect::v5("p")).publish(Publish::new("t/1", "x").qos(2));
    let publish = client.recv_publish();
    client.send(Ack::new(AckKind::Pubrec, publish.id).reason(0x99));
    settle(&mut client);
    broker.crash();
    broker.resume(Connect::v5("c").persistent()).expect_nothing();
}

#[test]
fn mqtt_section_4_1_a_publisher_without_a_session_leaves_no_identifier_behind() {
    let Some(mut broker) = Durable::start(&[]) else { return };
    subscriber(&broker).disconnect();
    let mut publisher = broker.connect(Connect::v5("p"));
    publisher.send(Publish::new("t/1", "1").qos(2).id(7));
    publisher.expect_ack(AckKind::Pubrec, 7, 0);
    broker.crash();
    let mut publisher = broker.resume_nothing(Connect::v5("p").resume());
    publisher.send(Publish::new("t/1", "2").qos(2).id(7));
    publisher.expect_ack(AckKind::Pubrec, 7, 0);
    broker.resume(Connect::v5("s").persistent()).expect_payloads(["1", "2"]);
}
