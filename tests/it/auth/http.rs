//! An HTTP server that knows the clients, as emqttd's auth_http asks it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{SHARDS, bad_credentials, login, not_authorized, start};
use crate::wire::{Connect, Version};

/// A small HTTP server: `answer` gives the status for a path with its query, and a body.
pub(super) struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicU32>,
    ended: Arc<AtomicBool>,
}

impl Server {
    pub(super) fn start(answer: impl Fn(&str, &str) -> Option<u16> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
            connections: Arc::default(),
            ended: Arc::default(),
        };
        let (requests, connections) = (Arc::clone(&server.requests), Arc::clone(&server.connections));
        let (ended, answer) = (Arc::clone(&server.ended), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                connections.fetch_add(1, Ordering::Relaxed);
                let (requests, answer) = (Arc::clone(&requests), Arc::clone(&answer));
                std::thread::spawn(move || serve(&stream, &*answer, &requests));
            }
        });
        server
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: &TcpStream, answer: &dyn Fn(&str, &str) -> Option<u16>, requests: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        let mut length = 0;
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header).unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if header.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let body = String::from_utf8(body).unwrap();
        let target = first.split(' ').nth(1).unwrap().to_owned();
        requests.lock().unwrap().push(format!("{} {body}", first.trim_end()));
        // None: no answer ever.
        let Some(status) = answer(&target, &body) else {
            std::thread::sleep(Duration::from_secs(30));
            return;
        };
        let text = format!("HTTP/1.1 {status} X\r\nContent-Length: 4\r\n\r\nbody");
        if (&mut &*stream).write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

#[test]
fn the_status_decides_and_a_yes_is_remembered() {
    for shards in SHARDS {
        let server = Server::start(|_, body| {
            Some(match body {
                body if body.contains("username=alice&password=p%261") => 200,
                body if body.contains("username=broken") => 500,
                _ => 401,
            })
        });
        let url = format!("auth.http.auth_req.url={}", server.url("/mqtt/auth"));
        let Some(broker) = start(shards, &["auth.order=http", &url]) else { return };
        for version in Version::ALL {
            for _ in 0..3 {
                broker.connect(login(version, "c", "alice", "p&1")).ping();
            }
            broker.expect_refused(login(version, "c", "alice", "p2"), bad_credentials(version));
            broker.expect_refused(login(version, "c", "broken", "p"), if version.is_v5() { 0x88 } else { 3 });
            broker.expect_refused(Connect::new(version, "c"), not_authorized(version));
        }
        let requests = server.requests();
        let yes: Vec<_> = requests.iter().filter(|request| request.contains("p%261")).collect();
        let expected = "POST /mqtt/auth HTTP/1.1 clientid=c&username=alice&password=p%261&ipaddr=127";
        assert!(yes[0].starts_with(expected), "{requests:?}");
        assert_eq!(yes.len(), 1, "{requests:?}");
        assert_eq!(requests.len(), 7, "a no is not remembered: {requests:?}");
        let connections = server.connections.load(Ordering::Relaxed);
        assert!(connections < 7, "{connections} connections for 7 requests");
        // Another client with the same password is another question.
        broker.connect(login(Version::V50, "c2", "alice", "p&1")).ping();
        assert_eq!(server.requests().len(), 8);
    }
}

#[test]
fn while_the_server_is_out_of_order_nobody_is_banned() {
    for shards in SHARDS {
        let server = Server::start(|_, body| {
            Some(match body {
                body if body.contains("password=right") => 200,
                body if body.contains("password=outage") => 500,
                _ => 401,
            })
        });
        let url = format!("auth.http.auth_req.url={}", server.url("/"));
        let settings = ["auth.order=http", "limits.ban_failures=3", &url];
        let Some(broker) = start(shards, &settings) else { return };
        let try_with = |password: &str| login(Version::V50, "c", "alice", password);
        for _ in 0..6 {
            broker.expect_refused(try_with("outage"), 0x88);
        }
        broker.connect(try_with("right")).ping();
        // What is the client's fault counts as ever.
        for _ in 0..3 {
            broker.expect_refused(try_with("wrong"), 0x86);
        }
        broker.expect_refused(try_with("right"), 0x8A);
    }
}

