//! When an open loop sends: a fixed grid of moments, and the timer that wakes the thread for the next one.
//!
//! Latency is measured from these moments, never from the moment of the actual write: a stall of the broker or
//! of this program therefore counts for every message that it delayed (no coordinated omission).

use std::io;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::clock::SECOND_NS;

/// A grid of sending moments, dealt to `publishers` publishers in turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    start_ns: u64,
    interval_ns: f64,
    publishers: u64,
}

impl Schedule {
    /// `rate` messages a second over all of `publishers` (both above zero), the first at `start_ns`.
    pub(crate) fn new(start_ns: u64, rate: f64, publishers: usize) -> Self {
        Self { start_ns, interval_ns: SECOND_NS as f64 / rate, publishers: publishers as u64 }
    }

    /// The moment of slot `slot` of the grid.
    pub(crate) fn due_ns(&self, slot: u64) -> u64 {
        self.start_ns + (slot as f64 * self.interval_ns) as u64
    }

    /// The moment at which `publisher` sends its message number `sequence` (both from 0).
    pub(crate) fn message_due_ns(&self, publisher: usize, sequence: u64) -> u64 {
        self.due_ns(sequence * self.publishers + publisher as u64)
    }

    /// Whose turn slot `slot` is.
    pub(crate) fn publisher(&self, slot: u64) -> usize {
        (slot % self.publishers) as usize
    }
}

/// A one-shot timer with nanosecond deadlines for an epoll set; epoll's own timeout knows only milliseconds.
#[derive(Debug)]
pub(crate) struct Alarm {
    timer: TimerFd,
    armed_ns: u64,
}

impl Alarm {
    /// An unarmed alarm that reports as `token`.
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let timer =
            TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        // mio registers edge-triggered: an expiry wakes once and never needs to be read.
        let fd = std::os::fd::AsFd::as_fd(&timer).as_raw_fd();
        registry.register(&mut SourceFd(&fd), token, Interest::READABLE)?;
        Ok(Self { timer, armed_ns: 0 })
    }

    /// Wakes the epoll set at `due_ns`, at once if that has passed. Costs nothing if it is armed for it already.
    pub(crate) fn arm(&mut self, due_ns: u64) -> io::Result<()> {
        if self.armed_ns == due_ns {
            return Ok(());
        }
        self.armed_ns = due_ns;
        // An absolute time of zero would disarm.
        let due = TimeSpec::from_duration(Duration::from_nanos(due_ns.max(1)));
        Ok(self.timer.set(Expiration::OneShot(due), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::clock::now_ns;

    #[test]
    fn slots_are_dealt_in_turn_and_evenly() {
        let s = Schedule::new(1_000, 1_000.0, 4);
        assert_eq!(s.due_ns(0), 1_000);
        assert_eq!(s.due_ns(3), 3_001_000);
        assert_eq!((0..6).map(|n| s.publisher(n)).collect::<Vec<_>>(), [0, 1, 2, 3, 0, 1]);
        assert_eq!(s.message_due_ns(2, 3), s.due_ns(14));
        assert_eq!(s.publisher(14), 2);
    }

    #[test]
    fn the_grid_does_not_drift_over_a_long_run() {
        let s = Schedule::new(0, 30_000.0, 7);
        // One hour at a rate whose interval is no whole number of nanoseconds.
        assert!(s.due_ns(30_000 * 3_600).abs_diff(3_600 * SECOND_NS) < 1_000);
    }

    #[test]
    fn an_alarm_wakes_within_a_fraction_of_a_millisecond() {
        let mut poll = mio::Poll::new().unwrap();
        let mut alarm = Alarm::new(poll.registry(), Token(7)).unwrap();
        let mut events = mio::Events::with_capacity(4);
        for _ in 0..3 {
            let due = now_ns() + 300_000;
            alarm.arm(due).unwrap();
            poll.poll(&mut events, Some(Duration::from_secs(5))).unwrap();
            assert!(events.iter().any(|e| e.token() == Token(7)));
            assert!(now_ns() >= due);
        }
    }
}
