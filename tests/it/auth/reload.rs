//! SIGHUP reads the files of authentication again; one that is broken leaves the old one in effect.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::http::Server;
use super::{Files, SHARDS, cheap_line, login, start, wait_for_output};
use crate::broker::{Broker, peer_is_mosquitto, wait_until};
use crate::wire::{Connect, Version};

#[test]
fn a_reload_reads_the_files_again_and_drops_nobody() {
    for shards in SHARDS {
        let files = Files::new();
        let path = files.set("auth.file.path", "users", cheap_line("alice", "p1") + &cheap_line("bob", "p1"));
        let Some(broker) = start(shards, &["auth.order=file", &path]) else { return };
        let mut alice = broker.connect(login(Version::V50, "a", "alice", "p1"));
        let mut bob = broker.connect(login(Version::V311, "b", "bob", "p1"));
        files.write("users", cheap_line("alice", "p2"));
        broker.signal("HUP");
        wait_for_output(&broker, "configuration reloaded");
        alice.ping();
        bob.ping();
        broker.expect_refused(login(Version::V50, "a", "alice", "p1"), 0x86);
        broker.expect_refused(login(Version::V50, "b", "bob", "p1"), 0x86);
        alice.ping();
        let mut again = broker.connect(login(Version::V50, "a", "alice", "p2"));
        alice.expect_disconnect(0x8E);
        // What is broken changes nothing.
        files.write("users", cheap_line("alice", "p3") + "bob:hunter2\n");
        broker.signal("HUP");
        wait_for_output(&broker, "users line 2: expected a hash");
        broker.expect_refused(login(Version::V50, "a", "alice", "p3"), 0x86);
        again.ping();
        broker.connect(login(Version::V50, "c", "alice", "p2")).ping();
        assert!(!broker.output().contains("hunter2"));
    }
}

/// The server that was asked before the reload says yes after it; asked again it says no, which counts.
#[test]
fn a_verdict_of_before_the_reload_does_not_count() {
    for shards in SHARDS {
        let may_answer = Arc::new(AtomicBool::new(false));
        let (waits_for, asked) = (Arc::clone(&may_answer), AtomicBool::new(false));
        let server = Server::start(move |_, _| {
            if asked.swap(true, Ordering::Relaxed) {
                return Some(401);
            }
            wait_until("the reload", || waits_for.load(Ordering::Relaxed));
            Some(200)
        });
        let url = format!("auth.http.auth_req.url={}", server.url("/auth"));
        let Some(broker) = start(shards, &["auth.order=http", &url, "auth.http.timeout_ms=20000"]) else {
            return;
        };
        let mut client = broker.open(Version::V50);
        client.send(login(Version::V50, "c", "alice", "p1"));
        wait_until("the question", || server.requests().len() == 1);
        broker.signal("HUP");
        wait_for_output(&broker, "configuration reloaded");
        may_answer.store(true, Ordering::Relaxed);
        client.expect_refusal(0x86);
        assert_eq!(server.requests().len(), 2);
    }
}

/// One request at a time: who waits in the queue over the reload is asked about by the new credentials, and by those alone.
#[test]
fn a_client_that_waits_over_a_reload_is_judged_by_the_new_credentials() {
    for shards in SHARDS {
        let may_answer = Arc::new(AtomicBool::new(false));
        let waits_for = Arc::clone(&may_answer);
        let server = Server::start(move |_, _| {
            wait_until("the reload", || waits_for.load(Ordering::Relaxed));
            Some(200)
        });
        let url = format!("auth.http.auth_req.url={}", server.url("/auth"));
        let settings = ["auth.order=http", &url, "auth.http.timeout_ms=20000", "auth.http.connections_max=1"];
        let Some(broker) = start(shards, &settings) else { return };
        let send = |user: &str| {
            let mut client = broker.open(Version::V50);
            client.send(login(Version::V50, user, user, "p1"));
            client
        };
        let first = send("first");
        wait_until("the question", || server.requests().len() == 1);
        let mut clients: Vec<_> = ["a", "b", "c"].map(send).into_iter().chain([first]).collect();
        // So that they are in the queue; those that are not are asked about later, which is right too.
        std::thread::sleep(Duration::from_millis(100));
        broker.signal("HUP");
        wait_for_output(&broker, "configuration reloaded");
        may_answer.store(true, Ordering::Relaxed);
        for client in &mut clients {
            assert_eq!(client.recv_connack().reason, 0);
        }
        assert_eq!(server.requests().len(), 5, "only the first twice");
    }
}

/// `[auth]` changes at a reload, listeners do not: one that strangers can reach admits nobody without authentication.
#[test]
fn authentication_that_is_configured_away_opens_nothing() {
    if peer_is_mosquitto() {
        return;
    }
    let files = Files::new();
    let users = files.write("users", cheap_line("alice", "p1"));
    let with = format!(
        "[auth]\norder = [\"file\"]\nfile.path = {:?}\n[[listener]]\nurl = \"mqtt://0.0.0.0:0\"\n",
        users.display().to_string()
    );
    let config = files.write("myriad.toml", with);
    let mut command = Command::new(crate::broker::binary());
    command.arg("--config").arg(&config).args(["--shards", "2", "--data-dir"]).arg(files.path("data"));
    let mut broker = Broker::spawn(&mut command, "127.0.0.1:1".parse().unwrap(), 2, files.path("data"));
    let output = broker.output();
    let (_, behind) = output.split_once("listening on mqtt://0.0.0.0:").unwrap();
    let port: u16 = behind.lines().next().unwrap().parse().unwrap();
    broker.address.set_port(port);
    broker.connect(login(Version::V50, "a", "alice", "p1")).ping();
    broker.expect_refused(Connect::v5("a"), 0x87);
    files.write("myriad.toml", "[auth]\norder = []\n[[listener]]\nurl = \"mqtt://127.0.0.1:1\"\n");
    broker.signal("HUP");
    wait_for_output(&broker, "configuration reloaded");
    broker.expect_refused(Connect::v5("a"), 0x87);
    broker.expect_refused(login(Version::V50, "a", "alice", "p1"), 0x87);
}
