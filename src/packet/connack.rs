//! CONNACK (MQTT 5.0 section 3.2). The return codes of 3.x are held as the Reason Codes that say the same.

use super::ack::reason_code;
use super::properties::{Property, PropertyCarrier, PropertyReader};
use super::reader::Reader;
use super::{
    ConnectReturnCode, Error, PacketType, PropertyId, ProtocolVersion, QoS, ReasonCode, UserProperties,
    writer,
};

/// A CONNACK. Properties that are not there have the values of [`ConnAck::new`], and are not sent either.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnAck<'a> {
    /// Session Present; not in 3.1.
    pub session_present: bool,
    /// Reason Code; for 3.x see [`ReasonCode::connect_return_code`].
    pub reason: ReasonCode,
    /// Session Expiry Interval in seconds, if it is not what the client asked for.
    pub session_expiry_s: Option<u32>,
    /// Receive Maximum, at least 1; 65,535 if not there.
    pub receive_max: Option<u16>,
    /// Maximum QoS.
    pub maximum_qos: QoS,
    /// Retain Available.
    pub retain_available: bool,
    /// Maximum Packet Size in bytes, at least 1.
    pub packet_bytes_max: Option<u32>,
    /// Assigned Client Identifier.
    pub assigned_client_id: Option<&'a str>,
    /// Topic Alias Maximum; 0 if not there.
    pub topic_alias_max: Option<u16>,
    /// Reason String, for people.
    pub reason_string: Option<&'a str>,
    /// Wildcard Subscription Available.
    pub wildcard_subscriptions_available: bool,
    /// Subscription Identifiers Available.
    pub subscription_ids_available: bool,
    /// Shared Subscription Available.
    pub shared_subscriptions_available: bool,
    /// Server Keep Alive in seconds.
    pub server_keep_alive: Option<u16>,
    /// Response Information.
    pub response_information: Option<&'a str>,
    /// Server Reference.
    pub server_reference: Option<&'a str>,
    /// Authentication Method.
    pub authentication_method: Option<&'a str>,
    /// Authentication Data.
    pub authentication_data: Option<&'a [u8]>,
    /// User Properties.
    pub user_properties: UserProperties<'a>,
}

impl<'a> ConnAck<'a> {
    /// A CONNACK without properties.
    pub fn new(session_present: bool, reason: ReasonCode) -> Self {
        Self {
            session_present,
            reason,
            session_expiry_s: None,
            receive_max: None,
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            packet_bytes_max: None,
            assigned_client_id: None,
            topic_alias_max: None,
            reason_string: None,
            wildcard_subscriptions_available: true,
            subscription_ids_available: true,
            shared_subscriptions_available: true,
            server_keep_alive: None,
            response_information: None,
            server_reference: None,
            authentication_method: None,
            authentication_data: None,
            user_properties: UserProperties::default(),
        }
    }

