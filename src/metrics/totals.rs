//! The numbers of the node: the shards' summed, and the highest that each gauge's sum was seen at.

use std::borrow::Borrow;

use super::{Kind, Metric, Metrics};

/// The sums over all shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    now: [u64; Metrics::ALL.len()],
    max: [u64; Metrics::ALL.len()],
}

impl Default for Totals {
    fn default() -> Self {
        Self { now: [0; Metrics::ALL.len()], max: [0; Metrics::ALL.len()] }
    }
}

impl Totals {
    /// Sums the shards' numbers. A gauge's maximum is the highest sum that any call saw, so whoever wants short
    /// peaks calls this more often than the sums are shown.
    pub fn observe<M: Borrow<Metrics>>(&mut self, shards: &[M]) {
        self.now = [0; Metrics::ALL.len()];
        for shard in shards {
            for (sum, value) in self.now.iter_mut().zip(shard.borrow().values()) {
                // Gauges may count down on another shard than up (a hand-over): one share wraps, the sum does not.
                *sum = sum.wrapping_add(value);
            }
        }
        for ((max, now), metric) in self.max.iter_mut().zip(self.now.iter_mut()).zip(Metrics::ALL) {
            // The shards are read one after the other, not at one moment: a sum may be briefly below zero.
            if metric.kind == Kind::Gauge && *now > u64::MAX / 2 {
                *now = 0;
            }
            *max = (*max).max(*now);
        }
    }

    /// Every number: what it is, its sum at the last `observe`, its maximum so far (for gauges).
    pub fn each(&self) -> impl Iterator<Item = (Metric, u64, u64)> + '_ {
        Metrics::ALL
            .iter()
            .zip(self.now.iter().zip(&self.max))
            .map(|(metric, (now, max))| (*metric, *now, *max))
    }

    /// The sum of the number whose field is `name`, at the last `observe`.
    pub fn value(&self, name: &str) -> Option<u64> {
        self.each().find(|(metric, ..)| metric.name == name).map(|(_, now, _)| now)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn row(totals: &Totals, name: &str) -> (u64, u64) {
        let (_, now, max) = totals.each().find(|(metric, ..)| metric.name == name).unwrap();
        (now, max)
    }

    #[test]
    fn shards_are_summed_and_gauges_keep_their_maximum() {
        let shards = [Metrics::default(), Metrics::default()];
        let mut totals = Totals::default();
        shards[0].clients.set(3);
        shards[1].clients.set(4);
        shards[1].messages_received.add(10);
        totals.observe(&shards);
        shards[0].clients.dec();
        shards[1].messages_received.inc();
        totals.observe(&shards);
        assert_eq!(row(&totals, "clients"), (6, 7));
        assert_eq!(totals.value("messages_received"), Some(11));
        assert_eq!(totals.value("no_such_number"), None);
    }

    #[test]
    fn a_gauge_that_one_shard_raised_and_another_lowered_is_still_right() {
        let shards = [Metrics::default(), Metrics::default()];
        shards[0].sessions.add(5);
        shards[1].sessions.dec();
        let mut totals = Totals::default();
        totals.observe(&shards);
        assert_eq!(row(&totals, "sessions"), (4, 4));
        totals.observe(&shards[1..]);
        assert_eq!(row(&totals, "sessions"), (0, 4), "seen in between, it is shown as 0 and is no maximum");
    }

    #[test]
    fn names_and_paths_are_unique() {
        for (index, metric) in Metrics::ALL.iter().enumerate() {
            let twin =
                Metrics::ALL.iter().take(index).find(|m| m.name == metric.name || m.path == metric.path);
            assert_eq!(twin, None, "{metric:?}");
        }
    }
}
