//! The Fixed Header (MQTT 5.0 section 2.1): Control Packet type, flags, Remaining Length.

use super::reader::Reader;
use super::{Error, ProtocolVersion, QoS, Side};

/// The largest Remaining Length that four bytes express.
pub const REMAINING_LENGTH_MAX: u32 = 268_435_455;

/// Bytes of the largest packet there can be: fixed header of five bytes included.
pub const PACKET_BYTES_MAX: u32 = REMAINING_LENGTH_MAX + 5;

/// A Control Packet type (MQTT 5.0 section 2.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PacketType {
    /// CONNECT
    Connect = 1,
    /// CONNACK
    ConnAck = 2,
    /// PUBLISH
    Publish = 3,
    /// PUBACK
    PubAck = 4,
    /// PUBREC
    PubRec = 5,
    /// PUBREL
    PubRel = 6,
    /// PUBCOMP
    PubComp = 7,
    /// SUBSCRIBE
    Subscribe = 8,
    /// SUBACK
    SubAck = 9,
    /// UNSUBSCRIBE
    Unsubscribe = 10,
    /// UNSUBACK
    UnsubAck = 11,
    /// PINGREQ
    PingReq = 12,
    /// PINGRESP
    PingResp = 13,
    /// DISCONNECT
    Disconnect = 14,
    /// AUTH, of 5.0 only
    Auth = 15,
}

impl PacketType {
    /// The type in the upper four bits of a packet's first byte.
    ///
    /// # Errors
    /// [`Error::ReservedPacketType`] of 0.
    pub const fn of_first_byte(byte: u8) -> Result<Self, Error> {
        Ok(match byte >> 4 {
            1 => Self::Connect,
            2 => Self::ConnAck,
            3 => Self::Publish,
            4 => Self::PubAck,
            5 => Self::PubRec,
            6 => Self::PubRel,
            7 => Self::PubComp,
            8 => Self::Subscribe,
            9 => Self::SubAck,
            10 => Self::Unsubscribe,
            11 => Self::UnsubAck,
            12 => Self::PingReq,
            13 => Self::PingResp,
            14 => Self::Disconnect,
            15 => Self::Auth,
            found => return Err(Error::ReservedPacketType { found }),
        })
    }

    /// The first byte of a packet of this type; of PUBLISH without its flags.
    pub const fn first_byte(self) -> u8 {
        (self as u8) << 4 | self.flags()
    }

    /// The flags that table 2-2 prescribes; PUBLISH has its own.
    const fn flags(self) -> u8 {
        match self {
            Self::PubRel | Self::Subscribe | Self::Unsubscribe => 0b0010,
            _ => 0,
        }
    }

    /// One bit a type.
    pub(super) const fn bit(self) -> u16 {
        1 << (self as u8)
    }

    /// Whether `side` sends packets of this type in `version` (table 2-1).
    pub(super) const fn check_sender(self, version: ProtocolVersion, side: Side) -> Result<(), Error> {
        let right = match self {
            Self::Connect | Self::Subscribe | Self::Unsubscribe | Self::PingReq => {
                matches!(side, Side::FromClient)
            }
            Self::ConnAck | Self::SubAck | Self::UnsubAck | Self::PingResp => {
                matches!(side, Side::FromServer)
            }
            Self::Disconnect => version.is_v5() || matches!(side, Side::FromClient),
            Self::Publish | Self::PubAck | Self::PubRec | Self::PubRel | Self::PubComp | Self::Auth => true,
        };
        if right { Ok(()) } else { Err(Error::WrongSide { packet: self, side }) }
    }
}

/// Where the first packet of a buffer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// More bytes are needed.
    Incomplete,
    /// A whole packet is there: `header_len + body_len` bytes.
    Complete {
        /// Bytes of the fixed header, 2 to 5.
        header_len: usize,
        /// The Remaining Length: bytes that follow the fixed header.
        body_len: usize,
    },
}

