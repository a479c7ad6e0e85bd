//! Topic metrics: what is counted for chosen filters, and how many there may be.

use serde_json::{Value, json};

use super::observed;
use crate::broker::{Broker, wait_until};
use crate::wire::{Connect, Publish};

fn counts(broker: &Broker, filter: &str) -> Value {
    let all = broker.http().json("/api/v1/topic-metrics");
    all["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["filter"] == filter)
        .cloned()
        .unwrap_or(Value::Null)
}

#[test]
fn messages_in_out_and_dropped_are_counted_over_all_shards() {
    for shards in [1, 3] {
        let Some(broker) = observed(shards, &["session.queue_len_max=2"]) else { return };
        let http = broker.http();
        for filter in ["a/+", "b/#"] {
            assert_eq!(http.post("/api/v1/topic-metrics", &json!({ "filter": filter })).status, 201);
        }
        let mut subscribers: Vec<_> = (0..3)
            .map(|number| {
                let mut client = broker.connect(Connect::v5(&format!("s-{number}")));
                client.subscribe("a/#", 1);
                client
            })
            .collect();
        let mut away = broker.connect(Connect::v5("away").persistent());
        away.subscribe("a/#", 1);
        away.disconnect();
        let mut publisher = broker.connect(Connect::v5("p"));
        for _ in 0..5 {
            publisher.publish(Publish::new("a/x", "12345").qos(1));
        }
        publisher.publish(Publish::new("c", "1").qos(1));
        publisher.publish(Publish::new("a/x", "0"));
        for client in &mut subscribers {
            (0..5).for_each(|_| drop(client.expect_message("a/x", "12345")));
            client.expect_message("a/x", "0");
        }
        // Of the 6 for the absent client 2 are kept.
        let expected = json!({
            "filter": "a/+", "messages_in": 6, "bytes_in": 26, "messages_out": 18, "bytes_out": 78, "dropped": 4,
        });
        wait_until("all are counted", || counts(&broker, "a/+") == expected);
        assert_eq!(counts(&broker, "b/#")["messages_in"], 0);
        let mut back = broker.connect(Connect::v5("away").resume().persistent());
        (0..2).for_each(|_| drop(back.recv_message()));
        wait_until("what waited counts when it is sent", || counts(&broker, "a/+")["messages_out"] == 20);
        assert_eq!(http.delete("/api/v1/topic-metrics?filter=a%2F%2B").status, 204);
        assert!(counts(&broker, "a/+").is_null());
        http.delete("/api/v1/topic-metrics?filter=a%2F%2B").problem(404, "not_found");
    }
}

#[test]
fn there_are_at_most_64_and_only_filters() {
    let Some(broker) = observed(2, &[]) else { return };
    let http = broker.http();
    let add = |filter: &str| http.post("/api/v1/topic-metrics", &json!({ "filter": filter }));
    for filter in ["", "a/#/b", "$share/g/a", "a+"] {
        add(filter).problem(400, "bad_request");
    }
    for number in 0..64 {
        assert_eq!(add(&format!("t/{number}")).status, 201);
    }
    assert!(add("one/more").problem(409, "conflict").contains("64"));
    assert!(add("t/7").problem(409, "conflict").contains("already"));
    assert_eq!(http.json("/api/v1/topic-metrics")["items"].as_array().unwrap().len(), 64);
}
