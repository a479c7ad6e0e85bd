//! Topic Aliases both ways (sections 3.3.2.3.4, 3.1.2.11.5, 3.2.2.3.8).

use crate::wire::{Connect, Packet, Property, Publish};

fn alias_of(publish: &Publish) -> Option<u16> {
    publish.properties.iter().find_map(|property| match property {
        Property::TopicAlias(alias) => Some(*alias),
        _ => None,
    })
}

sharded!(mqtt5_3_3_2_12_aliases_up_to_the_maximum_are_accepted, "limits.topic_alias_max=10", |broker| {
    let mut subscriber = broker.connect(Connect::v5("s"));
    subscriber.subscribe("t/#", 0);
    let mut client = broker.connect(Connect::v5("c"));
    for alias in 1..=10 {
        client.publish(Publish::new(&format!("t/{alias}"), "set").with(Property::TopicAlias(alias)));
        subscriber.expect_message(&format!("t/{alias}"), "set");
    }
    for alias in (1..=10).rev() {
        client.publish(Publish::new("", "use").with(Property::TopicAlias(alias)));
        subscriber.expect_message(&format!("t/{alias}"), "use");
    }
});

sharded!(mqtt5_section_3_3_2_3_4_alias_can_be_set_anew, |broker| {
    let mut subscriber = broker.connect(Connect::v5("s"));
    subscriber.subscribe("t/#", 1);
    let mut client = broker.connect(Connect::v5("c"));
    for topic in ["t/1", "t/2"] {
        client.publish(Publish::new(topic, "set").qos(1).with(Property::TopicAlias(1)));
        client.publish(Publish::new("", "use").qos(2).with(Property::TopicAlias(1)));
        subscriber.expect_message(topic, "set");
        subscriber.expect_message(topic, "use");
    }
});

sharded!(mqtt5_3_3_2_8_alias_0_is_0x94, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.send(Publish::new("t", "x").with(Property::TopicAlias(0)));
    client.expect_disconnect(0x94);
});

sharded!(mqtt5_3_3_2_9_alias_over_the_maximum_is_0x94, "limits.topic_alias_max=10", |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.send(Publish::new("t", "x").with(Property::TopicAlias(11)));
    client.expect_disconnect(0x94);
});

sharded!(mqtt5_3_2_2_18_no_alias_is_accepted_when_the_maximum_is_0, "limits.topic_alias_max=0", |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.send(Publish::new("t", "x").with(Property::TopicAlias(1)));
    client.expect_disconnect(0x94);
});

sharded!(mqtt5_section_3_3_2_3_4_unknown_alias_is_a_protocol_error, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.send(Publish::new("", "x").with(Property::TopicAlias(3)));
    client.expect_disconnect_one_of(&[0x82, 0x94]);
});

sharded!(mqtt5_section_3_3_2_1_empty_topic_without_alias_is_a_protocol_error, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    client.send(Publish::new("", "x"));
    client.expect_disconnect_one_of(&[0x82, 0x90]);
});

sharded!(mqtt5_3_3_2_7_aliases_end_with_the_connection, |broker| {
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.publish(Publish::new("t", "x").with(Property::TopicAlias(1)));
    client.ping();
    client.disconnect();
    let mut client = broker.connect(Connect::v5("c").persistent());
    client.send(Publish::new("", "x").with(Property::TopicAlias(1)));
    client.expect_disconnect_one_of(&[0x82, 0x94]);
});

sharded!(mqtt5_3_3_2_7_the_publishers_alias_is_not_the_subscribers, |broker| {
    let mut subscriber = broker.connect(Connect::v5("s"));
    subscriber.subscribe("t", 0);
    let mut client = broker.connect(Connect::v5("c"));
    client.publish(Publish::new("t", "1").with(Property::TopicAlias(5)));
    client.publish(Publish::new("", "2").with(Property::TopicAlias(5)));
    for payload in ["1", "2"] {
        assert_eq!(subscriber.recv_publish(), Publish::new("t", payload));
    }
});

sharded!(mqtt5_3_1_2_27_no_alias_is_sent_without_the_clients_maximum, |broker| {
    for connect in [Connect::v5("c"), Connect::v5("c").with(Property::TopicAliasMax(0))] {
        let mut client = broker.connect(connect);
        client.subscribe("t", 0);
        for _ in 0..5 {
            client.publish(Publish::new("t", "x"));
            assert_eq!(client.recv_publish(), Publish::new("t", "x"));
        }
    }
});

sharded!(mqtt5_3_1_2_26_aliases_sent_are_within_the_clients_maximum, |broker| {
    let mut client = broker.connect(Connect::v5("c").with(Property::TopicAliasMax(3)));
    client.subscribe("t/#", 1);
    let mut topics = vec![String::new(); 4];
    let mut publisher = broker.connect(Connect::v5("p"));
    for round in 0..40 {
        let expected = format!("t/{}", round % 7);
        publisher.publish(Publish::new(&expected, "x").qos(round % 2));
        let Packet::Publish(publish) = client.recv() else { panic!("PUBLISH was to come") };
        if publish.qos == 1 {
            client.send(crate::wire::Ack::new(crate::wire::AckKind::Puback, publish.id));
        }
        let alias = alias_of(&publish);
        if let Some(alias) = alias {
            assert!((1..=3).contains(&alias), "[MQTT-3.3.2-11] {publish:?}");
            if !publish.topic.is_empty() {
                topics[usize::from(alias)] = publish.topic.clone();
            }
        }
        let topic =
            if publish.topic.is_empty() { &topics[usize::from(alias.unwrap())] } else { &publish.topic };
        assert_eq!(*topic, expected);
    }
});

sharded!(mqtt5_3_1_2_24_a_packet_with_an_alias_fits_the_clients_maximum_too, |broker| {
    let mut publisher = broker.connect(Connect::v5("p"));
    for size in 85..100 {
        let connect =
            Connect::v5("c").with(Property::TopicAliasMax(5)).with(Property::MaximumPacketSize(100));
        let mut client = broker.connect(connect);
        client.subscribe_all(&["t", "end"], 1);
        publisher.publish(Publish::new("t", "x".repeat(size)).qos(1));
        publisher.publish(Publish::new("t", "x".repeat(size)));
        publisher.publish(Publish::new("end", "end").qos(1));
        let mut payload = Vec::new();
        while payload != b"end" {
            let publish = client.recv_message();
            let bytes = Packet::from(publish.clone()).encode(crate::wire::Version::V50).len();
            assert!(bytes <= 100, "{bytes} bytes: {publish:?}");
            payload = publish.payload;
        }
    }
});
