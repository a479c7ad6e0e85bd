//! The receive path: splits bytes into Control Packets and reads of a PUBLISH only what is measured.
//!
//! `myriad::packet` decodes whole packets; here a few loads a message must do, without allocation and without
//! touching the payload beyond its header. Everything else that arrives goes to the full decoder (`wire`).

use crate::wire::{PAYLOAD_HEADER_LEN, PacketType, ProtocolVersion};

/// CONNACK.
pub(crate) const CONNACK: u8 = PacketType::ConnAck as u8;
/// PUBLISH.
pub(crate) const PUBLISH: u8 = PacketType::Publish as u8;
/// PUBACK.
pub(crate) const PUBACK: u8 = PacketType::PubAck as u8;
/// PUBREC.
pub(crate) const PUBREC: u8 = PacketType::PubRec as u8;
/// PUBREL.
pub(crate) const PUBREL: u8 = PacketType::PubRel as u8;
/// PUBCOMP.
pub(crate) const PUBCOMP: u8 = PacketType::PubComp as u8;
/// SUBACK.
pub(crate) const SUBACK: u8 = PacketType::SubAck as u8;
/// PINGRESP.
pub(crate) const PINGRESP: u8 = PacketType::PingResp as u8;
/// DISCONNECT.
pub(crate) const DISCONNECT: u8 = PacketType::Disconnect as u8;

/// One Control Packet on the wire. Of a PUBLISH with a large payload the end may be cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// The first byte: type and flags.
    pub(crate) first: u8,
    /// What follows the Remaining Length.
    pub(crate) body: &'a [u8],
    /// All of it, for the full decoder.
    pub(crate) packet: &'a [u8],
}

impl Frame<'_> {
    /// The Control Packet type.
    #[inline]
    pub(crate) fn kind(&self) -> u8 {
        self.first >> 4
    }

    /// The Packet Identifier of a packet whose variable header starts with it; 0 where it is missing.
    #[inline]
    pub(crate) fn packet_id(&self) -> u16 {
        read_u16(self.body, 0).unwrap_or(0)
    }

    /// The Reason Code of PUBACK, PUBREC, PUBREL and PUBCOMP: 0 where it is left out and in 3.x.
    #[inline]
    pub(crate) fn reason_code(&self) -> u8 {
        self.body.get(2).copied().unwrap_or(0)
    }
}

/// What the front of the received bytes is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Split<'a> {
    /// A whole packet and the bytes that it took.
    Frame(Frame<'a>, usize),
    /// The start of a packet; its length in all, if that is known already.
    Incomplete(Option<usize>),
    /// No MQTT: the Remaining Length has more than four bytes.
    Malformed,
}

/// Splits the first packet off `data`.
#[inline]
pub(crate) fn split(data: &[u8]) -> Split<'_> {
    let (Some(&first), Some(rest)) = (data.first(), data.get(1..)) else { return Split::Incomplete(None) };
    match variable_integer(rest) {
        VariableInteger::Value(len, used) => {
            let end = 1 + used + len;
            match (data.get(1 + used..end), data.get(..end)) {
                (Some(body), Some(packet)) => Split::Frame(Frame { first, body, packet }, end),
                _ => Split::Incomplete(Some(end)),
            }
        }
        VariableInteger::Incomplete => Split::Incomplete(None),
        VariableInteger::Malformed => Split::Malformed,
    }
}

enum VariableInteger {
    Value(usize, usize),
    Incomplete,
    Malformed,
}

#[inline]
fn variable_integer(data: &[u8]) -> VariableInteger {
    let mut value = 0;
    for (i, byte) in data.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return VariableInteger::Value(value, i + 1);
        }
    }
    if data.len() < 4 { VariableInteger::Incomplete } else { VariableInteger::Malformed }
}

/// What is measured of an incoming PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Publish {
    pub(crate) qos: u8,
    /// 0 at QoS 0.
    pub(crate) packet_id: u16,
    /// Our header of the payload: when the message was due, who sent it, its number there.
    pub(crate) header: Option<PayloadHeader>,
}

/// The first 16 bytes of each payload that this program sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PayloadHeader {
    pub(crate) stamp_ns: u64,
    pub(crate) publisher: u32,
    pub(crate) sequence: u32,
}

/// Reads a PUBLISH; `None` if it is cut short before its payload.
#[inline]
pub(crate) fn publish(version: ProtocolVersion, frame: &Frame<'_>) -> Option<Publish> {
    let (packet_id, payload_at) = publish_layout(version, frame)?;
    let header = payload_header(frame.body.get(payload_at..)?);
    Some(Publish { qos: (frame.first >> 1) & 3, packet_id, header })
}

/// The Packet Identifier, 0 at QoS 0, and where in the body the payload starts.
#[inline]
fn publish_layout(version: ProtocolVersion, frame: &Frame<'_>) -> Option<(u16, usize)> {
    let body = frame.body;
    let mut at = 2 + usize::from(read_u16(body, 0)?);
    let mut packet_id = 0;
    if (frame.first >> 1) & 3 > 0 {
        packet_id = read_u16(body, at)?;
        at += 2;
    }
    if version == ProtocolVersion::V5 {
        let VariableInteger::Value(len, used) = variable_integer(body.get(at..)?) else { return None };
        at += used + len;
    }
    Some((packet_id, at))
}

