//! Appending fields to a buffer: the data types of MQTT 5.0 section 1.5, and the two lengths that stand
//! before what they measure.

use super::fixed_header::REMAINING_LENGTH_MAX;
use super::{PropertyId, UserProperties};

pub(super) fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(super) fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Bytes of a Variable Byte Integer; 5 of what is too large to be one.
#[inline]
pub(super) const fn varint_len(value: usize) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        0x20_0000..=0xFFF_FFFF => 4,
        _ => 5,
    }
}

/// Appends a Variable Byte Integer; `value` is at most `REMAINING_LENGTH_MAX`, as every caller has checked.
#[inline]
pub(super) fn put_varint(out: &mut Vec<u8>, value: usize) {
    let mut rest = value;
    while rest > 0x7F {
        out.push((rest & 0x7F) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Binary Data. What is longer than 65,535 bytes can't be encoded and is cut there: values that were decoded
/// or checked by `topic` never are.
pub(super) fn put_binary(out: &mut Vec<u8>, bytes: &[u8]) {
    let (len, bytes) = match u16::try_from(bytes.len()) {
        Ok(len) => (len, bytes),
        Err(_) => (u16::MAX, bytes.get(..usize::from(u16::MAX)).unwrap_or_default()),
    };
    put_u16(out, len);
    out.extend_from_slice(bytes);
}

/// A UTF-8 Encoded String; cut like [`put_binary`], at a character's beginning.
#[inline]
pub(super) fn put_string(out: &mut Vec<u8>, text: &str) {
    put_binary(out, text.as_bytes().get(..string_len(text)).unwrap_or_default());
}

/// Bytes of a text that [`put_string`] writes after its length.
#[inline]
pub(super) fn string_len(text: &str) -> usize {
    let mut end = text.len().min(usize::from(u16::MAX));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    end
}

/// Appends what `body` writes, with the fixed header of that first byte before it. A packet beyond the
/// largest Remaining Length has no encoding: nothing is appended then. For the packets off the data path: the
/// body is moved when its length needs more than one byte.
pub(super) fn packet(out: &mut Vec<u8>, first_byte: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.push(first_byte);
    if !measured(out, body) {
        out.truncate(start);
    }
}

/// Appends a block of properties with its Property Length.
pub(super) fn properties(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    // A block too large makes its packet too large as well, which `packet` sees.
    measured(out, body);
}

/// Appends what `body` writes after its length as Variable Byte Integer; says whether the length is one.
fn measured(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) -> bool {
    let start = out.len();
    out.push(0);
    body(out);
    let len = out.len().saturating_sub(start + 1);
    if len > REMAINING_LENGTH_MAX as usize {
        return false;
    }
    match (u8::try_from(len), out.get_mut(start)) {
        (Ok(short @ ..=0x7F), Some(length)) => *length = short,
        _ => {
            let mut length = Vec::with_capacity(4);
            put_varint(&mut length, len);
            out.splice(start..=start, length);
        }
    }
    true
}

/// Appends the identifier of a property.
pub(super) fn put_property_id(out: &mut Vec<u8>, id: PropertyId) {
    out.push(id as u8);
}

/// Appends a property of one byte.
pub(super) fn put_u8_property(out: &mut Vec<u8>, id: PropertyId, value: u8) {
    put_property_id(out, id);
    out.push(value);
}

/// Appends a property of two bytes, if there is one.
pub(super) fn put_u16_property(out: &mut Vec<u8>, id: PropertyId, value: Option<u16>) {
    if let Some(value) = value {
        put_property_id(out, id);
        put_u16(out, value);
    }
}

/// Appends a property of four bytes, if there is one.
pub(super) fn put_u32_property(out: &mut Vec<u8>, id: PropertyId, value: Option<u32>) {
    if let Some(value) = value {
        put_property_id(out, id);
        put_u32(out, value);
    }
}

/// Appends a property of text, if there is one.
pub(super) fn put_string_property(out: &mut Vec<u8>, id: PropertyId, value: Option<&str>) {
    if let Some(value) = value {
        put_property_id(out, id);
        put_string(out, value);
    }
}

/// Appends a property of Binary Data, if there is one.
pub(super) fn put_binary_property(out: &mut Vec<u8>, id: PropertyId, value: Option<&[u8]>) {
    if let Some(value) = value {
        put_property_id(out, id);
        put_binary(out, value);
    }
}

/// Appends a Reason String and User Properties: what nearly every answer of 5.0 may have.
pub(super) fn put_reason(
    out: &mut Vec<u8>,
    reason_string: Option<&str>,
    user_properties: &UserProperties<'_>,
) {
    put_string_property(out, PropertyId::ReasonString, reason_string);
    user_properties.write(out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_the_bytes_that_they_need() {
        for value in [0, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out.len(), varint_len(value), "{value}");
            assert_eq!(super::super::reader::Reader::new(&out).varint("n"), Ok(value as u32));
        }
    }

    #[test]
    fn a_body_is_moved_behind_a_long_length() {
        let mut out = vec![9];
        packet(&mut out, 0x10, |out| out.extend_from_slice(&[7; 200]));
        assert_eq!(out.get(..5), Some(&[9, 0x10, 0xC8, 0x01, 7][..]));
        assert_eq!(out.len(), 204);
    }

    #[test]
    fn texts_are_cut_at_a_character() {
        let mut out = Vec::new();
        put_string(&mut out, &"ä".repeat(40_000));
        assert_eq!(super::super::reader::Reader::new(&out).string("t").map(str::len), Ok(65_534));
    }
}
