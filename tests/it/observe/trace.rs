//! Traces: what happens to a client, to a topic, from an address; over the API, as a stream, in a file; bounded, and without secrets.

use std::thread;

use serde_json::{Value, json};

use super::observed;
use crate::broker::{Broker, wait_until};
use crate::wire::{Connect, Publish, Version};

fn begin(broker: &Broker, kind: &str, name: &str) -> u64 {
    let body = json!({ "kind": kind, "name": name, "seconds": 60, "file": true });
    broker.http().post("/api/v1/traces", &body).json(201)["id"].as_u64().unwrap()
}

fn events(broker: &Broker, id: u64, after: u64) -> Vec<Value> {
    let answer = broker.http().json(&format!("/api/v1/traces/{id}/events?after={after}"));
    answer["items"].as_array().unwrap().clone()
}

/// `event text` of each, once there is one that contains `last`.
fn lines(broker: &Broker, id: u64, last: &str) -> Vec<String> {
    let line =
        |event: &Value| format!("{} {}", event["event"].as_str().unwrap(), event["text"].as_str().unwrap());
    let mut lines = Vec::new();
    wait_until(&format!("an event with {last:?}"), || {
        lines = events(broker, id, 0).iter().map(line).collect();
        lines.iter().any(|line: &String| line.contains(last))
    });
    lines
}

/// Each of `wanted` is the beginning of a line, in this order.
fn expect_in_order(lines: &[String], wanted: &[&str]) {
    let mut rest = lines.iter();
    for wanted in wanted {
        assert!(
            rest.any(|line| line.starts_with(wanted)),
            "{wanted:?} is not there, or not then: {lines:#?}"
        );
    }
}

#[test]
fn trace_of_a_client_has_all_its_packets_and_no_secret() {
    for shards in [1, 4] {
        let Some(broker) = observed(shards, &[]) else { return };
        let id = begin(&broker, "client", "c-1");
        let mut other = broker.connect(Connect::v5("other"));
        let connect = Connect::v5("c-1").username("alice").password("secret-password");
        let mut client = broker.connect(connect);
        client.subscribe("t/+", 2);
        other.publish(Publish::new("t/0", "zero"));
        other.publish(Publish::new("t/1", "one").qos(1));
        client.expect_message("t/0", "zero");
        client.expect_message("t/1", "one");
        client.publish(Publish::new("t/2", vec![b'x'; 1000]).qos(2));
        client.recv_message();
        client.ping();
        client.disconnect();
        let lines = lines(&broker, id, "normal");
        let wanted = [
            "connected CONNECT version=5.0 clean_start=true",
            "received SUBSCRIBE id=1 t/+ qos=2",
            "sent SUBACK id=1",
            "sent PUBLISH t/0 qos=0 payload=4 \"zero\"",
            "sent PUBLISH t/1 qos=1 id=1 payload=3 \"one\"",
            "received PUBACK id=1",
            "received PUBLISH t/2 qos=2",
            "sent PUBREC",
            "received PUBREL",
            "sent PUBCOMP",
            "received PINGREQ",
            "sent PINGRESP",
            "received DISCONNECT",
            "disconnected normal",
        ];
        expect_in_order(&lines, &wanted);
        expect_in_order(&lines, &["sent PUBLISH t/2 qos=2 id="]);
        let text = lines.join("\n");
        assert!(text.contains("username=\"alice\" password=***"), "{text}");
        assert!(!text.contains("secret-password") && !text.contains(&"x".repeat(65)), "{text}");
        assert!(events(&broker, id, 0).iter().all(|event| event["client_id"] == "c-1"));
        let path = broker.http().json("/api/v1/traces")["items"][0]["file"].as_str().unwrap().to_owned();
        let file = std::fs::read_to_string(&path).unwrap();
        assert_eq!(file.lines().count(), lines.len(), "{file}");
        assert!(file.contains(" c-1 received SUBSCRIBE") && !file.contains("secret-password"), "{file}");
        assert_eq!(broker.http().delete(&format!("/api/v1/traces/{id}")).status, 204);
        assert!(!std::path::Path::new(&path).exists());
        broker.http().get(&format!("/api/v1/traces/{id}/events")).problem(404, "not_found");
    }
}

