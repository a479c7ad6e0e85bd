//! A small MQTT codec of the suite's own, so that it checks the broker's wire format independently.
//! Encodes what a Client sends (also things that are wrong on purpose), decodes what a Server sends and is strict about it:
//! reserved bits, lengths, properties that don't belong, trailing bytes all fail the test.

mod decode;
mod encode;
mod packet;
mod property;

pub use decode::{Decoded, decode};
pub use encode::{binary, packet, string};
pub use packet::{
    Ack, AckKind, Auth, Connack, Connect, Disconnect, Filter, Packet, Publish, Subscribe, Unsubscribe, Will,
};
pub use property::Property;

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 3.1, `MQIsdp`, level 3.
    V31,
    /// 3.1.1, `MQTT`, level 4.
    V311,
    /// 5.0, `MQTT`, level 5.
    V50,
}

impl Version {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::V31, Self::V311, Self::V50];

    /// The Protocol Level.
    pub fn level(self) -> u8 {
        match self {
            Self::V31 => 3,
            Self::V311 => 4,
            Self::V50 => 5,
        }
    }

    /// Whether packets of this version have properties.
    pub fn is_v5(self) -> bool {
        self == Self::V50
    }
}

/// First bytes of the Control Packets, as they have to be.
pub mod first_byte {
    pub const CONNECT: u8 = 0x10;
    pub const CONNACK: u8 = 0x20;
    pub const PUBLISH: u8 = 0x30;
    pub const PUBACK: u8 = 0x40;
    pub const PUBREC: u8 = 0x50;
    pub const PUBREL: u8 = 0x62;
    pub const PUBCOMP: u8 = 0x70;
    pub const SUBSCRIBE: u8 = 0x82;
    pub const SUBACK: u8 = 0x90;
    pub const UNSUBSCRIBE: u8 = 0xA2;
    pub const UNSUBACK: u8 = 0xB0;
    pub const PINGREQ: u8 = 0xC0;
    pub const PINGRESP: u8 = 0xD0;
    pub const DISCONNECT: u8 = 0xE0;
    pub const AUTH: u8 = 0xF0;
}
