//! SUBSCRIBE and UNSUBSCRIBE: filters, options, replacement, limits (sections 3.8 to 3.11, 4.7).

use std::time::Duration;

use crate::broker::Broker;
use crate::client::Client;
use crate::wire::{Ack, AckKind, Connect, Disconnect, Filter, Packet, Publish, Subscribe};

/// A filter that can't be: SUBACK with 0x8F, or DISCONNECT with 0x8F or 0x81.
fn expect_filter_refused(broker: &Broker, filter: &str) {
    let mut client = broker.connect(Connect::v5("refused"));
    client.send(Subscribe::new(1, filter, 0));
    match client.recv() {
        Packet::Ack(ack) if ack.kind == AckKind::Suback => assert_eq!(ack.reasons, [0x8F], "{filter:?}"),
        Packet::Disconnect(Disconnect { reason: 0x8F | 0x81, .. }) => {}
        other => panic!("{filter:?}: {other:?}"),
    }
}

/// Publishes a message to each topic and checks which of them `filter` lets through, in order.
fn expect_matches(broker: &Broker, filter: &str, topics: &[&str], matching: &[&str]) {
    let mut client = broker.connect(Connect::v5("matcher"));
    client.subscribe(filter, 0);
    client.subscribe("the end", 0);
    let mut publisher = broker.connect(Connect::v5("p"));
    topics.iter().chain(&["the end"]).for_each(|topic| publisher.publish(Publish::new(topic, "x")));
    let mut got = Vec::new();
    loop {
        match client.recv_publish().topic {
            topic if topic == "the end" => break,
            topic => got.push(topic),
        }
    }
    assert_eq!(got, matching, "{filter:?}");
}

fn payloads_until_silence(client: &mut Client) -> Vec<String> {
    let mut payloads = Vec::new();
    while let Some(packet) = client.recv_within(Duration::from_millis(300)) {
        let Packet::Publish(publish) = packet else { panic!("{packet:?}") };
        payloads.push(publish.text());
    }
    payloads
}

sharded!(mqtt5_3_8_4_6_suback_has_a_reason_code_for_each_filter_in_order, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    let subscribe = Subscribe::new(321, "a", 2).and("b", 0).and("c", 1).and("a/#", 2);
    assert_eq!(client.subscribe_with(subscribe), [2, 0, 1, 2]);
});

sharded!(mqtt5_4_7_1_filters_match_as_the_specification_says, |broker| {
    let topics =
        ["sport", "sport/tennis", "sport/tennis/player1", "/finance", "a//b", "/", "sports", "Sport"];
    let cases: [(&str, &[&str]); 14] = [
        ("sport/tennis/player1", &["sport/tennis/player1"]),
        ("sport/#", &["sport", "sport/tennis", "sport/tennis/player1"]),
        ("sport/+", &["sport/tennis"]),
        ("sport/+/player1", &["sport/tennis/player1"]),
        ("sport/tennis/+", &["sport/tennis/player1"]),
        ("+", &["sport", "sports", "Sport"]),
        ("+/+", &["sport/tennis", "/finance", "/"]),
        ("/+", &["/finance", "/"]),
        ("a/+/b", &["a//b"]),
        ("a//b", &["a//b"]),
        ("+/tennis/#", &["sport/tennis", "sport/tennis/player1"]),
        ("/#", &["/finance", "/"]),
        ("#", &topics),
        ("+/#", &topics),
    ];
    for (filter, matching) in cases {
        expect_matches(broker, filter, &topics, matching);
    }
});

sharded!(mqtt5_4_7_2_1_leading_wildcards_do_not_match_dollar_topics, |broker| {
    let topics = ["$own/a", "own/a", "$own", "x/$own/a"];
    expect_matches(broker, "#", &topics, &["own/a", "x/$own/a"]);
    expect_matches(broker, "+/a", &topics, &["own/a"]);
    expect_matches(broker, "+/#", &topics, &["own/a", "x/$own/a"]);
    expect_matches(broker, "$own/#", &topics, &["$own/a", "$own"]);
    expect_matches(broker, "$own/+", &topics, &["$own/a"]);
    expect_matches(broker, "x/+/a", &topics, &["x/$own/a"]);
});

