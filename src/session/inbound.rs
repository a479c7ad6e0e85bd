//! QoS 2 identifiers that a client has published with and not yet released: what makes "exactly once" of a
//! repeated PUBLISH [MQTT-4.3.3-10]. They outlive the connection.

use std::collections::BTreeSet;

use crate::packet::PacketId;

/// A set of Packet Identifiers.
#[derive(Debug, Default)]
pub struct Inbound {
    unreleased: BTreeSet<u16>,
}

impl Inbound {
    /// Records an identifier; false if it was recorded already (a repetition).
    pub fn insert(&mut self, id: PacketId) -> bool {
        self.unreleased.insert(id.value())
    }

    /// Whether the identifier is recorded.
    pub fn contains(&self, id: PacketId) -> bool {
        self.unreleased.contains(&id.value())
    }

    /// PUBREL: forgets the identifier; false if it was unknown.
    pub fn release(&mut self, id: PacketId) -> bool {
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
