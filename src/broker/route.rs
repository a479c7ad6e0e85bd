//! From a publisher to every shard that wants the message: the way over the retained slice, the interest mask,
//! credits, and what other shards' messages do here.

use std::sync::Arc;

use super::Broker;
use super::effects::Effects;
use super::fan_out::Waiting;
use super::journal::Reach;
use super::message::{OperationId, ShardMessage};
use super::operations::{Pending, Waiter};
use super::publication::Publication;
use crate::clock::Timestamp;
use crate::interest::{Interest, ShardId, ShardSet};
use crate::packet::QoS;

/// What became of a message.
#[derive(Debug)]
pub(super) enum Routed {
    /// Nothing was done: some shard gave no credit. Again later.
    Stalled,
    /// It is where it belongs.
    Done { reach: Reach },
    /// Other shards (or an unfinished fan-out) have to answer first. `relayed`: it takes the way over its retained
    /// slice.
    Pending { operation: OperationId, relayed: bool },
}

/// A client and a topic, by their hashes: what the client publishes there is in one order, also over several
/// connections and with the Will between them [MQTT-4.6.0-6]. A collision costs a detour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct RelayKey {
    client: u64,
    topic: u64,
}

impl Broker {
    /// Routes a message of the client with this hash, or of the broker itself. While an earlier message of the
    /// client to this topic is on its way over the retained slice, this one has to follow it.
    pub(super) fn route<E: Effects>(
        &mut self,
        now: Timestamp,
        publication: &mut Publication<'_>,
        waiter: Waiter,
        client: Option<u64>,
        fx: &mut E,
    ) -> Routed {
        let routed = self.route_once(now, publication, waiter, client, fx);
        if !self.clients.sight.topics.is_empty() && !matches!(routed, Routed::Stalled) {
            self.clients.sight.topics.came_in(publication);
        }
        routed
    }

    #[inline]
    fn route_once<E: Effects>(
        &mut self,
        now: Timestamp,
        publication: &mut Publication<'_>,
        waiter: Waiter,
        client: Option<u64>,
        fx: &mut E,
    ) -> Routed {
        if self.shards > 1 && (publication.head.retain || !self.relaying.is_empty()) {
            let topic = self.topic_hash(publication.topic);
            let key = client.map(|client| RelayKey { client, topic });
            let follows = key.is_some_and(|key| self.relaying.contains_key(&key));
            let slice = self.shared.placement.slice_of(publication.topic);
            if slice != self.shard && (publication.head.retain || follows) {
                return self.relay(slice, publication, waiter, key, fx);
            }
        }
        self.route_here(now, publication, waiter, fx)
    }

    /// Routes a message whose retained slice is here, or that needs none.
    fn route_here<E: Effects>(
        &mut self,
        now: Timestamp,
        publication: &mut Publication<'_>,
        waiter: Waiter,
        fx: &mut E,
    ) -> Routed {
        let mut pending = Pending::new(waiter);
        let mut targets = ShardSet::default();
        let is_marked = self.mark_retained(publication);
        if self.shards > 1 {
            targets = self.shared.interest.interested(publication.topic);
            targets.remove(self.shard);
            let may_drop = publication.head.qos == QoS::AtMostOnce && !pending.may_wait();
            if pending.is_publisher() && !self.reserve(&mut targets, may_drop, fx) {
                self.metrics().credit_waits.inc();
                if is_marked {
                    self.unmark_retained(publication.topic);
                }
                return Routed::Stalled;
            }
        }
        let is_retained = publication.head.retain && self.retain(now, publication, is_marked);
        let credit = pending.is_publisher();
        let must_answer = publication.head.qos > QoS::AtMostOnce || !credit || pending.is_counted();
        for target in targets.iter() {
            let operation = (must_answer && pending.is_bounded()).then(|| self.expect_answer(&mut pending));
            let message = Arc::clone(publication.message());
            self.metrics().shard_messages_sent.inc();
            let message = ShardMessage::Publish { message, operation, credit };
            if credit { fx.send(target, message) } else { fx.send_control(target, message) }
        }
        let mut reach = self.fan_out(now, publication, &mut pending, fx);
        reach.written |= is_retained;
        match self.settle_or_pend(now, pending, reach, fx) {
            Some(operation) => Routed::Pending { operation, relayed: false },
            None => Routed::Done { reach },
        }
    }

