//! Operations: what waits for answers of other shards (or for a fan-out that is not through), and whom to tell.

use super::Broker;
use super::commits::Publisher;
use super::effects::Effects;
use super::inspect::Receipt;
use super::journal::{CommitKey, Reach};
use super::message::{OperationId, ShardMessage};
use super::route::RelayKey;
use crate::clock::Timestamp;
use crate::interest::ShardId;
use crate::packet::{PacketId, ReasonCode};
use crate::session::{ConnectionId, SessionSerial};

/// A SUBACK that waits for the homes of Shared Subscriptions.
#[derive(Debug)]
pub(super) struct PendingSubAck {
    pub(super) connection: ConnectionId,
    pub(super) packet_id: PacketId,
    pub(super) reasons: Vec<ReasonCode>,
}

/// Whom to tell when it is done.
#[derive(Debug)]
pub(super) enum Waiter {
    /// Nobody: the broker's own messages.
    Nobody,
    /// A publisher on this shard; `None`: who that is is said later.
    Publisher(Option<Publisher>),
    /// The journal: the message is a client's Will.
    Will(CommitKey),
    /// The journal, if it has it, and the quota of delayed messages, of which it has so many bytes.
    Delayed { key: Option<CommitKey>, bytes: u64 },
    /// The journal, if it has it, and the bytes of operators' messages under way on this shard, of which it has so many.
    Operators { key: Option<CommitKey>, bytes: usize },
    /// The journal, which has a message under `serial` that a session left to other members of its Shared Subscription; it is
    /// given to them under `number`.
    Return { serial: SessionSerial, number: u64 },
    /// Another shard: its operation gets `Accepted`, its credit is released.
    Shard { from: ShardId, operation: Option<OperationId>, credit: bool },
    /// A subscriber on this shard.
    Subscriber(Box<PendingSubAck>),
    /// An operator; whether the disk has to confirm it too.
    Operator { receipt: Receipt, is_kept: bool },
}

/// Something that waits.
#[derive(Debug)]
pub(super) struct Operation {
    waiter: Waiter,
    /// The way over the retained slice that it keeps open.
    relayed: Option<RelayKey>,
    answers_awaited: u32,
    reach: Reach,
}

/// An operation that is made only if someone has to be waited for.
#[derive(Debug)]
pub(super) struct Pending {
    operation: Option<OperationId>,
    waiter: Option<Waiter>,
    is_bounded: bool,
    is_publisher: bool,
    may_wait: bool,
    is_counted: bool,
}

impl Pending {
    pub(super) const fn new(waiter: Waiter) -> Self {
        let is_bounded = !matches!(waiter, Waiter::Nobody);
        let is_counted = matches!(waiter, Waiter::Operators { .. });
        let may_wait = is_counted || matches!(waiter, Waiter::Delayed { .. });
        let is_publisher = may_wait || matches!(waiter, Waiter::Publisher(..));
        Self { operation: None, waiter: Some(waiter), is_bounded, is_publisher, may_wait, is_counted }
    }

    /// Whether it is a delayed or an operator's message: it is never dropped for want of credit, since it can wait on.
    pub(super) const fn may_wait(&self) -> bool {
        self.may_wait
    }

    /// Whether its bytes count until others have it: they answer whatever its QoS is.
    pub(super) const fn is_counted(&self) -> bool {
        self.is_counted
    }

    /// Whether a publisher on this shard waits (or a delayed or an operator's message): it can be paused, so its messages travel on credit.
    pub(super) const fn is_publisher(&self) -> bool {
        self.is_publisher
    }

    /// Whether some answer is awaited already.
    pub(super) const fn is_begun(&self) -> bool {
        self.operation.is_some()
    }

    /// Whether somebody on another shard or a publisher waits, so that a bound applies.
    pub(super) const fn is_bounded(&self) -> bool {
        self.is_bounded
    }
}

