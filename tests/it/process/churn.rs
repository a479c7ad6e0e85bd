//! Very many connections that come and go: no slot, buffer or session leaks, and the broker stays as large as it was.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use crate::broker::{Broker, Options};
use crate::client::Client;
use crate::wire::{Connect, Packet, Publish, Version, first_byte};

/// Connections of the test command; four threads share them.
const CONNECTIONS: u32 = 200_000;

/// Resident memory of a process, in KiB.
fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The same when the shards have been idle for a while: buffers of a busy moment are given back then.
fn resident_at_rest_kib(pid: u32) -> u64 {
    thread::sleep(Duration::from_millis(1500));
    resident_kib(pid)
}

/// Connects and leaves in five ways, some of them rude.
fn churn(address: SocketAddr, thread: u32, count: u32) {
    let leave = [0xE0, 0];
    for number in 0..count {
        let mut client = Client::open(address, Version::V311);
        let connect = Connect::v311(&format!("churn-{thread}-{}", number % 500));
        match number % 5 {
            // DISCONNECT in the segment of CONNECT; the broker closes first.
            0 | 1 => {
                let mut bytes = Packet::from(connect).encode(Version::V311);
                bytes.extend(leave);
                client.send_bytes(&bytes);
                assert_eq!(client.recv_connack().reason, 0);
                client.expect_closed();
            }
            2 => {
                client.send(connect);
                assert_eq!(client.recv_connack().reason, 0);
            }
            3 => client.send_bytes(&[first_byte::CONNECT, 30, 0, 4]),
            _ => {}
        }
    }
}

#[test]
fn two_hundred_thousand_connections_leave_nothing_behind() {
    let broker = Broker::start(&Options::shards(2)).unwrap();
    let address = broker.address;
    let round = |count: u32| {
        let threads: Vec<_> =
            (0..4).map(|thread| thread::spawn(move || churn(address, thread, count / 4))).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    };
    // The tables grow until every slot of a ring has been used once.
    round(CONNECTIONS / 2);
    let before = resident_at_rest_kib(broker.pid());
    round(CONNECTIONS / 2);
    let after = resident_at_rest_kib(broker.pid());
    // A few huge pages, which the system gives whole; a session of each connection would be 40 MiB.
    assert!(after < before + 16 * 1024, "{before} KiB became {after} KiB");
    let mut clients: Vec<_> =
        (0..200).map(|number| broker.connect(Connect::v5(&format!("c-{number}")))).collect();
    clients.iter_mut().for_each(|client| client.subscribe("t", 0));
    clients[0].publish(Publish::new("t", "x"));
    clients.iter_mut().for_each(|client| drop(client.expect_message("t", "x")));
}

sharded!(a_remaining_length_reserves_no_memory, "limits.packet_bytes_max=268435460", |broker| {
    broker.connect(Connect::v5("first")).ping();
    let before = resident_kib(broker.pid());
    let clients: Vec<_> = (0..50)
        .map(|number| {
            let mut client = broker.connect(Connect::v5(&format!("c-{number}")));
            // A PUBLISH of 200 MiB that never comes.
            client.send_bytes(&[0x30, 0x80, 0x80, 0x80, 0x64, 0, 1, b't', 0]);
            client.send_bytes(&[b'x'; 1000]);
            client
        })
        .collect();
    broker.connect(Connect::v5("last")).ping();
    let after = resident_kib(broker.pid());
    assert!(after < before + 32 * 1024, "{before} KiB became {after} KiB with {} clients", clients.len());
});

sharded!(hundreds_connect_at_once, |broker| {
    let mut clients: Vec<_> = (0..400).map(|_| broker.open(Version::V50)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(Connect::v5(&format!("c-{number}")));
    }
    clients.iter_mut().for_each(|client| assert_eq!(client.recv_connack().reason, 0));
    clients.iter_mut().for_each(|client| client.send(Packet::Pingreq));
    clients.iter_mut().for_each(|client| assert_eq!(client.recv(), Packet::Pingresp));
});
