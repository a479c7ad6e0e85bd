//! Inflight: messages sent with QoS 1 or 2 and not yet acknowledged, in the order of their sending.
//! Packet Identifiers are given in a circle, so the place of an identifier is its distance from the oldest one:
//! look-up and removal cost the same for any number, and an identifier in use is never given again [MQTT-2.2.1-3].

use std::collections::VecDeque;

use super::message::Delivery;
use crate::packet::{PacketId, QoS};

/// Identifiers in the circle: 1 to 65,535.
const CIRCLE: u32 = 65_535;

/// What one Packet Identifier stands for.
#[derive(Debug)]
pub enum Slot {
    /// Acknowledged; its place stays until all older ones are.
    Done,
    /// PUBLISH sent, PUBACK or PUBREC awaited.
    Publish(Delivery),
    /// PUBREL sent, PUBCOMP awaited.
    Release {
        /// To be sent again on this connection.
        unsent: bool,
    },
}

/// `Delivery::sent_s` of what has to be sent again on this connection.
pub const UNSENT: u32 = u32::MAX;

impl Slot {
    fn has_qos(&self, qos: QoS) -> bool {
        matches!(self, Self::Publish(delivery) if delivery.qos == qos)
    }

    const fn is_unsent(&self) -> bool {
        match self {
            Self::Done => false,
            Self::Publish(delivery) => delivery.sent_s == UNSENT,
            Self::Release { unsent } => *unsent,
        }
    }
}

/// What an acknowledgement did.
#[derive(Debug)]
pub enum Acked {
    /// The delivery ended or went on to its next state.
    Delivery(Delivery),
    /// PUBREC again, after PUBREL was sent: send PUBREL again.
    Released,
    /// Its identifier is not in use, or not in this state.
    Unknown,
}

/// The window of identifiers in use.
#[derive(Debug, Default)]
pub struct Inflight {
    window: VecDeque<Slot>,
    /// Identifier of the window's first slot, counted from 0.
    first: u16,
    live: u16,
    /// Of those, how many have to be sent again on this connection.
    unsent: u16,
    /// No unsent slot is before this offset.
    unsent_from: u16,
}

impl Inflight {
    /// Starts with the identifier after `last` (0: with 1), so that identifiers go round over a whole session.
    pub fn starting_after(last: u16) -> Self {
        Self { first: (u32::from(last) % CIRCLE) as u16, ..Self::default() }
    }

    /// Messages not yet acknowledged.
    pub fn len(&self) -> usize {
        usize::from(self.live)
    }

    /// Messages that are with the client: what its Receive Maximum limits [MQTT-3.3.4-9].
    pub fn on_the_wire(&self) -> usize {
        usize::from(self.live - self.unsent)
    }

    /// Everything has to be sent again, on a new connection [MQTT-4.4.0-1].
    pub fn mark_unsent(&mut self) {
        self.mark_unsent_where(|_| true);
        for slot in &mut self.window {
            if let Slot::Release { unsent: unsent @ false } = slot {
                *unsent = true;
                self.unsent += 1;
            }
        }
    }

    /// The PUBLISHes chosen have to be sent again.
    pub fn mark_unsent_where(&mut self, choose: impl Fn(&Delivery) -> bool) {
        for slot in &mut self.window {
            if let Slot::Publish(delivery) = slot
                && delivery.sent_s != UNSENT
                && choose(delivery)
            {
                delivery.sent_s = UNSENT;
                self.unsent += 1;
            }
        }
        self.unsent_from = 0;
    }

    /// The oldest that has to be sent again; it counts as sent from now on.
    pub fn next_unsent(&mut self, sent_s: u32) -> Option<(PacketId, &Slot)> {
        if self.unsent == 0 {
            return None;
        }
        let from = usize::from(self.unsent_from);
        let offset = from + self.window.iter().skip(from).position(Slot::is_unsent)?;
        self.unsent -= 1;
        self.unsent_from = offset as u16;
        let id = PacketId::new(((u32::from(self.first) + offset as u32) % CIRCLE + 1) as u16)?;
        let slot = self.window.get_mut(offset)?;
        match slot {
            Slot::Publish(delivery) => delivery.sent_s = sent_s,
            Slot::Release { unsent } => *unsent = false,
            Slot::Done => {}
        }
        Some((id, slot))
    }

