//! The PROXY protocol: whose word counts, what is refused, and that the address is the client's from then on.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::ws::{self, WebSocket};
use super::{SHARDS, listen, start, wait_until};
use crate::broker::Broker;
use crate::client::{Client, TIMEOUT};
use crate::wire::{Connect, Packet, Version};

const KEYS: &str = "proxy_protocol = true\nallow_anonymous = true\ntrusted = [\"127.0.0.0/8\"]\naccess = [\"deny 192.0.2.66\"]";

fn v1(source: &str) -> Vec<u8> {
    format!("PROXY TCP4 {source} 10.0.0.1 56324 1883\r\n").into_bytes()
}

/// A header of version 2 with addresses of IPv4 and a TLV.
fn v2(command: u8, source: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([0x20 | command, 0x11, 0, 12 + 7]);
    header.extend(source);
    header.extend([10, 0, 0, 1, 0xDC, 0x04, 0x07, 0x5B]);
    header.extend([0x01, 0, 4, b'm', b'q', b't', b't']);
    header
}

/// What comes back for these bytes until the broker closes.
fn answer(broker: &Broker, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(broker.address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    // It may have been closed already.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => answer,
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
            answer
        }
    }
}

fn connect(client_id: &str) -> Vec<u8> {
    Packet::from(Connect::v311(client_id)).encode(Version::V311)
}

#[test]
fn a_header_gives_the_address_also_after_a_hand_over() {
    for shards in SHARDS {
        let broker = listen(shards, "mqtt", KEYS);
        for number in 0..12_u8 {
            let source = [192, 0, 2, 100 + number];
            let text = format!("192.0.2.{}", 100 + number);
            let header = if number % 2 == 0 { v1(&text) } else { v2(1, source) };
            let mut client = broker.open(Version::V311);
            let stream = [header, connect(&format!("behind-{number}"))].concat();
            if number % 3 == 0 {
                stream.iter().for_each(|byte| client.send_bytes(&[*byte]));
            } else {
                client.send_bytes(&stream);
            }
            assert_eq!(client.recv_connack().reason, 0);
            // A violation: the log names whose.
            client.send_bytes(&[0, 0]);
            client.expect_closed();
            let wanted = format!("remote={text}:56324");
            wait_until(&wanted, || broker.output().contains(&wanted));
        }
    }
}

#[test]
fn a_load_balancers_own_connections_keep_its_address() {
    let broker = listen(1, "mqtt", KEYS);
    for header in [v2(0, [192, 0, 2, 66]), b"PROXY UNKNOWN\r\n".to_vec()] {
        let mut client = broker.open(Version::V311);
        client.send_bytes(&[header, connect("check")].concat());
        assert_eq!(client.recv_connack().reason, 0);
        client.ping();
    }
}

#[test]
fn what_is_no_good_header_is_closed_unanswered() {
    let broker = listen(2, "mqtt", KEYS);
    for bytes in [
        connect("no header"),
        b"PROXY TCP4 192.0.2.1 10.0.0.1 99999 1883\r\n".to_vec(),
        [&b"PROXY TCP4 "[..], &[b'1'; 120]].concat(),
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xFF\xFF".to_vec(),
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x04abcd".to_vec(),
        b"\r\n\r\n\0\r\nQUIT\n\x31".to_vec(),
        // Good ones, of a client that the rules of access refuse.
        [v1("192.0.2.66"), connect("refused")].concat(),
        [v2(1, [192, 0, 2, 66]), connect("refused")].concat(),
    ] {
        assert_eq!(answer(&broker, &bytes), b"", "{bytes:?}");
    }
    for words in ["no PROXY header", "more than 107 bytes", "refused by the listener's `access`"] {
        wait_until(words, || broker.output().contains(words));
    }
}

#[test]
fn only_trusted_networks_may_say_who_a_client_is() {
    let broker =
        listen(2, "mqtt", "proxy_protocol = true\nallow_anonymous = true\ntrusted = [\"192.0.2.7\"]");
    assert_eq!(answer(&broker, &[v1("192.0.2.100"), connect("c")].concat()), b"");
}

#[test]
fn a_header_has_to_come_in_time() {
    let broker = start(
        1,
        &format!("[[listener]]\nurl = \"mqtt://{{address}}\"\n{KEYS}\n[limits]\nconnect_timeout_s = 1"),
    );
    assert_eq!(answer(&broker, b"PROXY TCP4 192.0.2.1"), b"");
}

#[test]
fn websocket_comes_after_the_header() {
    let broker = listen(4, "ws", KEYS);
    for number in 0..8 {
        let mut stream = TcpStream::connect(broker.address).unwrap();
        stream.write_all(&v1("192.0.2.9")).unwrap();
        stream.write_all(ws::REQUEST.as_bytes()).unwrap();
        let mut client = Client::over(WebSocket::over(stream), Version::V311);
        client.send_bytes(&connect(&format!("both-{number}")));
        assert_eq!(client.recv_connack().reason, 0);
        client.ping();
    }
}

#[test]
fn the_connections_of_an_address_are_those_of_the_client_behind_the_load_balancer() {
    for shards in SHARDS {
        let keys = format!("{KEYS}\n[limits]\nconnections_per_address_max = 2");
        let broker = listen(shards, "mqtt", &keys);
        let open = |source: &str, client_id: &str| {
            let mut client = broker.open(Version::V311);
            client.send_bytes(&[v1(source), connect(client_id)].concat());
            let reason = client.recv_connack().reason;
            (client, reason)
        };
        // Many more than the maximum come over one load balancer, and go: each is another client's.
        let clients: Vec<_> = (1..=9).map(|n| open(&format!("192.0.2.1{n}"), &format!("c-{n}"))).collect();
        assert!(clients.iter().all(|(_, reason)| *reason == 0));
        drop(clients);
        for number in 0..4 {
            let mut clients = Vec::new();
            wait_until("two places", || {
                clients.push(open("192.0.2.7", &format!("c-{number}-{}", clients.len())));
                clients.retain(|(_, reason)| *reason == 0);
                clients.len() == 2
            });
            assert_eq!(open("192.0.2.7", "late").1, 3, "the third of one client");
        }
        // The load balancer asks on its own account whether we are there, as often as it likes.
        let _checks: Vec<_> = (0..5)
            .map(|number| {
                let mut client = broker.open(Version::V311);
                client.send_bytes(&[v2(0, [192, 0, 2, 9]), connect(&format!("check-{number}"))].concat());
                assert_eq!(client.recv_connack().reason, 0);
                client
            })
            .collect();
    }
}
