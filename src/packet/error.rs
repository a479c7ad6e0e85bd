//! What can be wrong with the bytes of a packet: what was found, what was expected, which statement says so,
//! and the Reason Code that answers it. The fault is always the sender's.

use thiserror::Error;

use super::{PacketType, PropertyCarrier, PropertyId, ReasonCode, Side};
use crate::topic::TopicError;

/// The class of an [`Error`]: how the specification speaks of it (MQTT 5.0 section 4.13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A Malformed Packet: it can't be parsed.
    Malformed,
    /// A Protocol Error: it parses, and says what the protocol does not allow.
    Protocol,
    /// It passes a limit of the receiver, or asks for what the receiver does not do.
    Limit,
}

/// Why the bytes from the other side are no packet that it may send.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// The first byte names no Control Packet of this version.
    #[error("packet type {found} is reserved, expected a Control Packet type [MQTT-2.1.2]")]
    ReservedPacketType {
        /// The upper four bits.
        found: u8,
    },
    /// The lower four bits of the first byte are not those of its packet type.
    #[error("{packet:?} has the flags {found:#06b}, expected {expected:#06b} [MQTT-2.1.3-1]")]
    FixedHeaderFlags {
        /// The packet's type.
        packet: PacketType,
        /// Found.
        found: u8,
        /// Expected.
        expected: u8,
    },
    /// Client and server have exchanged roles.
    #[error("{packet:?} came {side:?}, that side does not send it")]
    WrongSide {
        /// The packet's type.
        packet: PacketType,
        /// Who sent it.
        side: Side,
    },
    /// The Remaining Length has more than four bytes.
    #[error("the Remaining Length has more than four bytes (section 1.5.5)")]
    RemainingLength,
    /// A Variable Byte Integer has more than four bytes, or more than it needs.
    #[error("{field} is no Variable Byte Integer of as few bytes as it needs, at most four [MQTT-1.5.5-1]")]
    VariableByteInteger {
        /// The field.
        field: &'static str,
    },
    /// Larger than the receiver's Maximum Packet Size.
    #[error("the packet has {found} bytes, at most {max} are accepted [MQTT-3.1.2-24]")]
    PacketTooLarge {
        /// Bytes found, fixed header included.
        found: u64,
        /// Bytes accepted.
        max: u32,
    },
    /// The bytes handed over are not one whole packet: the caller's mistake, not the sender's.
    #[error("the buffer is not exactly one packet")]
    NotOnePacket,
    /// A field reaches beyond the end of its packet or of its properties.
    #[error("{field} reaches beyond the end of the packet or of its properties")]
    Truncated {
        /// The field.
        field: &'static str,
    },
    /// Bytes follow the last field.
    #[error("{found} bytes follow the last field of {packet:?}")]
    TrailingBytes {
        /// The packet's type.
        packet: PacketType,
        /// How many.
        found: usize,
    },
    /// A text is no well-formed UTF-8, or encodes surrogates.
    #[error("{field} is not well-formed UTF-8 [MQTT-1.5.4-1]")]
    Utf8 {
        /// The field.
        field: &'static str,
    },
    /// A text holds U+0000.
    #[error("{field} holds U+0000 [MQTT-1.5.4-2]")]
    Nul {
        /// The field.
        field: &'static str,
    },
    /// Bits that must be zero are not.
    #[error("{field} has reserved bits set: {found:#010b}, they must be 0")]
    ReservedBits {
        /// The field.
        field: &'static str,
        /// The byte.
        found: u8,
    },
    /// A value outside the range of its field.
    #[error("{field} is {found}, expected {expected}")]
    Value {
        /// The field.
        field: &'static str,
        /// Found.
        found: u32,
        /// What is allowed.
        expected: &'static str,
    },
    /// Both bits of a QoS are set.
    #[error("{field} is 3, expected 0, 1 or 2 [MQTT-3.3.1-4]")]
    Qos3 {
        /// The field.
        field: &'static str,
    },
    /// DUP is set in a PUBLISH with QoS 0.
    #[error("DUP is set in a PUBLISH with QoS 0 [MQTT-3.3.1-2]")]
    DupWithQos0,
    /// A Packet Identifier is zero.
    #[error("the Packet Identifier of {packet:?} is 0 [MQTT-2.2.1-3]")]
    PacketIdZero {
        /// The packet's type.
        packet: PacketType,
    },
    /// A packet came where only a CONNECT may.
    #[error("{packet:?} came before CONNECT [MQTT-3.1.0-1]")]
    NotConnect {
        /// The packet's type.
        packet: PacketType,
    },
    /// The Protocol Name of a CONNECT is neither `MQTT` nor `MQIsdp`.
    #[error("the Protocol Name is none of MQTT, expected `MQTT` or `MQIsdp` [MQTT-3.1.2-1]")]
    ProtocolName,
    /// The Protocol Name is MQTT's, its version is none of 3.1, 3.1.1 and 5.0.
    #[error("protocol level {level} is not supported, expected 3 (MQIsdp), 4 or 5 (MQTT) [MQTT-3.1.2-2]")]
    ProtocolLevel {
        /// The level.
        level: u8,
    },
    /// Will QoS or Will Retain are set, and there is no Will.
    #[error("Connect Flags {found:#010b} set Will QoS or Will Retain without Will Flag [MQTT-3.1.2-11]")]
    WillFlags {
        /// The Connect Flags.
        found: u8,
    },
    /// A password without a user name, before 5.0.
    #[error("the Password Flag is set without the User Name Flag [MQTT-3.1.2-22 of 3.1.1]")]
    PasswordWithoutUserName,
    /// Authentication Data without a method.
    #[error("Authentication Data without Authentication Method in {packet:?} (section 3.1.2.11.10)")]
    AuthenticationDataWithoutMethod {
        /// The packet's type.
        packet: PacketType,
    },
    /// An AUTH without Authentication Method.
    #[error("AUTH has no Authentication Method (section 3.15.2.2.2)")]
    AuthenticationMethodMissing,
    /// No such property exists.
    #[error("property {found:#04x} of {carrier:?} does not exist (section 2.2.2.2)")]
    UnknownProperty {
        /// What carries it.
        carrier: PropertyCarrier,
        /// Its identifier.
        found: u32,
    },
    /// A property in a packet that does not have it.
    #[error("{carrier:?} has no property {property:?} (section 2.2.2.2)")]
    PropertyNotAllowed {
        /// What carries it.
        carrier: PropertyCarrier,
        /// The property.
        property: PropertyId,
    },
    /// A property more than once that may be there once.
    #[error("{carrier:?} has the property {property:?} more than once")]
    PropertyTwice {
        /// What carries it.
        carrier: PropertyCarrier,
        /// The property.
        property: PropertyId,
    },
    /// A property with a value that it may not have.
    #[error("{property:?} is {found}, expected {expected}")]
    PropertyValue {
        /// The property.
        property: PropertyId,
        /// Found.
        found: u32,
        /// What is allowed.
        expected: &'static str,
    },
    /// A property that the other side may send, not this one.
    #[error("{carrier:?} has the property {property:?}, it may not come {side:?}")]
    PropertyFromWrongSide {
        /// What carries it.
        carrier: PropertyCarrier,
        /// The property.
        property: PropertyId,
        /// Who sent it.
        side: Side,
    },
    /// A Response Topic that is no Topic Name.
    #[error("Response Topic {reason} [MQTT-3.3.2-14]")]
    ResponseTopic {
        /// Why.
        reason: TopicError,
    },
    /// A Topic Alias of zero.
    #[error("Topic Alias is 0 [MQTT-3.3.2-8]")]
    TopicAliasZero,
    /// A Topic Name that is none: wildcards, or empty before 5.0.
    #[error("Topic Name {reason} (section 3.3.2.1)")]
    TopicName {
        /// Why.
        reason: TopicError,
    },
    /// An empty Topic Name without a Topic Alias.
    #[error("PUBLISH has neither Topic Name nor Topic Alias (section 3.3.2.1)")]
    TopicMissing,
    /// A SUBSCRIBE, UNSUBSCRIBE or an answer to one without any entry.
    #[error("{packet:?} has no entry, expected at least one [MQTT-3.8.3-2]")]
    NoEntries {
        /// The packet's type.
        packet: PacketType,
    },
    /// A Reason Code or return code that does not exist, or not in this packet.
    #[error("{packet:?} has the Reason Code {found:#04x}, which is none of its own (section 2.4)")]
    UnknownReasonCode {
        /// The packet's type.
        packet: PacketType,
        /// Found.
        found: u8,
    },
    /// A CONNACK that refuses and claims a session.
    #[error("CONNACK has Session Present with the refusal {found:#04x} [MQTT-3.2.2-6]")]
    SessionPresentOfRefusal {
        /// The code.
        found: u8,
    },
    /// Payload Format Indicator says UTF-8, the payload is none.
    #[error("the payload is not UTF-8 as its Payload Format Indicator says (section 3.3.2.3.2)")]
    PayloadFormat,
}

