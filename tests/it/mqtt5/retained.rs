//! Retained messages and Retain Handling (sections 3.3.1.3, 3.8.3.1).

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use crate::broker::Broker;
use crate::wire::{Ack, AckKind, Connect, Filter, Packet, Property, Publish, Subscribe};

fn retain(broker: &Broker, topic: &str, payload: &str) {
    broker.connect(Connect::v5("retainer")).publish(Publish::new(topic, payload).qos(1).retain());
}

sharded!(mqtt5_3_3_1_5_the_last_retained_message_is_sent_to_a_new_subscription, |broker| {
    retain(broker, "t", "1");
    retain(broker, "t", "2");
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("t", 1);
    let publish = client.recv_message();
    assert_eq!((publish.text(), publish.retain, publish.dup), ("2".into(), true, false));
    client.expect_nothing();
});

sharded!(mqtt5_section_3_3_1_3_retained_messages_come_at_the_lower_qos, |broker| {
    let mut publisher = broker.connect(Connect::v5("p"));
    for sent in 0..3 {
        publisher.publish(Publish::new(&format!("t/{sent}"), "x").qos(sent).retain());
    }
    for granted in 0..3 {
        let mut client = broker.connect(Connect::v5("c"));
        for sent in 0..3 {
            client.subscribe(&format!("t/{sent}"), granted);
            assert_eq!(client.recv_message().qos, sent.min(granted));
        }
    }
});

sharded!(mqtt5_3_3_1_6_an_empty_payload_removes_the_retained_message, |broker| {
    retain(broker, "t", "x");
    let mut live = broker.connect(Connect::v5("live"));
    live.subscribe("t", 1);
    live.expect_message("t", "x");
    retain(broker, "t", "");
    live.expect_message("t", "");
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("t", 1);
    client.expect_nothing();
});

sharded!(mqtt5_3_3_1_7_an_empty_payload_is_not_kept, |broker| {
    retain(broker, "t", "");
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("#", 1);
    client.expect_nothing();
});

sharded!(mqtt5_3_3_1_8_a_publish_without_retain_does_not_replace, |broker| {
    retain(broker, "t", "kept");
    let mut publisher = broker.connect(Connect::v5("p"));
    publisher.publish(Publish::new("t", "passing").qos(1));
    publisher.publish(Publish::new("t", "").qos(1));
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("t", 1);
    client.expect_payloads(["kept"]);
    client.expect_nothing();
});

sharded!(mqtt5_3_3_1_9_retain_handling_0_sends_at_every_subscribe, |broker| {
    retain(broker, "t", "x");
    let mut client = broker.connect(Connect::v5("c"));
    for _ in 0..3 {
        client.subscribe("t", 1);
        client.expect_payloads(["x"]);
    }
    client.expect_nothing();
});

sharded!(mqtt5_3_3_1_10_retain_handling_1_sends_for_a_new_subscription_only, |broker| {
    retain(broker, "t", "x");
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("t", 1 | Filter::RETAIN_IF_NEW);
    client.expect_payloads(["x"]);
    client.subscribe("t", 1 | Filter::RETAIN_IF_NEW);
    client.expect_nothing();
    client.unsubscribe(&["t"]);
    client.subscribe("t", 1 | Filter::RETAIN_IF_NEW);
    client.expect_payloads(["x"]);
});

sharded!(mqtt5_3_3_1_11_retain_handling_2_sends_none, |broker| {
    retain(broker, "t", "x");
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("t", 1 | Filter::RETAIN_NEVER);
    client.expect_nothing();
    client.publish(Publish::new("t", "live").qos(1));
    client.expect_payloads(["live"]);
});

sharded!(mqtt5_section_3_3_1_3_a_resumed_session_gets_no_retained_messages_again, |broker| {
    retain(broker, "t", "x");
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.subscribe("t", 1);
    client.expect_payloads(["x"]);
    client.disconnect();
    broker.connect(Connect::v5("c").persistent()).expect_nothing();
});

