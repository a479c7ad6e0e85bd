//! Messages of operators: one, many, and in emqttd's form.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{logged_in, served};
use crate::broker::{Options, wait_until};
use crate::wire::Connect;

sharded!(admin_published_messages_reach_their_subscribers, |broker| {
    let http = broker.http();
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("t/#", 2);
    let message = json!({
        "topic": "t/1", "payload": "hällo", "qos": 1, "content_type": "text/plain",
        "message_expiry_s": 60, "user_properties": [["k", "v"], ["k", "w"]],
    });
    let done = http.post("/api/v1/publish", &message).json(200);
    assert_eq!(done, json!({ "accepted": true, "receivers_known": false }));
    let received = client.recv_message();
    assert_eq!((received.topic.as_str(), received.text().as_str(), received.qos), ("t/1", "hällo", 1));
    let debug = format!("{received:?}");
    assert!(debug.contains("text/plain") && debug.contains("\"w\""), "{debug}");
    http.post("/api/v1/publish", &json!({ "topic": "t/2", "payload_base64": "AAH/" })).json(200);
    assert_eq!(client.recv_message().payload, [0, 1, 255]);
    http.post("/api/v1/publish", &json!({ "topic": "t/r", "payload": "kept", "retain": true, "qos": 2 }))
        .json(200);
    client.expect_message("t/r", "kept");
    let mut other = broker.connect(Connect::v5("other"));
    other.subscribe("t/r", 0);
    other.expect_message("t/r", "kept");
    http.post("/api/v1/publish", &json!({ "topic": "t/r", "retain": true })).json(200);
    client.expect_message("t/r", "");
    other.expect_message("t/r", "");
    let mut third = broker.connect(Connect::v5("third"));
    third.subscribe("t/r", 0);
    third.expect_nothing();
});

sharded!(admin_a_batch_is_published_in_order_and_tells_its_errors, |broker| {
    let http = broker.http();
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("t/+", 1);
    let mut batch: Vec<_> =
        (0..1000).map(|n| json!({ "topic": "t/1", "payload": n.to_string(), "qos": 1 })).collect();
    batch[7] = json!({ "topic": "t/#" });
    batch[8] = json!({ "topic": "$SYS/x" });
    batch[9] = json!({ "topic": "t/1", "qos": 3 });
    let done = http.post("/api/v1/publish/batch", &json!(batch)).json(200);
    assert_eq!(done["accepted"], 997);
    let errors: Vec<_> =
        done["errors"].as_array().unwrap().iter().map(|error| error["index"].clone()).collect();
    assert_eq!(errors, [7, 8, 9]);
    for number in (0..1000).filter(|number| ![7, 8, 9].contains(number)) {
        client.expect_message("t/1", &number.to_string());
    }
    batch.push(json!({ "topic": "t/1" }));
    http.post("/api/v1/publish/batch", &json!(batch)).problem(413, "too_large");
});

