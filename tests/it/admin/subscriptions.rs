//! Subscriptions over the API: list, add, end.

use serde_json::json;

use super::list::{all, texts};
use super::served;
use crate::wire::{Connect, Property, Publish, Subscribe};

#[test]
fn admin_subscriptions_are_listed_with_their_options() {
    for shards in [1, 3] {
        let Some(broker) = served(shards, &[]) else { return };
        let http = broker.http();
        let mut a = broker.connect(Connect::v5("a"));
        // No Local, Retain As Published, QoS 1, and an identifier.
        let subscribe = Subscribe::new(1, "t/#", 0b0_1101).with(Property::SubscriptionId(77));
        assert_eq!(a.subscribe_with(subscribe), [1]);
        a.subscribe("$share/g/t/#", 2);
        let mut b = broker.connect(Connect::v311("b"));
        b.subscribe_all(&["t/#", "u"], 0);
        let found = all(&http, "/api/v1/subscriptions?client_id=a&topic=t/%23");
        let of = |share: &serde_json::Value| found.iter().find(|item| item["share"] == *share).unwrap();
        let (plain, shared) = (of(&json!(null)), of(&json!("g")));
        let expected = json!({
            "client_id": "a", "mountpoint": null, "filter": "t/#", "qos": 1, "no_local": true,
            "retain_as_published": true, "subscription_id": 77, "share": null, "shard": plain["shard"],
        });
        assert_eq!(*plain, expected);
        assert_eq!((&shared["filter"], &shared["qos"]), (&json!("$share/g/t/#"), &json!(2)), "{shared}");
        assert_eq!((&shared["no_local"], &shared["subscription_id"]), (&json!(false), &json!(null)));
        for (selection, count) in [
            ("", 4),
            ("client_id=b", 2),
            ("topic=t/%23", 3),
            ("topic=t/1", 0),
            ("share=g", 1),
            ("share=h", 0),
            ("topic=$share/g/t/%23", 1),
            ("topic=u&client_id=a", 0),
        ] {
            let found = all(&http, &format!("/api/v1/subscriptions?{selection}"));
            assert_eq!(found.len(), count, "{selection}");
        }
    }
}

#[test]
fn admin_a_subscription_made_for_a_client_is_like_its_own() {
    for shards in [1, 3] {
        let Some(broker) = served(shards, &[]) else { return };
        let http = broker.http();
        let mut publisher = broker.connect(Connect::v5("p"));
        publisher.publish(Publish::new("r/1", "kept").qos(1).retain());
        for n in 0..4 {
            let name = format!("c{n}");
            let mut client = broker.connect(Connect::v5(&name));
            let path = format!("/api/v1/clients/{name}/subscriptions");
            let made = http.post(&path, &json!({ "filter": "t/+", "qos": 1 })).json(201);
            assert_eq!((&made["filter"], &made["qos"]), (&json!("t/+"), &json!(1)), "{made}");
            publisher.publish(Publish::new("t/1", "live").qos(1));
            assert_eq!(client.expect_message("t/1", "live").qos, 1);
            // Retained messages come as with SUBSCRIBE: now, if it is new, never.
            http.post(&path, &json!({ "filter": "r/#", "retain_handling": 2 })).json(201);
            client.expect_nothing();
            http.post(&path, &json!({ "filter": "r/#", "retain_handling": 1 })).json(201);
            client.expect_nothing();
            http.post(&path, &json!({ "filter": "r/#", "qos": 2 })).json(201);
            assert!(client.expect_message("r/1", "kept").retain);
            // It is the client's own: it may end it itself.
            assert_eq!(client.unsubscribe(&["t/+"]), [0]);
            assert_eq!(http.delete(&format!("{path}?filter=r/%23")).status, 204);
            http.delete(&format!("{path}?filter=r/%23")).problem(404, "not_found");
            publisher.publish(Publish::new("t/1", "unheard").qos(1));
            publisher.publish(Publish::new("r/2", "unheard").qos(1));
            client.expect_nothing();
            client.disconnect();
        }
        assert_eq!(all(&http, "/api/v1/subscriptions"), [] as [serde_json::Value; 0]);
    }
}