sharded!(mqtt5_section_3_3_1_3_wildcards_find_retained_messages_on_all_shards, |broker| {
    let mut publisher = broker.connect(Connect::v5("p"));
    for number in 0..200 {
        publisher.publish(Publish::new(&format!("many/{number}/a"), number.to_string()).qos(1).retain());
        publisher.publish(Publish::new(&format!("other/{number}"), "no").qos(0).retain());
    }
    publisher.publish(Publish::new("$hidden/1/a", "no").qos(1).retain());
    for filter in ["many/#", "many/+/a", "+/+/a", "+/+/+/#"] {
        let mut client = broker.connect(Connect::v5("c"));
        client.subscribe(filter, 1);
        let got: BTreeSet<_> = (0..200).map(|_| client.recv_message().text()).collect();
        assert_eq!(got, (0..200).map(|number: u32| number.to_string()).collect(), "{filter}");
        client.expect_nothing();
    }
});

sharded!(mqtt5_section_3_8_4_ten_thousand_retained_messages_for_one_subscribe, |broker| {
    let mut publisher = broker.connect(Connect::v5("p"));
    for number in 0..10_000_u32 {
        publisher
            .send(Publish::new(&format!("fleet/{}/{number}", number % 100), number.to_string()).retain());
    }
    publisher.ping();
    publisher.publish(Publish::new("fleet/last/message", "10000").qos(2).retain());
    let mut client = broker.connect(Connect::v5("c"));
    client.send(Subscribe::new(1, "fleet/#", 1));
    let mut got = BTreeSet::new();
    while got.len() < 10_001 {
        match client.recv() {
            Packet::Publish(publish) => {
                assert!(publish.retain && got.insert(publish.text()), "twice: {publish:?}");
                if publish.qos == 1 {
                    client.send(Ack::new(AckKind::Puback, publish.id));
                }
            }
            Packet::Ack(ack) if ack.kind == AckKind::Suback => {}
            other => panic!("{other:?}"),
        }
    }
    client.expect_nothing();
});

sharded!(mqtt5_section_3_3_2_3_3_retained_messages_expire, |broker| {
    let mut publisher = broker.connect(Connect::v5("p"));
    publisher.publish(Publish::new("t/1", "short").qos(1).retain().with(Property::MessageExpiry(1)));
    publisher.publish(Publish::new("t/2", "long").qos(1).retain().with(Property::MessageExpiry(100)));
    thread::sleep(Duration::from_millis(2200));
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("t/1", 1);
    client.subscribe("t/+", 1);
    let publish = client.recv_message();
    assert_eq!(publish.text(), "long");
    assert!((95..=98).contains(&publish.message_expiry().unwrap()), "{publish:?}");
    client.expect_nothing();
});

sharded!(
    mqtt5_section_3_3_1_3_retained_messages_without_expiry_get_the_brokers,
    "retained.expiry_s=1",
    |broker| {
        retain(broker, "t", "x");
        thread::sleep(Duration::from_millis(2200));
        let mut client = broker.connect(Connect::v5("c"));
        client.subscribe("t", 1);
        client.expect_nothing();
    }
);

sharded!(
    mqtt5_section_3_3_1_3_a_retained_payload_over_the_limit_is_not_kept,
    "retained.payload_bytes_max=100",
    |broker| {
        let mut live = broker.connect(Connect::v5("live"));
        live.subscribe("t/#", 0);
        retain(broker, "t/small", &"s".repeat(100));
        retain(broker, "t/large", &"l".repeat(101));
        live.expect_payloads(["s".repeat(100), "l".repeat(101)]);
        let mut client = broker.connect(Connect::v5("c"));
        client.subscribe("t/#", 1);
        client.expect_payloads(["s".repeat(100)]);
        client.expect_nothing();
    }
);

sharded!(
    mqtt5_section_3_3_1_3_retained_messages_over_the_count_are_not_kept,
    "retained.count_max=20",
    |broker| {
        let mut live = broker.connect(Connect::v5("live"));
        live.subscribe("t/#", 0);
        for number in 0..60_u32 {
            retain(broker, &format!("t/{number}"), &number.to_string());
        }
        live.expect_payloads((0..60).map(|number: u32| number.to_string()));
        let mut client = broker.connect(Connect::v5("c"));
        client.subscribe("t/#", 0);
        let mut got = 0;
        while client.recv_within(Duration::from_millis(300)).is_some() {
            got += 1;
        }
        // The limit is divided among the slices, which fill unevenly.
        assert!((10..=20).contains(&got), "{got} of at most 20");
        retain(broker, "t/0", "replaced");
    }
);

