//! Mountpoints: each tenant lives in a world of its own, and sees nothing of it.

use std::path::Path;

use crate::broker::{Broker, Options, temporary_dir, wait_until};
use crate::client::Client;
use crate::wire::{Connect, Property, Publish, Version, Will};

mod own_quota;
mod quota;
mod rate;

/// The password of every user is `secret`.
const HASH: &str = "$6$MDEyMzQ1Njc4OWFi$qEXipeLbgxRlwd06QHfY5WITkUZg0jLg9SZbXzq3ifXjfj+v3GbJGrSfC5PAg3UNCS+UFfbhUIZX4bmIAs330w==";

const RULES: &str = "user a\nmountpoint tenants/%u/\nuser b\nmountpoint tenants/%u/\nuser root\nsuperuser\n";

/// A broker with the users `a` and `b`, which are tenants, and `root`, which sees everything.
fn tenants(shards: u16, settings: &[&str]) -> Broker {
    tenants_by(shards, RULES, settings)
}

/// The same by other rules. They and the passwords are beside each other, in the directory of the passwords.
fn tenants_by(shards: u16, rules: &str, settings: &[&str]) -> Broker {
    let dir = temporary_dir();
    let write = |name: &str, text: &str| {
        let file = dir.join(name);
        std::fs::write(&file, text).unwrap();
        file
    };
    let users: String = ["a", "b", "root"].iter().map(|user| format!("{user}:{HASH}\n")).collect();
    let set = |key: &str, file: &Path| format!("{key}={}", file.display());
    let options = Options::shards(shards)
        .set("auth.order=['file']")
        .set(&set("auth.file.path", &write("passwords", &users)))
        .set(&set("auth.file.rules", &write("rules", rules)))
        .set("listener.allow_anonymous=true")
        .set("sys.interval_s=1");
    Broker::start(&settings.iter().fold(options, |options, setting| options.set(setting))).unwrap()
}

fn as_user(user: &str, connect: Connect) -> Connect {
    connect.username(user).password("secret")
}

fn connect(broker: &Broker, user: &str, id: &str) -> Client {
    broker.connect(as_user(user, Connect::v5(id)))
}

#[test]
fn tenants_hear_themselves_only_and_by_their_own_names() {
    for shards in [1, 4] {
        let broker = tenants(shards, &[]);
        let mut root = connect(&broker, "root", "root");
        root.subscribe_all(&["tenants/#", "open"], 2);
        for version in Version::ALL {
            let mut a = broker.connect(as_user("a", Connect::new(version, "c")));
            // The same Client Identifier: it takes nothing over.
            let mut b = broker.connect(as_user("b", Connect::new(version, "c")));
            a.subscribe_all(&["#", "t/+"], 2);
            b.subscribe("#", 2);
            for qos in 0..=2 {
                a.publish(Publish::new("t/x", format!("{qos}")).qos(qos));
                assert_eq!(a.expect_message("t/x", &qos.to_string()).qos, qos);
                root.expect_message("tenants/a/t/x", &qos.to_string());
            }
            root.publish(Publish::new("tenants/b/from/root", "hello").qos(1));
            b.expect_message("from/root", "hello");
            root.expect_message("tenants/b/from/root", "hello");
            a.unsubscribe(&["#", "t/+"]);
            a.publish(Publish::new("t/x", "unheard").qos(1));
            root.expect_message("tenants/a/t/x", "unheard");
            a.ping();
            a.expect_nothing();
            b.expect_nothing();
        }
    }
}

#[test]
fn retained_messages_wills_and_shared_subscriptions_are_the_tenants_own() {
    for shards in [1, 4] {
        let broker = tenants(shards, &[]);
        let mut a = connect(&broker, "a", "a1");
        a.publish(Publish::new("state", "kept").qos(1).retain());
        let mut b = connect(&broker, "b", "b1");
        b.subscribe("#", 1);
        b.expect_nothing();
        a.subscribe("#", 1);
        a.expect_message("state", "kept");
        let will = Will::new("gone", "a2").qos(1);
        broker.connect(as_user("a", Connect::v5("a2").will(will))).abort();
        a.expect_message("gone", "a2");
        let mut worker = connect(&broker, "a", "a3");
        worker.subscribe("$share/g/jobs/+", 1);
        let mut thief = connect(&broker, "b", "b2");
        thief.subscribe("$share/g/jobs/+", 1);
        for number in 0..6 {
            a.publish(Publish::new("jobs/x", number.to_string()).qos(1));
        }
        worker.expect_payloads((0..6).map(|number| number.to_string()));
        thief.expect_nothing();
        b.expect_nothing();
        assert_eq!(worker.unsubscribe(&["$share/g/jobs/+"]), [0]);
    }
}

#[test]
fn what_waited_for_an_absent_client_has_its_own_name() {
    for shards in [1, 4] {
        let broker = tenants(shards, &[]);
        let persistent = || as_user("a", Connect::v5("c").persistent());
        let mut a = broker.connect(persistent());
        a.subscribe("t/#", 1);
        a.disconnect();
        let mut other = connect(&broker, "a", "other");
        other.publish(Publish::new("t/1", "waited").qos(1));
        // The other tenant's client of that name has another session.
        let (b, connack) = broker.connect_with_ack(as_user("b", Connect::v5("c").persistent()));
        assert!(!connack.session_present);
        b.disconnect();
        let (mut a, connack) = broker.connect_with_ack(persistent());
        assert!(connack.session_present);
        a.expect_message("t/1", "waited");
    }
}

