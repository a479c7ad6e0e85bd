//! What the broker counts at one moment, and what that is a second between two moments.

use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};

use crate::api::{Api, route};
use crate::failure::{Status, status_of};

/// What was asked at one moment.
pub(super) struct Sample {
    at: Instant,
    pub(super) node: Value,
    pub(super) shards: Vec<Value>,
    /// Who falls behind, worst first.
    pub(super) slow: Vec<Value>,
    /// What is wrong.
    pub(super) alarms: Vec<Value>,
}

/// Figures a second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Flow {
    pub(super) received: f64,
    pub(super) sent: f64,
    pub(super) dropped: f64,
    pub(super) bytes_received: f64,
    pub(super) bytes_sent: f64,
    /// Of one CPU.
    pub(super) cpu_percent: f64,
}

/// Figures a second of the node and of its shards.
pub(super) struct Rates {
    pub(super) node: Flow,
    pub(super) shards: Vec<Flow>,
}

impl Sample {
    pub(super) fn take(api: &Api) -> Result<Self> {
        let items = |mut answer: Value| match answer["items"].take() {
            Value::Array(items) => items,
            _ => Vec::new(),
        };
        let node = api.get(&route(&["node"]), &[])?;
        let shards = items(api.get(&route(&["shards"]), &[])?);
        let mut alarms = items(optional(api, "alarms")?);
        alarms.retain(|alarm| alarm["active"] == true);
        let slow = items(optional(api, "slow")?);
        Ok(Self { at: Instant::now(), node, shards, slow, alarms })
    }

    /// A sum over the shards.
    pub(super) fn sum(&self, key: &str) -> u64 {
        self.shards.iter().filter_map(|shard| shard[key].as_u64()).sum()
    }

    pub(super) fn json(&self, rates: &Rates) -> Value {
        let of = |flow: &Flow| {
            json!({
                "messages_received_per_s": flow.received,
                "messages_sent_per_s": flow.sent,
                "messages_dropped_per_s": flow.dropped,
                "bytes_received_per_s": flow.bytes_received,
                "bytes_sent_per_s": flow.bytes_sent,
                "cpu_percent": flow.cpu_percent,
            })
        };
        json!({
            "node": self.node,
            "rates": of(&rates.node),
            "shards": self.shards,
            "rates_of_shards": rates.shards.iter().map(of).collect::<Vec<_>>(),
            "slow": self.slow,
            "alarms": self.alarms,
        })
    }
}

/// What not every broker has.
fn optional(api: &Api, name: &str) -> Result<Value> {
    match api.get(&route(&[name]), &[]) {
        Err(error) if matches!(status_of(&error), Status::NotFound | Status::Failed) => Ok(Value::Null),
        other => other,
    }
}

impl Rates {
    /// Nothing flowed between a moment and itself. A counter that went back belongs to a new process: it counts from 0.
    pub(super) fn between(before: &Sample, now: &Sample) -> Self {
        let seconds = now.at.saturating_duration_since(before.at).as_secs_f64();
        let shards: Vec<Flow> = now
            .shards
            .iter()
            .map(|shard| {
                let old = before.shards.iter().find(|old| old["shard"] == shard["shard"]);
                let rate = |key: &str| {
                    let (new, old) = (shard[key].as_f64(), old.and_then(|old| old[key].as_f64()));
                    let (new, old) = (new.unwrap_or(0.0), old.unwrap_or(0.0));
                    let grown = if new >= old { new - old } else { new };
                    if seconds > 0.0 { grown / seconds } else { 0.0 }
                };
                Flow {
                    received: rate("messages_received"),
                    sent: rate("messages_sent"),
                    dropped: rate("messages_dropped"),
                    bytes_received: rate("bytes_received"),
                    bytes_sent: rate("bytes_sent"),
                    cpu_percent: rate("cpu_us") / 10_000.0,
                }
            })
            .collect();
        let node = shards.iter().fold(Flow::default(), |sum, flow| Flow {
            received: sum.received + flow.received,
            sent: sum.sent + flow.sent,
            dropped: sum.dropped + flow.dropped,
            bytes_received: sum.bytes_received + flow.bytes_received,
            bytes_sent: sum.bytes_sent + flow.bytes_sent,
            cpu_percent: sum.cpu_percent + flow.cpu_percent,
        });
        Self { node, shards }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;

    /// Two shards, of which the first has received so many messages, at so many milliseconds.
    pub(in crate::top) fn sample(start: Instant, after_ms: u64, received: u64) -> Sample {
        Sample {
            at: start + Duration::from_millis(after_ms),
            node: json!({ "name": "myriad@host", "version": "0.1.0", "uptime_s": 3661, "connections": 12_345,
                          "connections_max": 1_000_000, "sessions": 20_000, "subscriptions": 5, "retained": 7,
                          "memory_bytes": 1 << 30, "draining": false,
                          "storage": { "durability": "sync", "is_down": false } }),
            shards: vec![
                json!({ "shard": 0, "clients": 6_000, "messages_received": received, "cpu_us": received * 10, "queued": 3 }),
                json!({ "shard": 1, "clients": 6_345, "messages_received": 0, "queued": 4 }),
            ],
            slow: vec![
                json!({ "client_id": "slow\u{1b}[2J", "outbound_bytes": 2048, "queued": 9, "dropped": 1 }),
            ],
            alarms: vec![json!({ "id": "memory", "message": "memory is high", "active": true })],
        }
    }

    #[test]
    fn rates_are_differences_a_second() {
        let start = Instant::now();
        let (before, now) = (sample(start, 0, 1000), sample(start, 2000, 5000));
        let rates = Rates::between(&before, &now);
        assert_eq!((rates.node.received, rates.node.cpu_percent), (2000.0, 2.0));
        assert_eq!((rates.shards.len(), rates.shards[1].received), (2, 0.0));
        assert_eq!(Rates::between(&now, &sample(start, 3000, 500)).node.received, 500.0);
        assert_eq!(Rates::between(&now, &now).node, Flow::default());
        assert_eq!(now.sum("queued"), 7);
    }
}