impl Broker {
    /// One more answer is awaited.
    pub(super) fn expect_answer(&mut self, pending: &mut Pending) -> OperationId {
        if let Some(id) = pending.operation {
            if let Some(operation) = self.operations.get_mut(id.0) {
                operation.answers_awaited += 1;
            }
            return id;
        }
        let waiter = pending.waiter.take().unwrap_or(Waiter::Nobody);
        let id = OperationId(self.operations.insert(Operation {
            waiter,
            relayed: None,
            answers_awaited: 1,
            reach: Reach::default(),
        }));
        pending.operation = Some(id);
        id
    }

    /// All that can be done now is done: tells the waiter, or gives the operation that goes on.
    pub(super) fn settle<E: Effects>(
        &mut self,
        now: Timestamp,
        pending: Pending,
        reach: Reach,
        fx: &mut E,
    ) -> Option<OperationId> {
        match pending.operation {
            Some(id) => {
                if let Some(operation) = self.operations.get_mut(id.0) {
                    operation.reach = operation.reach.and(reach);
                }
                Some(id)
            }
            None => {
                if let Some(waiter) = pending.waiter {
                    self.tell(now, waiter, reach, fx);
                }
                None
            }
        }
    }

    /// The publisher's acknowledgement that an operation is for, known only after it was begun.
    pub(super) fn set_publisher(&mut self, id: OperationId, publisher: Publisher) {
        if let Some(operation) = self.operations.get_mut(id.0) {
            operation.waiter = Waiter::Publisher(Some(publisher));
        }
    }

    /// A part of an unfinished fan-out came to this.
    pub(super) fn add_reach(&mut self, id: OperationId, reach: Reach) {
        if let Some(operation) = self.operations.get_mut(id.0) {
            operation.reach = operation.reach.and(reach);
        }
    }

    /// Whom to tell, known only after the operation was begun.
    pub(super) fn set_waiter(&mut self, pending: &Pending, waiter: Waiter) {
        if let Some(operation) = pending.operation.and_then(|id| self.operations.get_mut(id.0)) {
            operation.waiter = waiter;
        }
    }

    /// An answer came.
    pub(super) fn answered<E: Effects>(&mut self, now: Timestamp, id: OperationId, reach: Reach, fx: &mut E) {
        let Some(operation) = self.operations.get_mut(id.0) else { return };
        operation.reach = operation.reach.and(reach);
        operation.answers_awaited -= 1;
        if operation.answers_awaited == 0
            && let Some(operation) = self.operations.remove(id.0)
        {
            if let Some(key) = operation.relayed {
                self.relay_ended(key);
            }
            self.tell(now, operation.waiter, operation.reach, fx);
        }
    }

    /// It keeps the way over the retained slice open until it is answered.
    pub(super) fn set_relayed(&mut self, id: OperationId, key: RelayKey) {
        if let Some(operation) = self.operations.get_mut(id.0) {
            operation.relayed = Some(key);
            *self.relaying.entry(key).or_default() += 1;
        }
    }

    fn relay_ended(&mut self, key: RelayKey) {
        if let Some(count) = self.relaying.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.relaying.remove(&key);
            }
        }
    }

    fn tell<E: Effects>(&mut self, now: Timestamp, waiter: Waiter, reach: Reach, fx: &mut E) {
        match waiter {
            Waiter::Nobody | Waiter::Publisher(None) => {}
            Waiter::Publisher(Some(publisher)) => self.publish_arrived(now, publisher, reach, fx),
            Waiter::Will(key) => self.commit_will(now, key, reach, fx),
            Waiter::Delayed { key, bytes } => self.delayed_arrived(now, key, bytes, reach, fx),
            Waiter::Operators { key, bytes } => {
                self.operators_bytes = self.operators_bytes.saturating_sub(bytes);
                self.operators_message_arrived(now, key, reach, fx);
            }
            Waiter::Return { serial, number } => self.commit_return(now, serial, number, reach, fx),
            Waiter::Shard { from, operation, credit } => {
                if credit {
                    fx.release(from, 1);
                }
                if let Some(operation) = operation {
                    fx.send_control(from, ShardMessage::Accepted { operation, reach });
                    self.metrics().shard_messages_sent.inc();
                }
            }
            Waiter::Subscriber(pending) => self.finish_suback(pending, fx),
            Waiter::Operator { receipt, is_kept } => self.changed_everywhere(receipt, is_kept),
        }
    }
}
