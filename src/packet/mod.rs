//! The wire format of MQTT 3.1, 3.1.1 and 5.0: bytes to Control Packets and back, for both sides.
//!
//! [`frame`] finds where a packet ends, [`decode`] reads a whole one without copying, the `encode` functions
//! append to a buffer. Nothing here reads, writes or remembers: what depends on an earlier packet (packet
//! identifiers in use, Topic Aliases, quotas) belongs to the connection. One file a Control Packet, named
//! after it. Statements are cited with the numbers of MQTT 5.0 where both specifications have them.

mod ack;
mod auth;
mod connack;
pub mod connect;
mod disconnect;
mod error;
mod fixed_header;
mod forwarded;
mod packet_id;
mod ping;
mod properties;
mod publish;
mod qos;
mod reader;
mod reason_code;
mod suback;
mod subscribe;
mod unsuback;
mod unsubscribe;
mod writer;

pub use ack::{Ack, encode_puback, encode_pubcomp, encode_pubrec, encode_pubrel};
pub use auth::Auth;
pub use connack::ConnAck;
pub use connect::{Connect, Will};
pub use disconnect::{Disconnect, encode_disconnect};
pub use error::{Error, ErrorKind};
pub use fixed_header::{Frame, PACKET_BYTES_MAX, PacketType, REMAINING_LENGTH_MAX, frame};
pub use forwarded::{Forwarded, ForwardedProperties};
pub use packet_id::PacketId;
pub use ping::{PINGREQ, PINGRESP, encode_pingreq, encode_pingresp};
pub use properties::{PropertyCarrier, PropertyId, UserProperties, encode_user_property};
pub use publish::{Publish, PublishHead, SubscriptionIds, encode_publish_head, publish_len};
pub use qos::QoS;
pub use reason_code::{ConnectReturnCode, ReasonCode};
pub use suback::{ReasonCodes, SubAck, encode_suback};
pub use subscribe::{
    RetainHandling, Subscribe, Subscription, SubscriptionOptions, Subscriptions, encode_subscribe,
};
pub use unsuback::{UnsubAck, encode_unsuback};
pub use unsubscribe::{Filters, Unsubscribe, encode_unsubscribe};

/// A version of the protocol, as CONNECT names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ProtocolVersion {
    /// MQTT 3.1: `MQIsdp`, level 3.
    V31 = 3,
    /// MQTT 3.1.1: `MQTT`, level 4.
    V311 = 4,
    /// MQTT 5.0: `MQTT`, level 5.
    V5 = 5,
}

impl ProtocolVersion {
    /// Whether this is MQTT 5.0: properties and Reason Codes exist.
    pub const fn is_v5(self) -> bool {
        matches!(self, Self::V5)
    }
}

/// Who sent a packet: some packets and fields are for one side only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// A client sent it.
    FromClient,
    /// A server sent it.
    FromServer,
}

