//! CONNECT and CONNACK of 3.1.1 and 3.1 (sections 3.1, 3.2).

use std::time::Duration;

use super::OLD;
use crate::wire::{
    Connect, Disconnect, Packet, Publish, Subscribe, Version, Will, binary, first_byte, packet, string,
};

fn raw_connect(name: &str, level: u8, flags: u8, rest: &[&[u8]]) -> Vec<u8> {
    packet(first_byte::CONNECT, &[&string(name), &[level, flags, 0, 0], &rest.concat()])
}

sharded!(mqtt3_3_1_0_1_anything_before_connect_closes, |broker| {
    for version in OLD {
        for first in [
            Packet::Pingreq,
            Publish::new("a", "early").into(),
            Subscribe::new(1, "a", 0).into(),
            Disconnect::default().into(),
        ] {
            let mut client = broker.open(version);
            client.send(first);
            client.expect_closed();
        }
    }
});

sharded!(mqtt3_3_1_0_2_second_connect_closes, |broker| {
    for version in OLD {
        let mut client = broker.connect(Connect::new(version, "twice"));
        client.send(Connect::new(version, "twice"));
        client.expect_closed();
    }
});

sharded!(mqtt3_3_1_2_1_wrong_protocol_name_closes, |broker| {
    for (name, level) in [("MQTTX", 4), ("mqtt", 4), ("MQIsdp", 4), ("MQISDP", 3), ("HTTP", 4)] {
        let mut client = broker.open(Version::V311);
        client.send_bytes(&raw_connect(name, level, 2, &[&string("a")]));
        client.expect_refusal_or_closed(1);
    }
});

sharded!(mqtt3_3_1_2_2_unacceptable_protocol_level_is_return_code_1, |broker| {
    for (name, level) in [("MQTT", 0), ("MQTT", 2), ("MQIsdp", 2)] {
        let mut client = broker.open(Version::V311);
        client.send_bytes(&raw_connect(name, level, 2, &[&string("a")]));
        client.expect_refusal(1);
    }
});

sharded!(mqtt3_3_1_2_3_reserved_flag_closes, |broker| {
    let mut client = broker.open(Version::V311);
    client.send_bytes(&raw_connect("MQTT", 4, 3, &[&string("a")]));
    client.expect_closed();
});

sharded!(mqtt3_3_1_2_13_will_qos_without_will_flag_closes, |broker| {
    let mut client = broker.open(Version::V311);
    client.send_bytes(&raw_connect("MQTT", 4, 0b0000_1010, &[&string("a")]));
    client.expect_closed();
});

sharded!(mqtt3_3_1_2_14_will_qos_3_closes, |broker| {
    let mut client = broker.open(Version::V311);
    let rest = [string("a"), string("will"), binary(b"x")].concat();
    client.send_bytes(&raw_connect("MQTT", 4, 0b0001_1110, &[&rest]));
    client.expect_closed();
});

sharded!(mqtt3_3_1_2_15_will_retain_without_will_flag_closes, |broker| {
    let mut client = broker.open(Version::V311);
    client.send_bytes(&raw_connect("MQTT", 4, 0b0010_0010, &[&string("a")]));
    client.expect_closed();
});

sharded!(mqtt3_3_1_2_22_password_without_username_closes, |broker| {
    let mut client = broker.open(Version::V311);
    client.send(Connect::v311("a").password("secret"));
    client.expect_closed();
});

sharded!(mqtt3_3_1_2_19_username_and_password_are_parsed, |broker| {
    for version in OLD {
        broker.connect(Connect::new(version, "named").username("name").password("secret")).ping();
        broker.connect(Connect::new(version, "named").username("name")).ping();
    }
});

sharded!(mqtt3_3_1_3_5_client_ids_of_1_to_23_letters_and_digits_are_allowed, |broker| {
    for version in OLD {
        for id in ["a", "0123456789abcdefghijklm", "NOPQRSTUVWXYZnopqrstuvw"] {
            broker.connect(Connect::new(version, id)).ping();
        }
    }
});

