//! Reads a journal: which files count, what they hold, where they end; goes on behind damage, and refuses only where that would
//! lose what may still be brought back.

use std::io;
use std::time::{Duration, Instant};

use super::disk::Disk;
use super::entry::{Entry, EntryError, varint};
use super::frame::{Damage, FrameKey};
use super::marks::{CLOCK_FILE, Clocks, decode_clock_file, journal_now};
use super::replay::Replay;
use super::report::{Finding, Report};
use super::restored::{Restored, RestoredSession};
use super::segment::{HeaderError, JournalEnd, Piece, SegmentHeader, SegmentReader, segment_name};
use super::survey::{Segment, Survey};
use crate::clock::Timestamp;

/// Between two calls of `progress`.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);
/// Frames between two looks at the clock.
const FRAMES_PER_LOOK: u64 = 256;
/// More than a clock file has.
const CLOCK_FILE_BYTES_MAX: usize = 4096;

/// How to recover.
#[derive(Debug, Clone, Copy, Default)]
pub struct RecoverOptions {
    /// Go on without files that are missing or can't be read.
    pub accept_damage: bool,
    /// Identity of the store if the folder has no journal; random.
    pub store_id: u64,
    /// Key of the hashes of User Names if the folder has no journal; random.
    pub user_key: u64,
}

/// How far a recovery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes read.
    pub bytes: u64,
    /// Bytes that there are.
    pub total: u64,
    /// Sessions so far.
    pub sessions: u64,
}

/// What mends a journal with a gap.
const MEND: &str = "bring the file back (from a backup), or start once with `--set storage.accept_damage=true` to go on without \
                    what it holds";

/// Why a journal is not read.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The folder can't be read.
    #[error("the journal's folder can't be read: {0}")]
    Folder(io::Error),
    /// A file that recovery needs is not there.
    #[error("{0}: is missing, and the journal can't be read whole without it; {MEND}")]
    Missing(String),
    /// A file that recovery needs can't be read.
    #[error("{file}: can't be read: {error}; {MEND}")]
    Unreadable {
        /// Which.
        file: String,
        /// Why.
        error: io::Error,
    },
    /// A file that is another store's, or not in its place.
    #[error("{0}: belongs to another journal or place in it; {MEND}")]
    Foreign(String),
    /// A later Myriad wrote it.
    #[error("{file}: {error}; start the Myriad that wrote it, or a later one")]
    Newer {
        /// Which.
        file: String,
        /// What is known of it.
        error: HeaderError,
    },
    /// No file has a header that tells what the journal is.
    #[error("{file}: {error}, and no other file tells what the journal is; {MEND}")]
    Header {
        /// The newest.
        file: String,
        /// What is wrong with it.
        error: HeaderError,
    },
}

/// Reads the journal in `disk`: the state, where the writer goes on, and what was found on the way. `now`: the machine's clocks.
/// Changes nothing on the disk. `progress` is called five times a second at most.
///
/// # Errors
/// The journal can't be read whole, and what is missing may still be brought back; see [`RecoverError`].
pub fn recover<D: Disk>(
    disk: &D,
    now: Clocks,
    options: &RecoverOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Restored, JournalEnd, Report), RecoverError> {
    let survey = Survey::take(disk, options.accept_damage)?;
    let Some(newest) = survey.newest else {
        return Ok(nothing(survey, options));
    };
    let total = survey.segments.iter().map(|segment| segment.len).sum();
    let mut reading = Reading {
        disk,
        accept_damage: options.accept_damage,
        replay: Replay::default(),
        ticker: Ticker { call: progress, last: Instant::now(), before: 0, total },
        frames: 0,
        last: None,
        end: JournalEnd {
            base: newest.base,
            generation: survey.generation,
            next_frame: survey.next_frame,
            damaged: survey.damaged.clone(),
            accepted_before: newest.accepted_before,
            ..JournalEnd::fresh(newest.store_id, newest.user_key)
        },
        findings: survey.findings.clone(),
        accepts_now: survey.accepts_now,
    };
    for segment in &survey.segments {
        reading.segment(segment, survey.ends.get(&segment.seq).copied())?;
    }
    reading.settle_last(None);
    let files = survey.segments.len() as u64;
    Ok(reading.finish(files, &newest, now))
}