#[test]
fn aliases_stand_for_the_tenants_own_names() {
    let broker = tenants(2, &[]);
    let mut a = broker.connect(as_user("a", Connect::v5("c").with(Property::TopicAliasMax(5))));
    a.subscribe("#", 0);
    for number in 0..3 {
        a.publish(Publish::new(if number == 0 { "t" } else { "" }, "x").with(Property::TopicAlias(1)));
        let publish = a.recv_publish();
        assert_eq!(publish.topic, if number == 0 { "t" } else { "" });
        assert!(publish.properties.contains(&Property::TopicAlias(1)), "{publish:?}");
    }
}

#[test]
fn mqtt_4_7_2_1_the_nodes_numbers_are_hidden_and_dollar_topics_refused() {
    let broker = tenants(1, &[]);
    let mut a = connect(&broker, "a", "c");
    a.subscribe_all(&["$SYS/#", "#"], 0);
    assert_eq!(a.publish_reason(Publish::new("$mine/x", "x").qos(1)), 0x87);
    let mut root = connect(&broker, "root", "root");
    root.subscribe("$SYS/#", 0);
    root.recv_publish();
    a.ping();
    a.expect_nothing();
    broker.expect_refused(as_user("a", Connect::v5("d").will(Will::new("$x", "x"))), 0x87);
}

#[test]
fn a_listener_may_have_a_mountpoint_for_all_its_clients() {
    let broker = tenants(2, &["listener.mountpoint=clients/%c"]);
    // The credentials' own wins; a client without an identity has the listener's.
    let mut root = connect(&broker, "root", "root");
    root.subscribe("#", 0);
    let mut mine = broker.connect(Connect::v311("dev1"));
    mine.subscribe("#", 0);
    let mut other = broker.connect(Connect::v311("dev2"));
    other.publish(Publish::new("t", "x"));
    other.ping();
    mine.publish(Publish::new("t", "mine"));
    mine.expect_message("t", "mine");
    mine.expect_nothing();
    root.expect_nothing();
    broker.expect_refused(Connect::v5("a/b"), 0x87);
    let (mut assigned, connack) = broker.connect_with_ack(Connect::v5(""));
    assert!(connack.assigned_client_id().is_some_and(|id| id.starts_with("auto-")), "{connack:?}");
    assigned.ping();
}

#[test]
fn operators_tell_clients_of_the_same_name_apart() {
    for shards in [1, 3] {
        let broker = tenants(shards, &["session.inflight_max=1"]);
        let http = broker.http();
        let trace = |body: &str| {
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            http.post("/api/v1/traces", &body).json(201)["id"].as_u64().unwrap()
        };
        let of_one = trace(r#"{ "kind": "client", "name": "c", "mountpoint": "tenants/a/" }"#);
        let of_both = trace(r#"{ "kind": "client", "name": "c" }"#);
        let traces = http.json("/api/v1/traces");
        assert!(traces["items"].to_string().contains("tenants/a/"), "{traces}");
        let refused = serde_json::json!({ "kind": "topic", "name": "t", "mountpoint": "m/" });
        let said = http.post("/api/v1/traces", &refused).problem(400, "bad_request");
        assert!(said.starts_with("mountpoint:"), "{said}");
        let mut clients = ["a", "b"].map(|user| connect(&broker, user, "c"));
        let mut publishers = ["a", "b"].map(|user| connect(&broker, user, "p"));
        for (client, publisher) in clients.iter_mut().zip(&mut publishers) {
            client.subscribe("t", 1);
            (0..40).for_each(|n| publisher.publish(Publish::new("t", format!("{n}")).qos(1)));
        }
        let mountpoints = |path: &str| {
            let list = http.json(path);
            let items = list["items"].as_array().unwrap().clone();
            let mut found: Vec<_> =
                items.iter().map(|item| item["mountpoint"].as_str().unwrap().to_owned()).collect();
            found.sort();
            found.dedup();
            found
        };
        assert_eq!(mountpoints("/api/v1/slow"), ["tenants/a/", "tenants/b/"]);
        let events = |id: u64| mountpoints(&format!("/api/v1/traces/{id}/events"));
        wait_until("both are traced", || events(of_both) == ["tenants/a/", "tenants/b/"]);
        assert_eq!(events(of_one), ["tenants/a/"]);
    }
}

#[test]
fn the_acl_speaks_of_the_tenants_own_names_and_a_superuser_is_above_it() {
    let file = temporary_dir().join("acl.conf");
    std::fs::write(&file, "{allow, all, pubsub, [\"mine/%c/#\"]}.").unwrap();
    let broker = tenants(2, &[&format!("acl.file={}", file.display()), "acl.no_match=deny"]);
    let mut a = connect(&broker, "a", "c");
    a.subscribe("mine/c/#", 1);
    assert_eq!(a.subscribe_reason("tenants/a/mine/c/#", 1), 0x87);
    assert_eq!(a.publish_reason(Publish::new("mine/d", "x").qos(1)), 0x87);
    a.publish(Publish::new("mine/c/t", "x").qos(1));
    a.expect_message("mine/c/t", "x");
    let mut root = connect(&broker, "root", "root");
    root.subscribe("tenants/#", 1);
    assert_eq!(root.publish_reason(Publish::new("tenants/a/mine/c/u", "y").qos(1)), 0);
    a.expect_message("mine/c/u", "y");
}
