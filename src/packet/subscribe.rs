//! SUBSCRIBE (MQTT 5.0 section 3.8): Topic Filters with Subscription Options.

use super::properties::{Property, PropertyCarrier, PropertyReader};
use super::reader::{Reader, qos};
use super::writer::{put_property_id, put_string, put_u16, put_varint};
use super::{Error, PacketId, PacketType, PropertyId, ProtocolVersion, QoS, UserProperties, writer};

/// Which Retained Messages a subscription is sent (section 3.8.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum RetainHandling {
    /// 0: those that match, when the subscription is made.
    #[default]
    Send = 0,
    /// 1: the same, only if the subscription did not exist.
    SendIfNew = 1,
    /// 2: none.
    DoNotSend = 2,
}

/// Subscription Options. Before 5.0 there is only the QoS; the rest has its default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SubscriptionOptions {
    /// Maximum QoS that the client wants.
    pub qos: QoS,
    /// No Local: not what this client publishes itself.
    pub no_local: bool,
    /// Retain As Published: keep the RETAIN flag on forwarding.
    pub retain_as_published: bool,
    /// Retain Handling.
    pub retain_handling: RetainHandling,
}

impl SubscriptionOptions {
    /// Reads the options byte of `version`.
    ///
    /// # Errors
    /// Reserved bits set, QoS 3, Retain Handling 3 ([MQTT-3.8.3-5], section 3.8.3.1).
    pub fn from_byte(version: ProtocolVersion, byte: u8) -> Result<Self, Error> {
        let reserved = match version {
            // 3.1 calls the upper bits "not used".
            ProtocolVersion::V31 => 0,
            ProtocolVersion::V311 => 0b1111_1100,
            ProtocolVersion::V5 => 0b1100_0000,
        };
        if byte & reserved != 0 {
            return Err(Error::ReservedBits { field: "Subscription Options", found: byte });
        }
        let qos = qos(byte, "QoS of Subscription Options")?;
        if !version.is_v5() {
            return Ok(Self { qos, ..Self::default() });
        }
        let retain_handling = match byte >> 4 & 0b11 {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            found => {
                let (field, found) = ("Retain Handling", u32::from(found));
                return Err(Error::Value { field, found, expected: "0, 1 or 2" });
            }
        };
        Ok(Self {
            qos,
            no_local: byte & 0b0100 != 0,
            retain_as_published: byte & 0b1000 != 0,
            retain_handling,
        })
    }

    /// The options byte of `version`; that of 5.0 keeps all, also for storing.
    pub fn to_byte(self, version: ProtocolVersion) -> u8 {
        let qos = u8::from(self.qos);
        if !version.is_v5() {
            return qos;
        }
        qos | u8::from(self.no_local) << 2
            | u8::from(self.retain_as_published) << 3
            | (self.retain_handling as u8) << 4
    }
}

/// One entry of a SUBSCRIBE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscription<'a> {
    /// The Topic Filter: UTF-8, its syntax not checked yet ([`crate::topic::parse_share`],
    /// [`crate::topic::check_filter`]).
    pub filter: &'a str,
    /// Subscription Options.
    pub options: SubscriptionOptions,
}

/// A SUBSCRIBE; all entries are checked but for the syntax of the Topic Filters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// Packet Identifier.
    pub packet_id: PacketId,
    /// Subscription Identifier of all its subscriptions, 1 to 268,435,455.
    pub subscription_id: Option<u32>,
    /// User Properties.
    pub user_properties: UserProperties<'a>,
    /// The entries, at least one.
    pub subscriptions: Subscriptions<'a>,
}

/// The entries of a SUBSCRIBE, read one after the other.
#[derive(Clone)]
pub struct Subscriptions<'a> {
    version: ProtocolVersion,
    reader: Reader<'a>,
}

impl<'a> Iterator for Subscriptions<'a> {
    type Item = Subscription<'a>;

    fn next(&mut self) -> Option<Subscription<'a>> {
        if self.reader.is_empty() {
            return None;
        }
        entry(self.version, &mut self.reader).ok()
    }
}

impl PartialEq for Subscriptions<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.clone().eq(other.clone())
    }
}

impl Eq for Subscriptions<'_> {}

impl std::fmt::Debug for Subscriptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

fn entry<'a>(version: ProtocolVersion, reader: &mut Reader<'a>) -> Result<Subscription<'a>, Error> {
    let filter = reader.string("Topic Filter")?;
    let options = SubscriptionOptions::from_byte(version, reader.u8("Subscription Options")?)?;
    Ok(Subscription { filter, options })
}

pub(super) fn decode(version: ProtocolVersion, mut body: Reader<'_>) -> Result<Subscribe<'_>, Error> {
    let packet_id = body.packet_id(PacketType::Subscribe)?;
    let mut subscription_id = None;
    let mut user_properties = UserProperties::default();
    if version.is_v5() {
        let block = body.properties()?;
        let mut reader = PropertyReader::new(block, PropertyCarrier::Subscribe);
        while let Some(property) = reader.next()? {
            if let Property::SubscriptionIdentifier(id) = property {
                subscription_id = Some(id);
            }
        }
        user_properties = UserProperties::of_checked(block.peek());
    }
    // [MQTT-3.8.3-2]
    if body.is_empty() {
        return Err(Error::NoEntries { packet: PacketType::Subscribe });
    }
    let subscriptions = Subscriptions { version, reader: body };
    while !body.is_empty() {
        entry(version, &mut body)?;
    }
    Ok(Subscribe { packet_id, subscription_id, user_properties, subscriptions })
}

impl Subscribe<'_> {
    /// Appends it.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) {
        let entries = self.subscriptions.clone();
        encode_subscribe(version, self.packet_id, self.subscription_id, &self.user_properties, entries, out);
    }
}

