//! What MQTT promises, as one small model that watches all clients at once. It decides nothing for the broker: where
//! a race leaves two outcomes open, both pass; where the specification leaves one, the other is a violation by name.

pub mod connection;
mod drain;
mod expiry;
mod finish;
pub mod message;
mod receive;
pub mod session;
pub mod sys;
#[cfg(test)]
mod tests;
pub mod will;

use std::collections::BTreeMap;

use myriad::limits::Level;

use crate::settings::Settings;
use crate::trace::{Check, ensure};
pub use connection::{Connection, Leave};
use message::{Message, MessageNumber, matches};
pub use receive::Reception;
use session::{Session, Snapshot, Subscription};
use sys::Sys;

/// Messages that stay in an mqueue whatever happens.
pub const THINNED_LEN: u32 = 16;

/// Index into `Model::sessions`.
pub type SessionNumber = usize;

/// What a client asks of one filter.
#[derive(Debug, Clone)]
pub struct Wish {
    pub filter: String,
    pub share: Option<String>,
    pub qos: u8,
    pub no_local: bool,
    pub retain_as_published: bool,
    /// `None`: 3.x, where every SUBSCRIBE brings retained messages.
    pub retain_handling: Option<u8>,
    pub id: u32,
}

/// All clients' knowledge.
#[derive(Default)]
pub struct Model {
    pub messages: Vec<Message>,
    pub sessions: Vec<Session>,
    /// By socket.
    pub connections: Vec<Connection>,
    /// `session.queue_len_max`.
    pub queue_len_max: u32,
    pub queue_qos0: bool,
    /// Newest retained message accepted, by topic.
    pub retained: BTreeMap<String, u64>,
    /// Copies that went to members of Shared Subscriptions, by message and QoS of the delivery.
    pub shared_fresh: BTreeMap<(MessageNumber, u8), u32>,
    /// Places in Shared Subscriptions that were left, by UNSUBSCRIBE or with the session.
    pub members_gone: u32,
    /// Clients whose sessions have only Shared Subscriptions below `s/`.
    pub workers: Vec<bool>,
    /// Client that sees every Will.
    pub watcher: usize,
    /// The brokers' configurations.
    pub settings: Settings,
    /// The `$SYS` tree as the watcher sees it.
    pub sys: Sys,
    /// The moment from which on the node shuts down.
    pub drain_from: Option<u64>,
    /// Memory was so short that long mqueues lost their older half.
    pub is_thinned: bool,
    /// How much was checked, so that a run that checks nothing is noticed.
    pub checked: Checked,
}

crate::seeds::counts! {
    /// How often each promise was put to the test.
    Checked {
        receptions,
        owed,
        retained,
        shared,
        wills,
        resumed,
        expired,
        keep_alive,
        dropped,
        redelivered,
        expiries,
        expired_waiting,
        retried,
        reloads,
        sys,
        drains,
        refused,
        strangers,
        denied,
        pressed,
    }
}

impl Model {
    /// A message that is about to be sent; `key` orders it within publisher and topic, by default by creation.
    pub fn message(&mut self, message: Message) -> MessageNumber {
        self.messages.push(message);
        self.messages.len() - 1
    }

    /// It goes out (again).
    pub fn message_sent(&mut self, number: MessageNumber, stamp: u64) {
        self.messages[number].sent.push(stamp);
    }

    /// Its publisher has PUBACK or PUBREC.
    pub fn message_accepted(&mut self, number: MessageNumber, stamp: u64, now: u64) {
        let stored = self.storage(number, now);
        let message = &mut self.messages[number];
        message.accepted.get_or_insert(stamp);
        message.accepted_at.get_or_insert(now);
        message.stored = stored;
        if message.retain {
            let newest = self.retained.entry(message.topic.clone()).or_default();
            *newest = (*newest).max(message.key);
        }
    }

    /// A new session of `client`.
    pub fn session(&mut self, client: usize) -> SessionNumber {
        let number = self.sessions.len();
        self.sessions.push(Session { number, client, ..Session::default() });
        number
    }

    /// The session has ended, or may have.
    pub fn session_ended(&mut self, number: SessionNumber, stamp: u64) {
        let session = &mut self.sessions[number];
        if session.ended.is_none() {
            session.ended = Some(stamp);
            self.members_gone += session.leave_shares();
        }
    }

