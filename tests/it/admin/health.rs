//! What is asked without a password, and that a port in use is known at once.

use std::net::TcpListener;

use super::served;
use crate::broker::{Options, peer_is_mosquitto, wait_until};
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
