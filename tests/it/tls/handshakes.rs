//! Versions, names, protocols, resumption, hand-over to other shards, and what is no handshake.

use std::io::{Read, Write};

use rustls::HandshakeKind;

use super::peer::{V12, V13, shake};
use super::*;
use crate::client::Client;
use crate::wire::{Connect, Packet, Publish, Subscribe, Version, Will};

#[test]
fn mqtt_in_both_versions_of_tls_on_any_number_of_shards() {
    for shards in SHARDS {
        let secured = Options::shards(shards).start();
        let mut watcher = secured.broker.connect(Connect::v5("watcher"));
        watcher.subscribe("from/+", 2);
        for (versions, name) in [(V12, "v12"), (V13, "v13")] {
            for number in 0..8 {
                let id = format!("{name}-{number}");
                let version = Version::ALL[number % 3];
                let mut client =
                    secured.peer().versions(versions).connect(secured.mqtts, Connect::new(version, &id));
                client.subscribe("all", 1);
                client.publish(Publish::new(&format!("from/{id}"), id.as_str()).qos(2));
                watcher.expect_message(&format!("from/{id}"), &id);
                secured.broker.connect(Connect::v311("sender")).publish(Publish::new("all", "x").qos(1));
                client.expect_message("all", "x");
                client.disconnect();
            }
        }
        secured.expect_metric("metrics/tls/handshakes", 16);
        secured.expect_metric("metrics/tls/handshakes/failed", 0);
    }
}

#[test]
fn connect_subscribe_and_publish_in_one_record_move_to_the_home_shard() {
    for shards in SHARDS {
        let secured = Options::shards(shards).start();
        for versions in [V12, V13] {
            for number in 0..20 {
                let id = format!("pipelined-{number}");
                let version = Version::V50;
                let mut bytes = Packet::from(Connect::v5(&id)).encode(version);
                bytes.extend(Packet::from(Subscribe::new(1, &id, 1)).encode(version));
                let mut publish = Publish::new(&id, "first").qos(1);
                publish.id = 2;
                bytes.extend(Packet::from(publish).encode(version));
                let mut stream = secured.peer().versions(versions).open(secured.mqtts);
                stream.conn.writer().write_all(&bytes).unwrap();
                shake(&mut stream).unwrap();
                stream.flush().unwrap();
                let mut client = Client::over(stream, version);
                assert_eq!(client.recv_connack().reason, 0);
                client.recv_where(|packet| matches!(packet, Packet::Ack(ack) if ack.id == 1));
                let publish = client.recv_where(|packet| matches!(packet, Packet::Publish(_)));
                assert!(matches!(publish, Packet::Publish(publish) if publish.text() == "first"));
            }
        }
    }
}

#[test]
fn a_stream_byte_by_byte_is_one_stream() {
    let secured = Options::shards(4).start();
    for number in 0..4 {
        let mut stream = secured.peer().open(secured.mqtts);
        let connect = Packet::from(Connect::v5(&format!("slow-{number}"))).encode(Version::V50);
        stream.conn.writer().write_all(&connect).unwrap();
        for _ in 0..10 {
            let mut bytes = Vec::new();
            while stream.conn.wants_write() {
                stream.conn.write_tls(&mut bytes).unwrap();
            }
            for byte in bytes {
                stream.sock.write_all(&[byte]).unwrap();
            }
            if !stream.conn.is_handshaking() {
                break;
            }
            stream.conn.read_tls(&mut stream.sock).unwrap();
            stream.conn.process_new_packets().unwrap();
        }
        assert_eq!(Client::over(stream, Version::V50).recv_connack().reason, 0);
    }
}

#[test]
fn sessions_resume_whichever_shard_accepts() {
    let secured = Options::shards(4).start();
    for (versions, resumed) in [(V12, 9), (V13, 18)] {
        let peer = secured.peer().versions(versions);
        let config = peer.config();
        for round in 0..10 {
            let mut stream = peer.open_with(&config, secured.mqtts);
            shake(&mut stream).unwrap();
            let kind = stream.conn.handshake_kind();
            assert_eq!(kind == Some(HandshakeKind::Resumed), round > 0, "{kind:?} in round {round}");
            let mut client = Client::over(stream, Version::V50);
            client.send(Connect::v5("again"));
            client.recv_connack();
            client.ping();
            client.disconnect();
        }
        secured.expect_metric("metrics/tls/handshakes/resumed", resumed);
    }
}

#[test]
fn server_names_pick_the_certificate() {
    let options = Options::shards(2);
    options.write_pair("b", &options.authority.server(&["b.example"]));
    options.write_pair("wild", &options.authority.server(&["*.wild.example"]));
    let secured = options
        .key("tls.cert = [\"server.pem\", \"b.pem\", \"wild.pem\"]")
        .key("tls.key = [\"server.key\", \"b.key\", \"wild.key\"]")
        .start();
    for host in [HOST, "b.example", "any.wild.example"] {
        secured.peer().host(host).connect(secured.mqtts, Connect::v5("named")).disconnect();
    }
    let problem = secured.peer().host("c.example").shake(secured.mqtts).err().unwrap();
    assert!(problem.contains(HOST), "the first certificate is shown: {problem}");
}