#[test]
fn trace_of_a_topic_and_of_an_address() {
    let Some(broker) = observed(3, &[]) else { return };
    let (topic, address) = (begin(&broker, "topic", "a/#"), begin(&broker, "address", "127.0.0.0/8"));
    let elsewhere = begin(&broker, "address", "10.0.0.0/8");
    let mut subscriber = broker.connect(Connect::v311("s"));
    subscriber.subscribe_all(&["a/b", "x"], 1);
    let mut publisher = broker.connect(Connect::v5("p"));
    publisher.publish(Publish::new("x", "not traced"));
    publisher.publish(Publish::new("a/b", "traced").qos(1));
    subscriber.expect_message("x", "not traced");
    subscriber.expect_message("a/b", "traced");
    let of_topic = lines(&broker, topic, "sent PUBLISH a/b");
    expect_in_order(&of_topic, &["received SUBSCRIBE", "received PUBLISH a/b qos=1"]);
    assert!(of_topic.iter().all(|line| !line.contains("PUBLISH x")), "{of_topic:#?}");
    let of_address = lines(&broker, address, "sent PUBLISH a/b");
    expect_in_order(
        &of_address,
        &["connected CONNECT version=3.1.1", "received PUBLISH x", "received PUBLISH a/b"],
    );
    broker.expect_refused(Connect::new(Version::V31, ""), 2);
    lines(&broker, address, "CONNECT refused");
    assert!(events(&broker, elsewhere, 0).is_empty());
    let after = events(&broker, address, 3);
    assert_eq!(after[0]["seq"], 4);
}

#[test]
fn trace_can_be_followed_until_it_ends() {
    let Some(broker) = observed(2, &[]) else { return };
    let id = begin(&broker, "client", "c");
    let http = broker.http();
    let follower = thread::spawn(move || http.get(&format!("/api/v1/traces/{id}/stream")));
    for _ in 0..3 {
        broker.connect(Connect::v5("c")).disconnect();
    }
    lines(&broker, id, "disconnected");
    wait_until("all three are there", || {
        let count = |event: &Value| event["event"] == "disconnected";
        events(&broker, id, 0).iter().filter(|event| count(event)).count() == 3
    });
    // What is there before the end is sent before the end, in the next fifth of a second.
    thread::sleep(std::time::Duration::from_millis(600));
    assert_eq!(broker.http().delete(&format!("/api/v1/traces/{id}")).status, 204);
    let stream = follower.join().unwrap();
    assert_eq!((stream.status, stream.header("content-type")), (200, Some("text/event-stream")));
    assert_eq!(stream.text().matches("\"event\":\"disconnected\"").count(), 3, "{}", stream.text());
    assert!(stream.text().starts_with("id: 1\n") || stream.text().contains("\nid: 1\n"), "{}", stream.text());
}

#[test]
fn trace_is_bounded_in_number_size_and_time() {
    let Some(broker) = observed(2, &[]) else { return };
    let http = broker.http();
    for body in [
        json!({}),
        json!({ "kind": "user", "name": "x" }),
        json!({ "kind": "client", "name": "" }),
        json!({ "kind": "topic", "name": "a/#/b" }),
        json!({ "kind": "address", "name": "nowhere" }),
        json!({ "kind": "client", "name": "c", "seconds": 3601 }),
        json!({ "kind": "client", "name": "c", "seconds": 0 }),
        json!({ "kind": "client", "name": "c", "bytes_max": 0 }),
    ] {
        http.post("/api/v1/traces", &body).problem(400, "bad_request");
    }
    let small = json!({ "kind": "client", "name": "c", "bytes_max": 500 });
    let id = http.post("/api/v1/traces", &small).json(201)["id"].as_u64().unwrap();
    let mut client = broker.connect(Connect::v5("c"));
    (0..100).for_each(|_| client.ping());
    wait_until("what does not fit is counted", || {
        let answer = http.json(&format!("/api/v1/traces/{id}/events"));
        let taken = answer["items"].as_array().unwrap().len() as u64;
        taken > 0 && taken < 20 && answer["dropped"].as_u64().unwrap() + taken == 201
    });
    let short = json!({ "kind": "client", "name": "c", "seconds": 1 });
    let id = http.post("/api/v1/traces", &short).json(201)["id"].clone();
    wait_until("it is over", || {
        let all = http.json("/api/v1/traces");
        let one = all["items"].as_array().unwrap().iter().find(|trace| trace["id"] == id).cloned().unwrap();
        one["active"] == false
    });
    let mut begun = 2;
    while http.post("/api/v1/traces", &json!({ "kind": "client", "name": "c" })).status == 201 {
        begun += 1;
        assert!(begun < 30);
    }
    // The one that is over made room.
    assert_eq!(begun, 11);
    assert_eq!(http.json("/api/v1/traces")["items"].as_array().unwrap().len(), 10);
}

#[test]
fn trace_tells_what_the_acl_denies() {
    if crate::broker::peer_is_mosquitto() {
        return;
    }
    let acl = crate::broker::temporary_dir().join("acl.conf");
    std::fs::write(&acl, "{deny, all, publish, [\"secret\"]}.\n{allow, all}.\n").unwrap();
    let Some(broker) = observed(1, &[&format!("acl.file={}", acl.display())]) else { return };
    let id = begin(&broker, "topic", "secret");
    let mut client = broker.connect(Connect::v5("c"));
    assert_eq!(client.publish_reason(Publish::new("secret", "x").qos(1)), 0x87);
    lines(&broker, id, "denied PUBLISH secret: the ACL does not allow it");
}
