//! Reads a journal: which files count, what they hold, where they end; goes on behind damage, and refuses only where that would
//! lose what may still be brought back.

use std::io;
use std::time::{Duration, Instant};

use super::disk::Disk;
use super::entry::{Entry, EntryError, varint};
use super::frame::{Damage, FrameKey};
use super::marks::{CLOCK_FILE, ClockFile, Clocks, SIGN_OF_LIFE_MS, decode_clock_file, journal_now};
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
        next_frame: None,
        clock: written_clock(disk, newest.store_id),
        end: JournalEnd {
            base: newest.base,
            generation: survey.generation,
            next_frame: survey.next_frame,
            damaged: survey.damaged.clone(),
            accepted_before: newest.accepted_before,
            ..JournalEnd::fresh(newest.store_id, newest.user_key)
        },
        findings: survey.findings.clone(),
        unnamed: 0,
        accepts_now: survey.accepts_now,
    };
    for (at, segment) in survey.segments.iter().enumerate() {
        reading.segment(segment, survey.segments.get(at + 1))?;
    }
    let files = survey.segments.len() as u64;
    Ok(reading.finish(files, &newest, now))
}

/// The header of the segment right after one.
fn follower(segment: &Segment, next: Option<&Segment>) -> Option<SegmentHeader> {
    next.filter(|next| next.seq == segment.seq + 1)?.header.ok()
}

/// The last sign of life, if it is there and whole.
fn written_clock<D: Disk>(disk: &D, store_id: u64) -> Option<ClockFile> {
    decode_clock_file(store_id, &disk.read(CLOCK_FILE, 0, CLOCK_FILE_BYTES_MAX).ok()?)
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
    /// The segment that comes next if none is missing, and the number of its first frame if none is lost.
    next_frame: Option<(u64, u64)>,
    clock: Option<ClockFile>,
    end: JournalEnd,
    findings: Vec<Finding>,
    /// Findings that are not named.
    unnamed: u64,
    accepts_now: bool,
}

impl<'d, D: Disk> Reading<'d, '_, D> {
    /// Reads one; `next`: the one that is read after it.
    fn segment(&mut self, segment: &Segment, next: Option<&Segment>) -> Result<(), RecoverError> {
        let name = segment_name(segment.seq);
        if let Err(error) = segment.header {
            self.findings.push(Finding::Header { file: name.clone(), error });
            self.note_damaged(segment.seq);
        }
        self.end.last = segment.seq;
        self.end.bytes += segment.len;
        let read = match self.reader(segment, &name, next) {
            Ok(mut reader) => {
                let is_whole = follower(segment, next).is_some_and(|after| segment.len >= after.previous_len);
                let read = self.pieces(&mut reader, (segment.seq, &name), next.is_none(), is_whole);
                self.end.last_len = reader.good_end();
                self.end.next_frame = self.end.next_frame.max(reader.next_frame());
                self.next_frame = Some((segment.seq + 1, reader.next_frame()));
                read.map_err(|error| (reader.offset(), error))
            }
            Err(error) => Err((0, error)),
        };
        self.ticker.before += segment.len;
        match read {
            Ok(()) => Ok(()),
            Err((offset, error)) if self.accept_damage => {
                let why = format!("can't be read from offset {offset} on: {error}");
                self.findings.push(Finding::Missing { file: name, why });
                self.note_damaged(segment.seq);
                (self.accepts_now, self.next_frame) = (true, None);
                Ok(())
            }
            Err((_, error)) => Err(RecoverError::Unreadable { file: name, error }),
        }
    }

    /// A reader that knows which of the segment's frames had been synced.
    fn reader(
        &self,
        segment: &Segment,
        name: &str,
        next: Option<&Segment>,
    ) -> io::Result<SegmentReader<'d, D>> {
        // Without a key nothing is found in it: all of it is damage.
        let key = segment.key.unwrap_or_else(|| FrameKey::new(0, 0, 0));
        let first_frame = match (segment.header, self.next_frame) {
            // How many are lost before the first one that was found says where the segment before ended.
            (Err(_), Some((seq, frame))) if seq == segment.seq => frame,
            _ => segment.first_frame,
        };
        Ok(match (follower(segment, next), next) {
            (Some(after), _) => {
                let end = after.previous_len.min(segment.len);
                SegmentReader::with_synced(self.disk, name, key, first_frame, end, after.first_frame)
            }
            // All of it had been synced before a later one was begun; how much that was nobody knows.
            (None, Some(_)) => SegmentReader::new(self.disk, name, key, first_frame, segment.len),
            (None, None) => {
                let synced = self.clock.map_or(0, |clock| clock.synced_before);
                SegmentReader::newest(self.disk, name, key, first_frame, segment.len, synced)?
            }
        })
    }

    fn pieces(
        &mut self,
        reader: &mut SegmentReader<'d, D>,
        (seq, name): (u64, &str),
        is_last: bool,
        is_whole: bool,
    ) -> io::Result<()> {
        while let Some(piece) = reader.next()? {
            let file = || name.to_owned();
            match piece {
                Piece::Frame { number, offset, body, .. } => {
                    self.frames += 1;
                    if let Err(error) = self.frame(body) {
                        self.find(Finding::Entry { file: file(), offset, frame: number, error });
                        self.note_damaged(seq);
                    }
                    if self.frames.is_multiple_of(FRAMES_PER_LOOK) {
                        self.ticker.tick(offset, self.replay.sessions());
                    }
                }
                // Numbers were skipped: those of an attempt to mend that was left out.
                Piece::Damage(damage) if is_whole && damage.len == 0 => {}
                Piece::Damage(damage) if is_last && damage.is_torn() => {
                    let Damage { offset, len, .. } = damage;
                    self.findings.push(Finding::TornTail { file: file(), offset, len });
                }
                Piece::Damage(damage) => {
                    self.find(Finding::Damage { file: file(), damage });
                    self.note_damaged(seq);
                }
            }
        }
        Ok(())
    }

    fn frame(&mut self, mut body: &[u8]) -> Result<(), EntryError> {
        let time = Timestamp(varint(&mut body)?);
        self.replay.note_time(time);
        while !body.is_empty() {
            self.replay.apply(time, &Entry::decode(&mut body)?);
        }
        Ok(())
    }

    fn find(&mut self, finding: Finding) {
        if self.findings.len() < Report::FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.unnamed += 1;
        }
    }

    fn note_damaged(&mut self, seq: u64) {
        if !self.end.damaged.contains(&seq) {
            self.end.damaged.push(seq);
        }
    }

    fn finish(mut self, files: u64, newest: &SegmentHeader, now: Clocks) -> (Restored, JournalEnd, Report) {
        let carried = newest.mark.carried_to(self.replay.last_time());
        let written = self.clock.map(|clock| clock.mark);
        let last = written.filter(|mark| mark.journal >= carried.journal).unwrap_or(carried);
        let journal = journal_now(last, now);
        let entries = self.replay.entries();
        // It may have lived until the next sign was due: no session may end before its time [MQTT-3.1.2-23].
        let gone_at = last.journal.plus_ms(SIGN_OF_LIFE_MS).min(journal);
        let (mut restored, outcome) = self.replay.finish(journal, gone_at);
        restored.user_key = newest.user_key;
        if self.unnamed > 0 {
            self.findings.push(Finding::More(self.unnamed));
        }
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

#[cfg(test)]
mod tests;
