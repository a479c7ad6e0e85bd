//! What authentication costs: clients that come back cost no hash again, a queue that is full says so, and those who
//! are connected do not notice.

use std::time::{Duration, Instant};

use super::{Files, SHARDS, cheap_line, line_of_nobody, login, metric, start};
use crate::wire::{Packet, Version};

#[test]
fn clients_that_come_back_cost_no_hash_again() {
    const CLIENTS: usize = 5_000;
    for shards in SHARDS {
        let files = Files::new();
        let names: Vec<String> = (0..CLIENTS).map(|number| format!("user{number}")).collect();
        let line = cheap_line("", "p1");
        let users: String = names.iter().map(|name| format!("{name}{line}")).collect();
        let path = files.set("auth.file.path", "users", users);
        let Some(broker) = start(shards, &["auth.order=file", &path, "sys.interval_s=1"]) else { return };
        let everyone = || {
            // Many at a time, as after an outage.
            for some in names.chunks(500) {
                let mut clients: Vec<_> = some.iter().map(|_| broker.open(Version::V311)).collect();
                for (client, name) in clients.iter_mut().zip(some) {
                    client.send(login(Version::V311, name, name, "p1"));
                }
                for client in &mut clients {
                    assert_eq!(client.recv_connack().reason, 0);
                }
            }
        };
        let count = |path: &str| metric(&broker, login(Version::V50, "m", "user0", "p1"), path);
        everyone();
        assert_eq!(count("auth/computed"), CLIENTS as u64);
        let hits = count("auth/cache_hits");
        everyone();
        everyone();
        assert_eq!(count("auth/computed"), CLIENTS as u64);
        assert!(count("auth/cache_hits") >= hits + 2 * CLIENTS as u64);
        // A reload forgets them.
        broker.signal("HUP");
        super::wait_for_output(&broker, "configuration reloaded");
        broker.connect(login(Version::V50, "m", "user1", "p1")).ping();
        broker.connect(login(Version::V50, "m", "user1", "p1")).ping();
        assert_eq!(count("auth/computed"), CLIENTS as u64 + 2, "user1's, and user0's who asks");
    }
}

#[test]
fn many_clients_with_the_same_credentials_cost_one_hash() {
    let files = Files::new();
    let path = files.set("auth.file.path", "users", cheap_line("alice", "p1"));
    let settings = ["auth.order=file", &path, "sys.interval_s=1", "auth.threads=1"];
    let Some(broker) = start(2, &settings) else { return };
    let mut clients: Vec<_> = (0..300).map(|_| broker.open(Version::V50)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(login(Version::V50, &format!("c{number}"), "alice", "p1"));
    }
    for client in &mut clients {
        assert_eq!(client.recv_connack().reason, 0);
    }
    assert_eq!(metric(&broker, login(Version::V50, "m", "alice", "p1"), "auth/computed"), 1);
}

/// 200 logins, each with a wrong password, so that none is remembered, wait for one thread. Meanwhile who is connected is
/// answered as ever.
#[test]
fn who_is_connected_does_not_notice_who_waits_for_a_hash() {
    for shards in SHARDS {
        let files = Files::new();
        let users = cheap_line("alice", "p1") + &line_of_nobody("slow", 64 * 1024, 4);
        let path = files.set("auth.file.path", "users", users);
        let Some(broker) = start(shards, &["auth.order=file", &path]) else { return };
        let mut connected = broker.connect(login(Version::V50, "c", "alice", "p1"));
        let mut waiting: Vec<_> = (0..200).map(|_| broker.open(Version::V50)).collect();
        for (number, client) in waiting.iter_mut().enumerate() {
            client.send(login(Version::V50, &format!("w{number}"), "slow", "wrong"));
        }
        let mut times = Vec::new();
        let end = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end {
            let start = Instant::now();
            connected.ping();
            times.push(start.elapsed());
            std::thread::sleep(Duration::from_millis(2));
        }
        times.sort();
        let (median, count) = (times[times.len() / 2], times.len());
        assert!(median < Duration::from_millis(20), "median {median:?} of {count}");
        assert!(count > 50, "{count} PINGREQs in 2 s");
        assert_eq!(waiting[199].recv_within(Duration::from_millis(1)), None, "the last one still waits");
    }
}