#[test]
fn a_get_asks_by_its_query_and_a_second_request_makes_superusers() {
    let server = Server::start(|target, _| Some(if target.starts_with("/auth?x=1&") { 200 } else { 404 }));
    let auth = format!("auth.http.auth_req.url={}", server.url("/auth?x=1"));
    let superuser = format!("auth.http.super_req.url={}", server.url("/super"));
    let settings = ["auth.order=http", "auth.http.auth_req.method=get", &auth, &superuser];
    let Some(broker) = start(2, &settings) else { return };
    broker.connect(login(Version::V50, "c 1", "alice", "p")).ping();
    let requests = server.requests();
    assert!(requests[0].starts_with("GET /auth?x=1&clientid=c%201&username=alice&password=p&ipaddr=127."));
    assert_eq!(requests[1], "POST /super HTTP/1.1 clientid=c%201&username=alice");
}

#[test]
fn a_server_that_does_not_answer_is_given_up_in_time() {
    let server = Server::start(|_, _| None);
    let url = format!("auth.http.auth_req.url={}", server.url("/"));
    let settings = ["auth.order=http", "auth.http.timeout_ms=300", &url];
    let Some(broker) = start(1, &settings) else { return };
    let start_at = Instant::now();
    broker.expect_refused(login(Version::V50, "c", "alice", "p"), 0x88);
    assert!(start_at.elapsed() < Duration::from_secs(10), "{:?}", start_at.elapsed());
    super::wait_for_output(&broker, "authentication: no answer");
    // Nobody is there at all; then the next method is asked.
    drop(server);
    let files = super::Files::new();
    let users = files.set("auth.file.path", "users", super::cheap_line("alice", "p1"));
    let settings = [
        "auth.order=[\"http\", \"file\"]",
        "auth.http.auth_req.url=http://127.0.0.1:1/",
        "auth.http.on_error=ignore",
        &users,
    ];
    let Some(broker) = start(2, &settings) else { return };
    broker.connect(login(Version::V50, "c", "alice", "p1")).ping();
    broker.expect_refused(login(Version::V50, "c", "alice", "p2"), 0x86);
}

#[test]
fn what_no_server_answered_is_not_remembered() {
    let is_up = Arc::new(AtomicBool::new(false));
    let up = Arc::clone(&is_up);
    let server = Server::start(move |_, _| Some(if up.load(Ordering::Relaxed) { 401 } else { 503 }));
    let files = super::Files::new();
    let users = files.set("auth.file.path", "users", super::cheap_line("alice", "p1"));
    let url = format!("auth.http.auth_req.url={}", server.url("/"));
    let settings = ["auth.order=[\"http\", \"file\"]", &url, "auth.http.on_error=ignore", &users];
    let Some(broker) = start(2, &settings) else { return };
    broker.connect(login(Version::V50, "c", "alice", "p1")).ping();
    is_up.store(true, Ordering::Relaxed);
    broker.expect_refused(login(Version::V50, "c", "alice", "p1"), 0x86);
}

#[test]
fn credentials_too_long_for_a_get_are_refused_quietly() {
    let server = Server::start(|_, _| Some(200));
    let url = format!("auth.http.auth_req.url={}", server.url("/"));
    let settings = ["auth.order=http", "auth.http.auth_req.method=get", &url];
    let Some(broker) = start(1, &settings) else { return };
    broker.expect_refused(login(Version::V50, "c", "alice", &"&".repeat(30_000)), 0x86);
    assert!(server.requests().is_empty());
    assert!(!broker.output().contains("no answer"), "{}", broker.output());
}
