//! The lock-free part of credits between one pair of shards: how many messages the receiver has given back,
//! and whether the sender waits for one. Modelled with loom (`loom_models.rs`).

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Shared by the two shards of a pair; on a cache line of its own.
#[repr(align(64))]
pub(crate) struct Credit {
    /// Messages given back since the start, wrapping. Only the receiver writes it.
    released: AtomicU32,
    /// The sender was refused and waits.
    starved: AtomicBool,
}

impl Credit {
    /// No message given back, nobody waits.
    pub(crate) fn new() -> Self {
        Self { released: AtomicU32::new(0), starved: AtomicBool::new(false) }
    }

    /// Receiver: gives `n` back. `true`: the sender waits and has to be told.
    ///
    /// As with the bell, every change of `starved` is a read-modify-write: either this one comes after the
    /// sender's and sees that it waits, or the sender's comes after this one and then sees what was given.
    #[must_use]
    pub(crate) fn release(&self, n: u32) -> bool {
        self.released.fetch_add(n, Ordering::AcqRel);
        self.starved.swap(false, Ordering::AcqRel)
    }

    /// Sender: all that was given back so far.
    pub(crate) fn released(&self) -> u32 {
        self.released.load(Ordering::Acquire)
    }

    /// Sender: found no credit. Says that it waits and looks once more; returns what was given back. When
    /// that is still not enough, the next [`Credit::release`] tells.
    pub(crate) fn starve(&self) -> u32 {
        self.starved.swap(true, Ordering::AcqRel);
        self.released.load(Ordering::Acquire)
    }

    /// Sender: does not wait any more.
    pub(crate) fn fed(&self) {
        self.starved.swap(false, Ordering::AcqRel);
    }
}
