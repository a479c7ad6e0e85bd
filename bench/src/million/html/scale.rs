//! Values to places on an axis, and the round values to label it with.

/// How an axis maps values to 0..=1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// From the first value to the second, evenly.
    Linear(f64, f64),
    /// By the logarithm; both bounds above 0.
    Log(f64, f64),
}

impl Scale {
    /// From 0 up to `max` or a little more, so that it ends on a tick.
    pub(super) fn from_zero(max: f64, ticks_max: usize) -> Self {
        let max = if max.is_finite() && max > 0.0 { max } else { 1.0 };
        let step = nice_step(max, ticks_max);
        Self::Linear(0.0, (max / step - 1e-9).ceil() * step)
    }

    /// A logarithmic one around `low..=high`, with bounds of 1, 2 or 5 times a power of ten.
    pub(super) fn log_around(low: f64, high: f64) -> Self {
        let low = if low.is_finite() && low > 0.0 { low } else { 1.0 };
        let high = if high.is_finite() && high > low { high } else { low };
        let (from, to) = (round_125(low, f64::floor), round_125(high, f64::ceil));
        if to > from { Self::Log(from, to) } else { Self::Log(from, from * 10.0) }
    }

    /// Where `v` lies between the bounds, 0..=1; what is beyond them is at them.
    pub(super) fn fraction(self, v: f64) -> f64 {
        let at = match self {
            Self::Linear(low, high) => (v - low) / (high - low),
            Self::Log(low, high) => (v.max(low) / low).ln() / (high / low).ln(),
        };
        if at.is_finite() { at.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// At most about `most` round values within the bounds, ascending.
    pub(super) fn ticks(self, most: usize) -> Vec<f64> {
        match self {
            Self::Linear(low, high) => multiples(low, high, nice_step(high - low, most)),
            Self::Log(low, high) => log_ticks(low, high, most),
        }
    }
}

/// Round times of an axis from 0 to `seconds`: whole seconds, quarters of minutes, minutes, hours.
pub(super) fn time_ticks(seconds: f64, most: usize) -> Vec<f64> {
    const STEPS: [f64; 16] = [
        1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 21600.0,
        86400.0,
    ];
    let fits = |step: &&f64| seconds / **step <= most.max(1) as f64;
    let step = STEPS.iter().find(fits).copied().unwrap_or_else(|| nice_step(seconds, most));
    multiples(0.0, seconds, step)
}

/// The smallest of 1, 2, 2.5, 5 times a power of ten of which at most `most` fit into `span`.
fn nice_step(span: f64, most: usize) -> f64 {
    if !span.is_finite() || span <= 0.0 {
        return 1.0;
    }
    let least = span / most.max(1) as f64;
    let power = 10f64.powf(least.log10().floor());
    let nice =
        [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|n| n * power >= least * (1.0 - 1e-9)).unwrap_or(10.0);
    nice * power
}

fn multiples(low: f64, high: f64, step: f64) -> Vec<f64> {
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    // Bounded, whatever the arguments: an axis with more ticks than this is a grey bar.
    (first..=last).take(100).map(|n| n as f64 * step).collect()
}

fn log_ticks(low: f64, high: f64, most: usize) -> Vec<f64> {
    let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let within = |v: &f64| *v >= low * (1.0 - 1e-9) && *v <= high * (1.0 + 1e-9);
    let of = |digits: &[f64]| -> Vec<f64> {
        decades
            .clone()
            .flat_map(|decade| digits.iter().map(move |d| d * 10f64.powi(decade)))
            .filter(within)
            .collect()
    };
    let ticks = [of(&[1.0, 2.0, 5.0]), of(&[1.0, 3.0]), of(&[1.0])];
    let [dense, _, whole] = &ticks;
    if dense.len() > most && whole.len() >= 3 && whole.len() <= most {
        return whole.clone();
    }
    let thinned = whole.iter().copied().step_by(whole.len().div_ceil(most.max(1)).max(1)).collect();
    ticks.into_iter().find(|ticks| ticks.len() <= most).unwrap_or(thinned)
}

/// The next 1, 2 or 5 times a power of ten, downwards with `f64::floor`, upwards with `f64::ceil`.
fn round_125(v: f64, towards: fn(f64) -> f64) -> f64 {
    let power = 10f64.powf(v.log10().floor());
    let digit = v / power;
    let up = towards(0.5) > 0.0;
    if up {
        [1.0, 2.0, 5.0, 10.0].into_iter().find(|d| *d >= digit * (1.0 - 1e-9)).unwrap_or(10.0) * power
    } else {
        [5.0, 2.0, 1.0].into_iter().find(|d| *d <= digit * (1.0 + 1e-9)).unwrap_or(1.0) * power
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_ticks_are_round_and_within() {
        assert_eq!(Scale::from_zero(973_211.0, 5), Scale::Linear(0.0, 1_000_000.0));
        assert_eq!(Scale::from_zero(973_211.0, 5).ticks(5), [0.0, 2e5, 4e5, 6e5, 8e5, 1e6]);
        assert_eq!(Scale::from_zero(1.7, 4).ticks(4), [0.0, 0.5, 1.0, 1.5, 2.0]);
        assert_eq!(Scale::Linear(0.0, 7.0).ticks(3), [0.0, 2.5, 5.0]);
    }

    #[test]
    fn an_axis_without_data_has_bounds_too() {
        for max in [0.0, -3.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Scale::from_zero(max, 4), Scale::Linear(0.0, 1.0));
        }
        assert_eq!(Scale::log_around(0.0, 0.0), Scale::Log(1.0, 10.0));
        assert_eq!(Scale::log_around(f64::NAN, f64::INFINITY), Scale::Log(1.0, 10.0));
        assert!(Scale::Linear(0.0, 0.0).ticks(5).len() <= 100);
        assert_eq!(Scale::Linear(0.0, 0.0).fraction(3.0), 0.0);
    }

    #[test]
    fn log_bounds_and_ticks_are_of_1_2_5() {
        assert_eq!(Scale::log_around(37.0, 8300.0), Scale::Log(20.0, 10_000.0));
        assert_eq!(Scale::log_around(50.0, 50.0), Scale::Log(50.0, 500.0));
        assert_eq!(Scale::Log(20.0, 1000.0).ticks(8), [20.0, 50.0, 100.0, 200.0, 500.0, 1000.0]);
        assert_eq!(Scale::Log(1.0, 10_000.0).ticks(5), [1.0, 10.0, 100.0, 1000.0, 10_000.0]);
        assert_eq!(Scale::Log(1.0, 1e9).ticks(4).len(), 4);
    }

    #[test]
    fn fractions_stay_on_the_axis() {
        let log = Scale::Log(1.0, 100.0);
        assert!((log.fraction(10.0) - 0.5).abs() < 1e-12);
        assert_eq!((log.fraction(0.0), log.fraction(1e9)), (0.0, 1.0));
        let linear = Scale::Linear(0.0, 4.0);
        assert_eq!(
            (linear.fraction(1.0), linear.fraction(-1.0), linear.fraction(f64::NAN)),
            (0.25, 0.0, 0.0)
        );
    }

    #[test]
    fn time_ticks_are_seconds_or_minutes() {
        assert_eq!(time_ticks(58.0, 6), [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]);
        assert_eq!(time_ticks(1800.0, 6), [0.0, 300.0, 600.0, 900.0, 1200.0, 1500.0, 1800.0]);
        assert_eq!(time_ticks(0.0, 6), [0.0]);
    }
}
