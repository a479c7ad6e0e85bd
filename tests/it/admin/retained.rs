//! Retained messages over the API.

use serde_json::json;

use super::list::{all, texts};
use super::served;
use crate::broker::wait_until;
use crate::wire::{Connect, Property, Publish};

#[test]
fn admin_retained_messages_are_listed_and_shown() {
    for shards in [1, 3] {
        let Some(broker) = served(shards, &["sys.interval_s=1"]) else { return };
        let http = broker.http();
        let mut client = broker.connect(Connect::v5("c"));
        for n in 0..40 {
            client.publish(Publish::new(&format!("r/{n}/x"), "payload").qos(1).retain());
        }
        let said = Publish::new("r/said", "{\"a\": \"ü\"}").qos(2).retain();
        let said = said.with(Property::ContentType("application/json".into()));
        let said = said.with(Property::user("k", "v1"));
        let said = said.with(Property::user("k", "v2"));
        client.publish(said.with(Property::MessageExpiry(600)));
        client.publish(Publish::new("r/bytes", vec![0xff, 0, 1]).retain());
        client.ping();
        assert_eq!(all(&http, "/api/v1/retained").len(), 42);
        assert_eq!(all(&http, "/api/v1/retained?match=r/%2B/x").len(), 40);
        assert_eq!(texts(&all(&http, "/api/v1/retained?match=r/7/x"), "topic"), ["r/7/x"]);
        wait_until("the $SYS tree is published", || {
            !all(&http, "/api/v1/retained?match=$SYS/%23").is_empty()
        });
        let listed = all(&http, "/api/v1/retained?match=r/said");
        assert_eq!((&listed[0]["payload_bytes"], &listed[0]["qos"]), (&json!(11), &json!(2)), "{listed:?}");
        let shown = http.json("/api/v1/retained/message?topic=r/said");
        assert_eq!(shown["payload_text"], "{\"a\": \"ü\"}", "{shown}");
        assert_eq!(
            (&shown["payload_base64"], &shown["content_type"]),
            (&json!("eyJhIjogIsO8In0="), &json!("application/json"))
        );
        assert_eq!(shown["user_properties"], json!([["k", "v1"], ["k", "v2"]]), "{shown}");
        assert!(shown["expires_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{shown}");
        let shown = http.json("/api/v1/retained/message?topic=r/bytes");
        assert_eq!(
            (&shown["payload_text"], &shown["payload_base64"]),
            (&json!(null), &json!("/wAB")),
            "{shown}"
        );
        assert_eq!((&shown["expires_at"], &shown["content_type"]), (&json!(null), &json!(null)), "{shown}");
        http.get("/api/v1/retained/message?topic=r/none").problem(404, "not_found");
    }
}

#[test]
fn admin_a_retained_message_is_forgotten_quietly() {
    for shards in [1, 3] {
        let Some(broker) = served(shards, &[]) else { return };
        let http = broker.http();
        let mut client = broker.connect(Connect::v5("c"));
        client.subscribe("r/#", 1);
        for n in 0..6 {
            let topic = format!("r/{n}");
            client.publish(Publish::new(&topic, "kept").qos(1).retain());
            client.expect_message(&topic, "kept");
            let path = format!("/api/v1/retained/message?topic={topic}");
            assert_eq!(http.delete(&path).status, 204);
            http.delete(&path).problem(404, "not_found");
        }
        client.expect_nothing();
        assert_eq!(all(&http, "/api/v1/retained?match=r/%23").len(), 0);
        let mut late = broker.connect(Connect::v5("late"));
        late.subscribe_all(&["r/#", "r/3"], 1);
        late.expect_nothing();
        // The topic is free again.
        client.publish(Publish::new("r/3", "anew").qos(1).retain());
        assert_eq!(http.json("/api/v1/retained/message?topic=r/3")["payload_text"], "anew");
    }
}
