//! Malformed Packets and Protocol Errors after CONNECT: the Reason Code, and nobody else is disturbed (section 4.13).

use crate::broker::Broker;
use crate::client::Client;
use crate::wire::{Connect, Publish, binary, first_byte, packet, string};

/// Sends `bytes` after a good CONNECT; the broker ends that connection with one of `reasons`, and another client works on.
fn expect(broker: &Broker, what: &str, bytes: &[u8], reasons: &[u8]) {
    let mut other = broker.connect(Connect::v5("other"));
    other.subscribe("still/works", 0);
    let mut client = broker.connect(Connect::v5("malformed"));
    println!("{what}: {bytes:02x?}");
    client.send_bytes(bytes);
    client.expect_disconnect_one_of(reasons);
    other.publish(Publish::new("still/works", what));
    other.expect_message("still/works", what);
}

const MALFORMED: &[u8] = &[0x81];
const EITHER: &[u8] = &[0x81, 0x82];

sharded!(mqtt5_1_5_5_1_remaining_length_of_five_bytes_is_malformed, |broker| {
    expect(broker, "five bytes", &[0x30, 0x80, 0x80, 0x80, 0x80, 0x01], MALFORMED);
});

sharded!(mqtt5_section_2_1_2_packet_type_0_is_malformed, |broker| {
    expect(broker, "type 0", &[0x00, 0], EITHER);
    expect(broker, "type 0 with a body", &[0x0F, 2, 0, 0], EITHER);
});

sharded!(mqtt5_section_2_1_2_packets_of_a_server_are_protocol_errors, |broker| {
    for first in [first_byte::CONNACK, first_byte::SUBACK, first_byte::UNSUBACK, first_byte::PINGRESP] {
        let bytes = match first {
            first_byte::PINGRESP => vec![first, 0],
            first_byte::CONNACK => packet(first, &[&[0, 0, 0]]),
            _ => packet(first, &[&[0, 1, 0, 0]]),
        };
        expect(broker, "a Server's packet", &bytes, EITHER);
    }
});

sharded!(mqtt5_2_1_3_1_reserved_flags_are_malformed, |broker| {
    for (first, body) in [
        (0x41, &[0, 1][..]),
        (0x52, &[0, 1]),
        (0x60, &[0, 1]),
        (0x66, &[0, 1]),
        (0x74, &[0, 1]),
        (0x80, &[0, 1, 0, 0, 1, b'a', 0]),
        (0x8A, &[0, 1, 0, 0, 1, b'a', 0]),
        (0xA0, &[0, 1, 0, 0, 1, b'a']),
        (0xA3, &[0, 1, 0, 0, 1, b'a']),
        (0xC1, &[]),
        (0xE1, &[]),
    ] {
        expect(broker, "reserved flags", &packet(first, &[body]), MALFORMED);
    }
});

sharded!(mqtt5_3_3_1_4_publish_with_qos_3_is_malformed, |broker| {
    expect(broker, "QoS 3", &packet(0x36, &[&string("t"), &[0, 1, 0], b"x"]), MALFORMED);
});

sharded!(mqtt5_2_2_1_3_packet_identifier_0_is_a_protocol_error, |broker| {
    expect(broker, "PUBLISH", &packet(0x32, &[&string("t"), &[0, 0, 0]]), EITHER);
    expect(broker, "SUBSCRIBE", &packet(0x82, &[&[0, 0, 0], &string("t"), &[0]]), EITHER);
    expect(broker, "UNSUBSCRIBE", &packet(0xA2, &[&[0, 0, 0], &string("t")]), EITHER);
    expect(broker, "PUBACK", &packet(0x40, &[&[0, 0]]), EITHER);
    expect(broker, "PUBREC", &packet(0x50, &[&[0, 0]]), EITHER);
    expect(broker, "PUBREL", &packet(0x62, &[&[0, 0]]), EITHER);
    expect(broker, "PUBCOMP", &packet(0x70, &[&[0, 0]]), EITHER);
});

