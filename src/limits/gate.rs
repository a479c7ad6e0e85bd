//! How many connections a second a listener admits: one word that all shards share, touched once a connection.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::clock::Timestamp;

const SECOND_US: u64 = 1_000_000;

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// It comes in.
    Open,
    /// Too many came: it is told so after its CONNECT.
    Refused,
    /// So many more came that telling them all would be the harm: it is closed at once.
    Shut,
}

/// The gate of one listener: a burst of one second's worth, then the rate.
#[derive(Debug, Default)]
pub struct Gate {
    admitted: Flow,
    told: Flow,
}

impl Gate {
    /// One more connection, where `per_s` are admitted a second; 0: any number. As many again are told why not.
    pub fn pass(&self, now: Timestamp, per_s: u32) -> Passage {
        if per_s == 0 || self.admitted.take(now, per_s) {
            Passage::Open
        } else if self.told.take(now, per_s) {
            Passage::Refused
        } else {
            Passage::Shut
        }
    }
}

/// A token bucket that many threads take from. Shards may read the clock in a slightly different order than they take:
/// that gives or costs a fraction of a token.
#[derive(Debug, Default)]
pub(super) struct Flow {
    paid_at_us: AtomicU64,
}

impl Flow {
    /// When there is a token again; `None`: now.
    pub(super) fn empty_until(&self, now: Timestamp, per_s: u32) -> Option<Timestamp> {
        let opens_at = opens_at(self.paid_at_us.load(Relaxed).saturating_add(cost_us(per_s)));
        (opens_at > now).then_some(opens_at)
    }

    /// Takes a token, whether there is one or not.
    pub(super) fn owe(&self, now: Timestamp, per_s: u32) {
        let now_us = now.0.saturating_mul(1000);
        let _ = self.paid_at_us.fetch_update(Relaxed, Relaxed, |paid_at_us| {
            Some(paid_at_us.max(now_us).saturating_add(cost_us(per_s)))
        });
    }

    /// Takes a token, of the future where there is none now: from when on it may be used.
    pub(super) fn reserve(&self, now: Timestamp, per_s: u32) -> Timestamp {
        let now_us = now.0.saturating_mul(1000);
        let paid_by = |paid_at_us: u64| paid_at_us.max(now_us).saturating_add(cost_us(per_s));
        let before = self.paid_at_us.fetch_update(Relaxed, Relaxed, |paid_at_us| Some(paid_by(paid_at_us)));
        opens_at(paid_by(before.unwrap_or_else(|paid_at_us| paid_at_us)))
    }

    /// When all tokens that are taken may be used.
    pub(super) fn reserved_until(&self) -> Timestamp {
        opens_at(self.paid_at_us.load(Relaxed))
    }

    /// A token that was taken is not used after all.
    pub(super) fn give_back(&self, per_s: u32) {
        let _ = self
            .paid_at_us
            .fetch_update(Relaxed, Relaxed, |paid_at_us| Some(paid_at_us.saturating_sub(cost_us(per_s))));
    }

    /// What was taken by another rate is forgotten; it begins without a burst.
    pub(super) fn begin_anew(&self, now: Timestamp) {
        self.paid_at_us.store(now.0.saturating_mul(1000).saturating_add(SECOND_US), Relaxed);
    }

    fn take(&self, now: Timestamp, per_s: u32) -> bool {
        let now_us = now.0.saturating_mul(1000);
        let cost_us = cost_us(per_s);
        self.paid_at_us
            .fetch_update(Relaxed, Relaxed, |paid_at_us| {
                let paid_at_us = paid_at_us.max(now_us);
                (paid_at_us + cost_us <= now_us + SECOND_US).then_some(paid_at_us + cost_us)
            })
            .is_ok()
    }
}

/// From when on a token may be used with which all is paid for at `paid_at_us`: there is a burst of one second's worth.
fn opens_at(paid_at_us: u64) -> Timestamp {
    Timestamp(paid_at_us.saturating_sub(SECOND_US).div_ceil(1000))
}

fn cost_us(per_s: u32) -> u64 {
    (1_000_000 / u64::from(per_s.max(1))).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passages(gate: &Gate, now: u64, per_s: u32, n: usize) -> [usize; 3] {
        let mut counts = [0; 3];
        for _ in 0..n {
            match gate.pass(Timestamp(now), per_s) {
                Passage::Open => counts[0] += 1,
                Passage::Refused => counts[1] += 1,
                Passage::Shut => counts[2] += 1,
            }
        }
        counts
    }

    #[test]
    fn as_many_as_the_rate_come_in_as_many_are_told_the_rest_is_shut_out() {
        let gate = Gate::default();
        assert_eq!(passages(&gate, 0, 10, 50), [10, 10, 30]);
        assert_eq!(passages(&gate, 500, 10, 50), [5, 5, 40]);
        assert_eq!(passages(&gate, 60_000, 10, 50), [10, 10, 30]);
        assert_eq!(passages(&gate, 60_000, 0, 50), [50, 0, 0]);
        assert_eq!(passages(&Gate::default(), 0, u32::MAX, 1000), [1000, 0, 0]);
    }
}
