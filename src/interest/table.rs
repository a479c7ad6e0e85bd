//! The tables that all shards share.

use super::slots::Slots;
use super::{Interest, Mask, ShardId, ShardSet, Slot};
use crate::topic::levels;
use ahash::RandomState;

#[cfg(loom)]
use loom::sync::atomic::{AtomicU32, Ordering::SeqCst, fence};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU32, Ordering::SeqCst, fence};

/// Slots a filter that is expected: two of them meet in one slot in one case of eight.
const SLOTS_PER_FILTER: u64 = 8;
/// The bit of a `Slot` that says that it is one of wildcard filters.
const WILDCARD: u32 = 1 << 31;
/// Hash of the literal prefix of no levels.
const NO_LEVELS: u64 = 0;

/// Lock-free tables of shard bits: filters without wildcards in the slot of their hash, filters with wildcards in
/// the slot of the hash of the levels before the first wildcard. A publish reads the slot of its topic and one for
/// each of the topic's beginnings. Shared by `Arc`.
///
/// # Why no bit is ever missing
/// Shard A subscribes: it sets its bit (and raises the count below), then passes a fence, and only afterwards hands the
/// SUBACK to the kernel. A publish that starts after that SUBACK reached somebody is read by shard B from the
/// kernel and then loads the slot. Between A's fence and B's load runs a chain of causes, through the kernel, the
/// network, the client, the kernel again, of which each link is a release met by an acquire (or a device that was told after
/// a write barrier). So A's write happens before B's load, and coherence gives B that value or a later one.
///
/// A bit belongs to one shard, and only that shard's thread writes it: it is cleared when that thread's own count
/// reached zero, and a later subscription of the same shard sets it again in program order, before its own SUBACK. Writes of
/// other shards to the same word are atomic read-modify-writes of other bits. A publish that runs beside either may see
/// the old or the new bit, and both are right, because it runs beside the SUBSCRIBE or UNSUBSCRIBE too.
///
/// The short cuts obey the same order: the count of wildcard bits is raised after the bit and before the SUBACK, and lowered
/// after the bit is cleared; the longest prefix only ever grows, before the bit, and passes a fence of its own.
#[derive(Debug)]
pub struct InterestTable {
    shards: u16,
    interested: Tables,
    durable: Tables,
    /// Most levels before the first wildcard that any filter ever had: no need to look further down a topic.
    prefix_levels_max: AtomicU32,
    hasher: RandomState,
}

/// The two tables of one mask.
#[derive(Debug)]
struct Tables {
    exact: Slots,
    wildcard: Slots,
    /// Bits set in `wildcard`: where there are none, a publish reads one slot.
    wildcard_bits: AtomicU32,
}

impl InterestTable {
    /// Tables for `shards` shards and about `filters_expected` filters; with more, publishes take needless hops.
    /// `seed` keys the hashes.
    pub fn new(shards: u16, filters_expected: u32, seed: u64) -> Self {
        let shards = shards.clamp(1, ShardId::SHARDS_MAX);
        let slots = u64::from(filters_expected.max(1)) * SLOTS_PER_FILTER;
        let hasher = RandomState::with_seeds(seed, seed.rotate_left(21), !seed, 0x6d79_7269_6164);
        Self {
            shards,
            interested: Tables::new(shards, slots),
            durable: Tables::new(shards, slots),
            prefix_levels_max: AtomicU32::new(0),
            hasher,
        }
    }

    /// Number of shards.
    pub const fn shards(&self) -> u16 {
        self.shards
    }

    const fn tables(&self, mask: Mask) -> &Tables {
        match mask {
            Mask::Interested => &self.interested,
            Mask::Durable => &self.durable,
        }
    }

    /// With one shard there is no question who is interested, so nobody has to say so.
    const fn is_trivial(&self, mask: Mask) -> bool {
        self.shards == 1 && matches!(mask, Mask::Interested)
    }

