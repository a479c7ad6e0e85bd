//! What idle TLS connections cost in memory. The measurement is for a release build:
//! `MYRIAD_BIN=target/release/myriad cargo test --test it tls::idle -- --ignored --nocapture`.

use super::*;
use crate::client::Client;
use crate::wire::Connect;

/// Anonymous memory of a process in bytes: what it allocated, without the program itself.
fn anonymous_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
}

/// Connects `count` clients, each with one subscription.
fn connect(secured: &Secured, tls: bool, count: usize) -> Vec<Client> {
    let peer = secured.peer();
    let config = peer.config();
    let client = |number: usize| {
        let connect = Connect::v311(&format!("idle-{tls}-{number}"));
        let mut client = match tls {
            true => Client::over(peer.open_with(&config, secured.mqtts), connect.version),
            false => Client::open(secured.broker.address, connect.version),
        };
        client.send(connect);
        assert_eq!(client.recv_connack().reason, 0);
        client.subscribe(&format!("idle/{tls}/{number}/abcdef"), 0);
        client
    };
    (0..count).map(client).collect()
}

/// Bytes of each of `count` clients more, after the first ones have made the tables.
fn slope(secured: &Secured, tls: bool, count: usize) -> i64 {
    let _first = connect(secured, tls, (count / 10).max(500));
    let before = anonymous_bytes(secured.broker.pid());
    let mut clients = connect(secured, tls, count);
    // After traffic, as in life.
    clients.iter_mut().for_each(Client::ping);
    std::thread::sleep(Duration::from_secs(1));
    let after = anonymous_bytes(secured.broker.pid());
    (after as i64 - before as i64) / count as i64
}

fn measure(count: usize) -> (i64, i64) {
    let plain = slope(&Options::shards(1).log("info").start(), false, count);
    let tls = slope(&Options::shards(1).log("info").start(), true, count);
    println!("{count} idle clients: plain {plain} bytes each, TLS {tls}, beyond plain {}", tls - plain);
    (plain, tls)
}

#[test]
fn an_idle_tls_connection_costs_at_most_8_kb_more_than_a_plain_one() {
    // Fewer than in the measurement, and so a coarser slope: pages are taken many at a time.
    let (plain, tls) = measure(1000);
    assert!(tls - plain <= 8192, "{plain} and {tls} bytes");
}

#[test]
#[ignore = "a measurement"]
fn memory_of_10_000_idle_tls_connections() {
    let (plain, tls) = measure(10_000);
    assert!(tls - plain <= 8192, "{plain} and {tls} bytes");
}
