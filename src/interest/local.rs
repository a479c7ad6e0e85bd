//! A shard's own counts of what it announced in the shared tables.

use super::{Interest, InterestTable, Mask, ShardId, ShardSet, Slot};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One shard's side of the interest table: sets the shard's bit when its first subscription comes to a slot and clears
/// it when the last one leaves. Calls are counted: every `add` is undone by one `remove` with the same arguments.
///
/// The bit itself is the count of one, which is what nearly every slot has; so only slots where subscriptions meet
/// (one filter with many subscribers, or a collision) cost memory here.
#[derive(Debug)]
pub struct LocalInterest<I = Arc<InterestTable>> {
    shard: ShardId,
    table: I,
    /// Subscriptions of a slot beyond the first.
    interested: BTreeMap<Slot, u32>,
    durable: BTreeMap<Slot, u32>,
}

impl<I: Interest> LocalInterest<I> {
    /// The side of `shard`, which announced nothing yet.
    pub const fn new(shard: ShardId, table: I) -> Self {
        Self { shard, table, interested: BTreeMap::new(), durable: BTreeMap::new() }
    }

    /// Counts a subscription to a valid Topic Filter (or the first one of many: the caller decides what it counts).
    /// `durable`: its session outlives the process. Once this has returned, SUBACK may be sent.
    pub fn add(&mut self, filter: &str, durable: bool) {
        let slot = self.table.slot(filter);
        self.raise(slot, Mask::Interested);
        if durable {
            self.raise(slot, Mask::Durable);
        }
    }

    /// Undoes one [`add`](Self::add).
    pub fn remove(&mut self, filter: &str, durable: bool) {
        let slot = self.table.slot(filter);
        self.lower(slot, Mask::Interested);
        if durable {
            self.lower(slot, Mask::Durable);
        }
    }

    /// Makes a subscription that was added as not durable durable; it is then removed as durable.
    pub fn make_durable(&mut self, filter: &str) {
        self.raise(self.table.slot(filter), Mask::Durable);
    }

    /// Makes a durable subscription not durable; it is then removed as not durable.
    pub fn make_volatile(&mut self, filter: &str) {
        self.lower(self.table.slot(filter), Mask::Durable);
    }

    /// The shards that may have subscriptions that match a valid Topic Name.
    #[inline]
    pub fn interested(&self, topic: &str) -> ShardSet {
        self.table.interested(topic)
    }

    /// The shards that may have subscriptions of durable sessions that match a valid Topic Name.
    #[inline]
    pub fn durable(&self, topic: &str) -> ShardSet {
        self.table.durable(topic)
    }

    /// The shared table.
    pub const fn table(&self) -> &I {
        &self.table
    }

    /// Slots where more than one subscription of this shard meets: for a gauge, and what this costs.
    pub fn collisions(&self) -> usize {
        self.interested.len()
    }

    fn raise(&mut self, slot: Slot, mask: Mask) {
        if self.table.is_announced(self.shard, slot, mask) {
            *self.beyond_first(mask).entry(slot).or_insert(0) += 1;
        } else {
            self.table.announce(self.shard, slot, mask);
        }
    }

    fn lower(&mut self, slot: Slot, mask: Mask) {
        let counts = self.beyond_first(mask);
        match counts.get_mut(&slot) {
            Some(1) => {
                counts.remove(&slot);
            }
            Some(count) => *count -= 1,
            None => self.table.withdraw(self.shard, slot, mask),
        }
    }

    const fn beyond_first(&mut self, mask: Mask) -> &mut BTreeMap<Slot, u32> {
        match mask {
            Mask::Interested => &mut self.interested,
            Mask::Durable => &mut self.durable,
        }
    }
}
