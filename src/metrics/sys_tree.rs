//! The `$SYS` tree: the node's numbers as Topic Names and payloads, in emqttd's places, so that dashboards made for
//! it go on working. What emqttd lacked stands beside it: `shards/<n>/…`, where a hot shard shows.

use std::borrow::Borrow;

use super::{Counter, Kind, Metrics, Totals, datetime_utc, uptime};

/// What one publication of the tree is made of.
#[derive(Debug, Clone, Copy)]
pub struct SysTree<'a, M> {
    /// First levels of every Topic Name (`sys.prefix`).
    pub prefix: &'a str,
    /// The node's name, the level after them.
    pub node: &'a str,
    /// Version of the broker.
    pub version: &'a str,
    /// Seconds since the broker started.
    pub uptime_s: u64,
    /// Seconds since 1970, UTC.
    pub unix_s: u64,
    /// The sums to show.
    pub totals: &'a Totals,
    /// The shards, in order: each one's share is shown too.
    pub shards: &'a [M],
}

/// What `sysdescr` says.
const SYSDESCR: &str = "Myriad MQTT Broker";

/// A shard's number by its place below `shards/<n>/`.
type Share = (&'static str, fn(&Metrics) -> &Counter);

/// What of a shard is shown by itself: what tells whether it carries more than its share.
const SHARES: [Share; 14] = [
    ("clients", |m| &m.clients),
    ("sessions", |m| &m.sessions),
    ("subscriptions", |m| &m.subscriptions),
    ("queues", |m| &m.queues),
    ("bytes/received", |m| &m.bytes_received),
    ("bytes/sent", |m| &m.bytes_sent),
    ("messages/received", |m| &m.messages_received),
    ("messages/sent", |m| &m.messages_sent),
    ("messages/dropped", |m| &m.messages_dropped),
    ("mailbox", |m| &m.mailbox_depth),
    ("needless_hops", |m| &m.needless_hops),
    ("credit_waits", |m| &m.credit_waits),
    ("slow_turns", |m| &m.slow_turns),
    ("cpu_us", |m| &m.cpu_us),
];

impl<M: Borrow<Metrics>> SysTree<'_, M> {
    /// Every Topic Name of the tree with its payload; made one by one, so the caller may spread them over turns.
    pub fn topics(&self) -> impl Iterator<Item = (String, String)> + '_ {
        let nodes = std::iter::once((self.prefix.to_owned(), self.node.to_owned()));
        let below = self.broker().chain(self.sums()).chain(self.reverse_routes()).chain(self.shares());
        nodes.chain(below.map(|(path, payload)| (format!("{}/{}/{path}", self.prefix, self.node), payload)))
    }

    fn broker(&self) -> impl Iterator<Item = (String, String)> + '_ {
        let facts = [
            ("version", self.version.to_owned()),
            ("uptime", uptime(self.uptime_s)),
            ("datetime", datetime_utc(self.unix_s)),
            ("sysdescr", SYSDESCR.to_owned()),
        ];
        facts.into_iter().map(|(path, payload)| (path.to_owned(), payload))
    }

    fn sums(&self) -> impl Iterator<Item = (String, String)> + '_ {
        self.totals.each().flat_map(|(metric, now, max)| {
            let (first, second) = match metric.kind {
                Kind::Counter => ((metric.path.to_owned(), now), None),
                Kind::Gauge => {
                    ((format!("{}/count", metric.path), now), Some((format!("{}/max", metric.path), max)))
                }
            };
            std::iter::once(first).chain(second).map(|(path, number)| (path, number.to_string()))
        })
    }

    /// emqttd kept routes in two tables; here each is in one, whichever way it is asked.
    fn reverse_routes(&self) -> impl Iterator<Item = (String, String)> + '_ {
        self.totals.each().filter(|(metric, ..)| metric.name == "routes").flat_map(|(metric, now, max)| {
            let number = |which, n: u64| (format!("{}/reverse/{which}", metric.path), n.to_string());
            [number("count", now), number("max", max)]
        })
    }

    fn shares(&self) -> impl Iterator<Item = (String, String)> + '_ {
        self.shards.iter().enumerate().flat_map(|(n, shard)| {
            let share = move |(path, read): Share| {
                (format!("shards/{n}/{path}"), read(shard.borrow()).load().to_string())
            };
            SHARES.into_iter().map(share)
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;

    fn tree() -> BTreeMap<String, String> {
        let shards = [Arc::new(Metrics::default()), Arc::new(Metrics::default())];
        shards[0].clients.set(2);
        shards[1].clients.set(5);
        shards[1].cpu_us.set(77);
        shards[1].messages_qos1_received.add(9);
        let mut totals = Totals::default();
        totals.observe(&shards);
        shards[1].clients.set(4);
        totals.observe(&shards);
        let tree = SysTree {
            prefix: "$SYS/brokers",
            node: "n@h",
            version: "1.2.3",
            uptime_s: 61,
            unix_s: 0,
            totals: &totals,
            shards: &shards,
        };
        let topics: Vec<_> = tree.topics().collect();
        let map: BTreeMap<_, _> = topics.iter().cloned().collect();
        assert_eq!(map.len(), topics.len(), "a topic comes once");
        map
    }

    #[test]
    fn the_node_list_and_the_broker() {
        let tree = tree();
        assert_eq!(tree["$SYS/brokers"], "n@h");
        assert_eq!(tree["$SYS/brokers/n@h/version"], "1.2.3");
        assert_eq!(tree["$SYS/brokers/n@h/uptime"], "1 minutes, 1 seconds");
        assert_eq!(tree["$SYS/brokers/n@h/datetime"], "1970-01-01 00:00:00");
        assert_eq!(tree["$SYS/brokers/n@h/sysdescr"], "Myriad MQTT Broker");
    }

    #[test]
    fn gauges_have_count_and_max_counters_their_value_and_shards_their_share() {
        let tree = tree();
        assert_eq!(tree["$SYS/brokers/n@h/stats/clients/count"], "6");
        assert_eq!(tree["$SYS/brokers/n@h/stats/clients/max"], "7");
        assert_eq!(tree["$SYS/brokers/n@h/metrics/messages/qos1/received"], "9");
        assert_eq!(tree["$SYS/brokers/n@h/shards/0/clients"], "2");
        assert_eq!(tree["$SYS/brokers/n@h/shards/1/clients"], "4");
        assert_eq!(tree["$SYS/brokers/n@h/shards/1/cpu_us"], "77");
    }

    #[test]
    fn the_topics_of_emqttd_are_all_there() {
        let tree = tree();
        let mut expected: Vec<String> = Vec::new();
        for gauge in [
            "clients",
            "sessions",
            "topics",
            "subscribers",
            "subscriptions",
            "routes",
            "routes/reverse",
            "queues",
            "retained",
        ] {
            expected.extend([format!("stats/{gauge}/count"), format!("stats/{gauge}/max")]);
        }
        for path in ["bytes/received", "bytes/sent", "packets/received", "packets/sent", "packets/connect"] {
            expected.push(format!("metrics/{path}"));
        }
        for kind in ["publish", "puback", "pubrec", "pubrel", "pubcomp"] {
            expected
                .extend([format!("metrics/packets/{kind}/received"), format!("metrics/packets/{kind}/sent")]);
        }
        for kind in
            ["connack", "subscribe", "suback", "unsubscribe", "unsuback", "pingreq", "pingresp", "disconnect"]
        {
            expected.push(format!("metrics/packets/{kind}"));
        }
        for kind in ["puback", "pubrec", "pubrel", "pubcomp"] {
            expected.push(format!("metrics/packets/{kind}/missed"));
        }
        for path in ["received", "sent", "retained", "dropped", "qos2/dropped"] {
            expected.push(format!("metrics/messages/{path}"));
        }
        for qos in 0..3 {
            expected.extend([
                format!("metrics/messages/qos{qos}/received"),
                format!("metrics/messages/qos{qos}/sent"),
            ]);
        }
        for path in expected {
            assert!(tree.contains_key(&format!("$SYS/brokers/n@h/{path}")), "{path}");
        }
    }
}