sharded!(mqtt3_3_1_3_6_empty_client_ids_of_clean_sessions_are_told_apart, |broker| {
    let mut first = broker.connect(Connect::v311(""));
    let mut second = broker.connect(Connect::v311(""));
    first.ping();
    second.ping();
});

sharded!(mqtt3_3_1_3_8_empty_client_id_without_clean_session_is_return_code_2, |broker| {
    broker.expect_refused(Connect::v311("").resume(), 2);
});

sharded!(mqtt31_section_3_1_empty_client_id_is_return_code_2, |broker| {
    broker.expect_refused(Connect::v31("").resume(), 2);
});

sharded!(mqtt3_3_1_3_9_client_id_over_the_limit_is_return_code_2, "limits.client_id_len_max=64", |broker| {
    for version in OLD {
        broker.connect(Connect::new(version, &"i".repeat(64))).ping();
        broker.expect_refused(Connect::new(version, &"i".repeat(65)), 2);
    }
});

sharded!(mqtt3_3_1_4_1_malformed_connect_closes_without_connack, |broker| {
    for rest in [&[&string("a")[..], b"more"][..], &[], &[&[0, 9, b'a']], &[&binary(b"\xC3\x28")]] {
        let mut client = broker.open(Version::V311);
        client.send_bytes(&raw_connect("MQTT", 4, 2, rest));
        client.expect_closed();
    }
});

sharded!(mqtt3_3_1_3_10_will_topic_with_wildcard_closes, |broker| {
    for topic in ["a/#", "+"] {
        let mut client = broker.open(Version::V311);
        client.send(Connect::v311("willing").will(Will::new(topic, "x")));
        client.expect_closed();
    }
});

sharded!(mqtt3_section_3_1_4_connect_timeout_closes, "limits.connect_timeout_s=1", |broker| {
    let mut silent = broker.open(Version::V311);
    silent.expect_closed_within(Duration::from_secs(4));
});

sharded!(mqtt3_section_3_1_4_packets_in_the_segment_of_connect_are_handled, |broker| {
    for version in OLD {
        for number in 0..8 {
            let mut bytes = Packet::from(Connect::new(version, &format!("eager-{number}"))).encode(version);
            bytes.extend(Packet::from(Subscribe::new(9, "eager/+", 2)).encode(version));
            bytes.extend(Packet::Pingreq.encode(version));
            let mut client = broker.open(version);
            client.send_bytes(&bytes);
            assert_eq!(client.recv_connack().reason, 0);
            client.expect_ack(crate::wire::AckKind::Suback, 9, 2);
            assert_eq!(client.recv(), Packet::Pingresp);
        }
    }
});

sharded!(mqtt3_3_2_2_1_clean_session_has_no_session_present, |broker| {
    broker.connect(Connect::v311("c").persistent()).disconnect();
    let (_client, connack) = broker.connect_with_ack(Connect::v311("c"));
    assert!(!connack.session_present);
});

sharded!(mqtt3_3_2_2_2_session_present_tells_a_stored_session, |broker| {
    let (client, connack) = broker.connect_with_ack(Connect::v311("c").persistent());
    assert!(!connack.session_present);
    client.disconnect();
    let (_client, connack) = broker.connect_with_ack(Connect::v311("c").persistent());
    assert!(connack.session_present);
});

sharded!(mqtt31_section_3_2_connack_of_3_1_has_a_reserved_byte_of_zero, |broker| {
    broker.connect(Connect::v31("old").persistent()).disconnect();
    let (_client, connack) = broker.connect_with_ack(Connect::v31("old").persistent());
    assert!(!connack.session_present, "3.1 knows no Session Present");
});

sharded!(mqtt3_section_3_1_2_2_versions_mix_on_one_broker, |broker| {
    let mut clients: Vec<_> = Version::ALL
        .iter()
        .map(|&version| broker.connect(Connect::new(version, &format!("{version:?}"))))
        .collect();
    clients.iter_mut().for_each(|client| client.subscribe("mixed", 2));
    for sender in 0..clients.len() {
        clients[sender].publish(Publish::new("mixed", sender.to_string()).qos(2));
        for client in &mut clients {
            client.expect_message("mixed", &sender.to_string());
        }
    }
});