/// Looks at the fixed header at the beginning of `bytes`, which may hold less or more than one packet.
/// `packet_bytes_max` is the receiver's Maximum Packet Size, fixed header included.
///
/// # Errors
/// As soon as the bytes tell it: a reserved packet type, a PUBLISH with QoS 3, a Remaining Length of more
/// than four bytes, a packet that is too large, whether its bytes have come or not. The flags of other packets
/// depend on the version: [`super::decode`] checks them.
pub fn frame(bytes: &[u8], packet_bytes_max: u32) -> Result<Frame, Error> {
    let Some((&first, rest)) = bytes.split_first() else {
        return Ok(Frame::Incomplete);
    };
    if PacketType::of_first_byte(first)? == PacketType::Publish {
        publish_qos(first)?;
    }
    let mut body_len: u32 = 0;
    for (at, byte) in rest.iter().take(4).enumerate() {
        body_len |= u32::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            return complete(bytes.len(), at + 2, body_len, packet_bytes_max);
        }
    }
    if rest.len() >= 4 { Err(Error::RemainingLength) } else { Ok(Frame::Incomplete) }
}

fn complete(available: usize, header_len: usize, body_len: u32, max: u32) -> Result<Frame, Error> {
    let found = u64::from(body_len) + header_len as u64;
    if found > u64::from(max) {
        return Err(Error::PacketTooLarge { found, max });
    }
    if found > available as u64 {
        return Ok(Frame::Incomplete);
    }
    Ok(Frame::Complete { header_len, body_len: body_len as usize })
}

/// The QoS in the first byte of a PUBLISH ([MQTT-3.3.1-4]).
pub(super) fn publish_qos(first: u8) -> Result<QoS, Error> {
    QoS::from_bits(first >> 1).ok_or(Error::Qos3 { field: "QoS of PUBLISH" })
}

/// The first byte, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FixedHeader {
    pub(super) packet_type: PacketType,
    pub(super) flags: u8,
}