/// One Control Packet; its texts and payload are those of the buffer that it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// Client requests to connect.
    Connect(Box<Connect<'a>>),
    /// The server's answer.
    ConnAck(Box<ConnAck<'a>>),
    /// An Application Message.
    Publish(Publish<'a>),
    /// Acknowledges a PUBLISH with QoS 1.
    PubAck(Ack<'a>),
    /// Acknowledges a PUBLISH with QoS 2, first step.
    PubRec(Ack<'a>),
    /// Second step.
    PubRel(Ack<'a>),
    /// Last step.
    PubComp(Ack<'a>),
    /// Client subscribes.
    Subscribe(Subscribe<'a>),
    /// The server's answer.
    SubAck(SubAck<'a>),
    /// Client unsubscribes.
    Unsubscribe(Unsubscribe<'a>),
    /// The server's answer.
    UnsubAck(UnsubAck<'a>),
    /// Client asks for a sign of life.
    PingReq,
    /// The server's answer.
    PingResp,
    /// The last packet of a connection.
    Disconnect(Disconnect<'a>),
    /// A step of enhanced authentication; MQTT 5.0 only.
    Auth(Auth<'a>),
}

/// Reads one whole packet, as [`frame`] delimits it. A CONNECT is read by the version that it names itself;
/// `version` is what the connection speaks (before any CONNECT: see [`connect::decode`]).
///
/// # Errors
/// [`Error::kind`] and [`Error::reason_code`] say how the specification wants each to be answered.
pub fn decode<'a>(version: ProtocolVersion, packet: &'a [u8], side: Side) -> Result<Packet<'a>, Error> {
    let (header, body) = fixed_header::split(version, packet)?;
    header.packet_type.check_sender(version, side)?;
    let flags = header.flags;
    Ok(match header.packet_type {
        PacketType::Publish => return publish::decode(version, side, flags, body).map(Packet::Publish),
        PacketType::PubAck => Packet::PubAck(ack::decode(version, header.packet_type, body)?),
        PacketType::PubRec => Packet::PubRec(ack::decode(version, header.packet_type, body)?),
        PacketType::PubRel => Packet::PubRel(ack::decode(version, header.packet_type, body)?),
        PacketType::PubComp => Packet::PubComp(ack::decode(version, header.packet_type, body)?),
        PacketType::Connect => Packet::Connect(Box::new(connect::decode(packet)?)),
        PacketType::ConnAck => Packet::ConnAck(Box::new(connack::decode(version, body)?)),
        PacketType::Subscribe => Packet::Subscribe(subscribe::decode(version, body)?),
        PacketType::SubAck => Packet::SubAck(suback::decode(version, body)?),
        PacketType::Unsubscribe => Packet::Unsubscribe(unsubscribe::decode(version, body)?),
        PacketType::UnsubAck => Packet::UnsubAck(unsuback::decode(version, body)?),
        PacketType::PingReq => ping::decode(header.packet_type, body).map(|()| Packet::PingReq)?,
        PacketType::PingResp => ping::decode(header.packet_type, body).map(|()| Packet::PingResp)?,
        PacketType::Disconnect => Packet::Disconnect(disconnect::decode(version, side, body)?),
        PacketType::Auth => Packet::Auth(auth::decode(body)?),
    })
}

impl Packet<'_> {
    /// The packet's type.
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::ConnAck(_) => PacketType::ConnAck,
            Self::Publish(_) => PacketType::Publish,
            Self::PubAck(_) => PacketType::PubAck,
            Self::PubRec(_) => PacketType::PubRec,
            Self::PubRel(_) => PacketType::PubRel,
            Self::PubComp(_) => PacketType::PubComp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::SubAck(_) => PacketType::SubAck,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::UnsubAck(_) => PacketType::UnsubAck,
            Self::PingReq => PacketType::PingReq,
            Self::PingResp => PacketType::PingResp,
            Self::Disconnect(_) => PacketType::Disconnect,
            Self::Auth(_) => PacketType::Auth,
        }
    }

    /// Appends the packet as `version` spells it; what that version has no place for is left out. The
    /// convenient way for clients and tests: the broker's data path uses the functions of each packet.
    ///
    /// # Errors
    /// [`Error::PacketTooLarge`] of a PUBLISH that no Remaining Length can express.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), Error> {
        match self {
            Self::Connect(connect) => connect.encode(out),
            Self::ConnAck(connack) => connack.encode(version, out),
            Self::Publish(publish) => return publish.encode(version, out),
            Self::PubAck(ack) => ack.encode(version, PacketType::PubAck, out),
            Self::PubRec(ack) => ack.encode(version, PacketType::PubRec, out),
            Self::PubRel(ack) => ack.encode(version, PacketType::PubRel, out),
            Self::PubComp(ack) => ack.encode(version, PacketType::PubComp, out),
            Self::Subscribe(subscribe) => subscribe.encode(version, out),
            Self::SubAck(suback) => suback.encode(version, out),
            Self::Unsubscribe(unsubscribe) => unsubscribe.encode(version, out),
            Self::UnsubAck(unsuback) => unsuback.encode(version, out),
            Self::PingReq => encode_pingreq(out),
            Self::PingResp => encode_pingresp(out),
            Self::Disconnect(disconnect) => disconnect.encode(version, out),
            Self::Auth(auth) => auth.encode(out),
        }
        Ok(())
    }
}

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
