//! Automatic subscriptions: by the file and by what operators have stored.

use std::time::Duration;

use serde_json::json;

use super::{configured, plain};
use crate::broker::{Broker, Options, peer_is_mosquitto, temporary_dir, wait_until};
use crate::wire::{Connect, Packet, Publish, Version};

const FILE: &str = "[[subscription]]\nfilter = 'clients/%c/in'\nqos = 1\n[[subscription]]\nfilter = 'users/$u/#'\n\
                    [[subscription]]\nfilter = 'news'\nqos = 2\n";

#[test]
fn automatic_subscriptions_are_there_with_the_connack() {
    for shards in [1, 3] {
        let Some(broker) = configured(shards, FILE) else { return };
        let mut publisher = broker.connect(Connect::v5("p"));
        publisher.publish(Publish::new("news", "old").qos(1).retain());
        assert!(!publisher.expect_message("news", "old").retain);
        for version in Version::ALL {
            let mut client = broker.connect(Connect::new(version, "c"));
            let retained = client.expect_message("news", "old");
            assert!(retained.retain);
            publisher.publish(Publish::new("clients/c/in", "for c").qos(2));
            assert_eq!(client.expect_message("clients/c/in", "for c").qos, 1);
            publisher.publish(Publish::new("clients/d/in", "for d").qos(1));
            client.expect_nothing();
            client.unsubscribe(&["clients/c/in", "news"]);
            publisher.publish(Publish::new("clients/c/in", "for c").qos(1));
            client.expect_nothing();
            client.disconnect();
        }
    }
}

#[test]
fn automatic_subscriptions_leave_a_session_that_has_them_alone() {
    let Some(broker) = configured(2, FILE) else { return };
    let mut client = broker.connect(Connect::v5("c").persistent());
    // At another QoS than the file's.
    client.subscribe("news", 0);
    client.disconnect();
    broker.connect(Connect::v5("p")).publish(Publish::new("clients/c/in", "queued").qos(1));
    let (mut client, connack) = broker.connect_with_ack(Connect::v5("c").persistent());
    assert!(connack.session_present);
    client.expect_message("clients/c/in", "queued");
    broker.connect(Connect::v5("p")).publish(Publish::new("news", "x").qos(2));
    assert_eq!(client.expect_message("news", "x").qos, 0);
    client.expect_nothing();
}

#[test]
fn automatic_subscriptions_survive_a_crash_with_their_session() {
    if peer_is_mosquitto() {
        return;
    }
    let options = Options::durable(2).file(FILE);
    let mut broker = Broker::start(&options).unwrap();
    // Killed after the CONNACK: what it promised is on disk.
    let _client = broker.connect(Connect::v5("c").persistent());
    broker.kill();
    broker.restart(&options);
    broker.connect(Connect::v5("p")).publish(Publish::new("clients/c/in", "queued").qos(1));
    let (mut client, connack) = broker.connect_with_ack(Connect::v5("c").persistent());
    assert!(connack.session_present);
    client.expect_message("clients/c/in", "queued");
}