/// Takes the fixed header off one whole packet, and checks what `version` demands of it.
pub(super) fn split(version: ProtocolVersion, packet: &[u8]) -> Result<(FixedHeader, Reader<'_>), Error> {
    let Frame::Complete { header_len, body_len } = frame(packet, PACKET_BYTES_MAX)? else {
        return Err(Error::NotOnePacket);
    };
    let (Some(&first), Some(body)) = (packet.first(), packet.get(header_len..)) else {
        return Err(Error::NotOnePacket);
    };
    if body.len() != body_len {
        return Err(Error::NotOnePacket);
    }
    let header = FixedHeader { packet_type: PacketType::of_first_byte(first)?, flags: first & 0x0F };
    if header.packet_type == PacketType::Auth && !version.is_v5() {
        return Err(Error::ReservedPacketType { found: PacketType::Auth as u8 });
    }
    // 3.1 calls the flags of these packets "not used", and lets DUP be set in PUBREL, SUBSCRIBE, UNSUBSCRIBE.
    let strict = version != ProtocolVersion::V31 && header.packet_type != PacketType::Publish;
    let expected = header.packet_type.flags();
    if strict && header.flags != expected {
        return Err(Error::FixedHeaderFlags { packet: header.packet_type, found: header.flags, expected });
    }
    // Only 5.0 wants the shortest form of every Variable Byte Integer; some 3.x clients pad to a fixed width.
    if version.is_v5() && header_len != 1 + super::writer::varint_len(body_len) {
        return Err(Error::VariableByteInteger { field: "Remaining Length" });
    }
    Ok((header, Reader::new(body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: u32 = PACKET_BYTES_MAX;

    #[test]
    fn mqtt_2_1_2_type_zero_is_reserved_and_fifteen_before_5_0() {
        assert_eq!(frame(&[0x00], ANY), Err(Error::ReservedPacketType { found: 0 }));
        assert_eq!(frame(&[0x0F, 0x80], ANY), Err(Error::ReservedPacketType { found: 0 }));
        for version in [ProtocolVersion::V31, ProtocolVersion::V311] {
            let found = split(version, &[0xF0, 0]).map(|_| ());
            assert_eq!(found, Err(Error::ReservedPacketType { found: 15 }));
        }
        assert!(split(ProtocolVersion::V5, &[0xF0, 0]).is_ok());
    }

    #[test]
    fn mqtt_2_1_3_1_flags_are_those_of_the_table() {
        for packet_type in 1..=15_u8 {
            for flags in 0..16_u8 {
                let packet = [packet_type << 4 | flags, 0];
                let wanted = if matches!(packet_type, 6 | 8 | 10) { 2 } else { 0 };
                let right = packet_type == 3 || flags == wanted;
                let found = split(ProtocolVersion::V5, &packet);
                assert_eq!(found.is_ok(), right && !(packet_type == 3 && flags & 6 == 6), "{packet:?}");
            }
        }
        assert!(split(ProtocolVersion::V31, &[0x6A, 0]).is_ok(), "3.1 repeats PUBREL with DUP");
        assert!(split(ProtocolVersion::V311, &[0x6A, 0]).is_err());
    }

    #[test]
    fn mqtt_3_3_1_4_qos_3_is_refused_at_the_first_byte() {
        assert_eq!(frame(&[0x36], ANY), Err(Error::Qos3 { field: "QoS of PUBLISH" }));
        assert_eq!(frame(&[0x34], ANY), Ok(Frame::Incomplete));
    }

    #[test]
    fn table_2_4_remaining_lengths_at_their_edges() {
        let cases: [(&[u8], u32); 8] = [
            (&[0x00], 0),
            (&[0x7F], 127),
            (&[0x80, 0x01], 128),
            (&[0xFF, 0x7F], 16_383),
            (&[0x80, 0x80, 0x01], 16_384),
            (&[0xFF, 0xFF, 0x7F], 2_097_151),
            (&[0x80, 0x80, 0x80, 0x01], 2_097_152),
            (&[0xFF, 0xFF, 0xFF, 0x7F], 268_435_455),
        ];
        for (length, value) in cases {
            let packet = [&[0x30], length].concat();
            let wanted =
                if value == 0 { Frame::Complete { header_len: 2, body_len: 0 } } else { Frame::Incomplete };
            assert_eq!(frame(&packet, ANY), Ok(wanted));
            let found = u64::from(value) + packet.len() as u64;
            let max = u32::try_from(found).unwrap_or(ANY) - 1;
            assert_eq!(frame(&packet, max), Err(Error::PacketTooLarge { found, max }));
        }
        assert_eq!(frame(&[0x30, 0xFF, 0xFF, 0xFF, 0x80], ANY), Err(Error::RemainingLength));
        assert_eq!(frame(&[0x30, 0xFF, 0xFF, 0xFF], ANY), Ok(Frame::Incomplete));
    }

    #[test]
    fn mqtt_3_1_2_24_too_large_is_told_before_the_bytes_come() {
        assert_eq!(frame(&[0x30, 0x64], 101), Err(Error::PacketTooLarge { found: 102, max: 101 }));
        assert_eq!(frame(&[0x30, 0x64], 102), Ok(Frame::Incomplete));
    }

    #[test]
    fn mqtt_1_5_5_1_a_padded_remaining_length_is_malformed_in_5_0() {
        assert_eq!(frame(&[0xC0, 0x80, 0x00], ANY), Ok(Frame::Complete { header_len: 3, body_len: 0 }));
        assert!(split(ProtocolVersion::V5, &[0xC0, 0x80, 0x00]).is_err());
        assert!(split(ProtocolVersion::V311, &[0xC0, 0x80, 0x00]).is_ok());
    }

    #[test]
    fn only_one_whole_packet_is_decoded() {
        for packet in [&[][..], &[0xC0], &[0xC0, 1], &[0xC0, 0, 0]] {
            assert_eq!(split(ProtocolVersion::V311, packet).map(|_| ()), Err(Error::NotOnePacket));
        }
    }
}
