//! The audit log: a line for each who connects, leaves, is refused or banned.

use super::{limited, wait_until};
use crate::broker::Broker;
use crate::client::Client;
use crate::wire::{Connect, Version, Will};

/// Waits for a line of the audit log with all of `parts`.
fn expect_line(broker: &Broker, parts: &[&str]) {
    let has = |line: &str| line.contains(" audit: ") && parts.iter().all(|part| line.contains(part));
    wait_until(&format!("a line with {parts:?} in\n{}", broker.output()), || {
        broker.output().lines().any(has)
    });
}

#[test]
fn who_comes_goes_is_refused_or_banned_is_logged_whatever_the_level() {
    for shards in [1, 4] {
        let settings = ["log.audit=true", "log.level=error", "limits.ban_connects=4", "mqtt.qos_max=1"];
        let broker = limited(shards, &settings);
        broker.connect(Connect::v5("polite")).disconnect();
        expect_line(
            &broker,
            &["event=\"connected\"", "client_id=\"polite\"", "version=\"5.0\"", "clean_start=true"],
        );
        expect_line(
            &broker,
            &["event=\"disconnected\"", "client_id=\"polite\"", "reason=\"disconnect\"", "connected_s=0"],
        );
        let mut rude = broker.connect(Connect::v311("rude"));
        rude.send_bytes(&[0x00, 0x00]);
        rude.expect_closed();
        expect_line(&broker, &["event=\"disconnected\"", "client_id=\"rude\"", "0x81"]);
        drop(broker.connect(Connect::v31("lost")));
        expect_line(&broker, &["client_id=\"lost\"", "reason=\"connection lost\"", "address=127."]);
        let old = broker.connect(Connect::v5("twice"));
        let new = broker.connect(Connect::v5("twice"));
        expect_line(&broker, &["client_id=\"twice\"", "reason=\"takeover\""]);
        broker.expect_refused(Connect::v5("no").will(Will::new("t", "x").qos(2)), 0x9B);
        expect_line(&broker, &["event=\"refused\"", "client_id=\"no\"", "reason=\"0x9B"]);
        for _ in 0..3 {
            broker.connect(Connect::v5("a\"b\u{85}")).disconnect();
        }
        broker.expect_refused(Connect::v5("a\"b\u{85}"), 0x8A);
        expect_line(&broker, &["event=\"banned\"", "cause=\"flapping\""]);
        assert!(broker.output().lines().all(|line| !line.contains('\u{85}')), "{}", broker.output());
        drop((old, new));
    }
}

#[test]
fn a_storm_is_sampled_and_what_was_left_out_is_counted() {
    let broker = limited(1, &["log.audit=true"]);
    // Within one second, or nothing is left out: as fast as it goes, again and again.
    let left_out =
        || broker.output().lines().any(|line| line.contains("event=\"left_out\"") && line.contains("count="));
    wait_until("left out", || {
        let mut clients: Vec<_> = (0..400)
            .map(|number| {
                let mut client = broker.open(Version::V311);
                client.send(Connect::v311(&format!("c-{number}")));
                client
            })
            .collect();
        clients.iter_mut().for_each(|client| drop(client.recv_connack()));
        clients.iter_mut().for_each(Client::ping);
        left_out()
    });
}

#[test]
fn without_the_key_nothing_is_logged() {
    let broker = limited(1, &["log.level=info"]);
    broker.connect(Connect::v5("quiet")).disconnect();
    broker.connect(Connect::v5("again")).ping();
    assert!(!broker.output().contains(" audit: "), "{}", broker.output());
}