/// Appends a SUBSCRIBE of at least one entry; properties only of 5.0.
pub fn encode_subscribe<'f>(
    version: ProtocolVersion,
    packet_id: PacketId,
    subscription_id: Option<u32>,
    user_properties: &UserProperties<'_>,
    subscriptions: impl IntoIterator<Item = Subscription<'f>>,
    out: &mut Vec<u8>,
) {
    writer::packet(out, PacketType::Subscribe.first_byte(), |out| {
        put_u16(out, packet_id.value());
        if version.is_v5() {
            writer::properties(out, |out| {
                if let Some(id) = subscription_id {
                    put_property_id(out, PropertyId::SubscriptionIdentifier);
                    put_varint(out, id as usize);
                }
                user_properties.write(out);
            });
        }
        for subscription in subscriptions {
            put_string(out, subscription.filter);
            out.push(subscription.options.to_byte(version));
        }
    });
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::packet::{Packet, ReasonCode, Side, decode};

    use ProtocolVersion::{V5, V31, V311};

    fn error(version: ProtocolVersion, bytes: &[u8]) -> Error {
        decode(version, bytes, Side::FromClient).unwrap_err()
    }

    #[test]
    fn mqtt_3_8_1_1_flags_are_0010() {
        let body = b"\x0a\0\x01\0\x01a\0\0\x01b\0";
        for flags in (0..16_u8).filter(|flags| *flags != 2) {
            let packet = [&[0x80 | flags], &body[..]].concat();
            let wanted = Error::FixedHeaderFlags { packet: PacketType::Subscribe, found: flags, expected: 2 };
            assert_eq!(error(V311, &packet), wanted);
            assert!(decode(V31, &packet, Side::FromClient).is_ok());
        }
    }

    #[test]
    fn mqtt_3_8_3_2_there_is_at_least_one_entry() {
        let found = error(V311, b"\x82\x02\0\x01");
        assert_eq!(found, Error::NoEntries { packet: PacketType::Subscribe });
        assert_eq!(found.reason_code(), ReasonCode::ProtocolError);
        assert_eq!(error(V5, b"\x82\x03\0\x01\0"), Error::NoEntries { packet: PacketType::Subscribe });
    }

    #[test]
    fn mqtt_3_8_3_4_and_5_reserved_bits_of_the_options_are_zero() {
        for byte in 0..=u8::MAX {
            let read = |version| SubscriptionOptions::from_byte(version, byte);
            assert_eq!(read(V31).is_ok(), byte & 3 != 3);
            assert_eq!(read(V311).is_ok(), byte < 3);
            assert_eq!(read(V5).is_ok(), byte < 0x40 && byte & 3 != 3 && byte >> 4 != 3);
            if let Ok(options) = read(V5) {
                assert_eq!(options.to_byte(V5), byte);
                assert_eq!(options.to_byte(V311), byte & 3);
            }
        }
        assert_eq!(error(V311, b"\x82\x06\0\x01\0\x01a\x04").reason_code(), ReasonCode::MalformedPacket);
        let retain_handling = error(V5, b"\x82\x07\0\x01\0\0\x01a\x30");
        assert_eq!(retain_handling.reason_code(), ReasonCode::ProtocolError);
    }

    #[test]
    fn mqtt_3_8_3_1_topic_filters_are_utf_8() {
        let field = "Topic Filter";
        assert_eq!(error(V311, b"\x82\x06\0\x01\0\x01\xff\0"), Error::Utf8 { field });
        // The second entry is checked as well, before any is acted on.
        assert_eq!(error(V311, b"\x82\x0a\0\x01\0\x01a\0\0\x01\0\0"), Error::Nul { field });
        let field = "Subscription Options";
        assert_eq!(error(V311, b"\x82\x05\0\x01\0\x01a"), Error::Truncated { field });
    }

    #[test]
    fn a_subscription_identifier_is_there_once_and_not_zero() {
        let twice = error(V5, b"\x82\x0b\0\x01\x04\x0b\x01\x0b\x02\0\x01a\0");
        assert!(matches!(twice, Error::PropertyTwice { .. }));
        assert_eq!(twice.reason_code(), ReasonCode::ProtocolError);
        let zero = error(V5, b"\x82\x09\0\x01\x02\x0b\0\0\x01a\0");
        assert!(matches!(zero, Error::PropertyValue { found: 0, .. }));
    }

    #[test]
    fn entries_keep_their_order() {
        let options = SubscriptionOptions {
            qos: QoS::AtLeastOnce,
            no_local: true,
            retain_as_published: true,
            retain_handling: RetainHandling::DoNotSend,
        };
        let entries = [
            Subscription { filter: "b/#", options },
            Subscription { filter: "a", options: SubscriptionOptions::default() },
        ];
        let mut out = Vec::new();
        let none = UserProperties::default();
        encode_subscribe(V5, PacketId::FIRST, Some(268_435_455), &none, entries, &mut out);
        let Ok(Packet::Subscribe(subscribe)) = decode(V5, &out, Side::FromClient) else {
            panic!("{out:?}");
        };
        assert_eq!(subscribe.subscription_id, Some(268_435_455));
        assert_eq!(subscribe.subscriptions.collect::<Vec<_>>(), entries);
    }
}
