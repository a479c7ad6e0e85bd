//! QoS 2 identifiers that a client has published with and not yet released: what makes "exactly once" of a
//! repeated PUBLISH [MQTT-4.3.3-10]. They outlive the connection.

use std::collections::BTreeSet;

use crate::packet::PacketId;

/// A set of Packet Identifiers.
#[derive(Debug, Default)]
pub struct Inbound {
    unreleased: BTreeSet<u16>,
    /// Of them those that were published with (again) on this connection.
    counted: BTreeSet<u16>,
}

impl Inbound {
    /// Records an identifier; false if it was recorded already (a repetition).
    pub fn insert(&mut self, id: PacketId) -> bool {
        self.counted.insert(id.value());
        self.unreleased.insert(id.value())
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
