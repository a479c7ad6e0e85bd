//! How often something happened lately, by a hash of whom it happened to. Bounded: a full table is searched for what is
//! over, seldom, and takes nobody new while nothing is.

use ahash::RandomState;
use hashbrown::HashMap;

use crate::clock::Timestamp;

/// How often at most a full table is searched for what is over.
const SWEEP_MS: u64 = 1000;

/// When a full table was searched last.
#[derive(Debug, Default)]
pub(super) struct Sweep(Option<Timestamp>);

impl Sweep {
    /// Whether it may be searched again; then it is.
    pub(super) fn is_due(&mut self, now: Timestamp) -> bool {
        let is_due = self.0.is_none_or(|last| now.ms_since(last) >= SWEEP_MS);
        if is_due {
            self.0 = Some(now);
        }
        is_due
    }
}

#[derive(Debug, Clone, Copy)]
struct Window {
    since: Timestamp,
    count: u32,
}

/// Counts within windows of time, each of which begins with the first occurrence.
#[derive(Debug)]
pub struct Occurrences {
    windows: HashMap<u64, Window, RandomState>,
    sweep: Sweep,
    len_max: usize,
}

impl Occurrences {
    /// Nothing happened; at most `len_max` hashes are known at a time.
    pub fn new(len_max: usize, hasher: RandomState) -> Self {
        Self { windows: HashMap::with_hasher(hasher), sweep: Sweep::default(), len_max }
    }

    /// One more. `Some(true)`: that makes `max` within `window_ms`, and it starts anew; `None`: the table is full, it was not
    /// counted.
    pub fn count(&mut self, now: Timestamp, key: u64, max: u32, window_ms: u64) -> Option<bool> {
        if self.windows.len() >= self.len_max && !self.windows.contains_key(&key) {
            if self.sweep.is_due(now) {
                self.windows.retain(|_, window| now.ms_since(window.since) < window_ms);
            }
            if self.windows.len() >= self.len_max {
                return None;
            }
        }
        let window = self.windows.entry(key).or_insert(Window { since: now, count: 0 });
        if now.ms_since(window.since) >= window_ms {
            *window = Window { since: now, count: 0 };
        }
        window.count += 1;
        let is_over = window.count >= max;
        if is_over {
            self.windows.remove(&key);
        }
        Some(is_over)
    }

    /// Forgets one.
    pub fn forget(&mut self, key: u64) {
        self.windows.remove(&key);
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.windows.clear();
    }

    /// Hashes known, those whose windows are over included.
    pub fn len(&self) -> usize {
        self.windows.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }
}
