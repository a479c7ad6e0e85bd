//! What operators change: connections and sessions end, sessions are subscribed. What the disk or other shards have to confirm
//! gets a receipt, by which its asker learns when it has come true.

use hashbrown::HashSet;

use super::super::Broker;
use super::super::disconnect::End;
use super::super::effects::{Close, Effects};
use super::super::journal::Awaited;
use super::super::mount::{mount_of, mounted_filter};
use super::super::operations::{Pending, Waiter};
use crate::clock::Timestamp;
use crate::packet::{ReasonCode, SubscriptionOptions};
use crate::topic;

/// Receipts that may be open at a time.
const RECEIPTS_MAX: usize = 4096;

/// What a client is told that an operator sends away.
const WHY: &str = "disconnected by an operator";

/// Names a change that is to come true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Receipt(u64);

/// Changes that have not come true yet.
#[derive(Debug, Default)]
pub struct Receipts {
    open: HashSet<u64, ahash::RandomState>,
    last: u64,
}

impl Receipts {
    fn open(&mut self) -> Receipt {
        self.last += 1;
        self.open.insert(self.last);
        Receipt(self.last)
    }

    /// The change has come true.
    pub(in crate::broker) fn close(&mut self, receipt: Receipt) {
        self.open.remove(&receipt.0);
    }

    pub(super) fn is_done(&self, receipt: Receipt) -> bool {
        !self.open.contains(&receipt.0)
    }

    fn is_full(&self) -> bool {
        self.open.len() >= RECEIPTS_MAX
    }
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// There is no such client, session, subscription or message.
    NotFound,
    /// It can't be, by the rules for clients.
    Refused(ReasonCode),
    /// It can't be now: the disk takes nothing, or too many changes wait for it.
    Unavailable,
    /// It is so. `is_new`: it was not before.
    Done {
        /// Something was made or ended that was not made or ended before.
        is_new: bool,
    },
    /// It is so on this shard; `Question::IsDone` says when the disk and other shards have it.
    Begun {
        /// What to ask with.
        receipt: Receipt,
        /// As in `Done`.
        is_new: bool,
    },
}

/// A subscription that an operator makes for a session.
#[derive(Debug, Clone)]
pub struct Subscribing {
    /// Name of the session.
    pub session: Box<str>,
    /// The filter as the client would say it, `$queue/` and `$local/` included.
    pub filter: Box<str>,
    /// As in SUBSCRIBE.
    pub options: SubscriptionOptions,
    /// Subscription Identifier; 0: none.
    pub subscription_id: u32,
}

impl Broker {
    /// Ends a client's connection: 5.0 is told so. The Will is published as if the connection were lost.
    pub(super) fn kick<E: Effects>(&mut self, now: Timestamp, name: &str, fx: &mut E) -> Changed {
        let session = self.clients.find(name).and_then(|place| self.clients.sessions.get(place));
        let Some(id) = session.and_then(|session| session.connection) else { return Changed::NotFound };
        self.go_in_unheard(id, fx);
        self.send_disconnect(id, ReasonCode::AdministrativeAction, Some(WHY), fx);
        fx.close(id, Close::Flush);
        self.failure = Some(ReasonCode::AdministrativeAction);
        self.end_connection(now, id, End::Lost, fx);
        self.failure = None;
        Changed::Done { is_new: true }
    }

    /// Ends a session, and its connection before. Its Will is published, since a session's end does not wait for a delay.
    pub(super) fn discard<E: Effects>(&mut self, now: Timestamp, name: &str, fx: &mut E) -> Changed {
        let Some(session) = self.clients.find(name).and_then(|place| self.clients.sessions.get(place)) else {
            return Changed::NotFound;
        };
        let is_kept = self.clients.journal.keeps(session);
        if is_kept && let Some(refusal) = self.refuse_change() {
            return refusal;
        }
        self.kick(now, name, fx);
        // One that does not outlive its connection is gone already.
        if let Some(place) = self.clients.find(name) {
            self.end_session(now, place, fx);
        }
        self.changed(is_kept, true)
    }

