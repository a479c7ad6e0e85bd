//! Images: at the start of a generation of the journal a shard writes every session and Retained Message anew, a few a turn, so
//! that older files can go. Ordinary entries go on in between.

use std::sync::Arc;

use hashbrown::HashSet;

use super::Broker;
use super::effects::Effects;
use super::journal::{stored_delivery, stored_session};
use super::message::ShardMessage;
use crate::clock::Timestamp;
use crate::interest::ShardId;
use crate::packet::QoS;
use crate::router::{FilterId, SessionIndex};
use crate::session::{Delivery, HELD, Session, Slot};
use crate::storage::Entry;

/// Sessions and Retained Messages written in one turn, and bytes: what a turn may cost.
const IMAGES_BUDGET: usize = 128;
const BYTES_BUDGET: usize = 64 * 1024;

/// How far the images of a generation are.
#[derive(Debug)]
pub(super) struct Walk {
    /// The next session; `None`: all are written.
    session: Option<u32>,
    /// The Retained Message written last; `None`: none yet.
    retained: Option<Box<str>>,
    is_retained_done: bool,
    /// The delayed message written last; `None`: none yet.
    delayed: Option<(u64, u64)>,
    is_delayed_done: bool,
    /// Messages whose deliveries were waiting for a `Commit` when the generation began: it may lie before the generation.
    pub(super) held_before: HashSet<u64, ahash::RandomState>,
    /// Shards that have not said yet that they have begun it: until then a `Commit` of the time before may still be told.
    pub(super) marks_awaited: u16,
}

impl Walk {
    pub(super) fn new(held_before: HashSet<u64, ahash::RandomState>, marks_awaited: u16) -> Self {
        Self {
            session: Some(0),
            retained: None,
            is_retained_done: false,
            delayed: None,
            is_delayed_done: false,
            held_before,
            marks_awaited,
        }
    }

    /// Whether there is anything to do but wait for other shards.
    fn can_go_on(&self) -> bool {
        !self.is_written() || self.marks_awaited == 0
    }

    /// Whether all that there is to write is written.
    fn is_written(&self) -> bool {
        self.session.is_none() && self.is_retained_done && self.is_delayed_done
    }
}

impl Broker {
    /// A generation begins.
    pub(super) fn begin_images<E: Effects>(&mut self, generation: u32, fx: &mut E) {
        self.clients.journal.begin_generation(generation, self.shards - 1);
        for shard in (0..self.shards).map(ShardId).filter(|shard| *shard != self.shard) {
            self.send_control(shard, ShardMessage::Generation { generation }, fx);
        }
    }

    /// Whether images can be written now, or the walk be ended.
    pub(super) fn has_images_to_write(&self) -> bool {
        let journal = &self.clients.journal;
        !journal.is_busy() && journal.walk.as_deref().is_some_and(Walk::can_go_on)
    }

    /// Goes on with the images, within the budget of a turn.
    pub(super) fn continue_images<E: Effects>(&mut self, now: Timestamp, fx: &mut E) {
        if !self.has_images_to_write() {
            return;
        }
        let Some(mut walk) = self.clients.journal.walk.take() else { return };
        let mut budget = IMAGES_BUDGET;
        while budget > 0 && self.clients.journal.buffered() < BYTES_BUDGET && self.write_next(&mut walk) {
            budget -= 1;
        }
        let is_done = walk.is_written() && walk.marks_awaited == 0;
        if !is_done {
            self.clients.journal.walk = Some(walk);
            return;
        }
        self.clients.journal.hand_over(now, fx);
        fx.imaged(self.clients.journal.generation);
    }

