//! PUBLISH and its acknowledgements both ways: QoS, DUP, flow control, sizes (sections 3.3 to 3.7, 4.3, 4.9).

use crate::wire::{Ack, AckKind, Connect, Packet, Property, Publish, Subscribe, Version};

sharded!(mqtt5_4_3_1_qos0_is_delivered, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("t", 0);
    client.publish(Publish::new("t", "x"));
    assert_eq!(client.recv_publish(), Publish::new("t", "x"));
});

sharded!(mqtt5_4_3_2_4_qos1_gets_a_puback, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("t", 1);
    client.send(Publish::new("t", "x").qos(1).id(500));
    client.expect_ack(AckKind::Puback, 500, 0);
    let publish = client.recv_publish();
    assert_eq!((publish.qos, publish.dup, publish.text()), (1, false, "x".into()));
});

sharded!(mqtt5_4_3_3_qos2_gets_pubrec_and_pubcomp, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("t", 2);
    client.send(Publish::new("t", "x").qos(2).id(501));
    client.expect_ack(AckKind::Pubrec, 501, 0);
    client.send(Ack::new(AckKind::Pubrel, 501));
    client.expect_ack(AckKind::Pubcomp, 501, 0);
    let publish = client.recv_message();
    assert_eq!((publish.qos, publish.dup, publish.text()), (2, false, "x".into()));
});

sharded!(mqtt5_section_3_4_2_1_no_matching_subscribers_is_0x10_or_0x00, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    assert!(matches!(client.publish_reason(Publish::new("nobody", "x").qos(1)), 0x00 | 0x10));
    assert!(matches!(client.publish_reason(Publish::new("nobody", "x").qos(2)), 0x00 | 0x10));
});

sharded!(mqtt5_3_8_4_8_delivery_has_the_lower_of_both_qos, |broker| {
    let mut subscriber = broker.connect(Connect::v5("s"));
    (0..3).for_each(|qos| subscriber.subscribe(&format!("t/{qos}"), qos));
    let mut publisher = broker.connect(Connect::v5("p"));
    for granted in 0..3 {
        for sent in 0..3 {
            publisher.publish(Publish::new(&format!("t/{granted}"), "x").qos(sent));
            assert_eq!(subscriber.recv_message().qos, sent.min(granted), "sent {sent}, granted {granted}");
        }
    }
});

sharded!(
    mqtt5_section_3_8_4_upgrade_qos_delivers_at_the_subscriptions_qos,
    "mqtt.upgrade_qos=true",
    |broker| {
        let mut subscriber = broker.connect(Connect::v5("s"));
        subscriber.subscribe("t", 2);
        let mut publisher = broker.connect(Connect::v5("p"));
        for sent in 0..3 {
            publisher.publish(Publish::new("t", "x").qos(sent));
            assert_eq!(subscriber.recv_message().qos, 2);
        }
    }
);

sharded!(mqtt5_3_3_1_3_dup_is_not_propagated, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("t", 2);
    client.publish(Publish::new("t", "x").qos(1).dup());
    assert!(!client.recv_message().dup);
    client.publish(Publish::new("t", "x").qos(2).dup());
    assert!(!client.recv_message().dup);
});

sharded!(mqtt5_4_3_3_10_qos2_duplicate_is_not_delivered_again, |broker| {
    let mut subscriber = broker.connect(Connect::v5("s"));
    subscriber.subscribe("t", 2);
    let mut client = broker.connect(Connect::v5("c"));
    for _ in 0..3 {
        client.send(Publish::new("t", "once").qos(2).id(9).dup());
        client.recv_ack(AckKind::Pubrec, 9);
    }
    client.send(Ack::new(AckKind::Pubrel, 9));
    client.expect_ack(AckKind::Pubcomp, 9, 0);
    subscriber.expect_payloads(["once"]);
    client.publish(Publish::new("t", "again").qos(2).id(9));
    subscriber.expect_payloads(["again"]);
    subscriber.expect_nothing();
});

sharded!(mqtt5_4_3_2_5_qos1_with_the_same_id_after_puback_is_a_new_message, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("t", 0);
    for payload in ["1", "2"] {
        client.send(Publish::new("t", payload).qos(1).id(9));
        client.expect_ack(AckKind::Puback, 9, 0);
        client.expect_payloads([payload]);
    }
});

sharded!(mqtt5_4_3_3_11_pubrel_for_an_unknown_id_is_pubcomp_0x92, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.send(Ack::new(AckKind::Pubrel, 4711));
    client.expect_ack(AckKind::Pubcomp, 4711, 0x92);
    client.ping();
});

sharded!(mqtt5_section_3_5_2_1_pubrec_for_an_unknown_id_is_pubrel_0x92, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.send(Ack::new(AckKind::Pubrec, 4711));
    client.expect_ack(AckKind::Pubrel, 4711, 0x92);
    client.ping();
});

