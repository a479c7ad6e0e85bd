//! The whole `$SYS` tree: every topic of emqttd is there, everything there is a number or known by name. And who may see it.

use std::collections::BTreeMap;
use std::time::Instant;

use super::observed;
use crate::broker::Broker;
use crate::client::{Client, TIMEOUT};
use crate::wire::{Connect, Version};

/// Reads the tree until all that has to be there has come, retained or live, in whatever order.
fn tree(client: &mut Client) -> BTreeMap<String, String> {
    let mut tree = BTreeMap::new();
    let deadline = Instant::now() + TIMEOUT;
    let is_missing =
        |tree: &BTreeMap<String, String>, path: &str| !tree.contains_key(&format!("$SYS/brokers/n1/{path}"));
    let wanted: Vec<_> =
        of_emqttd().into_iter().chain(["shards/0/cpu_us".into(), "shards/1/cpu_us".into()]).collect();
    // A publication has less than 250 topics, and one comes every second.
    let mut more = 500;
    while wanted.iter().any(|path| is_missing(&tree, path)) || more > 0 {
        more -= i32::from(more > 0);
        let missing: Vec<_> = wanted.iter().filter(|path| is_missing(&tree, path)).collect();
        assert!(Instant::now() < deadline, "{missing:?} are missing in {tree:#?}");
        let publish = client.recv_publish();
        tree.insert(publish.topic.clone(), publish.text());
    }
    tree
}

/// What emqttd published (EMQTTD.md, 1.6), below the node's name.
fn of_emqttd() -> Vec<String> {
    let mut paths: Vec<String> =
        ["version", "uptime", "datetime", "sysdescr"].into_iter().map(str::to_owned).collect();
    let stats = [
        "clients",
        "sessions",
        "topics",
        "subscribers",
        "subscriptions",
        "routes",
        "routes/reverse",
        "queues",
        "retained",
    ];
    for stat in stats {
        paths.extend([format!("stats/{stat}/count"), format!("stats/{stat}/max")]);
    }
    for path in ["bytes/received", "bytes/sent", "packets/received", "packets/sent"] {
        paths.push(format!("metrics/{path}"));
    }
    let packets = [
        "connect",
        "connack",
        "subscribe",
        "suback",
        "unsubscribe",
        "unsuback",
        "pingreq",
        "pingresp",
        "disconnect",
        "publish/received",
        "publish/sent",
    ];
    paths.extend(packets.map(|packet| format!("metrics/packets/{packet}")));
    for ack in ["puback", "pubrec", "pubrel", "pubcomp"] {
        paths.extend(["received", "sent", "missed"].map(|what| format!("metrics/packets/{ack}/{what}")));
    }
    for message in ["received", "sent", "retained", "dropped", "qos2/dropped"] {
        paths.push(format!("metrics/messages/{message}"));
    }
    for qos in 0..3 {
        paths.extend(["received", "sent"].map(|what| format!("metrics/messages/qos{qos}/{what}")));
    }
    paths
}

#[test]
fn sys_has_every_topic_of_emqttd_and_nothing_unknown() {
    let Some(broker) = observed(2, &[]) else { return };
    let mut client = broker.connect(Connect::v5("watcher"));
    client.subscribe("$SYS/#", 0);
    let tree = tree(&mut client);
    assert_eq!(tree["$SYS/brokers"], "n1");
    let texts = ["version", "uptime", "datetime", "sysdescr"];
    for (topic, payload) in &tree {
        let Some(path) = topic.strip_prefix("$SYS/brokers/n1/") else { continue };
        let level = path.split('/').next().unwrap();
        if ["stats", "metrics", "shards"].contains(&level) {
            assert!(payload.parse::<u64>().is_ok(), "{topic} {payload:?}");
        } else {
            assert!(texts.contains(&path) || level == "clients", "{topic} {payload:?}");
        }
    }
    let count = |level: &str| {
        tree.keys().filter(|topic| topic.starts_with(&format!("$SYS/brokers/n1/{level}"))).count()
    };
    assert_eq!(count("shards/0/"), count("shards/1/"));
    assert!(count("metrics/") > 100 && count("stats/") > 30, "{tree:#?}");
}

/// A client that comes from `source` by the word of a load balancer.
fn from(broker: &Broker, source: &str, client_id: &str) -> Client {
    let mut client = broker.open(Version::V50);
    client.send_bytes(format!("PROXY TCP4 {source} 10.0.0.1 56324 1883\r\n").as_bytes());
    client.send(Connect::v5(client_id));
    assert_eq!(client.recv_connack().reason, 0);
    client
}

#[test]
fn sys_is_for_this_machine_where_no_acl_says_otherwise() {
    let proxied =
        ["listener.proxy_protocol=true", "listener.trusted=127.0.0.0/8", "listener.allow_anonymous=true"];
    for (shards, more, stranger_reason) in
        [(1, vec![], 0x87), (3, vec![], 0x87), (1, vec!["sys.prefix=stats"], 0)]
    {
        let settings = [proxied.as_slice(), more.as_slice()].concat();
        // The readiness of the broker is printed: nobody has to connect for that.
        let Some(broker) = observed(shards, &settings) else { return };
        let mut stranger = from(&broker, "192.0.2.7", "stranger");
        assert_eq!(stranger.subscribe_reason("$SYS/#", 0), stranger_reason);
        assert_eq!(stranger.subscribe_reason("$SYS/brokers/+/version", 0), stranger_reason);
        assert_eq!(stranger.subscribe_reason("$share/g/$SYS/brokers/#", 0), stranger_reason);
        assert_eq!(stranger.subscribe_reason("#", 1), 1, "everything else is for everyone");
        let mut near = from(&broker, "127.0.0.1", "near");
        let prefix = if more.is_empty() { "$SYS/brokers" } else { "stats" };
        assert_eq!(near.subscribe_reason(&format!("{prefix}/#"), 0), 0);
        assert!(near.recv_publish().topic.starts_with(prefix));
        if more.is_empty() {
            stranger.expect_nothing();
        } else {
            assert_eq!(stranger.subscribe_reason("stats/#", 0), 0x87);
        }
    }
}
