//! The entries of the journal: what a shard writes of one change of its state, and how it lies on disk. Numbers are
//! varints (LEB128), texts and byte strings have their length before them. `docs/STORAGE.md` gives every byte.
//!
//! An entry names sessions by their serial and messages by their number; nothing names a shard or a hash, so that a restart
//! with another number of shards reads the same journal.

use crate::clock::Timestamp;
use crate::packet::{ProtocolVersion, QoS};

/// Why bytes are no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// They end within an entry.
    #[error("the entry is cut off")]
    Cut,
    /// A first byte that no entry of this version has.
    #[error("entry of unknown kind {0}")]
    Kind(u8),
    /// A value that this entry can't have.
    #[error("an entry's {0} is not valid")]
    Value(&'static str),
}

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

/// A message comes to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredDelivery<'a> {
    /// To whom.
    pub serial: u64,
    /// Which message: its `Message` entry may come later in the journal.
    pub number: u64,
    /// QoS of the delivery, 1 or 2.
    pub qos: QoS,
    /// RETAIN of the delivery.
    pub retain: bool,
    /// Counts only if a `Commit` or `Confirm` of the message is somewhere in the journal.
    pub is_conditional: bool,
    /// Its Packet Identifier if it is inflight; `None`: it waits in the mqueue.
    pub packet_id: Option<u16>,
    /// Subscription Identifiers.
    pub subscription_ids: SubscriptionIds<'a>,
    /// Share Name and Topic Filter of the Shared Subscription that chose the session.
    pub share: Option<(&'a str, &'a str)>,
}

/// Subscription Identifiers, in memory or as varints on disk.
#[derive(Debug, Clone, Copy)]
pub enum SubscriptionIds<'a> {
    /// As numbers.
    Numbers(&'a [u32]),
    /// As they lie in the journal, checked.
    Encoded(&'a [u8]),
}

impl SubscriptionIds<'_> {
    /// Them as numbers.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let (numbers, mut encoded): (&[u32], &[u8]) = match self {
            Self::Numbers(numbers) => (numbers, &[]),
            Self::Encoded(bytes) => (&[], bytes),
        };
        let decoded = std::iter::from_fn(move || {
            (!encoded.is_empty()).then(|| varint(&mut encoded).map_or(0, |id| id as u32))
        });
        numbers.iter().copied().chain(decoded)
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        match self {
            Self::Numbers(numbers) => numbers.is_empty(),
            Self::Encoded(bytes) => bytes.is_empty(),
        }
    }
}

impl PartialEq for SubscriptionIds<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for SubscriptionIds<'_> {}

