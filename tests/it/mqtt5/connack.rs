//! CONNACK: its properties and the limits that they announce (section 3.2).

use crate::wire::{Connack, Connect, Property, Publish, Version, Will};

macro_rules! announced {
    ($connack:expr, $variant:ident) => {
        $connack.find(|property| match property {
            Property::$variant(value) => Some(value.clone()),
            _ => None,
        })
    };
}

fn connack(broker: &crate::broker::Broker, connect: Connect) -> Connack {
    broker.connect_with_ack(connect).1
}

sharded!(mqtt5_3_2_2_9_maximum_qos_is_announced, "mqtt.qos_max=1", |broker| {
    assert_eq!(announced!(connack(broker, Connect::v5("a")), MaximumQos), Some(1));
});

sharded!(mqtt5_section_3_2_2_3_4_maximum_qos_2_is_not_announced, |broker| {
    assert_eq!(announced!(connack(broker, Connect::v5("a")), MaximumQos), None);
});

sharded!(mqtt5_3_2_2_10_subscribe_above_maximum_qos_is_granted_less, "mqtt.qos_max=1", |broker| {
    let mut client = broker.connect(Connect::v5("a"));
    assert_eq!(client.subscribe_reason("t", 2), 1);
    assert_eq!(client.subscribe_reason("u", 0), 0);
});

sharded!(mqtt5_3_2_2_11_publish_above_maximum_qos_is_0x9b, "mqtt.qos_max=1", |broker| {
    let mut client = broker.connect(Connect::v5("a"));
    client.publish(Publish::new("t", "fine").qos(1));
    client.send(Publish::new("t", "too much").qos(2).id(9));
    client.expect_disconnect(0x9B);
});

sharded!(mqtt5_3_2_2_12_will_above_maximum_qos_is_0x9b, "mqtt.qos_max=0", |broker| {
    broker.expect_refused(Connect::v5("a").will(Will::new("w", "x").qos(1)), 0x9B);
    broker.connect(Connect::v5("a").will(Will::new("w", "x"))).ping();
});

sharded!(mqtt5_3_2_2_13_retained_will_without_retain_is_0x9a, "mqtt.retain_available=false", |broker| {
    broker.expect_refused(Connect::v5("a").will(Will::new("w", "x").retain()), 0x9A);
});

sharded!(
    mqtt5_3_2_2_14_publish_with_retain_without_retain_is_0x9a,
    "mqtt.retain_available=false",
    |broker| {
        let (mut client, connack) = broker.connect_with_ack(Connect::v5("a"));
        assert_eq!(announced!(connack, RetainAvailable), Some(0));
        client.send(Publish::new("t", "x").retain());
        client.expect_disconnect(0x9A);
    }
);

sharded!(mqtt5_section_3_2_2_3_5_retain_is_available, |broker| {
    assert_ne!(announced!(connack(broker, Connect::v5("a")), RetainAvailable), Some(0));
});

sharded!(
    mqtt5_section_3_2_2_3_11_no_wildcards_is_announced_and_0xa2,
    "mqtt.wildcard_available=false",
    |broker| {
        let (mut client, connack) = broker.connect_with_ack(Connect::v5("a"));
        assert_eq!(announced!(connack, WildcardAvailable), Some(0));
        assert_eq!(client.subscribe_reason("t", 0), 0);
        client.send(crate::wire::Subscribe::new(9, "a/#", 0));
        match client.recv() {
            crate::wire::Packet::Ack(ack) => assert_eq!(ack.reasons, [0xA2]),
            crate::wire::Packet::Disconnect(disconnect) => assert_eq!(disconnect.reason, 0xA2),
            other => panic!("{other:?}"),
        }
    }
);

sharded!(mqtt5_section_3_2_2_3_13_no_shared_is_announced_and_0x9e, "mqtt.shared_available=false", |broker| {
    let (mut client, connack) = broker.connect_with_ack(Connect::v5("a"));
    assert_eq!(announced!(connack, SharedAvailable), Some(0));
    client.send(crate::wire::Subscribe::new(9, "$share/g/t", 0));
    match client.recv() {
        crate::wire::Packet::Ack(ack) => assert_eq!(ack.reasons, [0x9E]),
        crate::wire::Packet::Disconnect(disconnect) => assert_eq!(disconnect.reason, 0x9E),
        other => panic!("{other:?}"),
    }
});

