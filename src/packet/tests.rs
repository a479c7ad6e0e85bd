//! What holds for every packet: the samples are read, written back and read the same; every cut of them and
//! every altered byte is refused or read, and never ends the program.

#![allow(clippy::unwrap_used)]

use super::properties::tests::{CARRIERS, encoded};
use super::samples::SAMPLES;
use super::*;

const SIDES: [Side; 2] = [Side::FromClient, Side::FromServer];
const VERSIONS: [ProtocolVersion; 3] = [ProtocolVersion::V31, ProtocolVersion::V311, ProtocolVersion::V5];

/// A small generator of numbers: xorshift, from a seed.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end.max(1)
    }
}

/// Writes what was read and reads it again: it must be the same.
fn assert_round_trip(version: ProtocolVersion, side: Side, bytes: &[u8], name: &str) {
    let packet = decode(version, bytes, side).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut out = Vec::new();
    packet.encode(version, &mut out).unwrap();
    let again = decode(version, &out, side).unwrap_or_else(|error| panic!("{name} written: {error}"));
    assert_eq!(packet, again, "{name}");
    assert_eq!(packet.packet_type(), again.packet_type());
}

#[test]
fn every_sample_is_read_and_written() {
    for sample in SAMPLES {
        let whole = frame(sample.bytes, PACKET_BYTES_MAX);
        let body_len = sample.bytes.len() - 2;
        assert_eq!(whole, Ok(Frame::Complete { header_len: 2, body_len }), "{}", sample.name);
        assert_round_trip(sample.version, sample.side, sample.bytes, sample.name);
    }
}

#[test]
fn most_samples_are_written_byte_by_byte_as_they_were() {
    let as_they_were = |sample: &&samples::Sample| {
        let mut out = Vec::new();
        decode(sample.version, sample.bytes, sample.side).unwrap().encode(sample.version, &mut out).unwrap();
        out == sample.bytes
    };
    // The others have their properties in another order, or leave out what they need not say.
    let same = SAMPLES.iter().filter(as_they_were).count();
    assert!(same * 10 >= SAMPLES.len() * 7, "{same} of {}", SAMPLES.len());
    for sample in
        SAMPLES.iter().filter(|sample| !sample.version.is_v5() && sample.version != ProtocolVersion::V31)
    {
        assert!(as_they_were(&sample), "{}", sample.name);
    }
}

#[test]
fn every_beginning_of_a_packet_is_incomplete() {
    for sample in SAMPLES {
        for end in 0..sample.bytes.len() {
            let cut = sample.bytes.get(..end).unwrap();
            assert_eq!(frame(cut, PACKET_BYTES_MAX), Ok(Frame::Incomplete), "{} cut at {end}", sample.name);
            assert_eq!(decode(sample.version, cut, sample.side), Err(Error::NotOnePacket));
        }
    }
}

/// A body that ends early while the Remaining Length says so: the fields then reach beyond it.
#[test]
fn every_cut_body_is_refused_or_read_as_another_packet() {
    for sample in SAMPLES {
        for end in 2..sample.bytes.len() {
            let mut cut = sample.bytes.get(..end).unwrap().to_vec();
            cut[1] = u8::try_from(end - 2).unwrap();
            match decode(sample.version, &cut, sample.side) {
                // Payload, entries, Reason Codes and the rest of an acknowledgement may end anywhere.
                Ok(_) => assert_round_trip(sample.version, sample.side, &cut, sample.name),
                Err(error) => assert_ne!(error.reason_code(), ReasonCode::Success),
            }
        }
    }
}

#[test]
fn one_byte_too_many_is_refused_where_a_packet_has_an_end() {
    for sample in SAMPLES {
        let mut longer = sample.bytes.to_vec();
        longer.push(0);
        longer[1] += 1;
        let open = matches!(
            decode(sample.version, sample.bytes, sample.side).unwrap().packet_type(),
            PacketType::Publish | PacketType::SubAck | PacketType::UnsubAck
        );
        let found = decode(sample.version, &longer, sample.side);
        // The acknowledgements of 5.0 grow by a Reason Code or a Property Length that was left out.
        let grows = sample.version.is_v5() && sample.bytes.len() < 6;
        if !open && !grows && sample.name != "connect 3.1 without its strings" {
            assert!(found.is_err(), "{}: {found:?}", sample.name);
        }
    }
}

#[test]
fn every_altered_byte_is_refused_or_read() {
    let mut read = 0_u32;
    for sample in SAMPLES {
        for at in 0..sample.bytes.len() {
            // Every flipped bit, every property identifier and small length, the largest lengths.
            let byte = sample.bytes[at];
            let values = (0..8).map(|bit| byte ^ 1 << bit).chain(0..=0x2B).chain([0x7F, 0x80, 0xFE, 0xFF]);
            for value in values {
                let mut altered = sample.bytes.to_vec();
                altered[at] = value;
                if decode(sample.version, &altered, sample.side).is_ok() {
                    assert_round_trip(sample.version, sample.side, &altered, sample.name);
                    read += 1;
                }
            }
        }
    }
    assert!(read > 5_000, "{read}");
}

