//! PUBLISH (MQTT 5.0 section 3.3): the packet of the data path. Reading one of 3.x or without properties
//! allocates nothing; writing one computes its lengths first and appends once.

use std::num::NonZeroU16;

use super::fixed_header::{PACKET_BYTES_MAX, REMAINING_LENGTH_MAX, publish_qos};
use super::forwarded::ForwardedSpan;
use super::properties::{Property, PropertyCarrier, PropertyReader, next_checked};
use super::reader::{Reader, any_byte};
use super::writer::{
    put_string, put_u16, put_u16_property, put_u32_property, put_varint, string_len, varint_len,
};
use super::{Error, Forwarded, PacketId, PacketType, PropertyId, ProtocolVersion, QoS, Side};
use crate::topic::TopicError;

/// A PUBLISH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish<'a> {
    /// This may be a repetition.
    pub dup: bool,
    /// Quality of Service.
    pub qos: QoS,
    /// RETAIN.
    pub retain: bool,
    /// The Topic Name, without wildcards; empty only in 5.0 with a Topic Alias.
    pub topic: &'a str,
    /// The Packet Identifier; there exactly if QoS is above 0.
    pub packet_id: Option<PacketId>,
    /// The payload.
    pub payload: &'a [u8],
    /// Topic Alias; at most the receiver's Topic Alias Maximum is for the connection to check.
    pub topic_alias: Option<NonZeroU16>,
    /// Message Expiry Interval in seconds.
    pub expiry_s: Option<u32>,
    /// Subscription Identifiers; none from a client.
    pub subscription_ids: SubscriptionIds<'a>,
    /// The properties that travel unaltered.
    pub forwarded: Forwarded<'a>,
}

/// The Subscription Identifiers of a PUBLISH from a server, in order.
#[derive(Clone, Copy, Default)]
pub struct SubscriptionIds<'a> {
    /// Properties that were checked; may hold others as well.
    block: &'a [u8],
}

impl SubscriptionIds<'_> {
    /// The identifiers, each 1 to 268,435,455.
    pub fn iter(&self) -> impl Iterator<Item = u32> + Clone + '_ {
        let mut reader = Reader::new(self.block);
        std::iter::from_fn(move || next_checked(&mut reader)).filter_map(|property| match property {
            Property::SubscriptionIdentifier(id) => Some(id),
            _ => None,
        })
    }
}

impl PartialEq for SubscriptionIds<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for SubscriptionIds<'_> {}

impl std::fmt::Debug for SubscriptionIds<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Reads what follows the fixed header with those `flags`.
#[inline]
pub(super) fn decode<'a>(
    version: ProtocolVersion,
    side: Side,
    flags: u8,
    mut body: Reader<'a>,
) -> Result<Publish<'a>, Error> {
    let qos = publish_qos(flags)?;
    let dup = flags & 0b1000 != 0;
    // 3.1 says nothing of DUP with QoS 0: it means nothing there.
    if dup && qos == QoS::AtMostOnce && version != ProtocolVersion::V31 {
        return Err(Error::DupWithQos0);
    }
    let topic = topic_name(&mut body)?;
    let packet_id = match qos {
        QoS::AtMostOnce => None,
        QoS::AtLeastOnce | QoS::ExactlyOnce => Some(body.packet_id(PacketType::Publish)?),
    };
    let mut publish = Publish {
        dup: dup && qos != QoS::AtMostOnce,
        qos,
        retain: flags & 1 != 0,
        topic,
        packet_id,
        payload: &[],
        topic_alias: None,
        expiry_s: None,
        subscription_ids: SubscriptionIds::default(),
        forwarded: Forwarded::EMPTY,
    };
    if version.is_v5() {
        let block = body.properties()?;
        if !block.is_empty() {
            properties(&mut publish, side, block)?;
        }
    }
    if topic.is_empty() && publish.topic_alias.is_none() {
        let reason = TopicError::Empty;
        return Err(if version.is_v5() { Error::TopicMissing } else { Error::TopicName { reason } });
    }
    publish.payload = body.rest();
    Ok(publish)
}

