//! Messages and Wills as the journal has them.

use super::EntryError;
use super::bytes::{byte, flag, narrow, numbers, put_bytes, put_varint, qos, string, text, varint};
use super::kind;
use crate::clock::Timestamp;
use crate::packet::QoS;

/// An Application Message, once, however many sessions it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredMessage<'a> {
    /// Its number; unique for ever.
    pub number: u64,
    /// QoS of the publisher.
    pub qos: QoS,
    /// RETAIN as published.
    pub retain: bool,
    /// Serial of the publishing session; 0: the broker itself.
    pub publisher: u64,
    /// When its Message Expiry Interval ends, in the journal's time.
    pub expires_at: Option<Timestamp>,
    /// Topic Name.
    pub topic: &'a str,
    /// Encoded 5.0 properties that travel unaltered.
    pub forwarded: &'a [u8],
    /// Payload.
    pub payload: &'a [u8],
}

/// A Will that is not due yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredWill<'a> {
    /// QoS.
    pub qos: QoS,
    /// RETAIN.
    pub retain: bool,
    /// Will Delay Interval.
    pub delay_s: u32,
    /// Message Expiry Interval, which counts from its publication.
    pub expiry_s: Option<u32>,
    /// Topic Name.
    pub topic: &'a str,
    /// Encoded 5.0 properties that travel unaltered.
    pub forwarded: &'a [u8],
    /// Payload.
    pub payload: &'a [u8],
}

impl<'a> StoredMessage<'a> {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let flags = self.qos as u8
            | if self.retain { flag::RETAIN } else { 0 }
            | if self.expires_at.is_some() { flag::EXPIRY } else { 0 };
        numbers(out, kind::MESSAGE, [self.number]);
        out.push(flags);
        put_varint(out, self.publisher);
        if let Some(at) = self.expires_at {
            put_varint(out, at.0);
        }
        put_bytes(out, self.topic.as_bytes());
        put_bytes(out, self.forwarded);
        put_bytes(out, self.payload);
    }

    pub(super) fn decode(bytes: &mut &'a [u8]) -> Result<Self, EntryError> {
        let number = varint(bytes)?;
        let flags = byte(bytes)?;
        Ok(Self {
            number,
            qos: qos(flags)?,
            retain: flags & flag::RETAIN != 0,
            publisher: varint(bytes)?,
            expires_at: if flags & flag::EXPIRY != 0 { Some(Timestamp(varint(bytes)?)) } else { None },
            topic: text(bytes)?,
            forwarded: string(bytes)?,
            payload: string(bytes)?,
        })
    }
}

impl<'a> StoredWill<'a> {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let flags = self.qos as u8
            | if self.retain { flag::RETAIN } else { 0 }
            | if self.expiry_s.is_some() { flag::EXPIRY } else { 0 };
        out.push(flags);
        put_varint(out, u64::from(self.delay_s));
        if let Some(expiry_s) = self.expiry_s {
            put_varint(out, u64::from(expiry_s));
        }
        put_bytes(out, self.topic.as_bytes());
        put_bytes(out, self.forwarded);
        put_bytes(out, self.payload);
    }

    pub(super) fn decode(bytes: &mut &'a [u8]) -> Result<Self, EntryError> {
        let flags = byte(bytes)?;
        Ok(Self {
            qos: qos(flags)?,
            retain: flags & flag::RETAIN != 0,
            delay_s: narrow(bytes, "Will Delay")?,
            expiry_s: if flags & flag::EXPIRY != 0 { Some(narrow(bytes, "expiry")?) } else { None },
            topic: text(bytes)?,
            forwarded: string(bytes)?,
            payload: string(bytes)?,
        })
    }
}
