//! The Packet Identifier (MQTT 5.0 section 2.2.1): 16 bits, never zero.

use std::fmt;
use std::num::NonZeroU16;

/// A Packet Identifier; each direction of a connection has its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(NonZeroU16);

impl PacketId {
    /// The first one, 1.
    pub const FIRST: Self = Self(NonZeroU16::MIN);

    /// The identifier of that value; `None` of zero, which is none ([MQTT-2.2.1-3]).
    pub const fn new(value: u16) -> Option<Self> {
        match NonZeroU16::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// Its value, 1 to 65,535.
    pub const fn value(self) -> u16 {
        self.0.get()
    }

    /// The one after it; after 65,535 comes 1.
    #[must_use]
    pub const fn next(self) -> Self {
        match self.0.checked_add(1) {
            Some(value) => Self(value),
            None => Self::FIRST,
        }
    }
}

impl From<NonZeroU16> for PacketId {
    fn from(value: NonZeroU16) -> Self {
        Self(value)
    }
}

impl From<PacketId> for u16 {
    fn from(id: PacketId) -> Self {
        id.value()
    }
}

impl fmt::Display for PacketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for PacketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mqtt_2_2_1_3_zero_is_no_packet_identifier() {
        assert_eq!(PacketId::new(0), None);
        assert_eq!(PacketId::new(65_535).map(PacketId::next), Some(PacketId::FIRST));
        assert_eq!(PacketId::FIRST.next().value(), 2);
        assert_eq!(size_of::<Option<PacketId>>(), 2);
    }
}