#[test]
fn admin_members_of_a_shared_subscription_share_from_the_answer_on() {
    for shards in [1, 3] {
        let Some(broker) = served(shards, &[]) else { return };
        let http = broker.http();
        let mut members: Vec<_> = (0..6).map(|n| broker.connect(Connect::v5(&format!("c{n}")))).collect();
        for n in 0..6 {
            let path = format!("/api/v1/clients/c{n}/subscriptions");
            http.post(&path, &json!({ "filter": "$share/g/jobs", "qos": 1 })).json(201);
        }
        let mut publisher = broker.connect(Connect::v5("p"));
        for n in 0..12 {
            publisher.publish(Publish::new("jobs", n.to_string()).qos(1));
        }
        // Round robin: each has two.
        for member in &mut members {
            member.recv_message();
            member.recv_message();
            member.expect_nothing();
        }
        let shown = http.json("/api/v1/topics/jobs");
        assert_eq!(shown["count"], 6, "{shown}");
        for n in 0..6 {
            let path = format!("/api/v1/clients/c{n}/subscriptions?filter=$share/g/jobs");
            assert_eq!(http.delete(&path).status, 204);
        }
        assert_eq!(texts(&all(&http, "/api/v1/topics"), "filter"), [""; 0]);
    }
}

#[test]
fn admin_a_session_without_a_connection_can_be_subscribed() {
    for shards in [1, 3] {
        let Some(broker) = served(shards, &[]) else { return };
        let http = broker.http();
        let mut publisher = broker.connect(Connect::v5("p"));
        publisher.publish(Publish::new("t/1", "kept").qos(1).retain());
        broker.connect(Connect::v5("away").persistent()).disconnect();
        let path = "/api/v1/clients/away/subscriptions";
        http.post(path, &json!({ "filter": "t/+", "qos": 1 })).json(201);
        publisher.publish(Publish::new("t/2", "live").qos(1));
        assert_eq!(http.json("/api/v1/sessions/away")["queued"], 1);
        let mut client = broker.connect(Connect::v5("away").resume());
        let mut topics = [client.recv_message().topic, client.recv_message().topic];
        topics.sort_unstable();
        assert_eq!(topics, ["t/1", "t/2"]);
        client.expect_nothing();
    }
}

#[test]
fn admin_what_is_no_subscription_is_told_so() {
    let Some(broker) = served(3, &["limits.subscriptions_per_session_max=2"]) else { return };
    let http = broker.http();
    let mut client = broker.connect(Connect::v5("c"));
    let path = "/api/v1/clients/c/subscriptions";
    for wrong in [
        json!({}),
        json!({ "filter": "" }),
        json!({ "filter": "a/#/b" }),
        json!({ "filter": "t", "qos": 3 }),
        json!({ "filter": "t", "qos": -1 }),
        json!({ "filter": "t", "retain_handling": 3 }),
        json!({ "filter": "$share/g/t", "no_local": true }),
        json!({ "filter": "$share//t" }),
        json!({ "filter": 1 }),
    ] {
        http.post(path, &wrong).problem(400, "bad_request");
    }
    http.delete(path).problem(400, "bad_request");
    http.delete(&format!("{path}?filter=a%2B")).problem(400, "bad_request");
    let other = "/api/v1/clients/nobody/subscriptions";
    http.post(other, &json!({ "filter": "t" })).problem(404, "not_found");
    http.delete(&format!("{other}?filter=t")).problem(404, "not_found");
    for filter in ["t/1", "t/2"] {
        http.post(path, &json!({ "filter": filter })).json(201);
    }
    http.post(path, &json!({ "filter": "t/3" })).problem(409, "conflict");
    client.ping();
}
