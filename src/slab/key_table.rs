//! A map from a hash to a 32-bit key, for entries that hold their own name.
//! Linear hashing over small hashbrown tables: the map grows by splitting one part of some hundred keys at a time.

use hashbrown::HashTable;

/// Mean keys of a part. A part is split when the mean passes this, so it holds between half of it and (just before
/// its turn comes) twice of it: 190 to 760 keys in 512 or 1024 buckets, which hashbrown fills up to 448 or 896.
const PART_LEN: usize = 380;
/// Buckets use the low ten bits of a mark, parts those from here on, hashbrown's tags the top seven.
const PART_SHIFT: u32 = 10;

/// A value, and the half of its hash that all is done with: to split or grow a part does not read the keys, of which a large
/// broker's caches hold none.
#[derive(Debug, Clone, Copy)]
struct Entry {
    mark: u32,
    value: u32,
}

impl Entry {
    /// What the entry is found by: the mark in both halves.
    #[inline]
    fn hash(&self) -> u64 {
        u64::from(self.mark) << 32 | u64::from(self.mark)
    }
}

/// The half of a hash that stands for it.
#[inline]
fn mark(hash: u64) -> u32 {
    (hash >> 32) as u32 ^ hash as u32
}

/// A map of 32-bit values found by the hash of a key that the caller keeps elsewhere and compares itself.
/// 10 to 19 bytes an entry; an empty one allocates nothing. No call touches more than about a thousand entries.
/// Memory comes back when the last one is removed, as the tides of a broker's tables are worth keeping room for.
#[derive(Debug, Clone, Default)]
pub struct KeyTable {
    parts: Vec<HashTable<Entry>>,
    len: usize,
}

impl KeyTable {
    /// An empty map; allocates nothing.
    pub const fn new() -> Self {
        Self { parts: Vec::new(), len: 0 }
    }

    /// Number of values.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// True without values.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value under `hash` for which `eq` says that its key is the one sought.
    #[inline]
    pub fn find(&self, hash: u64, eq: impl Fn(u32) -> bool) -> Option<u32> {
        let sought = Entry { mark: mark(hash), value: 0 };
        let is_it = |entry: &Entry| entry.mark == sought.mark && eq(entry.value);
        self.parts.get(self.part_of(sought.mark))?.find(sought.hash(), is_it).map(|entry| entry.value)
    }

    /// Adds `value` under `hash`. The caller has made sure that its key is not yet present.
    pub fn insert(&mut self, hash: u64, value: u32) {
        if self.len >= self.parts.len() * PART_LEN {
            self.split();
        }
        let entry = Entry { mark: mark(hash), value };
        let part = self.part_of(entry.mark);
        if let Some(part) = self.parts.get_mut(part) {
            part.insert_unique(entry.hash(), entry, Entry::hash);
            self.len += 1;
        }
    }

    /// Takes the value under `hash` for which `eq` holds out of the map.
    pub fn remove(&mut self, hash: u64, eq: impl Fn(u32) -> bool) -> Option<u32> {
        let sought = Entry { mark: mark(hash), value: 0 };
        let is_it = |entry: &Entry| entry.mark == sought.mark && eq(entry.value);
        let part = self.part_of(sought.mark);
        let found = self.parts.get_mut(part)?.find_entry(sought.hash(), is_it).ok()?;
        let (entry, _) = found.remove();
        self.len -= 1;
        if self.len == 0 {
            self.parts = Vec::new();
        }
        Some(entry.value)
    }

    /// All values, in no order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.parts.iter().flatten().map(|entry| entry.value)
    }

    /// With `n` parts, `2^k <= n < 2^(k+1)`: the low `k + 1` bits name the part, unless that part is not split off
    /// yet; then its keys are still in the part without the highest of these bits.
    #[inline]
    fn part_of(&self, mark: u32) -> usize {
        let parts = self.parts.len();
        let Some(bits) = parts.checked_ilog2() else { return 0 };
        let bits = bits + 1;
        let part = (mark >> PART_SHIFT) as usize & ((1 << bits) - 1);
        if part < parts { part } else { part & ((1 << (bits - 1)) - 1) }
    }

    /// Appends a part and moves those keys to it that belong there: all of them come from one part.
    fn split(&mut self) {
        let appended = self.parts.len();
        self.parts.push(HashTable::new());
        let Some(bits) = appended.checked_ilog2() else { return };
        let Some(source) = self.parts.get_mut(appended & ((1 << bits) - 1)) else { return };
        let whole = std::mem::take(source);
        // Half of the keys each; an eighth more, so that an uneven split does not double one of them at once.
        let capacity = whole.len() / 2 + whole.len() / 16;
        let mut stay = HashTable::with_capacity(capacity);
        let mut go = HashTable::with_capacity(capacity);
        for entry in whole {
            let part = if self.part_of(entry.mark) == appended { &mut go } else { &mut stay };
            part.insert_unique(entry.hash(), entry, Entry::hash);
        }
        if let Some(source) = self.parts.get_mut(appended & ((1 << bits) - 1)) {
            *source = stay;
        }
        if let Some(part) = self.parts.get_mut(appended) {
            *part = go;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn hash(value: u32) -> u64 {
        let mut hash =
            u64::from(value).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash ^= hash >> 31;
        hash = hash.wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^ (hash >> 29)
    }

    #[test]
    fn a_table_agrees_with_a_set_under_random_changes() {
        let mut table = KeyTable::new();
        let mut model = BTreeSet::new();
        for step in 0..40_000_u32 {
            let value = (hash(step) >> 40) as u32 % 9000;
            let found = table.find(hash(value), |found| found == value);
            assert_eq!(found.is_some(), model.contains(&value));
            if found.is_none() {
                table.insert(hash(value), value);
                model.insert(value);
            } else {
                assert_eq!(table.remove(hash(value), |found| found == value), Some(value));
                model.remove(&value);
            }
            assert_eq!(table.len(), model.len());
        }
        assert_eq!(table.iter().collect::<BTreeSet<_>>(), model);
        for value in model {
            table.remove(hash(value), |found| found == value).unwrap();
        }
        assert!(table.is_empty() && table.parts.is_empty());
    }

    #[test]
    fn parts_stay_small_and_entries_cheap() {
        let mut table = KeyTable::new();
        for (begin, end) in [(0, 150_000), (150_000, 200_000), (200_000, 256_000), (256_000, 300_000_u32)] {
            for value in begin..end {
                table.insert(hash(value), value);
            }
            check_size(&table);
        }
        assert!((0..300_000).all(|value| table.find(hash(value), |found| found == value) == Some(value)));
    }

    fn check_size(table: &KeyTable) {
        let longest = table.parts.iter().map(HashTable::len).max();
        assert!(longest.is_some_and(|len| len < 1000), "a part of {longest:?} keys is rehashed at once");
        let buckets: usize =
            table.parts.iter().map(|part| (part.capacity() * 8 / 7).next_power_of_two()).sum();
        let bytes =
            buckets * (size_of::<Entry>() + 1) + table.parts.capacity() * size_of::<HashTable<Entry>>();
        assert!(bytes < 20 * table.len(), "{} bytes an entry", bytes / table.len());
    }

    #[test]
    fn keys_of_one_mark_are_told_apart() {
        let mut table = KeyTable::new();
        for value in 0..100 {
            table.insert(7, value);
        }
        assert_eq!(table.find(7, |found| found == 93), Some(93));
        assert_eq!(table.remove(7, |found| found == 93), Some(93));
        assert_eq!(table.find(7, |found| found == 93), None);
        assert_eq!(table.len(), 99);
    }
}
