//! UNSUBACK (MQTT 5.0 section 3.11): one Reason Code a Topic Filter, in order. Before 5.0 there are none.

use super::properties::{Property, PropertyCarrier, PropertyReader};
use super::reader::Reader;
use super::writer::put_u16;
use super::{Error, PacketId, PacketType, ProtocolVersion, ReasonCode, ReasonCodes, UserProperties, writer};

/// An UNSUBACK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsubAck<'a> {
    /// Packet Identifier of the UNSUBSCRIBE.
    pub packet_id: PacketId,
    /// Reason String, for people.
    pub reason_string: Option<&'a str>,
    /// User Properties.
    pub user_properties: UserProperties<'a>,
    /// The Reason Codes: at least one in 5.0, none before.
    pub reasons: ReasonCodes<'a>,
}

pub(super) fn decode(version: ProtocolVersion, mut body: Reader<'_>) -> Result<UnsubAck<'_>, Error> {
    let packet = PacketType::UnsubAck;
    let mut unsuback = UnsubAck {
        packet_id: body.packet_id(packet)?,
        reason_string: None,
        user_properties: UserProperties::default(),
        reasons: ReasonCodes::default(),
    };
    if version.is_v5() {
        let block = body.properties()?;
        let mut reader = PropertyReader::new(block, PropertyCarrier::UnsubAck);
        while let Some(property) = reader.next()? {
            if let Property::ReasonString(text) = property {
                unsuback.reason_string = Some(text);
            }
        }
        unsuback.user_properties = UserProperties::of_checked(block.peek());
        unsuback.reasons = ReasonCodes::parse(packet, body.rest())?;
    }
    body.end(packet)?;
    Ok(unsuback)
}

impl UnsubAck<'_> {
    /// Appends it.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) {
        encode(version, self.packet_id, self.reason_string, &self.user_properties, self.reasons.iter(), out);
    }
}

/// Appends an UNSUBACK without properties; the Reason Codes only of 5.0.
pub fn encode_unsuback(
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
    writer::packet(out, PacketType::UnsubAck.first_byte(), |out| {
        put_u16(out, packet_id.value());
        if version.is_v5() {
            writer::properties(out, |out| writer::put_reason(out, reason_string, user_properties));
            out.extend(reasons.into_iter().map(ReasonCode::value));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Side, decode};

    #[test]
    fn mqtt_3_11_3_1_codes_exist_in_5_0_only() {
        let reasons = [ReasonCode::Success, ReasonCode::NoSubscriptionExisted];
        for (version, wanted) in [
            (ProtocolVersion::V311, &b"\xb0\x02\0\x01"[..]),
            (ProtocolVersion::V5, b"\xb0\x05\0\x01\0\0\x11"),
        ] {
            let mut out = Vec::new();
            encode_unsuback(version, PacketId::FIRST, reasons, &mut out);
            assert_eq!(out, wanted);
        }
        let packet = PacketType::UnsubAck;
        let longer = decode(ProtocolVersion::V311, &[0xB0, 3, 0, 1, 0], Side::FromServer);
        assert_eq!(longer, Err(Error::TrailingBytes { packet, found: 1 }));
        let granted = decode(ProtocolVersion::V5, &[0xB0, 4, 0, 1, 0, 1], Side::FromServer);
        assert_eq!(granted, Err(Error::UnknownReasonCode { packet, found: 1 }));
    }
}
