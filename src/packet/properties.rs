//! The properties of MQTT 5.0 (section 2.2.2): which exist, which packet has which, their types and ranges.

use std::num::NonZeroU16;

use super::reader::Reader;
use super::writer::{put_property_id, put_string};
use super::{Error, PacketType, QoS};
use crate::topic::{TopicLimits, check_name};

macro_rules! property_ids {
    ($($value:literal $name:ident in $($carrier:ident)|+;)+) => {
        /// A property, by its identifier (table 2-4).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        #[allow(missing_docs, reason = "the names are those of the specification")]
        pub enum PropertyId {
            $($name = $value,)+
        }

        impl PropertyId {
            /// Every property.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The property of that identifier.
            pub const fn from_value(value: u32) -> Option<Self> {
                match value {
                    $($value => Some(Self::$name),)+
                    _ => None,
                }
            }

            /// What may carry it, one bit a carrier.
            const fn carriers(self) -> u16 {
                match self {
                    $(Self::$name => $(PropertyCarrier::$carrier.bit())|+,)+
                }
            }
        }
    };
}

/// What has properties: a packet, or the Will in a CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names are those of the Control Packets")]
pub enum PropertyCarrier {
    Will = 0,
    Connect = 1,
    ConnAck = 2,
    Publish = 3,
    PubAck = 4,
    PubRec = 5,
    PubRel = 6,
    PubComp = 7,
    Subscribe = 8,
    SubAck = 9,
    Unsubscribe = 10,
    UnsubAck = 11,
    Disconnect = 14,
    Auth = 15,
}

impl PropertyCarrier {
    const fn bit(self) -> u16 {
        1 << (self as u8)
    }

    /// The carrier that an acknowledgement of a PUBLISH is.
    pub(super) const fn of_ack(packet_type: PacketType) -> Self {
        match packet_type {
            PacketType::PubRec => Self::PubRec,
            PacketType::PubRel => Self::PubRel,
            PacketType::PubComp => Self::PubComp,
            _ => Self::PubAck,
        }
    }
}

property_ids! {
    0x01 PayloadFormatIndicator in Publish | Will;
    0x02 MessageExpiryInterval in Publish | Will;
    0x03 ContentType in Publish | Will;
    0x08 ResponseTopic in Publish | Will;
    0x09 CorrelationData in Publish | Will;
    0x0B SubscriptionIdentifier in Publish | Subscribe;
    0x11 SessionExpiryInterval in Connect | ConnAck | Disconnect;
    0x12 AssignedClientIdentifier in ConnAck;
    0x13 ServerKeepAlive in ConnAck;
    0x15 AuthenticationMethod in Connect | ConnAck | Auth;
    0x16 AuthenticationData in Connect | ConnAck | Auth;
    0x17 RequestProblemInformation in Connect;
    0x18 WillDelayInterval in Will;
    0x19 RequestResponseInformation in Connect;
    0x1A ResponseInformation in ConnAck;
    0x1C ServerReference in ConnAck | Disconnect;
    0x1F ReasonString in
        ConnAck | PubAck | PubRec | PubRel | PubComp | SubAck | UnsubAck | Disconnect | Auth;
    0x21 ReceiveMaximum in Connect | ConnAck;
    0x22 TopicAliasMaximum in Connect | ConnAck;
    0x23 TopicAlias in Publish;
    0x24 MaximumQoS in ConnAck;
    0x25 RetainAvailable in ConnAck;
    0x26 UserProperty in
        Connect | ConnAck | Publish | Will | PubAck | PubRec | PubRel | PubComp | Subscribe | SubAck
        | Unsubscribe | UnsubAck | Disconnect | Auth;
    0x27 MaximumPacketSize in Connect | ConnAck;
    0x28 WildcardSubscriptionAvailable in ConnAck;
    0x29 SubscriptionIdentifierAvailable in ConnAck;
    0x2A SharedSubscriptionAvailable in ConnAck;
}

impl PropertyId {
    /// Whether `carrier` may have it (table 2-4).
    pub const fn is_valid_in(self, carrier: PropertyCarrier) -> bool {
        self.carriers() & carrier.bit() != 0
    }