impl Error {
    /// How the specification speaks of it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::ReservedPacketType { .. }
            | Self::FixedHeaderFlags { .. }
            | Self::RemainingLength
            | Self::VariableByteInteger { .. }
            | Self::NotOnePacket
            | Self::Truncated { .. }
            | Self::TrailingBytes { .. }
            | Self::Utf8 { .. }
            | Self::Nul { .. }
            | Self::ReservedBits { .. }
            | Self::Qos3 { .. }
            | Self::DupWithQos0
            | Self::ProtocolName
            | Self::WillFlags { .. }
            | Self::PasswordWithoutUserName
            | Self::UnknownProperty { .. }
            | Self::PropertyNotAllowed { .. } => ErrorKind::Malformed,
            Self::PacketTooLarge { .. } | Self::ProtocolLevel { .. } => ErrorKind::Limit,
            _ => ErrorKind::Protocol,
        }
    }

    /// The Reason Code of MQTT 5.0 for the DISCONNECT or CONNACK that answers it.
    pub const fn reason_code(&self) -> ReasonCode {
        match self {
            Self::PacketTooLarge { .. } => ReasonCode::PacketTooLarge,
            Self::ProtocolLevel { .. } | Self::ProtocolName => ReasonCode::UnsupportedProtocolVersion,
            Self::TopicAliasZero => ReasonCode::TopicAliasInvalid,
            Self::TopicName { .. } => ReasonCode::TopicNameInvalid,
            Self::PayloadFormat => ReasonCode::PayloadFormatInvalid,
            _ => match self.kind() {
                ErrorKind::Malformed => ReasonCode::MalformedPacket,
                ErrorKind::Protocol | ErrorKind::Limit => ReasonCode::ProtocolError,
            },
        }
    }
}
