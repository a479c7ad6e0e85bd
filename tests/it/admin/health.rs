//! What is asked without a password, and that a port in use is known at once.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::http::Http;
use super::served;
use crate::broker::{Broker, Options, peer_is_mosquitto, unused_address, wait_until};
use crate::wire::Connect;

#[test]
fn admin_status_and_health_are_plain_text_for_anyone() {
    let Some(broker) = served(3, &["node.name=n1@host"]) else { return };
    for http in [broker.http(), broker.http_over_tcp()] {
        let status = http.get("/status");
        assert_eq!(status.status, 200);
        let expected = format!("Node n1@host is started\nmyriad {} is running\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(status.text(), expected);
        assert_eq!(status.header("content-type"), Some("text/plain; charset=utf-8"));
        let health = http.get("/healthz");
        assert_eq!((health.status, health.text()), (200, "ok\n"));
        let ready = http.get("/readyz");
        assert_eq!((ready.status, ready.text()), (200, "ready\n"));
    }
}

#[test]
fn admin_health_is_told_to_many_at_once() {
    let Some(broker) = served(16, &[]) else { return };
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| {
                for _ in 0..5 {
                    let health = broker.http_over_tcp().get("/healthz");
                    assert_eq!((health.status, health.text()), (200, "ok\n"));
                }
            });
        }
    });
}

#[test]
fn admin_readyz_tells_that_the_broker_drains() {
    let Some(mut broker) = served(1, &[]) else { return };
    // One that takes nothing keeps the broker draining for a while.
    let _client = broker.connect(Connect::v5("c"));
    let http = broker.http_over_tcp();
    broker.signal("TERM");
    let mut was_draining = false;
    wait_until("it drains, or has ended", || {
        if broker.has_ended() {
            return true;
        }
        let asked = std::panic::catch_unwind(|| http.get("/readyz"));
        was_draining = asked.is_ok_and(|reply| (reply.status, reply.text()) == (503, "draining\n"));
        was_draining
    });
    assert!(broker.wait().success());
}

/// Asks on a connection that stays open; what comes until `end`.
fn ask_and_stay(stream: &mut TcpStream, path: &str, end: &str) -> String {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let (mut answer, mut byte) = (Vec::new(), [0]);
    while !answer.ends_with(end.as_bytes()) && stream.read(&mut byte).unwrap() == 1 {
        answer.push(byte[0]);
    }
    String::from_utf8(answer).unwrap()
}

#[test]
fn admin_readyz_says_recovering_while_the_journal_is_read() {
    if peer_is_mosquitto() {
        return;
    }
    let address = unused_address();
    let options = Options::durable(2).set(&format!("admin.listen={address}"));
    let mut broker = Broker::start(&options).unwrap();
    broker.connect(Connect::v5("s").persistent()).disconnect();
    assert!(broker.terminate().success());
    // Who reads a file of the journal that is a pipe waits for somebody to write.
    let pipe = broker.dir().join("journal/clock");
    std::fs::remove_file(&pipe).unwrap();
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    broker.relaunch(&options);
    wait_until("the port is bound", || TcpStream::connect(address).is_ok());
    let http = Http::tcp(address);
    let ready = http.get("/readyz");
    assert_eq!((ready.status, ready.text().split([':', '\n']).next()), (503, Some("recovering")));
    assert_eq!(ready.header("retry-after"), Some("1"));
    let health = http.get("/healthz");
    assert_eq!((health.status, health.text()), (200, "recovering\n"));
    for path in ["/", "/status", "/metrics", "/api/v1/node", "/mqtt"] {
        let reply = http.get(path);
        let why = reply.problem(503, "unavailable");
        assert!(why.contains("the broker starts (recovering"), "{why}");
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
    http.post("/api/v1/login", &json!({ "username": "admin", "password": "x" })).problem(503, "unavailable");
    assert_eq!(http.post("/readyz", &json!({})).status, 503);
    let mut kept = TcpStream::connect(address).unwrap();
    kept.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let answer = ask_and_stay(&mut kept, "/readyz", "recovering\n");
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(!broker.output().contains("myriad ready"));
    // Recovery goes on.
    std::fs::write(&pipe, "").unwrap();
    broker.wait_until_ready();
    let answer = ask_and_stay(&mut kept, "/readyz", "ready\n");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(http.get("/healthz").text(), "ok\n");
    assert!(broker.connect_with_ack(Connect::v5("s").persistent()).1.session_present);
}

#[test]
fn admin_port_in_use_is_named_and_nothing_starts() {
    if peer_is_mosquitto() {
        return;
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut broker = crate::broker::Broker::start(&Options::shards(1)).unwrap();
    assert!(broker.terminate().success());
    let options = Options::shards(1).set(&format!("admin.listen={address}"));
    broker.expect_no_restart(&options, &["admin.listen", &address.to_string(), "set another address"]);
}

#[test]
fn admin_other_machines_are_let_in_only_where_the_file_says_so() {
    let Some(mut broker) = served(1, &[]) else { return };
    assert!(broker.terminate().success());
    let options = Options::shards(1).set("admin.listen=0.0.0.0:0");
    broker.relaunch(&options);
    assert_eq!(broker.wait().code(), Some(2));
    broker.forgive();
    assert!(broker.output().contains("admin.allow_plain"), "{}", broker.output());
}
