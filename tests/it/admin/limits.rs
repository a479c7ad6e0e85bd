//! What a client of the API may cost: sizes, connections, time.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::json;

use super::{logged_in, served};
use crate::wire::Connect;

/// What is behind the port.
fn connect(broker: &crate::broker::Broker) -> TcpStream {
    let output = broker.output();
    let line = output.lines().find_map(|line| line.strip_prefix("admin on http://")).unwrap();
    TcpStream::connect(line).unwrap()
}

#[test]
fn admin_requests_are_bounded_in_size() {
    let Some(broker) = served(1, &[]) else { return };
    let http = logged_in(&broker);
    let large = json!({ "toml": "#".repeat(1024 * 1024) });
    http.post("/api/v1/config/check", &large).problem(413, "too_large");
    let almost = json!({ "toml": "#".repeat(1000 * 1024) });
    assert_eq!(http.post("/api/v1/config/check", &almost).json(200)["ok"], true);
    let path = format!("/api/v1/stats?{}", "x".repeat(100 * 1024));
    assert!([414, 431].contains(&http.get(&path).status));
}

#[test]
fn admin_connections_beyond_the_limit_wait_and_clients_notice_nothing() {
    let Some(broker) = served(1, &[]) else { return };
    let http = logged_in(&broker);
    // Half a request each.
    let mut held: Vec<_> = (0..64).map(|_| connect(&broker)).collect();
    held.iter_mut().for_each(|stream| stream.write_all(b"GET /status HTTP/1.1\r\n").unwrap());
    let mut late = connect(&broker);
    late.write_all(b"GET /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    broker.connect(Connect::v5("c")).ping();
    // The control socket has places of its own.
    assert_eq!(broker.http().get("/healthz").status, 200);
    held.pop();
    let mut answer = String::new();
    late.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(held);
    assert_eq!(http.get("/api/v1/node").status, 200);
}
