//! How far a start is, for those who ask before there is anything to ask about.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// What has been read of the journal; the main thread tells, whoever asks over HTTP reads.
#[derive(Debug, Default)]
pub struct Recovery {
    is_told: AtomicBool,
    percent: AtomicU64,
    sessions: AtomicU64,
}

impl Recovery {
    /// So much is read, with so many sessions in it.
    pub fn tell(&self, percent: u64, sessions: u64) {
        self.percent.store(percent, Relaxed);
        self.sessions.store(sessions, Relaxed);
        self.is_told.store(true, Relaxed);
    }
}

impl std::fmt::Display for Recovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.is_told.load(Relaxed) {
            return f.write_str("recovering");
        }
        let (percent, sessions) = (self.percent.load(Relaxed), self.sessions.load(Relaxed));
        write!(f, "recovering: {percent} % of the journal is read, {sessions} sessions so far")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_recovering_first_and_then_how_far() {
        let recovery = Recovery::default();
        assert_eq!(recovery.to_string(), "recovering");
        recovery.tell(43, 1200);
        assert_eq!(recovery.to_string(), "recovering: 43 % of the journal is read, 1200 sessions so far");
    }
}
