//! How many connections a second a listener admits: one word that all shards share, touched once a connection.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::clock::Timestamp;

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
        let open_at_us = (self.paid_at_us.load(Relaxed) + cost_us(per_s)).saturating_sub(1_000_000);
        (open_at_us > now.0.saturating_mul(1000)).then(|| Timestamp(open_at_us.div_ceil(1000)))
    }

    /// Takes a token, whether there is one or not.
    pub(super) fn owe(&self, now: Timestamp, per_s: u32) {
        let now_us = now.0.saturating_mul(1000);
        let _ = self.paid_at_us.fetch_update(Relaxed, Relaxed, |paid_at_us| {
            Some(paid_at_us.max(now_us).saturating_add(cost_us(per_s)))
        });
    }

    fn take(&self, now: Timestamp, per_s: u32) -> bool {
        let now_us = now.0.saturating_mul(1000);
        let cost_us = cost_us(per_s);
        self.paid_at_us
            .fetch_update(Relaxed, Relaxed, |paid_at_us| {
                let paid_at_us = paid_at_us.max(now_us);
                (paid_at_us + cost_us <= now_us + 1_000_000).then_some(paid_at_us + cost_us)
            })
            .is_ok()
    }
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