sharded!(mqtt5_3_3_1_5_no_older_retained_message_after_a_newer_live_one, |broker| {
    let mut publisher = broker.connect(Connect::v5("p"));
    let mut clients = Vec::new();
    for number in 0..60_u32 {
        for _ in 0..5 {
            let id = publisher.next_id();
            let payload = format!("{id:05}");
            publisher.publish(Publish::new("t", payload).qos((number % 2) as u8).id(id).retain());
        }
        let mut client = broker.connect(Connect::v5(&format!("c-{number}")));
        client.send(Subscribe::new(1, "t", 0));
        clients.push(client);
    }
    let last = publisher.next_id();
    publisher.publish(Publish::new("t", format!("{last:05}")).qos(2).retain());
    for client in &mut clients {
        client.recv_ack(AckKind::Suback, 1);
        let mut previous = String::new();
        while previous != format!("{last:05}") {
            let payload = client.recv_publish().text();
            assert!(payload >= previous, "{payload} after {previous}");
            previous = payload;
        }
    }
});

sharded!(mqtt5_section_3_3_1_3_retained_messages_do_not_pass_the_receive_maximum, |broker| {
    let mut publisher = broker.connect(Connect::v5("p"));
    (0..30)
        .for_each(|number: u32| publisher.publish(Publish::new(&format!("t/{number}"), "x").qos(1).retain()));
    let mut client = broker.connect(Connect::v5("c").with(Property::ReceiveMax(3)));
    client.subscribe("t/#", 1);
    let mut held = Vec::new();
    (0..3).for_each(|_| held.push(client.recv_publish()));
    client.expect_nothing();
    for _ in 3..30 {
        let publish = held.remove(0);
        client.send(Ack::new(AckKind::Puback, publish.id));
        held.push(client.recv_publish());
    }
    held.iter().for_each(|publish| client.send(Ack::new(AckKind::Puback, publish.id)));
    client.expect_nothing();
});

sharded!(mqtt5_3_3_1_9_a_live_message_does_not_replace_a_retained_one_under_way, |broker| {
    let mut publisher = broker.connect(Connect::v5("p"));
    (0..30).for_each(|n: u32| publisher.publish(Publish::new(&format!("t/{n}"), "kept").qos(1).retain()));
    let mut client = broker.connect(Connect::v5("c").with(Property::ReceiveMax(1)));
    client.subscribe("t/#", 1);
    let mut held = client.recv_publish();
    (0..30).for_each(|n: u32| publisher.publish(Publish::new(&format!("t/{n}"), "passing").qos(1)));
    let (mut kept, mut passing) = (BTreeSet::new(), BTreeSet::new());
    loop {
        let fresh = match held.retain {
            true => kept.insert(held.topic.clone()),
            false => passing.insert(held.topic.clone()),
        };
        assert!(fresh, "twice: {held:?}");
        if kept.len() + passing.len() == 60 {
            break;
        }
        client.send(Ack::new(AckKind::Puback, held.id));
        held = client.recv_publish();
    }
});

sharded!(mqtt5_section_4_1_retained_messages_under_way_go_on_after_a_reconnect, |broker| {
    let mut publisher = broker.connect(Connect::v5("p"));
    (0..300)
        .for_each(|n: u32| publisher.publish(Publish::new(&format!("t/{n}"), n.to_string()).qos(1).retain()));
    let mut client = broker.connect(Connect::v5("c").persistent().with(Property::ReceiveMax(5)));
    client.subscribe("t/#", 1);
    let mut got = BTreeSet::new();
    got.extend((0..20).map(|_| client.recv_message().topic));
    client.abort();
    let mut client = broker.connect(Connect::v5("c").persistent().with(Property::ReceiveMax(5)));
    while got.len() < 300 {
        got.insert(client.recv_message().topic);
    }
});