    /// The literal prefix of a wildcard filter: its hash and its number of levels; `None` for a filter without.
    fn literal_prefix(&self, filter: &str) -> Option<(u64, u32)> {
        let mut hash = NO_LEVELS;
        for (count, level) in (0_u32..).zip(levels(filter)) {
            if matches!(level, "+" | "#") {
                return Some((hash, count));
            }
            hash = self.extend(hash, level.as_bytes());
        }
        None
    }

    /// The hash of a prefix with one level more: so all beginnings of a topic cost one pass over it.
    fn extend(&self, prefix: u64, level: &[u8]) -> u64 {
        self.hasher.hash_one((prefix, level))
    }

    fn collect(&self, tables: &Tables, topic: &str) -> ShardSet {
        let mut set = ShardSet::new();
        tables.exact.add_to(tables.exact.slot_of(self.hasher.hash_one(topic)), &mut set);
        if tables.wildcard_bits.load(SeqCst) == 0 {
            return set;
        }
        // A filter that begins with a wildcard does not match a topic that begins with `$` [MQTT-4.7.2-1].
        if !topic.starts_with('$') {
            tables.wildcard.add_to(tables.wildcard.slot_of(NO_LEVELS), &mut set);
        }
        let mut hash = NO_LEVELS;
        // All levels, the last included: `a/#` matches `a`. Not by `levels`: bytes split in a third of the time.
        for level in
            topic.as_bytes().split(|byte| *byte == b'/').take(self.prefix_levels_max.load(SeqCst) as usize)
        {
            hash = self.extend(hash, level);
            tables.wildcard.add_to(tables.wildcard.slot_of(hash), &mut set);
        }
        set
    }
}

impl Tables {
    fn new(shards: u16, slots: u64) -> Self {
        Self {
            exact: Slots::new(shards, slots),
            wildcard: Slots::new(shards, slots),
            wildcard_bits: AtomicU32::new(0),
        }
    }

    fn slots(&self, slot: Slot) -> (&Slots, u32) {
        let slots = if slot.0 & WILDCARD == 0 { &self.exact } else { &self.wildcard };
        (slots, slot.0 & !WILDCARD)
    }
}

impl Interest for InterestTable {
    fn slot(&self, filter: &str) -> Slot {
        // Both masks have tables of one shape, so a slot is a slot in both.
        let Tables { exact, wildcard, .. } = &self.interested;
        let Some((hash, count)) = self.literal_prefix(filter) else {
            return Slot(exact.slot_of(self.hasher.hash_one(filter)));
        };
        if self.prefix_levels_max.load(SeqCst) < count {
            self.prefix_levels_max.fetch_max(count, SeqCst);
            // Here and not only in `announce`, which is not called where the shard's bit is set already.
            fence(SeqCst);
        }
        Slot(wildcard.slot_of(hash) | WILDCARD)
    }

    fn is_announced(&self, shard: ShardId, slot: Slot, mask: Mask) -> bool {
        let (slots, slot) = self.tables(mask).slots(slot);
        slots.contains(slot, shard)
    }

    fn announce(&self, shard: ShardId, slot: Slot, mask: Mask) {
        if self.is_trivial(mask) {
            return;
        }
        let tables = self.tables(mask);
        let (slots, index) = tables.slots(slot);
        if slots.set(index, shard) && slot.0 & WILDCARD != 0 {
            tables.wildcard_bits.fetch_add(1, SeqCst);
        }
        // After the count and not only after the bit: a SUBACK must not overtake either.
        fence(SeqCst);
    }

    fn withdraw(&self, shard: ShardId, slot: Slot, mask: Mask) {
        let tables = self.tables(mask);
        let (slots, index) = tables.slots(slot);
        if slots.clear(index, shard) && slot.0 & WILDCARD != 0 {
            tables.wildcard_bits.fetch_sub(1, SeqCst);
        }
    }

    #[inline]
    fn interested(&self, topic: &str) -> ShardSet {
        if self.shards == 1 {
            return ShardSet::only(ShardId(0));
        }
        self.collect(&self.interested, topic)
    }

    #[inline]
    fn durable(&self, topic: &str) -> ShardSet {
        self.collect(&self.durable, topic)
    }
}
