//! How many there are of each: connections of an address, node-wide. Short locks, taken when a connection comes or goes
//! and only where a limit is configured.

use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

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

impl<K: Hash + Eq> Tally<K> {
    /// Nothing is counted. `seed` keys the hashes.
    pub fn new(seed: u64) -> Self {
        let hasher = RandomState::with_seeds(seed, 19, 23, 29);
        let part = || Mutex::new(HashMap::with_hasher(hasher.clone()));
        Self { parts: (0..PARTS).map(|_| part()).collect(), hasher }
    }

    /// Counts one more of `key`, unless there are `max` already; whether it did.
    pub fn enter(&self, key: K, max: u32) -> bool {
        let Some(mut part) = self.part(&key) else { return true };
        let count = part.get(&key).copied().unwrap_or(0);
        if count >= max {
            return false;
        }
        part.insert(key, count + 1);
        true
    }

    /// Counts one less.
    pub fn leave(&self, key: &K) {
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
mod tests {
    use super::*;

    #[test]
    fn a_key_is_counted_up_to_the_limit_and_forgotten_at_zero() {
        let tally = Tally::new(1);
        assert!(tally.enter(7, 2) && tally.enter(7, 2) && !tally.enter(7, 2));
        assert!(tally.enter(8, 2));
        assert_eq!((tally.count(&7), tally.count(&8), tally.count(&9)), (2, 1, 0));
        tally.leave(&7);
        assert!(tally.enter(7, 2));
        tally.leave(&7);
        tally.leave(&7);
        tally.leave(&7);
        assert_eq!(tally.count(&7), 0);
        assert!(tally.parts.iter().all(|part| part.lock().is_ok_and(|part| !part.contains_key(&7))));
    }

    #[test]
    fn a_limit_of_zero_leaves_no_trace() {
        let tally = Tally::new(1);
        assert!(!tally.enter(1, 0));
        tally.leave(&1);
        assert_eq!(tally.count(&1), 0);
    }
}