sharded!(mqtt5_section_4_3_puback_and_pubcomp_for_unknown_ids_do_no_harm, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.send(Ack::new(AckKind::Puback, 4711));
    client.send(Ack::new(AckKind::Pubcomp, 4711));
    client.send(Ack::new(AckKind::Pubcomp, 4712).reason(0x92));
    client.ping();
});

sharded!(mqtt5_section_3_4_2_acknowledgements_with_reason_and_properties_are_understood, |broker| {
    let mut client = broker.connect(Connect::v5("c").with(Property::ReceiveMax(1)));
    client.subscribe("t", 1);
    for round in 0..3 {
        client.publish(Publish::new("t", "x").qos(1));
        let id = client.recv_publish().id;
        match round {
            0 => client.send_bytes(&[0x40, 3, (id >> 8) as u8, id as u8, 0x10]),
            1 => client.send_bytes(&[0x40, 4, (id >> 8) as u8, id as u8, 0, 0]),
            _ => client.send(Ack {
                properties: vec![Property::ReasonString("why".into()), Property::user("a", "b")],
                ..Ack::new(AckKind::Puback, id)
            }),
        }
    }
    client.publish(Publish::new("t", "last").qos(1));
    assert_eq!(client.recv_publish().text(), "last");
});

sharded!(mqtt5_3_3_4_9_no_more_than_receive_maximum_is_sent, |broker| {
    let mut subscriber = broker.connect(Connect::v5("s").with(Property::ReceiveMax(3)));
    subscriber.subscribe("t", 2);
    let mut publisher = broker.connect(Connect::v5("p"));
    for number in 0..10 {
        publisher.publish(Publish::new("t", number.to_string()).qos(1 + number % 2));
    }
    let mut held: Vec<_> = (0..3).map(|_| subscriber.recv_publish()).collect();
    subscriber.expect_nothing();
    for number in 3..10 {
        let publish = held.remove(0);
        if publish.qos == 1 {
            subscriber.send(Ack::new(AckKind::Puback, publish.id));
        } else {
            subscriber.send(Ack::new(AckKind::Pubrec, publish.id));
            subscriber.expect_ack(AckKind::Pubrel, publish.id, 0);
            subscriber.expect_nothing();
            subscriber.send(Ack::new(AckKind::Pubcomp, publish.id));
        }
        held.push(subscriber.recv_publish());
        assert_eq!(held.last().unwrap().text(), number.to_string());
    }
});

sharded!(mqtt5_4_9_0_3_qos0_is_sent_while_the_quota_is_used_up, |broker| {
    let mut subscriber = broker.connect(Connect::v5("s").with(Property::ReceiveMax(1)));
    subscriber.subscribe("t", 1);
    let mut publisher = broker.connect(Connect::v5("p"));
    publisher.publish(Publish::new("t", "1").qos(1));
    publisher.publish(Publish::new("t", "2").qos(1));
    let first = subscriber.recv_publish();
    publisher.publish(Publish::new("t", "0").qos(0));
    assert_eq!(subscriber.recv_publish(), Publish::new("t", "0"));
    subscriber.ping();
    subscriber.send(Ack::new(AckKind::Puback, first.id));
    subscriber.expect_payloads(["2"]);
});

sharded!(mqtt5_3_3_4_7_more_than_receive_maximum_is_0x93, "limits.receive_max=5", |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    for id in 1..=5 {
        client.send(Publish::new("t", "x").qos(2).id(id));
        client.recv_ack(AckKind::Pubrec, id);
    }
    client.send(Publish::new("t", "x").qos(2).id(6));
    client.expect_disconnect(0x93);
});

sharded!(mqtt5_section_4_9_released_messages_free_their_quota, "limits.receive_max=2", |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    for _ in 0..20 {
        client.publish(Publish::new("t", "x").qos(2));
        client.publish(Publish::new("t", "x").qos(1));
    }
});

sharded!(mqtt5_4_6_0_2_acknowledgements_come_in_the_order_of_the_publishes, |broker| {
    let mut subscriber = broker.connect(Connect::v5("s"));
    subscriber.subscribe("t/#", 0);
    let mut client = broker.connect(Connect::v5("c"));
    let mut bytes = Vec::new();
    for id in 1..=40_u16 {
        let publish = Publish::new(&format!("t/{}", id % 7), "x").qos(1 + (id % 2) as u8).id(id);
        bytes.extend(Packet::from(publish).encode(Version::V50));
    }
    client.send_bytes(&bytes);
    for id in 1..=40 {
        let kind = if id % 2 == 0 { AckKind::Puback } else { AckKind::Pubrec };
        client.recv_ack(kind, id);
    }
});

sharded!(mqtt5_3_1_2_24_packets_over_the_clients_maximum_are_not_sent, |broker| {
    let mut small = broker.connect(Connect::v5("small").with(Property::MaximumPacketSize(100)));
    let mut large = broker.connect(Connect::v5("large"));
    small.subscribe("t", 2);
    large.subscribe("t", 2);
    let mut publisher = broker.connect(Connect::v5("p"));
    for qos in 0..3 {
        publisher.publish(Publish::new("t", "x".repeat(200)).qos(qos));
        publisher.publish(Publish::new("t", format!("fits {qos}")).qos(qos));
        large.expect_payloads([&"x".repeat(200)]);
        large.expect_payloads([format!("fits {qos}")]);
        small.expect_payloads([format!("fits {qos}")]);
    }
    small.expect_nothing();
});