#[test]
fn automatic_subscriptions_know_verified_user_names_and_ask_no_acl() {
    if peer_is_mosquitto() {
        return;
    }
    let dir = temporary_dir();
    let acl = dir.join("acl.conf");
    std::fs::write(&acl, "{deny, all, subscribe, [\"#\"]}.\n{allow, all}.\n").unwrap();
    let users = dir.join("users");
    let hash = "$6$MDEyMzQ1Njc4OWFi$qEXipeLbgxRlwd06QHfY5WITkUZg0jLg9SZbXzq3ifXjfj+v3GbJGrSfC5PAg3UNCS+UFfbhUIZX4bmIAs330w==";
    std::fs::write(&users, format!("bob:{hash}\n")).unwrap();
    let options = Options::shards(2)
        .file(FILE)
        .set(&format!("acl.file={}", acl.display()))
        .set("auth.order=['file']")
        .set("listener.allow_anonymous=true")
        .set(&format!("auth.file.path={}", users.display()));
    let broker = Broker::start(&options).unwrap();
    let mut bob = broker.connect(Connect::v5("c").username("bob").password("secret"));
    assert_eq!(bob.subscribe_reason("users/bob/#", 0), 0x87);
    bob.publish(Publish::new("users/bob/x", "hello").qos(1));
    bob.expect_message("users/bob/x", "hello");
    let mut nobody = broker.connect(Connect::v5("d"));
    nobody.publish(Publish::new("users//x", "hello").qos(1));
    nobody.expect_nothing();
    drop(broker);
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn automatic_subscriptions_are_no_way_around_the_acl_for_names_with_a_dollar() {
    if peer_is_mosquitto() {
        return;
    }
    let dir = temporary_dir();
    let acl = dir.join("acl.conf");
    std::fs::write(&acl, "{deny, all, subscribe, [\"$SYS/#\", \"jobs/#\"]}.\n{allow, all}.\n").unwrap();
    let file =
        "[sys]\ninterval_s = 1\n[[subscription]]\nfilter = '%c/jobs/#'\n[[subscription]]\nfilter = '%c/#'\n";
    let broker =
        Broker::start(&Options::shards(2).file(file).set(&format!("acl.file={}", acl.display()))).unwrap();
    let names = ["$SYS", "$share", "$queue", "$local"];
    let mut clients: Vec<_> = names.iter().map(|name| broker.connect(Connect::v5(name))).collect();
    let mut other = broker.connect(Connect::v5("other"));
    other.publish(Publish::new("jobs/1", "x").qos(1));
    other.publish(Publish::new("other/in", "y").qos(1));
    other.expect_message("other/in", "y");
    // Once longer than the interval of `$SYS`.
    for (client, ms) in clients.iter_mut().zip([1500, 50, 50, 50]) {
        assert!(client.recv_within(Duration::from_millis(ms)).is_none());
    }
    drop(broker);
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn automatic_subscriptions_are_stored_listed_and_forgotten() {
    let Some(mut broker) = plain(3) else { return };
    let http = broker.http();
    let path = "/api/v1/auto-subscriptions";
    for filter in ["stored/%c", "$queue/jobs", "third"] {
        let stored = http.post(path, &json!({"client_id": "c", "filter": filter, "qos": 1})).json(201);
        assert_eq!(stored["retain_handling"], 0);
    }
    http.post(path, &json!({"client_id": "d", "filter": "x"})).json(201);
    let mut client = broker.connect(Connect::v311("c"));
    client.publish(Publish::new("stored/c", "a").qos(1));
    client.expect_message("stored/c", "a");
    // Its Shared Subscription may begin a moment later, on another shard.
    wait_until("it has its share", || {
        client.publish(Publish::new("jobs", "b").qos(1));
        client.recv_within(Duration::from_millis(100)).is_some_and(|packet| match packet {
            Packet::Publish(publish) => publish.topic == "jobs",
            _ => false,
        })
    });

    let page = http.json(&format!("{path}?client_id=c&limit=2"));
    let filters = |page: &serde_json::Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|item| item["filter"].as_str().unwrap().into()).collect()
    };
    assert_eq!(filters(&page), ["$queue/jobs", "stored/%c"]);
    let next = page["next"].as_str().unwrap();
    let page = http.json(&format!("{path}?client_id=c&limit=2&cursor={next}"));
    assert_eq!((filters(&page), page["next"].is_null()), (vec!["third".to_owned()], true));
    assert_eq!(http.json(path)["items"].as_array().unwrap().len(), 4);

    http.post(path, &json!({"client_id": "c", "filter": "a/#/b"})).problem(400, "bad_request");
    http.post(path, &json!({"client_id": "c", "filter": "a", "qos": 3})).problem(400, "bad_request");
    http.delete(&format!("{path}?client_id=e")).problem(404, "not_found");
    assert_eq!(http.delete(&format!("{path}?client_id=d")).status, 204);
    assert_eq!(http.delete(&format!("{path}?client_id=c&filter=third")).status, 204);

    // It is in a file: another process knows it.
    assert!(broker.terminate().success());
    broker.restart(&Options::shards(2));
    assert_eq!(filters(&broker.http().json(path)), ["$queue/jobs", "stored/%c"]);
    let mut client = broker.connect(Connect::v5("c"));
    client.publish(Publish::new("stored/c", "c").qos(1));
    client.expect_message("stored/c", "c");
    client.publish(Publish::new("third", "d").qos(1));
    client.expect_nothing();
}
