//! When a Will is due, when it is not, and when nobody outside can know.

use super::message::MessageNumber;

/// What is known of a Will.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Its connection goes on.
    Armed,
    /// Its connection ended at `from`; due after the delay, unless the session goes on before.
    Waiting { due: u64, maybe_early: bool },
    /// Must be published once.
    Must { not_before: u64, not_after: u64 },
    /// Must never be published.
    Never,
    /// May have been published or not.
    May,
}

/// A Will of one connection.
#[derive(Debug, Clone, Copy)]
pub struct Will {
    pub message: MessageNumber,
    pub delay_s: u32,
    pub verdict: Verdict,
}

/// Virtual time that a Will may need through a rough world.
pub const WILL_SLACK_MS: u64 = 30_000;

/// Virtual time by which timers may be late, and a little more.
pub const LATE_MS: u64 = 2_000;

impl Will {
    /// The connection ended otherwise than by a DISCONNECT that surely arrived. Published after `delay_s` or at the
    /// session's end, whichever is first [MQTT-3.1.3-9].
    pub fn connection_ended(&mut self, now: u64, expiry_s: u32, maybe_early: bool) {
        if self.verdict != Verdict::Armed {
            return;
        }
        let delay_ms = u64::from(self.delay_s.min(expiry_s)) * 1000;
        self.verdict = if delay_ms == 0 {
            Verdict::Must { not_before: now, not_after: now + WILL_SLACK_MS }
        } else {
            Verdict::Waiting { due: now + delay_ms, maybe_early }
        };
    }

    /// The client sent CONNECT again.
    pub fn connect_sent(&mut self) {
        if let Verdict::Waiting { maybe_early, .. } = &mut self.verdict {
            *maybe_early = true;
        }
    }

    /// The client's next connection was answered. `is_next`: there was none between that was not answered, and perhaps
    /// went on with the session.
    pub fn reconnected(&mut self, connect_sent: u64, connack: u64, session_present: bool, is_next: bool) {
        let Verdict::Waiting { due, .. } = self.verdict else { return };
        self.verdict = if !is_next {
            Verdict::May
        } else if !session_present {
            // The session ended at the latest now.
            Verdict::Must { not_before: 0, not_after: connack + WILL_SLACK_MS }
        } else if connack < due {
            Verdict::Never
        } else if connect_sent > due + LATE_MS {
            Verdict::Must { not_before: due, not_after: due + WILL_SLACK_MS }
        } else {
            Verdict::May
        };
    }

    /// A CONNECT was cut before its answer: it may have been processed.
    pub fn unclear(&mut self) {
        if matches!(self.verdict, Verdict::Waiting { .. } | Verdict::Armed) {
            self.verdict = Verdict::May;
        }
    }

    /// The run is over.
    pub fn decide(&mut self, now: u64) {
        match self.verdict {
            Verdict::Waiting { due, maybe_early: false } if due + LATE_MS < now => {
                self.verdict = Verdict::Must { not_before: due, not_after: due + WILL_SLACK_MS };
            }
            Verdict::Waiting { .. } => self.verdict = Verdict::May,
            _ => {}
        }
    }

    /// Whether a copy of it may be seen at `now`.
    pub fn may_be_seen(&self, now: u64) -> bool {
        match self.verdict {
            Verdict::Armed | Verdict::Never => false,
            Verdict::Waiting { due, maybe_early } => maybe_early || now >= due,
            Verdict::Must { not_before, .. } => now >= not_before,
            Verdict::May => true,
        }
    }
}
