//! QoS 2 identifiers that a client has published with and not yet released: what makes "exactly once" of a
//! repeated PUBLISH [MQTT-4.3.3-10]. They outlive the connection.

use std::collections::{BTreeMap, BTreeSet};

use super::ConnectionId;
use crate::packet::PacketId;

/// A set of Packet Identifiers.
#[derive(Debug, Default)]
pub struct Inbound {
    unreleased: BTreeSet<u16>,
    /// Of them those that were published with (again) on this connection.
    counted: BTreeSet<u16>,
    /// Of them those whose messages are not committed yet.
    uncommitted: BTreeMap<u16, Committing>,
}

/// How far the message of an identifier is on its way to the journal.
#[derive(Debug, Default)]
struct Committing {
    /// Its `Commit` is written, and not known to be on disk.
    is_written: bool,
    /// A later connection repeated the PUBLISH meanwhile: its place among the acknowledgements that it is owed.
    asked_again: Option<(ConnectionId, u32)>,
}

impl Inbound {
    /// Records an identifier; false if it was recorded already (a repetition).
    pub fn insert(&mut self, id: PacketId) -> bool {
        self.counted.insert(id.value());
        self.unreleased.insert(id.value())
    }

    /// The message of an identifier is under way to the journal: no PUBREC before it is there.
    pub fn begin_commit(&mut self, id: PacketId) {
        self.uncommitted.insert(id.value(), Committing::default());
    }

    /// The `Commit` of its message is written.
    pub fn note_written(&mut self, id: PacketId) {
        if let Some(committing) = self.uncommitted.get_mut(&id.value()) {
            committing.is_written = true;
        }
    }

    /// Its message is committed; the later connection that waits for the PUBREC, if one does.
    pub fn end_commit(&mut self, id: PacketId) -> Option<(ConnectionId, u32)> {
        self.uncommitted.remove(&id.value())?.asked_again
    }

    /// Whether the identifier's message is not committed yet.
    pub fn is_uncommitted(&self, id: PacketId) -> bool {
        self.uncommitted.contains_key(&id.value())
    }

    /// A later connection repeats a PUBLISH whose message is not committed yet.
    pub fn ask_again(&mut self, id: PacketId, connection: ConnectionId, number: u32) {
        if let Some(committing) = self.uncommitted.get_mut(&id.value()) {
            committing.asked_again = Some((connection, number));
        }
    }

    /// Identifiers whose `Commit` is written: what the journal has to know of.
    pub fn iter_written(&self) -> impl Iterator<Item = u16> {
        let is_written = |id: &u16| self.uncommitted.get(id).is_none_or(|committing| committing.is_written);
        self.unreleased.iter().copied().filter(is_written)
    }

    /// As a journal has it.
    pub fn restored(ids: impl IntoIterator<Item = u16>) -> Self {
        Self { unreleased: ids.into_iter().collect(), ..Self::default() }
    }

    /// A new connection begins: what a former one published does not count against its Receive Maximum (4.9).
    pub fn resume(&mut self) {
        self.counted.clear();
    }

    /// Identifiers that count against the Receive Maximum of this connection.
    pub fn counted(&self) -> usize {
        self.counted.len()
    }

    /// Whether the identifier is recorded.
    pub fn contains(&self, id: PacketId) -> bool {
        self.unreleased.contains(&id.value())
    }

    /// PUBREL: forgets the identifier; false if it was unknown.
    pub fn release(&mut self, id: PacketId) -> bool {
        self.counted.remove(&id.value());
        self.unreleased.remove(&id.value())
    }

    /// Identifiers recorded.
    pub fn len(&self) -> usize {
        self.unreleased.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.unreleased.is_empty()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn section_4_9_receive_maximum_begins_anew_with_each_connection() {
        let mut inbound = Inbound::default();
        let [one, two] = [1, 2].map(|n| PacketId::new(n).unwrap());
        assert!(inbound.insert(one) && inbound.insert(two));
        assert_eq!(inbound.counted(), 2);
        inbound.resume();
        assert_eq!((inbound.counted(), inbound.len()), (0, 2));
        assert!(!inbound.insert(one));
        assert_eq!(inbound.counted(), 1);
        assert!(inbound.release(one) && inbound.release(two));
        assert!(inbound.is_empty() && inbound.counted() == 0);
    }
}