/// Each message may wait for two seconds: a thousand of them would take longer than any request may, and who asked would not
/// learn which were published.
#[test]
fn admin_a_batch_for_an_overloaded_broker_ends_soon_and_says_what_was_not_tried() {
    let Some(broker) = served(2, &["limits.memory_max=1MB"]) else { return };
    wait_until("publishers are paused", || broker.output().contains("memory nears limits.memory_max"));
    let began = Instant::now();
    let batch = vec![json!({ "topic": "t", "payload": "x" }); 1000];
    let done = broker.http().post("/api/v1/publish/batch", &json!(batch)).json(200);
    assert_eq!(done["accepted"], 0);
    let errors = done["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 1000);
    assert!(errors[0]["error"].as_str().unwrap().contains("overloaded"), "{}", errors[0]);
    assert!(errors[1..].iter().all(|error| error["error"].as_str().unwrap().starts_with("not tried")));
    assert_eq!(errors[999]["index"], 999);
    // Half a minute is the promise; the next message alone would have waited as long as the first one.
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[test]
fn admin_what_is_no_message_is_told_so() {
    let Some(broker) = served(2, &["limits.packet_bytes_max=1000", "mqtt.retain_available=false"]) else {
        return;
    };
    let http = broker.http();
    for (body, status, code) in [
        (json!({}), 400, "bad_request"),
        (json!({ "topic": "" }), 400, "bad_request"),
        (json!({ "topic": "a/+" }), 400, "bad_request"),
        (json!({ "topic": "a\u{0}" }), 400, "bad_request"),
        (json!({ "topic": "a", "qos": 5 }), 400, "bad_request"),
        (json!({ "topic": "a", "qos": "1" }), 400, "bad_request"),
        (json!({ "topic": "a", "payload": "x", "payload_base64": "eA==" }), 400, "bad_request"),
        (json!({ "topic": "a", "payload_base64": "?" }), 400, "bad_request"),
        (json!({ "topic": "a", "user_properties": [["k", "\u{0}"]] }), 400, "bad_request"),
        (json!({ "topic": "$SYS/brokers" }), 403, "forbidden"),
        (json!({ "topic": "a", "payload": "x".repeat(1001) }), 413, "too_large"),
        (json!({ "topic": "a", "retain": true }), 409, "conflict"),
    ] {
        http.post("/api/v1/publish", &body).problem(status, code);
    }
}

#[test]
fn admin_emqttds_form_is_understood() {
    let Some(broker) = served(2, &[]) else { return };
    let http = logged_in(&broker);
    let mut client = broker.connect(Connect::v311("c"));
    client.subscribe("a/#", 1);
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let reply =
        http.ask("POST", "/mqtt/publish", &form, b"client=x&qos=1&retain=0&topic=a%2F1&message=hi+there");
    assert_eq!((reply.status, reply.text()), (200, "ok"));
    client.expect_message("a/1", "hi there");
    let reply = http.ask("POST", "/mqtt/publish", &form, b"topics=a/1,a/2&message=m");
    assert_eq!((reply.status, reply.text()), (200, "ok"));
    client.expect_message("a/1", "m");
    client.expect_message("a/2", "m");
    let reply =
        http.post("/mqtt/publish", &json!({ "topic": "a/3", "message": "j", "qos": 1, "retain": false }));
    assert_eq!((reply.status, reply.text()), (200, "ok"));
    client.expect_message("a/3", "j");
    for wrong in ["message=x", "topic=a&topics=b", "topic=a&qos=3", "topic=a&retain=2", "topic=a/%2B"] {
        http.ask("POST", "/mqtt/publish", &form, wrong.as_bytes()).problem(400, "bad_request");
    }
    http.ask("POST", "/mqtt/publish", &[("Content-Type", "text/plain")], b"x").problem(415, "bad_request");
    broker.http_over_tcp().ask("POST", "/mqtt/publish", &form, b"topic=a").problem(401, "unauthorized");
}

#[test]
fn admin_a_published_message_outlasts_a_crash_in_a_durable_session() {
    if crate::broker::peer_is_mosquitto() {
        return;
    }
    let options = Options::durable(2);
    let mut broker = crate::broker::Broker::start(&options).unwrap();
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.subscribe("t", 1);
    client.disconnect();
    broker.http().post("/api/v1/publish", &json!({ "topic": "t", "payload": "kept", "qos": 1 })).json(200);
    // What comes later in the journal is acknowledged only when what came before is there.
    let mut publisher = broker.connect(Connect::v5("p"));
    publisher.publish(crate::wire::Publish::new("t", "last").qos(1));
    broker.kill();
    broker.restart(&options);
    let (mut client, _) = broker.connect_with_ack(Connect::v5("c").persistent());
    let received = [(); 2].map(|()| client.recv_message().text().to_owned());
    assert!(received.contains(&"kept".to_owned()) && received.contains(&"last".to_owned()), "{received:?}");
}
