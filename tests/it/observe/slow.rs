//! Slow subscribers: who does not take what comes, by what waited, was dropped and how long it took.

use serde_json::Value;

use super::observed;
use crate::broker::{Broker, wait_until};
use crate::wire::{AckKind, Connect, Publish};

fn slow(broker: &Broker) -> Vec<Value> {
    broker.http().json("/api/v1/slow")["items"].as_array().unwrap().clone()
}

fn entry(broker: &Broker, client_id: &str) -> Option<Value> {
    slow(broker).into_iter().find(|client| client["client_id"] == client_id)
}

#[test]
fn a_client_that_does_not_read_is_listed_with_what_it_lost() {
    for shards in [1, 3] {
        let Some(broker) = observed(shards, &["limits.outbound_bytes=65536"]) else { return };
        assert!(slow(&broker).is_empty());
        let mut fast = broker.connect(Connect::v5("fast"));
        fast.subscribe("flood", 0);
        let mut sleeper = broker.connect(Connect::v5("sleeper"));
        sleeper.subscribe("flood", 0);
        let mut publisher = broker.connect(Connect::v5("p"));
        wait_until("the sleeper loses messages", || {
            for _ in 0..20 {
                publisher.publish(Publish::new("flood", vec![b'x'; 50_000]));
                fast.recv_message();
            }
            publisher.ping();
            entry(&broker, "sleeper").is_some_and(|client| client["dropped"].as_u64().unwrap() > 0)
        });
        let listed = entry(&broker, "sleeper").unwrap();
        assert!(listed["outbound_bytes"].as_u64().unwrap() > 65_536, "{listed}");
        assert!(listed["shard"].as_u64().unwrap() < u64::from(shards), "{listed}");
        assert!(entry(&broker, "fast").is_none(), "{:?}", slow(&broker));
        // Once it has read all, its delay does not grow any more.
        while sleeper.recv_within(std::time::Duration::from_millis(500)).is_some() {}
        sleeper.ping();
        wait_until("its delay stands still", || {
            let delay = |client: Option<Value>| client.unwrap()["worst_delay_ms"].as_u64().unwrap();
            let before = delay(entry(&broker, "sleeper"));
            std::thread::sleep(std::time::Duration::from_millis(50));
            before > 0 && delay(entry(&broker, "sleeper")) == before
        });
        drop(sleeper);
        wait_until("who is gone is not listed", || entry(&broker, "sleeper").is_none());
    }
}

#[test]
fn a_client_that_does_not_acknowledge_is_listed_by_its_mqueue() {
    let Some(broker) = observed(2, &["session.inflight_max=1"]) else { return };
    let mut lazy = broker.connect(Connect::v5("lazy"));
    lazy.subscribe("t", 1);
    let mut publisher = broker.connect(Connect::v5("p"));
    (0..50).for_each(|n| publisher.publish(Publish::new("t", format!("{n}")).qos(1)));
    publisher.ping();
    wait_until("its queue is seen", || entry(&broker, "lazy").is_some_and(|client| client["queued"] == 49));
    let mut first = None;
    for _ in 0..50 {
        let publish = lazy.recv_publish();
        first.get_or_insert(publish.id);
        lazy.acknowledge(&publish);
    }
    assert!(first.is_some());
    lazy.ping();
    let listed = entry(&broker, "lazy").unwrap();
    assert_eq!((&listed["queued"], &listed["dropped"]), (&32.into(), &0.into()), "{listed}");
    let _ = AckKind::Puback;
}
