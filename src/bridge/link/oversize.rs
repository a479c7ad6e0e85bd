//! A PUBLISH that is larger than this node takes, of a broker that can't be told so: 3.1.1 has no Maximum Packet Size. It is read
//! over and acknowledged, since its broker would send it again and again.

use crate::packet::PacketId;

/// Whether a packet that begins so is a PUBLISH of QoS 0 or 1: a bridge has asked for no others.
pub(super) fn is_expected(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| first >> 4 == 3 && first & 0b100 == 0)
}

/// The Packet Identifier of a PUBLISH of QoS 0 or 1 that begins so. `None`: that has not come yet; `Some(None)`: it has none.
pub(super) fn packet_id(bytes: &[u8]) -> Option<Option<PacketId>> {
    let (first, rest) = bytes.split_first()?;
    if first & 0b110 == 0 {
        return Some(None);
    }
    let header_len = rest.iter().position(|byte| byte & 0x80 == 0)? + 1;
    let number = |at: usize| {
        let bytes = rest.get(at..)?.first_chunk::<2>()?;
        Some(u16::from_be_bytes(*bytes))
    };
    let topic_len = usize::from(number(header_len)?);
    Some(PacketId::new(number(header_len + 2 + topic_len)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identifier_is_found_as_soon_as_it_is_there() {
        let bytes = [0x32, 0xFF, 0x7F, 0, 2, b'a', b'b', 1, 2, b'x'];
        for len in 0..9 {
            assert_eq!(packet_id(&bytes[..len]), None, "{len}");
        }
        assert_eq!(packet_id(&bytes), Some(PacketId::new(0x0102)));
        assert_eq!(packet_id(&[0x30, 0xFF]), Some(None));
        assert_eq!([0x30, 0x3B, 0x34, 0x40].map(|first| is_expected(&[first])), [true, true, false, false]);
    }
}
