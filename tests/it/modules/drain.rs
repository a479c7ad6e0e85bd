//! Clients are sent away at a pace.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;

use super::plain;
use crate::broker::wait_until;
use crate::wire::{Connect, Packet, Property, Publish, Version, Will};

const PATH: &str = "/api/v1/drain";

#[test]
fn drain_sends_clients_to_another_server_at_its_pace_and_refuses_new_ones() {
    for shards in [1, 3] {
        let Some(broker) = plain(shards) else { return };
        let http = broker.http();
        let shown = http.json(PATH);
        assert_eq!((&shown["draining"], &shown["sent_away"]), (&false.into(), &0.into()));
        let mut clients: Vec<_> =
            (0..30).map(|number| broker.connect(Connect::v5(&format!("c{number}")))).collect();
        let mut old = broker.connect(Connect::v311("old"));
        let begun = Instant::now();
        let order = json!({"rate": 20, "server_reference": "other.example:1883"});
        assert_eq!(http.post(PATH, &order).json(202)["draining"], true);
        assert_eq!(http.get("/readyz").status, 503);
        let (mut refused, connack) = (broker.open(Version::V50), 0x9C);
        refused.send(Connect::v5("new"));
        let connack = refused.expect_refusal(connack);
        assert_eq!(connack.properties, [Property::ServerReference("other.example:1883".into())]);
        broker.expect_refused(Connect::v311("new"), 3);
        // One that takes no packet of that size [MQTT-3.1.2-24].
        let mut narrow = broker.open(Version::V50);
        narrow.send(Connect::v5("narrow").with(Property::MaximumPacketSize(20)));
        assert_eq!(narrow.expect_refusal(0x9C).properties, []);
        for client in &mut clients {
            match client.recv() {
                Packet::Disconnect(disconnect) => {
                    assert_eq!(disconnect.reason, 0x9C);
                    let reference = Property::ServerReference("other.example:1883".into());
                    assert_eq!(disconnect.properties, [reference]);
                }
                other => panic!("DISCONNECT was to come, not {other:?}"),
            }
            client.expect_closed();
        }
        old.expect_closed();
        // 31 clients, 20 a second; no more than one second's worth may come at once.
        assert!(begun.elapsed() >= Duration::from_millis(500), "{:?}", begun.elapsed());
        wait_until("all are counted", || http.json(PATH)["sent_away"] == 31);
        assert_eq!(http.json(PATH)["left"], 0);
        assert_eq!(http.delete(PATH).status, 204);
        assert_eq!(http.get("/readyz").status, 200);
        broker.connect(Connect::v5("new")).ping();
    }
}

#[test]
fn drain_can_be_stopped_in_the_middle_and_told_another_pace() {
    let Some(broker) = plain(2) else { return };
    let http = broker.http();
    let mut clients: Vec<_> =
        (0..20).map(|number| broker.connect(Connect::v5(&format!("c{number}")))).collect();
    http.post(PATH, &json!({"rate": 2})).json(202);
    wait_until("the first ones are away", || http.json(PATH)["sent_away"].as_u64() >= Some(2));
    assert_eq!(http.delete(PATH).status, 204);
    let left = broker.http().json(PATH)["left"].as_u64().unwrap();
    assert!((1..=18).contains(&left), "{left}");
    let mut stayed = 0;
    for client in &mut clients {
        stayed += u64::from(client.recv_disconnect_or_nothing().is_none());
    }
    assert_eq!(stayed, left);
    http.post(PATH, &json!({"rate": 1_000_000})).json(202);
    wait_until("all are away", || http.json(PATH)["left"] == 0);
}

#[test]
fn drain_says_why_without_another_server_and_keeps_sessions() {
    let Some(broker) = plain(2) else { return };
    let http = broker.http();
    let mut client = broker.connect(Connect::v5("c").persistent().will(Will::new("w", "gone")));
    client.subscribe("t", 1);
    http.post(PATH, &json!({})).json(202);
    client.expect_disconnect(0x8B);
    broker.expect_refused(Connect::v5("d"), 0x88);
    http.post(PATH, &json!({"permanent": true})).problem(400, "bad_request");
    http.post(PATH, &json!({"rate": 0})).problem(400, "bad_request");
    http.post(PATH, &json!({"server_reference": "elsewhere", "permanent": true})).json(202);
    broker.expect_refused(Connect::v5("d"), 0x9D);
    assert_eq!(http.delete(PATH).status, 204);
    broker.connect(Connect::v5("p")).publish(Publish::new("t", "queued").qos(1));
    let (mut client, connack) = broker.connect_with_ack(Connect::v5("c").persistent());
    assert!(connack.session_present);
    client.expect_message("t", "queued");
}

#[test]
fn drain_publishes_wills_of_all_sessions_as_the_specification_has_it() {
    let Some(broker) = plain(3) else { return };
    let http = broker.http();
    let mut watcher = broker.connect(Connect::v5("watcher").persistent());
    watcher.subscribe("w/#", 1);
    let will = |topic: &str| Will::new(topic, "gone").qos(1);
    let late = will("w/late").with(Property::WillDelay(600));
    let _clients = [
        broker.connect(Connect::v5("a").will(will("w/transient"))),
        broker.connect(Connect::v5("b").persistent().will(will("w/kept"))),
        broker.connect(Connect::v311("c").will(will("w/old"))),
        broker.connect(Connect::v5("d").persistent().will(late)),
    ];
    http.post(PATH, &json!({})).json(202);
    wait_until("all are away", || http.json(PATH)["left"] == 0);
    assert_eq!(http.delete(PATH).status, 204);
    let mut watcher = broker.connect(Connect::v5("watcher").persistent());
    let mut topics = BTreeSet::new();
    // One that went before the watcher did may come twice.
    while topics.len() < 3 {
        topics.insert(watcher.recv_message().topic);
    }
    assert!(topics.iter().eq(["w/kept", "w/old", "w/transient"]), "{topics:?}");
    watcher.expect_nothing();
}
