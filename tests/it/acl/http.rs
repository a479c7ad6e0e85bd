//! An HTTP server says what the rules do not: the client waits for it, and is told by its acknowledgement.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::guarded;
use crate::broker::unused_address;
use crate::numbers::wait_for;
use crate::wire::{Connect, Publish, Subscribe, Version, Will};

/// A server that allows topics with `yes`, has nothing to say on those with `broken`, and refuses the others. Each answer
/// takes `delay`. It keeps the bodies of what it was asked.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(delay: Duration) -> Self {
        let address = unused_address();
        let listener = TcpListener::bind(address).unwrap();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let log = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, log) = (stream.unwrap(), Arc::clone(&log));
                thread::spawn(move || {
                    while let Some(body) = read_request(&mut stream) {
                        thread::sleep(delay);
                        let status = match &body {
                            body if body.contains("yes") => "200 OK",
                            body if body.contains("broken") => "500 Internal Server Error",
                            _ => "403 Forbidden",
                        };
                        log.lock().unwrap().push(body);
                        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                        if stream.write_all(answer.as_bytes()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, asked }
    }

    fn setting(&self) -> String {
        format!("auth.http.acl_req.url=http://{}/acl", self.address)
    }
}

/// The body of the next POST.
fn read_request(stream: &mut impl Read) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let mut byte = [0];
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        bytes.push(byte[0]);
        let Some(head) = std::str::from_utf8(&bytes).ok()?.strip_suffix("\r\n\r\n") else { continue };
        let head = head.to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?.parse().ok()?;
        let mut body = vec![0; length];
        stream.read_exact(&mut body).ok()?;
        return String::from_utf8(body).ok();
    }
}

const RULES: &str = "{deny, all, pubsub, [\"never/#\"]}. {allow, all, pubsub, [\"always/#\", \"$SYS/#\"]}.";

#[test]
fn publishes_and_subscriptions_wait_for_the_answer_and_others_do_not() {
    for shards in [1, 4] {
        let server = Server::start(Duration::from_millis(300));
        let guarded = guarded(shards, RULES, &[&server.setting()]);
        let broker = &guarded.broker;
        let mut client = broker.connect(Connect::v5("c"));
        let mut other = broker.connect(Connect::v311("other"));
        let start = Instant::now();
        client.send(Subscribe::new(7, "yes/#", 1).and("no/#", 1).and("never/x", 1).and("always/#", 2));
        other.ping();
        assert!(start.elapsed() < Duration::from_millis(250), "somebody else waited {:?}", start.elapsed());
        assert_eq!(client.recv_ack(crate::wire::AckKind::Suback, 7).reasons, [1, 0x87, 0x87, 2]);
        assert!(start.elapsed() >= Duration::from_millis(600), "two questions took {:?}", start.elapsed());
        assert_eq!(client.publish_reason(Publish::new("no/t", "x").qos(1)), 0x87);
        assert_eq!(client.publish_reason(Publish::new("yes/t", "x").qos(2)), 0);
        client.expect_message("yes/t", "x");
        // What was answered is remembered.
        let asked = server.asked.lock().unwrap().len();
        for _ in 0..20 {
            client.publish(Publish::new("yes/t", "again").qos(1));
            client.expect_message("yes/t", "again");
        }
        assert_eq!(server.asked.lock().unwrap().len(), asked);
        let bodies = server.asked.lock().unwrap().join("\n");
        for part in ["access=1", "access=2", "clientid=c", "ipaddr=127.", "topic=yes%2Ft"] {
            assert!(bodies.contains(part), "{bodies}");
        }
        assert!(!bodies.contains("never") && !bodies.contains("always"), "{bodies}");
        broker.expect_refused(Connect::v5("d").will(Will::new("no/will", "x")), 0x87);
        broker.connect(Connect::v5("d").will(Will::new("yes/will", "gone"))).abort();
        client.expect_message("yes/will", "gone");
        wait_for(broker, "metrics/acl/asked", |asked| asked >= 6);
    }
}

#[test]
fn without_an_answer_the_client_may_not_or_no_match_holds() {
    let server = Server::start(Duration::ZERO);
    let strict = guarded(1, RULES, &[&server.setting()]);
    let mut client = strict.broker.connect(Connect::v5("c"));
    assert_eq!(client.publish_reason(Publish::new("broken", "x").qos(1)), 0x87);
    let lenient = guarded(2, RULES, &[&server.setting(), "acl.on_error=ignore", "acl.no_match=allow"]);
    for version in Version::ALL {
        let mut client = lenient.broker.connect(Connect::new(version, "c"));
        client.subscribe("broken", 1);
        client.publish(Publish::new("broken", "x").qos(1));
        client.expect_message("broken", "x");
    }
    let nobody = format!("auth.http.acl_req.url=http://{}/acl", unused_address());
    let alone = guarded(1, RULES, &[&nobody]);
    let mut client = alone.broker.connect(Connect::v311("c"));
    assert_eq!(client.subscribe_reason("yes", 1), 0x80);
    client.subscribe("always/x", 1);
    wait_for(&alone.broker, "metrics/acl/unanswered", |unanswered| unanswered == 1);
}

#[test]
fn a_client_that_leaves_while_it_waits_harms_nobody() {
    let server = Server::start(Duration::from_millis(200));
    let guarded = guarded(2, RULES, &[&server.setting()]);
    let mut reader = guarded.broker.connect(Connect::v5("reader"));
    reader.subscribe("yes/#", 1);
    for number in 0..20 {
        let mut client = guarded.broker.connect(Connect::v5(&format!("c-{number}")));
        client.send(Publish::new(&format!("yes/{number}"), "x").qos(1).id(1));
        drop(client);
    }
    reader.publish(Publish::new("yes/last", "x").qos(1));
    reader.recv_where(|packet| matches!(packet, crate::wire::Packet::Publish(p) if p.topic == "yes/last"));
}
