//! The clock that publishers and subscribers share: CLOCK_MONOTONIC in nanoseconds.
//!
//! It is the same clock in every process of a machine, so a `sub` can measure what a `pub` beside it sent;
//! between machines its readings mean nothing.

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds in a second.
pub(crate) const SECOND_NS: u64 = 1_000_000_000;

/// Nanoseconds since an arbitrary moment before the start of every process.
#[inline]
pub(crate) fn now_ns() -> u64 {
    // The call can't fail for this clock; 0 would show at once as absurd latencies.
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |t| t.tv_sec().unsigned_abs() * SECOND_NS + t.tv_nsec().unsigned_abs())
}

/// Seconds as nanoseconds; negative and absurd values are clamped.
pub(crate) fn seconds_ns(seconds: f64) -> u64 {
    (seconds * SECOND_NS as f64) as u64
}