sharded!(mqtt5_4_13_1_1_packets_cut_short_are_malformed, |broker| {
    let cases: [(&str, u8, &[u8]); 16] = [
        ("PUBLISH without topic", 0x30, &[]),
        ("PUBLISH with half a length", 0x30, &[0]),
        ("PUBLISH with half a topic", 0x30, &[0, 5, b'a']),
        ("PUBLISH without properties", 0x30, &[0, 1, b'a']),
        ("PUBLISH with half a Packet Identifier", 0x32, &[0, 1, b'a', 0]),
        ("PUBLISH with half a property", 0x30, &[0, 1, b'a', 2, 0x02, 0]),
        ("PUBLISH with properties longer than the packet", 0x30, &[0, 1, b'a', 9, 0x01, 0]),
        ("PUBACK without identifier", 0x40, &[]),
        ("PUBACK with half an identifier", 0x40, &[1]),
        ("PUBREL with properties cut short", 0x62, &[0, 1, 0, 5, 0x1F]),
        ("SUBSCRIBE without options", 0x82, &[0, 1, 0, 0, 1, b'a']),
        ("SUBSCRIBE with half a filter", 0x82, &[0, 1, 0, 0, 3, b'a']),
        ("SUBSCRIBE without properties", 0x82, &[0, 1]),
        ("UNSUBSCRIBE with half a filter", 0xA2, &[0, 1, 0, 0, 3, b'a']),
        ("DISCONNECT with properties cut short", 0xE0, &[0, 5, 0x11, 0]),
        ("DISCONNECT with a property length of five bytes", 0xE0, &[0, 0x80, 0x80, 0x80, 0x80, 1]),
    ];
    for (what, first, body) in cases {
        expect(broker, what, &packet(first, &[body]), EITHER);
    }
});

sharded!(mqtt5_4_13_1_1_packets_with_bytes_too_many_are_malformed, |broker| {
    let cases: [(&str, u8, &[u8]); 6] = [
        ("PINGREQ with a body", 0xC0, &[0]),
        ("PUBACK with bytes after the properties", 0x40, &[0, 1, 0, 0, 9]),
        ("PUBREC with bytes after the properties", 0x50, &[0, 1, 0, 0, 9]),
        ("PUBREL with bytes after the properties", 0x62, &[0, 1, 0, 0, 9]),
        ("DISCONNECT with bytes after the properties", 0xE0, &[0, 0, 1]),
        ("AUTH with bytes after the properties", 0xF0, &[0, 0, 1]),
    ];
    for (what, first, body) in cases {
        expect(broker, what, &packet(first, &[body]), EITHER);
    }
});

sharded!(mqtt5_section_2_2_2_2_properties_that_do_not_belong_are_malformed, |broker| {
    let cases: [(&str, u8, &[u8]); 9] = [
        ("unknown in PUBLISH", 0x30, &[0, 1, b't', 2, 0x7F, 0]),
        ("unknown, long identifier", 0x30, &[0, 1, b't', 3, 0x80, 0x01, 0]),
        ("Receive Maximum in PUBLISH", 0x30, &[0, 1, b't', 3, 0x21, 0, 9]),
        ("Reason String in PUBLISH", 0x30, &[0, 1, b't', 4, 0x1F, 0, 1, b'a']),
        ("Session Expiry in SUBSCRIBE", 0x82, &[0, 1, 5, 0x11, 0, 0, 0, 1, 0, 1, b't', 0]),
        ("Subscription Identifier in UNSUBSCRIBE", 0xA2, &[0, 1, 2, 0x0B, 1, 0, 1, b't']),
        ("Topic Alias in PUBACK", 0x40, &[0, 1, 0, 3, 0x23, 0, 1]),
        ("Will Delay in DISCONNECT", 0xE0, &[0, 5, 0x18, 0, 0, 0, 1]),
        ("Payload Format Indicator of 2", 0x30, &[0, 1, b't', 2, 0x01, 2]),
    ];
    for (what, first, body) in cases {
        expect(broker, what, &packet(first, &[body]), EITHER);
    }
});