sharded!(mqtt5_4_7_3_4_topics_are_compared_byte_by_byte, |broker| {
    let topics = ["Ünï", "ünï", "U\u{308}ni\u{308}", "a b", "a  b", " a b"];
    expect_matches(broker, "ünï", &topics, &["ünï"]);
    expect_matches(broker, "U\u{308}ni\u{308}", &topics, &["U\u{308}ni\u{308}"]);
    expect_matches(broker, "a b", &topics, &["a b"]);
});

sharded!(mqtt5_4_7_1_1_multi_level_wildcard_must_be_last_and_alone, |broker| {
    for filter in ["#/a", "a/#/b", "a#", "a/b#", "##", "a/##"] {
        expect_filter_refused(broker, filter);
    }
});

sharded!(mqtt5_4_7_1_2_single_level_wildcard_must_fill_its_level, |broker| {
    for filter in ["a+", "+a", "a/+b", "a/b+/c", "++"] {
        expect_filter_refused(broker, filter);
    }
});

sharded!(mqtt5_4_7_3_1_empty_filter_is_refused, |broker| {
    expect_filter_refused(broker, "");
});

sharded!(mqtt5_section_3_9_3_one_bad_filter_does_not_spoil_the_others, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.send(Subscribe::new(1, "good/1", 1).and("$share/g", 1).and("good/2", 2));
    match client.recv() {
        Packet::Ack(ack) => {
            assert_eq!(ack.reasons, [1, 0x8F, 2]);
            client.publish(Publish::new("good/2", "x").qos(2));
            client.expect_message("good/2", "x");
        }
        Packet::Disconnect(Disconnect { reason: 0x8F | 0x81, .. }) => {}
        other => panic!("{other:?}"),
    }
});

sharded!(mqtt5_3_8_3_2_subscribe_without_filters_is_a_protocol_error, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.send(Subscribe { id: 1, filters: vec![], properties: vec![] });
    client.expect_disconnect_one_of(&[0x81, 0x82]);
});

sharded!(mqtt5_3_8_3_3_no_local_keeps_ones_own_messages_away, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("t", 1 | Filter::NO_LOCAL);
    client.publish(Publish::new("t", "own").qos(1));
    broker.connect(Connect::v5("p")).publish(Publish::new("t", "other").qos(1));
    client.expect_payloads(["other"]);
    client.expect_nothing();
});

sharded!(mqtt5_3_8_3_3_no_local_is_by_client_and_survives_a_reconnect, |broker| {
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.subscribe("t", 1 | Filter::NO_LOCAL);
    client.disconnect();
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.publish(Publish::new("t", "own").qos(1));
    client.expect_nothing();
});

sharded!(mqtt5_3_8_3_4_no_local_on_a_shared_subscription_is_a_protocol_error, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.send(Subscribe::new(1, "$share/g/t", 1 | Filter::NO_LOCAL));
    client.expect_disconnect(0x82);
});

sharded!(mqtt5_3_8_3_5_reserved_option_bits_are_malformed, |broker| {
    for options in [0x40, 0x80, 0xC1] {
        let mut client = broker.connect(Connect::v5("c"));
        client.send(Subscribe::new(1, "t", options));
        client.expect_disconnect_one_of(&[0x81, 0x82]);
    }
});

sharded!(mqtt5_section_3_8_3_1_qos_3_and_retain_handling_3_are_protocol_errors, |broker| {
    for options in [0x03, 0x30] {
        let mut client = broker.connect(Connect::v5("c"));
        client.send(Subscribe::new(1, "t", options));
        client.expect_disconnect_one_of(&[0x81, 0x82]);
    }
});

sharded!(mqtt5_3_3_1_12_without_retain_as_published_retain_is_0, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("t", 0);
    client.publish(Publish::new("t", "x").retain());
    assert!(!client.recv_publish().retain);
});

sharded!(mqtt5_3_3_1_13_retain_as_published_keeps_the_flag, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("t", Filter::RETAIN_AS_PUBLISHED);
    client.publish(Publish::new("t", "x").retain());
    assert!(client.recv_publish().retain);
    client.publish(Publish::new("t", "x"));
    assert!(!client.recv_publish().retain);
});

