//! Credentials that were verified lately, as keyed digests, so that a client that comes back costs no hash again. Shared
//! by all shards: 64 parts with a lock each, held for one look. What is asked for stays, what is not goes.

use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashMap;

use crate::auth::Identity;
use crate::clock::Timestamp;

const PARTS: usize = 64;

/// What a method said of the credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Known {
    /// Who it is.
    Yes(Arc<Identity>),
    /// That it does not know them; another method did.
    Ignored,
}

#[derive(Debug)]
struct Entry {
    known: Known,
    until: Timestamp,
}

type Map = HashMap<[u8; 16], Entry, ahash::RandomState>;

/// Two generations: when the young one is full it becomes the old one, which is forgotten; what is found in the old one
/// is young again.
#[derive(Debug, Default)]
struct Part {
    young: Map,
    old: Map,
}

/// The memory of verified credentials. Nothing in it can be turned back into a password.
#[derive(Debug)]
pub(super) struct Cache {
    parts: Box<[Mutex<Part>]>,
    /// Entries of one generation of a part.
    generation_len_max: usize,
}

impl Cache {
    /// For `len_max` credentials; 0: none.
    pub(super) fn new(len_max: u32) -> Self {
        let generation_len_max = (len_max as usize).div_ceil(2 * PARTS);
        let parts = if len_max == 0 { 0 } else { PARTS };
        Self { parts: (0..parts).map(|_| Mutex::default()).collect(), generation_len_max }
    }

    /// What is remembered of the credentials with that digest.
    pub(super) fn find(&self, digest: &[u8; 16], now: Timestamp) -> Option<Known> {
        let mut part = self.part(digest)?.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = part.young.get(digest) {
            return (entry.until > now).then(|| entry.known.clone());
        }
        let entry = part.old.remove(digest).filter(|entry| entry.until > now)?;
        let known = entry.known.clone();
        part.insert(*digest, entry, self.generation_len_max);
        Some(known)
    }

    /// Remembers credentials until then.
    pub(super) fn insert(&self, digest: [u8; 16], known: Known, until: Timestamp) {
        if let Some(part) = self.part(&digest) {
            let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
            part.old.remove(&digest);
            part.insert(digest, Entry { known, until }, self.generation_len_max);
        }
    }

    fn part(&self, digest: &[u8; 16]) -> Option<&Mutex<Part>> {
        self.parts.get(usize::from(digest[15]) % PARTS)
    }
}

impl Part {
    fn insert(&mut self, digest: [u8; 16], entry: Entry, len_max: usize) {
        if self.young.len() >= len_max && !self.young.contains_key(&digest) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(digest, entry);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::auth::Method;

    fn digest(n: u32) -> [u8; 16] {
        let mut digest = [0; 16];
        digest[..4].copy_from_slice(&n.to_le_bytes());
        digest
    }

    #[test]
    fn what_is_remembered_ends_in_time_and_the_memory_is_bounded() {
        let cache = Cache::new(1280);
        let alice = Arc::new(Identity::new(Method::File).named("alice"));
        let found = |n: u32, now: u64| cache.find(&digest(n), Timestamp(now));
        cache.insert(digest(0), Known::Yes(Arc::clone(&alice)), Timestamp(100));
        assert_eq!(found(0, 99), Some(Known::Yes(alice)));
        assert_eq!((found(0, 100), found(1, 0)), (None, None));
        // All in one part, which has two generations of 10: the one that is asked for stays.
        cache.insert(digest(0), Known::Ignored, Timestamp(100));
        for n in 1..100 {
            cache.insert(digest(n), Known::Ignored, Timestamp(100));
            assert_eq!(found(0, 0), Some(Known::Ignored), "{n}");
        }
        let kept = (1..100).filter(|&n| found(n, 0).is_some()).count();
        assert!((9..=20).contains(&kept), "{kept}");
        let none = Cache::new(0);
        none.insert(digest(0), Known::Ignored, Timestamp(100));
        assert_eq!(none.find(&digest(0), Timestamp(0)), None);
    }
}
