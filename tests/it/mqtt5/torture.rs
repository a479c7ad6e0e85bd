//! Publishers and subscribers of QoS 2 in persistent sessions whose connections are cut again and again, in threads:
//! every message arrives exactly once and in order (sections 4.3.3, 4.4, 4.6).

use std::collections::HashSet;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::wire::{Ack, AckKind, Connect, Packet, Publish, Version};

const PUBLISHERS: usize = 4;
const SUBSCRIBERS: usize = 4;
const MESSAGES: u32 = 250;

/// A small generator of pseudo-random numbers, seeded by the client's number: a run can be repeated.
struct Dice(u64);

impl Dice {
    fn one_in(&mut self, sides: u64) -> bool {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33).is_multiple_of(sides)
    }
}

fn connect(address: SocketAddr, id: &str, session_expected: bool) -> Client {
    let mut client = Client::open(address, Version::V50);
    client.send(Connect::v5(id).persistent());
    let connack = client.recv_connack();
    assert_eq!((connack.reason, connack.session_present), (0, session_expected), "{id}");
    client
}

/// Publishes messages one after the other; after a cut it goes on where the specification says.
fn publish(address: SocketAddr, number: usize, qos: u8) {
    let id = format!("publisher-{number}");
    let mut dice = Dice(number as u64 + 1);
    let mut client = connect(address, &id, false);
    for message in 0..MESSAGES {
        let packet_id = (message % 50 + 1) as u16;
        let publish = Publish::new(&format!("torture/{number}"), message.to_string()).qos(qos).id(packet_id);
        let mut released = false;
        let mut dup = false;
        loop {
            if released {
                client.send(Ack::new(AckKind::Pubrel, packet_id));
            } else {
                client.send(Publish { dup, ..publish.clone() });
            }
            if dice.one_in(12) {
                client = connect(address, &id, true);
                dup = true;
                continue;
            }
            let Packet::Ack(ack) = client.recv() else { panic!("{id}") };
            match ack.kind {
                AckKind::Puback | AckKind::Pubcomp => break,
                AckKind::Pubrec => released = true,
                other => panic!("{id}: {other:?}"),
            }
        }
    }
}

/// Receives until it has all messages of all publishers, and returns them by publisher.
fn subscribe(address: SocketAddr, number: usize, mut client: Client) -> Vec<Vec<u32>> {
    let id = format!("subscriber-{number}");
    let mut dice = Dice(number as u64 + 100);
    let mut got = vec![Vec::new(); PUBLISHERS];
    let mut begun = HashSet::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    while got.iter().map(Vec::len).sum::<usize>() < PUBLISHERS * MESSAGES as usize {
        assert!(Instant::now() < deadline, "{id} has {:?}", got.iter().map(Vec::len).collect::<Vec<_>>());
        if dice.one_in(25) {
            client = connect(address, &id, true);
        }
        match client.recv() {
            Packet::Publish(publish) => {
                if publish.qos == 1 || begun.insert(publish.id) {
                    let publisher: usize = publish.topic["torture/".len()..].parse().unwrap();
                    got[publisher].push(publish.text().parse().unwrap());
                }
                let kind = if publish.qos == 1 { AckKind::Puback } else { AckKind::Pubrec };
                client.send(Ack::new(kind, publish.id));
            }
            Packet::Ack(ack) if ack.kind == AckKind::Pubrel => {
                begun.remove(&ack.id);
                client.send(Ack::new(AckKind::Pubcomp, ack.id));
            }
            other => panic!("{id}: {other:?}"),
        }
    }
    got
}

sharded!(mqtt5_4_3_3_qos2_is_exactly_once_however_often_connections_break, |broker| {
    let address = broker.address;
    let subscribers: Vec<_> = (0..SUBSCRIBERS)
        .map(|number| {
            let mut client = connect(address, &format!("subscriber-{number}"), false);
            client.subscribe("torture/#", 2);
            thread::spawn(move || subscribe(address, number, client))
        })
        .collect();
    let publishers: Vec<_> =
        (0..PUBLISHERS).map(|number| thread::spawn(move || publish(address, number, 2))).collect();
    publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
    for subscriber in subscribers {
        for messages in subscriber.join().unwrap() {
            assert_eq!(messages, (0..MESSAGES).collect::<Vec<_>>());
        }
    }
});
