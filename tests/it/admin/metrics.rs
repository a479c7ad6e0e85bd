//! The numbers: for Prometheus, as JSON, and of the last hour.

use std::io::Write;
use std::process::{Command, Stdio};

use super::{logged_in, served};
use crate::broker::wait_until;
use crate::clients::{repository, runs, skip};
use crate::wire::{Connect, Publish};

#[test]
fn admin_metrics_are_what_prometheus_reads() {
    let Some(broker) = served(3, &[]) else { return };
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("t", 1);
    for _ in 0..10 {
        client.publish(Publish::new("t", "x").qos(1));
        client.recv_message();
    }
    client.ping();
    let reply = broker.http_over_tcp().get("/metrics");
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = reply.text();
    let sum = |name: &str| -> f64 {
        let samples = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix("{shard="));
        samples.map(|sample| sample.split(' ').nth(1).unwrap().parse::<f64>().unwrap()).sum()
    };
    assert_eq!(sum("myriad_messages_received_total") as u64, 10);
    assert_eq!((sum("myriad_clients") as u64, sum("myriad_subscriptions") as u64), (1, 1));
    assert!(text.contains(
        "# HELP myriad_clients Connections that completed CONNECT.\n# TYPE myriad_clients gauge\n"
    ));
    let own = repository(".venv/bin/python");
    let python = if own.exists() { own } else { "python3".into() };
    if !runs(Command::new(&python).args(["-c", "import prometheus_client"])) {
        return skip(&format!(
            "{} can't import prometheus_client (tests/it/requirements.txt)",
            python.display()
        ));
    }
    let mut command = Command::new(python);
    command.arg(repository("tests/it/python/prometheus.py"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.trim_end().ends_with("done"), "{said}");
}

#[test]
fn admin_metrics_may_want_a_password() {
    let Some(broker) = served(1, &["admin.metrics_open=false"]) else { return };
    broker.http_over_tcp().get("/metrics").problem(401, "unauthorized");
    assert_eq!(logged_in(&broker).get("/metrics").status, 200);
    assert_eq!(broker.http().get("/metrics").status, 200);
}

#[test]
fn admin_stats_are_sums_of_the_shards() {
    let Some(broker) = served(3, &[]) else { return };
    let http = broker.http();
    let _clients: Vec<_> = (0..9).map(|n| broker.connect(Connect::v5(&format!("c{n}")))).collect();
    wait_until("all are counted", || http.json("/api/v1/stats")["items"]["clients"] == 9);
    let stats = http.json("/api/v1/stats?per_shard=true");
    let shards = stats["shards"].as_array().unwrap();
    assert_eq!(shards.len(), 3);
    assert_eq!(shards.iter().map(|shard| shard["clients"].as_i64().unwrap()).sum::<i64>(), 9);
    assert!(stats["items"].as_object().unwrap().len() > 90);
    assert!(http.json("/api/v1/stats").get("shards").is_none());
    http.get("/api/v1/stats?per_shard=perhaps").problem(400, "bad_request");
}

#[test]
fn admin_history_has_a_point_each_five_seconds() {
    let Some(broker) = served(2, &[]) else { return };
    let http = broker.http();
    let mut client = broker.connect(Connect::v5("c"));
    let empty = http.json("/api/v1/history");
    assert_eq!((&empty["step_s"], &empty["from"]), (&5.into(), &serde_json::Value::Null));
    wait_until("a point with messages", || {
        // What came before the first look is in no rate.
        client.publish(Publish::new("t", "x").qos(1));
        let history = http.json("/api/v1/history");
        let rates = history["series"]["messages_received_per_s"].as_array().unwrap();
        rates.iter().any(|rate| rate.as_f64() > Some(0.0))
    });
    let history = http.json("/api/v1/history");
    let series = history["series"].as_object().unwrap();
    assert_eq!(series.len(), 12);
    assert_eq!(series["connections"][0], 1.0);
    assert!(
        series["memory_bytes"][0].as_f64() > Some(1e6) && series["cpu_percent"][0].is_number(),
        "{history}"
    );
    let chosen = http.json("/api/v1/history?metrics=queued,inflight");
    assert_eq!(chosen["series"].as_object().unwrap().keys().collect::<Vec<_>>(), ["inflight", "queued"]);
    let said = http.get("/api/v1/history?metrics=queue").problem(400, "bad_request");
    assert!(said.contains("queued"), "{said}");
}
