//! RFC 6455 and section 6 of MQTT: upgrades, refusals, frames, closes, and what the broker makes of them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::ws::{self, BINARY, CLOSE, PING, PONG, REQUEST, WebSocket, frame};
use super::{SHARDS, listen, reload, wait_until};
use crate::client::{Client, TIMEOUT};
use crate::wire::{AckKind, Connect, Packet, Publish, Subscribe, Version, Will};

/// The answer to a request, up to the end of the stream.
fn answer(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

fn bytes(version: Version, packets: Vec<Packet>) -> Vec<u8> {
    packets.into_iter().flat_map(|packet| packet.encode(version)).collect()
}

/// CONNECT, SUBSCRIBE, and a PUBLISH to what was subscribed.
fn conversation(client_id: &str) -> Vec<Packet> {
    let publish = Publish::new(&format!("to/{client_id}"), client_id).qos(1).id(2);
    let subscribe = Subscribe::new(1, &format!("to/{client_id}"), 1);
    vec![Connect::v311(client_id).into(), subscribe.into(), publish.into()]
}

fn expect_conversation(mut client: Client, client_id: &str) {
    assert_eq!(client.recv_connack().reason, 0);
    client.recv_ack(AckKind::Suback, 1);
    client.recv_ack(AckKind::Puback, 2);
    client.expect_message(&format!("to/{client_id}"), client_id);
    client.ping();
}

#[test]
fn rfc_6455_4_2_what_is_no_upgrade_is_refused_and_explained() {
    let broker = listen(2, "ws", "origins = [\"https://example.org\"]");
    let request = |from: &str, to: &str| REQUEST.replace(from, to).into_bytes();
    for (request, status) in [
        (b"GET /mqtt HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), "426 Upgrade Required"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), "404 Not Found"),
        (b"POST /mqtt HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".to_vec(), "405 Method Not Allowed"),
        (request("/mqtt ", "/mqttx "), "404 Not Found"),
        (request("Version: 13", "Version: 12"), "426 Upgrade Required"),
        (request("Protocol: mqtt", "Protocol: soap"), "400 Bad Request"),
        (request("Connection: Upgrade\r\n", ""), "400 Bad Request"),
        (request("Host:", "Origin: https://evil.example\r\nHost:"), "403 Forbidden"),
        (
            request("Host:", &format!("X: {}\r\nHost:", "x".repeat(9000))),
            "431 Request Header Fields Too Large",
        ),
    ] {
        let answer = answer(broker.address, &request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
        assert!(answer.contains("MQTT over WebSocket") && answer.contains("/mqtt"), "{answer}");
    }
    assert_eq!(answer(broker.address, &Packet::from(Connect::v311("plain")).encode(Version::V311)), "");
    wait_until("the log says why", || broker.output().contains("MQTT without WebSocket came"));
    let good = request("Host:", "Origin: https://example.org\r\nHost:");
    let mut socket = WebSocket::over(TcpStream::connect(broker.address).unwrap());
    socket.send(&good);
    socket.send(&frame(CLOSE, b""));
    assert_eq!(socket.recv_frame().unwrap(), Some((CLOSE, vec![])));
}

#[test]
fn mqtt_6_0_0_2_packets_need_not_be_aligned_with_frames() {
    for shards in SHARDS {
        let broker = listen(shards, "ws", "");
        for number in 0..20 {
            let client_id = format!("aligned-{number}");
            let stream = bytes(Version::V311, conversation(&client_id));
            let (first, rest) = stream.split_at(stream.len() / 3);
            // As one frame with the request; as fragments with control frames between; byte by byte.
            let whole = [REQUEST.as_bytes(), &frame(BINARY, &stream)].concat();
            let parts = [
                REQUEST.as_bytes(),
                &frame(0x02, first),
                &frame(PING, b"?"),
                &frame(0x00, b""),
                &frame(0x80, rest),
                &frame(PONG, b"unasked"),
            ]
            .concat();
            let mut socket = WebSocket::over(TcpStream::connect(broker.address).unwrap());
            match number % 3 {
                0 => socket.send(&whole),
                1 => socket.send(&parts),
                _ => whole.iter().for_each(|byte| socket.send(&[*byte])),
            }
            expect_conversation(Client::over(socket, Version::V311), &client_id);
        }
    }
}

#[test]
fn rfc_6455_5_5_2_a_ping_is_answered_with_its_payload() {
    let broker = listen(1, "ws", "");
    let mut socket = WebSocket::open(broker.address);
    for payload in [&b""[..], b"hello", &[7; 125]] {
        socket.send(&frame(PING, payload));
        assert_eq!(socket.recv_frame().unwrap(), Some((PONG, payload.to_vec())));
    }
}

#[test]
fn rfc_6455_7_4_1_violations_close_with_their_code() {
    let broker = listen(2, "ws", "");
    for (bytes, code) in [
        (frame(0x81, b"text"), 1003),
        (b"\x82\x02ab".to_vec(), 1002),
        (frame(0xC2, b"reserved"), 1002),
        (frame(0x83, b"opcode"), 1002),
        (frame(0x80, b"continues nothing"), 1002),
        (frame(0x09, b"fragmented ping"), 1002),
        (frame(PING, &[0; 126]), 1002),
        (frame(CLOSE, &[3]), 1002),
        (b"\x82\xFF\0\0\0\0\x10\0\0\0".to_vec(), 1009),
    ] {
        let mut socket = WebSocket::open(broker.address);
        socket.send(&frame(BINARY, &bytes_of_connect("violator")));
        socket.send(&bytes);
        socket.expect_close(code);
    }
}

fn bytes_of_connect(client_id: &str) -> Vec<u8> {
    Packet::from(Connect::v311(client_id)).encode(Version::V311)
}

#[test]
fn rfc_6455_5_5_1_a_close_is_answered_with_its_code() {
    let broker = listen(1, "ws", "");
    for code in [1000_u16, 1001, 4711] {
        let mut socket = WebSocket::open(broker.address);
        socket.send(&frame(CLOSE, &[&code.to_be_bytes()[..], "bye ü".as_bytes()].concat()));
        socket.expect_close(code);
    }
}

#[test]
fn a_close_of_the_broker_has_a_close_frame() {
    let broker = listen(2, "ws", "");
    let mut socket = WebSocket::open(broker.address);
    let mut packets = Packet::from(Connect::v5("c")).encode(Version::V50);
    packets.extend([0xE0, 0]);
    socket.send(&frame(BINARY, &packets));
    socket.expect_close(1000);
    let mut client = ws::connect(broker.address, Connect::v5("malformed")).0;
    client.send_bytes(&[0x00, 0x00]);
    client.expect_disconnect(0x81);
}

#[test]
fn mqtt_3_1_2_8_a_will_is_due_without_disconnect() {
    for shards in SHARDS {
        let broker = listen(shards, "ws", "");
        let (mut watcher, _) = ws::connect(broker.address, Connect::v311("watcher"));
        watcher.subscribe("will/#", 1);
        for (end, is_due) in [
            (frame(CLOSE, &1000_u16.to_be_bytes()), true),
            (frame(0x81, b"violation"), true),
            ([frame(BINARY, &[0xE0, 0]), frame(CLOSE, &1000_u16.to_be_bytes())].concat(), false),
        ] {
            let connect = Connect::v311("mortal").will(Will::new("will/t", "gone"));
            let packet = Packet::from(connect).encode(Version::V311);
            // In one segment: the close is seen where the connection may be about to move.
            let mut socket = WebSocket::over(TcpStream::connect(broker.address).unwrap());
            socket.send(&[REQUEST.as_bytes(), &frame(BINARY, &packet), &end].concat());
            while socket.recv_frame().unwrap_or(None).is_some() {}
            if is_due {
                watcher.expect_message("will/t", "gone");
            }
        }
        watcher.expect_nothing();
    }
}

#[test]
fn a_slow_handshake_is_cut_by_the_connect_timeout() {
    let broker = super::start(2, "[[listener]]\nurl = \"ws://{address}\"\n[limits]\nconnect_timeout_s = 1");
    let start = Instant::now();
    for beginning in [&b""[..], b"GET /mqtt HTTP/1.1\r\n", REQUEST.as_bytes()] {
        let mut stream = TcpStream::connect(broker.address).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.write_all(beginning).unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
    }
    assert!(start.elapsed() < TIMEOUT, "{:?}", start.elapsed());
}

#[test]
fn large_messages_cross_in_large_frames() {
    for shards in SHARDS {
        let broker = listen(shards, "ws", "");
        let (mut subscriber, _) = ws::connect(broker.address, Connect::v5("subscriber"));
        subscriber.subscribe("large", 1);
        let (mut publisher, _) = ws::connect(broker.address, Connect::v5("publisher"));
        for len in [100, 126, 65_000, 65_536, 300_000, 1_000_000] {
            let payload: Vec<u8> = (0..len).map(|at| ((at * 31) >> 4) as u8).collect();
            publisher.publish(Publish::new("large", payload.clone()).qos(1));
            assert!(subscriber.recv_message().payload == payload, "{len} bytes");
        }
    }
}

#[test]
fn a_client_that_reads_nothing_can_not_make_pongs_pile_up() {
    let broker = listen(1, "ws", "");
    let mut socket = WebSocket::open(broker.address);
    socket.send(&frame(BINARY, &bytes_of_connect("greedy")));
    socket.recv_frame().unwrap();
    let before = resident_kib(&broker);
    let pings = frame(PING, &[0; 125]).repeat(500);
    // 26 MB of pings, whose pongs are not read: more than the sockets hold. They are taken all the same.
    for _ in 0..400 {
        socket.send(&pings);
    }
    let (mut other, _) = ws::connect(broker.address, Connect::v311("other"));
    other.ping();
    let after = resident_kib(&broker);
    assert!(after < before + 16 * 1024, "{before} KiB became {after} KiB");
}

#[test]
fn origins_change_at_a_reload() {
    let broker = listen(2, "ws", "origins = [\"https://old.example\"]");
    let request = REQUEST.replace("Host:", "Origin: https://new.example\r\nHost:");
    assert!(answer(broker.address, request.as_bytes()).starts_with("HTTP/1.1 403 "));
    reload(&broker, "https://old.example", "https://new.example");
    wait_until("the new origin is in effect", || {
        let mut stream = TcpStream::connect(broker.address).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        status == *b"HTTP/1.1 101"
    });
}

#[test]
fn a_client_over_capacity_is_refused_in_a_frame() {
    let broker = listen(2, "ws", "max_connections = 1");
    let (mut first, _) = ws::connect(broker.address, Connect::v5("first"));
    let mut socket = WebSocket::open(broker.address);
    socket.send(&frame(BINARY, &Packet::from(Connect::v5("second")).encode(Version::V50)));
    let (kind, payload) = socket.recv_frame().unwrap().unwrap();
    assert_eq!((kind, payload[0], payload[3]), (BINARY, 0x20, 0x97), "{payload:02x?}");
    socket.expect_close(1000);
    first.ping();
}

#[test]
fn sigterm_says_goodbye_in_frames() {
    let mut broker = listen(4, "ws", "");
    let mut clients: Vec<_> =
        (0..20).map(|number| ws::connect(broker.address, Connect::v5(&format!("c-{number}"))).0).collect();
    let mut opening = TcpStream::connect(broker.address).unwrap();
    opening.write_all(b"GET /mqtt HTTP/1.1\r\n").unwrap();
    broker.signal("TERM");
    clients.iter_mut().for_each(|client| client.expect_disconnect(0x8B));
    assert_eq!(broker.wait().code(), Some(0));
}

#[test]
fn a_subscriber_that_reads_nothing_can_not_make_messages_pile_up() {
    let broker = listen(2, "ws", "");
    let (mut slow, _) = ws::connect(broker.address, Connect::v311("slow"));
    slow.subscribe("flood", 0);
    let (mut publisher, _) = ws::connect(broker.address, Connect::v311("publisher"));
    let before = resident_kib(&broker);
    for _ in 0..600 {
        publisher.send(Publish::new("flood", vec![b'x'; 100_000]));
    }
    publisher.ping();
    let after = resident_kib(&broker);
    // Of 60 MB; on a busy machine some wait between the shards.
    assert!(after < before + 32 * 1024, "{before} KiB became {after} KiB");
    // What was not dropped is whole.
    assert_eq!(slow.recv_message().payload.len(), 100_000);
}

/// Resident memory of the broker.
fn resident_kib(broker: &crate::broker::Broker) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", broker.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn two_thousand_idle_connections_leave_nothing_behind() {
    let broker = listen(2, "ws", "");
    let round = || {
        let mut clients: Vec<_> = (0..2000)
            .map(|number| {
                let (mut client, _) = ws::connect(broker.address, Connect::v311(&format!("idle-{number}")));
                client.subscribe("t", 0);
                client
            })
            .collect();
        clients[0].publish(Publish::new("t", "x"));
        clients.iter_mut().for_each(|client| drop(client.expect_message("t", "x")));
        let resident = resident_kib(&broker);
        drop(clients);
        resident
    };
    let at_rest = || {
        std::thread::sleep(Duration::from_millis(1500));
        resident_kib(&broker)
    };
    // The tables and pools grow with the first.
    for _ in 0..2 {
        round();
    }
    let first = at_rest();
    let mut most = 0;
    for _ in 0..4 {
        most = round();
    }
    // A few huge pages, which the system gives whole, as after a churn of plain connections.
    wait_until("the memory of the connections is given back", || resident_kib(&broker) < first + 16 * 1024);
    println!("{most} KiB with them; without {first} KiB, then {} KiB", resident_kib(&broker));
}
