//! Latencies in microseconds, from 1 us to 10 minutes, three significant digits.

use hdrhistogram::Histogram;

use super::results::{Bucket, Latency};

/// Latencies above this count as this: ten minutes.
const MAX_US: u64 = 600_000_000;

/// A histogram of latencies.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Default for Latencies {
    #[expect(clippy::expect_used, reason = "the bounds are constants that a test constructs")]
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, MAX_US, 3).expect("constant bounds"))
    }
}

impl Latencies {
    /// Counts one.
    #[inline]
    pub(crate) fn record(&mut self, us: u64) {
        self.0.saturating_record(us);
    }

    /// Adds all that `other` counted.
    pub(crate) fn add(&mut self, other: &Self) {
        // Both have the same bounds, the only thing that can differ.
        let _ = self.0.add(&other.0);
    }

    /// Becomes what `other` is, without allocating.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.0.reset();
        self.add(other);
    }

    /// Forgets all.
    pub(crate) fn reset(&mut self) {
        self.0.reset();
    }

    /// The median and the 99th percentile; `None` of nothing.
    pub(crate) fn middle(&self) -> Option<(u64, u64)> {
        let at = |q| self.0.value_at_quantile(q);
        (!self.0.is_empty()).then(|| (at(0.5), at(0.99)))
    }

    /// For the results; `None` if nothing was counted.
    pub(crate) fn result(&self) -> Option<Latency> {
        let at = |quantile| self.0.value_at_quantile(quantile);
        (!self.0.is_empty()).then(|| Latency {
            count: self.0.len(),
            mean_us: self.0.mean(),
            min_us: self.0.min(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            p9999_us: at(0.9999),
            max_us: self.0.max(),
            buckets: self.buckets(),
        })
    }

    /// Eight buckets an octave, those that hold something.
    fn buckets(&self) -> Vec<Bucket> {
        let mut buckets: Vec<Bucket> = Vec::new();
        for value in self.0.iter_recorded() {
            let up_to_us = bound(value.value_iterated_to());
            let count = value.count_since_last_iteration();
            match buckets.last_mut() {
                Some(last) if last.up_to_us == up_to_us => last.count += count,
                _ => buckets.push(Bucket { up_to_us, count }),
            }
        }
        buckets
    }
}

/// The upper bound of the bucket of `us`: the next power of the eighth root of two.
fn bound(us: u64) -> u64 {
    let exponent = ((us.max(1) as f64).log2() * 8.0 - 1e-9).ceil().max(0.0);
    ((exponent / 8.0).exp2().floor() as u64).max(us)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_everything_in_order() {
        let mut l = Latencies::default();
        assert!(l.result().is_none() && l.middle().is_none());
        for us in 1..=100_000 {
            l.record(us);
        }
        let r = l.result().unwrap();
        assert_eq!(r.buckets.iter().map(|b| b.count).sum::<u64>(), 100_000);
        assert!(r.buckets.is_sorted_by(|a, b| a.up_to_us < b.up_to_us));
        assert!(r.buckets.len() < 140);
        // A bucket that ends at 1024 holds exactly what lies above the one before it.
        let at = r.buckets.iter().position(|b| b.up_to_us == 1024).unwrap();
        let before = r.buckets.get(at - 1).unwrap().up_to_us;
        assert_eq!(r.buckets.get(at).unwrap().count, 1024 - before);
        assert!((r.p99_us as f64 / 99_000.0 - 1.0).abs() < 0.002);
    }

    #[test]
    fn copies_replace_and_sums_add() {
        let (mut a, mut b) = (Latencies::default(), Latencies::default());
        a.record(10);
        b.record(u64::MAX);
        b.add(&a);
        assert!(b.result().is_some_and(|r| r.count == 2 && r.max_us >= MAX_US));
        a.copy_from(&b);
        assert_eq!(a.result().unwrap().count, 2);
        a.reset();
        assert!(a.result().is_none());
    }
}
