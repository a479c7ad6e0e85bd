//! The lock-free part of waking a shard: which senders have posted something, and whether the shard sleeps.
//! No system call is made here: [`Bell::post`] says when its caller has to write to the shard's eventfd.
//! Modelled with loom (`loom_models.rs`).

#[cfg(loom)]
use loom::sync::atomic::{AtomicU8, AtomicU64, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// The shard runs, or will look at its mailboxes before it sleeps.
const AWAKE: u8 = 0;
/// The shard waits in its data ring.
const ASLEEP: u8 = 1;

/// One shard's bell.
pub(crate) struct Bell {
    state: AtomicU8,
    pending: Box<[AtomicU64]>,
}

impl Bell {
    /// A bell with `bits` senders.
    pub(crate) fn new(bits: usize) -> Self {
        Self {
            state: AtomicU8::new(AWAKE),
            pending: (0..bits.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Sender: says that something was pushed under `bit`. `true`: the shard sleeps and this call is the one
    /// that has to write to its eventfd.
    ///
    /// Nothing is lost, because every change of `state` is a read-modify-write, and those of one variable
    /// follow one another: either this one comes after the sleeper's and sees that it sleeps, or the sleeper's
    /// comes after this one, acquires what it released, and then sees the bit. It costs a bus-locked
    /// instruction per batch, not per message.
    #[must_use]
    pub(crate) fn post(&self, bit: usize) -> bool {
        self.pending[bit / 64].fetch_or(1 << (bit % 64), Ordering::AcqRel);
        self.state.swap(AWAKE, Ordering::AcqRel) != AWAKE
    }

    /// Owner: takes the bits of word `word`; everything pushed before they were set is visible afterwards.
    pub(crate) fn take(&self, word: usize) -> u64 {
        if self.pending[word].load(Ordering::Relaxed) == 0 {
            return 0;
        }
        self.pending[word].swap(0, Ordering::AcqRel)
    }

    /// Number of words for [`Bell::take`].
    #[cfg(not(loom))]
    pub(crate) fn words(&self) -> usize {
        self.pending.len()
    }

    /// Owner: announces sleep. `false`: something is pending, the shard stays awake. When `true`, the caller
    /// still has to look at what else may wake it (its rings) before it sleeps, and then calls
    /// [`Bell::woken`].
    #[must_use]
    pub(crate) fn prepare(&self) -> bool {
        self.state.swap(ASLEEP, Ordering::AcqRel);
        if self.pending.iter().any(|word| word.load(Ordering::Acquire) != 0) {
            self.woken();
            return false;
        }
        true
    }

    /// Owner: is awake again, for whatever reason. A swap, for the chain that [`Bell::post`] relies on.
    pub(crate) fn woken(&self) {
        self.state.swap(AWAKE, Ordering::AcqRel);
    }
}
