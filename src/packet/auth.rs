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
