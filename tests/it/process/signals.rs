//! SIGTERM drains, SIGHUP reloads.

use std::time::{Duration, Instant};

use super::{file_with, start_with_file};
use crate::broker::{Broker, Options, peer_is_mosquitto};
use crate::client::{Client, TIMEOUT};
use crate::wire::{Connect, Property, Publish, Version};

/// Starts a broker that the test ends.
fn start(shards: u16) -> Broker {
    Broker::start(&Options::shards(shards)).unwrap()
}

fn terminate(shards: u16) {
    let mut broker = start(shards);
    let mut clients: Vec<_> = (0..20)
        .map(|number| broker.connect(Connect::new(Version::ALL[number % 3], &format!("c-{number}"))))
        .collect();
    let mut silent = broker.open(Version::V50);
    broker.signal("TERM");
    clients.iter_mut().for_each(|client| client.expect_disconnect(0x8B));
    silent.expect_closed();
    assert_eq!(broker.wait().code(), Some(0), "{}", broker.output());
}

#[test]
fn sigterm_disconnects_with_0x8b_and_exits_0_shards_1() {
    terminate(1);
}

#[test]
fn sigterm_disconnects_with_0x8b_and_exits_0_shards_2() {
    terminate(2);
}

#[test]
fn sigterm_disconnects_with_0x8b_and_exits_0_shards_5() {
    terminate(5);
}

#[test]
fn sigterm_does_not_wait_for_ever_for_a_client_that_does_not_read() {
    let mut broker = start(2);
    let mut slow = broker.connect(Connect::v5("slow"));
    slow.subscribe("flood", 0);
    let mut publisher = broker.connect(Connect::v5("p"));
    for _ in 0..60 {
        publisher.publish(Publish::new("flood", vec![b'x'; 100_000]));
    }
    publisher.ping();
    let start = Instant::now();
    assert_eq!(broker.terminate().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
}

#[test]
fn sigterm_delivers_what_was_accepted() {
    let mut broker = start(2);
    let mut subscribers: Vec<_> =
        (0..6).map(|number| broker.connect(Connect::v5(&format!("s-{number}")))).collect();
    subscribers.iter_mut().for_each(|client| client.subscribe("t", 1));
    let mut publisher = broker.connect(Connect::v5("p"));
    publisher.publish(Publish::new("t", "last").qos(1));
    broker.signal("TERM");
    for client in &mut subscribers {
        assert_eq!(client.recv_publish().text(), "last");
    }
    assert_eq!(broker.wait().code(), Some(0));
}

#[test]
fn sigint_ends_the_broker_too() {
    let mut broker = start(1);
    broker.signal("INT");
    assert!(broker.wait().code().is_some() || peer_is_mosquitto());
}

fn receive_maximum(broker: &Broker, id: &str) -> Option<u16> {
    let (client, connack) = broker.connect_with_ack(Connect::v5(id));
    client.disconnect();
    connack.find(|property| match property {
        Property::ReceiveMax(max) => Some(*max),
        _ => None,
    })
}

/// Reloads until new connections get `expected`.
fn reload_until(broker: &Broker, expected: u16) {
    broker.signal("HUP");
    let deadline = Instant::now() + TIMEOUT;
    while receive_maximum(broker, "probe") != Some(expected) {
        assert!(Instant::now() < deadline, "not reloaded: {}", broker.output());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn reload(shards: u16) {
    let (dir, file) = file_with("[limits]\nreceive_max = 11\n");
    let Some(mut broker) = start_with_file(&dir, &file, shards) else { return };
    let mut clients: Vec<_> =
        (0..10).map(|number| broker.connect(Connect::v5(&format!("c-{number}")))).collect();
    clients.iter_mut().for_each(|client| client.subscribe("t", 1));
    assert_eq!(receive_maximum(&broker, "before"), Some(11));
    std::fs::write(&file, "[limits]\nreceive_max = 12\n").unwrap();
    reload_until(&broker, 12);
    clients[0].publish(Publish::new("t", "still connected").qos(1));
    clients.iter_mut().for_each(|client| drop(client.expect_message("t", "still connected")));
    std::fs::write(&file, "[limits]\nreceive_max = 13\nno_such_key = 1\n").unwrap();
    broker.signal("HUP");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(receive_maximum(&broker, "bad file"), Some(12), "a bad file changes nothing");
    assert!(broker.output().contains("no_such_key"), "{}", broker.output());
    clients.iter_mut().for_each(Client::ping);
    assert_eq!(broker.terminate().code(), Some(0));
}

#[test]
fn sighup_reloads_and_drops_no_connection_shards_1() {
    reload(1);
}

#[test]
fn sighup_reloads_and_drops_no_connection_shards_5() {
    reload(5);
}