    /// Takes a credit of every target. What may be dropped (QoS 0) does without those that have none; all else wants all.
    fn reserve<E: Effects>(&mut self, targets: &mut ShardSet, may_drop: bool, fx: &mut E) -> bool {
        let wanted = targets.clone();
        for target in wanted.iter() {
            if fx.reserve(target) {
                continue;
            }
            if may_drop {
                self.clients.dropped(&self.metrics().dropped_no_credit);
                targets.remove(target);
                continue;
            }
            for reserved in wanted.iter().take_while(|reserved| *reserved != target) {
                fx.unreserve(reserved);
            }
            return false;
        }
        true
    }

    fn relay<E: Effects>(
        &mut self,
        slice: ShardId,
        publication: &mut Publication<'_>,
        waiter: Waiter,
        key: Option<RelayKey>,
        fx: &mut E,
    ) -> Routed {
        let mut pending = Pending::new(waiter);
        let credit = pending.is_publisher();
        if credit && !fx.reserve(slice) {
            self.metrics().credit_waits.inc();
            return Routed::Stalled;
        }
        let operation = self.expect_answer(&mut pending);
        if let Some(key) = key {
            self.set_relayed(operation, key);
        }
        let message = Arc::clone(publication.message());
        self.metrics().shard_messages_sent.inc();
        let message = ShardMessage::Relay { message, operation, credit };
        if credit {
            fx.send(slice, message)
        } else {
            fx.send_control(slice, message)
        }
        Routed::Pending { operation, relayed: true }
    }

    /// Whether a message to `topic` takes the way over a slice on another shard if it has RETAIN.
    pub(super) fn has_slice_elsewhere(&self, topic: &str) -> bool {
        self.shards > 1 && self.shared.placement.slice_of(topic) != self.shard
    }

    /// Hash by which messages under way to their slice are known again.
    fn topic_hash(&self, topic: &str) -> u64 {
        self.clients.topic_hash(topic)
    }

    /// A message of another shard. While a fan-out is unfinished all but answers wait, in their order.
    pub(super) fn shard_message<E: Effects>(
        &mut self,
        now: Timestamp,
        from: ShardId,
        message: ShardMessage,
        fx: &mut E,
    ) {
        self.metrics().shard_messages_received.inc();
        match message {
            ShardMessage::Accepted { operation, reach } => self.answered(now, operation, reach, fx),
            ShardMessage::Committed { number } => self.release_held(now, number, fx),
            ShardMessage::Generation { generation } => self.clients.journal.mark(generation),
            ShardMessage::LongQueues(long) => self.queues_told(now, from, *long, fx),
            message if self.is_busy() => self.waiting.push_back(Waiting::FromShard(from, message)),
            message => self.shard_message_now(now, from, message, fx),
        }
    }

    pub(super) fn shard_message_now<E: Effects>(
        &mut self,
        now: Timestamp,
        from: ShardId,
        message: ShardMessage,
        fx: &mut E,
    ) {
        match message {
            ShardMessage::Publish { message, operation, credit } => {
                let mut pending = Pending::new(Waiter::Shard { from, operation, credit });
                let mut publication = Publication::of(&message);
                let reach = self.fan_out(now, &mut publication, &mut pending, fx);
                if !reach.matched {
                    self.metrics().needless_hops.inc();
                }
                self.settle(now, pending, reach, fx);
            }
            ShardMessage::Relay { message, operation, credit } => {
                let waiter = Waiter::Shard { from, operation: Some(operation), credit };
                self.route_here(now, &mut Publication::of(&message), waiter, fx);
            }
            ShardMessage::Accepted { operation, reach } => self.answered(now, operation, reach, fx),
            ShardMessage::Committed { number } => self.release_held(now, number, fx),
            ShardMessage::LongQueues(long) => self.queues_told(now, from, *long, fx),
            ShardMessage::RetainedPull { cursor, filter, after } => {
                self.retained_pull(now, from, cursor, &filter, after.as_deref(), fx);
            }
            ShardMessage::RetainedChunk { cursor, messages, next } => {
                self.retained_chunk(now, cursor, messages, next, fx);
            }
            shared => self.shared_message(now, from, shared, fx),
        }
    }

    /// `settle` for what a publisher waits for: its place among the owed is not known yet, so a publisher whose
    /// message is done is told by the caller.
    fn settle_or_pend<E: Effects>(
        &mut self,
        now: Timestamp,
        pending: Pending,
        reach: Reach,
        fx: &mut E,
    ) -> Option<OperationId> {
        if pending.is_publisher() && !pending.is_begun() {
            return None;
        }
        self.settle(now, pending, reach, fx)
    }
}
