//! What the coordinator and the threads of connections tell each other: the phase, counters, credits, a failure.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mio::Waker;

use crate::stats::Counters;

/// Steps of a run; each thread goes on only when the coordinator says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Phase {
    Connect,
    Subscribe,
    /// Load until [`Board::until_ns`], then wait for what is under way.
    Load,
    Stop,
}

/// Shared by all threads of a run.
#[derive(Debug)]
pub(crate) struct Board {
    phase: AtomicU8,
    start_ns: AtomicU64,
    measure_ns: AtomicU64,
    until_ns: AtomicU64,
    counters: Box<[Mutex<Counters>]>,
    wakers: Box<[Arc<Waker>]>,
    /// By publisher: deliveries that other threads than its own received.
    credits: Box<[AtomicU64]>,
    failure: Mutex<Option<String>>,
}

impl Board {
    /// A board for as many threads as there are `wakers`.
    pub(crate) fn new(wakers: Vec<Arc<Waker>>, publishers: usize) -> Self {
        Self {
            phase: AtomicU8::new(Phase::Connect as u8),
            start_ns: AtomicU64::new(0),
            measure_ns: AtomicU64::new(0),
            until_ns: AtomicU64::new(0),
            counters: wakers.iter().map(|_| Mutex::default()).collect(),
            wakers: wakers.into(),
            credits: (0..publishers).map(|_| AtomicU64::new(0)).collect(),
            failure: Mutex::new(None),
        }
    }

    /// The current phase.
    #[inline]
    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Connect,
            1 => Phase::Subscribe,
            2 => Phase::Load,
            _ => Phase::Stop,
        }
    }

    /// Lets all threads go on to `phase`. Never goes back: a stop stays.
    pub(crate) fn advance(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
        for thread in 0..self.wakers.len() {
            self.wake(thread);
        }
    }

    /// Starts the load at `start_ns`, measures from `measure_ns`, ends at `until_ns`.
    pub(crate) fn start_load(&self, start_ns: u64, measure_ns: u64, until_ns: u64) {
        self.start_ns.store(start_ns, Ordering::Relaxed);
        self.measure_ns.store(measure_ns, Ordering::Relaxed);
        self.until_ns.store(until_ns, Ordering::Relaxed);
        self.advance(Phase::Load);
    }

    /// When the load starts. Valid from phase `Load` on, as the next two.
    pub(crate) fn start_ns(&self) -> u64 {
        self.start_ns.load(Ordering::Relaxed)
    }

    /// When measuring starts.
    pub(crate) fn measure_ns(&self) -> u64 {
        self.measure_ns.load(Ordering::Relaxed)
    }

    /// When the load ends.
    pub(crate) fn until_ns(&self) -> u64 {
        self.until_ns.load(Ordering::Relaxed)
    }

    /// Ends a thread's wait.
    pub(crate) fn wake(&self, thread: usize) {
        if let Some(waker) = self.wakers.get(thread) {
            // A thread whose epoll set is gone has ended.
            let _ = waker.wake();
        }
    }

    /// A thread shows what it has counted.
    #[inline]
    pub(crate) fn show(&self, thread: usize, counters: &Counters) {
        if let Some(place) = self.counters.get(thread) {
            *place.lock().unwrap_or_else(PoisonError::into_inner) = *counters;
        }
    }

    /// What all threads have shown.
    pub(crate) fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        for place in &self.counters {
            sum += *place.lock().unwrap_or_else(PoisonError::into_inner);
        }
        sum
    }

    /// Adds deliveries for a publisher of another thread.
    pub(crate) fn credit(&self, publisher: usize, deliveries: u64) {
        if let Some(place) = self.credits.get(publisher) {
            place.fetch_add(deliveries, Ordering::Relaxed);
        }
    }

    /// Takes the deliveries that others have added.
    pub(crate) fn take_credits(&self, publisher: usize) -> u64 {
        match self.credits.get(publisher) {
            Some(place) if place.load(Ordering::Relaxed) > 0 => place.swap(0, Ordering::Relaxed),
            _ => 0,
        }
    }

    /// Ends the run; the first reason counts.
    pub(crate) fn fail(&self, why: String) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
        self.advance(Phase::Stop);
    }

    /// Why the run failed, if it did.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
