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
