//! Authentication comes before everything: whoever fails has not touched a session, and what belongs to an identity
//! comes with it to its home shard.

use super::{Files, SHARDS, bad_credentials, cheap_line, line_of_cost, login, start};
use crate::wire::{Connect, Publish, Version, Will};

#[test]
fn a_wrong_password_never_disturbs_a_session() {
    for shards in SHARDS {
        let files = Files::new();
        let path = files.set("auth.file.path", "users", cheap_line("alice", "p1"));
        let Some(broker) = start(shards, &["auth.order=file", &path]) else { return };
        let mut watcher = broker.connect(login(Version::V50, "watcher", "alice", "p1"));
        watcher.subscribe("will", 1);
        for (number, version) in Version::ALL.into_iter().enumerate() {
            let id = format!("victim-{number}");
            let will = Will::new("will", "gone");
            let mut victim = broker.connect(login(version, &id, "alice", "p1").will(will));
            victim.subscribe("t", 1);
            for attacker in Version::ALL {
                broker.expect_refused(login(attacker, &id, "alice", "wrong"), bad_credentials(attacker));
                broker.expect_refused(login(attacker, &id, "mallory", "p1"), bad_credentials(attacker));
            }
            watcher.publish(Publish::new("t", b"still here".to_vec()).qos(1));
            victim.expect_message("t", "still here");
            victim.disconnect();
        }
        watcher.expect_nothing();
    }
}

/// What a client sends behind its CONNECT waits for the verdict with it, and comes in order.
#[test]
fn packets_behind_a_connect_wait_for_its_verdict() {
    for shards in SHARDS {
        let files = Files::new();
        let path = files.set("auth.file.path", "users", line_of_cost("alice", "p1", 1024, 1));
        let Some(broker) = start(shards, &["auth.order=file", &path, "auth.cache_len_max=0"]) else { return };
        let mut watcher = broker.connect(login(Version::V50, "watcher", "alice", "p1"));
        watcher.subscribe("t", 1);
        for number in 0..8 {
            let id = format!("c{number}");
            let mut client = broker.open(Version::V311);
            client.send(login(Version::V311, &id, "alice", "p1"));
            for word in ["one", "two"] {
                client.send(Publish::new("t", word.as_bytes().to_vec()));
            }
            assert_eq!(client.recv_connack().reason, 0);
            client.ping();
            watcher.expect_payloads(["one", "two"]);
            let mut refused = broker.open(Version::V311);
            refused.send(login(Version::V311, &id, "alice", "p2"));
            // The broker may have closed already.
            let bytes = crate::wire::Packet::from(Publish::new("t", b"never".to_vec())).encode(Version::V311);
            refused.send_bytes_or_closed(&bytes);
            assert_eq!(refused.recv_connack().reason, 4);
        }
        watcher.expect_nothing();
    }
}

/// A client that leaves before its verdict leaves nothing behind.
#[test]
fn who_goes_before_the_verdict_is_forgotten() {
    for shards in SHARDS {
        let files = Files::new();
        let path = files.set("auth.file.path", "users", line_of_cost("alice", "p1", 512, 1));
        let Some(broker) = start(shards, &["auth.order=file", &path, "auth.cache_len_max=0"]) else { return };
        for number in 0..40 {
            let mut client = broker.open(Version::V311);
            client.send(login(Version::V311, &format!("c{number}"), "alice", "p1"));
            drop(client);
        }
        broker.connect(login(Version::V50, "c", "alice", "p1")).ping();
        broker.expect_refused(Connect::v5("c"), 0x87);
    }
}
