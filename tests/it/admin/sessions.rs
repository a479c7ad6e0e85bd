//! Sessions over the API.

use serde_json::json;

use super::list::{all, texts};
use super::served;
use crate::broker::{Broker, Options, peer_is_mosquitto};
use crate::wire::{Connect, Property, Publish, Will};

#[test]
fn admin_sessions_are_listed_by_what_they_are() {
    for shards in [1, 3] {
        let Some(broker) = served(shards, &[]) else { return };
        let http = broker.http();
        let _transient = broker.connect(Connect::v5("transient"));
        let _here = broker.connect(Connect::v5("here").with(Property::SessionExpiry(500)));
        broker.connect(Connect::v5("away").with(Property::SessionExpiry(500))).disconnect();
        broker.connect(Connect::v311("ever").resume()).disconnect();
        for (selection, expected) in [
            ("", vec!["away", "ever", "here", "transient"]),
            ("kind=transient", vec!["transient"]),
            ("kind=persistent", vec!["away", "ever", "here"]),
            ("connected=true", vec!["here", "transient"]),
            ("connected=false&kind=persistent", vec!["away", "ever"]),
            ("client_id=*e*e&connected=false", vec![]),
            ("client_id=*e?*&connected=false", vec!["ever"]),
        ] {
            let found = all(&http, &format!("/api/v1/sessions?{selection}"));
            assert_eq!(texts(&found, "client_id"), expected, "{selection}");
        }
        let away = http.json("/api/v1/sessions/away");
        assert_eq!((&away["expiry_s"], &away["kind"]), (&json!(500), &json!("persistent")), "{away}");
        assert!(away["expires_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{away}");
        let here = http.json("/api/v1/sessions/here");
        assert_eq!((&here["expires_at"], &here["connected"]), (&json!(null), &json!(true)), "{here}");
        http.get("/api/v1/sessions/nobody").problem(404, "not_found");
    }
}

#[test]
fn admin_a_session_is_shown_with_its_queues() {
    for shards in [1, 3] {
        let Some(broker) = served(shards, &["session.inflight_max=2"]) else { return };
        let http = broker.http();
        let mut client = broker.connect(Connect::v5("c").persistent());
        client.subscribe("t/#", 2);
        let mut publisher = broker.connect(Connect::v5("p"));
        for n in 0..120 {
            let publish = Publish::new(&format!("t/{n}"), "12345").qos(1 + n % 2);
            publisher.publish(publish.with(Property::MessageExpiry(600)));
        }
        // Two are with the client, which does not acknowledge them.
        let first = client.recv_publish();
        let shown = http.json("/api/v1/sessions/c");
        assert_eq!((&shown["queued"], &shown["inflight"]), (&json!(118), &json!(2)), "{shown}");
        let queue = shown["queue"].as_array().unwrap();
        assert_eq!(queue.len(), 100);
        assert_eq!((&queue[0]["topic"], &queue[0]["qos"]), (&json!("t/2"), &json!(1)));
        assert_eq!(queue[0]["payload_bytes"], 5);
        assert!(queue[0]["expires_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{shown}");
        let inflight = shown["inflight_list"].as_array().unwrap();
        let expected = json!({ "packet_id": first.id, "topic": "t/0", "qos": 1, "state": "publish" });
        assert_eq!((inflight.len(), &inflight[0]), (2, &expected), "{shown}");
    }
}

#[test]
fn admin_a_discarded_session_ends_with_all_it_has() {
    for shards in [1, 3] {
        let Some(broker) = served(shards, &[]) else { return };
        let http = broker.http();
        let mut observer = broker.connect(Connect::v5("observer"));
        observer.subscribe("gone", 1);
        // Longer than the test: the end of the session does not wait for it.
        let will = Will::new("gone", "away").qos(1).with(Property::WillDelay(600));
        let mut client = broker.connect(Connect::v5("c").persistent().will(will));
        client.subscribe_all(&["t", "$share/g/t"], 1);
        assert_eq!(http.delete("/api/v1/sessions/c").status, 204);
        client.expect_disconnect(0x98);
        observer.expect_message("gone", "away");
        http.get("/api/v1/sessions/c").problem(404, "not_found");
        http.delete("/api/v1/sessions/c").problem(404, "not_found");
        assert_eq!(texts(&all(&http, "/api/v1/topics"), "filter"), ["gone"]);
        let (_client, connack) = broker.connect_with_ack(Connect::v5("c").resume());
        assert!(!connack.session_present);
        broker.connect(Connect::v5("away").persistent()).disconnect();
        assert_eq!(http.delete("/api/v1/sessions/away").status, 204);
        assert_eq!(texts(&all(&http, "/api/v1/sessions"), "client_id"), ["c", "observer"]);
    }
}

#[test]
fn admin_what_is_answered_is_on_disk() {
    if peer_is_mosquitto() {
        return;
    }
    for shards in [1, 3] {
        let options = Options::durable(shards);
        let mut broker = Broker::start(&options).unwrap();
        let http = broker.http();
        for name in ["kept", "discarded", "changed"] {
            let mut client = broker.connect(Connect::v5(name).persistent());
            client.subscribe("t", 1);
            client.publish(Publish::new(&format!("r/{name}"), "x").qos(1).retain());
            client.disconnect();
        }
        assert_eq!(http.delete("/api/v1/sessions/discarded").status, 204);
        let changed = "/api/v1/clients/changed/subscriptions";
        for filter in ["u/#", "$share/g/v"] {
            http.post(changed, &json!({ "filter": filter, "qos": 2 })).json(201);
        }
        assert_eq!(http.delete(&format!("{changed}?filter=t")).status, 204);
        assert_eq!(http.delete("/api/v1/retained/message?topic=r/kept").status, 204);
        broker.kill();
        broker.restart(&options);
        assert_eq!(texts(&all(&http, "/api/v1/sessions"), "client_id"), ["changed", "kept"]);
        let found = all(&http, "/api/v1/subscriptions?client_id=changed");
        assert_eq!(texts(&found, "filter"), ["$share/g/v", "u/#"]);
        assert!(found.iter().all(|subscription| subscription["qos"] == 2));
        let retained = all(&http, "/api/v1/retained?match=r/%2B");
        assert_eq!(texts(&retained, "topic"), ["r/changed", "r/discarded"]);
    }
}