#[test]
fn any_bytes_are_refused_or_read() {
    let mut random = Random::new(7);
    let mut read = 0_u32;
    for _ in 0..50_000 {
        let len = random.below(24);
        let mut bytes = vec![(1 + random.below(15) as u8) << 4, len as u8];
        // Small values make lengths and identifiers that fit.
        bytes.extend(
            (0..len).map(|_| if random.below(4) == 0 { random.below(256) } else { random.below(4) } as u8),
        );
        for version in VERSIONS {
            for side in SIDES {
                if decode(version, &bytes, side).is_ok() {
                    assert_round_trip(version, side, &bytes, "random");
                    read += 1;
                }
            }
        }
    }
    assert!(read > 250, "{read}");
}

/// A packet of 5.0 that has those properties, and who sends it.
fn carrying(carrier: PropertyCarrier, block: &[u8]) -> (Side, Vec<u8>) {
    let (first, before, after): (u8, &[u8], &[u8]) = match carrier {
        PropertyCarrier::Will => (0x10, b"\0\x04MQTT\x05\x06\0\0\0\0\x01a", b"\0\x01w\0\x01p"),
        PropertyCarrier::Connect => (0x10, b"\0\x04MQTT\x05\x02\0\0", b"\0\x01a"),
        PropertyCarrier::ConnAck => (0x20, b"\0\0", b""),
        PropertyCarrier::Publish => (0x32, b"\0\x01t\0\x01", b"payload"),
        PropertyCarrier::PubAck => (0x40, b"\0\x01\x80", b""),
        PropertyCarrier::PubRec => (0x50, b"\0\x01\x80", b""),
        PropertyCarrier::PubRel => (0x62, b"\0\x01\x92", b""),
        PropertyCarrier::PubComp => (0x70, b"\0\x01\x92", b""),
        PropertyCarrier::Subscribe => (0x82, b"\0\x01", b"\0\x01f\x01"),
        PropertyCarrier::SubAck => (0x90, b"\0\x01", b"\x01"),
        PropertyCarrier::Unsubscribe => (0xA2, b"\0\x01", b"\0\x01f"),
        PropertyCarrier::UnsubAck => (0xB0, b"\0\x01", b"\0"),
        PropertyCarrier::Disconnect => (0xE0, b"\x80", b""),
        PropertyCarrier::Auth => (0xF0, b"\x18", b""),
    };
    let from_server = matches!(
        carrier,
        PropertyCarrier::ConnAck
            | PropertyCarrier::Publish
            | PropertyCarrier::SubAck
            | PropertyCarrier::UnsubAck
    );
    let mut out = Vec::new();
    writer::packet(&mut out, first, |out| {
        out.extend_from_slice(before);
        writer::properties(out, |out| out.extend_from_slice(block));
        out.extend_from_slice(after);
    });
    (if from_server { Side::FromServer } else { Side::FromClient }, out)
}

#[test]
fn properties_are_read_and_written_in_any_order_and_choice() {
    let mut random = Random::new(11);
    for carrier in CARRIERS {
        for _ in 0..500 {
            let mut chosen: Vec<PropertyId> = PropertyId::ALL
                .iter()
                .copied()
                .filter(|id| id.is_valid_in(carrier) && random.below(2) == 1)
                .filter(|id| *id != PropertyId::AuthenticationMethod)
                .collect();
            if PropertyId::AuthenticationMethod.is_valid_in(carrier) {
                chosen.push(PropertyId::AuthenticationMethod);
            }
            let repeats = if random.below(8) == 0 { 20 } else { random.below(4) };
            chosen.extend(std::iter::repeat_n(PropertyId::UserProperty, repeats));
            for at in (1..chosen.len()).rev() {
                chosen.swap(at, random.below(at + 1));
            }
            let block: Vec<u8> = chosen.iter().flat_map(|id| encoded(*id)).collect();
            let (side, packet) = carrying(carrier, &block);
            assert_round_trip(ProtocolVersion::V5, side, &packet, &format!("{carrier:?} with {chosen:?}"));
        }
    }
}

#[test]
fn table_2_1_each_side_sends_its_own_packets() {
    for sample in SAMPLES {
        let packet_type = decode(sample.version, sample.bytes, sample.side).unwrap().packet_type();
        let both = match packet_type {
            PacketType::Connect | PacketType::Subscribe | PacketType::Unsubscribe | PacketType::PingReq => {
                false
            }
            PacketType::ConnAck | PacketType::SubAck | PacketType::UnsubAck | PacketType::PingResp => false,
            PacketType::Disconnect => sample.version.is_v5(),
            _ => true,
        };
        let side = if sample.side == Side::FromClient { Side::FromServer } else { Side::FromClient };
        let wrong = Err(Error::WrongSide { packet: packet_type, side });
        assert_eq!(decode(sample.version, sample.bytes, side) == wrong, !both, "{}", sample.name);
    }
}

#[test]
fn mqtt_2_2_1_3_packet_identifier_zero_is_refused() {
    for first in [0x32, 0x40, 0x50, 0x62, 0x70, 0x82, 0xA2] {
        for version in VERSIONS {
            let head: &[u8] = if first == 0x32 { b"\0\x01a" } else { b"" };
            let body = [head, &[0, 0], b"\0\0\x01a\0"].concat();
            let packet = [&[first, body.len() as u8], &body[..]].concat();
            let packet_type = PacketType::of_first_byte(first).unwrap();
            let found = decode(version, &packet, Side::FromClient);
            assert_eq!(found, Err(Error::PacketIdZero { packet: packet_type }));
        }
    }
}

#[test]
fn a_packet_value_stays_small() {
    assert!(size_of::<Packet<'_>>() <= 136, "{}", size_of::<Packet<'_>>());
    assert!(size_of::<Error>() <= 40, "{}", size_of::<Error>());
}
