//! Retained messages on their way to a new subscription: a cursor that pulls them from the slices as the client
//! takes them, within inflight and outbound limits and outside the mqueue.
//!
//! A live message that reaches the session while a cursor runs supersedes the retained one of its topic: nobody
//! sees an older message after a newer one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use hashbrown::HashSet;

use super::Broker;
use super::deliver::Terms;
use super::effects::Effects;
use super::message::{CursorToken, SessionToken, ShardMessage, delivery_qos};
use super::publication::Publication;
use crate::clock::Timestamp;
use crate::interest::ShardId;
use crate::packet::QoS;
use crate::router::{SessionIndex, SubscriptionOptions};
use crate::session::{Message, Slot};
use crate::storage::{Entry, RETAINED_UNDER_WAY};
use crate::topic;

/// Topics remembered as superseded, a cursor. Beyond, an older one may come after a newer.
const SUPERSEDED_MAX: usize = 65_536;
/// Sessions whose cursors move on in one turn, and messages of each.
const READY_BUDGET: usize = 256;
const MESSAGES_BUDGET: usize = 256;

/// One new subscription's retained messages.
#[derive(Debug)]
struct Cursor {
    number: u32,
    filter: Arc<str>,
    options: SubscriptionOptions,
    subscription_id: u32,
    /// Slices still to be asked; the last one is asked now.
    slices: Vec<ShardId>,
    after: Option<Box<str>>,
    is_asked: bool,
    chunk: VecDeque<Arc<Message>>,
    superseded: HashSet<Box<str>, ahash::RandomState>,
}

/// The cursors of one session, in the order of their subscriptions.
#[derive(Debug, Default)]
pub(super) struct SessionCursors {
    cursors: VecDeque<Cursor>,
    is_ready: bool,
}

/// A live message on `topic` goes to `session`.
pub(super) fn supersede(cursors: &mut BTreeMap<u32, SessionCursors>, session: SessionIndex, topic: &str) {
    let Some(session) = cursors.get_mut(&session.0) else { return };
    for cursor in &mut session.cursors {
        if cursor.superseded.len() < SUPERSEDED_MAX && topic::matches(&cursor.filter, topic) {
            cursor.superseded.insert(topic.into());
        }
    }
}

impl SessionCursors {
    fn find(&self, filter: &str) -> Option<&Cursor> {
        self.cursors.iter().find(|cursor| &*cursor.filter == filter)
    }

    /// A subscription's options as the journal has them while a cursor of it is open. What comes with QoS 0 is not promised.
    pub(super) fn mark(&self, filter: &str, options: SubscriptionOptions) -> u8 {
        let is_marked = options.qos() > 0 && self.find(filter).is_some();
        options.bits() | if is_marked { RETAINED_UNDER_WAY } else { 0 }
    }
}

enum Step {
    Go,
    Wait,
    Done,
}

impl Broker {
    /// A subscription wants its retained messages.
    pub(super) fn open_cursor(
        &mut self,
        index: u32,
        filter: &str,
        options: SubscriptionOptions,
        subscription_id: u32,
    ) {
        self.drop_cursors(index, filter);
        let slices = if topic::has_wildcard(filter) {
            self.shared.placement.iter().collect()
        } else {
            vec![self.shared.placement.slice_of(filter)]
        };
        // Never given twice, also not after all cursors of the session have ended: an answer may still be on its way.
        self.cursor_number = self.cursor_number.wrapping_add(1);
        let session = self.cursors.entry(index).or_default();
        session.cursors.push_back(Cursor {
            number: self.cursor_number,
            filter: filter.into(),
            options,
            subscription_id,
            slices,
            after: None,
            is_asked: false,
            chunk: VecDeque::new(),
            superseded: HashSet::default(),
        });
        self.ready_cursor(index);
    }

    /// Begins a cursor again that was open when the node crashed. What the session has of it already does not come again, nor does what
    /// a newer live message has replaced; what its client has acknowledged does.
    pub(super) fn reopen_cursor(
        &mut self,
        index: u32,
        filter: &str,
        options: SubscriptionOptions,
        subscription_id: u32,
    ) {
        self.open_cursor(index, filter, options, subscription_id);
        let outbound = self.clients.sessions.get(index).and_then(|session| session.outbound.as_deref());
        let Some(outbound) = outbound else { return };
        let inflight = outbound.inflight.iter().filter_map(|(_, slot)| match slot {
            Slot::Publish(delivery) => Some(delivery),
            Slot::Release { .. } | Slot::Done => None,
        });
        for delivery in
            inflight.chain(outbound.mqueue.iter()).filter(|delivery| delivery.message.head().retain)
        {
            supersede(&mut self.cursors, SessionIndex(index), delivery.message.topic());
        }
    }

    /// Whether the journal has to know that a subscription is still being given retained messages.
    pub(super) fn cursor_mark(&self, index: u32, filter: &str, options: SubscriptionOptions) -> u8 {
        self.cursors.get(&index).map_or(options.bits(), |open| open.mark(filter, options))
    }

    /// A cursor has come to its end: the journal has the subscription without it.
    fn note_given(&mut self, index: u32, cursor: &Cursor) {
        let Some(session) = self.clients.sessions.get(index) else { return };
        if cursor.options.qos() == 0 || !self.clients.journal.keeps(session) {
            return;
        }
        let Some(number) = self.router.find(&cursor.filter) else { return };
        let subscription = session.subscriptions.find(false, number.0);
        let options = self.router.options(number, SessionIndex(index));
        let (Some(subscription), Some(options)) = (subscription, options) else { return };
        let (serial, id, options) = (session.serial.0, subscription.id, options.bits());
        self.clients.journal.write(&Entry::Subscribe { serial, filter: &cursor.filter, options, id });
    }

