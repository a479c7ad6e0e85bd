//! From publish to delivery: the times of some messages.

use super::observed;
use crate::broker::wait_until;
use crate::wire::{Connect, Publish};

#[test]
fn some_messages_are_timed_on_the_shard_that_delivers_them() {
    for shards in [1, 3] {
        let Some(broker) = observed(shards, &[]) else { return };
        let mut subscribers: Vec<_> = (0..4)
            .map(|number| {
                let mut client = broker.connect(Connect::v5(&format!("s-{number}")));
                client.subscribe("t", 0);
                client
            })
            .collect();
        let mut publishers: Vec<_> =
            (0..4).map(|number| broker.connect(Connect::v5(&format!("p-{number}")))).collect();
        for number in 0..400 {
            for publisher in &mut publishers {
                publisher.publish(Publish::new("t", format!("{number}")));
            }
        }
        subscribers.iter_mut().for_each(|s| (0..1600).for_each(|_| drop(s.recv_message())));
        wait_until("messages are timed", || {
            let latency = broker.http().json("/api/v1/latency");
            let of = |key: &str| latency[key].as_u64().unwrap();
            let each = latency["shards"].as_array().unwrap();
            let sum: u64 = each.iter().map(|shard| shard["count"].as_u64().unwrap()).sum();
            assert_eq!((each.len(), sum), (usize::from(shards), of("count")), "{latency}");
            assert!(of("p50_us") <= of("p90_us") && of("p90_us") <= of("p99_us"), "{latency}");
            assert!(of("p99_us") <= of("p999_us") && of("p999_us") <= of("max_us"), "{latency}");
            assert!(of("max_us") < 60_000_000, "{latency}");
            of("count") >= 20
        });
    }
}