sharded!(mqtt5_3_3_4_2_overlapping_subscriptions_deliver_at_the_highest_qos, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("a/+", 0);
    client.subscribe("a/b", 2);
    client.subscribe("#", 1);
    client.publish(Publish::new("a/b", "x").qos(2));
    let mut highest = 0;
    let first = client.recv_message();
    highest = highest.max(first.qos);
    while let Some(packet) = client.recv_within(Duration::from_millis(300)) {
        if let Packet::Publish(publish) = packet {
            highest = highest.max(publish.qos);
        }
    }
    assert_eq!(highest, 2);
});

sharded!(mqtt5_3_8_4_3_a_second_subscribe_replaces_the_first, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("t", 2);
    client.subscribe("t", 0);
    client.publish(Publish::new("t", "x").qos(2));
    assert_eq!(client.recv_message().qos, 0);
    client.expect_nothing();
    client.subscribe("t", 1);
    client.publish(Publish::new("t", "x").qos(2));
    assert_eq!(client.recv_message().qos, 1);
    client.expect_nothing();
});

sharded!(mqtt5_3_8_4_4_no_message_is_lost_while_a_subscription_is_replaced, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("t", 1);
    let mut publisher = broker.connect(Connect::v5("p"));
    for number in 0..50_u16 {
        publisher.send(Publish::new("t", number.to_string()).qos(1).id(number + 1));
        client.send(Subscribe::new(500 + number, "t", 1));
        client.recv_ack(AckKind::Suback, 500 + number);
    }
    client.expect_payloads((0..50).map(|number: u16| number.to_string()));
});

sharded!(mqtt5_3_8_4_5_the_same_filter_twice_in_one_subscribe_is_one_subscription, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    assert_eq!(client.subscribe_with(Subscribe::new(1, "t", 0).and("t", 1)), [0, 1]);
    client.publish(Publish::new("t", "x").qos(1));
    assert_eq!(client.recv_message().qos, 1);
    client.expect_nothing();
});

sharded!(mqtt5_section_3_8_4_a_publish_after_suback_is_seen, |broker| {
    let mut publisher = broker.connect(Connect::v5("p"));
    for number in 0..30 {
        let topic = format!("seen/{number}");
        let mut client = broker.connect(Connect::v5(&format!("s-{number}")));
        client.subscribe(&topic, 0);
        publisher.publish(Publish::new(&topic, "x"));
        client.expect_message(&topic, "x");
    }
});

sharded!(mqtt5_section_3_11_3_unsuback_is_0x00_or_0x11, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe_all(&["a", "b/#"], 1);
    assert_eq!(client.unsubscribe(&["a", "c", "b/#", "b/+"]), [0x00, 0x11, 0x00, 0x11]);
    assert_eq!(client.unsubscribe(&["a"]), [0x11]);
});

sharded!(mqtt5_3_10_4_2_nothing_new_after_unsubscribe, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe_all(&["a", "a/#"], 1);
    client.unsubscribe(&["a"]);
    client.publish(Publish::new("a", "1").qos(1));
    client.expect_payloads(["1"]);
    client.unsubscribe(&["a/#"]);
    client.publish(Publish::new("a", "2").qos(1));
    client.expect_nothing();
});

sharded!(mqtt5_3_10_4_1_unsubscribe_compares_filters_byte_by_byte, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("a/+", 1);
    assert_eq!(client.unsubscribe(&["a/b", "A/+", "a/#", "+/+"]), [0x11; 4]);
    client.publish(Publish::new("a/b", "x").qos(1));
    client.expect_payloads(["x"]);
});

sharded!(mqtt5_3_10_4_3_deliveries_under_way_are_completed_after_unsubscribe, |broker| {
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.subscribe("t", 2);
    client.publish(Publish::new("t", "x").qos(2));
    let publish = client.recv_publish();
    assert_eq!(client.unsubscribe(&["t"]), [0]);
    client.send(Ack::new(AckKind::Pubrec, publish.id));
    client.expect_ack(AckKind::Pubrel, publish.id, 0);
    client.send(Ack::new(AckKind::Pubcomp, publish.id));
    client.ping();
});

