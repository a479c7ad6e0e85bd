//! CONNECT: what is accepted, what is refused, and how (section 3.1).

use std::thread;
use std::time::Duration;

use crate::client::TIMEOUT;
use crate::wire::{
    Connect, Packet, Property, Publish, Subscribe, Version, Will, binary, first_byte, packet, string,
};

/// A CONNECT put together by hand: protocol name, level, flags, then the rest.
fn raw_connect(name: &str, level: u8, flags: u8, rest: &[&[u8]]) -> Vec<u8> {
    packet(first_byte::CONNECT, &[&string(name), &[level, flags, 0, 0], &rest.concat()])
}

sharded!(mqtt5_3_1_0_1_anything_before_connect_closes, |broker| {
    for first in [
        Packet::Pingreq,
        Publish::new("a", "early").into(),
        Subscribe::new(1, "a", 0).into(),
        crate::wire::Disconnect::default().into(),
    ] {
        let mut client = broker.open(Version::V50);
        client.send(first);
        client.expect_closed();
    }
});

sharded!(mqtt5_3_1_0_2_second_connect_is_a_protocol_error, |broker| {
    let mut client = broker.connect(Connect::v5("twice"));
    client.send(Connect::v5("twice"));
    client.expect_disconnect(0x82);
    // Whatever is wrong inside: 0x84 would be no Reason Code of DISCONNECT.
    let mut client = broker.connect(Connect::v5("twice"));
    client.send_bytes(&raw_connect("MQTT", 253, 2, &[&[0], &string("twice")]));
    client.expect_disconnect(0x82);
});

sharded!(mqtt5_3_1_2_1_wrong_protocol_name_is_refused, |broker| {
    for name in ["MQTTX", "mqtt", "HTTP", ""] {
        let mut client = broker.open(Version::V50);
        client.send_bytes(&raw_connect(name, 5, 2, &[&[0], &string("a")]));
        client.expect_version_refused();
    }
});

sharded!(mqtt5_3_1_2_2_unknown_protocol_version_is_refused, |broker| {
    for level in [6, 7, 127, 255] {
        let mut client = broker.open(Version::V50);
        client.send_bytes(&raw_connect("MQTT", level, 2, &[&[0], &string("a")]));
        client.expect_version_refused();
    }
});

sharded!(mqtt5_3_1_2_3_reserved_flag_is_malformed, |broker| {
    let mut client = broker.open(Version::V50);
    client.send_bytes(&raw_connect("MQTT", 5, 3, &[&[0], &string("a")]));
    client.expect_refusal_or_closed(0x81);
});

sharded!(mqtt5_3_1_2_11_will_qos_without_will_flag_is_refused, |broker| {
    let mut client = broker.open(Version::V50);
    client.send_bytes(&raw_connect("MQTT", 5, 0b0000_1010, &[&[0], &string("a")]));
    client.expect_refusal_or_closed(0x81);
});

sharded!(mqtt5_3_1_2_12_will_qos_3_is_malformed, |broker| {
    let mut client = broker.open(Version::V50);
    let will = [&[0][..], &string("a"), &[0], &string("will"), &binary(b"x")].concat();
    client.send_bytes(&raw_connect("MQTT", 5, 0b0001_1110, &[&will]));
    client.expect_refusal_or_closed(0x81);
});

sharded!(mqtt5_3_1_2_13_will_retain_without_will_flag_is_refused, |broker| {
    let mut client = broker.open(Version::V50);
    client.send_bytes(&raw_connect("MQTT", 5, 0b0010_0010, &[&[0], &string("a")]));
    client.expect_refusal_or_closed(0x81);
});

sharded!(mqtt5_3_1_2_16_password_without_username_is_accepted, |broker| {
    broker.connect(Connect::v5("secretive").password("secret")).ping();
});

sharded!(mqtt5_3_1_2_17_username_and_password_are_parsed, |broker| {
    broker.connect(Connect::v5("named").username("name").password("secret")).ping();
    broker.connect(Connect::v5("named").username("name")).ping();
});

sharded!(mqtt5_3_1_3_5_client_ids_of_1_to_23_letters_and_digits_are_allowed, |broker| {
    for id in ["a", "0123456789abcdefghijklm", "NOPQRSTUVWXYZnopqrstuvw"] {
        broker.connect(Connect::v5(id)).ping();
    }
});