    /// SUBSCRIBE goes out; returns the new subscription's place.
    pub fn subscribe_sent(&mut self, session: SessionNumber, stamp: u64, wish: Wish) -> usize {
        let retained = &self.retained;
        let session = &mut self.sessions[session];
        let previous = session.current(&wish.filter, wish.share.as_deref());
        let surely_new = previous.is_none();
        let surely_old = previous.is_some_and(|at| {
            session.subscriptions[at].acked.is_some() && session.definite_until(at) == u64::MAX
        });
        let snapshot = match (wish.share.is_some(), wish.retain_handling) {
            (true, _) | (_, Some(2)) => Snapshot::No,
            (_, Some(1)) if surely_old => Snapshot::No,
            (_, Some(1)) if !surely_new => Snapshot::Maybe,
            _ => Snapshot::Yes,
        };
        let floors = retained.iter().filter(|(topic, _)| matches(&wish.filter, topic));
        let floors = floors.map(|(topic, key)| (topic.clone(), *key)).collect();
        let place = session.subscriptions.len();
        for other in &mut session.subscriptions {
            let same = other.filter == wish.filter && other.share == wish.share;
            if same && other.over.is_none() && other.successor.is_none() {
                other.successor = Some(place);
            }
        }
        session.subscriptions.push(Subscription {
            filter: wish.filter,
            share: wish.share,
            qos: wish.qos,
            no_local: wish.no_local,
            retain_as_published: wish.retain_as_published,
            snapshot,
            id: wish.id,
            sent: stamp,
            acked: None,
            granted: None,
            unsubscribe_sent: None,
            over: None,
            successor: None,
            floors,
        });
        place
    }

    /// SUBACK has come in for it.
    pub fn subscribe_acked(&mut self, session: SessionNumber, place: usize, stamp: u64, granted: u8) {
        let subscriptions = &mut self.sessions[session].subscriptions;
        subscriptions[place].acked = Some(stamp);
        subscriptions[place].granted = Some(granted);
        let new = subscriptions[place].clone();
        for older in subscriptions[..place].iter_mut().filter(|s| s.is_same_filter(&new)) {
            older.over.get_or_insert(stamp);
        }
    }

    /// UNSUBSCRIBE goes out.
    pub fn unsubscribe_sent(
        &mut self,
        session: SessionNumber,
        filter: &str,
        share: Option<&str>,
        stamp: u64,
    ) {
        for subscription in &mut self.sessions[session].subscriptions {
            if subscription.filter == filter && subscription.share.as_deref() == share {
                subscription.unsubscribe_sent.get_or_insert(stamp);
            }
        }
        if share.is_some() {
            self.members_gone += 1;
        }
    }

    /// UNSUBACK has come in for it.
    pub fn unsubscribe_acked(
        &mut self,
        session: SessionNumber,
        filter: &str,
        share: Option<&str>,
        sent: u64,
        stamp: u64,
    ) {
        for subscription in &mut self.sessions[session].subscriptions {
            let same = subscription.filter == filter && subscription.share.as_deref() == share;
            if same && subscription.sent < sent {
                subscription.over.get_or_insert(stamp);
            }
        }
    }

    /// PUBACK or PUBREC with 0x10 says that nobody subscribes: that must not be wrong.
    pub fn accepted_by_none(&self, number: MessageNumber, reason: u8) -> Check {
        let message = &self.messages[number];
        let owed = reason == 0x10
            && (0..self.sessions.len()).any(|s| self.sessions[s].is_owed(message) && self.is_alive(s));
        ensure(!owed, "no-matching-subscribers", || format!("message {number} {message:?} has subscribers"))
    }

    /// Whether a session surely exists: its client is connected.
    fn is_alive(&self, session: SessionNumber) -> bool {
        let client = self.sessions[session].client;
        let mut mine = self.connections.iter().filter(|c| c.client == client && c.connect_sent.is_some());
        let open = mine.next_back().is_some_and(|c| c.connack.is_some() && c.ended.is_none());
        open && self.sessions[session + 1..].iter().all(|s| s.client != client)
    }

    /// Whether a filter was subscribed without any doubt when an UNSUBSCRIBE was sent.
    pub fn was_subscribed(&self, session: SessionNumber, filter: &str, share: Option<&str>, at: u64) -> bool {
        self.sessions[session].subscriptions.iter().any(|s| {
            s.filter == filter
                && s.share.as_deref() == share
                && s.acked.is_some_and(|acked| acked < at)
                && s.over.is_none_or(|over| over > at && s.successor.is_some())
                && s.unsubscribe_sent == Some(at)
        })
    }

    /// Memory is short: QoS 0 may be dropped, which it may always be; publishers wait; at the worst, clients are refused and of
    /// an mqueue no more than `THINNED_LEN` messages are sure to stay.
    pub fn pressed(&mut self, level: Level) {
        self.checked.pressed += 1;
        self.sys.is_complete = false;
        if level == Level::Refuse {
            self.is_thinned = true;
            self.queue_len_max = self.queue_len_max.min(THINNED_LEN);
        }
    }

    /// A refusal of CONNECT is right only where there is no room, or nobody is served any more.
    pub fn refusal_is_right(&self, socket: usize, code: u8, has_no_room: bool) -> Check {
        let right = has_no_room && [0x03, 0x97].contains(&code)
            || self.drain_from.is_some() && [0x03, 0x88].contains(&code);
        ensure(right, "connect-accepted", || format!("socket {socket} was refused with {code:#x}"))
    }
}