    /// Whether it may be there more than once: User Properties, and the Subscription Identifiers of a
    /// PUBLISH.
    const fn repeats_in(self, carrier: PropertyCarrier) -> bool {
        matches!(self, Self::UserProperty)
            || matches!((self, carrier), (Self::SubscriptionIdentifier, PropertyCarrier::Publish))
    }
}

/// The value of a property, by its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::enum_variant_names, reason = "User Property is its name")]
pub(super) enum Property<'a> {
    PayloadFormatIndicator(bool),
    MessageExpiryInterval(u32),
    ContentType(&'a str),
    ResponseTopic(&'a str),
    CorrelationData(&'a [u8]),
    SubscriptionIdentifier(u32),
    SessionExpiryInterval(u32),
    AssignedClientIdentifier(&'a str),
    ServerKeepAlive(u16),
    AuthenticationMethod(&'a str),
    AuthenticationData(&'a [u8]),
    RequestProblemInformation(bool),
    WillDelayInterval(u32),
    RequestResponseInformation(bool),
    ResponseInformation(&'a str),
    ServerReference(&'a str),
    ReasonString(&'a str),
    ReceiveMaximum(u16),
    TopicAliasMaximum(u16),
    TopicAlias(NonZeroU16),
    MaximumQoS(QoS),
    RetainAvailable(bool),
    UserProperty(&'a str, &'a str),
    MaximumPacketSize(u32),
    WildcardSubscriptionAvailable(bool),
    SubscriptionIdentifierAvailable(bool),
    SharedSubscriptionAvailable(bool),
}

/// Reads the value of the property `id` and checks its range, whatever carries it.
fn value<'a>(id: PropertyId, reader: &mut Reader<'a>) -> Result<Property<'a>, Error> {
    Ok(match id {
        PropertyId::PayloadFormatIndicator => Property::PayloadFormatIndicator(flag(id, reader)?),
        PropertyId::MessageExpiryInterval => {
            Property::MessageExpiryInterval(reader.u32("Message Expiry Interval")?)
        }
        PropertyId::ContentType => Property::ContentType(reader.string("Content Type")?),
        PropertyId::ResponseTopic => Property::ResponseTopic(response_topic(reader)?),
        PropertyId::CorrelationData => Property::CorrelationData(reader.binary("Correlation Data")?),
        PropertyId::SubscriptionIdentifier => {
            let found = reader.varint("Subscription Identifier")?;
            Property::SubscriptionIdentifier(nonzero(id, found, "1 to 268,435,455")?)
        }
        PropertyId::SessionExpiryInterval => {
            Property::SessionExpiryInterval(reader.u32("Session Expiry Interval")?)
        }
        PropertyId::AssignedClientIdentifier => {
            Property::AssignedClientIdentifier(reader.string("Assigned Client Identifier")?)
        }
        PropertyId::ServerKeepAlive => Property::ServerKeepAlive(reader.u16("Server Keep Alive")?),
        PropertyId::AuthenticationMethod => {
            Property::AuthenticationMethod(reader.string("Authentication Method")?)
        }
        PropertyId::AuthenticationData => Property::AuthenticationData(reader.binary("Authentication Data")?),
        PropertyId::RequestProblemInformation => Property::RequestProblemInformation(flag(id, reader)?),
        PropertyId::WillDelayInterval => Property::WillDelayInterval(reader.u32("Will Delay Interval")?),
        PropertyId::RequestResponseInformation => Property::RequestResponseInformation(flag(id, reader)?),
        PropertyId::ResponseInformation => {
            Property::ResponseInformation(reader.string("Response Information")?)
        }
        PropertyId::ServerReference => Property::ServerReference(reader.string("Server Reference")?),
        PropertyId::ReasonString => Property::ReasonString(reader.string("Reason String")?),
        PropertyId::ReceiveMaximum => {
            let found = reader.u16("Receive Maximum")?;
            nonzero(id, u32::from(found), "1 to 65,535")?;
            Property::ReceiveMaximum(found)
        }
        PropertyId::TopicAliasMaximum => Property::TopicAliasMaximum(reader.u16("Topic Alias Maximum")?),
        PropertyId::TopicAlias => {
            let found = reader.u16("Topic Alias")?;
            Property::TopicAlias(NonZeroU16::new(found).ok_or(Error::TopicAliasZero)?)
        }
        PropertyId::MaximumQoS => Property::MaximumQoS(maximum_qos(reader)?),
        PropertyId::RetainAvailable => Property::RetainAvailable(flag(id, reader)?),
        PropertyId::UserProperty => {
            Property::UserProperty(reader.string("User Property")?, reader.string("User Property")?)
        }
        PropertyId::MaximumPacketSize => {
            Property::MaximumPacketSize(nonzero(id, reader.u32("Maximum Packet Size")?, "at least 1")?)
        }
        PropertyId::WildcardSubscriptionAvailable => {
            Property::WildcardSubscriptionAvailable(flag(id, reader)?)
        }
        PropertyId::SubscriptionIdentifierAvailable => {
            Property::SubscriptionIdentifierAvailable(flag(id, reader)?)
        }
        PropertyId::SharedSubscriptionAvailable => Property::SharedSubscriptionAvailable(flag(id, reader)?),
    })
}

fn flag(property: PropertyId, reader: &mut Reader<'_>) -> Result<bool, Error> {
    match reader.u8("a property of one byte")? {
        0 => Ok(false),
        1 => Ok(true),
        found => Err(Error::PropertyValue { property, found: u32::from(found), expected: "0 or 1" }),
    }
}

const fn nonzero(property: PropertyId, found: u32, expected: &'static str) -> Result<u32, Error> {
    if found == 0 { Err(Error::PropertyValue { property, found, expected }) } else { Ok(found) }
}

fn maximum_qos(reader: &mut Reader<'_>) -> Result<QoS, Error> {
    match reader.u8("Maximum QoS")? {
        0 => Ok(QoS::AtMostOnce),
        1 => Ok(QoS::AtLeastOnce),
        found => Err(Error::PropertyValue {
            property: PropertyId::MaximumQoS,
            found: u32::from(found),
            expected: "0 or 1",
        }),
    }
}

fn response_topic<'a>(reader: &mut Reader<'a>) -> Result<&'a str, Error> {
    let text = reader.string("Response Topic")?;
    check_name(text, &TopicLimits::default()).map_err(|reason| Error::ResponseTopic { reason })?;
    Ok(text)
}

/// Reads the block of properties of one carrier, and refuses what does not belong to it or comes twice.
#[derive(Debug)]
pub(super) struct PropertyReader<'a> {
    reader: Reader<'a>,
    carrier: PropertyCarrier,
    /// One bit a property that was there.
    seen: u64,
}

impl<'a> PropertyReader<'a> {
    pub(super) const fn new(block: Reader<'a>, carrier: PropertyCarrier) -> Self {
        Self { reader: block, carrier, seen: 0 }
    }

    /// The bytes that are not read yet.
    pub(super) const fn remaining(&self) -> usize {
        self.reader.len()
    }

    /// The next property, `None` after the last.
    pub(super) fn next(&mut self) -> Result<Option<Property<'a>>, Error> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        let carrier = self.carrier;
        let found = self.reader.varint("Property Identifier")?;
        let property = PropertyId::from_value(found).ok_or(Error::UnknownProperty { carrier, found })?;
        if !property.is_valid_in(carrier) {
            return Err(Error::PropertyNotAllowed { carrier, property });
        }
        let bit = 1_u64 << (property as u8);
        if self.seen & bit != 0 && !property.repeats_in(carrier) {
            return Err(Error::PropertyTwice { carrier, property });
        }
        self.seen |= bit;
        value(property, &mut self.reader).map(Some)
    }
}

/// The next property of a block that was checked before: nothing is checked again.
pub(super) fn next_checked<'a>(reader: &mut Reader<'a>) -> Option<Property<'a>> {
    let id = PropertyId::from_value(u32::from(reader.u8("Property Identifier").ok()?))?;
    value(id, reader).ok()
}