#[test]
fn when_too_many_wait_the_next_is_told_at_once_that_the_server_is_busy() {
    for shards in SHARDS {
        let files = Files::new();
        let users = line_of_nobody("slow", 16 * 1024, 2);
        let path = files.set("auth.file.path", "users", users);
        let settings = ["auth.order=file", &path, "auth.queue_len_max=5"];
        let Some(broker) = start(shards, &settings) else { return };
        let mut waiting: Vec<_> = (0..40).map(|_| broker.open(Version::V50)).collect();
        for (number, client) in waiting.iter_mut().enumerate() {
            client.send(login(Version::V50, &format!("w{number}"), "slow", "wrong"));
        }
        let reasons: Vec<u8> = waiting.iter_mut().map(|client| client.recv_connack().reason).collect();
        let busy = reasons.iter().filter(|&&reason| reason == 0x89).count();
        let refused = reasons.iter().filter(|&&reason| reason == 0x86).count();
        assert!(busy > 0 && refused >= 5 && busy + refused == 40, "{reasons:?}");
    }
}

/// 30 clients give up while they wait; behind them one comes that stays. The work for those that are gone is not done.
#[test]
fn clients_that_are_gone_cost_no_hash() {
    for shards in SHARDS {
        let files = Files::new();
        let users = line_of_nobody("slow", 64 * 1024, 3) + &cheap_line("alice", "p1");
        let path = files.set("auth.file.path", "users", users);
        let settings = ["auth.order=file", &path, "auth.threads=1", "sys.interval_s=1"];
        let Some(broker) = start(shards, &settings) else { return };
        let waiting: Vec<_> = (0..30)
            .map(|number| {
                let mut client = broker.open(Version::V50);
                client.send(login(Version::V50, &format!("w{number}"), "slow", "wrong"));
                client
            })
            .collect();
        // All but two have said nothing more than CONNECT, and are gone.
        for (number, mut client) in waiting.into_iter().enumerate() {
            if number < 2 {
                client.send(Packet::Pingreq);
            }
            drop(client);
        }
        let start = Instant::now();
        broker.connect(login(Version::V50, "a", "alice", "p1")).ping();
        let took = start.elapsed();
        let computed = metric(&broker, login(Version::V50, "m", "alice", "p1"), "auth/computed");
        // The two, alice, and what was under way when the others left.
        assert!((3..=8).contains(&computed), "{computed} computations, {took:?}");
    }
}

#[test]
fn a_verdict_that_does_not_come_ends_with_the_time_for_connect() {
    let files = Files::new();
    let path = files.set("auth.file.path", "users", line_of_nobody("slow", 64 * 1024, 64));
    let Some(broker) = start(2, &["auth.order=file", &path, "limits.connect_timeout_s=1"]) else { return };
    let mut clients: Vec<_> = (0..2).map(|_| broker.open(Version::V50)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(login(Version::V50, &format!("w{number}"), "slow", "wrong"));
    }
    clients[1].expect_closed_within(Duration::from_secs(15));
}

#[test]
fn a_wait_that_the_time_for_connect_cuts_short_is_warned_of() {
    let files = Files::new();
    let path = files.set("auth.file.path", "users", cheap_line("alice", "p1"));
    let settings = ["auth.order=file", &path, "auth.timeout_s=20", "limits.connect_timeout_s=10"];
    let warning = "auth.timeout_s (20 s) is not shorter than limits.connect_timeout_s (10 s, --set";
    let mut command = std::process::Command::new(crate::broker::binary());
    command.arg("check").args(settings.iter().flat_map(|setting| ["--set", setting]));
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && text.contains(warning), "{text}");
    let Some(broker) = start(1, &settings) else { return };
    super::wait_for_output(&broker, warning);
}
