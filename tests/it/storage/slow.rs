//! A disk that takes its time: what is acknowledged waits for it, what needs no disk does not, and publishers of durable messages
//! are paused when too much waits.

use std::thread;
use std::time::{Duration, Instant};

use super::injection::Injection;
use super::{Durable, has_no_journal};
use crate::broker::{Broker, Options};
use crate::client::Client;
use crate::numbers;
use crate::wire::{Ack, AckKind, Connect, Publish, Subscribe, Unsubscribe};

const DELAY: Duration = Duration::from_millis(400);

/// Syncs of the broker take so long from now on.
fn slow(broker: &Broker, delay: Duration) -> Option<Injection> {
    Injection::new(broker.pid(), &format!("fdatasync:delay_enter={}", delay.as_micros()))
}

#[test]
fn acknowledgements_of_durable_things_wait_for_the_sync() {
    if has_no_journal() {
        return;
    }
    let broker = Durable::start(&[]).unwrap();
    let mut subscriber = broker.connect(Connect::v5("s").persistent());
    subscriber.subscribe("t", 2);
    subscriber.disconnect();
    let Some(_injection) = slow(&broker, DELAY) else { return };
    let start = Instant::now();
    let waits = |what: &str, since: Instant| {
        assert!(
            since.elapsed() >= DELAY,
            "{what} came after {:?}, before the sync was over",
            since.elapsed()
        );
    };
    let mut client = broker.connect(Connect::v5("c").persistent());
    waits("CONNACK", start);
    let mut step = |what: &str, does: &mut dyn FnMut(&mut Client)| {
        let start = Instant::now();
        does(&mut client);
        waits(what, start);
    };
    step("SUBACK", &mut |client| drop(client.subscribe_with(Subscribe::new(1, "own", 1))));
    step("PUBACK", &mut |client| client.publish(Publish::new("t", "1").qos(1)));
    step("PUBREC", &mut |client| {
        client.send(Publish::new("t", "2").qos(2).id(9));
        client.expect_ack(AckKind::Pubrec, 9, 0);
    });
    step("PUBCOMP", &mut |client| {
        client.send(Ack::new(AckKind::Pubrel, 9));
        client.expect_ack(AckKind::Pubcomp, 9, 0);
    });
    step("PUBACK of a Retained Message", &mut |client| {
        client.publish(Publish::new("kept", "1").qos(1).retain());
    });
    step("UNSUBACK", &mut |client| {
        client.send(Unsubscribe::new(7, &["own"]));
        client.expect_ack(AckKind::Unsuback, 7, 0);
    });
    let start = Instant::now();
    let mut subscriber = broker.resume(Connect::v5("s").persistent());
    waits("CONNACK", start);
    subscriber.expect_payloads(["1"]);
    let publish = subscriber.recv_publish();
    let start = Instant::now();
    subscriber.send(Ack::new(AckKind::Pubrec, publish.id));
    subscriber.recv_ack(AckKind::Pubrel, publish.id);
    waits("PUBREL", start);
}

#[test]
fn what_needs_no_disk_does_not_wait() {
    if has_no_journal() {
        return;
    }
    let broker = Durable::start(&[]).unwrap();
    let mut durable = broker.connect(Connect::v5("durable").persistent());
    durable.subscribe("durable/#", 1);
    // Long, because a machine that others use is slow by itself.
    let delay = Duration::from_secs(3);
    let Some(_injection) = slow(&broker, delay) else { return };
    // Something is under way to the disk all the time.
    durable.send(Publish::new("durable/t", "x").qos(1).id(100));
    let start = Instant::now();
    let mut client = broker.connect(Connect::v5("clean"));
    client.subscribe("own/#", 2);
    for qos in [0, 1, 2] {
        client.publish(Publish::new("own/t", "x").qos(qos));
        client.recv_message();
    }
    client.publish(Publish::new("nobody", "x").qos(2));
    client.publish(Publish::new("durable/t", "qos 0"));
    client.unsubscribe(&["own/#"]);
    client.ping();
    let elapsed = start.elapsed();
    assert!(elapsed < delay, "{elapsed:?} for what needs no disk");
}

#[test]
fn publishers_of_durable_messages_are_paused_and_others_not() {
    if has_no_journal() {
        return;
    }
    let settings = ["storage.backlog_bytes=65536", "sys.interval_s=1"];
    let options = settings.iter().fold(Options::durable(1), |options, setting| options.set(setting));
    let broker = Broker::start(&options).unwrap();
    let mut client = broker.connect(Connect::v5("offline").persistent());
    client.subscribe("t", 1);
    client.disconnect();
    let Some(injection) = slow(&broker, Duration::from_millis(100)) else { return };
    let mut publisher = broker.connect(Connect::v5("p"));
    let flood = thread::spawn(move || {
        let start = Instant::now();
        let mut bytes = Vec::new();
        for id in 1..=100 {
            let publish = Publish::new("t", vec![b'x'; 16_384]).qos(1).id(id);
            bytes.extend(crate::wire::Packet::from(publish).encode(crate::wire::Version::V50));
        }
        publisher.send_bytes(&bytes);
        (1..=100).for_each(|id| drop(publisher.expect_ack(AckKind::Puback, id, 0)));
        start.elapsed()
    });
    let mut other = broker.connect(Connect::v5("other"));
    other.subscribe("own", 1);
    let mut rounds = Vec::new();
    while !flood.is_finished() {
        let start = Instant::now();
        other.publish(Publish::new("own", "x").qos(1));
        other.recv_message();
        rounds.push(start.elapsed());
        thread::sleep(Duration::from_millis(2));
    }
    let took = flood.join().unwrap();
    // 1.6 MB through a backlog of 64 KiB are some 20 syncs.
    assert!(took >= Duration::from_millis(800), "nobody was paused: {took:?}");
    // Of those who are not paused hardly one waits as long as a sync.
    rounds.sort_unstable();
    let usual = rounds[rounds.len() * 9 / 10];
    assert!(rounds.len() > 50 && usual < Duration::from_millis(90), "{} rounds, p90 {usual:?}", rounds.len());
    drop(injection);
    assert!(numbers::wait_for(&broker, "metrics/storage/waits", |waits| waits > 0) > 0);
    let mut client = broker.connect(Connect::v5("offline").persistent());
    (0..100).for_each(|_| assert_eq!(client.recv_message().payload.len(), 16_384));
}
