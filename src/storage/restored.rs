//! What a journal comes to: the state that shards begin with. By session and topic; which shard has what is the broker's to say.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::packet::ProtocolVersion;
use crate::session::{Delivery, Message, Will};

/// A session as the journal has it.
#[derive(Debug)]
pub struct RestoredSession {
    /// Its name in the journal, which it keeps.
    pub serial: u64,
    /// Client Identifier, mountpoint included.
    pub client_id: Box<str>,
    /// Version of its last connection.
    pub version: ProtocolVersion,
    /// Session Expiry Interval in seconds; `session::NEVER`: does not expire.
    pub expiry_s: u32,
    /// Keyed hash of the verified User Name whose it is; 0: nobody's in particular.
    pub user: u32,
    /// The Packet Identifier given last; 0: none.
    pub last_packet_id: u16,
    /// When its connection ended, in the journal's time; the last sign of life for those that were connected.
    pub disconnected_at: Timestamp,
    /// It was connected when the journal ends.
    pub was_connected: bool,
    /// The Will that is still to be published.
    pub will: Option<Box<Will>>,
    /// Subscriptions in the order in which they were made.
    pub subscriptions: Vec<RestoredSubscription>,
    /// QoS 2 identifiers received and not released.
    pub inbound: Vec<u16>,
    /// Sent and not acknowledged, oldest first.
    pub inflight: Vec<(u16, RestoredSlot)>,
    /// Waiting, oldest first.
    pub mqueue: Vec<Delivery>,
}

/// One subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredSubscription {
    /// Topic Filter, with `$share/{ShareName}/` if it has that.
    pub filter: Box<str>,
    /// `SubscriptionOptions::bits`, and `RETAINED_UNDER_WAY`.
    pub options: u8,
    /// Subscription Identifier; 0: none.
    pub id: u32,
}

/// What an outbound Packet Identifier stands for.
#[derive(Debug)]
pub enum RestoredSlot {
    /// PUBLISH sent, PUBACK or PUBREC awaited.
    Publish(Delivery),
    /// PUBREL sent, PUBCOMP awaited.
    Release,
}

/// A message of a Shared Subscription that a session left which has ended: it is for another member.
#[derive(Debug)]
pub struct RestoredReturn {
    /// Under which the journal has it.
    pub serial: u64,
    /// Its Packet Identifier there, if it was sent once; `None`: it waited.
    pub packet_id: Option<u16>,
    /// What was left; `share` is given.
    pub delivery: Delivery,
}

/// Everything that a journal comes to.
#[derive(Debug, Default)]
pub struct Restored {
    /// All sessions; no two have the same Client Identifier.
    pub sessions: Vec<RestoredSession>,
    /// All Retained Messages; no two have the same topic.
    pub retained: Vec<Arc<Message>>,
    /// Wills of sessions that have ended, which were not published yet.
    pub wills: Vec<Will>,
    /// Messages that wait for their time: `delay_s` is the second of the journal's time at which each is due.
    pub delayed: Vec<Will>,
    /// What sessions that have ended left to other members of their Shared Subscriptions, oldest first.
    pub returned: Vec<RestoredReturn>,
    /// No session of the journal has this serial or a higher one.
    pub first_serial: u64,
    /// No message of the journal has this number or a higher one.
    pub first_number: u64,
    /// Now, in the journal's time: what the clock of the broker begins with.
    pub now: Timestamp,
    /// Key of the hashes of User Names in the journal.
    pub user_key: u64,
}
