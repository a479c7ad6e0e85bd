//! DISCONNECT (MQTT 5.0 section 3.14). Before 5.0 only clients send it, and it is empty.

use super::ack::reason_code;
use super::properties::{Property, PropertyCarrier, PropertyReader};
use super::reader::Reader;
use super::{Error, PacketType, PropertyId, ProtocolVersion, ReasonCode, Side, UserProperties, writer};

/// A DISCONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disconnect<'a> {
    /// Reason Code; 0x00 is a normal disconnection, which lets no Will be published.
    pub reason: ReasonCode,
    /// A new Session Expiry Interval in seconds; none from a server.
    pub session_expiry_s: Option<u32>,
    /// Reason String, for people.
    pub reason_string: Option<&'a str>,
    /// Another server to use.
    pub server_reference: Option<&'a str>,
    /// User Properties.
    pub user_properties: UserProperties<'a>,
}

impl Disconnect<'_> {
    /// A DISCONNECT with nothing but a Reason Code.
    pub fn new(reason: ReasonCode) -> Self {
        Self {
            reason,
            session_expiry_s: None,
            reason_string: None,
            server_reference: None,
            user_properties: UserProperties::default(),
        }
    }

    /// Appends it; before 5.0 without all that it says.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) {
        let bare = self.session_expiry_s.is_none()
            && self.reason_string.is_none()
            && self.server_reference.is_none()
            && self.user_properties.is_empty();
        if bare || !version.is_v5() {
            return encode_disconnect(version, self.reason, out);
        }
        writer::packet(out, PacketType::Disconnect.first_byte(), |out| {
            out.push(self.reason.value());
            writer::properties(out, |out| {
                writer::put_u32_property(out, PropertyId::SessionExpiryInterval, self.session_expiry_s);
                writer::put_string_property(out, PropertyId::ServerReference, self.server_reference);
                writer::put_reason(out, self.reason_string, &self.user_properties);
            });
        });
    }
}

/// Appends a DISCONNECT without properties; `reason` is left out where it is 0x00 or the version has none.
pub fn encode_disconnect(version: ProtocolVersion, reason: ReasonCode, out: &mut Vec<u8>) {
    let first = PacketType::Disconnect.first_byte();
    if version.is_v5() && reason != ReasonCode::Success {
        out.extend_from_slice(&[first, 1, reason.value()]);
    } else {
        out.extend_from_slice(&[first, 0]);
    }
}

pub(super) fn decode<'a>(
    version: ProtocolVersion,
    side: Side,
    mut body: Reader<'a>,
) -> Result<Disconnect<'a>, Error> {
    let mut disconnect = Disconnect::new(ReasonCode::Success);
    if version.is_v5() && !body.is_empty() {
        let found = body.u8("Reason Code")?;
        disconnect.reason = reason_code(PacketType::Disconnect, found)?;
        if !body.is_empty() {
            properties(&mut disconnect, side, body.properties()?)?;
        }
    }
    body.end(PacketType::Disconnect)?;
    Ok(disconnect)
}

fn properties<'a>(disconnect: &mut Disconnect<'a>, side: Side, block: Reader<'a>) -> Result<(), Error> {
    let carrier = PropertyCarrier::Disconnect;
    let mut reader = PropertyReader::new(block, carrier);
    while let Some(property) = reader.next()? {
        match property {
            Property::SessionExpiryInterval(seconds) => {
                // [MQTT-3.14.2-2]
                if side == Side::FromServer {
                    let property = PropertyId::SessionExpiryInterval;
                    return Err(Error::PropertyFromWrongSide { carrier, property, side });
                }
                disconnect.session_expiry_s = Some(seconds);
            }
            Property::ReasonString(text) => disconnect.reason_string = Some(text),
            Property::ServerReference(text) => disconnect.server_reference = Some(text),
            _ => {}
        }
    }
    disconnect.user_properties = UserProperties::of_checked(block.peek());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Packet, decode};

    use ProtocolVersion::{V5, V31, V311};

    #[test]
    fn mqtt_3_14_1_1_flags_are_zero() {
        let packet = PacketType::Disconnect;
        let wanted = Error::FixedHeaderFlags { packet, found: 1, expected: 0 };
        assert_eq!(decode(V311, &[0xE1, 0], Side::FromClient), Err(wanted));
        assert!(decode(V31, &[0xE1, 0], Side::FromClient).is_ok());
    }

    #[test]
    fn mqtt_3_14_0_1_servers_send_it_in_5_0_only() {
        let packet = PacketType::Disconnect;
        let wanted = Error::WrongSide { packet, side: Side::FromServer };
        assert_eq!(decode(V311, &[0xE0, 0], Side::FromServer), Err(wanted));
        assert!(decode(V5, &[0xE0, 1, 0x8B], Side::FromServer).is_ok());
    }

    #[test]
    fn mqtt_3_14_2_2_a_server_changes_no_session_expiry() {
        let bytes = [0xE0, 7, 0, 5, 0x11, 0, 0, 0, 9];
        match decode(V5, &bytes, Side::FromClient) {
            Ok(Packet::Disconnect(disconnect)) => assert_eq!(disconnect.session_expiry_s, Some(9)),
            other => panic!("{other:?}"),
        }
        let found = decode(V5, &bytes, Side::FromServer);
        assert!(matches!(found, Err(Error::PropertyFromWrongSide { .. })));
    }

    #[test]
    fn the_reason_is_left_out_where_it_says_nothing() {
        for (version, reason, wanted) in [
            (V5, ReasonCode::Success, &b"\xe0\0"[..]),
            (V5, ReasonCode::SessionTakenOver, b"\xe0\x01\x8e"),
            (V311, ReasonCode::SessionTakenOver, b"\xe0\0"),
        ] {
            let mut out = Vec::new();
            encode_disconnect(version, reason, &mut out);
            assert_eq!(out, wanted);
        }
        let found = decode(V311, &[0xE0, 1, 0], Side::FromClient);
        assert_eq!(found, Err(Error::TrailingBytes { packet: PacketType::Disconnect, found: 1 }));
        let found = decode(V5, &[0xE0, 1, 0x92], Side::FromClient);
        assert_eq!(found, Err(Error::UnknownReasonCode { packet: PacketType::Disconnect, found: 0x92 }));
    }

    #[test]
    fn all_properties_are_written_and_read() {
        let disconnect = Disconnect {
            session_expiry_s: Some(0),
            reason_string: Some("why"),
            server_reference: Some("other"),
            ..Disconnect::new(ReasonCode::DisconnectWithWill)
        };
        let mut out = Vec::new();
        disconnect.encode(V5, &mut out);
        assert_eq!(decode(V5, &out, Side::FromClient), Ok(Packet::Disconnect(disconnect)));
    }
}
