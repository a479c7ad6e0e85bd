//! Entries at stable 32-bit keys, in chunks that never move.
//! Free places are chained through the entries themselves; the lowest chunk grows with its use, so that a slab of a
//! few entries costs a few entries.

/// Entries of a chunk: a power of two, so that a key splits into chunk and place by shift and mask.
const CHUNK_LEN: usize = 1024;
const CHUNK_BITS: u32 = CHUNK_LEN.trailing_zeros();
/// End of the chain of free places.
const NO_KEY: u32 = u32::MAX;

#[derive(Debug, Clone)]
enum Place<T> {
    Occupied(T),
    /// The next free place, or `NO_KEY`.
    Free(u32),
}

/// A slab of `T` with `u32` keys. A key stays valid until its entry is removed; then it may be given out again.
/// Growing allocates one chunk and moves no entry (but for the first chunk, which doubles up to its full length).
#[derive(Debug, Clone)]
pub struct ChunkedSlab<T> {
    chunks: Vec<Vec<Place<T>>>,
    free: u32,
    len: u32,
}

impl<T> Default for ChunkedSlab<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> ChunkedSlab<T> {
    /// An empty slab; allocates nothing.
    pub const fn new() -> Self {
        Self { chunks: Vec::new(), free: NO_KEY, len: 0 }
    }

    /// Number of entries.
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// True without entries.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The key that the next [`insert`](Self::insert) will use.
    pub fn vacant_key(&self) -> u32 {
        if self.free == NO_KEY { self.places() } else { self.free }
    }

    /// Stores `value` and returns its key.
    ///
    /// # Panics
    /// With `u32::MAX` entries, which no memory holds.
    pub fn insert(&mut self, value: T) -> u32 {
        let key = self.vacant_key();
        assert!(key != NO_KEY, "a slab holds fewer than u32::MAX entries");
        if self.free == NO_KEY {
            self.push(Place::Occupied(value));
        } else if let Some(place) = self.place_mut(key)
            && let Place::Free(next) = *place
        {
            *place = Place::Occupied(value);
            self.free = next;
        }
        self.len += 1;
        key
    }

    /// Takes the entry at `key` out, if there is one.
    pub fn remove(&mut self, key: u32) -> Option<T> {
        let free = self.free;
        let place = self.place_mut(key)?;
        if matches!(place, Place::Free(_)) {
            return None;
        }
        let Place::Occupied(value) = std::mem::replace(place, Place::Free(free)) else { return None };
        self.free = key;
        self.len -= 1;
        if self.len == 0 {
            // The chain of free places would otherwise keep the memory of the highest tide for ever.
            self.chunks = Vec::new();
            self.free = NO_KEY;
        }
        Some(value)
    }

    /// The entry at `key`.
    #[inline]
    pub fn get(&self, key: u32) -> Option<&T> {
        match self.chunks.get((key >> CHUNK_BITS) as usize)?.get(key as usize % CHUNK_LEN)? {
            Place::Occupied(value) => Some(value),
            Place::Free(_) => None,
        }
    }

    /// The entry at `key`, to change.
    #[inline]
    pub fn get_mut(&mut self, key: u32) -> Option<&mut T> {
        match self.place_mut(key)? {
            Place::Occupied(value) => Some(value),
            Place::Free(_) => None,
        }
    }

    /// True if there is an entry at `key`.
    pub fn contains(&self, key: u32) -> bool {
        self.get(key).is_some()
    }

    /// All entries, by ascending key.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> + '_ {
        self.iter_from(0)
    }

    /// The entries at `key` and above, by ascending key.
    pub fn iter_from(&self, key: u32) -> impl Iterator<Item = (u32, &T)> + '_ {
        let first = (key >> CHUNK_BITS) as usize;
        let mut skip = key as usize % CHUNK_LEN;
        self.chunks.iter().enumerate().skip(first).flat_map(move |(chunk, places)| {
            let skipped = std::mem::take(&mut skip);
            places.iter().enumerate().skip(skipped).filter_map(move |(place, entry)| match entry {
                Place::Occupied(value) => Some((((chunk << CHUNK_BITS) | place) as u32, value)),
                Place::Free(_) => None,
            })
        })
    }

    /// The lowest key in use above `key`: the step of a cursor that outlives changes of the slab.
    pub fn next_key_after(&self, key: u32) -> Option<u32> {
        self.iter_from(key.checked_add(1)?).next().map(|(key, _)| key)
    }

    /// One more than the highest key ever given out since the slab was last empty: what a sweep has to walk.
    pub fn places(&self) -> u32 {
        match self.chunks.last() {
            Some(last) => (((self.chunks.len() - 1) << CHUNK_BITS) + last.len()) as u32,
            None => 0,
        }
    }

    fn place_mut(&mut self, key: u32) -> Option<&mut Place<T>> {
        self.chunks.get_mut((key >> CHUNK_BITS) as usize)?.get_mut(key as usize % CHUNK_LEN)
    }

    fn push(&mut self, place: Place<T>) {
        if let Some(last) = self.chunks.last_mut()
            && last.len() < CHUNK_LEN
        {
            last.push(place);
            return;
        }
        let mut chunk = if self.chunks.is_empty() { Vec::new() } else { Vec::with_capacity(CHUNK_LEN) };
        chunk.push(place);
        self.chunks.push(chunk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_slab_agrees_with_a_map_under_random_changes() {
        let mut slab = ChunkedSlab::new();
        let mut model: BTreeMap<u32, u64> = BTreeMap::new();
        let mut random = 7_u64;
        for step in 0..60_000_u64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let pick = (random >> 33) as u32;
            // Grows for the first two thirds, shrinks afterwards.
            if pick % 10 < if step < 40_000 { 6 } else { 2 } {
                let vacant = slab.vacant_key();
                assert_eq!(slab.insert(step), vacant);
                assert_eq!(model.insert(vacant, step), None, "a key in use was given out again");
            } else {
                let key = pick % slab.places().max(1);
                assert_eq!(slab.remove(key), model.remove(&key));
            }
            assert_eq!(slab.len(), model.len());
        }
        assert!(
            slab.iter().map(|(key, value)| (key, *value)).eq(model.iter().map(|(key, value)| (*key, *value)))
        );
        for key in 0..slab.places() {
            let expected = model.range(key + 1..).next().map(|(key, _)| *key);
            assert_eq!(slab.next_key_after(key), expected);
        }
    }

    #[test]
    fn an_emptied_slab_gives_its_memory_back() {
        let mut slab = ChunkedSlab::new();
        for value in 0..5000 {
            slab.insert(value);
        }
        for key in 0..5000 {
            assert_eq!(slab.remove(key), Some(key));
            assert_eq!(slab.remove(key), None);
        }
        assert!(slab.is_empty() && slab.chunks.is_empty());
        assert_eq!(slab.insert(1), 0);
    }

    #[test]
    fn a_free_place_costs_no_extra_word() {
        assert_eq!(size_of::<Place<Box<str>>>(), size_of::<Box<str>>());
        assert_eq!(size_of::<Place<(Box<str>, u64)>>(), size_of::<(Box<str>, u64)>());
    }
}
