//! How long messages take from their arrival to their delivery: a histogram of one shard, of words that only that shard
//! writes. Log-linear: 16 steps a power of two, so a value is known to 6 %. Reads no clock.

use std::borrow::Borrow;

use super::Counter;

/// Steps of each power of two, as bits.
const STEP_BITS: u32 = 4;
const STEPS: u64 = 1 << STEP_BITS;
/// Values of 2^36 us (19 h) and more share the last step.
const BITS_MAX: u32 = 36;
const PLACES: usize = ((BITS_MAX - STEP_BITS + 1) as usize) << STEP_BITS;

/// The histogram of one shard, in microseconds.
#[derive(Debug)]
#[repr(align(128))]
pub struct Latency {
    places: Box<[Counter]>,
    max_us: Counter,
}

impl Default for Latency {
    fn default() -> Self {
        Self { places: (0..PLACES).map(|_| Counter::default()).collect(), max_us: Counter::default() }
    }
}

/// The place of a value.
fn place_of(us: u64) -> usize {
    if us < STEPS {
        return us as usize;
    }
    let us = us.min((1 << BITS_MAX) - 1);
    let shift = us.ilog2() - STEP_BITS;
    // The first place is that of 0..STEPS, each later one of a power of two.
    (((u64::from(shift) + 1) << STEP_BITS) + ((us >> shift) - STEPS)) as usize
}

/// The highest value of a place.
fn highest_of(place: usize) -> u64 {
    let place = place as u64;
    if place < STEPS {
        return place;
    }
    let shift = (place >> STEP_BITS) - 1;
    ((STEPS + (place & (STEPS - 1)) + 1) << shift) - 1
}

impl Latency {
    /// Counts one. Only the owning shard calls this.
    pub fn record(&self, us: u64) {
        if let Some(place) = self.places.get(place_of(us)) {
            place.inc();
        }
        if us > self.max_us.load() {
            self.max_us.set(us);
        }
    }
}

/// What histograms held at a moment, together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LatencySnapshot {
    places: Vec<u64>,
    max_us: u64,
}

impl LatencySnapshot {
    /// The sum of these histograms.
    pub fn of<L: Borrow<Latency>>(shards: impl IntoIterator<Item = L>) -> Self {
        let mut places = vec![0; PLACES];
        let mut max_us = 0;
        for shard in shards {
            let shard = shard.borrow();
            for (sum, place) in places.iter_mut().zip(&shard.places) {
                *sum += place.load();
            }
            max_us = max_us.max(shard.max_us.load());
        }
        Self { places, max_us }
    }

    /// What came since `earlier`. Its longest is known to a step only.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = earlier.places.iter().copied().chain(std::iter::repeat(0));
        let places: Vec<u64> =
            self.places.iter().zip(before).map(|(now, then)| now - then.min(*now)).collect();
        let longest = places.iter().rposition(|count| *count > 0).map_or(0, highest_of);
        Self { places, max_us: longest.min(self.max_us) }
    }

    /// Values counted.
    pub fn count(&self) -> u64 {
        self.places.iter().sum()
    }

    /// The longest, in microseconds.
    pub fn max_us(&self) -> u64 {
        self.max_us
    }

    /// The value, in microseconds, that this part of all (0.99: the 99th percentile) does not exceed, to 6 %; 0 of none.
    pub fn quantile_us(&self, part: f64) -> u64 {
        let wanted = (self.count() as f64 * part).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (place, count) in self.places.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return highest_of(place).min(self.max_us);
            }
        }
        0
    }

    /// All values together, in microseconds, each taken as the highest of its step: up to 6 % too much.
    pub fn sum_us(&self) -> u64 {
        let places = self.places.iter().enumerate();
        places.map(|(place, count)| count.saturating_mul(highest_of(place).min(self.max_us))).sum()
    }

    /// For histograms as Prometheus has them: for each of these bounds (microseconds, rising), how many values are not above. A
    /// bound within a step takes what is below the step.
    pub fn cumulative(&self, bounds_us: &[u64]) -> Vec<u64> {
        let up_to = |bound: &u64| {
            let places = self.places.iter().enumerate();
            places.take_while(|(place, _)| highest_of(*place) <= *bound).map(|(_, count)| count).sum()
        };
        bounds_us.iter().map(up_to).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_follow_each_other_without_a_gap() {
        let mut next = 0;
        for place in 0..PLACES {
            assert_eq!(place_of(next), place, "{next}");
            assert_eq!(place_of(highest_of(place)), place);
            next = highest_of(place) + 1;
        }
        assert_eq!(next, 1 << BITS_MAX);
        assert_eq!(place_of(u64::MAX), PLACES - 1);
    }

    #[test]
    fn quantiles_are_right_to_a_step() {
        let shards = [Latency::default(), Latency::default()];
        for us in 1..=10_000 {
            shards[us as usize % 2].record(us);
        }
        let all = LatencySnapshot::of(&shards);
        assert_eq!((all.count(), all.max_us()), (10_000, 10_000));
        for (part, exact) in
            [(0.5, 5_000.0), (0.9, 9_000.0), (0.99, 9_900.0), (0.999, 9_990.0), (1.0, 10_000.0)]
        {
            let found = all.quantile_us(part) as f64;
            assert!(found >= exact && found <= exact * 1.07, "{part}: {found}");
        }
        assert_eq!(LatencySnapshot::default().quantile_us(0.99), 0);
        let exact: u64 = (1..=10_000).sum();
        assert!(all.sum_us() >= exact && all.sum_us() <= exact + exact / 16);
        assert_eq!(all.cumulative(&[0, 15, 1 << 40]), [0, 15, 10_000]);
    }

    #[test]
    fn a_later_snapshot_tells_what_came_since() {
        let latency = Latency::default();
        latency.record(1_000_000);
        let before = LatencySnapshot::of([&latency]);
        (0..100).for_each(|_| latency.record(50));
        let since = LatencySnapshot::of([&latency]).since(&before);
        assert_eq!(since.count(), 100);
        assert!((50..54).contains(&since.max_us()) && (50..54).contains(&since.quantile_us(0.5)));
    }
}
