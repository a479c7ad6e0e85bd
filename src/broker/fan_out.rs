//! The fan-out of one message to the sessions of this shard, within a budget a turn.
//!
//! At most one fan-out is unfinished. While one is, every later message of this shard waits (messages of other
//! shards here, publishers in their sockets), so that all subscribers see one order. Its cursor is the last
//! session reached: sessions come in ascending order, whatever is subscribed or unsubscribed meanwhile.

use std::sync::Arc;

use smallvec::SmallVec;

use super::deliver::Terms;
use super::effects::Effects;
use super::journal::{CommitKey, Reach};
use super::message::{OperationId, ShardMessage};
use super::operations::{Pending, Waiter};
use super::publication::Publication;
use super::{Broker, FAN_OUT_BUDGET, WAITING_BUDGET};
use crate::clock::Timestamp;
use crate::interest::ShardId;
use crate::packet::QoS;
use crate::router::{FilterId, SessionIndex, SubscriptionOptions};
use crate::session::Message;

/// An unfinished fan-out.
#[derive(Debug)]
pub(super) struct FanOut {
    message: Arc<Message>,
    after: SessionIndex,
    operation: Option<OperationId>,
}

/// What waits for the unfinished fan-out.
#[derive(Debug)]
pub(super) enum Waiting {
    /// A message of another shard.
    FromShard(ShardId, ShardMessage),
    /// A message of the broker itself: a Will, `$SYS`.
    Own(Arc<Message>, Option<u64>, Option<CommitKey>),
}

impl Broker {
    /// Delivers to every matching session of this shard, or as many as the budget allows; what it came to so far.
    pub(super) fn fan_out<E: Effects>(
        &mut self,
        now: Timestamp,
        publication: &mut Publication<'_>,
        pending: &mut Pending,
        fx: &mut E,
    ) -> Reach {
        let mut filters = std::mem::take(&mut self.matched);
        filters.clear();
        self.router.matching(publication.topic, &mut filters);
        self.clients.encoded.reset();
        let is_conditional = pending.is_bounded() && publication.head.qos > QoS::AtMostOnce;
        self.clients.journal.begin(is_conditional);
        if !self.groups.is_empty() {
            self.fan_out_shared(now, &filters, publication, pending, fx);
        }
        let topics = &self.clients.sight.topics;
        let counted = topics.begin(publication.topic, publication.payload.len(), &self.clients.metrics);
        let reached = self.deliver_after(now, &filters, None, publication, fx);
        if let Some(before) = counted {
            self.clients.sight.topics.end(&before, &self.clients.metrics);
        }
        let reach = self.clients.journal.take_reach(!filters.is_empty());
        if reach.matched {
            self.note_delivered(publication);
        }
        self.matched = filters;
        if let Some(after) = reached {
            let operation = pending.is_bounded().then(|| self.expect_answer(pending));
            self.fan_out = Some(FanOut { message: Arc::clone(publication.message()), after, operation });
        }
        reach
    }

    /// Goes on with what waits, within the budget of a turn.
    pub(super) fn continue_fan_out<E: Effects>(&mut self, now: Timestamp, fx: &mut E) {
        if let Some(FanOut { message, after, operation }) = self.fan_out.take() {
            let mut filters = std::mem::take(&mut self.matched);
            filters.clear();
            self.router.matching(message.topic(), &mut filters);
            self.clients.encoded.reset();
            let mut publication = Publication::of(&message);
            let is_conditional = operation.is_some() && publication.head.qos > QoS::AtMostOnce;
            self.clients.journal.begin(is_conditional);
            let topics = &self.clients.sight.topics;
            let counted = topics.begin(publication.topic, publication.payload.len(), &self.clients.metrics);
            let reached = self.deliver_after(now, &filters, Some(after), &mut publication, fx);
            if let Some(before) = counted {
                self.clients.sight.topics.end(&before, &self.clients.metrics);
            }
            let reach = self.clients.journal.take_reach(true);
            self.matched = filters;
            if let Some(after) = reached {
                if let Some(operation) = operation {
                    self.add_reach(operation, reach);
                }
                self.fan_out = Some(FanOut { message, after, operation });
                return;
            }
            if let Some(operation) = operation {
                self.answered(now, operation, reach, fx);
            }
        }
        for _ in 0..WAITING_BUDGET {
            if self.fan_out.is_some() {
                return;
            }
            match self.waiting.pop_front() {
                Some(Waiting::FromShard(from, message)) => self.shard_message_now(now, from, message, fx),
                Some(Waiting::Own(message, client, key)) => {
                    self.publish_own_now(now, &message, client, key, fx);
                }
                None => break,
            }
        }
        if !self.is_busy() {
            self.resume_stalled(now, fx);
        }
    }

