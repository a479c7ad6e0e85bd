//! Malformed Packets and violations in 3.1.1 and 3.1 close the connection, and nobody else is disturbed (section 4.8).

use super::OLD;
use crate::broker::Broker;
use crate::client::Client;
use crate::wire::{Connect, Publish, binary, packet, string};

/// Sends `bytes` after a good CONNECT of either version; the broker closes, and another client works on.
fn expect_closed(broker: &Broker, what: &str, bytes: &[u8]) {
    for version in OLD {
        let mut other = broker.connect(Connect::new(version, "other"));
        other.subscribe("still/works", 0);
        let mut client = broker.connect(Connect::new(version, "malformed"));
        println!("{version:?} {what}: {bytes:02x?}");
        client.send_bytes(bytes);
        client.expect_closed();
        other.publish(Publish::new("still/works", what));
        other.expect_message("still/works", what);
    }
}

sharded!(mqtt3_section_2_2_3_remaining_length_of_five_bytes_closes, |broker| {
    expect_closed(broker, "five bytes", &[0x30, 0x80, 0x80, 0x80, 0x80, 0x01]);
});

sharded!(mqtt3_section_2_2_1_reserved_packet_types_close, |broker| {
    expect_closed(broker, "type 0", &[0x00, 0]);
    expect_closed(broker, "type 15", &[0xF0, 0]);
});

sharded!(mqtt3_section_2_2_1_packets_of_a_server_close, |broker| {
    expect_closed(broker, "CONNACK", &[0x20, 2, 0, 0]);
    expect_closed(broker, "SUBACK", &[0x90, 3, 0, 1, 0]);
    expect_closed(broker, "UNSUBACK", &[0xB0, 2, 0, 1]);
    expect_closed(broker, "PINGRESP", &[0xD0, 0]);
});

sharded!(mqtt3_2_2_2_2_reserved_flags_close, |broker| {
    for version in [crate::wire::Version::V311] {
        for (first, body) in [
            (0x60, &[0, 1][..]),
            (0x80, &[0, 1, 0, 1, b'a', 0]),
            (0xA0, &[0, 1, 0, 1, b'a']),
            (0xC1, &[]),
            (0xE1, &[]),
        ] {
            let mut client = broker.connect(Connect::new(version, "c"));
            client.send_bytes(&packet(first, &[body]));
            client.expect_closed();
        }
    }
});

sharded!(mqtt3_3_3_1_4_publish_with_qos_3_closes, |broker| {
    expect_closed(broker, "QoS 3", &packet(0x36, &[&string("t"), &[0, 1], b"x"]));
});

sharded!(mqtt3_2_3_1_1_packet_identifier_0_closes, |broker| {
    expect_closed(broker, "PUBLISH", &packet(0x32, &[&string("t"), &[0, 0]]));
    expect_closed(broker, "SUBSCRIBE", &packet(0x82, &[&[0, 0], &string("t"), &[0]]));
    expect_closed(broker, "UNSUBSCRIBE", &packet(0xA2, &[&[0, 0], &string("t")]));
});

sharded!(mqtt3_4_8_0_1_packets_cut_short_close, |broker| {
    expect_closed(broker, "PUBLISH without topic", &packet(0x30, &[]));
    expect_closed(broker, "PUBLISH with half a topic", &packet(0x30, &[&[0, 5, b'a']]));
    expect_closed(broker, "PUBLISH with half an identifier", &packet(0x32, &[&[0, 1, b'a', 0]]));
    expect_closed(broker, "PUBACK without identifier", &packet(0x40, &[]));
    expect_closed(broker, "SUBSCRIBE without QoS", &packet(0x82, &[&[0, 1, 0, 1, b'a']]));
    expect_closed(broker, "SUBSCRIBE with half a filter", &packet(0x82, &[&[0, 1, 0, 9, b'a']]));
    expect_closed(broker, "UNSUBSCRIBE with half a filter", &packet(0xA2, &[&[0, 1, 0, 9, b'a']]));
});

sharded!(mqtt3_4_8_0_1_packets_with_bytes_too_many_close, |broker| {
    expect_closed(broker, "PINGREQ with a body", &packet(0xC0, &[&[0]]));
    expect_closed(broker, "DISCONNECT with a body", &packet(0xE0, &[&[0]]));
    expect_closed(broker, "PUBACK with a Reason Code", &packet(0x40, &[&[0, 1, 0]]));
});

sharded!(mqtt3_1_5_3_2_strings_with_u_0000_close, |broker| {
    expect_closed(broker, "topic", &packet(0x30, &[&binary(b"a\0b")]));
    expect_closed(broker, "filter", &packet(0x82, &[&[0, 1], &binary(b"a\0b"), &[0]]));
});

sharded!(mqtt3_1_5_3_1_strings_with_broken_utf8_close, |broker| {
    for text in [&b"\xED\xA0\x80"[..], b"a\xC3", b"\xC0\xAF", b"\xFF"] {
        expect_closed(broker, "topic", &packet(0x30, &[&binary(text)]));
        expect_closed(broker, "filter", &packet(0x82, &[&[0, 1], &binary(text), &[0]]));
    }
});

sharded!(mqtt3_1_5_3_3_a_byte_order_mark_is_kept, |broker| {
    for version in OLD {
        let mut client = broker.connect(Connect::new(version, "c"));
        client.subscribe("\u{FEFF}t", 0);
        client.publish(Publish::new("t", "without"));
        client.publish(Publish::new("\u{FEFF}t", "with"));
        client.expect_message("\u{FEFF}t", "with");
    }
});

sharded!(mqtt3_3_3_2_2_publish_to_a_topic_with_wildcards_closes, |broker| {
    for topic in ["a/#", "+", "a/+/b"] {
        expect_closed(broker, "wildcard", &packet(0x30, &[&string(topic)]));
    }
});

sharded!(mqtt3_4_7_3_1_publish_to_an_empty_topic_closes, |broker| {
    expect_closed(broker, "empty", &packet(0x30, &[&string(""), b"x"]));
});

sharded!(mqtt3_4_8_0_2_a_client_that_vanishes_in_a_packet_does_no_harm, |broker| {
    let mut other = broker.connect(Connect::v311("other"));
    for number in 0..20 {
        let mut client = broker.connect(Connect::v311(&format!("v-{number}")));
        client.send_bytes(&[0x30, 0xFF, 0x7F, 0, 3, b'a']);
        drop(client);
    }
    Client::ping(&mut other);
});
