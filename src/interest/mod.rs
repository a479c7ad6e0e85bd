//! Which shards may want a topic: lock-free tables of shard bits that all shards share, each shard's own counts of
//! what it announced there, and the placement of sessions, topics and Shared Subscriptions on shards.
//!
//! Replicating subscriptions to every shard would cost memory times shards, sending every publish to every shard
//! CPU times shards. A bit that is set needlessly (two filters in one slot) costs one hop and never a message: the
//! shard's own index (`router`) decides. A bit is never missing, as argued at [`InterestTable`].

mod local;
mod placement;
mod shard_set;
mod slots;
mod table;

#[cfg(test)]
mod tests;

pub use local::LocalInterest;
pub use placement::Placement;
pub use shard_set::ShardSet;
pub use table::InterestTable;

use std::sync::Arc;

/// One of the process's shards, numbered from 0.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Ord, PartialOrd, Debug)]
pub struct ShardId(pub u16);

impl ShardId {
    /// Shards that a process can have.
    pub const SHARDS_MAX: u16 = 1024;
}

/// The place of a Topic Filter in the tables; other filters may share it.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Ord, PartialOrd, Debug)]
pub struct Slot(u32);

/// Which of the two tables: every subscription is in the first, that of a durable session in both.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub enum Mask {
    /// Some subscription of the shard may want the topic.
    Interested,
    /// Some subscription of a *durable* session of the shard may want it: where there is none, a QoS 1 or 2
    /// publish needs no disk.
    Durable,
}

/// The interest table as the shards use it, in steps small enough for a simulator to stand between them. Only
/// shard `shard` itself announces and withdraws for `shard`.
pub trait Interest {
    /// The slot of a valid Topic Filter (of a Shared Subscription: without its `$share/{ShareName}/`) that is to be
    /// announced or withdrawn. The table notes how many levels it has before its first wildcard: publishes look
    /// no further.
    fn slot(&self, filter: &str) -> Slot;

    /// True if the shard's bit is set in the slot. Exact for the calling shard's own bit.
    fn is_announced(&self, shard: ShardId, slot: Slot, mask: Mask) -> bool;

    /// Sets the shard's bit. Once this has returned, a SUBACK may be sent.
    fn announce(&self, shard: ShardId, slot: Slot, mask: Mask);

    /// Clears the shard's bit.
    fn withdraw(&self, shard: ShardId, slot: Slot, mask: Mask);

    /// The shards that may have subscriptions that match a valid Topic Name.
    fn interested(&self, topic: &str) -> ShardSet;

    /// The shards that may have subscriptions of durable sessions that match a valid Topic Name.
    fn durable(&self, topic: &str) -> ShardSet;
}

impl<I: Interest + ?Sized> Interest for Arc<I> {
    fn slot(&self, filter: &str) -> Slot {
        (**self).slot(filter)
    }

    fn is_announced(&self, shard: ShardId, slot: Slot, mask: Mask) -> bool {
        (**self).is_announced(shard, slot, mask)
    }

    fn announce(&self, shard: ShardId, slot: Slot, mask: Mask) {
        (**self).announce(shard, slot, mask);
    }

    fn withdraw(&self, shard: ShardId, slot: Slot, mask: Mask) {
        (**self).withdraw(shard, slot, mask);
    }

    fn interested(&self, topic: &str) -> ShardSet {
        (**self).interested(topic)
    }

    fn durable(&self, topic: &str) -> ShardSet {
        (**self).durable(topic)
    }
}