sharded!(mqtt5_3_10_3_2_unsubscribe_without_filters_is_a_protocol_error, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.send(crate::wire::Unsubscribe::new(1, &[]));
    client.expect_disconnect_one_of(&[0x81, 0x82]);
});

sharded!(
    mqtt5_section_3_9_3_too_many_subscriptions_are_0x97,
    "limits.subscriptions_per_session_max=5",
    |broker| {
        let mut client = broker.connect(Connect::v5("c"));
        for number in 0..5 {
            client.subscribe(&format!("t/{number}"), 0);
        }
        assert_eq!(client.subscribe_reason("t/5", 0), 0x97);
        assert_eq!(client.subscribe_reason("t/0", 1), 1, "a replacement takes no place");
        client.unsubscribe(&["t/1"]);
        assert_eq!(client.subscribe_reason("t/5", 0), 0);
        client.publish(Publish::new("t/5", "x"));
        client.expect_message("t/5", "x");
    }
);

sharded!(mqtt5_section_4_7_too_deep_filters_and_topics_are_refused, "limits.topic_levels_max=5", |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("a/b/c/d/e", 0);
    client.publish(Publish::new("a/b/c/d/e", "x"));
    client.expect_payloads(["x"]);
    expect_filter_refused(broker, "a/b/c/d/e/f");
    expect_filter_refused(broker, "a/b/c/d/e/#");
    match client.publish_reason(Publish::new("a/b/c/d/e/f", "x").qos(1)) {
        0x90 => client.ping(),
        reason => panic!("PUBACK {reason:#04x}"),
    }
});

sharded!(mqtt5_section_4_7_too_long_filters_and_topics_are_refused, "limits.topic_len_max=100", |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    let (fits, long) = ("t".repeat(100), "t".repeat(101));
    client.subscribe(&fits, 0);
    client.publish(Publish::new(&fits, "x"));
    client.expect_payloads(["x"]);
    expect_filter_refused(broker, &long);
    assert_eq!(client.publish_reason(Publish::new(&long, "x").qos(1)), 0x90);
});

sharded!(mqtt5_4_7_3_3_long_topics_with_many_levels_work, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    let topic = (0..100).map(|level: u32| format!("level-{level}")).collect::<Vec<_>>().join("/");
    let filter = topic.replace("level-50", "+").replace("level-99", "#");
    client.subscribe(&filter, 1);
    client.publish(Publish::new(&topic, "deep").qos(1));
    client.expect_message(&topic, "deep");
});

sharded!(mqtt5_section_3_8_4_many_subscriptions_of_one_client, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    let filters: Vec<_> = (0..2000).map(|number| format!("many/{number}/+")).collect();
    for part in filters.chunks(100) {
        client.subscribe_all(&part.iter().map(String::as_str).collect::<Vec<_>>(), 1);
    }
    let mut publisher = broker.connect(Connect::v5("p"));
    for number in [0, 999, 1234, 1999] {
        publisher.publish(Publish::new(&format!("many/{number}/x"), "x").qos(1));
        client.expect_message(&format!("many/{number}/x"), "x");
    }
    for part in filters.chunks(100) {
        let reasons = client.unsubscribe(&part.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(reasons, vec![0; 100]);
    }
    publisher.publish(Publish::new("many/7/x", "x").qos(1));
    assert_eq!(payloads_until_silence(&mut client), Vec::<String>::new());
});

sharded!(
    mqtt5_section_3_11_3_unsubscribe_of_what_is_not_available_is_0x11,
    "mqtt.wildcard_available=false",
    "mqtt.shared_available=false",
    |broker| {
        let mut client = broker.connect(Connect::v5("c"));
        assert_eq!(client.unsubscribe(&["a/#", "$share/g/t", "a"]), [0x11, 0x11, 0x11]);
    }
);

sharded!(mqtt5_section_3_11_3_unsubscribe_from_a_bad_filter_is_0x8f_or_0x11, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.send(crate::wire::Unsubscribe::new(1, &["a/#/b", "good"]));
    match client.recv() {
        Packet::Ack(ack) => assert!(matches!(ack.reasons[..], [0x8F | 0x11, 0x11]), "{ack:?}"),
        Packet::Disconnect(Disconnect { reason: 0x8F | 0x81, .. }) => {}
        other => panic!("{other:?}"),
    }
});
