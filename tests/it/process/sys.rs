//! The `$SYS` tree.

use std::collections::HashMap;
use std::time::Instant;

use crate::broker::Broker;
use crate::client::{Client, TIMEOUT};
use crate::wire::{Connect, Packet, Publish};

/// Reads the tree until `done` says that it has all.
fn read(client: &mut Client, done: impl Fn(&HashMap<String, String>) -> bool) -> HashMap<String, String> {
    let mut tree = HashMap::new();
    let deadline = Instant::now() + TIMEOUT;
    while !done(&tree) {
        assert!(Instant::now() < deadline, "{tree:#?}");
        let publish = client.recv_publish();
        tree.insert(publish.topic.clone(), publish.text());
    }
    tree
}

fn watcher(broker: &Broker, filter: &str) -> Client {
    let mut client = broker.connect(Connect::v5("watcher"));
    client.subscribe(filter, 0);
    client
}

sharded!(sys_tells_version_uptime_and_datetime, "sys.interval_s=1", "node.name=n1", |broker| {
    let mut client = watcher(broker, "$SYS/brokers/#");
    let names = ["version", "uptime", "datetime", "sysdescr"];
    let tree = read(&mut client, |tree| {
        names.iter().all(|name| tree.contains_key(&format!("$SYS/brokers/n1/{name}")))
    });
    assert!(tree["$SYS/brokers/n1/uptime"].ends_with("seconds"), "{tree:#?}");
});

sharded!(
    sys_counts_clients_sessions_subscriptions_and_retained,
    "sys.interval_s=1",
    "node.name=n1",
    |broker| {
        let mut client = watcher(broker, "$SYS/#");
        let mut others: Vec<_> =
            (0..9).map(|number| broker.connect(Connect::v5(&format!("c-{number}")))).collect();
        others.iter_mut().for_each(|other| other.subscribe_all(&["a", "b/+"], 1));
        for number in 0..7 {
            others[0].publish(Publish::new(&format!("kept/{number}"), "x").qos(1).retain());
        }
        let wanted = [("clients", 10), ("sessions", 10), ("subscriptions", 19)];
        read(&mut client, |tree| {
            let count = |name: &str| {
                let count = tree.get(&format!("$SYS/brokers/n1/stats/{name}/count"))?;
                count.parse::<usize>().ok()
            };
            // The tree is retained itself, from its second round on all of it; who connects is not.
            let own = tree.keys().filter(|topic| !topic.starts_with("$SYS/brokers/n1/clients/")).count();
            wanted.iter().all(|(name, value)| count(name) == Some(*value))
                && [7, 7 + own].map(Some).contains(&count("retained"))
        });
    }
);

sharded!(
    sys_counts_messages_and_drops,
    "sys.interval_s=1",
    "node.name=n1",
    "session.queue_len_max=3",
    |broker| {
        let mut away = broker.connect(Connect::v5("away").persistent());
        away.subscribe("t", 1);
        away.disconnect();
        let mut publisher = broker.connect(Connect::v5("p"));
        (0..10).for_each(|_| publisher.publish(Publish::new("t", "x").qos(1)));
        let mut client = watcher(broker, "$SYS/brokers/n1/metrics/messages/#");
        read(&mut client, |tree| {
            let is = |name: &str, value: &str| {
                tree.get(&format!("$SYS/brokers/n1/metrics/messages/{name}"))
                    .is_some_and(|count| count == value)
            };
            is("qos1/received", "10") && is("dropped", "7") && is("dropped/queue_full", "7")
        });
    }
);

sharded!(mqtt5_4_7_2_1_sys_is_hidden_from_leading_wildcards, "sys.interval_s=1", |broker| {
    let mut hidden = broker.connect(Connect::v5("hidden"));
    hidden.subscribe_all(&["#", "+/brokers/#"], 0);
    let mut client = watcher(broker, "$SYS/#");
    (0..20).for_each(|_| drop(client.recv_publish()));
    hidden.expect_nothing();
});

sharded!(sys_can_be_switched_off, "sys.interval_s=0", |broker| {
    let mut client = watcher(broker, "$SYS/#");
    if let Some(packet) = client.recv_within(std::time::Duration::from_millis(2500)) {
        assert!(crate::broker::peer_is_mosquitto(), "{packet:?}");
        assert!(matches!(packet, Packet::Publish(_)));
    }
});
