//! Flow in 3.x, which knows no Receive Maximum: clients that send without waiting, and the broker's own limits.

use std::time::Duration;

use super::OLD;
use crate::broker::{Broker, Options};
use crate::client::TIMEOUT;
use crate::wire::{Ack, AckKind, Connect, Packet, Publish, Version};

/// PUBLISHes 1 to `count` in one buffer.
fn burst(qos: u8, count: u16) -> Vec<u8> {
    let publish =
        |id: u16| Packet::from(Publish::new("t", id.to_string()).qos(qos).id(id)).encode(Version::V311);
    (1..=count).flat_map(publish).collect()
}

sharded!(
    mqtt3_4_3_2_qos1_without_waiting_is_acknowledged_in_order,
    "session.queue_len_max=10000",
    |broker| {
        for version in OLD {
            let mut subscriber = broker.connect(Connect::new(version, "s"));
            subscriber.subscribe("t", 1);
            let mut publisher = broker.connect(Connect::new(version, "p"));
            publisher.send_bytes(&burst(1, 5000));
            (1..=5000).for_each(|id| drop(publisher.expect_ack(AckKind::Puback, id, 0)));
            subscriber.expect_payloads((1..=5000).map(|id: u32| id.to_string()));
        }
    }
);

sharded!(
    mqtt3_4_3_3_qos2_without_waiting_is_exactly_once_and_in_order,
    "session.queue_len_max=10000",
    |broker| {
        for version in OLD {
            let mut subscriber = broker.connect(Connect::new(version, "s"));
            subscriber.subscribe("t", 2);
            let mut publisher = broker.connect(Connect::new(version, "p"));
            publisher.send_bytes(&burst(2, 1000));
            // The client answers each PUBREC at once, and does not wait for all of them.
            let (mut recs, mut comps) = (0, 0);
            while comps < 1000 {
                match publisher.recv() {
                    Packet::Ack(ack) if ack.kind == AckKind::Pubrec => {
                        recs += 1;
                        assert_eq!(ack.id, recs);
                        publisher.send(Ack::new(AckKind::Pubrel, ack.id));
                    }
                    Packet::Ack(ack) if ack.kind == AckKind::Pubcomp => comps += 1,
                    other => panic!("{other:?}"),
                }
            }
            subscriber.expect_payloads((1..=1000).map(|id: u32| id.to_string()));
            subscriber.expect_nothing();
        }
    }
);

sharded!(mqtt3_section_4_4_no_more_than_inflight_max_is_sent, "session.inflight_max=4", |broker| {
    for version in OLD {
        let mut subscriber = broker.connect(Connect::new(version, "s"));
        subscriber.subscribe("t", 1);
        let mut publisher = broker.connect(Connect::new(version, "p"));
        (0..10).for_each(|number: u32| publisher.publish(Publish::new("t", number.to_string()).qos(1)));
        let mut held: Vec<_> = (0..4).map(|_| subscriber.recv_publish()).collect();
        subscriber.expect_nothing();
        for number in 4..10 {
            let publish = held.remove(0);
            subscriber.send(Ack::new(AckKind::Puback, publish.id));
            held.push(subscriber.recv_publish());
            assert_eq!(held.last().unwrap().text(), number.to_string());
        }
    }
});

sharded!(mqtt3_4_4_0_1_retry_interval_sends_again_while_connected, "session.retry_interval_s=1", |broker| {
    let mut subscriber = broker.connect(Connect::v311("s"));
    subscriber.subscribe("t", 1);
    let mut new = broker.connect(Connect::v5("new"));
    new.subscribe("t", 1);
    broker.connect(Connect::v311("p")).publish(Publish::new("t", "x").qos(1));
    let first = subscriber.recv_publish();
    let again = subscriber.recv_publish();
    assert_eq!(again, Publish { dup: true, ..first });
    subscriber.send(Ack::new(AckKind::Puback, again.id));
    assert_eq!(new.recv_publish().text(), "x");
    assert_eq!(new.recv_within(Duration::from_secs(3)), None, "5.0 forbids it [MQTT-4.4.0-1]");
    while let Some(packet) = subscriber.recv_within(Duration::from_millis(1500)) {
        // One that was already under way may still come.
        let Packet::Publish(publish) = packet else { panic!("{packet:?}") };
        assert!(publish.dup);
    }
});

/// One message is never acknowledged while more follow than there are Packet Identifiers.
#[test]
fn mqtt3_2_3_1_4_packet_identifiers_go_round_and_skip_the_one_in_use() {
    let options = Options::shards(2).set("session.queue_len_max=70000");
    let Some(broker) = Broker::start(&options) else { return };
    let mut subscriber = broker.connect(Connect::v311("s"));
    subscriber.subscribe("t", 1);
    let mut publisher = broker.connect(Connect::v311("p"));
    publisher.publish(Publish::new("t", "held").qos(1));
    let held = subscriber.recv_publish().id;
    for round in 0..22 {
        publisher.send_bytes(&burst(1, 3000));
        for number in 0..3000 {
            let Some(packet) = subscriber.recv_within(TIMEOUT) else {
                panic!("no more after {} messages", round * 3000 + number);
            };
            let Packet::Publish(publish) = packet else { panic!("{packet:?}") };
            assert_ne!(publish.id, held, "in use");
            subscriber.send(Ack::new(AckKind::Puback, publish.id));
        }
        (1..=3000).for_each(|id| drop(publisher.expect_ack(AckKind::Puback, id, 0)));
    }
}

sharded!(mqtt3_section_4_4_a_window_of_100_never_exceeds_receive_maximum, |broker| {
    let mut subscriber = broker.connect(Connect::v5("s"));
    subscriber.subscribe("t", 0);
    let mut publisher = broker.connect(Connect::v5("p"));
    let mut free: std::collections::VecDeque<u16> = (1..=100).collect();
    let (mut sent, mut acked) = (0, 0);
    while acked < 4000 {
        while sent < 4000
            && let Some(id) = free.pop_front()
        {
            publisher.send(Publish::new("t", sent.to_string()).qos(1).id(id));
            sent += 1;
        }
        match publisher.recv() {
            Packet::Ack(ack) if ack.kind == AckKind::Puback => free.push_back(ack.id),
            other => panic!("{other:?}"),
        }
        acked += 1;
    }
    subscriber.expect_payloads((0..4000).map(|number: u32| number.to_string()));
});