#[test]
fn protocols_are_offered_by_what_the_listener_carries() {
    let secured = Options::shards(1).start();
    let stream = secured.peer().alpn(&["mqtt"]).shake(secured.mqtts).unwrap();
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"mqtt"[..]));
    let stream = secured.peer().alpn(&["h2", "http/1.1"]).shake(secured.wss).unwrap();
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    for (alpn, address) in [("http/1.1", secured.mqtts), ("mqtt", secured.wss)] {
        let problem = secured.peer().alpn(&[alpn]).shake(address).err().unwrap();
        assert!(problem.contains("NoApplicationProtocol"), "{problem}");
    }
}

#[test]
fn an_old_version_is_refused_where_the_file_says_so() {
    let secured = Options::shards(1).key("tls.min_version = \"1.3\"").start();
    let problem = secured.peer().versions(V12).shake(secured.mqtts).err().unwrap();
    assert!(problem.contains("ProtocolVersion"), "{problem}");
    secured.peer().versions(V13).connect(secured.mqtts, Connect::v5("new")).disconnect();
    secured.expect_metric("metrics/tls/handshakes/failed", 1);
}

#[test]
fn plain_mqtt_on_a_tls_listener_is_closed_and_named_in_the_log() {
    let secured = Options::shards(2).start();
    let mut client = Client::open(secured.mqtts, Version::V50);
    client.send(Connect::v5("plain"));
    client.expect_closed();
    wait_until("the log names it", || secured.broker.output().contains("plain MQTT on a TLS listener"));
}

#[test]
fn tls_on_a_plain_listener_is_closed() {
    let secured = Options::shards(2).start();
    secured.peer().shake(secured.broker.address).err().unwrap();
}

#[test]
fn garbage_gets_an_alert_and_is_closed() {
    let secured = Options::shards(2).start();
    let mut stream = std::net::TcpStream::connect(secured.mqtts).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.write_all(&[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 9]).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer[0], 0x15, "an alert: {answer:02x?}");
    secured.expect_metric("metrics/tls/handshakes/failed", 1);
}

#[test]
fn a_slow_handshake_is_cut_by_connect_timeout_s() {
    let secured = Options::shards(2).more("[limits]\nconnect_timeout_s = 1").start();
    let mut silent = std::net::TcpStream::connect(secured.mqtts).unwrap();
    let mut halfway = secured.peer().open(secured.mqtts);
    let mut hello = Vec::new();
    halfway.conn.write_tls(&mut hello).unwrap();
    halfway.sock.write_all(&hello[..hello.len() / 2]).unwrap();
    let handshaken = secured.peer().shake(secured.mqtts).unwrap();
    for socket in [&mut silent, &mut halfway.sock] {
        socket.set_read_timeout(Some(TIMEOUT)).unwrap();
        let start = Instant::now();
        assert_eq!(socket.read(&mut [0; 100]).unwrap(), 0);
        assert!(start.elapsed() < TIMEOUT);
    }
    Client::over(handshaken, Version::V50).expect_closed();
}

#[test]
fn the_end_is_told_in_order() {
    let secured = Options::shards(2).start();
    // The client's reader reports a cut stream as an error: a close without close_notify would fail these.
    let mut client = secured.peer().connect(secured.mqtts, Connect::v5("wrong"));
    client.send_bytes(&[0xF0, 0, 0]);
    client.expect_disconnect(0x82);
    let mut client = secured.peer().connect(secured.mqtts, Connect::v5("taken"));
    let other = secured.peer().connect(secured.mqtts, Connect::v5("taken"));
    client.expect_disconnect(0x8E);
    drop(other);
    let mut client = secured.peer().connect(secured.mqtts, Connect::v311("old"));
    let mut broker = secured.broker;
    broker.signal("TERM");
    client.expect_closed();
    assert_eq!(broker.wait().code(), Some(0));
}

#[test]
fn a_client_that_says_goodbye_in_tls_only_leaves_its_will() {
    let secured = Options::shards(2).start();
    let mut watcher = secured.broker.connect(Connect::v5("watcher"));
    watcher.subscribe("will", 1);
    let mut stream = secured.peer().shake(secured.mqtts).unwrap();
    let connect = Connect::v5("leaver").will(Will::new("will", "gone").qos(1));
    stream.write_all(&Packet::from(connect).encode(Version::V50)).unwrap();
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).unwrap();
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    watcher.expect_message("will", "gone");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
}

#[test]
fn large_messages_pass_both_ways_also_to_a_slow_reader() {
    for shards in SHARDS {
        let secured = Options::shards(shards).start();
        let payload: Vec<u8> = (0..900_000_u32).map(|n| (n % 253) as u8).collect();
        let mut reader = secured.peer().connect(secured.mqtts, Connect::v5("reader"));
        reader.subscribe("big", 1);
        let mut writer = secured.peer().versions(V12).connect(secured.mqtts, Connect::v5("writer"));
        for _ in 0..5 {
            writer.publish(Publish::new("big", payload.clone()).qos(1));
        }
        for _ in 0..5 {
            assert!(reader.recv_message().payload == payload);
        }
    }
}
