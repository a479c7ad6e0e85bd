//! Messages of Shared Subscriptions that a session leaves when it ends: they go to another member (5.0 section 4.8.2). The journal has each
//! of them under a serial of its own, from the frame with the session's end until the `Commit` of its delivery to the next member: it is
//! published a second time, as it were, to this one Shared Subscription and under another number.

use std::sync::Arc;

use super::Broker;
use super::clients::{Clients, SharedNews};
use super::effects::Effects;
use super::journal::{Awaited, CommitKey, Reach};
use super::message::{SessionToken, ShardMessage};
use super::operations::{Pending, Waiter};
use super::publication::Publication;
use crate::clock::Timestamp;
use crate::packet::QoS;
use crate::session::{Delivery, HELD, Message, READY, Session, SessionSerial, ShareName, UNCOMMITTED};
use crate::storage::{Entry, RestoredReturn};

/// Given to other members in one go, after a crash.
const RESTORED_BUDGET: usize = 1_000;

impl Clients {
    /// The session ends with these undelivered: those of a Shared Subscription go back to it.
    pub(super) fn give_up(&mut self, session: &mut Session) {
        let Some(mut outbound) = session.outbound.take() else { return };
        let inflight = outbound.inflight.len() as u64;
        self.metrics.inflight.set(self.metrics.inflight.load().wrapping_sub(inflight));
        let waiting = outbound.mqueue.len() as u64;
        self.metrics.queues.set(self.metrics.queues.load().wrapping_sub(waiting));
        if outbound.mqueue.is_long() {
            self.metrics.queues_high.dec();
        }
        let mut returned = Vec::new();
        for delivery in outbound.inflight.drain() {
            // A QoS 2 delivery once begun stays with its session [MQTT-4.8.2-5].
            let is_begun = ![HELD, READY].contains(&delivery.sent_s);
            if delivery.share.is_some() && (delivery.qos <= QoS::AtLeastOnce || !is_begun) {
                returned.push(delivery);
            } else {
                self.dropped_with_session(&delivery);
            }
        }
        for delivery in outbound.mqueue.drain() {
            if delivery.share.is_some() {
                returned.push(delivery);
            } else {
                self.dropped_with_session(&delivery);
            }
        }
        self.give_back(self.journal.keeps(session), returned);
    }

    fn dropped_with_session(&self, delivery: &Delivery) {
        self.metrics.dropped_qos2.add(u64::from(delivery.qos == QoS::ExactlyOnce));
        self.dropped(&self.metrics.dropped_session_end);
    }

    /// `is_kept`: their session outlasts the process, so they do too.
    fn give_back(&mut self, is_kept: bool, returned: Vec<Delivery>) {
        // A frame may be cut behind a message: they come first, and all that follows is in one frame with the session's end.
        for delivery in returned.iter().filter(|_| is_kept) {
            if delivery.message.head().number > 0 {
                self.journal.write_message(&delivery.message);
            }
        }
        for delivery in returned {
            let Some(share) = delivery.share.clone() else { continue };
            if !is_kept || delivery.message.head().number == 0 {
                self.shared_news.push(SharedNews::Returned(share, delivery.message));
            } else if let Some(serial) = self.begin_return(delivery) {
                self.shared_news.push(SharedNews::GivenBack(serial));
            }
        }
    }

    /// Gives the journal a delivery under a serial of its own; `None`: it has to wait for the `Commit` of its message.
    fn begin_return(&mut self, mut delivery: Delivery) -> Option<SessionSerial> {
        let number = delivery.message.head().number;
        let waits = [HELD, UNCOMMITTED].contains(&delivery.sent_s) && self.journal.is_held(number);
        delivery.sent_s = if waits { UNCOMMITTED } else { 0 };
        let serial = self.next_serial();
        if waits {
            self.journal.hold_return(number, serial);
        }
        self.journal.begin_return(serial, delivery);
        (!waits).then_some(serial)
    }
}

impl Broker {
    /// A message that the journal has under `serial`, if it has one, goes to its Shared Subscription's home.
    pub(super) fn start_return<E: Effects>(&mut self, now: Timestamp, serial: SessionSerial, fx: &mut E) {
        let number = self.clients.journal.number();
        let Some(delivery) = self.clients.journal.returned(serial) else { return };
        let Some(share) = delivery.share.clone() else { return };
        let message = delivery.message.renumbered(number);
        let mut pending = Pending::new(Waiter::Return { serial, number });
        let home = self.home_of(&share);
        if home == self.shard {
            return self.give_to_next(now, &share, &message, pending, fx);
        }
        let operation = self.expect_answer(&mut pending);
        self.send_control(home, ShardMessage::SharedGiveBack { share, message, operation }, fx);
    }

    /// At the home: the next member gets it, if there is one.
    pub(super) fn give_to_next<E: Effects>(
        &mut self,
        now: Timestamp,
        share: &Arc<ShareName>,
        message: &Arc<Message>,
        mut pending: Pending,
        fx: &mut E,
    ) {
        let mut publication = Publication::of(message);
        let reach = match self.pick_member(share, &publication) {
            None => {
                self.clients.dropped(&self.metrics().dropped_session_end);
                Reach::default()
            }
            Some((share, member)) if self.is_here(&member) => {
                self.clients.encoded.reset();
                self.clients.journal.begin(true);
                self.deliver_to_member(now, &share, &member, &mut publication, fx);
                self.clients.journal.take_reach(true)
            }
            Some((share, member)) => {
                let operation = self.expect_answer(&mut pending);
                self.send_to_member(share, &member, Arc::clone(message), Some(operation), false, fx);
                Reach::default()
            }
        };
        self.settle(now, pending, reach, fx);
    }

    /// The next member has it, or there is none: what the journal had under `serial` is over.
    pub(super) fn commit_return<E: Effects>(
        &mut self,
        now: Timestamp,
        serial: SessionSerial,
        number: u64,
        reach: Reach,
        fx: &mut E,
    ) {
        let key = CommitKey { message: number, ..CommitKey::default() };
        let journal = &mut self.clients.journal;
        if reach.written {
            journal.write(&key.entry(false));
        }
        journal.end_return(serial);
        if !reach.held {
            return;
        }
        if journal.is_synced() {
            journal.wait(Awaited::Own(key));
        } else {
            self.committed_everywhere(now, number, fx);
        }
    }

    /// What a session left that ended shortly before a crash, or while the node was down.
    pub(super) fn restore_return(&mut self, returned: RestoredReturn) {
        let RestoredReturn { serial, packet_id, delivery } = returned;
        let number = delivery.message.head().number;
        let journal = &mut self.clients.journal;
        journal.write_message(&delivery.message);
        // From its old place to the new one in one frame: another crash finds it once.
        journal.write(&match packet_id {
            Some(packet_id) => Entry::Done { serial, packet_id },
            None => Entry::Gone { serial, number },
        });
        if let Some(serial) = self.clients.begin_return(delivery) {
            self.restored_returns.push_back(serial);
        }
    }

    /// Gives them to other members; true: there are more.
    pub(super) fn start_restored_returns<E: Effects>(&mut self, now: Timestamp, fx: &mut E) -> bool {
        for _ in 0..RESTORED_BUDGET {
            let Some(serial) = self.restored_returns.pop_front() else { return false };
            self.start_return(now, serial, fx);
        }
        !self.restored_returns.is_empty()
    }
}

/// The place of a message that is given back, among those that wait for a `Commit`: no session has this index.
pub(super) const fn place_of(serial: SessionSerial) -> SessionToken {
    SessionToken { index: u32::MAX, serial }
}
