//! Slots of shard bits, packed into atomic words: as many bits a slot as there are shards, rounded up to a power of
//! two, so a slot never straddles words up to 64 shards; above, a slot is several words.
//! Words come in pages that are allocated when a bit is first set there: a table for a million filters costs a few
//! kilobytes until somebody subscribes, and a lookup where nobody did ends at the page.

use super::{ShardId, ShardSet};
use std::sync::OnceLock;

#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering::SeqCst};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Words of a page: 4 KB.
const PAGE_WORDS: usize = 512;
/// The most that one table may take, in words: 256 MB. Only hundreds of shards with millions of filters reach it,
/// and then filters share slots, which costs hops.
const WORDS_MAX: u64 = 1 << 25;

#[derive(Debug)]
pub(super) struct Slots {
    pages: Box<[OnceLock<Box<[AtomicU64]>>]>,
    /// Words of a page, as a power of two.
    page_log2: u32,
    /// Number of slots less one; the number is a power of two.
    last: u32,
    /// Bits of a slot, as a power of two; at least 6 for whole words.
    bits_log2: u32,
}

/// Where a shard's bit or a slot's word is.
struct Place {
    word: usize,
    shift: u32,
}

impl Slots {
    /// At least `slots` slots for `shards` shards.
    pub(super) fn new(shards: u16, slots: u64) -> Self {
        let bits_log2 = u32::from(shards).clamp(1, 1024).next_power_of_two().trailing_zeros();
        let mut slots = slots.clamp(1, 1 << 31).next_power_of_two();
        while (slots << bits_log2) / 64 > WORDS_MAX {
            slots /= 2;
        }
        let words = ((slots << bits_log2) / 64).max(1) as usize;
        let page_log2 = words.min(PAGE_WORDS).trailing_zeros();
        let pages = (0..words >> page_log2).map(|_| OnceLock::new()).collect();
        let slots = Self { pages, page_log2, last: (slots - 1) as u32, bits_log2 };
        #[cfg(loom)]
        slots.pages.iter().for_each(|page| drop(page.set(slots.new_page())));
        slots
    }

    /// The slot of a hash.
    #[inline]
    pub(super) const fn slot_of(&self, hash: u64) -> u32 {
        hash as u32 & self.last
    }

    /// Sets a shard's bit; true if it was clear. The caller fences before it tells anybody. Waits only if another shard is just allocating the same page,
    /// which happens once in the life of a page.
    pub(super) fn set(&self, slot: u32, shard: ShardId) -> bool {
        let Place { word, shift } = self.place(slot, shard);
        let Some(page) = self.pages.get(word >> self.page_log2) else { return false };
        let page = page.get_or_init(|| self.new_page());
        let Some(word) = page.get(self.within_page(word)) else { return false };
        word.fetch_or(1 << shift, SeqCst) & (1 << shift) == 0
    }

    /// Clears a shard's bit; true if it was set.
    pub(super) fn clear(&self, slot: u32, shard: ShardId) -> bool {
        let Place { word, shift } = self.place(slot, shard);
        self.word(word).is_some_and(|word| word.fetch_and(!(1 << shift), SeqCst) & (1 << shift) != 0)
    }

    /// True if a shard's bit is set.
    pub(super) fn contains(&self, slot: u32, shard: ShardId) -> bool {
        let Place { word, shift } = self.place(slot, shard);
        self.word(word).is_some_and(|word| word.load(SeqCst) & (1 << shift) != 0)
    }

    /// Adds the shards of a slot to `set`.
    #[inline]
    pub(super) fn add_to(&self, slot: u32, set: &mut ShardSet) {
        let Place { word, shift } = self.place(slot, ShardId(0));
        if self.bits_log2 <= 6 {
            let Some(bits) = self.word(word).map(|word| word.load(SeqCst)) else { return };
            set.insert_word(0, bits >> shift & (u64::MAX >> (64 - (1_u32 << self.bits_log2))));
            return;
        }
        for index in 0..1_usize << (self.bits_log2 - 6) {
            let Some(bits) = self.word(word + index).map(|word| word.load(SeqCst)) else { return };
            set.insert_word(index, bits);
        }
    }

    #[inline]
    fn place(&self, slot: u32, shard: ShardId) -> Place {
        let bit = (u64::from(slot) << self.bits_log2) + u64::from(shard.0);
        Place { word: (bit / 64) as usize, shift: (bit % 64) as u32 }
    }

    #[inline]
    fn word(&self, word: usize) -> Option<&AtomicU64> {
        self.pages.get(word >> self.page_log2)?.get()?.get(self.within_page(word))
    }

    const fn within_page(&self, word: usize) -> usize {
        word & ((1 << self.page_log2) - 1)
    }

    fn new_page(&self) -> Box<[AtomicU64]> {
        (0..1 << self.page_log2).map(|_| AtomicU64::new(0)).collect()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn bits_of_neighbours_do_not_touch() {
        for shards in [1, 2, 3, 5, 8, 17, 64, 65, 200, 1024] {
            let slots = Slots::new(shards, 64);
            let lone = [0, shards / 2, shards - 1];
            for slot in 0..64 {
                for shard in lone {
                    slots.set(slot, ShardId(shard));
                }
                assert!(!slots.set(slot, ShardId(shards - 1)), "set twice");
                slots.clear(slot, ShardId(shards - 1));
            }
            for slot in 0..64 {
                let mut set = ShardSet::new();
                slots.add_to(slot, &mut set);
                let expected = lone.into_iter().filter(|shard| *shard != shards - 1).map(ShardId).collect();
                assert_eq!(set, expected, "slot {slot} of {shards} shards");
                assert!(!slots.contains(slot, ShardId(shards - 1)));
            }
        }
    }

    #[test]
    fn pages_appear_when_used() {
        let slots = Slots::new(2, 1 << 20);
        assert_eq!(slots.pages.len(), 64);
        assert!(slots.set(12_345, ShardId(1)) && !slots.clear(999_999, ShardId(1)));
        assert_eq!(slots.pages.iter().filter(|page| page.get().is_some()).count(), 1);
        assert!(Slots::new(1024, 1 << 31).last < 1 << 21, "a table has a bound");
    }
}
