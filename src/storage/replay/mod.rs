//! Reading half of the journal, without a disk: entries in their order come to the state that shards begin with.
//! What an entry means is said where it is defined (`entry`); this only does it.

mod apply;
mod finish;
mod ordered;
mod session;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(super) use self::tests::{describe::describe, model};

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashTable;

use self::session::Live;
use crate::clock::Timestamp;
use crate::session::{Message, ShareName, Will};

type Map<K, V> = HashMap<K, V, RandomState>;

/// What could not be restored, and what went on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplayOutcome {
    /// Deliveries whose message is nowhere in the journal: lost.
    pub deliveries_lost: u64,
    /// Retained Messages whose message is nowhere in the journal. Without damage they are no loss: they were superseded
    /// while a checkpoint began.
    pub retained_lost: u64,
    /// Deliveries of messages that were never complete, so nobody was told that they were accepted.
    pub uncommitted: u64,
    /// Messages whose Message Expiry Interval has passed, by their places in queues.
    pub messages_expired: u64,
    /// Sessions whose Session Expiry Interval has passed.
    pub sessions_expired: u64,
}

/// A state that grows by entries.
#[derive(Debug, Default)]
pub struct Replay {
    sessions: Map<u64, Box<Live>>,
    /// Wills of ended sessions that are on their way out.
    wills: Map<u64, Box<Will>>,
    /// Messages that wait for their time.
    delayed: Map<u64, Box<Will>>,
    /// Everything that has a number.
    messages: Vec<Known>,
    /// Places in `messages`.
    numbers: Map<u64, u32>,
    /// Topic to its last change; without a message only while a `Retain` waits for its message.
    retained: Map<Box<str>, Kept>,
    /// `Retain`s whose `Message` has not come: place in `messages`, and when they were.
    awaited: Map<u32, u64>,
    shares: HashTable<Arc<ShareName>>,
    share_hasher: RandomState,
    /// Entries so far: tells which of two changes came later.
    entries: u64,
    last_time: Timestamp,
    serial_max: u64,
    number_max: u64,
}

/// What is known of a message's number.
#[derive(Debug, Default)]
struct Known {
    message: Option<Arc<Message>>,
    is_committed: bool,
}

/// The last change of a topic's Retained Message.
#[derive(Debug)]
struct Kept {
    changed: u64,
    /// Place in `Replay::messages`.
    message: Option<u32>,
}

impl Replay {
    /// Sessions so far.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Entries so far.
    pub const fn entries(&self) -> u64 {
        self.entries
    }

    /// The latest time that was noted.
    pub const fn last_time(&self) -> Timestamp {
        self.last_time
    }
}