    /// Writes one session, Retained Message or delayed message; false: there is none to be written now.
    fn write_next(&mut self, walk: &mut Walk) -> bool {
        if let Some(from) = walk.session {
            let next = self.clients.sessions.iter_from(from).next().map(|(index, _)| index);
            if let Some(index) = next
                && !self.write_messages(index)
            {
                walk.session = Some(index);
                return false;
            }
            walk.session = next.map(|index| index + 1);
            if let Some(index) = next {
                self.write_image(index);
            }
            return true;
        }
        if !walk.is_retained_done {
            let next = self.retained.iter_after(walk.retained.as_deref()).next().map(Arc::clone);
            walk.is_retained_done = next.is_none();
            if let Some(message) = next {
                walk.retained = Some(message.topic().into());
                self.clients.journal.write_retained(&message);
            }
            return true;
        }
        if !walk.is_delayed_done {
            walk.delayed = self.write_next_delayed(walk.delayed);
            walk.is_delayed_done = walk.delayed.is_none();
            return true;
        }
        false
    }

    /// Writes the messages of a session's queues that the generation has not yet, as far as the turn's budget goes: its image
    /// is one frame, which then only names them. Whether all are written.
    fn write_messages(&mut self, index: u32) -> bool {
        let journal = &mut self.clients.journal;
        let Some(session) = self.clients.sessions.get(index) else { return true };
        let Some(outbound) = session.outbound.as_deref().filter(|_| journal.keeps(session)) else {
            return true;
        };
        let inflight = outbound.inflight.iter().filter_map(|(_, slot)| match slot {
            Slot::Publish(delivery) => Some(delivery),
            Slot::Release { .. } | Slot::Done => None,
        });
        for delivery in inflight.chain(outbound.mqueue.iter()).filter(|delivery| is_known(delivery)) {
            if journal.buffered() >= BYTES_BUDGET {
                return false;
            }
            journal.write_message(&delivery.message);
        }
        true
    }

    /// Writes all of a session.
    pub(super) fn write_image(&mut self, index: u32) {
        let Self { clients, router, memberships, cursors, .. } = self;
        let Some(session) = clients.sessions.get(index) else { return };
        let journal = &mut clients.journal;
        if !journal.keeps(session) {
            return;
        }
        let serial = session.serial.0;
        journal.write(&Entry::Reset { serial });
        journal.write(&Entry::Session(stored_session(session, true)));
        for subscription in session.subscriptions.iter() {
            let id = subscription.id;
            if subscription.shared {
                if let Some((share, options)) = memberships.share(subscription.filter) {
                    let filter = format!("$share/{}/{}", share.name, share.filter);
                    journal.write(&Entry::Subscribe { serial, filter: &filter, options: options.bits(), id });
                }
            } else if let Some(options) = router.options(FilterId(subscription.filter), SessionIndex(index)) {
                let filter = router.filter(FilterId(subscription.filter));
                let options = cursors.get(&index).map_or(options.bits(), |open| open.mark(filter, options));
                journal.write(&Entry::Subscribe { serial, filter, options, id });
            }
        }
        if let Some(inbound) = &session.inbound {
            for packet_id in inbound.iter_written() {
                journal.write(&Entry::Inbound { serial, packet_id });
            }
        }
        write_queues(journal, session);
    }
}

fn write_queues(journal: &mut super::journal::Journal, session: &Session) {
    let Some(outbound) = &session.outbound else { return };
    let serial = session.serial.0;
    for (packet_id, slot) in outbound.inflight.iter() {
        match slot {
            Slot::Publish(delivery) if is_known(delivery) => {
                let number = delivery.message.head().number;
                let is_conditional = delivery.sent_s == HELD && journal.is_held(number);
                journal.write_message(&delivery.message);
                let stored = stored_delivery(serial, delivery, Some(packet_id), is_conditional);
                journal.write(&Entry::Deliver(stored));
            }
            Slot::Release { .. } => {
                journal.write(&Entry::Received { serial, packet_id: packet_id.value() });
            }
            Slot::Publish(_) | Slot::Done => {}
        }
    }
    for delivery in outbound.mqueue.iter().filter(|delivery| is_known(delivery)) {
        journal.write_message(&delivery.message);
        journal.write(&Entry::Deliver(stored_delivery(serial, delivery, None, false)));
    }
}

/// Whether the journal knows of a delivery: QoS 0 and the broker's own messages do not outlast the process.
fn is_known(delivery: &Delivery) -> bool {
    delivery.qos > QoS::AtMostOnce && delivery.message.head().number > 0
}
