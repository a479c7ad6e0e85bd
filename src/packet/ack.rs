//! PUBACK, PUBREC, PUBREL and PUBCOMP (MQTT 5.0 sections 3.4 to 3.7): one shape, four types.

use super::properties::{Property, PropertyCarrier, PropertyReader};
use super::reader::Reader;
use super::{Error, PacketId, PacketType, ProtocolVersion, ReasonCode, UserProperties, writer};

/// What the four acknowledgements of a PUBLISH say. Before 5.0 only `packet_id` is on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack<'a> {
    /// The Packet Identifier of the PUBLISH.
    pub packet_id: PacketId,
    /// Reason Code.
    pub reason: ReasonCode,
    /// Reason String, for people.
    pub reason_string: Option<&'a str>,
    /// User Properties.
    pub user_properties: UserProperties<'a>,
}

impl Ack<'_> {
    /// An acknowledgement with nothing but a Reason Code.
    pub fn new(packet_id: PacketId, reason: ReasonCode) -> Self {
        Self { packet_id, reason, reason_string: None, user_properties: UserProperties::default() }
    }

    /// Appends it as a packet of that type: one of PUBACK, PUBREC, PUBREL, PUBCOMP.
    pub fn encode(&self, version: ProtocolVersion, packet_type: PacketType, out: &mut Vec<u8>) {
        if self.reason_string.is_none() && self.user_properties.is_empty() {
            return encode(version, packet_type, self.packet_id, self.reason, out);
        }
        writer::packet(out, packet_type.first_byte(), |out| {
            writer::put_u16(out, self.packet_id.value());
            if version.is_v5() {
                out.push(self.reason.value());
                writer::properties(out, |out| {
                    writer::put_reason(out, self.reason_string, &self.user_properties);
                });
            }
        });
    }
}

/// Reads what follows the fixed header of one of the four.
pub(super) fn decode<'a>(
    version: ProtocolVersion,
    packet_type: PacketType,
    mut body: Reader<'a>,
) -> Result<Ack<'a>, Error> {
    let mut ack = Ack::new(body.packet_id(packet_type)?, ReasonCode::Success);
    // Of 5.0 the Reason Code may be left out, and the properties, from the end on (section 3.4.2.1).
    if version.is_v5() && !body.is_empty() {
        let found = body.u8("Reason Code")?;
        ack.reason = reason_code(packet_type, found)?;
        if !body.is_empty() {
            let block = body.properties()?;
            let mut reader = PropertyReader::new(block, PropertyCarrier::of_ack(packet_type));
            while let Some(property) = reader.next()? {
                if let Property::ReasonString(text) = property {
                    ack.reason_string = Some(text);
                }
            }
            ack.user_properties = UserProperties::of_checked(block.peek());
        }
    }
    body.end(packet_type)?;
    Ok(ack)
}

/// The Reason Code of that value, if a packet of that type may carry it.
pub(super) fn reason_code(packet: PacketType, found: u8) -> Result<ReasonCode, Error> {
    ReasonCode::from_value(found)
        .filter(|code| code.is_valid_in(packet))
        .ok_or(Error::UnknownReasonCode { packet, found })
}

fn encode(
    version: ProtocolVersion,
    packet_type: PacketType,
    id: PacketId,
    reason: ReasonCode,
    out: &mut Vec<u8>,
) {
    let [high, low] = id.value().to_be_bytes();
    let first = packet_type.first_byte();
    if version.is_v5() && reason != ReasonCode::Success {
        out.extend_from_slice(&[first, 3, high, low, reason.value()]);
    } else {
        out.extend_from_slice(&[first, 2, high, low]);
    }
}

/// Appends a PUBACK; `reason` is left out where it is 0x00 or the version has none.
pub fn encode_puback(version: ProtocolVersion, id: PacketId, reason: ReasonCode, out: &mut Vec<u8>) {
    encode(version, PacketType::PubAck, id, reason, out);
}

/// Appends a PUBREC, like [`encode_puback`].
pub fn encode_pubrec(version: ProtocolVersion, id: PacketId, reason: ReasonCode, out: &mut Vec<u8>) {
    encode(version, PacketType::PubRec, id, reason, out);
}

