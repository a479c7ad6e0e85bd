//! Fewer points than were sampled, without losing what stands out: a plot has no more than its pixels.

use std::ops::Range;

/// Indices of at most `most` of `len` points: the first, the last, and of each slice between them the one with the
/// largest `weight`. All of them if they are that few.
pub(super) fn peaks(len: usize, most: usize, weight: impl Fn(usize) -> f64) -> Vec<usize> {
    if len <= most.max(2) {
        return (0..len).collect();
    }
    let mut kept = vec![0];
    for slice in slices(1..len - 1, most.saturating_sub(2)) {
        kept.extend(slice.max_by(|a, b| weight(*a).total_cmp(&weight(*b))));
    }
    kept.push(len - 1);
    kept
}

/// Indices of at most `most` of `values`: the first, the last, and of each slice between them the smallest and the
/// largest, so that a line keeps both its peaks and its gaps.
pub(super) fn extremes(values: &[f64], most: usize) -> Vec<usize> {
    if values.len() <= most.max(2) {
        return (0..values.len()).collect();
    }
    let mut kept = vec![0];
    for slice in slices(1..values.len() - 1, most.saturating_sub(2) / 2) {
        let by_value = |a: &usize, b: &usize| values[*a].total_cmp(&values[*b]);
        let (low, high) = (slice.clone().min_by(by_value), slice.max_by(by_value));
        kept.extend(low.min(high));
        kept.extend(low.max(high).filter(|_| low != high));
    }
    kept.push(values.len() - 1);
    kept
}

/// `range` in at most `count` slices of nearly the same length, none empty.
pub(super) fn slices(range: Range<usize>, count: usize) -> impl Iterator<Item = Range<usize>> {
    let count = count.min(range.len());
    let at = move |n: usize| range.start + range.len() * n / count.max(1);
    (0..count).map(move |n| at(n)..at(n + 1))
}

/// The longest stretches of `values` without a gap.
pub(super) fn stretches(values: &[Option<f64>]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut begin = None;
    for (at, value) in values.iter().enumerate() {
        match (value, begin) {
            (Some(_), None) => begin = Some(at),
            (None, Some(first)) => {
                found.push(first..at);
                begin = None;
            }
            _ => {}
        }
    }
    found.extend(begin.map(|first| first..values.len()));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_points_are_all_kept() {
        assert_eq!(peaks(3, 10, |_| 0.0), [0, 1, 2]);
        assert_eq!(peaks(0, 10, |_| 0.0), [0usize; 0]);
        assert_eq!(extremes(&[1.0, 2.0], 2), [0, 1]);
    }

    #[test]
    fn peaks_survive_thinning() {
        let values: Vec<f64> =
            (0..1800).map(|n| if n == 777 { 9.0 } else { f64::from(n % 7) / 10.0 }).collect();
        let kept = peaks(values.len(), 100, |n| values[n]);
        assert!(kept.len() <= 100 && kept.contains(&777), "{kept:?}");
        assert!(kept.is_sorted() && kept.first() == Some(&0) && kept.last() == Some(&1799));
    }

    #[test]
    fn a_line_keeps_peaks_and_gaps() {
        let mut values = vec![5.0; 1000];
        (values[500], values[501]) = (9.0, 0.0);
        let kept = extremes(&values, 60);
        assert!(kept.len() <= 60 && kept.contains(&500) && kept.contains(&501), "{kept:?}");
        assert!(kept.windows(2).all(|pair| pair[0] < pair[1]), "ascending, none twice: {kept:?}");
    }

    #[test]
    fn stretches_end_at_gaps() {
        let values = [None, Some(1.0), Some(2.0), None, None, Some(3.0)];
        assert_eq!(stretches(&values), [1..3, 5..6]);
        assert_eq!(stretches(&[]), [0..0; 0]);
    }
}
