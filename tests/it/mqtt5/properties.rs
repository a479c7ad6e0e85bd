//! Properties of PUBLISH and what the broker does with them (section 3.3.2.3), Request Problem Information.

use std::thread;
use std::time::Duration;

use crate::wire::{Ack, AckKind, Connect, Disconnect, Packet, Property, Publish, Subscribe};

/// All the properties that are forwarded unaltered.
fn rich() -> Publish {
    Publish::new("t", "x")
        .with(Property::PayloadFormat(1))
        .with(Property::ContentType("text/plain".into()))
        .with(Property::ResponseTopic("answers/here".into()))
        .with(Property::CorrelationData(vec![0, 1, 255]))
        .with(Property::user("b", "1"))
        .with(Property::user("a", "2"))
        .with(Property::user("b", "3"))
        .with(Property::user("", ""))
}

fn sorted(mut properties: Vec<Property>) -> Vec<Property> {
    properties.sort_by_key(Property::id);
    properties
}

sharded!(mqtt5_3_3_2_15_properties_are_forwarded_unaltered, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("t", 2);
    for qos in 0..3 {
        client.publish(rich().qos(qos));
        assert_eq!(sorted(client.recv_message().properties), sorted(rich().properties));
    }
});

sharded!(mqtt5_3_3_2_18_user_properties_keep_their_order, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("t", 0);
    let names: Vec<_> = (0..50).map(|number: u32| format!("{:03}", (number * 37) % 101)).collect();
    let publish =
        names.iter().fold(Publish::new("t", "x"), |publish, name| publish.with(Property::user(name, "v")));
    client.publish(publish.clone());
    assert_eq!(client.recv_publish().properties, publish.properties);
});

sharded!(mqtt5_3_3_2_17_properties_survive_queue_and_retained_store, |broker| {
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.subscribe("t", 1);
    client.disconnect();
    broker.connect(Connect::v5("p")).publish(rich().qos(1).retain());
    let mut client = broker.connect(Connect::v5("c").persistent());
    assert_eq!(sorted(client.recv_message().properties), sorted(rich().properties));
    let mut late = broker.connect(Connect::v5("late"));
    late.subscribe("t", 1);
    let publish = late.recv_message();
    assert!(publish.retain);
    assert_eq!(sorted(publish.properties), sorted(rich().properties));
});

sharded!(mqtt5_section_3_3_2_3_subscribers_of_3_x_get_no_properties, |broker| {
    let mut old = broker.connect(Connect::v311("old"));
    old.subscribe("t", 1);
    broker.connect(Connect::v5("p")).publish(rich().qos(1));
    let publish = old.recv_message();
    assert_eq!((publish.text(), publish.properties), ("x".into(), vec![]));
});

sharded!(mqtt5_section_3_3_2_3_2_payload_that_is_not_utf8_is_0x99, |broker| {
    let mut watcher = broker.connect(Connect::v5("w"));
    watcher.subscribe("t", 2);
    let mut client = broker.connect(Connect::v5("c"));
    let bad = || Publish::new("t", &b"a\xC3\x28"[..]).with(Property::PayloadFormat(1));
    assert_eq!(client.publish_reason(bad().qos(1)), 0x99);
    assert_eq!(client.publish_reason(bad().qos(2)), 0x99);
    client.publish(Publish::new("t", "größer").with(Property::PayloadFormat(1)).qos(1));
    watcher.expect_payloads(["größer"]);
    client.send(bad());
    match client.recv_within(Duration::from_millis(500)) {
        None | Some(Packet::Disconnect(Disconnect { reason: 0x99, .. })) => {}
        other => panic!("{other:?}"),
    }
    watcher.expect_nothing();
});

sharded!(mqtt5_section_3_3_2_3_2_payload_format_0_is_any_bytes, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("t", 0);
    client.publish(Publish::new("t", &b"\xFF\0"[..]).with(Property::PayloadFormat(0)).qos(1));
    assert_eq!(client.recv_publish().payload, b"\xFF\0");
});

