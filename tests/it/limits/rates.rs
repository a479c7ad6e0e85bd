//! publish_rate and bytes_rate: past them the broker does not read on, so the client waits and loses nothing.

use std::time::{Duration, Instant};

use super::limited;
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