sharded!(mqtt5_section_3_2_2_3_wildcards_identifiers_and_shared_are_available, |broker| {
    let connack = connack(broker, Connect::v5("a"));
    assert_ne!(announced!(connack, WildcardAvailable), Some(0));
    assert_ne!(announced!(connack, SubscriptionIdAvailable), Some(0));
    assert_ne!(announced!(connack, SharedAvailable), Some(0));
});

sharded!(mqtt5_section_3_2_2_3_3_receive_maximum_is_announced, "limits.receive_max=7", |broker| {
    assert_eq!(announced!(connack(broker, Connect::v5("a")), ReceiveMax), Some(7));
});

sharded!(
    mqtt5_section_3_2_2_3_6_maximum_packet_size_is_announced,
    "limits.packet_bytes_max=2000",
    |broker| {
        assert_eq!(announced!(connack(broker, Connect::v5("a")), MaximumPacketSize), Some(2000));
    }
);

sharded!(mqtt5_3_2_2_17_topic_alias_maximum_is_announced, "limits.topic_alias_max=5", |broker| {
    assert_eq!(announced!(connack(broker, Connect::v5("a")), TopicAliasMax), Some(5));
});

sharded!(mqtt5_3_2_2_21_server_keep_alive_is_announced, "limits.keep_alive_s_max=30", |broker| {
    assert_eq!(announced!(connack(broker, Connect::v5("a").keep_alive_s(300)), ServerKeepAlive), Some(30));
    assert_eq!(announced!(connack(broker, Connect::v5("a").keep_alive_s(0)), ServerKeepAlive), Some(30));
    let granted = announced!(connack(broker, Connect::v5("a").keep_alive_s(20)), ServerKeepAlive);
    assert!(matches!(granted, None | Some(20)), "{granted:?}");
});

sharded!(mqtt5_3_2_2_22_keep_alive_is_the_clients_without_a_limit, |broker| {
    let granted = announced!(connack(broker, Connect::v5("a").keep_alive_s(300)), ServerKeepAlive);
    assert!(matches!(granted, None | Some(300)), "{granted:?}");
});

sharded!(mqtt5_section_3_2_2_3_2_session_expiry_over_the_limit_is_cut, "session.expiry_s_max=60", |broker| {
    let expiry = |seconds| Connect::v5("a").with(Property::SessionExpiry(seconds));
    assert_eq!(announced!(connack(broker, expiry(600)), SessionExpiry), Some(60));
    assert_eq!(announced!(connack(broker, expiry(u32::MAX)), SessionExpiry), Some(60));
    let granted = announced!(connack(broker, expiry(30)), SessionExpiry);
    assert!(matches!(granted, None | Some(30)), "{granted:?}");
});

sharded!(mqtt5_3_1_2_28_no_response_information_unasked, |broker| {
    let connack = connack(broker, Connect::v5("a").with(Property::RequestResponseInfo(0)));
    assert_eq!(announced!(connack, ResponseInfo), None);
    let connack = self::connack(broker, Connect::v5("b"));
    assert_eq!(announced!(connack, ResponseInfo), None);
});

sharded!(mqtt5_section_3_1_2_11_6_request_response_information_is_accepted, |broker| {
    let (mut client, _) = broker.connect_with_ack(Connect::v5("a").with(Property::RequestResponseInfo(1)));
    client.ping();
});

sharded!(mqtt5_3_2_2_2_clean_start_has_no_session_present, |broker| {
    broker.connect(Connect::v5("c").persistent()).disconnect();
    let clean = Connect::v5("c").with(Property::SessionExpiry(60));
    assert!(!connack(broker, clean).session_present);
});

sharded!(mqtt5_3_2_2_3_session_present_tells_a_session, |broker| {
    let (client, connack) = broker.connect_with_ack(Connect::v5("c").persistent());
    assert!(!connack.session_present);
    client.disconnect();
    assert!(self::connack(broker, Connect::v5("c").persistent()).session_present);
});

sharded!(mqtt5_3_2_2_19_connack_fits_the_clients_maximum_packet_size, |broker| {
    let mut client = broker.open(Version::V50);
    client.send(Connect::v5("tiny").with(Property::MaximumPacketSize(64)));
    let connack = client.recv_connack();
    let bytes: usize = connack
        .properties
        .iter()
        .map(|property| {
            let mut out = Vec::new();
            property.encode(&mut out);
            out.len()
        })
        .sum();
    assert!(bytes + 5 <= 64, "{connack:?}");
});
