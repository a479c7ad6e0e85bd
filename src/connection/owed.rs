//! Acknowledgements that a publisher is owed and that wait for other shards: they leave in the order of their
//! PUBLISHes [MQTT-4.6.0-2, 4.6.0-3], however the answers of the shards come in. Bounded by the caller.

use std::collections::VecDeque;

use crate::packet::PacketId;

/// What is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwedKind {
    /// Nothing (QoS 0), but the message is still under way to its retained slice.
    Nothing,
    /// PUBACK.
    PubAck(PacketId),
    /// PUBREC.
    PubRec(PacketId),
}

/// One of them.
#[derive(Debug, Clone, Copy)]
pub struct OwedAck {
    /// What is owed.
    pub kind: OwedKind,
    /// The message takes the way over its retained slice, or has arrived everywhere.
    pub relayed: bool,
    /// Reason Code; `None`: the answer is still awaited.
    pub reason: Option<u8>,
}

/// All of one connection.
#[derive(Debug, Default)]
pub struct Owed {
    ring: VecDeque<OwedAck>,
    first: u32,
    direct: u32,
    pubacks: u32,
}

impl Owed {
    /// Appends; the number names it to `settle`.
    pub fn push(&mut self, ack: OwedAck) -> u32 {
        self.direct += u32::from(!ack.relayed && ack.reason.is_none());
        self.pubacks += u32::from(matches!(ack.kind, OwedKind::PubAck(_)));
        self.ring.push_back(ack);
        self.first.wrapping_add(self.ring.len() as u32 - 1)
    }

    /// Every shard has the message of `number`, whose acknowledgement may wait for the disk still.
    pub fn arrived(&mut self, number: u32) {
        let offset = number.wrapping_sub(self.first) as usize;
        if let Some(ack) = self.ring.get_mut(offset) {
            self.direct -= u32::from(!ack.relayed && ack.reason.is_none());
            ack.relayed = true;
        }
    }

    /// The answer for `number` is here.
    pub fn settle(&mut self, number: u32, reason: u8) {
        let offset = number.wrapping_sub(self.first) as usize;
        if let Some(ack) = self.ring.get_mut(offset) {
            self.direct -= u32::from(!ack.relayed && ack.reason.is_none());
            ack.reason = Some(reason);
        }
    }

    /// The oldest, if its answer is here.
    pub fn pop_settled(&mut self) -> Option<(OwedKind, u8)> {
        let front = self.ring.front()?;
        let reason = front.reason?;
        let kind = front.kind;
        self.pubacks -= u32::from(matches!(kind, OwedKind::PubAck(_)));
        self.ring.pop_front();
        self.first = self.first.wrapping_add(1);
        Some((kind, reason))
    }

    /// Whether a message is under way to other shards directly, not over its retained slice.
    pub fn has_direct(&self) -> bool {
        self.direct > 0
    }

    /// PUBACKs owed: with the unreleased QoS 2 identifiers what Receive Maximum counts.
    pub fn pubacks(&self) -> usize {
        self.pubacks as usize
    }

    /// Whether exactly this is owed already.
    pub fn contains(&self, kind: OwedKind) -> bool {
        self.ring.iter().any(|ack| ack.kind == kind)
    }

    /// Acknowledgements owed.
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn mqtt_4_6_0_2_acknowledgements_keep_the_order_of_their_publishes() {
        let mut owed = Owed::default();
        let id = |n| PacketId::new(n).unwrap();
        let ack = |n, relayed| OwedAck { kind: OwedKind::PubAck(id(n)), relayed, reason: None };
        let one = owed.push(ack(1, true));
        let two = owed.push(ack(2, false));
        assert!(owed.has_direct());
        owed.settle(two, 0x10);
        assert!(owed.pop_settled().is_none());
        assert!(!owed.has_direct());
        owed.settle(one, 0);
        assert_eq!(owed.pop_settled(), Some((OwedKind::PubAck(id(1)), 0)));
        assert_eq!(owed.pop_settled(), Some((OwedKind::PubAck(id(2)), 0x10)));
        assert!(owed.is_empty());
        // What has arrived everywhere is not under way any more, though its answer waits for the disk.
        let direct = owed.push(ack(4, false));
        owed.arrived(direct);
        assert!(!owed.has_direct() && owed.pop_settled().is_none());
        owed.arrived(direct);
        owed.settle(direct, 0);
        assert!(!owed.has_direct());
        assert_eq!(owed.pop_settled(), Some((OwedKind::PubAck(id(4)), 0)));
        // Numbers go on.
        let three = owed.push(ack(3, false));
        owed.settle(three, 0);
        assert!(owed.pop_settled().is_some());
    }
}