/// One change. What names a session or Packet Identifier that is not known (any more) means nothing and does no harm:
/// the journal may begin in the middle of a session's life, whose whole state then follows after `Reset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A message that other entries name.
    Message(StoredMessage<'a>),
    /// A session begins or changes.
    Session(StoredSession<'a>),
    /// All that is known of the session is void: its whole state follows.
    Reset {
        /// Which.
        serial: u64,
    },
    /// A session ends: subscriptions and queues go.
    End {
        /// Which.
        serial: u64,
        /// Its Will is on its way out: it goes with the `Commit` that says so, and is published after a crash before that.
        keeps_will: bool,
    },
    /// A session subscribes, or changes a subscription.
    Subscribe {
        /// Who.
        serial: u64,
        /// Topic Filter with `$share/{ShareName}/`, if it has that.
        filter: &'a str,
        /// [`SubscriptionOptions::bits`](crate::router::SubscriptionOptions::bits).
        options: u8,
        /// Subscription Identifier; 0: none.
        id: u32,
    },
    /// A session unsubscribes.
    Unsubscribe {
        /// Who.
        serial: u64,
        /// As subscribed.
        filter: &'a str,
    },
    /// A message comes to a session.
    Deliver(StoredDelivery<'a>),
    /// A message goes from the mqueue into the inflight window.
    Sent {
        /// Whose.
        serial: u64,
        /// Which: the first with this number.
        number: u64,
        /// Its Packet Identifier from now on.
        packet_id: u16,
    },
    /// A message leaves the mqueue undelivered.
    Gone {
        /// Whose.
        serial: u64,
        /// Which: the first with this number.
        number: u64,
    },
    /// An outbound Packet Identifier is free again: PUBACK, PUBCOMP, or a PUBREC that refuses.
    Done {
        /// Whose.
        serial: u64,
        /// Which.
        packet_id: u16,
    },
    /// PUBREC: PUBREL is sent, PUBCOMP awaited. An identifier that is not known comes into use by it.
    Received {
        /// Whose.
        serial: u64,
        /// Which.
        packet_id: u16,
    },
    /// A PUBLISH (or Will) is complete: every session that wants it has its `Deliver` before this in the journal.
    Commit {
        /// The message.
        number: u64,
        /// The publishing session, if something of it changes with this.
        publisher: u64,
        /// QoS 2: its Packet Identifier, recorded until PUBREL; 0: none.
        packet_id: u16,
        /// It was the publisher's Will, which is no more.
        is_will: bool,
    },
    /// A QoS 2 identifier that a client has published with.
    Inbound {
        /// Whose.
        serial: u64,
        /// Which.
        packet_id: u16,
    },
    /// PUBREL: the identifier is free again.
    InboundDone {
        /// Whose.
        serial: u64,
        /// Which.
        packet_id: u16,
    },
    /// The message is the Retained Message of its topic.
    Retain {
        /// Which.
        number: u64,
    },
    /// The topic has no Retained Message any more.
    Unretain {
        /// Topic Name.
        topic: &'a str,
    },
    /// The message was committed: its `Commit` may lie before where the journal begins.
    Confirm {
        /// Which.
        number: u64,
    },
}

mod kind {
    pub(super) const MESSAGE: u8 = 1;
    pub(super) const SESSION: u8 = 2;
    pub(super) const RESET: u8 = 3;
    pub(super) const END: u8 = 4;
    pub(super) const SUBSCRIBE: u8 = 5;
    pub(super) const UNSUBSCRIBE: u8 = 6;
    pub(super) const DELIVER: u8 = 7;
    pub(super) const SENT: u8 = 8;
    pub(super) const GONE: u8 = 9;
    pub(super) const DONE: u8 = 10;
    pub(super) const RECEIVED: u8 = 11;
    pub(super) const COMMIT: u8 = 12;
    pub(super) const INBOUND: u8 = 13;
    pub(super) const INBOUND_DONE: u8 = 14;
    pub(super) const RETAIN: u8 = 15;
    pub(super) const UNRETAIN: u8 = 16;
    pub(super) const CONFIRM: u8 = 17;
}

/// Bits of the byte of flags that several entries have; the two low bits are the QoS.
mod flag {
    pub(super) const QOS: u8 = 0b11;
    pub(super) const RETAIN: u8 = 1 << 2;
    pub(super) const EXPIRY: u8 = 1 << 3;
    pub(super) const CONDITIONAL: u8 = 1 << 3;
    pub(super) const PACKET_ID: u8 = 1 << 4;
    pub(super) const IDS: u8 = 1 << 5;
    pub(super) const SHARE: u8 = 1 << 6;
    pub(super) const NEW: u8 = 1;
    pub(super) const CONNECTED: u8 = 1 << 1;
    pub(super) const WILL: u8 = 1 << 2;
}

impl<'a> Entry<'a> {
    /// Appends the entry to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Message(message) => message.encode(out),
            Self::Session(session) => session.encode(out),
            Self::Deliver(delivery) => delivery.encode(out),
            Self::Reset { serial } => numbers(out, kind::RESET, [*serial]),
            Self::End { serial, keeps_will } => {
                numbers(out, kind::END, [*serial, u64::from(*keeps_will)]);
            }
            Self::Subscribe { serial, filter, options, id } => {
                numbers(out, kind::SUBSCRIBE, [*serial, u64::from(*options), u64::from(*id)]);
                put_bytes(out, filter.as_bytes());
            }
            Self::Unsubscribe { serial, filter } => {
                numbers(out, kind::UNSUBSCRIBE, [*serial]);
                put_bytes(out, filter.as_bytes());
            }
            Self::Sent { serial, number, packet_id } => {
                numbers(out, kind::SENT, [*serial, *number, u64::from(*packet_id)]);
            }
            Self::Gone { serial, number } => numbers(out, kind::GONE, [*serial, *number]),
            Self::Done { serial, packet_id } => {
                numbers(out, kind::DONE, [*serial, u64::from(*packet_id)]);
            }
            Self::Received { serial, packet_id } => {
                numbers(out, kind::RECEIVED, [*serial, u64::from(*packet_id)]);
            }
            Self::Commit { number, publisher, packet_id, is_will } => {
                let is_will = u64::from(*is_will);
                numbers(out, kind::COMMIT, [*number, *publisher, u64::from(*packet_id), is_will]);
            }
            Self::Inbound { serial, packet_id } => {
                numbers(out, kind::INBOUND, [*serial, u64::from(*packet_id)]);
            }
            Self::InboundDone { serial, packet_id } => {
                numbers(out, kind::INBOUND_DONE, [*serial, u64::from(*packet_id)]);
            }
            Self::Retain { number } => numbers(out, kind::RETAIN, [*number]),
            Self::Unretain { topic } => {
                out.push(kind::UNRETAIN);
                put_bytes(out, topic.as_bytes());
            }
            Self::Confirm { number } => numbers(out, kind::CONFIRM, [*number]),
        }
    }

    /// Takes the first entry off `bytes`.
    ///
    /// # Errors
    /// Why there is none; `bytes` is then anywhere within.
    pub fn decode(bytes: &mut &'a [u8]) -> Result<Self, EntryError> {
        let kind = byte(bytes)?;
        Ok(match kind {
            kind::MESSAGE => Self::Message(StoredMessage::decode(bytes)?),
            kind::SESSION => Self::Session(StoredSession::decode(bytes)?),
            kind::DELIVER => Self::Deliver(StoredDelivery::decode(bytes)?),
            kind::RESET => Self::Reset { serial: varint(bytes)? },
            kind::END => Self::End { serial: varint(bytes)?, keeps_will: varint(bytes)? != 0 },
            kind::SUBSCRIBE => Self::Subscribe {
                serial: varint(bytes)?,
                options: narrow(bytes, "options")?,
                id: narrow(bytes, "identifier")?,
                filter: text(bytes)?,
            },
            kind::UNSUBSCRIBE => Self::Unsubscribe { serial: varint(bytes)?, filter: text(bytes)? },
            kind::SENT => Self::Sent {
                serial: varint(bytes)?,
                number: varint(bytes)?,
                packet_id: narrow(bytes, "packet identifier")?,
            },
            kind::GONE => Self::Gone { serial: varint(bytes)?, number: varint(bytes)? },
            kind::COMMIT => Self::Commit {
                number: varint(bytes)?,
                publisher: varint(bytes)?,
                packet_id: narrow(bytes, "packet identifier")?,
                is_will: varint(bytes)? != 0,
            },
            kind::DONE | kind::RECEIVED | kind::INBOUND | kind::INBOUND_DONE => {
                let serial = varint(bytes)?;
                let packet_id = narrow(bytes, "packet identifier")?;
                match kind {
                    kind::DONE => Self::Done { serial, packet_id },
                    kind::RECEIVED => Self::Received { serial, packet_id },
                    kind::INBOUND => Self::Inbound { serial, packet_id },
                    _ => Self::InboundDone { serial, packet_id },
                }
            }
            kind::RETAIN => Self::Retain { number: varint(bytes)? },
            kind::UNRETAIN => Self::Unretain { topic: text(bytes)? },
            kind::CONFIRM => Self::Confirm { number: varint(bytes)? },
            other => return Err(EntryError::Kind(other)),
        })
    }
}