sharded!(mqtt5_3_1_3_6_empty_client_id_gets_a_unique_one, |broker| {
    let mut assigned = Vec::new();
    for clean in [true, false] {
        for _ in 0..5 {
            let connect = if clean { Connect::v5("") } else { Connect::v5("").resume() };
            let (mut client, connack) = broker.connect_with_ack(connect);
            let id = connack.assigned_client_id().expect("Assigned Client Identifier [MQTT-3.1.3-7]");
            assert!(!id.is_empty() && !assigned.contains(&id), "{id:?} of {assigned:?}");
            client.ping();
            assigned.push(id);
        }
    }
});

sharded!(mqtt5_3_2_2_16_assigned_client_id_can_be_used_to_come_back, |broker| {
    let (client, connack) = broker.connect_with_ack(Connect::v5("").with(Property::SessionExpiry(60)));
    let id = connack.assigned_client_id().unwrap();
    client.disconnect();
    let (_client, connack) = broker.connect_with_ack(Connect::v5(&id).persistent());
    assert!(connack.session_present);
    assert_eq!(connack.assigned_client_id(), None);
});

sharded!(mqtt5_3_1_3_8_client_id_over_the_limit_is_refused, "limits.client_id_len_max=64", |broker| {
    broker.connect(Connect::v5(&"i".repeat(64))).ping();
    broker.expect_refused(Connect::v5(&"i".repeat(65)), 0x85);
});

sharded!(mqtt5_3_1_3_4_client_id_that_is_not_utf8_is_malformed, |broker| {
    for id in [&b"a\xC3\x28"[..], b"\xED\xA0\x80", b"a\0b", b"\xC0\x80", b"\xFF"] {
        let mut client = broker.open(Version::V50);
        client.send_bytes(&raw_connect("MQTT", 5, 2, &[&[0], &binary(id)]));
        client.expect_refusal_or_closed(0x81);
    }
});

sharded!(mqtt5_3_1_3_11_will_topic_with_wildcards_or_empty_is_refused, |broker| {
    for topic in ["a/#", "+/a", ""] {
        let mut client = broker.open(Version::V50);
        client.send(Connect::v5("willing").will(Will::new(topic, "x")));
        match client.recv() {
            Packet::Connack(connack) => assert!(matches!(connack.reason, 0x81 | 0x82 | 0x90), "{connack:?}"),
            other => panic!("{other:?}"),
        }
        client.expect_closed();
    }
});

sharded!(mqtt5_3_1_4_1_bytes_after_the_payload_are_malformed, |broker| {
    let mut client = broker.open(Version::V50);
    client.send_bytes(&raw_connect("MQTT", 5, 2, &[&[0], &string("a"), b"more"]));
    client.expect_refusal_or_closed(0x81);
});

sharded!(mqtt5_3_1_4_1_connect_cut_short_is_malformed, |broker| {
    for rest in [&[&[0][..]][..], &[], &[&[0], &[0, 9, b'a']], &[&[5, 0x11, 0, 0]]] {
        let mut client = broker.open(Version::V50);
        client.send_bytes(&raw_connect("MQTT", 5, 2, rest));
        client.expect_refusal_or_closed(0x81);
    }
});

sharded!(mqtt5_section_3_1_2_11_property_twice_is_a_protocol_error, |broker| {
    for property in [
        Property::SessionExpiry(1),
        Property::ReceiveMax(1),
        Property::MaximumPacketSize(100),
        Property::TopicAliasMax(1),
        Property::RequestProblemInfo(1),
        Property::RequestResponseInfo(1),
    ] {
        let mut client = broker.open(Version::V50);
        client.send(Connect::v5("double").with(property.clone()).with(property));
        client.expect_refusal_or_closed(0x82);
    }
});

sharded!(mqtt5_section_3_1_2_11_property_values_out_of_range_are_protocol_errors, |broker| {
    for property in [
        Property::ReceiveMax(0),
        Property::MaximumPacketSize(0),
        Property::RequestProblemInfo(2),
        Property::RequestResponseInfo(2),
    ] {
        let mut client = broker.open(Version::V50);
        client.send(Connect::v5("ranges").with(property));
        client.expect_refusal_or_closed(0x82);
    }
});

sharded!(mqtt5_section_2_2_2_2_property_that_does_not_belong_is_malformed, |broker| {
    for property in [Property::TopicAlias(1), Property::ServerKeepAlive(1), Property::WillDelay(1)] {
        let mut client = broker.open(Version::V50);
        client.send(Connect::v5("stray").with(property));
        let connack = client.recv_connack();
        assert!(matches!(connack.reason, 0x81 | 0x82), "{connack:?}");
        client.expect_closed();
    }
});