    /// Appends it as `version` spells it. Session Present is left out of a refusal ([MQTT-3.2.2-6]).
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) {
        let session_present = self.session_present && self.reason == ReasonCode::Success;
        let first = PacketType::ConnAck.first_byte();
        match version {
            ProtocolVersion::V31 => {
                out.extend_from_slice(&[first, 2, 0, self.reason.connect_return_code() as u8]);
            }
            ProtocolVersion::V311 => {
                let code = self.reason.connect_return_code() as u8;
                out.extend_from_slice(&[first, 2, u8::from(session_present), code]);
            }
            ProtocolVersion::V5 => writer::packet(out, first, |out| {
                out.extend_from_slice(&[u8::from(session_present), self.reason.value()]);
                writer::properties(out, |out| self.write_properties(out));
            }),
        }
    }

    fn write_properties(&self, out: &mut Vec<u8>) {
        writer::put_u32_property(out, PropertyId::SessionExpiryInterval, self.session_expiry_s);
        writer::put_u16_property(out, PropertyId::ReceiveMaximum, self.receive_max);
        if self.maximum_qos != QoS::ExactlyOnce {
            writer::put_u8_property(out, PropertyId::MaximumQoS, self.maximum_qos.into());
        }
        put_if_not(out, PropertyId::RetainAvailable, self.retain_available);
        writer::put_u32_property(out, PropertyId::MaximumPacketSize, self.packet_bytes_max);
        writer::put_string_property(out, PropertyId::AssignedClientIdentifier, self.assigned_client_id);
        writer::put_u16_property(out, PropertyId::TopicAliasMaximum, self.topic_alias_max);
        put_if_not(out, PropertyId::WildcardSubscriptionAvailable, self.wildcard_subscriptions_available);
        put_if_not(out, PropertyId::SubscriptionIdentifierAvailable, self.subscription_ids_available);
        put_if_not(out, PropertyId::SharedSubscriptionAvailable, self.shared_subscriptions_available);
        writer::put_u16_property(out, PropertyId::ServerKeepAlive, self.server_keep_alive);
        writer::put_string_property(out, PropertyId::ResponseInformation, self.response_information);
        writer::put_string_property(out, PropertyId::ServerReference, self.server_reference);
        writer::put_string_property(out, PropertyId::AuthenticationMethod, self.authentication_method);
        writer::put_binary_property(out, PropertyId::AuthenticationData, self.authentication_data);
        writer::put_reason(out, self.reason_string, &self.user_properties);
    }

    fn read_properties(&mut self, block: Reader<'a>) -> Result<(), Error> {
        let mut reader = PropertyReader::new(block, PropertyCarrier::ConnAck);
        while let Some(property) = reader.next()? {
            match property {
                Property::SessionExpiryInterval(seconds) => self.session_expiry_s = Some(seconds),
                Property::ReceiveMaximum(max) => self.receive_max = Some(max),
                Property::MaximumQoS(qos) => self.maximum_qos = qos,
                Property::RetainAvailable(yes) => self.retain_available = yes,
                Property::MaximumPacketSize(bytes) => self.packet_bytes_max = Some(bytes),
                Property::AssignedClientIdentifier(text) => self.assigned_client_id = Some(text),
                Property::TopicAliasMaximum(max) => self.topic_alias_max = Some(max),
                Property::ReasonString(text) => self.reason_string = Some(text),
                Property::WildcardSubscriptionAvailable(yes) => self.wildcard_subscriptions_available = yes,
                Property::SubscriptionIdentifierAvailable(yes) => self.subscription_ids_available = yes,
                Property::SharedSubscriptionAvailable(yes) => self.shared_subscriptions_available = yes,
                Property::ServerKeepAlive(seconds) => self.server_keep_alive = Some(seconds),
                Property::ResponseInformation(text) => self.response_information = Some(text),
                Property::ServerReference(text) => self.server_reference = Some(text),
                Property::AuthenticationMethod(text) => self.authentication_method = Some(text),
                Property::AuthenticationData(data) => self.authentication_data = Some(data),
                _ => {}
            }
        }
        self.user_properties = UserProperties::of_checked(block.peek());
        Ok(())
    }
}

/// Appends a property that says `no`; `yes` is what its absence says.
fn put_if_not(out: &mut Vec<u8>, id: PropertyId, value: bool) {
    if !value {
        writer::put_u8_property(out, id, 0);
    }
}