sharded!(mqtt5_3_3_2_6_message_expiry_is_counted_down, |broker| {
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.subscribe("t", 1);
    client.disconnect();
    let mut publisher = broker.connect(Connect::v5("p"));
    publisher.publish(Publish::new("t", "x").qos(1).with(Property::MessageExpiry(100)));
    thread::sleep(Duration::from_millis(2200));
    let mut client = broker.connect(Connect::v5("c").persistent());
    let left = client.recv_message().message_expiry().expect("Message Expiry Interval");
    assert!((95..=98).contains(&left), "{left} s left of 100 after 2.2 s");
});

sharded!(mqtt5_3_3_2_6_message_expiry_is_forwarded_at_once_unaltered, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("t", 1);
    client.publish(Publish::new("t", "x").qos(1).with(Property::MessageExpiry(100)));
    let left = client.recv_message().message_expiry();
    assert!(matches!(left, Some(99..=100)), "{left:?}");
});

sharded!(mqtt5_3_3_2_5_expired_messages_are_not_delivered, |broker| {
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.subscribe("t", 2);
    client.disconnect();
    let mut publisher = broker.connect(Connect::v5("p"));
    publisher.publish(Publish::new("t", "short").qos(1).with(Property::MessageExpiry(1)));
    publisher.publish(Publish::new("t", "short").qos(2).with(Property::MessageExpiry(1)));
    publisher.publish(Publish::new("t", "long").qos(1).with(Property::MessageExpiry(100)));
    publisher.publish(Publish::new("t", "endless").qos(2));
    thread::sleep(Duration::from_millis(2200));
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.expect_payloads(["long", "endless"]);
    client.expect_nothing();
});

sharded!(mqtt5_3_3_2_5_messages_expire_behind_a_full_receive_maximum, |broker| {
    let mut client = broker.connect(Connect::v5("c").with(Property::ReceiveMax(1)));
    client.subscribe("t", 1);
    let mut publisher = broker.connect(Connect::v5("p"));
    publisher.publish(Publish::new("t", "first").qos(1));
    publisher.publish(Publish::new("t", "short").qos(1).with(Property::MessageExpiry(1)));
    publisher.publish(Publish::new("t", "last").qos(1));
    let first = client.recv_publish();
    thread::sleep(Duration::from_millis(2200));
    client.send(Ack::new(AckKind::Puback, first.id));
    client.expect_payloads(["last"]);
});

sharded!(mqtt5_3_3_4_3_subscription_identifier_is_in_the_publish, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    for (id, identifier) in [(1, 1), (2, 127), (3, 128), (4, 16_384), (5, 268_435_455)] {
        let topic = format!("t/{id}");
        let subscribe = Subscribe::new(id, &topic, 1).with(Property::SubscriptionId(identifier));
        assert_eq!(client.subscribe_with(subscribe), [1]);
        client.publish(Publish::new(&topic, "x").qos(1).id(100 + id));
        assert_eq!(client.recv_message().subscription_ids(), [identifier]);
    }
});

sharded!(mqtt5_3_3_4_4_overlapping_subscriptions_carry_all_identifiers, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    for (id, filter) in [(1, "a/b"), (2, "a/+"), (3, "#")] {
        client.subscribe_with(Subscribe::new(id, filter, 1).with(Property::SubscriptionId(id.into())));
    }
    client.subscribe_with(Subscribe::new(4, "+/b", 1));
    client.publish(Publish::new("a/b", "x").qos(1).id(100));
    let mut ids = Vec::new();
    while ids.len() < 3 {
        ids.extend(client.recv_message().subscription_ids());
    }
    ids.sort_unstable();
    assert_eq!(ids, [1, 2, 3]);
});

