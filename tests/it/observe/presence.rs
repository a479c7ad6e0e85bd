//! Presence: who connects and leaves, as messages below `$SYS`.

use serde_json::Value;

use super::observed;
use crate::broker::Broker;
use crate::client::Client;
use crate::wire::{Connect, Version};

fn watcher(broker: &Broker, filter: &str, qos: u8) -> Client {
    let mut client = broker.connect(Connect::v5("watcher"));
    client.subscribe(filter, qos);
    client
}

/// The next message, which has to have this topic below `clients/`.
fn expect(client: &mut Client, path: &str) -> Value {
    let publish = client.recv_message();
    assert_eq!(publish.topic, format!("$SYS/brokers/n1/clients/{path}"), "{}", publish.text());
    assert!(!publish.retain);
    serde_json::from_str(&publish.text()).unwrap()
}

#[test]
fn presence_tells_who_connects_and_why_they_leave() {
    for shards in [1, 4] {
        let Some(broker) = observed(shards, &["node.name=n1"]) else { return };
        let mut watcher = watcher(&broker, "$SYS/brokers/+/clients/#", 0);
        for (version, protocol) in [(Version::V31, 3), (Version::V311, 4), (Version::V50, 5)] {
            let client = broker.connect(Connect::new(version, "c-1"));
            let told = expect(&mut watcher, "c-1/connected");
            assert_eq!((&told["clientid"], &told["protocol"]), (&"c-1".into(), &protocol.into()), "{told}");
            assert_eq!((&told["session"], &told["connack"]), (&true.into(), &0.into()), "{told}");
            assert!(told["ts"].as_u64().unwrap() > 1_700_000_000 && told["username"].is_null(), "{told}");
            assert!(told["ipaddress"].as_str().unwrap().starts_with("127."), "{told}");
            client.disconnect();
            let told = expect(&mut watcher, "c-1/disconnected");
            assert_eq!((&told["clientid"], &told["reason"]), (&"c-1".into(), &"normal".into()), "{told}");
        }
        drop(broker.connect(Connect::v5("lost")));
        expect(&mut watcher, "lost/connected");
        assert_eq!(expect(&mut watcher, "lost/disconnected")["reason"], "closed");
        let mut old = broker.connect(Connect::v5("a/b+#"));
        expect(&mut watcher, "a%2Fb%2B%23/connected");
        let new = broker.connect(Connect::v5("a/b+#"));
        old.expect_disconnect(0x8E);
        assert_eq!(expect(&mut watcher, "a%2Fb%2B%23/disconnected")["reason"], "conflict");
        assert_eq!(expect(&mut watcher, "a%2Fb%2B%23/connected")["clientid"], "a/b+#");
        drop(new);
        expect(&mut watcher, "a%2Fb%2B%23/disconnected");
        let mut silent = broker.connect(Connect::v5("silent").keep_alive_s(1));
        expect(&mut watcher, "silent/connected");
        silent.expect_disconnect(0x8D);
        assert_eq!(expect(&mut watcher, "silent/disconnected")["reason"], "keepalive_timeout");
    }
}

#[test]
fn presence_has_the_qos_of_the_configuration_and_can_be_switched_off() {
    let Some(broker) = observed(2, &["sys.presence_qos=1"]) else { return };
    let mut asked = watcher(&broker, "$SYS/brokers/n1/clients/+/connected", 2);
    drop(broker.connect(Connect::v311("c")));
    assert_eq!(asked.recv_message().qos, 1);
    let Some(broker) = observed(2, &["sys.presence=false", "sys.interval_s=0"]) else { return };
    let mut asked = watcher(&broker, "$SYS/brokers/n1/clients/#", 0);
    drop(broker.connect(Connect::v311("c")));
    asked.expect_nothing();
}
