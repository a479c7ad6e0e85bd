//! The last hour of the node, for plots: a ring of points, one each five seconds, sampled on the admin thread.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};

use super::desk::Desk;
use super::process;
use crate::metrics::{LatencySnapshot, Totals};

/// Between two points.
pub(super) const STEP: Duration = Duration::from_secs(5);
/// Points that are kept.
const POINTS_MAX: usize = 720;

/// What is plotted, in the order of a point's values.
pub(super) const NAMES: [&str; 12] = [
    "connections",
    "messages_received_per_s",
    "messages_sent_per_s",
    "bytes_received_per_s",
    "bytes_sent_per_s",
    "dropped_per_s",
    "queued",
    "inflight",
    "memory_bytes",
    "cpu_percent",
    "latency_p50_us",
    "latency_p99_us",
];

/// One moment; `None`: nothing to measure.
type Point = [Option<f64>; NAMES.len()];

/// Points, the oldest first, and the Unix time of the newest, milliseconds.
#[derive(Debug, Default)]
pub(super) struct Points {
    /// At most [`POINTS_MAX`].
    pub(super) points: VecDeque<Point>,
    /// When the newest was taken; `None`: there is none.
    pub(super) newest_unix_ms: Option<u64>,
}

/// The ring.
#[derive(Debug, Default)]
pub(super) struct History(Mutex<Points>);

impl History {
    /// Looks at it.
    pub(super) fn with<T>(&self, look: impl FnOnce(&Points) -> T) -> T {
        look(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn push(&self, point: Point, unix_ms: u64) {
        let mut points = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if points.points.len() >= POINTS_MAX {
            points.points.pop_front();
        }
        points.points.push_back(point);
        points.newest_unix_ms = Some(unix_ms);
    }
}

/// What counters said, to make rates of.
struct Reading {
    at: Instant,
    totals: Totals,
    latency: LatencySnapshot,
    cpu_s: f64,
}

impl Reading {
    fn take(desk: &Desk) -> Self {
        let mut totals = Totals::default();
        totals.observe(&desk.shared.metrics);
        let latency = LatencySnapshot::of(desk.shared.latency.iter().map(Arc::as_ref));
        Self { at: Instant::now(), totals, latency, cpu_s: process::cpu_s() }
    }

    /// What there is now, and what came since `earlier`.
    fn point(&self, earlier: &Self) -> Point {
        let seconds = self.at.duration_since(earlier.at).as_secs_f64().max(0.001);
        let value = |name: &str| self.totals.value(name).unwrap_or(0);
        let now = |name: &str| Some(value(name) as f64);
        let rate = |name: &str| {
            let came = value(name).saturating_sub(earlier.totals.value(name).unwrap_or(0));
            Some(rounded(came as f64 / seconds))
        };
        let latency = self.latency.since(&earlier.latency);
        let quantile = |part: f64| (latency.count() > 0).then(|| latency.quantile_us(part) as f64);
        [
            now("clients"),
            rate("messages_received"),
            rate("messages_sent"),
            rate("bytes_received"),
            rate("bytes_sent"),
            rate("messages_dropped"),
            now("queues"),
            now("inflight"),
            Some(process::read().memory_bytes as f64),
            Some(rounded((self.cpu_s - earlier.cpu_s) * 100.0 / seconds)),
            quantile(0.5),
            quantile(0.99),
        ]
    }
}

/// To a tenth: nobody plots more.
fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// Takes points for as long as the process lives.
pub(super) async fn sample(desk: Arc<Desk>) {
    let mut ticks = interval(STEP);
    // A clock that stood still brings no burst of points.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut earlier = Reading::take(&desk);
    loop {
        ticks.tick().await;
        let reading = Reading::take(&desk);
        desk.history.push(reading.point(&earlier), desk.unix_ms());
        earlier = reading;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_keeps_an_hour() {
        let history = History::default();
        for number in 0..POINTS_MAX as u64 + 10 {
            let mut point = [None; NAMES.len()];
            point[0] = Some(number as f64);
            history.push(point, number * 5000);
        }
        history.with(|points| {
            assert_eq!(points.points.len(), POINTS_MAX);
            assert_eq!(points.points[0][0], Some(10.0));
            assert_eq!(points.newest_unix_ms, Some((POINTS_MAX as u64 + 9) * 5000));
        });
    }
}