/// Reads a Topic Name: one pass for well-formed UTF-8, one for U+0000 and wildcards ([MQTT-3.3.2-2]).
#[inline]
fn topic_name<'a>(body: &mut Reader<'a>) -> Result<&'a str, Error> {
    const FIELD: &str = "Topic Name";
    let bytes = body.binary(FIELD)?;
    let topic = std::str::from_utf8(bytes).map_err(|_| Error::Utf8 { field: FIELD })?;
    if !any_byte(bytes, |byte| (byte == 0) | (byte == b'+') | (byte == b'#')) {
        return Ok(topic);
    }
    Err(match topic.chars().find(|c| matches!(c, '+' | '#')) {
        Some(found) if !bytes.contains(&0) => {
            Error::TopicName { reason: TopicError::WildcardInName { found } }
        }
        _ => Error::Nul { field: FIELD },
    })
}

fn properties<'a>(publish: &mut Publish<'a>, side: Side, block: Reader<'a>) -> Result<(), Error> {
    let carrier = PropertyCarrier::Publish;
    let mut reader = PropertyReader::new(block, carrier);
    let mut span = ForwardedSpan::new(block.peek());
    loop {
        let before = reader.remaining();
        let Some(property) = reader.next()? else { break };
        span.note(&property, before, reader.remaining());
        match property {
            Property::MessageExpiryInterval(seconds) => publish.expiry_s = Some(seconds),
            Property::TopicAlias(alias) => publish.topic_alias = Some(alias),
            Property::SubscriptionIdentifier(_) => {
                // [MQTT-3.3.4-6]
                if side == Side::FromClient {
                    let property = PropertyId::SubscriptionIdentifier;
                    return Err(Error::PropertyFromWrongSide { carrier, property, side });
                }
                publish.subscription_ids = SubscriptionIds { block: block.peek() };
            }
            _ => {}
        }
    }
    publish.forwarded = span.finish();
    Ok(())
}

impl Publish<'_> {
    /// Checks that the payload is the UTF-8 text that Payload Format Indicator says it is (section
    /// 3.3.2.3.2).
    ///
    /// # Errors
    /// [`Error::PayloadFormat`].
    pub fn check_payload_format(&self) -> Result<(), Error> {
        if self.forwarded.is_empty() || !self.forwarded.payload_is_utf8() {
            return Ok(());
        }
        std::str::from_utf8(self.payload).map(|_| ()).map_err(|_| Error::PayloadFormat)
    }

    /// Appends the whole packet, payload included.
    ///
    /// # Errors
    /// Those of [`encode_publish_head`].
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), Error> {
        let mut forwarded = Vec::with_capacity(self.forwarded.len());
        self.forwarded.write(&mut forwarded);
        let subscription_ids: Vec<u32> = self.subscription_ids.iter().collect();
        let head = PublishHead {
            version,
            dup: self.dup,
            qos: self.qos,
            retain: self.retain,
            topic: self.topic,
            packet_id: self.packet_id,
            expiry_s: self.expiry_s,
            topic_alias: self.topic_alias,
            subscription_ids: &subscription_ids,
            forwarded: &forwarded,
            payload_len: self.payload.len(),
        };
        encode_publish_head(&head, out)?;
        out.extend_from_slice(self.payload);
        Ok(())
    }
}

/// All of a PUBLISH that stands before its payload.
#[derive(Debug, Clone, Copy)]
pub struct PublishHead<'a> {
    /// The receiver's version; before 5.0 there are no properties.
    pub version: ProtocolVersion,
    /// This may be a repetition; left out with QoS 0.
    pub dup: bool,
    /// Quality of Service.
    pub qos: QoS,
    /// RETAIN.
    pub retain: bool,
    /// The Topic Name; empty when the receiver knows the Topic Alias.
    pub topic: &'a str,
    /// The Packet Identifier; there exactly if QoS is above 0.
    pub packet_id: Option<PacketId>,
    /// Message Expiry Interval in seconds, what is left of it.
    pub expiry_s: Option<u32>,
    /// Topic Alias.
    pub topic_alias: Option<NonZeroU16>,
    /// Subscription Identifiers, each 1 to 268,435,455.
    pub subscription_ids: &'a [u32],
    /// Encoded properties, see [`Forwarded`].
    pub forwarded: &'a [u8],
    /// Bytes of the payload that follows.
    pub payload_len: usize,
}

