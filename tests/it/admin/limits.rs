//! What a client of the API may cost: sizes, connections, time.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use super::{logged_in, served};
use crate::broker::Broker;
use crate::client::TIMEOUT;
use crate::wire::Connect;

/// What is behind the port.
fn connect(broker: &Broker) -> TcpStream {
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

/// Asks on a connection that stays open.
fn ask(stream: &mut TcpStream, token: &str) {
    let head = format!("GET /api/v1/listeners HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
}

/// The answer, of a status line that begins so; what follows its headers is read too.
fn expect(stream: &mut TcpStream, status: &str) {
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let mut answer = Vec::new();
    let mut byte = [0];
    // Its body is an object of JSON, the only one in it that ends like this.
    while !answer.ends_with(b"}]}") && stream.read(&mut byte).unwrap() == 1 {
        answer.push(byte[0]);
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with(status), "{answer}");
}

/// A stranger's: half a request.
fn stranger(broker: &Broker) -> TcpStream {
    let mut stream = connect(broker);
    stream.write_all(b"GET /status HTTP/1.1\r\n").unwrap();
    stream
}

#[test]
fn admin_strangers_who_take_all_places_keep_nobody_out() {
    let Some(broker) = served(1, &[]) else { return };
    let http = logged_in(&broker);
    let token = http.authorization.clone().unwrap();
    let mut operator = connect(&broker);
    ask(&mut operator, &token);
    expect(&mut operator, "HTTP/1.1 200");
    let mut strangers: Vec<_> = (0..100).map(|_| stranger(&broker)).collect();
    assert_eq!(http.get("/api/v1/node").status, 200);
    assert_eq!(broker.http_over_tcp().get("/healthz").status, 200);
    broker.connect(Connect::v5("c")).ping();
    // Those who came first gave way; who has shown who he is did not.
    strangers[0].set_read_timeout(Some(TIMEOUT)).unwrap();
    match strangers[0].read(&mut [0]) {
        Ok(count) => assert_eq!(count, 0),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    ask(&mut operator, &token);
    expect(&mut operator, "HTTP/1.1 200");
}

#[test]
fn admin_connections_of_operators_beyond_the_limit_wait() {
    let Some(broker) = served(1, &[]) else { return };
    let token = logged_in(&broker).authorization.unwrap();
    let mut held: Vec<_> = (0..64).map(|_| connect(&broker)).collect();
    for stream in &mut held {
        ask(stream, &token);
        expect(stream, "HTTP/1.1 200");
    }
    let mut late = connect(&broker);
    ask(&mut late, &token);
    // The control socket has places of its own.
    assert_eq!(broker.http().get("/healthz").status, 200);
    late.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(late.read(&mut [0]).is_err(), "all places are taken");
    held.pop();
    expect(&mut late, "HTTP/1.1 200");
}