    /// Whether something has to be sent again.
    pub fn has_unsent(&self) -> bool {
        self.unsent > 0
    }

    /// Whether all are acknowledged.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Whether an identifier is free.
    pub fn has_room(&self) -> bool {
        (self.window.len() as u32) < CIRCLE
    }

    /// The identifier given last, for `starting_after`; 0: none was.
    pub fn last_given(&self) -> u16 {
        ((u32::from(self.first) + self.window.len() as u32 + CIRCLE - 1) % CIRCLE + 1) as u16 % CIRCLE as u16
    }

    /// Gives the next Packet Identifier to a delivery; hands it back if every identifier is in use.
    pub fn push(&mut self, delivery: Delivery) -> Result<PacketId, Delivery> {
        let offset = self.window.len() as u32;
        if offset >= CIRCLE {
            return Err(delivery);
        }
        let id = (u32::from(self.first) + offset) % CIRCLE + 1;
        let Some(id) = PacketId::new(id as u16) else { return Err(delivery) };
        self.window.push_back(Slot::Publish(delivery));
        self.live += 1;
        Ok(id)
    }

    /// PUBACK, or PUBREC with an error: the delivery is over.
    pub fn finish_publish(&mut self, id: PacketId, qos: QoS) -> Acked {
        match self.slot(id) {
            Some(slot @ Slot::Publish(_)) if slot.has_qos(qos) => {
                let taken = std::mem::replace(slot, Slot::Done);
                self.live -= 1;
                self.unsent -= u16::from(taken.is_unsent());
                self.shrink();
                match taken {
                    Slot::Publish(delivery) => Acked::Delivery(delivery),
                    Slot::Done | Slot::Release { .. } => Acked::Unknown,
                }
            }
            _ => Acked::Unknown,
        }
    }

    /// PUBREC: the message is the client's now; PUBREL follows and PUBCOMP is awaited.
    pub fn received(&mut self, id: PacketId) -> Acked {
        match self.slot(id) {
            Some(slot @ Slot::Publish(_)) if slot.has_qos(QoS::ExactlyOnce) => {
                let taken = std::mem::replace(slot, Slot::Release { unsent: false });
                self.unsent -= u16::from(taken.is_unsent());
                match taken {
                    Slot::Publish(delivery) => Acked::Delivery(delivery),
                    Slot::Done | Slot::Release { .. } => Acked::Unknown,
                }
            }
            Some(Slot::Release { .. }) => Acked::Released,
            _ => Acked::Unknown,
        }
    }

    /// PUBCOMP: the identifier is free. Says whether it was awaited.
    pub fn complete(&mut self, id: PacketId) -> bool {
        match self.slot(id) {
            Some(slot @ Slot::Release { .. }) => {
                let taken = std::mem::replace(slot, Slot::Done);
                self.live -= 1;
                self.unsent -= u16::from(taken.is_unsent());
                self.shrink();
                true
            }
            _ => false,
        }
    }

    /// What is unacknowledged, oldest first, for redelivery [MQTT-4.6.0-1].
    pub fn iter(&self) -> impl Iterator<Item = (PacketId, &Slot)> {
        let first = u32::from(self.first);
        self.window.iter().enumerate().filter_map(move |(offset, slot)| match slot {
            Slot::Done => None,
            slot => PacketId::new(((first + offset as u32) % CIRCLE + 1) as u16).map(|id| (id, slot)),
        })
    }

