//! Inflight: messages sent with QoS 1 or 2 and not yet acknowledged, in the order of their sending.
//! Packet Identifiers are given in a circle, so the place of an identifier is its distance from the window's first:
//! look-up and removal cost the same for any number, and an identifier in use is never given again [MQTT-2.2.1-3].
//! What is not acknowledged for long would keep the window open behind it; it moves to a list of its own.

use std::collections::VecDeque;

use super::message::Delivery;
use crate::packet::{PacketId, QoS};

/// Identifiers in the circle: 1 to 65,535.
const CIRCLE: u32 = 65_535;

/// Places of the window that may be done for each place that is not: two, and so many.
const WINDOW_SPARSE: usize = 64;

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
/// `Delivery::sent_s` of what has its identifier and may be sent only when the journal has that.
pub const HELD: u32 = u32::MAX - 1;
/// `Delivery::sent_s` of what may be sent, behind an older one that may not.
pub const READY: u32 = u32::MAX - 2;
/// `Delivery::sent_s` of what waits in the mqueue and may be sent only when its message is committed.
pub const UNCOMMITTED: u32 = u32::MAX - 3;

impl Slot {
    const fn is_held(&self) -> bool {
        matches!(self, Self::Publish(delivery) if delivery.sent_s == HELD || delivery.sent_s == READY)
    }

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
    /// Older than the window, in order: few, and never `Slot::Done`.
    overdue: Vec<(PacketId, Slot)>,
    window: VecDeque<Slot>,
    /// Identifier of the window's first slot, counted from 0.
    first: u16,
    live: u16,
    /// Of those, how many have to be sent again on this connection.
    unsent: u16,
    /// No unsent slot is before this offset.
    unsent_from: u16,
    /// Those that wait for the journal, and what waits behind them, oldest first.
    #[expect(
        clippy::box_collection,
        reason = "seldom there, and every session with a queue would pay for it"
    )]
    held: Option<Box<VecDeque<PacketId>>>,
}

impl Inflight {
    /// Starts with the identifier after `last` (0: with 1), so that identifiers go round over a whole session.
    pub fn starting_after(last: u16) -> Self {
        Self { first: (u32::from(last) % CIRCLE) as u16, ..Self::default() }
    }

    /// As a journal has it: identifiers in the order of their sending, and the one given last. All have to be sent again.
    pub fn restored(slots: impl IntoIterator<Item = (PacketId, Slot)>, last: u16) -> Self {
        let overdue: Vec<_> = slots.into_iter().collect();
        Self { live: overdue.len() as u16, overdue, ..Self::starting_after(last) }
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
        for slot in self.overdue.iter_mut().map(|(_, slot)| slot).chain(&mut self.window) {
            if let Slot::Release { unsent: unsent @ false } = slot {
                *unsent = true;
                self.unsent += 1;
            }
        }
    }

