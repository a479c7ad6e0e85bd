//! How a bridge does: numbers and the last trouble, written by its task, read by whoever asks.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// A number that grows.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub(super) fn load(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What a bridge does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BridgeState {
    /// An operator has stopped it, or the broker ends.
    #[default]
    Stopped,
    /// It connects.
    Connecting,
    /// Messages flow.
    Connected,
    /// It waits before it tries again.
    Waiting,
}

impl BridgeState {
    /// As the API says it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Waiting => "waiting",
        }
    }
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Status {
    pub(super) messages_in: Count,
    pub(super) messages_out: Count,
    /// Not passed on because they have been here.
    pub(super) looped: Count,
    /// Not passed on for another reason: no route, too large, refused.
    pub(super) dropped: Count,
    /// Connections made after the first one.
    pub(super) reconnects: Count,
    now: Mutex<(BridgeState, Option<String>)>,
}

impl Status {
    /// Another state; the trouble before stays until the bridge is connected.
    pub(super) fn set(&self, state: BridgeState) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.0 = state;
        if state == BridgeState::Connected {
            now.1 = None;
        }
    }

    /// Trouble; whether it is another one than before.
    pub(super) fn fail(&self, trouble: &str) -> bool {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let is_other = now.1.as_deref() != Some(trouble);
        *now = (BridgeState::Waiting, Some(trouble.to_owned()));
        is_other
    }

    pub(super) fn now(&self) -> (BridgeState, Option<String>) {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
