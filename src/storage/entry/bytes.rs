//! Numbers, texts and byte strings as entries have them.

use super::EntryError;
use crate::packet::QoS;

/// Bits of the byte of flags that several entries have; the two low bits are the QoS.
pub(super) mod flag {
    pub(in crate::storage::entry) const QOS: u8 = 0b11;
    pub(in crate::storage::entry) const RETAIN: u8 = 1 << 2;
    pub(in crate::storage::entry) const EXPIRY: u8 = 1 << 3;
    pub(in crate::storage::entry) const CONDITIONAL: u8 = 1 << 3;
    pub(in crate::storage::entry) const PACKET_ID: u8 = 1 << 4;
    pub(in crate::storage::entry) const IDS: u8 = 1 << 5;
    pub(in crate::storage::entry) const SHARE: u8 = 1 << 6;
    pub(in crate::storage::entry) const NEW: u8 = 1;
    pub(in crate::storage::entry) const CONNECTED: u8 = 1 << 1;
    pub(in crate::storage::entry) const WILL: u8 = 1 << 2;
}

pub(super) fn numbers<const N: usize>(out: &mut Vec<u8>, kind: u8, numbers: [u64; N]) {
    out.push(kind);
    for number in numbers {
        put_varint(out, number);
    }
}

/// Appends a number, seven bits a byte, low ones first (LEB128).
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Takes a number off `bytes`.
pub(in crate::storage) fn varint(bytes: &mut &[u8]) -> Result<u64, EntryError> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = byte(bytes)?;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            break;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(EntryError::Value("number"))
}

pub(super) fn narrow<T: TryFrom<u64>>(bytes: &mut &[u8], what: &'static str) -> Result<T, EntryError> {
    T::try_from(varint(bytes)?).map_err(|_| EntryError::Value(what))
}

pub(super) fn byte(bytes: &mut &[u8]) -> Result<u8, EntryError> {
    let (first, rest) = bytes.split_first().ok_or(EntryError::Cut)?;
    *bytes = rest;
    Ok(*first)
}

pub(super) fn string<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], EntryError> {
    let len = usize::try_from(varint(bytes)?).map_err(|_| EntryError::Cut)?;
    let (string, rest) = bytes.split_at_checked(len).ok_or(EntryError::Cut)?;
    *bytes = rest;
    Ok(string)
}

pub(super) fn text<'a>(bytes: &mut &'a [u8]) -> Result<&'a str, EntryError> {
    std::str::from_utf8(string(bytes)?).map_err(|_| EntryError::Value("text"))
}

pub(super) fn qos(flags: u8) -> Result<QoS, EntryError> {
    QoS::from_bits(flags & flag::QOS).ok_or(EntryError::Value("QoS"))
}
