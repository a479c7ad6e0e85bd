//! A session as the journal has it, beside its subscriptions and queues.

use super::EntryError;
use super::bytes::{byte, flag, narrow, numbers, put_bytes, put_varint, text, varint};
use super::kind;
use super::message::StoredWill;
use crate::clock::Timestamp;
use crate::packet::ProtocolVersion;

/// What a session is, beside its subscriptions and queues: all of it is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredSession<'a> {
    /// Its name in the journal.
    pub serial: u64,
    /// It begins here (or is written whole, after `Reset`); else it is known, or this entry means nothing.
    pub is_new: bool,
    /// Client Identifier, mountpoint included.
    pub client_id: &'a str,
    /// Version of its last connection.
    pub version: ProtocolVersion,
    /// Session Expiry Interval in seconds; `u32::MAX`: never.
    pub expiry_s: u32,
    /// Keyed hash of the verified User Name whose it is; 0: nobody's in particular.
    pub user: u32,
    /// The Packet Identifier given last; 0: none.
    pub last_packet_id: u16,
    /// When its connection ended, in the journal's time; `None`: it is connected.
    pub disconnected_at: Option<Timestamp>,
    /// The Will.
    pub will: Option<StoredWill<'a>>,
}

impl<'a> StoredSession<'a> {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let flags = if self.is_new { flag::NEW } else { 0 }
            | if self.disconnected_at.is_none() { flag::CONNECTED } else { 0 }
            | if self.will.is_some() { flag::WILL } else { 0 };
        numbers(out, kind::SESSION, [self.serial]);
        out.push(flags);
        out.push(self.version as u8);
        put_varint(out, u64::from(self.expiry_s.wrapping_add(1)));
        put_varint(out, u64::from(self.user));
        put_varint(out, u64::from(self.last_packet_id));
        if let Some(at) = self.disconnected_at {
            put_varint(out, at.0);
        }
        put_bytes(out, self.client_id.as_bytes());
        if let Some(will) = &self.will {
            will.encode(out);
        }
    }

    pub(super) fn decode(bytes: &mut &'a [u8]) -> Result<Self, EntryError> {
        let serial = varint(bytes)?;
        let flags = byte(bytes)?;
        let version = match byte(bytes)? {
            3 => ProtocolVersion::V31,
            4 => ProtocolVersion::V311,
            5 => ProtocolVersion::V5,
            _ => return Err(EntryError::Value("protocol version")),
        };
        let expiry_s: u32 = narrow(bytes, "expiry")?;
        Ok(Self {
            serial,
            is_new: flags & flag::NEW != 0,
            version,
            expiry_s: expiry_s.wrapping_sub(1),
            user: narrow(bytes, "user")?,
            last_packet_id: narrow(bytes, "packet identifier")?,
            disconnected_at: if flags & flag::CONNECTED == 0 {
                Some(Timestamp(varint(bytes)?))
            } else {
                None
            },
            client_id: text(bytes)?,
            will: if flags & flag::WILL != 0 { Some(StoredWill::decode(bytes)?) } else { None },
        })
    }
}
