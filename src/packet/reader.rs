//! The cursor over the bytes of a packet: every field is taken off its front, checked, borrowed.
//! Data types are those of MQTT 5.0 section 1.5.

use super::{Error, PacketId, PacketType, QoS};

/// What is left to read of a packet or of its properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(super) const fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// All that is left, without taking it.
    pub(super) const fn peek(&self) -> &'a [u8] {
        self.bytes
    }

    /// Takes all that is left.
    pub(super) const fn rest(&mut self) -> &'a [u8] {
        let bytes = self.bytes;
        self.bytes = &[];
        bytes
    }

    /// The bytes that were taken since `earlier`, a copy of this cursor.
    pub(super) fn taken_since(&self, earlier: &Self) -> &'a [u8] {
        let taken = earlier.len().saturating_sub(self.len());
        earlier.bytes.get(..taken).unwrap_or_default()
    }

    #[inline]
    pub(super) fn take(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or(Error::Truncated { field })?;
        self.bytes = rest;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Error> {
        let (taken, rest) = self.bytes.split_first_chunk::<N>().ok_or(Error::Truncated { field })?;
        self.bytes = rest;
        Ok(*taken)
    }

    #[inline]
    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, Error> {
        self.array(field).map(|[byte]| byte)
    }

    #[inline]
    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, Error> {
        self.array(field).map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, Error> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// A Variable Byte Integer in its shortest form ([MQTT-1.5.5-1]).
    pub(super) fn varint(&mut self, field: &'static str) -> Result<u32, Error> {
        let mut value: u32 = 0;
        for at in 0..4 {
            let byte = self.u8(field)?;
            value |= u32::from(byte & 0x7F) << (7 * at);
            if byte & 0x80 == 0 {
                let padded = byte == 0 && at > 0;
                return if padded { Err(Error::VariableByteInteger { field }) } else { Ok(value) };
            }
        }
        Err(Error::VariableByteInteger { field })
    }

    /// Binary Data: two bytes of length, then that many.
    #[inline]
    pub(super) fn binary(&mut self, field: &'static str) -> Result<&'a [u8], Error> {
        let len = self.u16(field)?;
        self.take(usize::from(len), field)
    }

    /// A UTF-8 Encoded String: well-formed, without surrogates and U+0000; U+FEFF stays
    /// ([MQTT-1.5.4-1] to [MQTT-1.5.4-3]).
    #[inline]
    pub(super) fn string(&mut self, field: &'static str) -> Result<&'a str, Error> {
        let bytes = self.binary(field)?;
        let text = std::str::from_utf8(bytes).map_err(|_| Error::Utf8 { field })?;
        if any_byte(bytes, |byte| byte == 0) {
            return Err(Error::Nul { field });
        }
        Ok(text)
    }

    pub(super) fn packet_id(&mut self, packet: PacketType) -> Result<PacketId, Error> {
        PacketId::new(self.u16("Packet Identifier")?).ok_or(Error::PacketIdZero { packet })
    }

    /// The block of properties of a 5.0 packet: its length, then that many bytes.
    #[inline]
    pub(super) fn properties(&mut self) -> Result<Self, Error> {
        let len = self.varint("Property Length")?;
        self.take(len as usize, "Properties").map(Self::new)
    }

    /// Ends a packet: nothing may be left.
    pub(super) const fn end(&self, packet: PacketType) -> Result<(), Error> {
        if self.bytes.is_empty() {
            Ok(())
        } else {
            Err(Error::TrailingBytes { packet, found: self.bytes.len() })
        }
    }
}

/// Whether `wanted` holds for any byte. Sixteen at a time, without an early end: the compiler makes a few
/// vector instructions of each block, and texts with such a byte end the connection anyway.
#[inline]
pub(super) fn any_byte(bytes: &[u8], wanted: impl Fn(u8) -> bool) -> bool {
    let block = |block: &[u8; 16]| block.iter().fold(false, |found, byte| found | wanted(*byte));
    match bytes.last_chunk::<16>() {
        // The last block overlaps the one before it instead of leaving a rest.
        Some(last) => bytes.as_chunks::<16>().0.iter().fold(block(last), |found, next| found | block(next)),
        None => bytes.iter().any(|byte| wanted(*byte)),
    }
}

/// The QoS in the two low bits of `bits`.
pub(super) fn qos(bits: u8, field: &'static str) -> Result<QoS, Error> {
    QoS::from_bits(bits).ok_or(Error::Qos3 { field })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(bytes: &[u8]) -> Result<&str, Error> {
        let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes();
        let encoded: &'static [u8] = [&len, bytes].concat().leak();
        Reader::new(encoded).string("text")
    }

    #[test]
    fn mqtt_1_5_4_1_ill_formed_utf_8_is_refused() {
        let ill: [&[u8]; 7] = [
            &[0xED, 0xA0, 0x80],       // U+D800, a surrogate
            &[0xED, 0xBF, 0xBF],       // U+DFFF
            &[0xC0, 0x80],             // two bytes for U+0000
            &[0xF4, 0x90, 0x80, 0x80], // beyond U+10FFFF
            &[0xE2, 0x82],             // cut
            &[0x80],
            &[0xFF],
        ];
        for bytes in ill {
            assert_eq!(string(bytes), Err(Error::Utf8 { field: "text" }), "{bytes:?}");
        }
    }

    #[test]
    fn mqtt_1_5_4_2_nul_is_refused_and_other_controls_stay() {
        assert_eq!(string(b"a\0"), Err(Error::Nul { field: "text" }));
        assert_eq!(string(b"\x01\x1f\x7f\xc2\x80"), Ok("\u{1}\u{1f}\u{7f}\u{80}"));
    }

    #[test]
    fn mqtt_1_5_4_3_the_byte_order_mark_stays() {
        assert_eq!(string(&[0xEF, 0xBB, 0xBF, b'A']), Ok("\u{feff}A"));
        assert_eq!(string("A\u{2A6D4}".as_bytes()), Ok("A\u{2A6D4}"));
    }

    #[test]
    fn mqtt_1_5_5_1_variable_byte_integers_are_as_short_as_can_be() {
        let read = |bytes: &[u8]| Reader::new(bytes).varint("n");
        assert_eq!(read(&[0x00]), Ok(0));
        assert_eq!(read(&[0xFF, 0xFF, 0xFF, 0x7F]), Ok(268_435_455));
        for padded in [&[0x80, 0x00][..], &[0xFF, 0x80, 0x00], &[0x80, 0x80, 0x80, 0x80, 0x01]] {
            assert_eq!(read(padded), Err(Error::VariableByteInteger { field: "n" }));
        }
        assert_eq!(read(&[0x80]), Err(Error::Truncated { field: "n" }));
    }

    #[test]
    fn a_byte_is_found_wherever_it_stands() {
        for len in 0..70 {
            let mut bytes = vec![1; len];
            assert!(!any_byte(&bytes, |byte| byte == 0));
            for at in 0..len {
                bytes[at] = 0;
                assert!(any_byte(&bytes, |byte| byte == 0), "{at} of {len}");
                bytes[at] = 1;
            }
        }
    }

    #[test]
    fn fields_beyond_the_end_are_truncated() {
        let mut reader = Reader::new(&[0, 3, b'a', b'b']);
        assert_eq!(reader.binary("data"), Err(Error::Truncated { field: "data" }));
        assert_eq!(Reader::new(&[0, 0, 0]).u32("n"), Err(Error::Truncated { field: "n" }));
    }
}
