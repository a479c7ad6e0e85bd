//! publish_rate and bytes_rate: past them the broker does not read on, so the client waits and loses nothing.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::limited;
use crate::broker::{Broker, binary, temporary_dir, unused_address, wait_until};
use crate::numbers::wait_for;
use crate::wire::{AckKind, Connect, Packet, Publish, Version};

#[test]
fn past_the_publish_rate_a_client_is_paused_and_loses_nothing() {
    for shards in [1, 4] {
        let broker = limited(
            shards,
            &["limits.publish_rate=100", "limits.publish_burst=20", "limits.receive_max=1000"],
        );
        let mut reader = broker.connect(Connect::v5("reader"));
        reader.subscribe("t", 0);
        let mut publisher = broker.connect(Connect::v5("publisher"));
        let start = Instant::now();
        for number in 1..=170 {
            publisher.send(Publish::new("t", number.to_string()).qos(1).id(number));
        }
        // Meanwhile others are served as ever.
        let mut other = broker.connect(Connect::v5("other"));
        other.ping();
        assert!(start.elapsed() < Duration::from_millis(1200), "{:?}", start.elapsed());
        for number in 1..=170 {
            publisher.expect_ack(AckKind::Puback, number, 0);
        }
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(1450), "150 messages beyond the burst at 100/s took {took:?}");
        reader.expect_payloads((1..=170).map(|number: u16| number.to_string()));
        wait_for(&broker, "metrics/limits/publish_rate/waits", |waits| waits > 0);
    }
}

#[test]
fn mqtt_3_1_2_24_the_keep_alive_does_not_count_while_a_client_is_paused() {
    let broker = limited(1, &["limits.publish_rate=1"]);
    for version in [Version::V311, Version::V50] {
        let mut publisher = broker.connect(Connect::new(version, "publisher").keep_alive_s(1));
        for id in 1..=6 {
            publisher.send(Publish::new("t", "x").qos(1).id(id));
        }
        publisher.send(Packet::Pingreq);
        for id in 1..=6 {
            let reason = if version == Version::V50 { 0x10 } else { 0 };
            publisher.expect_ack(AckKind::Puback, id, reason);
        }
        assert_eq!(publisher.recv(), Packet::Pingresp);
        publisher.disconnect();
    }
}

#[test]
fn past_the_bytes_rate_a_client_is_paused_and_loses_nothing() {
    for (shards, settings) in [
        (1, &["limits.bytes_rate=50000", "limits.bytes_burst=50000"][..]),
        (4, &["limits.bytes_rate=1000000", "listener.bytes_rate=50000", "limits.bytes_burst=50000"]),
    ] {
        let broker = limited(shards, settings);
        let mut reader = broker.connect(Connect::v5("reader"));
        reader.subscribe("t", 1);
        let mut publisher = broker.connect(Connect::v311("publisher"));
        let start = Instant::now();
        for _ in 0..13 {
            publisher.publish(Publish::new("t", vec![b'x'; 10_000]).qos(1));
        }
        let took = start.elapsed();
        assert!(
            took >= Duration::from_millis(1300),
            "70,000 bytes beyond the burst at 50,000/s took {took:?}"
        );
        for _ in 0..13 {
            assert_eq!(reader.recv_message().payload.len(), 10_000);
        }
        wait_for(&broker, "metrics/limits/bytes_rate/waits", |waits| waits > 0);
    }
}

/// A server that answers all requests, once it is told to.
fn slow_server(may_answer: &Arc<AtomicBool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let may_answer = Arc::clone(may_answer);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, may_answer) = (stream.unwrap(), Arc::clone(&may_answer));
            thread::spawn(move || {
                let mut request = [0; 8192];
                // Small requests come whole.
                while stream.read(&mut request).is_ok_and(|len| len > 0) {
                    wait_until("the test's word", || may_answer.load(Ordering::Relaxed));
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
                }
            });
        }
    });
    address
}

/// A client is paused for its CONNECT while it waits for its verdict, and goes home when a reload has lifted the rate. The
/// end of that pause does not come there: the next pause has to have an end of its own.
#[test]
fn a_pause_does_not_go_along_to_the_home_shard() {
    let (address, dir) = (unused_address(), temporary_dir());
    let may_answer = Arc::<AtomicBool>::default();
    let server = slow_server(&may_answer);
    let configure = |bytes_rate: u32| {
        let text = format!(
            "[[listener]]\nurl = \"mqtt://{address}\"\n[auth]\norder = [\"http\"]\n\
             http.auth_req.url = \"http://{server}/\"\nhttp.auth_req.params = \"u=%u\"\n\
             http.timeout_ms = 20000\n[limits]\nbytes_rate = {bytes_rate}\n"
        );
        std::fs::write(dir.join("myriad.toml"), text).unwrap();
    };
    configure(1000);
    let mut command = Command::new(binary());
    command.arg("--config").arg(dir.join("myriad.toml")).arg("--data-dir").arg(&dir);
    command.args(["--shards", "4", "--set", "node.cpu_pinning=false", "--set", "admin.listen="]);
    let broker = Broker::spawn(&mut command, address, 4, dir.clone());
    let reload = |bytes_rate, times| {
        configure(bytes_rate);
        broker.signal("HUP");
        wait_until("the reload", || broker.output().matches("configuration reloaded").count() == times);
    };
    // Most of them are at home elsewhere. They are paused for 3.5 s.
    let mut clients: Vec<_> = (0..6).map(|_| broker.open(Version::V311)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(Connect::v311(&format!("c{number}")).username("u").password(&"p".repeat(4500)));
    }
    reload(0, 1);
    may_answer.store(true, Ordering::Relaxed);
    for client in &mut clients {
        assert_eq!(client.recv_connack().reason, 0);
    }
    reload(2000, 2);
    let start = Instant::now();
    for client in &mut clients {
        client.send(Publish::new("t", vec![b'x'; 4000]).qos(1).id(1));
        client.expect_ack(AckKind::Puback, 1, 0);
        client.send(Packet::Pingreq);
    }
    for client in &mut clients {
        assert_eq!(client.recv(), Packet::Pingresp);
    }
    assert!(start.elapsed() > Duration::from_secs(1), "they were paused once more");
}
