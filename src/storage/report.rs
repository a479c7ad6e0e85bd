//! What a recovery found: a line for each thing that an operator should know of, and the sums.

use std::fmt;
use std::time::Duration;

use super::entry::EntryError;
use super::frame::Damage;
use super::replay::ReplayOutcome;
use super::segment::HeaderError;

/// Something in the journal's folder that is not as it should be, or was left out on purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Bytes that are no frame, with good ones behind them: what they held is lost.
    Damage {
        /// Which file.
        file: String,
        /// Where, and which frames.
        damage: Damage,
    },
    /// The journal's last bytes are no whole frame: a write that a crash interrupted. Nothing in them was acknowledged.
    TornTail {
        /// Which file.
        file: String,
        /// Where they begin.
        offset: u64,
        /// How many they are.
        len: u64,
    },
    /// The newest file has no whole header and nothing else: a crash came when it was just made.
    JustMade {
        /// Which file.
        file: String,
    },
    /// The header can't be read; the frames behind it were read all the same.
    Header {
        /// Which file.
        file: String,
        /// Why not.
        error: HeaderError,
    },
    /// The file is not there or can't be used, and the operator accepted that.
    Missing {
        /// Which file.
        file: String,
        /// What is known of the reason.
        why: String,
    },
    /// Written after the disk had failed; its checkpoint was not completed. Nothing in it was acknowledged.
    AfterFailure {
        /// Which file.
        file: String,
    },
    /// A whole frame holds something that is no entry: what follows in it was left out.
    Entry {
        /// Which file.
        file: String,
        /// Where its frame begins.
        offset: u64,
        /// Number of the frame.
        frame: u64,
        /// Why it is none.
        error: EntryError,
    },
    /// Deliveries of messages that are nowhere in the journal: they were in what is damaged.
    Deliveries(u64),
    /// Retained Messages that are nowhere in the journal: they were in what is damaged.
    Retained(u64),
    /// So many more than [`Report::FINDINGS_MAX`], which are not named.
    More(u64),
}

impl Finding {
    /// Whether something that was acknowledged may be lost by it.
    pub const fn is_damage(&self) -> bool {
        !matches!(self, Self::TornTail { .. } | Self::JustMade { .. } | Self::AfterFailure { .. })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damage { file, damage: Damage { offset, len, first_lost, frames_lost, .. } } => {
                write!(f, "{file}: {len} damaged bytes at offset {offset}: ")?;
                match frames_lost {
                    0 => write!(f, "what they held is lost"),
                    1 => write!(f, "frame {first_lost} is lost"),
                    more => {
                        write!(f, "frames {first_lost} to {} are lost", first_lost.saturating_add(more - 1))
                    }
                }
            }
            Self::TornTail { file, offset, len } => {
                write!(
                    f,
                    "{file}: the last {len} bytes, from offset {offset} on, are a write that was interrupted: left out"
                )
            }
            Self::JustMade { file } => write!(f, "{file}: was just being made: left out"),
            Self::Header { file, error } => write!(f, "{file}: {error}; what lies behind it was read"),
            Self::Missing { file, why } => write!(f, "{file}: {why}: accepted as lost"),
            Self::AfterFailure { file } => {
                write!(f, "{file}: was begun after the disk had failed, and never completed: left out")
            }
            Self::Entry { file, offset, frame, error } => {
                write!(f, "{file}: frame {frame} at offset {offset}: {error}: its rest is left out")
            }
            Self::Deliveries(count) => {
                write!(
                    f,
                    "{count} queued or inflight deliveries are lost: their messages were in what is damaged"
                )
            }
            Self::Retained(count) => {
                write!(f, "up to {count} Retained Messages are lost: they were in what is damaged")
            }
            Self::More(count) => write!(f, "{count} more damaged places, not named"),
        }
    }
}

/// What a recovery read and found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Files that were read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames in them.
    pub frames: u64,
    /// Entries in these.
    pub entries: u64,
    /// Sessions restored.
    pub sessions: u64,
    /// Their subscriptions.
    pub subscriptions: u64,
    /// Deliveries that wait or are inflight.
    pub deliveries: u64,
    /// Retained Messages.
    pub retained: u64,
    /// Wills of ended sessions that are still to be published.
    pub wills: u64,
    /// What did not come back, and why.
    pub outcome: ReplayOutcome,
    /// How long nobody was there, as far as is known.
    pub away: Duration,
    /// What is not as it should be, in the order of the files.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Findings that are named each: nobody reads more lines.
    pub const FINDINGS_MAX: usize = 200;

    /// Whether something that was acknowledged may be lost.
    pub fn is_damaged(&self) -> bool {
        self.findings.iter().any(Finding::is_damage)
    }
}

impl fmt::Display for Report {
    /// One line: the sums.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, bytes, sessions, subscriptions, deliveries, retained, wills, .. } = self;
        write!(
            f,
            "{sessions} sessions, {subscriptions} subscriptions, {deliveries} queued messages, {retained} retained, \
             {wills} Wills due, from {bytes} bytes in {files} files"
        )?;
        let ReplayOutcome { uncommitted, messages_expired, sessions_expired, .. } = self.outcome;
        for (count, what) in [
            (sessions_expired, "sessions had expired"),
            (messages_expired, "messages had expired"),
            (uncommitted, "deliveries were never acknowledged"),
        ] {
            if count > 0 {
                write!(f, "; {count} {what}")?;
            }
        }
        Ok(())
    }
}
