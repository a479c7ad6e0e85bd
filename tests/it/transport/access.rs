//! The rules of `access`: who is closed before a byte is read, and a reload of the rules.

use std::io::Read;
use std::net::TcpStream;

use super::{SHARDS, listen, printed, reload, start, wait_until};
use crate::broker::Broker;
use crate::client::{Client, TIMEOUT};
use crate::wire::{Connect, Version};

/// The broker closes a connection that sends nothing.
fn expect_closed_unread(broker: &Broker) {
    let mut stream = TcpStream::connect(broker.address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let read = stream.read(&mut [0; 10]);
    assert!(matches!(read, Ok(0)) || read.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset));
}

#[test]
fn the_first_rule_that_names_an_address_decides() {
    for shards in SHARDS {
        let broker = listen(
            shards,
            "mqtt",
            "access = [\"allow 192.168.1.0/24\", \"deny 127.0.0.0/8\", \"allow all\"]",
        );
        for _ in 0..50 {
            expect_closed_unread(&broker);
        }
        let broker = listen(shards, "mqtt", "access = [\"allow 127.0.0.0/8\", \"deny all\"]");
        broker.connect(Connect::v5("c")).ping();
    }
}

#[test]
fn a_reload_changes_the_rules_for_those_who_come_later() {
    let broker = listen(4, "mqtt", "access = [\"deny 10.0.0.0/8\"]");
    let mut early = broker.connect(Connect::v5("early"));
    reload(&broker, "deny 10.0.0.0/8", "deny all");
    wait_until("the new rules are in effect", || {
        let mut stream = TcpStream::connect(broker.address).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_millis(100))).unwrap();
        matches!(stream.read(&mut [0; 1]), Ok(0))
    });
    expect_closed_unread(&broker);
    early.ping();
    reload(&broker, "deny all", "allow all");
    broker.connect(Connect::v5("late")).ping();
    early.ping();
}

#[test]
fn those_who_are_refused_are_counted() {
    let broker = start(
        2,
        "[[listener]]\nurl = \"mqtt://{address}\"\naccess = [\"deny all\"]\n[[listener]]\nurl = \"mqtt://127.0.0.1:0\"\n\
         [sys]\ninterval_s = 1",
    );
    for _ in 0..30 {
        expect_closed_unread(&broker);
    }
    let open = format!("127.0.0.1:{}", printed(&broker, "mqtt://127.0.0.1:"));
    let mut client = Client::open(open.parse().unwrap(), Version::V50);
    client.send(Connect::v5("watcher"));
    assert_eq!(client.recv_connack().reason, 0);
    client.subscribe("$SYS/brokers/+/metrics/connections/refused/access", 0);
    wait_until("30 are counted", || client.recv_message().text() == "30");
}

#[test]
fn ipv4_on_a_dual_stack_listener_is_ipv4() {
    let rules = "allow_anonymous = true\naccess = [\"deny 127.0.0.0/8\", \"allow all\"]";
    let broker = start(1, &format!("[[listener]]\nurl = \"mqtt://[::]:0\"\n{rules}"));
    let port = printed(&broker, "mqtt://[::]:");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    assert!(!matches!(stream.read(&mut [0; 10]), Ok(1..)));
    let mut client = Client::open(format!("[::1]:{port}").parse().unwrap(), Version::V50);
    client.send(Connect::v5("six"));
    assert_eq!(client.recv_connack().reason, 0);
}