impl PublishHead<'_> {
    fn properties_len(&self) -> usize {
        let ids: usize = self.subscription_ids.iter().map(|id| 1 + varint_len(*id as usize)).sum();
        usize::from(self.expiry_s.is_some()) * 5
            + usize::from(self.topic_alias.is_some()) * 3
            + ids
            + self.forwarded.len()
    }

    /// Remaining Length, and the bytes of the properties without their length.
    fn lengths(&self) -> (usize, usize) {
        let before_properties = 2 + string_len(self.topic) + usize::from(self.packet_id.is_some()) * 2;
        if self.version.is_v5() {
            let properties = self.properties_len();
            let body = before_properties + varint_len(properties) + properties;
            (body.saturating_add(self.payload_len), properties)
        } else {
            (before_properties.saturating_add(self.payload_len), 0)
        }
    }
}

/// Bytes of the whole packet that begins with `head`, its payload included: what a Maximum Packet Size
/// limits. More than [`PACKET_BYTES_MAX`] for a packet that can't be encoded.
pub fn publish_len(head: &PublishHead<'_>) -> usize {
    let (remaining, _) = head.lengths();
    remaining.saturating_add(1 + varint_len(remaining))
}

/// Appends the packet up to its payload; the caller appends `payload_len` bytes after it.
///
/// # Errors
/// [`Error::PacketTooLarge`] if no Remaining Length expresses it; nothing is appended then.
pub fn encode_publish_head(head: &PublishHead<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    let (remaining, properties) = head.lengths();
    if remaining > REMAINING_LENGTH_MAX as usize {
        return Err(Error::PacketTooLarge { found: publish_len(head) as u64, max: PACKET_BYTES_MAX });
    }
    let dup = head.dup && head.qos != QoS::AtMostOnce;
    out.reserve(remaining.saturating_sub(head.payload_len).saturating_add(5));
    out.push(
        PacketType::Publish.first_byte()
            | u8::from(dup) << 3
            | u8::from(head.qos) << 1
            | u8::from(head.retain),
    );
    put_varint(out, remaining);
    put_string(out, head.topic);
    if let Some(id) = head.packet_id {
        put_u16(out, id.value());
    }
    if head.version.is_v5() {
        put_varint(out, properties);
        put_u32_property(out, PropertyId::MessageExpiryInterval, head.expiry_s);
        put_u16_property(out, PropertyId::TopicAlias, head.topic_alias.map(NonZeroU16::get));
        for id in head.subscription_ids {
            out.push(PropertyId::SubscriptionIdentifier as u8);
            put_varint(out, *id as usize);
        }
        out.extend_from_slice(head.forwarded);
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::packet::tests::Random;
    use crate::packet::{ErrorKind, Packet, ReasonCode, decode};

    use ProtocolVersion::{V5, V31, V311};

    fn read(version: ProtocolVersion, bytes: &[u8]) -> Result<Publish<'_>, Error> {
        match decode(version, bytes, Side::FromClient)? {
            Packet::Publish(publish) => Ok(publish),
            other => panic!("{other:?}"),
        }
    }

    /// A PUBLISH of 5.0 with QoS 0, topic `a`, those properties and that payload.
    fn with_properties(properties: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        crate::packet::writer::packet(&mut out, 0x30, |out| {
            put_string(out, "a");
            put_varint(out, properties.len());
            out.extend_from_slice(properties);
            out.extend_from_slice(payload);
        });
        out
    }

    #[test]
    fn mqtt_3_3_1_2_dup_is_zero_with_qos_0() {
        for version in [V311, V5] {
            assert_eq!(read(version, b"\x38\x04\0\x01a\0"), Err(Error::DupWithQos0));
        }
        assert_eq!(read(V31, b"\x38\x04\0\x01a\0").map(|publish| publish.dup), Ok(false));
        let mut out = Vec::new();
        let publish = Publish { dup: true, ..read(V311, b"\x30\x03\0\x01a").unwrap() };
        publish.encode(V311, &mut out).unwrap();
        assert_eq!(out, b"\x30\x03\0\x01a");
    }

    #[test]
    fn mqtt_3_3_1_4_qos_3_is_malformed() {
        let found = read(V5, b"\x36\x06\0\x01a\0\x01\0").unwrap_err();
        assert_eq!(found, Error::Qos3 { field: "QoS of PUBLISH" });
        assert_eq!((found.kind(), found.reason_code()), (ErrorKind::Malformed, ReasonCode::MalformedPacket));
    }

    #[test]
    fn mqtt_3_3_2_1_the_topic_name_is_utf_8() {
        assert_eq!(read(V311, b"\x30\x03\0\x01\xff"), Err(Error::Utf8 { field: "Topic Name" }));
        assert_eq!(read(V311, b"\x30\x03\0\x01\0"), Err(Error::Nul { field: "Topic Name" }));
        assert_eq!(read(V311, b"\x30\x04\0\x05ab"), Err(Error::Truncated { field: "Topic Name" }));
        assert_eq!(read(V311, b"\x30\x05\0\x03\xef\xbb\xbf").map(|publish| publish.topic), Ok("\u{feff}"));
    }

    #[test]
    fn mqtt_3_3_2_2_the_topic_name_has_no_wildcards() {
        for (topic, found) in [("a/+", '+'), ("#", '#'), ("a+b", '+')] {
            let mut bytes = vec![0x30, 2 + topic.len() as u8];
            put_string(&mut bytes, topic);
            let error = read(V311, &bytes).unwrap_err();
            assert_eq!(error, Error::TopicName { reason: TopicError::WildcardInName { found } });
            assert_eq!(error.reason_code(), ReasonCode::TopicNameInvalid);
        }
    }

    #[test]
    fn an_empty_topic_name_needs_a_topic_alias() {
        let reason = TopicError::Empty;
        assert_eq!(read(V311, b"\x30\x02\0\0"), Err(Error::TopicName { reason }));
        assert_eq!(read(V31, b"\x30\x02\0\0"), Err(Error::TopicName { reason }));
        let found = read(V5, b"\x30\x03\0\0\0").unwrap_err();
        assert_eq!((found.clone(), found.reason_code()), (Error::TopicMissing, ReasonCode::ProtocolError));
        let publish = read(V5, b"\x30\x06\0\0\x03\x23\0\x07").unwrap();
        assert_eq!((publish.topic, publish.topic_alias), ("", NonZeroU16::new(7)));
    }

    #[test]
    fn mqtt_3_3_2_8_a_topic_alias_is_not_zero() {
        let bytes = with_properties(&[0x23, 0, 0], b"");
        let found = read(V5, &bytes).unwrap_err();
        assert_eq!(
            (found.clone(), found.reason_code()),
            (Error::TopicAliasZero, ReasonCode::TopicAliasInvalid)
        );
    }

    #[test]
    fn mqtt_3_3_4_6_a_client_sends_no_subscription_identifier() {
        let bytes = with_properties(&[0x0B, 1], b"");
        let found = read(V5, &bytes).unwrap_err();
        assert!(matches!(found, Error::PropertyFromWrongSide { .. }));
        assert_eq!(found.reason_code(), ReasonCode::ProtocolError);
        assert!(decode(V5, &bytes, Side::FromServer).is_ok());
        let zero = with_properties(&[0x0B, 0], b"");
        assert!(matches!(decode(V5, &zero, Side::FromServer), Err(Error::PropertyValue { .. })));
    }

    #[test]
    fn payload_format_indicator_is_checked_when_asked() {
        let text = with_properties(&[0x01, 1], "ä\0".as_bytes());
        assert_eq!(read(V5, &text).unwrap().check_payload_format(), Ok(()));
        let bytes = with_properties(&[0x01, 1], &[0xFF]);
        let found = read(V5, &bytes).unwrap().check_payload_format().unwrap_err();
        assert_eq!(found.reason_code(), ReasonCode::PayloadFormatInvalid);
        let unspecified = with_properties(&[0x01, 0], &[0xFF]);
        assert_eq!(read(V5, &unspecified).unwrap().check_payload_format(), Ok(()));
        let neither = with_properties(&[0x01, 2], &[]);
        assert!(matches!(read(V5, &neither), Err(Error::PropertyValue { found: 2, .. })));
    }

    #[test]
    fn mqtt_3_3_2_17_user_properties_travel_in_order_without_the_others() {
        let key = |name: &[u8]| [&[0x26, 0, 1], name, &[0, 0]].concat();
        let (a, b) = (key(b"a"), key(b"b"));
        let expiry = [0x02, 0, 0, 0, 9];
        let alias = [0x23, 0, 3];
        let inside = with_properties(&[&b[..], &expiry, &a, &alias, &b].concat(), b"x");
        let publish = read(V5, &inside).unwrap();
        assert_eq!((publish.expiry_s, publish.topic_alias), (Some(9), NonZeroU16::new(3)));
        assert_eq!(publish.forwarded.as_slice(), None);
        assert_eq!(publish.forwarded.len(), 18);
        let mut out = Vec::new();
        publish.forwarded.write(&mut out);
        assert_eq!(out, [&b[..], &a, &b].concat());

        let around = with_properties(&[&expiry[..], &b, &a, &alias].concat(), b"x");
        let publish = read(V5, &around).unwrap();
        assert_eq!(publish.forwarded.as_slice(), Some(&[&b[..], &a].concat()[..]), "no copy is needed");
        assert_eq!(publish.payload, b"x");
    }

    #[test]
    fn lengths_are_known_before_anything_is_written() {
        let mut random = Random::new(1);
        let forwarded = [0x26, 0, 1, b'k', 0, 1, b'v'];
        let topic = "t".repeat(300);
        for _ in 0..4_000 {
            let qos = QoS::from_bits(random.below(3) as u8).unwrap();
            let ids: Vec<u32> = (0..random.below(4)).map(|_| 1 + random.below(1 << 27) as u32).collect();
            let head = PublishHead {
                version: [V31, V311, V5][random.below(3)],
                dup: random.below(2) == 1,
                qos,
                retain: random.below(2) == 1,
                topic: &topic[..1 + random.below(299)],
                packet_id: PacketId::new(9).filter(|_| qos != QoS::AtMostOnce),
                expiry_s: Some(7).filter(|_| random.below(2) == 1),
                topic_alias: NonZeroU16::new(random.below(3) as u16),
                subscription_ids: &ids,
                forwarded: &forwarded[..7 * random.below(2)],
                payload_len: random.below(40_000),
            };
            let mut out = Vec::new();
            encode_publish_head(&head, &mut out).unwrap();
            out.resize(out.len() + head.payload_len, 0);
            assert_eq!(out.len(), publish_len(&head));
            let Ok(Packet::Publish(publish)) = decode(head.version, &out, Side::FromServer) else {
                panic!("{head:?}");
            };
            assert_eq!((publish.topic, publish.qos, publish.retain), (head.topic, head.qos, head.retain));
            assert_eq!((publish.packet_id, publish.payload.len()), (head.packet_id, head.payload_len));
            if head.version.is_v5() {
                assert!(publish.subscription_ids.iter().eq(ids.iter().copied()));
                assert_eq!((publish.expiry_s, publish.topic_alias), (head.expiry_s, head.topic_alias));
                assert_eq!(publish.forwarded.len(), head.forwarded.len());
            }
        }
    }

    #[test]
    fn what_no_remaining_length_expresses_is_not_written() {
        let head = PublishHead {
            version: V311,
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic: "t",
            packet_id: None,
            expiry_s: None,
            topic_alias: None,
            subscription_ids: &[],
            forwarded: &[],
            payload_len: REMAINING_LENGTH_MAX as usize - 3,
        };
        let mut out = Vec::new();
        assert_eq!(encode_publish_head(&head, &mut out), Ok(()));
        assert_eq!(out, b"\x30\xff\xff\xff\x7f\0\x01t");
        assert_eq!(publish_len(&head), PACKET_BYTES_MAX as usize);
        out.clear();
        for payload_len in [head.payload_len + 1, usize::MAX] {
            let found = encode_publish_head(&PublishHead { payload_len, ..head }, &mut out);
            assert!(matches!(found, Err(Error::PacketTooLarge { .. })) && out.is_empty());
        }
    }
}