    /// The PUBLISHes chosen have to be sent again.
    pub fn mark_unsent_where(&mut self, choose: impl Fn(&Delivery) -> bool) {
        for slot in self.overdue.iter_mut().map(|(_, slot)| slot).chain(&mut self.window) {
            if let Slot::Publish(delivery) = slot
                && ![UNSENT, HELD, READY].contains(&delivery.sent_s)
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
        self.unsent -= 1;
        let (id, slot) = if let Some(at) = self.overdue.iter().position(|(_, slot)| slot.is_unsent()) {
            let (id, slot) = self.overdue.get_mut(at)?;
            (*id, slot)
        } else {
            let from = usize::from(self.unsent_from);
            let offset = from + self.window.iter().skip(from).position(Slot::is_unsent)?;
            self.unsent_from = offset as u16;
            (self.id_at(offset)?, self.window.get_mut(offset)?)
        };
        match slot {
            Slot::Publish(delivery) => delivery.sent_s = sent_s,
            Slot::Release { unsent } => *unsent = false,
            Slot::Done => {}
        }
        Some((id, slot))
    }

    /// Whether something waits for the journal: what comes after it waits behind it.
    pub fn has_held(&self) -> bool {
        self.held.is_some()
    }

    /// The journal has what `id` waited for.
    pub fn release(&mut self, id: PacketId) {
        if let Some(Slot::Publish(delivery)) = self.slot(id)
            && delivery.sent_s == HELD
        {
            delivery.sent_s = READY;
        }
    }

    /// The oldest that waited for the journal and may be sent now; it counts as sent at `sent_s`, which may be `UNSENT`.
    pub fn next_ready(&mut self, sent_s: u32) -> Option<(PacketId, &Slot)> {
        loop {
            let id = *self.held.as_ref()?.front()?;
            let is_waiting = match self.slot(id) {
                Some(Slot::Publish(delivery)) if delivery.sent_s == HELD => return None,
                Some(Slot::Publish(delivery)) if delivery.sent_s == READY => {
                    delivery.sent_s = sent_s;
                    true
                }
                // It is over already.
                _ => false,
            };
            if let Some(held) = &mut self.held {
                held.pop_front();
                if held.is_empty() {
                    self.held = None;
                }
            }
            if is_waiting {
                if sent_s == UNSENT {
                    self.unsent += 1;
                    self.unsent_from = 0;
                }
                return self.slot(id).map(|slot| (id, &*slot));
            }
        }
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
        u32::from(self.live) < CIRCLE
    }

    /// The identifier given last, for `starting_after`; 0: none was.
    pub fn last_given(&self) -> u16 {
        ((u32::from(self.first) + self.window.len() as u32 + CIRCLE - 1) % CIRCLE + 1) as u16 % CIRCLE as u16
    }

    /// Gives the next Packet Identifier to a delivery; hands it back if every identifier is in use.
    pub fn push(&mut self, delivery: Delivery) -> Result<PacketId, Delivery> {
        if !self.has_room() {
            return Err(delivery);
        }
        loop {
            let Some(id) = self.id_at(self.window.len()) else { return Err(delivery) };
            if self.overdue.iter().all(|(overdue, _)| *overdue != id) {
                let slot = Slot::Publish(delivery);
                if slot.is_held() {
                    self.held.get_or_insert_default().push_back(id);
                }
                self.window.push_back(slot);
                self.live += 1;
                return Ok(id);
            }
            // In use: its place in the circle stays empty this time.
            self.window.push_back(Slot::Done);
        }
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
        let window = self.window.iter().enumerate().filter_map(|(offset, slot)| match slot {
            Slot::Done => None,
            slot => Some((self.id_at(offset)?, slot)),
        });
        self.overdue.iter().map(|(id, slot)| (*id, slot)).chain(window)
    }

    /// Takes every PUBLISH out, oldest first (the session ends).
    pub fn drain(&mut self) -> impl Iterator<Item = Delivery> + '_ {
        self.live = 0;
        self.unsent = 0;
        self.held = None;
        let overdue = self.overdue.drain(..).map(|(_, slot)| slot);
        overdue.chain(self.window.drain(..)).filter_map(|slot| match slot {
            Slot::Publish(delivery) => Some(delivery),
            Slot::Done | Slot::Release { .. } => None,
        })
    }

    fn id_at(&self, offset: usize) -> Option<PacketId> {
        PacketId::new(((u32::from(self.first) + offset as u32) % CIRCLE + 1) as u16)
    }

    fn slot(&mut self, id: PacketId) -> Option<&mut Slot> {
        if let Some(at) = self.overdue.iter().position(|(overdue, _)| *overdue == id) {
            return self.overdue.get_mut(at).map(|(_, slot)| slot);
        }
        let offset = (u32::from(id.value()) - 1 + CIRCLE - u32::from(self.first)) % CIRCLE;
        self.window.get_mut(offset as usize)
    }

    /// Forgets what is done at the front; what keeps too many done ones behind it moves out of the window.
    fn shrink(&mut self) {
        self.overdue.retain(|(_, slot)| !matches!(slot, Slot::Done));
        loop {
            let is_sparse = self.window.len() > WINDOW_SPARSE + 2 * usize::from(self.live);
            match self.window.front() {
                Some(Slot::Done) => {
                    self.window.pop_front();
                }
                Some(_) if is_sparse => {
                    let id = self.id_at(0);
                    let slot = self.window.pop_front();
                    self.overdue.extend(id.zip(slot));
                }
                _ => return,
            }
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
        let head = MessageHead {
            qos,
            retain: false,
            expires_at: None,
            publisher: SessionSerial(1),
            owner: 0,
            number: 0,
        };
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
        assert!(matches!(inflight.finish_publish(first, QoS::AtLeastOnce), Acked::Delivery(_)));
        assert_eq!(inflight.push(delivery(QoS::AtLeastOnce)).unwrap(), first);
    }

    #[test]
    fn mqtt_2_2_1_3_one_that_is_never_acknowledged_keeps_its_identifier_and_stops_nobody() {
        let mut inflight = Inflight::default();
        let stuck = inflight.push(delivery(QoS::AtLeastOnce)).unwrap();
        for n in 0..200_000 {
            let id = inflight.push(delivery(QoS::AtLeastOnce)).unwrap();
            assert_ne!(id, stuck, "delivery {n}");
            assert!(matches!(inflight.finish_publish(id, QoS::AtLeastOnce), Acked::Delivery(_)));
            assert!(inflight.window.len() <= WINDOW_SPARSE + 4);
        }
        assert_eq!((inflight.len(), inflight.iter().next().unwrap().0), (1, stuck));
        inflight.mark_unsent();
        assert_eq!(inflight.next_unsent(1).unwrap().0, stuck);
        assert!(matches!(inflight.finish_publish(stuck, QoS::AtLeastOnce), Acked::Delivery(_)));
        assert!(inflight.is_empty() && inflight.iter().next().is_none());
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