/// Appends a PUBREL, like [`encode_puback`].
pub fn encode_pubrel(version: ProtocolVersion, id: PacketId, reason: ReasonCode, out: &mut Vec<u8>) {
    encode(version, PacketType::PubRel, id, reason, out);
}

/// Appends a PUBCOMP, like [`encode_puback`].
pub fn encode_pubcomp(version: ProtocolVersion, id: PacketId, reason: ReasonCode, out: &mut Vec<u8>) {
    encode(version, PacketType::PubComp, id, reason, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Packet, PropertyId, Side, decode};

    use ProtocolVersion::{V5, V31, V311};

    fn error(version: ProtocolVersion, bytes: &[u8]) -> Option<Error> {
        decode(version, bytes, Side::FromClient).err()
    }

    #[test]
    fn a_reason_code_of_success_is_left_out() {
        let mut out = Vec::new();
        encode_puback(V5, PacketId::FIRST, ReasonCode::Success, &mut out);
        encode_pubrec(V5, PacketId::FIRST, ReasonCode::QuotaExceeded, &mut out);
        encode_pubrel(V5, PacketId::FIRST, ReasonCode::PacketIdentifierNotFound, &mut out);
        encode_pubcomp(V311, PacketId::FIRST, ReasonCode::PacketIdentifierNotFound, &mut out);
        assert_eq!(out, b"\x40\x02\0\x01\x50\x03\0\x01\x97\x62\x03\0\x01\x92\x70\x02\0\x01");
    }

    #[test]
    fn mqtt_3_4_2_1_reason_codes_are_those_of_the_packet() {
        for (first, right, wrong) in
            [(0x40, 0x10, 0x92), (0x50, 0x97, 0x01), (0x62, 0x92, 0x80), (0x70, 0x92, 0x10)]
        {
            assert_eq!(error(V5, &[first, 3, 0, 1, right]), None);
            let packet = PacketType::of_first_byte(first).unwrap_or(PacketType::PubAck);
            assert_eq!(
                error(V5, &[first, 3, 0, 1, wrong]),
                Some(Error::UnknownReasonCode { packet, found: wrong })
            );
        }
    }

    #[test]
    fn before_5_0_an_acknowledgement_has_two_bytes() {
        for version in [V31, V311] {
            let packet = PacketType::PubAck;
            let longer = error(version, &[0x40, 3, 0, 1, 0]);
            assert_eq!(longer, Some(Error::TrailingBytes { packet, found: 1 }));
            assert_eq!(error(version, &[0x40, 1, 0]), Some(Error::Truncated { field: "Packet Identifier" }));
        }
    }

    #[test]
    fn properties_are_those_of_the_packet_and_end_with_it() {
        let carrier = PropertyCarrier::PubRel;
        let property = PropertyId::TopicAlias;
        let wanted = Error::PropertyNotAllowed { carrier, property };
        assert_eq!(error(V5, &[0x62, 7, 0, 1, 0, 3, 0x23, 0, 1]), Some(wanted));
        let packet = PacketType::PubAck;
        let trailing = error(V5, &[0x40, 5, 0, 1, 0, 0, 9]);
        assert_eq!(trailing, Some(Error::TrailingBytes { packet, found: 1 }));
        assert_eq!(error(V5, &[0x40, 4, 0, 1, 0, 1]), Some(Error::Truncated { field: "Properties" }));
    }

    #[test]
    fn a_reason_string_is_written_and_read() {
        let ack = Ack { reason_string: Some("full"), ..Ack::new(PacketId::FIRST, ReasonCode::QuotaExceeded) };
        let mut out = Vec::new();
        ack.encode(V5, PacketType::PubRec, &mut out);
        assert_eq!(decode(V5, &out, Side::FromServer), Ok(Packet::PubRec(ack)));
        out.clear();
        ack.encode(V311, PacketType::PubRec, &mut out);
        assert_eq!(out, b"\x50\x02\0\x01");
    }
}
