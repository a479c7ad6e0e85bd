//! Time that passes while nobody runs counts: Session Expiry and Message Expiry over a crash. Each test is about time, so each
//! has to let some pass.

use std::thread;
use std::time::Duration;

use super::{Durable, settle};
use crate::client::Client;
use crate::wire::{Connect, Property, Publish};

fn expiring(id: &str, seconds: u32) -> Connect {
    Connect::v5(id).resume().with(Property::SessionExpiry(seconds))
}

/// A session with one subscription, whose connection has ended, on disk.
fn leave(broker: &Durable, id: &str, seconds: u32) {
    let mut client = broker.connect(expiring(id, seconds));
    client.subscribe("t/#", 1);
    client.disconnect();
}

fn has_session(broker: &Durable, id: &str) -> bool {
    let (client, connack) = broker.connect_with_ack(expiring(id, 3600));
    client.disconnect();
    connack.session_present
}

#[test]
fn mqtt5_3_1_2_11_sessions_expire_while_the_broker_is_down() {
    let Some(mut broker) = Durable::start(&[]) else { return };
    leave(&broker, "short", 2);
    leave(&broker, "long", 3600);
    leave(&broker, "for-ever", u32::MAX);
    let mut client = broker.connect(Connect::v311("old").persistent());
    client.subscribe("t/#", 1);
    client.disconnect();
    broker.crash_for(Duration::from_millis(2_700));
    let present = ["short", "long", "for-ever", "old"].map(|id| has_session(&broker, id));
    assert_eq!(present, [false, true, true, true]);
    // It was begun anew by looking; what it had before is gone.
    let mut publisher = broker.connect(Connect::v5("p"));
    publisher.publish(Publish::new("t/1", "x").qos(1));
    broker.resume(expiring("short", 1)).expect_nothing();
    broker.resume(expiring("long", 1)).expect_payloads(["x"]);
}

#[test]
fn mqtt5_3_1_2_11_a_restart_does_not_begin_the_interval_anew() {
    let Some(mut broker) = Durable::start(&[]) else { return };
    for id in ["looked-at", "left-alone"] {
        leave(&broker, id, 4);
    }
    thread::sleep(Duration::from_millis(1_300));
    broker.crash();
    thread::sleep(Duration::from_millis(1_300));
    // 2.6 s and what two starts take are over.
    assert!(has_session(&broker, "looked-at"));
    broker.crash();
    thread::sleep(Duration::from_millis(1_500));
    assert!(!has_session(&broker, "left-alone"));
}

#[test]
fn mqtt5_3_1_2_23_a_connected_client_s_interval_begins_with_the_crash() {
    let Some(mut broker) = Durable::start(&[]) else { return };
    let connected = |id: &str| {
        let mut client = broker.connect(expiring(id, 2));
        settle(&mut client);
        client
    };
    let _clients: Vec<Client> = ["back", "away"].map(connected).into();
    // Nothing is written meanwhile, so nothing on disk says that they were still there.
    thread::sleep(Duration::from_millis(2_500));
    broker.crash();
    assert!(has_session(&broker, "back"), "it was connected until now");
    thread::sleep(Duration::from_millis(2_500));
    assert!(!has_session(&broker, "away"));
}

#[test]
fn mqtt5_3_3_2_3_messages_expire_while_the_broker_is_down() {
    let Some(mut broker) = Durable::start(&[]) else { return };
    leave(&broker, "c", 3600);
    let mut publisher = broker.connect(Connect::v5("p"));
    for (text, expiry) in [("short", Some(2)), ("long", Some(1_000)), ("for ever", None)] {
        let publish = Publish::new("t/1", text).qos(1);
        publisher.publish(match expiry {
            Some(seconds) => publish.with(Property::MessageExpiry(seconds)),
            None => publish,
        });
    }
    for (topic, expiry) in [("t/short", 2), ("t/long", 1_000)] {
        publisher
            .publish(Publish::new(topic, "retained").qos(1).retain().with(Property::MessageExpiry(expiry)));
    }
    broker.crash_for(Duration::from_millis(3_000));
    let mut client = broker.resume(expiring("c", 3600));
    let left = client.expect_message("t/1", "long").message_expiry().unwrap();
    assert!((900..=997).contains(&left), "{left} s are left of 1,000, 3 s later");
    assert_eq!(client.expect_message("t/1", "for ever").message_expiry(), None);
    client.expect_message("t/long", "retained");
    client.expect_nothing();
    let mut late = broker.connect(Connect::v5("late"));
    late.subscribe("t/#", 1);
    let left = late.expect_message("t/long", "retained").message_expiry().unwrap();
    assert!((900..=997).contains(&left), "{left} s are left of 1,000, 3 s later");
    late.expect_nothing();
}

#[test]
fn mqtt5_4_8_2_what_a_session_that_expired_while_the_broker_was_down_had_goes_to_another_member() {
    let Some(mut broker) = Durable::start(&[]) else { return };
    let mut first = broker.connect(expiring("first", 2));
    first.subscribe("$share/g/t/#", 2);
    first.disconnect();
    let mut publisher = broker.connect(Connect::v5("p"));
    let texts = ["1", "2", "3", "4"];
    for (number, text) in texts.into_iter().enumerate() {
        publisher.publish(Publish::new("t/x", text).qos(1 + (number % 2) as u8));
    }
    let mut second = broker.connect(expiring("second", 3600));
    second.subscribe("$share/g/t/#", 2);
    broker.crash_for(Duration::from_millis(2_700));
    let (mut second, connack) = broker.connect_with_ack(expiring("second", 3600));
    assert!(connack.session_present);
    second.expect_payloads(texts);
    second.expect_nothing();
    assert!(!has_session(&broker, "first"));
    settle(&mut second);
    broker.crash();
    let (mut second, _) = broker.connect_with_ack(expiring("second", 3600));
    second.expect_nothing();
}
