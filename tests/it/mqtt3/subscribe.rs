//! SUBSCRIBE, UNSUBSCRIBE and retained messages in 3.1.1 and 3.1 (sections 3.3.1.3, 3.8 to 3.11, 4.7).

use super::OLD;
use crate::wire::{AckKind, Connect, Packet, Publish, Subscribe, Unsubscribe};

sharded!(mqtt3_3_8_4_5_suback_has_a_return_code_for_each_filter_in_order, |broker| {
    for version in OLD {
        let mut client = broker.connect(Connect::new(version, "c"));
        let subscribe = Subscribe::new(321, "a", 2).and("b", 0).and("c/#", 1).and("+", 2);
        assert_eq!(client.subscribe_with(subscribe), [2, 0, 1, 2]);
    }
});

sharded!(mqtt3_4_7_1_2_bad_filters_are_0x80_or_close, |broker| {
    for version in OLD {
        for filter in ["a/#/b", "a#", "a+", "+a/b", "", "$share//t", "$share/g", "$share/g+/t"] {
            let mut client = broker.connect(Connect::new(version, "c"));
            client.send(Subscribe::new(1, filter, 0));
            // Which of both is the Server's choice; a Share Name is not known to 3.x, so it may also be a plain filter.
            match client.try_recv() {
                None => {}
                Some(Packet::Ack(ack)) if ack.kind == AckKind::Suback => {
                    assert_eq!(ack.reasons, [0x80], "{filter:?}")
                }
                other => panic!("{filter:?}: {other:?}"),
            }
        }
    }
});

sharded!(mqtt3_3_8_3_3_subscribe_without_filters_closes, |broker| {
    for version in OLD {
        let mut client = broker.connect(Connect::new(version, "c"));
        client.send(Subscribe { id: 1, filters: vec![], properties: vec![] });
        client.expect_closed();
    }
});

sharded!(mqtt3_3_8_3_4_reserved_bits_of_the_qos_byte_close, |broker| {
    for options in [0x03, 0x04, 0x40, 0x80] {
        let mut client = broker.connect(Connect::v311("c"));
        client.send(Subscribe::new(1, "t", options));
        client.expect_closed();
    }
});

sharded!(mqtt3_3_10_3_2_unsubscribe_without_filters_closes, |broker| {
    for version in OLD {
        let mut client = broker.connect(Connect::new(version, "c"));
        client.send(Unsubscribe::new(1, &[]));
        client.expect_closed();
    }
});

sharded!(mqtt3_3_10_4_5_unsuback_comes_also_for_an_unknown_filter, |broker| {
    for version in OLD {
        let mut client = broker.connect(Connect::new(version, "c"));
        client.subscribe("a", 1);
        assert_eq!(client.unsubscribe(&["nothing", "a"]), [0_u8; 0]);
        client.publish(Publish::new("a", "x").qos(1));
        client.expect_nothing();
    }
});

sharded!(mqtt3_3_8_4_3_a_second_subscribe_replaces_the_first_and_sends_retained_again, |broker| {
    for version in OLD {
        let mut client = broker.connect(Connect::new(version, "c"));
        client.publish(Publish::new("t", "kept").qos(1).retain());
        for qos in [2, 0, 1] {
            client.subscribe("t", qos);
            let publish = client.recv_message();
            assert_eq!((publish.text(), publish.qos, publish.retain), ("kept".into(), qos.min(1), true));
        }
        client.publish(Publish::new("t", "live").qos(2));
        assert_eq!(client.recv_message().qos, 1);
        client.expect_nothing();
    }
});

sharded!(mqtt3_3_3_5_1_overlapping_subscriptions_deliver_at_the_highest_qos, |broker| {
    let mut client = broker.connect(Connect::v311("c"));
    client.subscribe("a/+", 0);
    client.subscribe("a/b", 2);
    client.publish(Publish::new("a/b", "x").qos(2));
    let first = client.recv_message();
    let second = client.recv_within(std::time::Duration::from_millis(300));
    let second = second.map(|packet| match packet {
        Packet::Publish(publish) => publish.qos,
        other => panic!("{other:?}"),
    });
    assert_eq!(second.unwrap_or(0).max(first.qos), 2);
});

sharded!(mqtt3_4_7_2_1_leading_wildcards_do_not_match_dollar_topics, |broker| {
    let mut client = broker.connect(Connect::v311("c"));
    client.subscribe_all(&["#", "+/a"], 0);
    let mut publisher = broker.connect(Connect::v311("p"));
    publisher.publish(Publish::new("$own/a", "hidden"));
    publisher.publish(Publish::new("end", "shown"));
    client.expect_message("end", "shown");
});

sharded!(mqtt3_3_3_1_6_last_retained_message_for_a_new_subscription, |broker| {
    for version in OLD {
        let mut publisher = broker.connect(Connect::new(version, "p"));
        publisher.publish(Publish::new("t", "1").qos(1).retain());
        publisher.publish(Publish::new("t", "2").qos(0).retain());
        publisher.publish(Publish::new("t", "passing").qos(1));
        let mut client = broker.connect(Connect::new(version, "c"));
        client.subscribe("+", 1);
        let publish = client.recv_message();
        assert_eq!((publish.text(), publish.retain), ("2".into(), true));
        client.expect_nothing();
    }
});

sharded!(mqtt3_3_3_1_9_established_subscriptions_get_retain_0, |broker| {
    let mut client = broker.connect(Connect::v311("c"));
    client.subscribe("t", 1);
    client.publish(Publish::new("t", "x").qos(1).retain());
    assert!(!client.recv_message().retain);
});

sharded!(mqtt3_3_3_1_10_an_empty_payload_removes_the_retained_message, |broker| {
    for version in OLD {
        let mut publisher = broker.connect(Connect::new(version, "p"));
        publisher.publish(Publish::new("t", "x").qos(1).retain());
        publisher.publish(Publish::new("t", "").qos(1).retain());
        let mut client = broker.connect(Connect::new(version, "c"));
        client.subscribe("t", 1);
        client.expect_nothing();
    }
});

sharded!(
    mqtt3_section_3_8_too_many_subscriptions_are_0x80,
    "limits.subscriptions_per_session_max=3",
    |broker| {
        let mut client = broker.connect(Connect::v311("c"));
        (0..3).for_each(|number| client.subscribe(&format!("t/{number}"), 0));
        assert_eq!(client.subscribe_reason("t/3", 0), 0x80);
    }
);
