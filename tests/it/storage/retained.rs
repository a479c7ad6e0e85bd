//! Retained Messages over a crash (section 3.3.1.3).

use super::{Durable, settle};
use crate::wire::{Connect, Property, Publish};

/// Exactly these topics and texts are retained below `t/`.
fn expect_retained(broker: &Durable, expected: &[(String, String)]) {
    let mut client = broker.connect(Connect::v5("looks"));
    client.subscribe("t/#", 1);
    let mut found: Vec<_> = (0..expected.len())
        .map(|_| client.recv_message())
        .map(|publish| {
            assert!(publish.retain, "{publish:?}");
            (publish.topic.clone(), publish.text())
        })
        .collect();
    client.expect_nothing();
    found.sort();
    assert_eq!(found, expected);
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(topic, text)| (topic.to_string(), text.to_string())).collect()
}

#[test]
fn mqtt5_3_3_1_5_retained_messages_come_back() {
    let Some(mut broker) = Durable::start(&[]) else { return };
    let mut publisher = broker.connect(Connect::v5("p"));
    for (topic, text, qos) in [("t/1", "old", 1), ("t/1", "1", 1), ("t/2", "2", 2), ("t/gone", "x", 1)] {
        publisher.publish(Publish::new(topic, text).qos(qos).retain());
    }
    publisher.publish(Publish::new("t/gone", "").qos(1).retain());
    publisher.publish(Publish::new("t/never", "x").qos(1));
    for _ in 0..3 {
        broker.crash();
        expect_retained(&broker, &pairs(&[("t/1", "1"), ("t/2", "2")]));
    }
    broker.connect(Connect::v311("p")).publish(Publish::new("t/2", "").qos(2).retain());
    broker.crash();
    expect_retained(&broker, &pairs(&[("t/1", "1")]));
}

#[test]
fn mqtt5_3_3_1_5_retained_messages_of_qos_0_come_back() {
    let Some(mut broker) = Durable::start(&[]) else { return };
    let mut publisher = broker.connect(Connect::v5("p"));
    for number in 0..50 {
        publisher.publish(Publish::new(&format!("t/{number:02}"), "old").retain());
        publisher.publish(Publish::new(&format!("t/{number:02}"), number.to_string()).retain());
    }
    publisher.publish(Publish::new("t/00", "").retain());
    // No answer says that they are on disk; an orderly end writes them.
    publisher.ping();
    broker.stop_and_start();
    let expected: Vec<_> = (1..50).map(|number| (format!("t/{number:02}"), number.to_string())).collect();
    expect_retained(&broker, &expected);
    broker.crash();
    expect_retained(&broker, &expected);
}

#[test]
fn mqtt5_3_3_1_5_retained_messages_keep_qos_and_properties() {
    let Some(mut broker) = Durable::start(&[]) else { return };
    let publish = Publish::new("t/1", "x")
        .qos(2)
        .retain()
        .with(Property::ContentType("text".into()))
        .with(Property::user("a", "b"))
        .with(Property::MessageExpiry(1_000));
    broker.connect(Connect::v5("p")).publish(publish);
    broker.crash();
    broker.crash();
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("t/1", 2);
    let publish = client.expect_message("t/1", "x");
    assert_eq!((publish.qos, publish.retain), (2, true));
    assert!(publish.properties.contains(&Property::ContentType("text".into())));
    assert!(publish.properties.contains(&Property::user("a", "b")));
    assert!(publish.message_expiry().is_some_and(|left| (990..=1_000).contains(&left)), "{publish:?}");
}

#[test]
fn thousands_of_retained_messages_come_back() {
    let settings = ["storage.segment_bytes=65536", "limits.receive_max=1000"];
    let Some(mut broker) = Durable::start(&settings) else { return };
    let mut publisher = broker.connect(Connect::v5("p"));
    for round in 0..3_u16 {
        for number in 0..1_000_u16 {
            let publish = Publish::new(&format!("t/{number:04}"), format!("{round}"));
            publisher.send(publish.qos(1).retain().id(1 + number));
        }
        (0..1_000).for_each(|number| drop(publisher.recv_ack(crate::wire::AckKind::Puback, 1 + number)));
        if round == 1 {
            broker.crash();
            publisher = broker.connect(Connect::v5("p"));
        }
    }
    broker.crash();
    let expected: Vec<_> = (0..1_000).map(|number| (format!("t/{number:04}"), "2".to_owned())).collect();
    expect_retained(&broker, &expected);
}

#[test]
fn mqtt5_3_3_1_9_what_a_subscription_was_still_being_given_goes_on_after_a_crash() {
    const COUNT: usize = 300;
    let Some(mut broker) = Durable::start(&["limits.receive_max=1000"]) else { return };
    let mut publisher = broker.connect(Connect::v5("p"));
    for number in 0..COUNT {
        publisher.publish(Publish::new(&format!("t/{number:03}"), "x").qos(1).retain());
    }
    let connect = || Connect::v5("c").persistent().with(Property::ReceiveMaximum(1));
    let mut client = broker.connect(connect());
    client.subscribe("t/+", 1);
    let mut found = std::collections::BTreeSet::new();
    for round in 1..=3 {
        while found.len() < COUNT * round / 4 {
            found.insert(client.recv_message().topic.clone());
        }
        broker.crash();
        client = broker.resume(connect());
    }
    let mut received = 0;
    while found.len() < COUNT {
        received += 1;
        assert!(received <= 2 * COUNT, "the rest does not come: {} of {COUNT}", found.len());
        found.insert(client.recv_message().topic.clone());
    }
    // And then it is over: another start begins nothing again.
    while client.recv_within(std::time::Duration::from_millis(300)).is_some_and(|packet| match packet {
        crate::wire::Packet::Publish(publish) => {
            client.acknowledge(&publish);
            true
        }
        _ => false,
    }) {}
    settle(&mut client);
    broker.crash();
    broker.resume(connect()).expect_nothing();
}
