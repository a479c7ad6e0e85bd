//! connect_rate, connections of one address, and handshakes that never end.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use super::{limited, wait_until};
use crate::broker::Broker;
use crate::client::{Client, TIMEOUT};
use crate::numbers::wait_for;
use crate::wire::{Connect, Packet, Version};

/// How a CONNECT was answered: its reason, or `None` if the connection was closed without a word.
fn answer(client: &mut Client) -> Option<u8> {
    match client.try_recv() {
        Some(Packet::Connack(connack)) => Some(connack.reason),
        None => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn mqtt5_past_the_connect_rate_a_client_is_refused_with_0x9f_or_closed() {
    for (shards, version, refused) in
        [(1, Version::V50, 0x9F), (4, Version::V50, 0x9F), (4, Version::V311, 3)]
    {
        let broker = limited(shards, &["listener.connect_rate=10"]);
        let start = Instant::now();
        let mut clients: Vec<_> = (0..60).map(|_| broker.open(version)).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            let packet = Packet::from(Connect::new(version, &format!("c-{number}")));
            client.send_bytes_or_closed(&packet.encode(version));
        }
        let took_s = start.elapsed().as_secs() as usize + 1;
        let answers: Vec<_> = clients.iter_mut().map(answer).collect();
        let count = |wanted| answers.iter().filter(|answer| **answer == wanted).count();
        assert!((10..=10 * (1 + took_s)).contains(&count(Some(0))), "{answers:?}");
        assert!((10..=10 * (1 + took_s)).contains(&count(Some(refused))), "{answers:?}");
        assert!(count(None) > 0 || took_s > 1, "{answers:?}");
        drop(clients);
        // A second later there is room again, and what was refused is told.
        wait_until("room again", || {
            let mut late = broker.open(version);
            late.send_bytes_or_closed(&Packet::from(Connect::new(version, "late")).encode(version));
            answer(&mut late) == Some(0)
        });
        thread::sleep(Duration::from_millis(300));
        wait_for(&broker, "metrics/limits/connect_rate/refused", |refused| refused >= 40);
    }
}

#[test]
fn mqtt5_an_address_with_its_maximum_is_refused_with_0x97_until_one_leaves() {
    for shards in [1, 4] {
        let broker = limited(shards, &["limits.connections_per_address_max=5"]);
        let mut clients: Vec<_> =
            (0..5).map(|number| broker.connect(Connect::v5(&format!("c-{number}")))).collect();
        for number in 0..3 {
            broker.expect_refused(Connect::v5(&format!("late-{number}")), 0x97);
            broker.expect_refused(Connect::v311(&format!("old-{number}")), 3);
        }
        clients.iter_mut().for_each(Client::ping);
        for round in 0..10 {
            clients.remove(0).disconnect();
            wait_until("a place", || {
                let mut next = broker.open(Version::V50);
                next.send(Connect::v5(&format!("next-{round}")));
                let is_in = answer(&mut next) == Some(0);
                if is_in {
                    clients.push(next);
                }
                is_in
            });
        }
        clients.remove(0).disconnect();
        wait_until("a place for the watcher", || {
            let mut probe = broker.open(Version::V50);
            probe.send(Connect::v5("probe"));
            answer(&mut probe) == Some(0)
        });
        wait_until("the probe's end", || {
            clients.iter_mut().all(|client| {
                client.ping();
                true
            })
        });
        drop(clients);
        thread::sleep(Duration::from_millis(100));
        wait_for(&broker, "metrics/limits/address/refused", |refused| refused >= 6);
    }
}

/// Whether the broker has closed it; nothing comes in it.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    match stream.read(&mut [0]) {
        Ok(bytes) => bytes == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

#[test]
fn the_sockets_of_an_address_are_no_more_than_twice_its_maximum() {
    for shards in [1, 4] {
        let settings = ["limits.connections_per_address_max=5", "limits.connect_timeout_s=60"];
        let broker = limited(shards, &settings);
        let mut clients: Vec<_> =
            (0..5).map(|number| broker.connect(Connect::v5(&format!("c-{number}")))).collect();
        // They say nothing.
        let mut silent: Vec<_> = (0..12).map(|_| TcpStream::connect(broker.address).unwrap()).collect();
        let mut closed = 0;
        wait_until("all but five are closed at once", || {
            silent.retain_mut(|stream| {
                let is_closed = is_closed(stream);
                closed += usize::from(is_closed);
                !is_closed
            });
            closed >= 7
        });
        assert_eq!(silent.len(), 5);
        for mut stream in silent {
            stream.set_nonblocking(false).unwrap();
            stream.set_read_timeout(Some(TIMEOUT)).unwrap();
            stream.write_all(&Packet::from(Connect::v5("late")).encode(Version::V50)).unwrap();
            let mut connack = [0; 4];
            stream.read_exact(&mut connack).unwrap();
            assert_eq!((connack[0], connack[3]), (0x20, 0x97));
        }
        clients.iter_mut().for_each(Client::ping);
        // Those places are free again.
        broker.expect_refused(Connect::v5("later"), 0x97);
    }
}

/// How many of `count` connections that say nothing stay open.
fn silent_ones(broker: &Broker, count: usize, first_bytes: &[u8], expected: usize) {
    let mut silent: Vec<_> = (0..count)
        .map(|_| {
            let mut stream = TcpStream::connect(broker.address).unwrap();
            // Perhaps it is closed already.
            let _ = stream.write_all(first_bytes);
            stream
        })
        .collect();
    wait_until("those past the maximum are closed", || {
        silent.retain_mut(|stream| !is_closed(stream));
        silent.len() <= expected
    });
    // Those that stay are told why not, unless there was room for them.
    for mut stream in silent {
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.write_all(&Packet::from(Connect::v5("late")).encode(Version::V50)).unwrap();
        let mut connack = [0; 4];
        stream.read_exact(&mut connack).unwrap();
        assert!(matches!((connack[0], connack[3]), (0x20, 0 | 0x97 | 0x9F)), "{connack:?}");
    }
}

#[test]
fn one_address_does_not_hold_all_the_places_of_those_that_are_refused_for_capacity() {
    for shards in [1, 4] {
        let settings = [
            "limits.max_connections=5",
            "limits.connections_per_address_max=5",
            "limits.connect_timeout_s=60",
        ];
        let broker = limited(shards, &settings);
        let mut clients: Vec<_> =
            (0..5).map(|number| broker.connect(Connect::v5(&format!("c-{number}")))).collect();
        silent_ones(&broker, 12, b"", 5);
        clients.iter_mut().for_each(Client::ping);
    }
}

#[test]
fn one_address_does_not_hold_the_places_of_those_that_are_refused_for_the_connect_rate() {
    for shards in [1, 4] {
        let settings = [
            "listener.connect_rate=10",
            "limits.connections_per_address_max=3",
            "limits.connect_timeout_s=60",
        ];
        // Three may come in, three are told why not.
        silent_ones(&limited(shards, &settings), 40, b"", 6);
    }
}

#[test]
fn one_address_does_not_hold_the_places_of_those_that_are_refused_for_memory() {
    for shards in [1, 4] {
        let settings = [
            "limits.memory_max=1 MiB",
            "limits.connections_per_address_max=3",
            "limits.connect_timeout_s=60",
        ];
        let broker = limited(shards, &settings);
        wait_until("refusals", || broker.output().contains("new connections are refused"));
        silent_ones(&broker, 12, b"", 3);
    }
}

#[test]
fn behind_a_load_balancer_the_clients_own_address_counts_where_it_is_refused() {
    for shards in [1, 4] {
        let settings = [
            "listener.proxy_protocol=true",
            "listener.trusted=127.0.0.0/8",
            "listener.allow_anonymous=true",
            "limits.memory_max=1 MiB",
            "limits.connections_per_address_max=3",
            "limits.connect_timeout_s=60",
        ];
        let broker = limited(shards, &settings);
        wait_until("refusals", || broker.output().contains("new connections are refused"));
        for client in ["192.0.2.1", "192.0.2.2"] {
            let header = format!("PROXY TCP4 {client} 10.0.0.1 56324 1883\r\n");
            silent_ones(&broker, 12, header.as_bytes(), 3);
        }
    }
}

#[test]
fn mqtt_3_1_4_a_client_that_drips_its_connect_is_cut_off() {
    let broker = limited(1, &["limits.connect_timeout_s=1"]);
    let bytes = Packet::from(Connect::v5("a-client-with-a-very-long-identifier-that-never-comes-to-its-end"))
        .encode(Version::V50);
    let mut client = broker.open(Version::V50);
    let start = Instant::now();
    for byte in bytes {
        client.send_bytes_or_closed(&[byte]);
        thread::sleep(Duration::from_millis(50));
        if start.elapsed() > Duration::from_millis(2500) {
            break;
        }
    }
    client.expect_closed();
    wait_for(&broker, "metrics/connections/connect_timeouts", |timeouts| timeouts == 1);
}

#[test]
fn mqtt_3_1_4_a_rate_of_bytes_gives_no_more_time_for_connect() {
    let broker = limited(1, &["limits.connect_timeout_s=1", "limits.bytes_rate=1000"]);
    // A CONNECT of 100,000 bytes is announced. What comes of it is each time a little more than the rate, so that the client is
    // held for a moment and read on.
    let mut client = broker.open(Version::V50);
    client.send_bytes_or_closed(&[0x10, 0xA0, 0x8D, 0x06]);
    client.send_bytes_or_closed(&[0; 1100]);
    for _ in 0..7 {
        thread::sleep(Duration::from_millis(500));
        client.send_bytes_or_closed(&[0; 530]);
    }
    client.expect_closed_within(Duration::from_millis(500));
    wait_for(&broker, "metrics/connections/connect_timeouts", |timeouts| timeouts == 1);
}