    /// The subscription is gone.
    pub(super) fn drop_cursors(&mut self, index: u32, filter: &str) {
        if let Some(session) = self.cursors.get_mut(&index) {
            session.cursors.retain(|cursor| &*cursor.filter != filter);
            if session.cursors.is_empty() && !session.is_ready {
                self.cursors.remove(&index);
            }
        }
    }

    /// The session's cursors may be able to move on.
    pub(super) fn ready_cursor(&mut self, index: u32) {
        if let Some(session) = self.cursors.get_mut(&index)
            && !session.is_ready
        {
            session.is_ready = true;
            self.ready_cursors.push_back(index);
        }
    }

    /// Moves cursors on, within the budget of a turn.
    pub(super) fn continue_cursors<E: Effects>(&mut self, now: Timestamp, fx: &mut E) {
        for _ in 0..READY_BUDGET.min(self.ready_cursors.len()) {
            let Some(index) = self.ready_cursors.pop_front() else { return };
            if let Some(session) = self.cursors.get_mut(&index) {
                session.is_ready = false;
                self.advance_cursors(now, index, fx);
            }
        }
    }

    /// Gives a session's client what it has room for.
    pub(super) fn advance_cursors<E: Effects>(&mut self, now: Timestamp, index: u32, fx: &mut E) {
        for _ in 0..MESSAGES_BUDGET {
            match self.step(now, index, fx) {
                Step::Go => {}
                Step::Wait => return,
                Step::Done => {
                    self.cursors.remove(&index);
                    return;
                }
            }
        }
        self.ready_cursor(index);
    }

    fn step<E: Effects>(&mut self, now: Timestamp, index: u32, fx: &mut E) -> Step {
        let upgrade = self.clients.config.mqtt.upgrade_qos;
        let Some((session, id, _)) = self.clients.connected(index) else { return Step::Wait };
        let serial = session.serial;
        let Some(cursor) = self.cursors.get_mut(&index).and_then(|session| session.cursors.front_mut())
        else {
            return Step::Done;
        };
        if let Some(message) = cursor.chunk.front() {
            let granted = QoS::from_bits(cursor.options.qos()).unwrap_or_default();
            let has_room = if delivery_qos(message.head().qos, granted, upgrade) == QoS::AtMostOnce {
                let has_room = fx.outbound_len(id) <= self.clients.config.limits.outbound_bytes as usize;
                if !has_room {
                    fx.want_drained(id);
                }
                has_room
            } else {
                self.clients.has_room(index, fx)
            };
            return if has_room { self.deliver_retained(now, index, fx) } else { Step::Wait };
        }
        if cursor.is_asked {
            return Step::Wait;
        }
        let Some(slice) = cursor.slices.last().copied() else {
            let ended = self.cursors.get_mut(&index).and_then(|session| session.cursors.pop_front());
            ended.iter().for_each(|cursor| self.note_given(index, cursor));
            return Step::Go;
        };
        cursor.is_asked = true;
        let token = CursorToken { session: SessionToken { index, serial }, number: cursor.number };
        let (filter, after) = (Arc::clone(&cursor.filter), cursor.after.clone());
        if slice == self.shard {
            let (messages, next) = self.scan_retained(now, &filter, after.as_deref());
            self.take_chunk(token, messages, next);
            Step::Go
        } else {
            self.send_control(slice, ShardMessage::RetainedPull { cursor: token, filter, after }, fx);
            Step::Wait
        }
    }

    fn deliver_retained<E: Effects>(&mut self, now: Timestamp, index: u32, fx: &mut E) -> Step {
        let Some(cursor) = self.cursors.get_mut(&index).and_then(|session| session.cursors.front_mut())
        else {
            return Step::Done;
        };
        let Some(message) = cursor.chunk.pop_front() else { return Step::Go };
        if message.is_expired(now) || cursor.superseded.contains(message.topic()) {
            return Step::Go;
        }
        let id = [cursor.subscription_id];
        let terms = Terms {
            qos: QoS::from_bits(cursor.options.qos()).unwrap_or_default(),
            retain_as_published: false,
            retained: true,
            ids: if cursor.options.has_id() { &id } else { &[] },
            share: None,
        };
        self.clients.encoded.reset();
        self.clients.deliver_before_mqueue(now, index, &mut Publication::of(&message), &terms, fx);
        Step::Go
    }

    /// A slice on another shard answered.
    pub(super) fn retained_chunk<E: Effects>(
        &mut self,
        now: Timestamp,
        token: CursorToken,
        messages: Vec<Arc<Message>>,
        next: Option<Box<str>>,
        fx: &mut E,
    ) {
        let index = token.session.index;
        if self.clients.sessions.get(index).is_some_and(|session| session.serial == token.session.serial) {
            self.take_chunk(token, messages, next);
            self.advance_cursors(now, index, fx);
        }
    }

    fn take_chunk(&mut self, token: CursorToken, messages: Vec<Arc<Message>>, next: Option<Box<str>>) {
        let Some(session) = self.cursors.get_mut(&token.session.index) else { return };
        let Some(cursor) = session.cursors.iter_mut().find(|cursor| cursor.number == token.number) else {
            return;
        };
        cursor.is_asked = false;
        cursor.chunk.extend(messages);
        if next.is_none() {
            cursor.slices.pop();
        }
        cursor.after = next;
    }
}
