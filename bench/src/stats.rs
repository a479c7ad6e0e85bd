//! Latency histograms, counters of a thread, and what is reported of them.

use std::ops::AddAssign;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::clock::SECOND_NS;

/// Finest latency that is told apart.
const LATENCY_MIN_NS: u64 = 100;
/// Latencies above this count as this.
const LATENCY_MAX_NS: u64 = 600 * SECOND_NS;

/// A histogram of latencies, three significant digits from 100 ns to 10 minutes.
#[derive(Clone, Debug)]
pub(crate) struct Latency(Histogram<u64>);

impl Latency {
    /// An empty histogram.
    #[expect(clippy::expect_used, reason = "the bounds are constants that a test constructs")]
    pub(crate) fn new() -> Self {
        Self(Histogram::new_with_bounds(LATENCY_MIN_NS, LATENCY_MAX_NS, 3).expect("constant bounds"))
    }

    /// Counts one latency.
    #[inline]
    pub(crate) fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    /// Adds all that `other` counted.
    pub(crate) fn add(&mut self, other: &Self) {
        // Both have the same bounds, the only thing that can differ.
        let _ = self.0.add(&other.0);
    }

    /// The figures of a report; `None` if nothing was counted.
    pub(crate) fn summary(&self) -> Option<LatencySummary> {
        let us = |ns: u64| ns as f64 / 1e3;
        let at = |quantile| us(self.0.value_at_quantile(quantile));
        (!self.0.is_empty()).then(|| LatencySummary {
            count: self.0.len(),
            mean: self.0.mean() / 1e3,
            min: us(self.0.min()),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: us(self.0.max()),
        })
    }
}

/// Latencies in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct LatencySummary {
    pub(crate) count: u64,
    pub(crate) mean: f64,
    pub(crate) min: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) p9999: f64,
    pub(crate) max: f64,
}

/// What one thread, or all, counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) connected: u64,
    pub(crate) subscribed: u64,
    /// Threads that know that the load is over.
    pub(crate) finished: u64,
    /// PUBLISH packets sent.
    pub(crate) sent: u64,
    /// Open loop: messages that were due and could not be sent even after the end.
    pub(crate) unsent: u64,
    /// Messages that the broker took: acknowledged, or at QoS 0 followed by an answered PINGREQ.
    pub(crate) accepted: u64,
    /// Deliveries that the sent messages should cause.
    pub(crate) expected: u64,
    /// PUBLISH packets received.
    pub(crate) delivered: u64,
    /// Deliveries with a number that the subscriber had already passed: duplicates, or out of order.
    pub(crate) stale: u64,
    /// Numbers that a subscriber never saw before it saw a later one.
    pub(crate) gaps: u64,
    /// Deliveries that this program did not send.
    pub(crate) foreign: u64,
    /// Acknowledgements with a Reason Code of failure.
    pub(crate) refused: u64,
    pub(crate) bytes_received: u64,
}

impl Counters {
    /// Expected deliveries that have not come; a duplicate makes up for nothing.
    pub(crate) fn undelivered(&self) -> u64 {
        self.expected.saturating_sub(self.delivered.saturating_sub(self.stale + self.foreign))
    }
}

impl AddAssign for Counters {
    fn add_assign(&mut self, o: Self) {
        self.connected += o.connected;
        self.subscribed += o.subscribed;
        self.finished += o.finished;
        self.sent += o.sent;
        self.unsent += o.unsent;
        self.accepted += o.accepted;
        self.expected += o.expected;
        self.delivered += o.delivered;
        self.stale += o.stale;
        self.gaps += o.gaps;
        self.foreign += o.foreign;
        self.refused += o.refused;
        self.bytes_received += o.bytes_received;
    }
}

/// The next number that a subscriber expects from each of its publishers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sequences {
    next: Vec<u32>,
    shared: bool,
}

/// What a number says about the deliveries before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    InOrder,
    /// So many numbers were left out.
    Gap(u32),
    /// The number was passed before.
    Stale,
}

impl Sequences {
    /// Room for `len` pairs of subscriber and publisher; `shared`: others get the numbers left out.
    pub(crate) fn new(len: usize, shared: bool) -> Self {
        Self { next: vec![0; len], shared }
    }

    /// Notes the arrival of `sequence` for pair `pair`.
    #[inline]
    pub(crate) fn arrived(&mut self, pair: usize, sequence: u32) -> Arrival {
        let Some(next) = self.next.get_mut(pair) else { return Arrival::InOrder };
        // Numbers wrap after four billion messages of one publisher; half the range tells before from after.
        let ahead = sequence.wrapping_sub(*next);
        if ahead > u32::MAX / 2 {
            return Arrival::Stale;
        }
        *next = sequence.wrapping_add(1);
        if ahead == 0 || self.shared { Arrival::InOrder } else { Arrival::Gap(ahead) }
    }
}

/// The median; 0 of nothing.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.get(middle), sorted.get(middle.wrapping_sub(1))) {
        (Some(high), Some(low)) if sorted.len().is_multiple_of(2) => (high + low) / 2.0,
        (Some(middle), _) => *middle,
        (None, _) => 0.0,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_three_digits() {
        let mut a = Latency::new();
        let mut b = Latency::new();
        assert_eq!(a.summary(), None);
        for us in 1..=50_000_u64 {
            a.record(us * 1_000);
            b.record((us + 50_000) * 1_000);
        }
        a.add(&b);
        let s = a.summary().unwrap();
        assert_eq!(s.count, 100_000);
        for (figure, expected) in
            [(s.p50, 50_000.0), (s.p90, 90_000.0), (s.p99, 99_000.0), (s.p9999, 99_990.0), (s.max, 100_000.0)]
        {
            assert!((figure / expected - 1.0).abs() < 0.002, "{figure} is not {expected}");
        }
        assert!(s.min < 1.1 && s.p999 <= s.p9999);
    }

    #[test]
    fn absurd_latencies_do_not_get_lost() {
        let mut a = Latency::new();
        a.record(u64::MAX);
        a.record(0);
        assert_eq!(a.summary().unwrap().count, 2);
    }

    #[test]
    fn gaps_duplicates_and_order_are_told_apart() {
        let mut s = Sequences::new(2, false);
        assert_eq!(s.arrived(0, 0), Arrival::InOrder);
        assert_eq!(s.arrived(0, 3), Arrival::Gap(2));
        assert_eq!(s.arrived(0, 1), Arrival::Stale);
        assert_eq!(s.arrived(0, 3), Arrival::Stale);
        assert_eq!(s.arrived(0, 4), Arrival::InOrder);
        assert_eq!(s.arrived(1, 0), Arrival::InOrder);
        let mut s = Sequences::new(1, true);
        assert_eq!(s.arrived(0, 5), Arrival::InOrder);
        assert_eq!(s.arrived(0, 4), Arrival::Stale);
    }

    #[test]
    fn numbers_wrap() {
        let mut s = Sequences { next: vec![u32::MAX], shared: false };
        assert_eq!(s.arrived(0, u32::MAX), Arrival::InOrder);
        assert_eq!(s.arrived(0, 0), Arrival::InOrder);
        assert_eq!(s.arrived(0, u32::MAX), Arrival::Stale);
    }

    #[test]
    fn a_duplicate_does_not_hide_a_loss() {
        let c = Counters { expected: 10, delivered: 10, stale: 1, ..Counters::default() };
        assert_eq!(c.undelivered(), 1);
    }

    #[test]
    fn the_median_of_even_counts_is_between() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
    }
}