sharded!(mqtt5_3_8_4_3_replacement_replaces_the_identifier, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe_with(Subscribe::new(1, "t", 1).with(Property::SubscriptionId(5)));
    client.subscribe_with(Subscribe::new(2, "t", 1).with(Property::SubscriptionId(6)));
    client.publish(Publish::new("t", "x").qos(1).id(100));
    assert_eq!(client.recv_message().subscription_ids(), [6]);
    client.subscribe_with(Subscribe::new(3, "t", 1));
    client.publish(Publish::new("t", "x").qos(1).id(100));
    assert_eq!(client.recv_message().subscription_ids(), [0_u32; 0]);
    client.expect_nothing();
});

sharded!(mqtt5_section_3_8_2_1_2_identifier_stays_with_the_session, |broker| {
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.subscribe_with(Subscribe::new(1, "t", 1).with(Property::SubscriptionId(42)));
    client.disconnect();
    broker.connect(Connect::v5("p")).publish(Publish::new("t", "1").qos(1));
    let mut client = broker.connect(Connect::v5("c").persistent());
    assert_eq!(client.recv_message().subscription_ids(), [42]);
    client.publish(Publish::new("t", "2").qos(1));
    assert_eq!(client.recv_message().subscription_ids(), [42]);
});

sharded!(mqtt5_section_3_8_2_1_2_retained_messages_carry_the_identifier, |broker| {
    broker.connect(Connect::v5("p")).publish(Publish::new("t", "x").qos(1).retain());
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe_with(Subscribe::new(1, "t", 1).with(Property::SubscriptionId(9)));
    assert_eq!(client.recv_message().subscription_ids(), [9]);
});

sharded!(mqtt5_section_3_8_2_1_2_identifier_0_is_a_protocol_error, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.send(Subscribe::new(1, "t", 1).with(Property::SubscriptionId(0)));
    client.expect_disconnect(0x82);
});

sharded!(mqtt5_section_3_8_2_1_2_identifier_twice_is_a_protocol_error, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    let subscribe =
        Subscribe::new(1, "t", 1).with(Property::SubscriptionId(1)).with(Property::SubscriptionId(2));
    client.send(subscribe);
    client.expect_disconnect_one_of(&[0x81, 0x82]);
});

sharded!(mqtt5_3_3_4_6_publish_with_a_subscription_identifier_is_a_protocol_error, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.send(Publish::new("t", "x").with(Property::SubscriptionId(1)));
    client.expect_disconnect_one_of(&[0x81, 0x82]);
});

sharded!(mqtt5_3_3_2_14_response_topic_with_wildcards_is_refused, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.send(Publish::new("t", "x").with(Property::ResponseTopic("a/#".into())));
    client.expect_disconnect_one_of(&[0x81, 0x82, 0x90]);
});

sharded!(mqtt5_section_3_3_2_3_property_twice_is_a_protocol_error, |broker| {
    for property in [
        Property::PayloadFormat(0),
        Property::MessageExpiry(1),
        Property::ContentType("a".into()),
        Property::ResponseTopic("a".into()),
        Property::CorrelationData(vec![1]),
        Property::TopicAlias(1),
    ] {
        let mut client = broker.connect(Connect::v5("c"));
        client.send(Publish::new("t", "x").with(property.clone()).with(property));
        client.expect_disconnect_one_of(&[0x81, 0x82]);
    }
});

sharded!(mqtt5_3_1_2_29_request_problem_information_0_means_no_reason_strings, |broker| {
    let mut client = broker.connect(Connect::v5("c").with(Property::RequestProblemInfo(0)));
    client.send(Subscribe::new(1, "a/#/b", 0).and("ok", 1));
    let ack = client.recv_ack(AckKind::Suback, 1);
    assert_eq!((ack.reasons, ack.properties), (vec![0x8F, 1], vec![]));
    client.send(Ack::new(AckKind::Pubrel, 99));
    assert_eq!(client.recv_ack(AckKind::Pubcomp, 99).properties, []);
    client.send(Publish::new("t", &b"\xFF"[..]).qos(1).id(7).with(Property::PayloadFormat(1)));
    assert_eq!(client.recv_ack(AckKind::Puback, 7).properties, []);
});
