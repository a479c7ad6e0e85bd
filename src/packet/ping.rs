//! PINGREQ and PINGRESP (MQTT 5.0 sections 3.12 and 3.13): a fixed header and nothing else.

use super::reader::Reader;
use super::{Error, PacketType};

/// A PINGREQ.
pub const PINGREQ: [u8; 2] = [0xC0, 0];

/// A PINGRESP.
pub const PINGRESP: [u8; 2] = [0xD0, 0];

pub(super) fn decode(packet_type: PacketType, body: Reader<'_>) -> Result<(), Error> {
    body.end(packet_type)
}

/// Appends a PINGREQ.
pub fn encode_pingreq(out: &mut Vec<u8>) {
    out.extend_from_slice(&PINGREQ);
}

/// Appends a PINGRESP.
pub fn encode_pingresp(out: &mut Vec<u8>) {
    out.extend_from_slice(&PINGRESP);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Packet, ProtocolVersion, Side};

    #[test]
    fn a_ping_has_no_content() {
        let read = |bytes, side| super::super::decode(ProtocolVersion::V311, bytes, side);
        assert_eq!(read(&PINGREQ, Side::FromClient), Ok(Packet::PingReq));
        assert_eq!(read(&PINGRESP, Side::FromServer), Ok(Packet::PingResp));
        let packet = PacketType::PingReq;
        assert_eq!(read(&[0xC0, 1, 0], Side::FromClient), Err(Error::TrailingBytes { packet, found: 1 }));
    }
}
