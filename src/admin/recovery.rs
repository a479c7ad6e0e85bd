//! How far a start is, for those who ask before there is anything to ask about.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// What has been read of the journal; the main thread tells, whoever asks over HTTP reads.
#[derive(Debug, Default)]
pub struct Recovery {
    is_told: AtomicBool,
    percent: AtomicU64,
}

impl Recovery {
    /// So much is read. What it is, the log tells: whoever reaches the port may read this.
    pub fn tell(&self, percent: u64) {
        self.percent.store(percent, Relaxed);
        self.is_told.store(true, Relaxed);
    }
}

impl std::fmt::Display for Recovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.is_told.load(Relaxed) {
            return f.write_str("recovering");
        }
        write!(f, "recovering: {} % of the journal is read", self.percent.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_recovering_first_and_then_how_far() {
        let recovery = Recovery::default();
        assert_eq!(recovery.to_string(), "recovering");
        recovery.tell(43);
        assert_eq!(recovery.to_string(), "recovering: 43 % of the journal is read");
    }
}
