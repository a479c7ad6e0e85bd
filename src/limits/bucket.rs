//! A token bucket of one client: one word. It holds no tokens but the moment at which what was taken is paid for.

use crate::clock::Timestamp;

/// How much a client may do, and how much at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Units (messages, bytes) a second, at least 1.
    pub per_s: u32,
    /// Units that may come at once after a pause.
    pub burst: u32,
}

impl Rate {
    /// None where `per_s` is 0; a `burst` of 0 is one second's worth.
    pub const fn new(per_s: u32, burst: u32) -> Option<Self> {
        if per_s == 0 {
            return None;
        }
        Some(Self { per_s, burst: if burst == 0 { per_s } else { burst } })
    }
}

/// The bucket. A fresh one is full.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bucket {
    /// When all that was taken is paid for, in microseconds; `burst` before it the bucket is empty.
    paid_at_us: u64,
}

impl Bucket {
    /// When the bucket has something again; `None`: it has now.
    pub fn empty_until(&self, now: Timestamp, rate: Rate) -> Option<Timestamp> {
        let open_at_us = self.paid_at_us.saturating_sub(cost_us(u64::from(rate.burst), rate));
        (open_at_us > now.0.saturating_mul(1000)).then(|| Timestamp(open_at_us.div_ceil(1000)))
    }

    /// Takes `n` units, of which there may be too few: what is owed delays what comes next.
    pub fn take(&mut self, now: Timestamp, n: u64, rate: Rate) {
        let from_us = self.paid_at_us.max(now.0.saturating_mul(1000));
        self.paid_at_us = from_us.saturating_add(cost_us(n, rate));
    }
}

const fn cost_us(n: u64, rate: Rate) -> u64 {
    n.saturating_mul(1_000_000) / if rate.per_s == 0 { 1 } else { rate.per_s as u64 }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Units taken in `ms` milliseconds by one who takes whenever there is something.
    fn taken(rate: Rate, ms: u64) -> u64 {
        let mut bucket = Bucket::default();
        let mut count = 0;
        for now in 0..ms {
            while bucket.empty_until(Timestamp(now), rate).is_none() {
                bucket.take(Timestamp(now), 1, rate);
                count += 1;
            }
        }
        count
    }

    #[test]
    fn a_burst_first_then_the_rate() {
        let rate = Rate::new(100, 0).unwrap();
        assert_eq!(taken(rate, 1), 101);
        assert!((1099..=1101).contains(&taken(rate, 10_000)), "{}", taken(rate, 10_000));
        assert_eq!(taken(Rate::new(1, 1).unwrap(), 1), 2);
        assert_eq!(Rate::new(0, 7), None);
    }

    #[test]
    fn what_is_owed_delays_what_comes_next() {
        let rate = Rate::new(1000, 1000).unwrap();
        let mut bucket = Bucket::default();
        bucket.take(Timestamp(5_000), 11_000, rate);
        assert_eq!(bucket.empty_until(Timestamp(5_000), rate), Some(Timestamp(15_000)));
        assert_eq!(bucket.empty_until(Timestamp(15_000), rate), None);
    }

    #[test]
    fn a_pause_saves_no_more_than_the_burst() {
        let rate = Rate::new(10, 5).unwrap();
        let mut bucket = Bucket::default();
        bucket.take(Timestamp(0), 1, rate);
        let later = Timestamp(3_600_000);
        let mut burst = 0;
        while bucket.empty_until(later, rate).is_none() {
            bucket.take(later, 1, rate);
            burst += 1;
        }
        assert_eq!(burst, 6);
        bucket.take(later, u64::MAX, rate);
        assert!(bucket.empty_until(later, rate).is_some());
    }
}