pub(super) fn decode(version: ProtocolVersion, mut body: Reader<'_>) -> Result<ConnAck<'_>, Error> {
    let packet = PacketType::ConnAck;
    let flags = body.u8("Connect Acknowledge Flags")?;
    let found = body.u8("Connect Reason Code")?;
    // 3.1 calls the whole first byte "reserved, not used".
    let strict = version != ProtocolVersion::V31;
    if strict && flags & 0b1111_1110 != 0 {
        return Err(Error::ReservedBits { field: "Connect Acknowledge Flags", found: flags });
    }
    let reason = if version.is_v5() {
        reason_code(packet, found)?
    } else {
        ConnectReturnCode::from_value(found)
            .map(ConnectReturnCode::reason_code)
            .ok_or(Error::UnknownReasonCode { packet, found })?
    };
    let session_present = strict && flags & 1 != 0;
    if session_present && reason != ReasonCode::Success {
        return Err(Error::SessionPresentOfRefusal { found });
    }
    let mut connack = ConnAck::new(session_present, reason);
    if version.is_v5() {
        let block = body.properties()?;
        connack.read_properties(block)?;
    }
    body.end(packet)?;
    Ok(connack)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::packet::{Packet, Side, decode};

    fn read(version: ProtocolVersion, bytes: &[u8]) -> Result<Packet<'_>, Error> {
        decode(version, bytes, Side::FromServer)
    }

    #[test]
    fn mqtt_3_2_2_1_reserved_flags_are_zero() {
        let wanted = Error::ReservedBits { field: "Connect Acknowledge Flags", found: 2 };
        assert_eq!(read(ProtocolVersion::V311, &[0x20, 2, 2, 0]), Err(wanted.clone()));
        assert_eq!(read(ProtocolVersion::V5, &[0x20, 3, 2, 0, 0]), Err(wanted));
        assert!(read(ProtocolVersion::V31, &[0x20, 2, 2, 0]).is_ok(), "3.1 does not use the byte");
    }

    #[test]
    fn mqtt_3_2_2_6_a_refusal_has_no_session_present() {
        let wanted = Err(Error::SessionPresentOfRefusal { found: 5 });
        assert_eq!(read(ProtocolVersion::V311, &[0x20, 2, 1, 5]), wanted);
        for version in [ProtocolVersion::V31, ProtocolVersion::V311, ProtocolVersion::V5] {
            let mut out = Vec::new();
            ConnAck::new(true, ReasonCode::NotAuthorized).encode(version, &mut out);
            assert_eq!(out.get(2), Some(&0));
        }
    }

    #[test]
    fn mqtt_3_2_2_7_and_8_codes_are_those_of_the_version() {
        let packet = PacketType::ConnAck;
        let unknown = |found| Err(Error::UnknownReasonCode { packet, found });
        assert_eq!(read(ProtocolVersion::V311, &[0x20, 2, 0, 6]), unknown(6));
        assert_eq!(read(ProtocolVersion::V5, &[0x20, 3, 0, 6, 0]), unknown(6));
        assert_eq!(read(ProtocolVersion::V5, &[0x20, 3, 0, 0x8E, 0]), unknown(0x8E));
        let mut out = Vec::new();
        ConnAck::new(false, ReasonCode::ServerBusy).encode(ProtocolVersion::V311, &mut out);
        assert_eq!(out, [0x20, 2, 0, 3]);
    }

    #[test]
    fn every_property_is_written_and_read() {
        let mut user = Vec::new();
        crate::packet::encode_user_property("k", "v", &mut user);
        let connack = ConnAck {
            session_expiry_s: Some(1),
            receive_max: Some(2),
            maximum_qos: QoS::AtMostOnce,
            retain_available: false,
            packet_bytes_max: Some(3),
            assigned_client_id: Some("id"),
            topic_alias_max: Some(4),
            reason_string: Some("r"),
            wildcard_subscriptions_available: false,
            subscription_ids_available: false,
            shared_subscriptions_available: false,
            server_keep_alive: Some(5),
            response_information: Some("i"),
            server_reference: Some("s"),
            authentication_method: Some("m"),
            authentication_data: Some(&[1]),
            user_properties: UserProperties::parse(&user).unwrap(),
            ..ConnAck::new(true, ReasonCode::Success)
        };
        let mut out = Vec::new();
        connack.encode(ProtocolVersion::V5, &mut out);
        assert_eq!(read(ProtocolVersion::V5, &out), Ok(Packet::ConnAck(Box::new(connack))));
    }

    #[test]
    fn maximum_qos_is_0_or_1_and_2_if_absent() {
        for (bytes, wanted) in [
            (&b"\x20\x05\0\0\x02\x24\0"[..], QoS::AtMostOnce),
            (b"\x20\x05\0\0\x02\x24\x01", QoS::AtLeastOnce),
            (b"\x20\x03\0\0\0", QoS::ExactlyOnce),
        ] {
            match read(ProtocolVersion::V5, bytes) {
                Ok(Packet::ConnAck(connack)) => assert_eq!(connack.maximum_qos, wanted),
                other => panic!("{other:?}"),
            }
        }
        let found = read(ProtocolVersion::V5, &[0x20, 5, 0, 0, 2, 0x24, 2]).unwrap_err();
        assert_eq!(found.reason_code(), ReasonCode::ProtocolError);
    }
}
