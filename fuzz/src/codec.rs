//! Any bytes are refused or read, and what is read is written and read again as the same packet.

use myriad::packet::{
    Frame, PACKET_BYTES_MAX, Packet, ProtocolVersion, PublishHead, Side, connect, decode, frame, publish_len,
};

/// Bit 0 of the first byte: the bytes come from a server.
const FROM_SERVER: u8 = 1;
/// Bit 1 of the first byte: one packet without its Remaining Length follows, so that mutations of the body
/// need not keep it right. Otherwise a stream of packets.
const BODY_ONLY: u8 = 2;

/// Checks `data` as what the other side of a connection of `version` sends.
pub fn check(version: ProtocolVersion, data: &[u8]) {
    let Some((&mode, bytes)) = data.split_first() else {
        return;
    };
    let side = if mode & FROM_SERVER == 0 { Side::FromClient } else { Side::FromServer };
    if mode & BODY_ONLY == 0 {
        return check_stream(version, side, bytes);
    }
    if let Some((first, body)) = bytes.split_first() {
        check_packet(version, side, &with_length(*first, body));
    }
}

/// A packet of that first byte and body, with the Remaining Length between.
fn with_length(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut rest = body.len();
    while rest > 0x7F {
        packet.push((rest & 0x7F) as u8 | 0x80);
        rest >>= 7;
    }
    packet.push(rest as u8);
    packet.extend_from_slice(body);
    packet
}

fn check_stream(version: ProtocolVersion, side: Side, mut bytes: &[u8]) {
    while let Ok(Frame::Complete { header_len, body_len }) = frame(bytes, PACKET_BYTES_MAX) {
        let (packet, rest) = bytes.split_at(header_len + body_len);
        assert_eq!(frame(&packet[..packet.len() - 1], PACKET_BYTES_MAX), Ok(Frame::Incomplete));
        check_packet(version, side, packet);
        bytes = rest;
    }
}

fn check_packet(version: ProtocolVersion, side: Side, bytes: &[u8]) {
    let packet = match decode(version, bytes, side) {
        Ok(packet) => packet,
        Err(error) => {
            assert!(error.reason_code().is_failure(), "{error}");
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let mut out = Vec::new();
    packet.encode(version, &mut out).expect("what was read can be written");
    assert!(matches!(frame(&out, PACKET_BYTES_MAX), Ok(Frame::Complete { .. })), "{packet:?}");
    let again = decode(version, &out, side).expect("what was written can be read");
    assert_eq!(packet, again);
    let mut twice = Vec::new();
    again.encode(version, &mut twice).expect("what was written can be written");
    assert_eq!(out, twice, "the second writing changes nothing");
    match &packet {
        Packet::Publish(publish) => {
            let _ = publish.check_payload_format();
            let mut forwarded = Vec::new();
            publish.forwarded.write(&mut forwarded);
            assert_eq!(forwarded.len(), publish.forwarded.len());
            let subscription_ids: Vec<u32> = publish.subscription_ids.iter().collect();
            let head = PublishHead {
                version,
                dup: publish.dup,
                qos: publish.qos,
                retain: publish.retain,
                topic: publish.topic,
                packet_id: publish.packet_id,
                expiry_s: publish.expiry_s,
                topic_alias: publish.topic_alias,
                subscription_ids: &subscription_ids,
                forwarded: &forwarded,
                payload_len: publish.payload.len(),
            };
            assert_eq!(publish_len(&head), out.len());
        }
        Packet::Connect(read) => {
            assert_eq!(connect::version(bytes), Ok(read.version));
        }
        _ => {}
    }
}
