//! How many there are of each: connections of an address, node-wide. Short locks, taken when a connection comes or goes
//! and only where a limit is configured.

use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ahash::RandomState;
use hashbrown::HashMap;

/// Parts with a lock each, so that shards seldom meet at one.
const PARTS: usize = 64;

/// Counts by key. Holds no more keys than are counted at the time.
#[derive(Debug)]
pub struct Tally<K> {
    parts: Vec<Mutex<HashMap<K, u32, RandomState>>>,
    hasher: RandomState,
}

/// One that is counted until this is dropped, wherever that happens.
#[derive(Debug)]
pub struct Counted<K: Hash + Eq> {
    tally: Arc<Tally<K>>,
    key: K,
}

impl<K: Hash + Eq> Drop for Counted<K> {
    fn drop(&mut self) {
        self.tally.leave(&self.key);
    }
}

impl<K: Hash + Eq> Tally<K> {
    /// Nothing is counted. `seed` keys the hashes.
    pub fn new(seed: u64) -> Self {
        let hasher = RandomState::with_seeds(seed, 19, 23, 29);
        let part = || Mutex::new(HashMap::with_hasher(hasher.clone()));
        Self { parts: (0..PARTS).map(|_| part()).collect(), hasher }
    }

    /// Counts one more of `key`; `None`: there are `max` already.
    pub fn enter(self: &Arc<Self>, key: K, max: u32) -> Option<Counted<K>>
    where
        K: Clone,
    {
        let mut part = self.part(&key)?;
        let count = part.get(&key).copied().unwrap_or(0);
        if count >= max {
            return None;
        }
        part.insert(key.clone(), count + 1);
        Some(Counted { tally: Arc::clone(self), key })
    }

    fn leave(&self, key: &K) {
        let Some(mut part) = self.part(key) else { return };
        if let Some(count) = part.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                part.remove(key);
            }
        }
    }

    /// How many there are.
    pub fn count(&self, key: &K) -> u32 {
        self.part(key).and_then(|part| part.get(key).copied()).unwrap_or(0)
    }

    fn part(&self, key: &K) -> Option<MutexGuard<'_, HashMap<K, u32, RandomState>>> {
        let at = self.hasher.hash_one(key) as usize >> 7;
        let part = self.parts.get(at % PARTS)?;
        // Nothing that holds the lock can leave it half done.
        Some(part.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_counted_up_to_the_limit_and_forgotten_at_zero() {
        let tally = Arc::new(Tally::new(1));
        let first = tally.enter(7, 2).unwrap();
        let second = tally.enter(7, 2).unwrap();
        assert!(tally.enter(7, 2).is_none());
        let other = tally.enter(8, 2).unwrap();
        assert_eq!((tally.count(&7), tally.count(&8), tally.count(&9)), (2, 1, 0));
        drop(first);
        let third = tally.enter(7, 2).unwrap();
        drop((second, third, other));
        assert_eq!(tally.count(&7), 0);
        assert!(tally.parts.iter().all(|part| part.lock().unwrap().is_empty()));
    }

    #[test]
    fn a_limit_of_zero_leaves_no_trace() {
        let tally = Arc::new(Tally::new(1));
        assert!(tally.enter(1, 0).is_none());
        assert_eq!(tally.count(&1), 0);
    }
}