impl<'a> StoredMessage<'a> {
    fn encode(&self, out: &mut Vec<u8>) {
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

    fn decode(bytes: &mut &'a [u8]) -> Result<Self, EntryError> {
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
    fn encode(&self, out: &mut Vec<u8>) {
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

    fn decode(bytes: &mut &'a [u8]) -> Result<Self, EntryError> {
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

impl<'a> StoredSession<'a> {
    fn encode(&self, out: &mut Vec<u8>) {
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

    fn decode(bytes: &mut &'a [u8]) -> Result<Self, EntryError> {
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

impl<'a> StoredDelivery<'a> {
    fn encode(&self, out: &mut Vec<u8>) {
        let flags = self.qos as u8
            | if self.retain { flag::RETAIN } else { 0 }
            | if self.is_conditional { flag::CONDITIONAL } else { 0 }
            | if self.packet_id.is_some() { flag::PACKET_ID } else { 0 }
            | if self.subscription_ids.is_empty() { 0 } else { flag::IDS }
            | if self.share.is_some() { flag::SHARE } else { 0 };
        numbers(out, kind::DELIVER, [self.serial, self.number]);
        out.push(flags);
        if let Some(packet_id) = self.packet_id {
            put_varint(out, u64::from(packet_id));
        }
        if !self.subscription_ids.is_empty() {
            let mut ids = Vec::new();
            self.subscription_ids.iter().for_each(|id| put_varint(&mut ids, u64::from(id)));
            put_bytes(out, &ids);
        }
        if let Some((name, filter)) = self.share {
            put_bytes(out, name.as_bytes());
            put_bytes(out, filter.as_bytes());
        }
    }

    fn decode(bytes: &mut &'a [u8]) -> Result<Self, EntryError> {
        let (serial, number) = (varint(bytes)?, varint(bytes)?);
        let flags = byte(bytes)?;
        let packet_id =
            if flags & flag::PACKET_ID != 0 { Some(narrow(bytes, "packet identifier")?) } else { None };
        let ids = if flags & flag::IDS != 0 { string(bytes)? } else { &[] };
        let mut rest = ids;
        while !rest.is_empty() {
            narrow::<u32>(&mut rest, "Subscription Identifier")?;
        }
        Ok(Self {
            serial,
            number,
            qos: qos(flags)?,
            retain: flags & flag::RETAIN != 0,
            is_conditional: flags & flag::CONDITIONAL != 0,
            packet_id,
            subscription_ids: SubscriptionIds::Encoded(ids),
            share: if flags & flag::SHARE != 0 { Some((text(bytes)?, text(bytes)?)) } else { None },
        })
    }
}

fn numbers<const N: usize>(out: &mut Vec<u8>, kind: u8, numbers: [u64; N]) {
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

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Takes a number off `bytes`.
pub(super) fn varint(bytes: &mut &[u8]) -> Result<u64, EntryError> {
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

fn narrow<T: TryFrom<u64>>(bytes: &mut &[u8], what: &'static str) -> Result<T, EntryError> {
    T::try_from(varint(bytes)?).map_err(|_| EntryError::Value(what))
}

fn byte(bytes: &mut &[u8]) -> Result<u8, EntryError> {
    let (first, rest) = bytes.split_first().ok_or(EntryError::Cut)?;
    *bytes = rest;
    Ok(*first)
}

fn string<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], EntryError> {
    let len = usize::try_from(varint(bytes)?).map_err(|_| EntryError::Cut)?;
    let (string, rest) = bytes.split_at_checked(len).ok_or(EntryError::Cut)?;
    *bytes = rest;
    Ok(string)
}

fn text<'a>(bytes: &mut &'a [u8]) -> Result<&'a str, EntryError> {
    std::str::from_utf8(string(bytes)?).map_err(|_| EntryError::Value("text"))
}

fn qos(flags: u8) -> Result<QoS, EntryError> {
    QoS::from_bits(flags & flag::QOS).ok_or(EntryError::Value("QoS"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn samples() -> Vec<Entry<'static>> {
        let message = StoredMessage {
            number: 300,
            qos: QoS::ExactlyOnce,
            retain: true,
            publisher: 7,
            expires_at: Some(Timestamp(u64::MAX)),
            topic: "käse/1",
            forwarded: &[1, 2],
            payload: b"payload",
        };
        let will = StoredWill {
            qos: QoS::AtLeastOnce,
            retain: false,
            delay_s: 5,
            expiry_s: Some(u32::MAX),
            topic: "will",
            forwarded: &[],
            payload: &[],
        };
        let session = StoredSession {
            serial: 7,
            is_new: true,
            client_id: "client",
            version: ProtocolVersion::V5,
            expiry_s: u32::MAX,
            user: 9,
            last_packet_id: 65_535,
            disconnected_at: Some(Timestamp(4)),
            will: Some(will),
        };
        let delivery = StoredDelivery {
            serial: 7,
            number: 300,
            qos: QoS::AtLeastOnce,
            retain: true,
            is_conditional: true,
            packet_id: Some(3),
            subscription_ids: SubscriptionIds::Numbers(&[1, 268_435_455]),
            share: Some(("group", "a/+")),
        };
        vec![
            Entry::Message(message),
            Entry::Message(StoredMessage { expires_at: None, retain: false, payload: b"", ..message }),
            Entry::Session(session),
            Entry::Session(StoredSession { will: None, disconnected_at: None, expiry_s: 0, ..session }),
            Entry::Reset { serial: 1 << 40 },
            Entry::End { serial: 1, keeps_will: true },
            Entry::Subscribe { serial: 1, filter: "$share/g/a/#", options: 0b1_1111, id: 5 },
            Entry::Unsubscribe { serial: 1, filter: "a/#" },
            Entry::Deliver(delivery),
            Entry::Deliver(StoredDelivery {
                packet_id: None,
                share: None,
                subscription_ids: SubscriptionIds::Numbers(&[]),
                ..delivery
            }),
            Entry::Sent { serial: 1, number: 2, packet_id: 3 },
            Entry::Gone { serial: 1, number: 2 },
            Entry::Done { serial: 1, packet_id: 3 },
            Entry::Received { serial: 1, packet_id: 3 },
            Entry::Commit { number: 2, publisher: 1, packet_id: 3, is_will: false },
            Entry::Inbound { serial: 1, packet_id: 3 },
            Entry::InboundDone { serial: 1, packet_id: 3 },
            Entry::Retain { number: u64::MAX },
            Entry::Unretain { topic: "käse" },
            Entry::Confirm { number: 2 },
        ]
    }

    #[test]
    fn entries_come_back_as_they_were_written() {
        let mut out = Vec::new();
        samples().iter().for_each(|entry| entry.encode(&mut out));
        let mut rest = out.as_slice();
        for sample in samples() {
            assert_eq!(Entry::decode(&mut rest).unwrap(), sample);
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn a_cut_entry_is_an_error_wherever_it_is_cut() {
        for sample in samples() {
            let mut out = Vec::new();
            sample.encode(&mut out);
            for len in 0..out.len() {
                assert_eq!(Entry::decode(&mut &out[..len]), Err(EntryError::Cut), "{sample:?} cut to {len}");
            }
        }
    }

    #[test]
    fn nonsense_is_told_by_name() {
        assert_eq!(Entry::decode(&mut [99].as_slice()), Err(EntryError::Kind(99)));
        assert_eq!(Entry::decode(&mut [kind::UNRETAIN, 1, 0xff].as_slice()), Err(EntryError::Value("text")));
        let too_long = [[kind::RETAIN].as_slice(), &[0xff; 10]].concat();
        assert_eq!(Entry::decode(&mut too_long.as_slice()), Err(EntryError::Value("number")));
    }
}
