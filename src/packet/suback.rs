//! SUBACK (MQTT 5.0 section 3.9): one Reason Code an entry of the SUBSCRIBE, in its order.

use super::properties::{Property, PropertyCarrier, PropertyReader};
use super::reader::Reader;
use super::writer::put_u16;
use super::{Error, PacketId, PacketType, ProtocolVersion, ReasonCode, UserProperties, writer};

/// A SUBACK. Before 5.0 every failure is 0x80.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubAck<'a> {
    /// Packet Identifier of the SUBSCRIBE.
    pub packet_id: PacketId,
    /// Reason String, for people.
    pub reason_string: Option<&'a str>,
    /// User Properties.
    pub user_properties: UserProperties<'a>,
    /// The Reason Codes, at least one.
    pub reasons: ReasonCodes<'a>,
}

/// The Reason Codes of a SUBACK or UNSUBACK, in order.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct ReasonCodes<'a> {
    /// Their bytes, all checked.
    bytes: &'a [u8],
}

impl<'a> ReasonCodes<'a> {
    /// Checks that `packet` may have every one of these bytes.
    pub(super) fn parse(packet: PacketType, bytes: &'a [u8]) -> Result<Self, Error> {
        if bytes.is_empty() {
            return Err(Error::NoEntries { packet });
        }
        for found in bytes {
            super::ack::reason_code(packet, *found)?;
        }
        Ok(Self { bytes })
    }

    /// The codes.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = ReasonCode> + Clone + use<'a> {
        self.bytes.iter().map(|byte| ReasonCode::from_value(*byte).unwrap_or(ReasonCode::UnspecifiedError))
    }
}

impl std::fmt::Debug for ReasonCodes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

pub(super) fn decode(version: ProtocolVersion, mut body: Reader<'_>) -> Result<SubAck<'_>, Error> {
    let packet = PacketType::SubAck;
    let packet_id = body.packet_id(packet)?;
    let mut reason_string = None;
    let mut user_properties = UserProperties::default();
    if version.is_v5() {
        let block = body.properties()?;
        let mut reader = PropertyReader::new(block, PropertyCarrier::SubAck);
        while let Some(property) = reader.next()? {
            if let Property::ReasonString(text) = property {
                reason_string = Some(text);
            }
        }
        user_properties = UserProperties::of_checked(block.peek());
    }
    let bytes = body.rest();
    // [MQTT-3.9.3-2] of 3.1.1: 0, 1, 2 and 0x80 are all there are.
    if let Some(found) = bytes.iter().find(|byte| !version.is_v5() && **byte > 0x80) {
        return Err(Error::UnknownReasonCode { packet, found: *found });
    }
    let reasons = ReasonCodes::parse(packet, bytes)?;
    Ok(SubAck { packet_id, reason_string, user_properties, reasons })
}

impl SubAck<'_> {
    /// Appends it.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) {
        encode(version, self.packet_id, self.reason_string, &self.user_properties, self.reasons.iter(), out);
    }
}

/// Appends a SUBACK without properties. Before 5.0 every failure becomes 0x80.
pub fn encode_suback(
    version: ProtocolVersion,
    packet_id: PacketId,
    reasons: impl IntoIterator<Item = ReasonCode>,
    out: &mut Vec<u8>,
) {
    encode(version, packet_id, None, &UserProperties::default(), reasons, out);
}

fn encode(
    version: ProtocolVersion,
    packet_id: PacketId,
    reason_string: Option<&str>,
    user_properties: &UserProperties<'_>,
    reasons: impl IntoIterator<Item = ReasonCode>,
    out: &mut Vec<u8>,
) {
    writer::packet(out, PacketType::SubAck.first_byte(), |out| {
        put_u16(out, packet_id.value());
        if version.is_v5() {
            writer::properties(out, |out| writer::put_reason(out, reason_string, user_properties));
            out.extend(reasons.into_iter().map(ReasonCode::value));
        } else {
            out.extend(reasons.into_iter().map(|reason| reason.value().min(0x80)));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Packet, Side, decode};

    use ProtocolVersion::{V5, V31, V311};

    #[test]
    fn mqtt_3_9_3_2_codes_are_those_of_the_version() {
        for found in 0..=u8::MAX {
            let before = decode(V311, &[0x90, 3, 0, 1, found], Side::FromServer).is_ok();
            assert_eq!(before, matches!(found, 0 | 1 | 2 | 0x80), "{found}");
            let bytes = [0x90, 4, 0, 1, 0, found];
            let valid =
                ReasonCode::from_value(found).is_some_and(|code| code.is_valid_in(PacketType::SubAck));
            assert_eq!(decode(V5, &bytes, Side::FromServer).is_ok(), valid, "{found}");
        }
    }

    #[test]
    fn every_failure_is_0x80_before_5_0() {
        let reasons = [ReasonCode::GrantedQoS2, ReasonCode::NotAuthorized, ReasonCode::Success];
        for (version, wanted) in [
            (V31, &b"\x90\x05\0\x01\x02\x80\0"[..]),
            (V311, b"\x90\x05\0\x01\x02\x80\0"),
            (V5, b"\x90\x06\0\x01\0\x02\x87\0"),
        ] {
            let mut out = Vec::new();
            encode_suback(version, PacketId::FIRST, reasons, &mut out);
            assert_eq!(out, wanted);
        }
    }

    #[test]
    fn a_suback_without_codes_answers_nothing() {
        let found = decode(V311, &[0x90, 2, 0, 1], Side::FromServer);
        assert_eq!(found, Err(Error::NoEntries { packet: PacketType::SubAck }));
    }

    #[test]
    fn reason_string_and_codes_are_written_and_read() {
        let suback = SubAck {
            packet_id: PacketId::FIRST,
            reason_string: Some("why"),
            user_properties: UserProperties::default(),
            reasons: ReasonCodes { bytes: &[1; 200] },
        };
        let mut out = Vec::new();
        suback.encode(V5, &mut out);
        assert_eq!(decode(V5, &out, Side::FromServer), Ok(Packet::SubAck(suback)));
    }
}