    /// SUBSCRIBE for a session, connected or not. The ACL is not asked: it is about clients. Nor is `[[rewrite]]`: an operator means
    /// the filter that stands there.
    pub(super) fn subscribe_for<E: Effects>(&mut self, asked: &Subscribing, fx: &mut E) -> Changed {
        let Some(place) = self.clients.find(&asked.session) else { return Changed::NotFound };
        let filter = topic::canonical(&asked.filter);
        let share = match self.check_filter(&filter) {
            Ok(share) => share,
            Err(reason) => return Changed::Refused(reason),
        };
        if share.is_some() && asked.options.no_local {
            // [MQTT-3.8.3-4]
            return Changed::Refused(ReasonCode::ProtocolError);
        }
        let Some(session) = self.clients.sessions.get(place) else { return Changed::NotFound };
        let is_kept = self.clients.journal.keeps(session);
        let before = session.subscriptions.len();
        let mount = mount_of(&session.client_id);
        let full = mounted_filter(mount, &filter).into_owned();
        if let Some(refusal) = self.refuse_change() {
            return refusal;
        }
        let mut wanted = Vec::new();
        let mut pending = Pending::new(Waiter::Nobody);
        let id = asked.subscription_id;
        let reason = self.subscribe_full(place, &full, &asked.options, id, &mut wanted, &mut pending, fx);
        self.open_cursors(place, wanted);
        if reason.is_failure() {
            return Changed::Refused(reason);
        }
        let after = self.clients.sessions.get(place).map_or(0, |session| session.subscriptions.len());
        let is_new = after > before;
        if pending.is_begun() {
            let receipt = self.receipts.open();
            self.set_waiter(&pending, Waiter::Operator { receipt, is_kept });
            return Changed::Begun { receipt, is_new };
        }
        self.changed(is_kept, is_new)
    }

    /// UNSUBSCRIBE for a session.
    pub(super) fn unsubscribe_for<E: Effects>(&mut self, name: &str, filter: &str, fx: &mut E) -> Changed {
        let Some(place) = self.clients.find(name) else { return Changed::NotFound };
        let filter = topic::canonical(filter);
        if let Err(reason @ ReasonCode::TopicFilterInvalid) = self.check_filter(&filter) {
            return Changed::Refused(reason);
        }
        let Some(session) = self.clients.sessions.get(place) else { return Changed::NotFound };
        let is_kept = self.clients.journal.keeps(session);
        let full = mounted_filter(mount_of(&session.client_id), &filter).into_owned();
        if is_kept && let Some(refusal) = self.refuse_change() {
            return refusal;
        }
        match self.unsubscribe_full(place, &full, fx) {
            ReasonCode::Success => self.changed(is_kept, true),
            _ => Changed::NotFound,
        }
    }

    /// Why something that the disk has to keep can't be changed now.
    pub(super) fn refuse_change(&self) -> Option<Changed> {
        (self.clients.journal.is_down() || self.receipts.is_full()).then_some(Changed::Unavailable)
    }

    /// A change is made here; `is_kept`: the journal has it too, and may have to confirm it.
    pub(super) fn changed(&mut self, is_kept: bool, is_new: bool) -> Changed {
        if !is_kept || !self.clients.journal.is_synced() {
            return Changed::Done { is_new };
        }
        let receipt = self.receipts.open();
        self.clients.journal.wait(Awaited::Operator(receipt));
        Changed::Begun { receipt, is_new }
    }

    /// Other shards have a change too.
    pub(in crate::broker) fn changed_everywhere(&mut self, receipt: Receipt, is_kept: bool) {
        if is_kept && self.clients.journal.is_synced() {
            self.clients.journal.wait(Awaited::Operator(receipt));
        } else {
            self.receipts.close(receipt);
        }
    }
}