    /// Whether a later message has to wait.
    pub(super) fn is_busy(&self) -> bool {
        self.fan_out.is_some() || !self.waiting.is_empty()
    }

    fn fan_out_shared<E: Effects>(
        &mut self,
        now: Timestamp,
        filters: &[FilterId],
        publication: &mut Publication<'_>,
        pending: &mut Pending,
        fx: &mut E,
    ) {
        for filter in filters {
            let groups: SmallVec<[u32; 4]> = self.router.groups(*filter).iter().copied().collect();
            for group in groups {
                self.deliver_shared(now, group, publication, pending, fx);
            }
        }
    }

    /// Delivers to the sessions after `after`; the last one reached if the budget ended first.
    fn deliver_after<E: Effects>(
        &mut self,
        now: Timestamp,
        filters: &[FilterId],
        after: Option<SessionIndex>,
        publication: &mut Publication<'_>,
        fx: &mut E,
    ) -> Option<SessionIndex> {
        let Self { router, clients, merge, cursors, .. } = self;
        // A live message that is not retained replaces nothing: the retained one is still the last [MQTT-3.3.1-6].
        let tracks = publication.head.retain && !cursors.is_empty();
        let mut budget = FAN_OUT_BUDGET;
        let mut last = None;
        match filters {
            [] => {}
            [filter] => {
                for (session, options) in router.subscribers_after(*filter, after) {
                    if budget == 0 {
                        return last;
                    }
                    budget -= 1;
                    last = Some(session);
                    if tracks {
                        super::cursors::supersede(cursors, session, publication.topic);
                    }
                    clients.deliver_matched(now, session, &[(*filter, options)], publication, fx);
                }
            }
            filters => {
                let mut merged = merge.start(router, filters, after);
                while let Some((session, matched)) = merged.next() {
                    if budget == 0 {
                        return last;
                    }
                    budget -= 1;
                    last = Some(session);
                    if tracks {
                        super::cursors::supersede(cursors, session, publication.topic);
                    }
                    clients.deliver_matched(now, session, matched, publication, fx);
                }
            }
        }
        None
    }

    /// Publishes a message of the broker itself: `$SYS`, or the Will of the client with this hash. Never refused. `key`: the
    /// journal has to know when everyone has it.
    pub(super) fn publish_own<E: Effects>(
        &mut self,
        now: Timestamp,
        message: Arc<Message>,
        client: Option<u64>,
        key: Option<CommitKey>,
        fx: &mut E,
    ) {
        if self.is_busy() {
            self.waiting.push_back(Waiting::Own(message, client, key));
        } else {
            self.publish_own_now(now, &message, client, key, fx);
        }
    }

    fn publish_own_now<E: Effects>(
        &mut self,
        now: Timestamp,
        message: &Arc<Message>,
        client: Option<u64>,
        key: Option<CommitKey>,
        fx: &mut E,
    ) {
        let waiter = key.map_or(Waiter::Nobody, Waiter::Will);
        self.route(now, &mut Publication::of(message), waiter, client, fx);
    }
}

/// Several subscriptions of one session matched: one delivery with the highest QoS and all identifiers
/// [MQTT-3.3.4-2, 3.3.4-3, 3.3.4-4].
pub(super) fn terms_of<'a>(
    matched: &[(FilterId, SubscriptionOptions)],
    is_own: bool,
    ids: &'a SmallVec<[u32; 4]>,
) -> Option<Terms<'a>> {
    let mut granted = None;
    let mut retain_as_published = false;
    for (_, options) in matched {
        if is_own && options.no_local() {
            continue;
        }
        granted = granted.max(Some(options.qos()));
        retain_as_published |= options.retain_as_published();
    }
    let qos = QoS::from_bits(granted?)?;
    Some(Terms { qos, retain_as_published, retained: false, ids, share: None })
}