    /// Takes every PUBLISH out, oldest first (the session ends).
    pub fn drain(&mut self) -> impl Iterator<Item = Delivery> + '_ {
        self.live = 0;
        self.unsent = 0;
        self.window.drain(..).filter_map(|slot| match slot {
            Slot::Publish(delivery) => Some(delivery),
            Slot::Done | Slot::Release { .. } => None,
        })
    }

    fn slot(&mut self, id: PacketId) -> Option<&mut Slot> {
        let offset = (u32::from(id.value()) - 1 + CIRCLE - u32::from(self.first)) % CIRCLE;
        self.window.get_mut(offset as usize)
    }

    fn shrink(&mut self) {
        while let Some(Slot::Done) = self.window.front() {
            self.window.pop_front();
            self.first = ((u32::from(self.first) + 1) % CIRCLE) as u16;
            self.unsent_from = self.unsent_from.saturating_sub(1);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::message::{Message, MessageHead, SessionSerial};
    use super::*;

    fn delivery(qos: QoS) -> Delivery {
        let head = MessageHead { qos, retain: false, expires_at: None, publisher: SessionSerial(1) };
        Delivery {
            message: Message::new(head, "t", &[], b"x"),
            subscription_ids: None,
            share: None,
            sent_s: 0,
            qos,
            retain: false,
        }
    }

    #[test]
    fn mqtt_2_2_1_3_identifiers_in_use_are_not_given_again() {
        let mut inflight = Inflight::default();
        let first = inflight.push(delivery(QoS::AtLeastOnce)).unwrap();
        for _ in 1..CIRCLE {
            inflight.push(delivery(QoS::AtLeastOnce)).unwrap();
        }
        assert!(inflight.push(delivery(QoS::AtLeastOnce)).is_err());
        assert_eq!(inflight.len(), 65_535);
        // The circle is full until its oldest is acknowledged.
        let second = PacketId::new(2).unwrap();
        assert!(matches!(inflight.finish_publish(second, QoS::AtLeastOnce), Acked::Delivery(_)));
        assert!(inflight.push(delivery(QoS::AtLeastOnce)).is_err());
        assert!(matches!(inflight.finish_publish(first, QoS::AtLeastOnce), Acked::Delivery(_)));
        assert_eq!(inflight.push(delivery(QoS::AtLeastOnce)).unwrap(), first);
    }

    #[test]
    fn acknowledgements_in_any_order_and_of_the_wrong_kind() {
        let mut inflight = Inflight::default();
        let one = inflight.push(delivery(QoS::AtLeastOnce)).unwrap();
        let two = inflight.push(delivery(QoS::ExactlyOnce)).unwrap();
        let three = inflight.push(delivery(QoS::AtLeastOnce)).unwrap();
        assert!(matches!(inflight.finish_publish(two, QoS::AtLeastOnce), Acked::Unknown));
        assert!(matches!(inflight.received(one), Acked::Unknown));
        assert!(matches!(inflight.finish_publish(three, QoS::AtLeastOnce), Acked::Delivery(_)));
        assert!(matches!(inflight.received(two), Acked::Delivery(_)));
        assert!(matches!(inflight.received(two), Acked::Released));
        assert!(!inflight.complete(one));
        assert!(inflight.complete(two));
        assert!(!inflight.complete(two));
        assert_eq!(inflight.iter().map(|(id, _)| id).collect::<Vec<_>>(), [one]);
        assert!(matches!(inflight.finish_publish(one, QoS::AtLeastOnce), Acked::Delivery(_)));
        assert!(inflight.is_empty());
    }

    #[test]
    fn mqtt_4_4_0_1_everything_unacknowledged_is_sent_again_in_order() {
        let mut inflight = Inflight::default();
        let ids: Vec<_> = (0..4).map(|_| inflight.push(delivery(QoS::ExactlyOnce)).unwrap()).collect();
        inflight.received(ids[1]);
        inflight.mark_unsent();
        assert_eq!((inflight.len(), inflight.on_the_wire()), (4, 0));
        assert_eq!(inflight.next_unsent(7).unwrap().0, ids[0]);
        // An acknowledgement may come for what was not sent again yet.
        assert!(matches!(inflight.received(ids[2]), Acked::Delivery(_)));
        assert!(inflight.complete(ids[2]));
        assert!(matches!(inflight.next_unsent(7).unwrap(), (id, Slot::Release { .. }) if id == ids[1]));
        assert_eq!(inflight.next_unsent(7).unwrap().0, ids[3]);
        assert!(inflight.next_unsent(7).is_none());
        assert_eq!((inflight.len(), inflight.on_the_wire()), (3, 3));
    }

    #[test]
    fn identifiers_go_on_where_they_stopped() {
        let mut inflight = Inflight::default();
        assert_eq!(inflight.last_given(), 0);
        let id = inflight.push(delivery(QoS::AtLeastOnce)).unwrap();
        inflight.finish_publish(id, QoS::AtLeastOnce);
        assert_eq!(inflight.last_given(), 1);
        let mut next = Inflight::starting_after(inflight.last_given());
        assert_eq!(next.push(delivery(QoS::AtLeastOnce)).unwrap().value(), 2);
        let mut last = Inflight::starting_after(65_535);
        assert_eq!(last.push(delivery(QoS::AtLeastOnce)).unwrap().value(), 1);
    }
}