/// An empty state, of a folder without a journal.
fn nothing(survey: Survey, options: &RecoverOptions) -> (Restored, JournalEnd, Report) {
    let (restored, _) = Replay::default().finish(Timestamp::default(), Timestamp::default());
    let end = JournalEnd { damaged: survey.damaged, ..JournalEnd::fresh(options.store_id, options.user_key) };
    let report = Report { findings: survey.findings, ..Report::default() };
    (Restored { user_key: options.user_key, ..restored }, end, report)
}

/// Says how far it is, not too often.
struct Ticker<'p> {
    call: &'p mut dyn FnMut(Progress),
    last: Instant,
    /// Bytes of the files before the one that is being read.
    before: u64,
    total: u64,
}

impl Ticker<'_> {
    fn tick(&mut self, offset: u64, sessions: usize) {
        if self.last.elapsed() >= PROGRESS_EVERY {
            self.last = Instant::now();
            let sessions = sessions as u64;
            (self.call)(Progress { bytes: self.before + offset, total: self.total, sessions });
        }
    }
}

/// A journal while it is read.
struct Reading<'d, 'p, D> {
    disk: &'d D,
    accept_damage: bool,
    replay: Replay,
    ticker: Ticker<'p>,
    frames: u64,
    /// The segment that was read last.
    last: Option<Last>,
    end: JournalEnd,
    findings: Vec<Finding>,
    accepts_now: bool,
}

/// How a segment ended.
struct Last {
    seq: u64,
    /// Behind the last good frame.
    good_end: u64,
    /// Bytes behind that: no frame, or not there.
    tail_len: u64,
    /// A later header says where it ends: a tail is damage. Else a crash may have interrupted a write.
    is_end_known: bool,
    /// Number of the frame that should come next.
    next_frame: u64,
}

