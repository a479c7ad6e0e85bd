//! AUTH (MQTT 5.0 section 3.15): a step of enhanced authentication. No earlier version has it.

use super::ack::reason_code;
use super::properties::{Property, PropertyCarrier, PropertyReader};
use super::reader::Reader;
use super::{Error, PacketType, PropertyId, ReasonCode, UserProperties, writer};

/// An AUTH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Auth<'a> {
    /// Reason Code: 0x00, 0x18 or 0x19.
    pub reason: ReasonCode,
    /// Authentication Method; missing only in an AUTH without any content, which says 0x00.
    pub authentication_method: Option<&'a str>,
    /// Authentication Data.
    pub authentication_data: Option<&'a [u8]>,
    /// Reason String, for people.
    pub reason_string: Option<&'a str>,
    /// User Properties.
    pub user_properties: UserProperties<'a>,
}

impl Auth<'_> {
    /// Appends it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        writer::packet(out, PacketType::Auth.first_byte(), |out| {
            let Some(method) = self.authentication_method else {
                return;
            };
            out.push(self.reason.value());
            writer::properties(out, |out| {
                writer::put_string_property(out, PropertyId::AuthenticationMethod, Some(method));
                writer::put_binary_property(out, PropertyId::AuthenticationData, self.authentication_data);
                writer::put_reason(out, self.reason_string, &self.user_properties);
            });
        });
    }
}

pub(super) fn decode(mut body: Reader<'_>) -> Result<Auth<'_>, Error> {
    let mut auth = Auth {
        reason: ReasonCode::Success,
        authentication_method: None,
        authentication_data: None,
        reason_string: None,
        user_properties: UserProperties::default(),
    };
    // Reason Code and properties may be left out together: success, and no method (section 3.15.2.1).
    if body.is_empty() {
        return Ok(auth);
    }
    let found = body.u8("Reason Code")?;
    auth.reason = reason_code(PacketType::Auth, found)?;
    let block = body.properties()?;
    let mut reader = PropertyReader::new(block, PropertyCarrier::Auth);
    while let Some(property) = reader.next()? {
        match property {
            Property::AuthenticationMethod(method) => auth.authentication_method = Some(method),
            Property::AuthenticationData(data) => auth.authentication_data = Some(data),
            Property::ReasonString(text) => auth.reason_string = Some(text),
            _ => {}
        }
    }
    if auth.authentication_method.is_none() {
        return Err(Error::AuthenticationMethodMissing);
    }
    auth.user_properties = UserProperties::of_checked(block.peek());
    body.end(PacketType::Auth)?;
    Ok(auth)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Packet, ProtocolVersion, Side, decode};

    fn error(bytes: &[u8]) -> Option<Error> {
        decode(ProtocolVersion::V5, bytes, Side::FromClient).err()
    }

    #[test]
    fn mqtt_3_15_2_1_reason_codes_are_its_own() {
        for found in [0x01, 0x80, 0x8C] {
            let wanted = Error::UnknownReasonCode { packet: PacketType::Auth, found };
            assert_eq!(error(&[0xF0, 6, found, 4, 0x15, 0, 1, b'm']), Some(wanted));
        }
        assert_eq!(error(&[0xF0, 6, 0x19, 4, 0x15, 0, 1, b'm']), None);
    }

    #[test]
    fn an_authentication_method_is_missing_only_in_an_empty_auth() {
        assert_eq!(error(&[0xF0, 0]), None);
        assert_eq!(error(&[0xF0, 2, 0x18, 0]), Some(Error::AuthenticationMethodMissing));
        assert_eq!(error(&[0xF0, 1, 0]), Some(Error::Truncated { field: "Property Length" }));
    }

    #[test]
    fn every_property_is_written_and_read() {
        let auth = Auth {
            reason: ReasonCode::ContinueAuthentication,
            authentication_method: Some("SCRAM"),
            authentication_data: Some(&[0, 255]),
            reason_string: Some("go on"),
            user_properties: UserProperties::default(),
        };
        let mut out = Vec::new();
        auth.encode(&mut out);
        assert_eq!(decode(ProtocolVersion::V5, &out, Side::FromServer), Ok(Packet::Auth(auth)));
    }
}