/// The User Properties of a packet, in order: pairs of name and value; names may repeat.
#[derive(Clone, Copy, Default)]
pub struct UserProperties<'a> {
    /// Properties that were checked; may hold others as well.
    block: &'a [u8],
}

impl<'a> UserProperties<'a> {
    /// Those in a block of properties that was checked.
    pub(super) const fn of_checked(block: &'a [u8]) -> Self {
        Self { block }
    }

    /// Checks User Properties that [`encode_user_property`] wrote one after the other.
    ///
    /// # Errors
    /// Those of any properties, and of other properties among them.
    pub fn parse(encoded: &'a [u8]) -> Result<Self, Error> {
        let mut reader = PropertyReader::new(Reader::new(encoded), PropertyCarrier::Unsubscribe);
        while reader.next()?.is_some() {}
        Ok(Self { block: encoded })
    }

    /// The pairs, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + Clone + use<'a> {
        let mut reader = Reader::new(self.block);
        std::iter::from_fn(move || next_checked(&mut reader)).filter_map(|property| match property {
            Property::UserProperty(name, value) => Some((name, value)),
            _ => None,
        })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Appends them, encoded.
    pub fn write(&self, out: &mut Vec<u8>) {
        for (name, value) in self.iter() {
            encode_user_property(name, value, out);
        }
    }
}