sharded!(mqtt5_3_1_2_25_a_message_too_large_does_not_hold_the_quota, |broker| {
    let small = Connect::v5("small").with(Property::MaximumPacketSize(100)).with(Property::ReceiveMax(2));
    let mut small = broker.connect(small);
    small.subscribe("t", 1);
    let mut publisher = broker.connect(Connect::v5("p"));
    for _ in 0..10 {
        publisher.publish(Publish::new("t", "x".repeat(200)).qos(1));
    }
    publisher.publish(Publish::new("t", "fits").qos(1));
    small.expect_payloads(["fits"]);
});

sharded!(mqtt5_3_1_2_24_the_largest_packet_that_fits_is_sent, |broker| {
    let mut small = broker.connect(Connect::v5("small").with(Property::MaximumPacketSize(100)));
    small.subscribe("t", 0);
    // Fixed header 2, topic 3, properties 1.
    let mut publisher = broker.connect(Connect::v5("p"));
    publisher.publish(Publish::new("t", "x".repeat(95)));
    publisher.publish(Publish::new("t", "y".repeat(94)));
    small.expect_payloads(["y".repeat(94)]);
    small.expect_nothing();
});

sharded!(
    mqtt5_3_2_2_15_packets_over_the_servers_maximum_are_0x95,
    "limits.packet_bytes_max=1000",
    |broker| {
        let mut watcher = broker.connect(Connect::v5("w"));
        watcher.subscribe("t", 0);
        let mut client = broker.connect(Connect::v5("c"));
        // Fixed header 3, topic 3, properties 1.
        client.publish(Publish::new("t", "x".repeat(993)).qos(0));
        watcher.expect_payloads(["x".repeat(993)]);
        client.send(Publish::new("t", "x".repeat(994)));
        client.expect_disconnect(0x95);
        watcher.expect_nothing();
    }
);

sharded!(mqtt5_3_2_2_15_a_remaining_length_over_the_maximum_is_refused_before_the_body, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.send_bytes(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F]);
    client.expect_disconnect(0x95);
});

sharded!(
    mqtt5_section_3_1_2_11_4_a_connect_over_the_maximum_is_refused,
    "limits.packet_bytes_max=1000",
    |broker| {
        let mut client = broker.open(Version::V50);
        let connect = Packet::from(Connect::v5("c").password(&"p".repeat(2000))).encode(Version::V50);
        client.send_bytes_or_closed(&connect);
        client.expect_refusal_or_closed(0x95);
    }
);

sharded!(mqtt5_section_3_3_3_payloads_up_to_one_mebibyte_arrive_whole, |broker| {
    let mut subscriber = broker.connect(Connect::v5("s"));
    subscriber.subscribe("big", 2);
    let mut publisher = broker.connect(Connect::v5("p"));
    for (qos, size) in [(0, 65_535), (1, 65_536), (2, 300_000), (1, 1_000_000), (0, 1_048_560)] {
        let payload: Vec<u8> = (0..size).map(|index: u32| (index % 251) as u8).collect();
        publisher.publish(Publish::new("big", payload.clone()).qos(qos));
        let publish = subscriber.recv_message();
        assert!(publish.payload == payload, "{size} bytes became {}", publish.payload.len());
    }
});

sharded!(
    mqtt5_section_2_1_4_packets_of_many_mebibytes_up_to_the_limit,
    "limits.packet_bytes_max=20000000",
    |broker| {
        let mut subscriber = broker.connect(Connect::v5("s"));
        subscriber.subscribe("big", 1);
        let mut publisher = broker.connect(Connect::v5("p"));
        for (qos, size) in [(1, 2_097_152), (0, 9_000_000)] {
            let payload: Vec<u8> = (0..size).map(|index: u32| (index % 253) as u8).collect();
            publisher.publish(Publish::new("big", payload.clone()).qos(qos));
            let publish = subscriber.recv_message();
            assert!(publish.payload == payload, "{size} bytes became {}", publish.payload.len());
        }
    }
);

sharded!(mqtt5_section_3_3_3_an_empty_payload_is_a_message, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.subscribe("t", 2);
    for qos in 0..3 {
        client.publish(Publish::new("t", "").qos(qos));
        client.expect_message("t", "");
    }
});

sharded!(mqtt5_3_3_1_2_dup_at_qos0_is_malformed_or_a_protocol_error, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.send(Publish::new("t", "x").dup());
    client.expect_disconnect_one_of(&[0x81, 0x82]);
});

sharded!(mqtt5_section_3_3_publisher_gets_its_own_message, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    let id = client.next_id();
    client.subscribe_with(Subscribe::new(id, "#", 2));
    client.publish(Publish::new("own", "x").qos(2));
    client.expect_message("own", "x");
});
