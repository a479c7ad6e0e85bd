//! The entries of the journal: what a shard writes of one change of its state, and how it lies on disk. Numbers are
//! varints (LEB128), texts and byte strings have their length before them. `docs/STORAGE.md` gives every byte.
//!
//! An entry names sessions by their serial and messages by their number; nothing names a shard or a hash, so that a restart
//! with another number of shards reads the same journal.

mod bytes;
mod delivery;
mod message;
mod session;

#[cfg(test)]
mod tests;

pub(crate) use bytes::put_varint;
pub(super) use bytes::varint;
pub use delivery::{StoredDelivery, SubscriptionIds};
pub use message::{StoredMessage, StoredWill};
pub use session::StoredSession;

use bytes::{byte, narrow, numbers, put_bytes, text};

/// Bit of the options of a subscription: its retained messages are still being sent. A reader that does not know it may leave it out.
pub const RETAINED_UNDER_WAY: u8 = 1 << 5;

/// What stands for a Client Identifier where a session is not one, but a message that waits for its time: `delay_s` of its Will is
/// the second of the journal's time at which it is due. No client has such a name [MQTT-1.5.4-2].
pub(crate) const DELAYED_CLIENT_ID: &str = "\0delayed";

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
        /// [`SubscriptionOptions::bits`](crate::router::SubscriptionOptions::bits), and [`RETAINED_UNDER_WAY`].
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