sharded!(mqtt5_section_3_1_2_11_user_properties_may_repeat, |broker| {
    let user = || Property::user("k", "v");
    broker.connect(Connect::v5("users").with(user()).with(user()).with(Property::user("", ""))).ping();
});

sharded!(mqtt5_section_3_1_4_connect_timeout_closes, "limits.connect_timeout_s=1", |broker| {
    let mut silent = broker.open(Version::V50);
    let mut slow = broker.open(Version::V50);
    slow.send_bytes(&[first_byte::CONNECT, 20, 0, 4, b'M']);
    let mut quick = broker.connect(Connect::v5("quick"));
    silent.expect_closed_within(Duration::from_secs(4));
    slow.expect_closed_within(Duration::from_secs(4));
    quick.ping();
});

sharded!(mqtt5_3_1_0_1_connect_in_single_bytes_is_understood, |broker| {
    let connect = Connect::v5("letter-by-letter").will(Will::new("w", "x")).username("u").password("p");
    let bytes = Packet::from(connect.with(Property::ReceiveMax(7)).with(Property::user("a", "b")))
        .encode(Version::V50);
    let mut client = broker.open(Version::V50);
    for byte in bytes {
        client.send_bytes(&[byte]);
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(client.recv_connack().reason, 0);
    for byte in Packet::Pingreq.encode(Version::V50) {
        client.send_bytes(&[byte]);
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(client.recv(), Packet::Pingresp);
});

sharded!(mqtt5_3_1_4_5_packets_in_the_segment_of_connect_are_handled_in_order, |broker| {
    for number in 0..12 {
        let id = format!("eager-{number}");
        let topic = format!("eager/{number}");
        let mut bytes = Packet::from(Connect::v5(&id)).encode(Version::V50);
        bytes.extend(Packet::from(Subscribe::new(1, &topic, 1)).encode(Version::V50));
        for message in 0..20_u16 {
            let publish = Publish::new(&topic, message.to_string()).qos(1).id(message + 1);
            bytes.extend(Packet::from(publish).encode(Version::V50));
        }
        bytes.extend(Packet::Pingreq.encode(Version::V50));
        let mut client = broker.open(Version::V50);
        client.send_bytes(&bytes);
        assert_eq!(client.recv_connack().reason, 0);
        client.expect_ack(crate::wire::AckKind::Suback, 1, 1);
        for message in 1..=20 {
            client.expect_ack(crate::wire::AckKind::Puback, message, 0);
        }
        client.expect_payloads((0..20).map(|message: u16| message.to_string()));
    }
});

sharded!(mqtt5_3_1_4_6_nothing_after_a_refused_connect_is_processed, |broker| {
    let mut watcher = broker.connect(Connect::v5("watcher"));
    watcher.subscribe("refused", 0);
    let mut bytes = raw_connect("MQTT", 9, 2, &[&[0], &string("a")]);
    bytes.extend(Packet::from(Publish::new("refused", "x")).encode(Version::V50));
    let mut client = broker.open(Version::V50);
    client.send_bytes(&bytes);
    client.expect_version_refused();
    watcher.expect_nothing();
});

sharded!(mqtt5_3_1_4_5_half_a_packet_after_connect_is_completed_later, |broker| {
    let publish = Packet::from(Publish::new("half", "whole").qos(1).id(5)).encode(Version::V50);
    for number in 0..8 {
        let mut bytes = Packet::from(Connect::v5(&format!("half-{number}"))).encode(Version::V50);
        bytes.extend(&publish[..4]);
        let mut client = broker.open(Version::V50);
        client.send_bytes(&bytes);
        assert_eq!(client.recv_connack().reason, 0);
        thread::sleep(Duration::from_millis(20));
        client.send_bytes(&publish[4..]);
        let ack = client.recv_ack(crate::wire::AckKind::Puback, 5);
        assert!(matches!(ack.reasons[0], 0x00 | 0x10), "{ack:?}");
    }
});

sharded!(mqtt5_section_4_2_half_closed_and_reset_connections_do_no_harm, |broker| {
    let mut other = broker.connect(Connect::v5("other"));
    for number in 0..10 {
        let mut half = broker.open(Version::V50);
        half.half_close();
        half.expect_closed();
        let client = broker.connect(Connect::v5(&format!("short-{number}")));
        drop(client);
        other.ping();
    }
    let mut last = broker.connect(Connect::v5("last"));
    last.half_close();
    last.expect_closed_within(TIMEOUT);
    other.ping();
});