sharded!(mqtt5_section_3_14_2_1_reason_codes_of_a_server_in_disconnect_are_errors, |broker| {
    for reason in [0x03, 0x8E, 0x9F, 0xFF] {
        expect(broker, "reason", &packet(0xE0, &[&[reason]]), EITHER);
    }
});

sharded!(mqtt5_section_3_4_2_1_unknown_reason_codes_in_acknowledgements_are_errors, |broker| {
    for (first, reason) in [(0x40, 0x05), (0x50, 0x92), (0x62, 0x10), (0x70, 0x80)] {
        expect(broker, "reason", &packet(first, &[&[0, 1, reason]]), EITHER);
    }
});

sharded!(mqtt5_1_5_4_2_strings_with_u_0000_are_malformed, |broker| {
    for text in [&b"a\0b"[..], b"\0"] {
        expect_string_refused(broker, text);
    }
});

sharded!(mqtt5_1_5_4_1_strings_with_surrogates_or_broken_utf8_are_malformed, |broker| {
    for text in [
        &b"\xED\xA0\x80"[..],
        b"\xED\xBF\xBF",
        b"a\xC3",
        b"\xC0\xAF",
        b"\xE0\x80\x80",
        b"\xF4\x90\x80\x80",
        b"\xFF",
        b"\x80",
    ] {
        expect_string_refused(broker, text);
    }
});

/// `text` as Topic Name, Topic Filter, User Property and Content Type.
fn expect_string_refused(broker: &Broker, text: &[u8]) {
    let reasons = &[0x81, 0x82, 0x8F, 0x90];
    let user = [&[0x26][..], &binary(text), &string("v")].concat();
    let content_type = [&[0x03][..], &binary(text)].concat();
    expect(broker, "topic", &packet(0x30, &[&binary(text), &[0]]), reasons);
    expect(broker, "filter", &packet(0x82, &[&[0, 1, 0], &binary(text), &[0]]), reasons);
    expect(broker, "unsubscribe", &packet(0xA2, &[&[0, 1, 0], &binary(text)]), reasons);
    for property in [user, content_type] {
        let body = [&string("t")[..], &[property.len() as u8], &property].concat();
        expect(broker, "property", &packet(0x30, &[&body]), MALFORMED);
    }
}

sharded!(mqtt5_1_5_4_3_a_byte_order_mark_is_kept, |broker| {
    let mut client = broker.connect(Connect::v5("c"));
    let topic = "\u{FEFF}t/\u{FEFF}";
    client.subscribe(topic, 0);
    client.publish(Publish::new("t/", "without"));
    client.publish(Publish::new(topic, "with"));
    client.expect_message(topic, "with");
});

sharded!(mqtt5_section_1_5_4_all_planes_of_unicode_are_good_topics, |broker| {
    let mut client = broker.connect(Connect::v5("百万-\u{1F680}"));
    client.subscribe("#", 1);
    for topic in ["百万/万", "\u{1F680}", "\u{10FFFD}", "é/ß"] {
        client.publish(Publish::new(topic, topic).qos(1));
        client.expect_message(topic, topic);
    }
});

sharded!(mqtt5_3_3_2_2_publish_to_a_topic_with_wildcards_is_refused, |broker| {
    for topic in ["a/#", "+", "a/+/b", "#"] {
        expect(broker, "wildcard", &packet(0x30, &[&string(topic), &[0]]), &[0x81, 0x82, 0x90]);
    }
});

sharded!(mqtt5_4_13_2_1_a_stream_of_garbage_ends_only_its_own_connection, |broker| {
    let mut others: Vec<_> =
        (0..10).map(|number| broker.connect(Connect::v5(&format!("o-{number}")))).collect();
    let mut state = 12_345_u32;
    for _ in 0..50 {
        let mut client = broker.open(crate::wire::Version::V50);
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(300)
        .collect();
        client.send_bytes_or_closed(&bytes);
        drop(client);
    }
    others.iter_mut().for_each(Client::ping);
});