impl<'d, D: Disk> Reading<'d, '_, D> {
    /// Reads one; `end`: how many of its bytes count, by the header of the one after it.
    fn segment(&mut self, segment: &Segment, end: Option<u64>) -> Result<(), RecoverError> {
        let name = segment_name(segment.seq);
        let first_frame = segment.header.ok().map(|header| header.first_frame);
        self.settle_last(first_frame.map(|first| (segment.seq, first)));
        if let Err(error) = segment.header {
            self.findings.push(Finding::Header { file: name.clone(), error });
            self.note_damaged(segment.seq);
        }
        let first_frame = first_frame.unwrap_or(self.end.next_frame);
        // Without a key nothing is found in it: all of it is damage.
        let key = segment.key.unwrap_or_else(|| FrameKey::new(0, 0, 0));
        let stop = end.unwrap_or(segment.len).min(segment.len);
        let mut reader = SegmentReader::new(self.disk, &name, key, first_frame, stop);
        let read = self.pieces(&mut reader, segment.seq, &name);
        self.end.last = segment.seq;
        self.end.last_len = reader.good_end();
        self.end.bytes += segment.len;
        self.end.next_frame = self.end.next_frame.max(reader.next_frame());
        self.ticker.before += segment.len;
        match read {
            Ok(()) => {
                let good_end = reader.good_end();
                self.last = Some(Last {
                    seq: segment.seq,
                    good_end,
                    tail_len: end.unwrap_or(stop).max(stop).saturating_sub(good_end),
                    is_end_known: end.is_some(),
                    next_frame: reader.next_frame(),
                });
            }
            Err(error) if self.accept_damage => {
                let why = format!("can't be read from offset {} on: {error}", reader.offset());
                self.findings.push(Finding::Missing { file: name, why });
                self.note_damaged(segment.seq);
                self.accepts_now = true;
                self.last = None;
            }
            Err(error) => return Err(RecoverError::Unreadable { file: name, error }),
        }
        Ok(())
    }

    fn pieces(&mut self, reader: &mut SegmentReader<'d, D>, seq: u64, name: &str) -> io::Result<()> {
        while let Some(piece) = reader.next()? {
            match piece {
                Piece::Frame { number, offset, body } => {
                    self.frames += 1;
                    if let Err(error) = self.frame(body) {
                        let file = name.to_owned();
                        self.findings.push(Finding::Entry { file, offset, frame: number, error });
                        self.note_damaged(seq);
                    }
                    if self.frames.is_multiple_of(FRAMES_PER_LOOK) {
                        self.ticker.tick(offset, self.replay.sessions());
                    }
                }
                // Whether it is a loss is known when the next header is.
                Piece::Damage(Damage { is_tail: true, .. }) => {}
                Piece::Damage(damage) => {
                    self.findings.push(Finding::Damage { file: name.to_owned(), damage });
                    self.note_damaged(seq);
                }
            }
        }
        Ok(())
    }

    fn frame(&mut self, mut body: &[u8]) -> Result<(), EntryError> {
        let time = Timestamp(varint(&mut body)?);
        while !body.is_empty() {
            self.replay.apply(time, &Entry::decode(&mut body)?);
        }
        Ok(())
    }

    /// Judges the end of the segment that was read last. `next`: which segment follows, and the number of its first frame.
    fn settle_last(&mut self, next: Option<(u64, u64)>) {
        let Some(last) = self.last.take() else { return };
        let follows = next.filter(|(seq, _)| *seq == last.seq + 1);
        let frames_lost = follows.map_or(0, |(_, first)| first.saturating_sub(last.next_frame));
        if last.tail_len == 0 && frames_lost == 0 {
            return;
        }
        let (file, offset, len) = (segment_name(last.seq), last.good_end, last.tail_len);
        if next.is_none() && !last.is_end_known {
            self.findings.push(Finding::TornTail { file, offset, len });
            return;
        }
        let damage = Damage { offset, len, first_lost: last.next_frame, frames_lost, is_tail: true };
        self.findings.push(Finding::Damage { file, damage });
        self.note_damaged(last.seq);
    }

    fn note_damaged(&mut self, seq: u64) {
        if !self.end.damaged.contains(&seq) {
            self.end.damaged.push(seq);
        }
    }

    fn finish(mut self, files: u64, newest: &SegmentHeader, now: Clocks) -> (Restored, JournalEnd, Report) {
        let carried = newest.mark.carried_to(self.replay.last_time());
        let written = self.disk.read(CLOCK_FILE, 0, CLOCK_FILE_BYTES_MAX).ok();
        let written = written.and_then(|bytes| decode_clock_file(newest.store_id, &bytes));
        let last = written.filter(|mark| mark.journal >= carried.journal).unwrap_or(carried);
        let journal = journal_now(last, now);
        let entries = self.replay.entries();
        let (mut restored, outcome) = self.replay.finish(journal, last.journal);
        restored.user_key = newest.user_key;
        if outcome.deliveries_lost > 0 {
            self.findings.push(Finding::Deliveries(outcome.deliveries_lost));
        }
        let is_damaged = self.findings.iter().any(Finding::is_damage);
        if outcome.retained_lost > 0 && is_damaged {
            self.findings.push(Finding::Retained(outcome.retained_lost));
        }
        if self.accepts_now {
            self.end.accepted_before = self.end.last + 1;
        }
        let sum =
            |count: fn(&RestoredSession) -> usize| restored.sessions.iter().map(count).sum::<usize>() as u64;
        let report = Report {
            files,
            bytes: self.end.bytes,
            frames: self.frames,
            entries,
            sessions: restored.sessions.len() as u64,
            subscriptions: sum(|session| session.subscriptions.len()),
            deliveries: sum(|session| session.mqueue.len() + session.inflight.len()),
            retained: restored.retained.len() as u64,
            wills: restored.wills.len() as u64,
            outcome,
            away: Duration::from_millis(journal.ms_since(last.journal)),
            findings: self.findings,
        };
        (restored, self.end, report)
    }
}
