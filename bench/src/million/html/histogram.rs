//! A histogram of latencies over a logarithmic axis, with its percentiles marked.

use super::format;
use super::palette::Colour;
use super::plot::{Axis, Canvas, Frame, Labels, Plan};
use super::scale::Scale;
use super::svg::{Drawing, text_width};
use crate::million::results::Latency;

/// Marked percentiles, ascending: each gets a row above the bars.
fn marks(latency: &Latency) -> [(&'static str, u64); 4] {
    [("p50", latency.p50_us), ("p99", latency.p99_us), ("p99.9", latency.p999_us), ("max", latency.max_us)]
}

/// Bars of the buckets; what holds little still shows as a line.
pub(super) fn histogram(latency: &Latency, canvas: Canvas<'_>, label: &str) -> Result<Drawing, String> {
    let counted: u64 = latency.buckets.iter().map(|bucket| bucket.count).sum();
    if counted == 0 {
        return Err("No latency was recorded.".into());
    }
    let bars = bars(latency);
    let share = |count: u64| count as f64 / counted as f64;
    let tallest = bars.iter().map(|(_, _, count)| share(*count)).fold(0.0, f64::max);
    let low = bars.iter().map(|(from, _, _)| *from).fold(f64::INFINITY, f64::min);
    let high = bars.iter().map(|(_, to, _)| *to).fold(latency.max_us as f64, f64::max);
    // Room on the right for the name of the maximum.
    let scale = Scale::Log(low / 1.1, high * (high / low).powf(0.28));
    let plan = Plan {
        label,
        legend: &[],
        x: Axis { scale, labels: Labels::Values(format::micros) },
        y: Axis {
            scale: Scale::from_zero(tallest, canvas.y_ticks()),
            labels: Labels::Values(format::percent),
        },
        bands: &[],
        rows_above: marks(latency).len(),
    };
    let mut frame = Frame::new(canvas, &plan);
    for (from, to, count) in bars {
        let (left, right) = (frame.x(from), frame.x(to));
        let top = frame.y(share(count)).min(frame.bottom - 1.5);
        let title = format!("{} to {}: {}", format::micros(from), format::micros(to), format::integer(count));
        let size = ((right - left - 0.4).max(0.8), frame.bottom - top);
        frame.svg.rect((left, top), size, &format!("fill {}", Colour::Blue.class()), Some(&title));
    }
    for (row, (name, value)) in marks(latency).into_iter().enumerate() {
        mark(&mut frame, row, name, value as f64);
    }
    Ok(frame.finish())
}

/// A line down to the axis with its name in a row of its own. The smallest has the uppermost row, so that no line
/// crosses the name of another one, as long as names fit on the right.
fn mark(frame: &mut Frame<'_>, row: usize, name: &str, value: f64) {
    let font = frame.canvas.font;
    let rows = 4 - row.min(3);
    let (x, y) = (frame.x(value), frame.top - rows as f64 * font * 1.25);
    let text = format!("{name} {}", format::micros(value));
    frame.svg.line((x, y + 0.2 * font), (x, frame.bottom), "mark");
    if x + 4.0 + text_width(&text, font) <= frame.canvas.width {
        frame.svg.text((x + 4.0, y + font), "ink halo", &text);
    } else {
        frame.svg.text((x - 4.0, y + font), "ink halo end", &text);
    }
}

/// Lower bound, upper bound and count of each bucket that holds something. Buckets are an eighth root of two wide, but
/// at least one microsecond; empty ones are not in the list, so the bound before may be far below.
fn bars(latency: &Latency) -> Vec<(f64, f64, u64)> {
    let mut before = 0.0_f64;
    let mut bars = Vec::new();
    for bucket in &latency.buckets {
        let to = (bucket.up_to_us as f64).max(1.0);
        let width = (to - to / 2f64.powf(0.125)).max(1.0);
        let from = (to - width).max(before).max(0.5);
        before = to;
        if bucket.count > 0 && from < to {
            bars.push((from, to, bucket.count));
        }
    }
    bars
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::plot::SMALL;
    use super::*;
    use crate::million::results::Bucket;

    fn latency(buckets: &[(u64, u64)]) -> Latency {
        let buckets = buckets.iter().map(|&(up_to_us, count)| Bucket { up_to_us, count }).collect();
        Latency { count: 1, max_us: 100, buckets, ..Latency::default() }
    }

    #[test]
    fn bars_are_as_wide_as_their_buckets() {
        assert_eq!(
            bars(&latency(&[(0, 1), (1, 1), (2, 5), (5, 7)])),
            [(0.5, 1.0, 1), (1.0, 2.0, 5), (4.0, 5.0, 7)]
        );
        let wide = bars(&latency(&[(1000, 1)]));
        assert!((wide[0].0 - 917.0).abs() < 0.1, "{wide:?}");
    }

    #[test]
    fn every_bar_and_mark_is_drawn() {
        let drawn = histogram(&latency(&[(10, 1_000_000), (100, 1)]), SMALL, "").unwrap().body;
        assert_eq!(drawn.matches("class=\"fill blue\"").count(), 2);
        assert_eq!(drawn.matches("class=\"mark\"").count(), 4);
        assert!(drawn.contains("9 µs to 10 µs: 1,000,000"), "{drawn}");
        assert!(drawn.contains(">max 100 µs<"), "{drawn}");
    }

    #[test]
    fn an_empty_histogram_is_a_sentence() {
        assert!(histogram(&latency(&[]), SMALL, "").is_err());
        assert!(histogram(&latency(&[(5, 0)]), SMALL, "").is_err());
    }
}
