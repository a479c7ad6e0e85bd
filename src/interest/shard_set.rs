//! A set of shards: one word up to 64 of them, a small block on the heap beyond.

use super::ShardId;

/// Words of a set of all shards that a process can have, without the first.
const MORE_WORDS: usize = ShardId::SHARDS_MAX as usize / 64 - 1;

/// A set of shards. Allocates only for shards from 64 on.
#[derive(Clone, Eq, PartialEq, Default, Debug)]
pub struct ShardSet {
    first: u64,
    more: Option<Box<[u64; MORE_WORDS]>>,
}

impl ShardSet {
    /// No shard.
    pub const fn new() -> Self {
        Self { first: 0, more: None }
    }

    /// One shard.
    pub fn only(shard: ShardId) -> Self {
        let mut set = Self::new();
        set.insert(shard);
        set
    }

    /// The first `shards` shards.
    pub fn all(shards: u16) -> Self {
        let mut set = Self::new();
        for shard in 0..shards.min(ShardId::SHARDS_MAX) {
            set.insert(ShardId(shard));
        }
        set
    }

    /// Adds a shard; one beyond [`ShardId::SHARDS_MAX`] does not exist and is not added.
    #[inline]
    pub fn insert(&mut self, shard: ShardId) {
        self.insert_word(usize::from(shard.0 / 64), 1 << (shard.0 % 64));
    }

    /// Takes a shard out.
    #[inline]
    pub fn remove(&mut self, shard: ShardId) {
        let bit = 1 << (shard.0 % 64);
        match (usize::from(shard.0 / 64).checked_sub(1), &mut self.more) {
            (None, _) => self.first &= !bit,
            (Some(index), Some(more)) => {
                if let Some(word) = more.get_mut(index) {
                    *word &= !bit;
                }
            }
            (Some(_), None) => {}
        }
    }

    /// True if the shard is in the set.
    #[inline]
    pub fn contains(&self, shard: ShardId) -> bool {
        self.word(usize::from(shard.0 / 64)) & (1 << (shard.0 % 64)) != 0
    }

    /// True without shards.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.first == 0 && self.more.as_ref().is_none_or(|more| more.iter().all(|word| *word == 0))
    }

    /// Number of shards.
    #[inline]
    pub fn len(&self) -> usize {
        let more = self.more.as_ref().map_or(0, |more| more.iter().map(|word| word.count_ones()).sum());
        (self.first.count_ones() + more) as usize
    }

    /// Adds the shards of another set.
    #[inline]
    pub fn union(&mut self, other: &Self) {
        self.first |= other.first;
        for (index, word) in other.more.iter().flat_map(|more| more.iter()).enumerate() {
            self.insert_word(index + 1, *word);
        }
    }

    /// The shards, ascending.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = ShardId> + '_ {
        let more = self.more.iter().flat_map(|more| more.iter().copied());
        std::iter::once(self.first).chain(more).enumerate().flat_map(|(index, word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                let bit = rest.trailing_zeros();
                rest &= rest.wrapping_sub(1);
                (bit < 64).then_some(ShardId((index * 64) as u16 + bit as u16))
            })
        })
    }

    /// Adds the shards `64 * index + bit` of the bits of `word`.
    #[inline]
    pub(super) fn insert_word(&mut self, index: usize, word: u64) {
        let Some(index) = index.checked_sub(1) else {
            self.first |= word;
            return;
        };
        if word == 0 {
            return;
        }
        if let Some(own) = self.more.get_or_insert_default().get_mut(index) {
            *own |= word;
        }
    }

    fn word(&self, index: usize) -> u64 {
        match (index.checked_sub(1), &self.more) {
            (None, _) => self.first,
            (Some(index), Some(more)) => more.get(index).copied().unwrap_or(0),
            (Some(_), None) => 0,
        }
    }
}

impl FromIterator<ShardId> for ShardSet {
    fn from_iter<I: IntoIterator<Item = ShardId>>(shards: I) -> Self {
        let mut set = Self::new();
        for shard in shards {
            set.insert(shard);
        }
        set
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_set_agrees_with_a_set_of_numbers() {
        let mut set = ShardSet::new();
        let mut model = BTreeSet::new();
        let mut random = 3_u64;
        for _ in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let shard = (random >> 40) as u16 % if random >> 63 == 0 { 64 } else { ShardId::SHARDS_MAX };
            if random >> 62 & 1 == 0 {
                set.insert(ShardId(shard));
                model.insert(shard);
            } else {
                set.remove(ShardId(shard));
                model.remove(&shard);
            }
            assert_eq!(set.contains(ShardId(shard)), model.contains(&shard));
            assert_eq!((set.len(), set.is_empty()), (model.len(), model.is_empty()));
        }
        assert!(set.iter().map(|shard| shard.0).eq(model.iter().copied()));
        let mut union = ShardSet::only(ShardId(700));
        union.union(&set);
        model.insert(700);
        assert_eq!(union, model.iter().map(|shard| ShardId(*shard)).collect());
        assert_eq!(ShardSet::all(ShardId::SHARDS_MAX).len(), usize::from(ShardId::SHARDS_MAX));
        assert!(ShardSet::all(5).iter().map(|shard| shard.0).eq(0..5));
    }
}