impl PartialEq for UserProperties<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for UserProperties<'_> {}

impl std::fmt::Debug for UserProperties<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Appends one User Property with its identifier; texts beyond 65,535 bytes are cut.
pub fn encode_user_property(name: &str, value: &str, out: &mut Vec<u8>) {
    put_property_id(out, PropertyId::UserProperty);
    put_string(out, name);
    put_string(out, value);
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::packet::{ErrorKind, ReasonCode};

    pub(in crate::packet) const CARRIERS: [PropertyCarrier; 14] = [
        PropertyCarrier::Will,
        PropertyCarrier::Connect,
        PropertyCarrier::ConnAck,
        PropertyCarrier::Publish,
        PropertyCarrier::PubAck,
        PropertyCarrier::PubRec,
        PropertyCarrier::PubRel,
        PropertyCarrier::PubComp,
        PropertyCarrier::Subscribe,
        PropertyCarrier::SubAck,
        PropertyCarrier::Unsubscribe,
        PropertyCarrier::UnsubAck,
        PropertyCarrier::Disconnect,
        PropertyCarrier::Auth,
    ];

    /// One property of that identifier, with a value that is right.
    pub(in crate::packet) fn encoded(id: PropertyId) -> Vec<u8> {
        let value: &[u8] = match id {
            PropertyId::MessageExpiryInterval
            | PropertyId::SessionExpiryInterval
            | PropertyId::WillDelayInterval
            | PropertyId::MaximumPacketSize => &[0, 0, 0, 1],
            PropertyId::ServerKeepAlive
            | PropertyId::ReceiveMaximum
            | PropertyId::TopicAliasMaximum
            | PropertyId::TopicAlias => &[0, 1],
            PropertyId::ContentType
            | PropertyId::ResponseTopic
            | PropertyId::CorrelationData
            | PropertyId::AssignedClientIdentifier
            | PropertyId::AuthenticationMethod
            | PropertyId::AuthenticationData
            | PropertyId::ResponseInformation
            | PropertyId::ServerReference
            | PropertyId::ReasonString => &[0, 1, b'x'],
            PropertyId::UserProperty => &[0, 1, b'k', 0, 1, b'v'],
            _ => &[1],
        };
        [&[id as u8], value].concat()
    }

    fn read(carrier: PropertyCarrier, block: &[u8]) -> Result<usize, Error> {
        let mut reader = PropertyReader::new(Reader::new(block), carrier);
        let mut count = 0;
        while reader.next()?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    #[test]
    fn table_2_4_every_property_belongs_to_its_packets() {
        let mut pairs = 0;
        for carrier in CARRIERS {
            for id in PropertyId::ALL {
                let found = read(carrier, &encoded(*id));
                if id.is_valid_in(carrier) {
                    assert_eq!(found, Ok(1), "{id:?} of {carrier:?}");
                    pairs += 1;
                } else {
                    let wanted = Error::PropertyNotAllowed { carrier, property: *id };
                    assert_eq!(wanted.reason_code(), ReasonCode::MalformedPacket);
                    assert_eq!(found, Err(wanted));
                }
            }
        }
        // Will 7, CONNECT 9, CONNACK 17, PUBLISH 8, four acknowledgements, SUBACK and UNSUBACK 2 each,
        // SUBSCRIBE 2, UNSUBSCRIBE 1, DISCONNECT 4, AUTH 4.
        assert_eq!(pairs, 7 + 9 + 17 + 8 + 6 * 2 + 2 + 1 + 4 + 4);
    }

    #[test]
    fn every_property_but_two_is_there_once() {
        for carrier in CARRIERS {
            for id in PropertyId::ALL.iter().filter(|id| id.is_valid_in(carrier)) {
                let twice = encoded(*id).repeat(2);
                let repeats = *id == PropertyId::UserProperty
                    || (*id == PropertyId::SubscriptionIdentifier && carrier == PropertyCarrier::Publish);
                let found = read(carrier, &twice);
                if repeats {
                    assert_eq!(found, Ok(2));
                } else {
                    let wanted = Error::PropertyTwice { carrier, property: *id };
                    assert_eq!(wanted.reason_code(), ReasonCode::ProtocolError);
                    assert_eq!(found, Err(wanted));
                }
            }
        }
    }

    #[test]
    fn values_out_of_range_are_protocol_errors() {
        let connect = PropertyCarrier::Connect;
        let cases: [(PropertyCarrier, &[u8]); 9] = [
            (connect, &[0x21, 0, 0]),
            (connect, &[0x27, 0, 0, 0, 0]),
            (connect, &[0x17, 2]),
            (connect, &[0x19, 255]),
            (PropertyCarrier::Publish, &[0x0B, 0]),
            (PropertyCarrier::Publish, &[0x01, 2]),
            (PropertyCarrier::ConnAck, &[0x24, 2]),
            (PropertyCarrier::ConnAck, &[0x25, 2]),
            (PropertyCarrier::ConnAck, &[0x2A, 2]),
        ];
        for (carrier, block) in cases {
            let found = read(carrier, block);
            let found = found.as_ref().map_err(|error| (error.kind(), error.reason_code()));
            assert_eq!(found, Err((ErrorKind::Protocol, ReasonCode::ProtocolError)), "{block:?}");
        }
    }

    #[test]
    fn unknown_identifiers_are_malformed() {
        let carrier = PropertyCarrier::Connect;
        for found in [0x00, 0x04, 0x0A, 0x14, 0x20, 0x2B, 0x7F] {
            let unknown = Error::UnknownProperty { carrier, found };
            assert_eq!(unknown.reason_code(), ReasonCode::MalformedPacket);
            assert_eq!(read(carrier, &[found as u8, 0, 0, 0, 0]), Err(unknown));
        }
        assert_eq!(read(carrier, &[0xA6, 0x01]), Err(Error::UnknownProperty { carrier, found: 166 }));
        let padded = Error::VariableByteInteger { field: "Property Identifier" };
        assert_eq!(read(carrier, &[0xA1, 0x00, 0, 1]), Err(padded));
    }

    #[test]
    fn every_cut_property_is_truncated() {
        for carrier in CARRIERS {
            for id in PropertyId::ALL.iter().filter(|id| id.is_valid_in(carrier)) {
                let whole = encoded(*id);
                for end in 1..whole.len() {
                    let found = read(carrier, whole.get(..end).unwrap_or_default());
                    assert!(matches!(found, Err(Error::Truncated { .. })), "{id:?} cut at {end}");
                }
            }
        }
    }

    #[test]
    fn user_properties_keep_their_order_and_repeat() {
        let mut encoded = Vec::new();
        let pairs = [("b", "1"), ("a", ""), ("b", "1"), ("", "ü")];
        for (name, value) in pairs {
            encode_user_property(name, value, &mut encoded);
        }
        let properties = UserProperties::parse(&encoded);
        assert_eq!(properties.map(|found| found.iter().collect::<Vec<_>>()), Ok(pairs.to_vec()));
        assert!(UserProperties::parse(&[0x1F, 0, 0]).is_err());
        assert!(UserProperties::default().is_empty());
    }
}