#[inline]
fn payload_header(payload: &[u8]) -> Option<PayloadHeader> {
    let header: &[u8; PAYLOAD_HEADER_LEN] = payload.first_chunk()?;
    Some(PayloadHeader {
        stamp_ns: u64::from_le_bytes(*header.first_chunk()?),
        publisher: u32::from_le_bytes(*header.get(8..)?.first_chunk()?),
        sequence: u32::from_le_bytes(*header.get(12..)?.first_chunk()?),
    })
}

impl PayloadHeader {
    /// The header as it is sent.
    #[inline]
    pub(crate) fn to_bytes(self) -> [u8; PAYLOAD_HEADER_LEN] {
        let fields =
            u128::from(self.stamp_ns) | u128::from(self.publisher) << 64 | u128::from(self.sequence) << 96;
        fields.to_le_bytes()
    }
}

/// Bytes at the front of an incomplete PUBLISH that must be kept so that it can be handled when its last byte
/// arrives. `None` if it is another packet, or if those bytes are not all there yet.
pub(crate) fn publish_head_len(version: ProtocolVersion, data: &[u8]) -> Option<usize> {
    let frame = head(data)?;
    if frame.kind() != PUBLISH {
        return None;
    }
    let (_, payload_at) = publish_layout(version, &frame)?;
    let head_len = data.len() - frame.body.len() + payload_at + PAYLOAD_HEADER_LEN;
    (head_len <= data.len()).then_some(head_len)
}

/// A packet with as much of its body as there is.
pub(crate) fn head(packet: &[u8]) -> Option<Frame<'_>> {
    let VariableInteger::Value(_, used) = variable_integer(packet.get(1..)?) else { return None };
    Some(Frame { first: *packet.first()?, body: packet.get(1 + used..)?, packet })
}

#[inline]
fn read_u16(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..)?.first_chunk().map(|b| u16::from_be_bytes(*b))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::PublishTemplate;

    const VERSIONS: [ProtocolVersion; 3] = [ProtocolVersion::V31, ProtocolVersion::V311, ProtocolVersion::V5];

    fn message(version: ProtocolVersion, qos: u8, payload_len: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let header = PayloadHeader { stamp_ns: u64::MAX - 1, publisher: 7, sequence: 9 };
        PublishTemplate::new(version, "a/b", qos, payload_len, 3).unwrap().write(&mut bytes, 0x1234, header);
        bytes
    }

    #[test]
    fn what_a_template_writes_is_read_back() {
        for version in VERSIONS {
            for qos in 0..3 {
                let bytes = message(version, qos, 300);
                let Split::Frame(frame, used) = split(&bytes) else { panic!("no frame") };
                assert_eq!((used, frame.kind()), (bytes.len(), PUBLISH));
                let read = publish(version, &frame).unwrap();
                assert_eq!(read.qos, qos);
                assert_eq!(read.packet_id, if qos == 0 { 0 } else { 0x1234 });
                let header = PayloadHeader { stamp_ns: u64::MAX - 1, publisher: 7, sequence: 9 };
                assert_eq!(read.header, Some(header));
            }
        }
    }

    #[test]
    fn every_cut_of_a_packet_is_incomplete() {
        for version in VERSIONS {
            let bytes = message(version, 1, 300);
            for end in 0..bytes.len() {
                match split(&bytes[..end]) {
                    Split::Incomplete(None) => assert!(end < 3),
                    Split::Incomplete(Some(len)) => assert_eq!(len, bytes.len()),
                    other => panic!("{end}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn the_head_of_a_large_publish_is_enough_to_handle_it() {
        for version in VERSIONS {
            let bytes = message(version, 2, 100_000);
            let head_len = publish_head_len(version, &bytes[..1_000]).unwrap();
            assert_eq!(head_len, bytes.len() - 100_000 + PAYLOAD_HEADER_LEN);
            assert_eq!(publish_head_len(version, &bytes[..head_len - 1]), None);
            let read = publish(version, &head(&bytes[..head_len]).unwrap()).unwrap();
            assert_eq!(read.header.unwrap().sequence, 9);
        }
    }

    #[test]
    fn a_fifth_length_byte_is_malformed() {
        assert_eq!(split(&[0x30, 0x80, 0x80, 0x80, 0x80]), Split::Malformed);
        assert_eq!(split(&[0x30, 0xff, 0xff, 0xff]), Split::Incomplete(None));
    }

    #[test]
    fn payloads_of_others_have_no_header() {
        let frame = head(b"0\x08\0\x01ahello").unwrap();
        assert_eq!(
            publish(ProtocolVersion::V311, &frame),
            Some(Publish { qos: 0, packet_id: 0, header: None })
        );
        assert_eq!(publish(ProtocolVersion::V311, &head(b"0\x03\0\x05a").unwrap()), None);
    }

    #[test]
    fn acknowledgements_have_an_identifier_and_a_reason() {
        let frame = head(&[0x40, 2, 1, 2]).unwrap();
        assert_eq!((frame.packet_id(), frame.reason_code()), (0x0102, 0));
        let frame = head(&[0x40, 4, 1, 2, 0x97, 0]).unwrap();
        assert_eq!((frame.packet_id(), frame.reason_code()), (0x0102, 0x97));
        assert_eq!(head(&[0xd0, 0]).unwrap().packet_id(), 0);
    }
}
