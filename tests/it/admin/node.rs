//! The node, its shards, and the description of the API.

use super::served;
use crate::broker::wait_until;
use crate::wire::{Connect, Publish};

#[test]
fn admin_node_counts_what_there_is() {
    let Some(broker) = served(3, &["limits.max_connections=1234"]) else { return };
    let http = broker.http();
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.subscribe("t/#", 1);
    client.publish(Publish::new("t/1", "x").qos(1).retain());
    client.ping();
    let node = http.json("/api/v1/node");
    assert_eq!(node["shards"], 3);
    assert_eq!((&node["connections"], &node["sessions"]), (&1.into(), &1.into()), "{node}");
    assert_eq!((&node["subscriptions"], &node["retained"]), (&1.into(), &1.into()), "{node}");
    assert_eq!((&node["connections_max"], &node["draining"]), (&1234.into(), &false.into()), "{node}");
    assert_eq!(node["version"], env!("CARGO_PKG_VERSION"));
    assert!(node["memory_bytes"].as_u64() > Some(1_000_000) && node["cpu_s"].as_f64() > Some(0.0), "{node}");
    let started = node["started_at"].as_str().unwrap();
    assert!(started.starts_with("20") && started.ends_with('Z') && started.len() == 24, "{started}");
}

#[test]
fn admin_shards_have_their_own_numbers() {
    let Some(broker) = served(3, &[]) else { return };
    let http = broker.http();
    let clients: Vec<_> = (0..30).map(|n| broker.connect(Connect::v5(&format!("c{n}")))).collect();
    wait_until("all are counted", || {
        let shards = http.json("/api/v1/shards");
        let shards = shards["items"].as_array().unwrap().clone();
        assert_eq!(shards.len(), 3);
        for (number, shard) in shards.iter().enumerate() {
            assert_eq!(shard["shard"], number);
        }
        shards.iter().map(|shard| shard["clients"].as_i64().unwrap()).sum::<i64>() == clients.len() as i64
    });
}

#[test]
fn admin_description_names_what_there_is_and_unknown_paths_are_told() {
    let Some(broker) = served(1, &[]) else { return };
    let http = broker.http();
    let api = http.json("/api/v1/openapi.json");
    assert!(api["openapi"].as_str().unwrap().starts_with("3.1"), "{api}");
    for (path, item) in api["paths"].as_object().unwrap() {
        let methods = item.as_object().unwrap();
        assert!(
            methods.keys().any(|method| ["get", "post", "put", "delete"].contains(&method.as_str())),
            "{path}"
        );
        for operation in methods.values() {
            assert!(operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{path}");
            assert!(operation["responses"]["default"].is_object(), "{path}: {operation}");
        }
    }
    assert!(api["paths"]["/api/v1/node"]["get"].is_object());
    let unknown = http.get("/api/v1/nodes").problem(404, "not_found");
    assert!(unknown.contains("openapi.json"), "{unknown}");
    let wrong = http.delete("/api/v1/node").problem(405, "bad_request");
    assert!(wrong.contains("DELETE"), "{wrong}");
}
