//! What the writer does between batches: the next segment, checkpoints, old segments, mending after a failure, the clock
//! file, and what a backup reads. One thing a call, so that no batch waits for more than one of them.

use std::io;

use super::{Health, JournalWriter, Outcome, Running, StateChange, Statistics};
use crate::storage::disk::Disk;
use crate::storage::marks::{CLOCK_FILE, ClockFile, Mark, encode_clock_file};
use crate::storage::segment::segment_name;

/// Time between two attempts to mend; doubled while checkpoints of attempts fail, because each is much work.
pub(super) const RETRY_MS_MIN: u64 = 1000;
const RETRY_MS_MAX: u64 = 16_000;

/// A checkpoint that mends and gets nothing for so long has failed: shards are asked anew.
const MENDING_MS_MAX: u64 = 30_000;

/// After this time without an append a checkpoint may halve what is on disk.
const IDLE_MS: u64 = 5000;
/// Less than this is not worth it.
const IDLE_BYTES_MIN: u64 = 1024 * 1024;

/// Headers that must name a base before what lies before it is removed.
const BASE_HEADERS_MIN: u32 = 2;

/// What the clock file is called until it is whole.
const NEW_CLOCK_FILE: &str = "clock.new";

impl<D: Disk> JournalWriter<D> {
    /// Does the most urgent thing that is due, if there is one.
    pub fn maintain(&mut self, mark: Mark) -> Outcome {
        let mut outcome = Outcome::default();
        let done = match self.health {
            Health::Down if mark.clocks.boot_ms >= self.retry_at_ms => self.mend(mark, &mut outcome),
            Health::Down => Ok(()),
            Health::Up | Health::Mending => self.maintain_open(mark, &mut outcome),
        };
        match done {
            Ok(()) => self.report(&mut outcome),
            Err(error) => self.fail(&error, mark, &mut outcome),
        }
        outcome
    }

    fn maintain_open(&mut self, mark: Mark, outcome: &mut Outcome) -> io::Result<()> {
        let now_ms = mark.clocks.boot_ms;
        if self.is_complete() {
            return self.complete_checkpoint(mark, outcome);
        }
        if let Some(running) = self.running.as_mut().filter(|running| running.wants_fence()) {
            running.fenced = Some(vec![false; running.imaged.len()]);
            outcome.fence = Some(running.generation);
            return Ok(());
        }
        if self.gives_up_at().is_some_and(|due| now_ms >= due) {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "images of what the shards have did not come",
            ));
        }
        if self.sync_due_ms.is_some_and(|due| now_ms >= due) {
            return self.sync();
        }
        if self.wants_checkpoint(now_ms) {
            outcome.checkpoint = Some(self.begin_checkpoint(mark)?);
            return Ok(());
        }
        if self.open.as_ref().is_some_and(|open| open.len >= self.options.segment_bytes) {
            self.sync()?;
            return self.begin_segment(self.base, mark);
        }
        if self.needs_another_header() {
            self.sync()?;
            return self.begin_segment(self.base, mark);
        }
        if let Some(seq) = self.obsolete() {
            self.sealed.remove(&seq);
            // It is of no use, but does no harm; the next start tries again.
            if let Err(error) = self.put_away(seq) {
                self.statistics.left_files += 1;
                outcome.warning = Some(format!("an old file of the journal can't be put away: {error}"));
            }
        }
        Ok(())
    }

    /// When `maintain` or `commit` is to be called at the latest, by the mark's CLOCK_BOOTTIME, ms; the past means now.
    pub fn wake_at(&self) -> Option<u64> {
        if self.health == Health::Down {
            return Some(self.retry_at_ms);
        }
        let is_full = self.open.as_ref().is_some_and(|open| open.len >= self.options.segment_bytes);
        if is_full
            || self.needs_another_header()
            || self.is_complete()
            || self.running.as_ref().is_some_and(Running::wants_fence)
            || self.obsolete().is_some()
            || self.wants_checkpoint(0)
        {
            return Some(0);
        }
        let idle_at = self.is_worth_an_idle_checkpoint().then(|| self.last_append_ms + IDLE_MS);
        self.sync_due_ms.into_iter().chain(idle_at).chain(self.gives_up_at()).min()
    }

    /// When an attempt to mend counts as failed if nothing comes.
    fn gives_up_at(&self) -> Option<u64> {
        (self.health == Health::Mending).then(|| self.last_append_ms.saturating_add(MENDING_MS_MAX))
    }

    /// All images are written, and all that they name.
    fn is_complete(&self) -> bool {
        self.batch.is_empty() && self.running.as_ref().is_some_and(Running::is_complete)
    }

    /// Old segments never take more than half of what the last images took, or of what makes a checkpoint worth its work. While
    /// the next images are written that comes to at most 2.5 times the live state.
    fn wants_checkpoint(&self, now_ms: u64) -> bool {
        if self.running.is_some() || self.health != Health::Up {
            return false;
        }
        let is_idle = now_ms >= self.last_append_ms.saturating_add(IDLE_MS);
        self.since_bytes > self.options.checkpoint_bytes_min.max(self.image_bytes / 2)
            || is_idle && self.is_worth_an_idle_checkpoint()
    }

    fn is_worth_an_idle_checkpoint(&self) -> bool {
        self.running.is_none()
            && self.health == Health::Up
            && self.since_bytes > self.image_bytes.max(IDLE_BYTES_MIN)
    }

    /// Begins a segment and a checkpoint, whose number it returns. The base stays until it is complete.
    pub(super) fn begin_checkpoint(&mut self, mark: Mark) -> io::Result<u64> {
        self.sync()?;
        self.generation += 1;
        self.begin_segment(self.base, mark)?;
        let first = self.newest();
        let imaged = vec![false; usize::from(self.options.shards)];
        self.running = Some(Running { generation: self.generation, first, imaged, fenced: None });
        Ok(self.generation)
    }

    /// Makes the segments before the images useless: the next header says that recovery begins with the images.
    fn complete_checkpoint(&mut self, mark: Mark, outcome: &mut Outcome) -> io::Result<()> {
        let Some(first) = self.running.as_ref().map(|running| running.first) else { return Ok(()) };
        self.sync()?;
        // From here on what was written since the failure counts: if the next header outlasts a crash.
        let mending_since = std::mem::take(&mut self.mending_since);
        self.begin_segment(first, mark).inspect_err(|_| self.mending_since = mending_since)?;
        self.running = None;
        self.image_bytes = self.sealed.range(first..).map(|(_, len)| len).sum();
        self.since_bytes = 0;
        self.statistics.checkpoints += 1;
        if self.health != Health::Up {
            self.health = Health::Up;
            self.durable_before = self.synced_before;
            self.retry_ms = RETRY_MS_MIN;
            outcome.state = Some(StateChange::Up);
        }
        Ok(())
    }

    /// Tries to write again: the shards' memory, from the beginning.
    fn mend(&mut self, mark: Mark, outcome: &mut Outcome) -> io::Result<()> {
        if self.mending_since == 0 {
            self.mending_since = self.newest() + 1;
        }
        outcome.checkpoint = Some(self.begin_checkpoint(mark)?);
        self.health = Health::Mending;
        self.last_append_ms = mark.clocks.boot_ms;
        // Of what was refused nobody has to hear: it is nowhere.
        self.tickets.iter_mut().for_each(|tickets| tickets.written = tickets.issued);
        Ok(())
    }

    /// Removes what attempts to mend have written: it does not count, and the next one needs the space. What can't be removed stays
    /// until one succeeds.
    pub(super) fn forget_attempt(&mut self) {
        self.retry_ms = (self.retry_ms * 2).min(RETRY_MS_MAX);
        // A header that was to complete the attempt may lie behind it, and would make it the base.
        let half_made = self.disk.remove(&segment_name(self.newest() + 1));
        if matches!(&half_made, Err(error) if error.kind() != io::ErrorKind::NotFound)
            || self.disk.sync_names().is_err()
        {
            return;
        }
        let attempts: Vec<u64> = self.sealed.range(self.mending_since..).map(|(seq, _)| *seq).collect();
        for seq in attempts.into_iter().rev() {
            if self.disk.remove(&segment_name(seq)).is_err() {
                return;
            }
            self.sealed.remove(&seq);
        }
        // A removal that a crash undoes does no harm, and the next header's sync makes it last.
        let _ = self.disk.sync_names();
    }

    /// The oldest segment that is to be removed.
    fn obsolete(&self) -> Option<u64> {
        let oldest = self.sealed.first_key_value().map(|(seq, _)| *seq);
        oldest.filter(|seq| *seq < self.base && self.pins == 0 && self.base_headers >= BASE_HEADERS_MIN)
    }

    /// Segments could be removed, but only one header says that they are of no use: if that were damaged, the one before it would ask
    /// for them.
    fn needs_another_header(&self) -> bool {
        let has_old = self.sealed.first_key_value().is_some_and(|(seq, _)| *seq < self.base);
        has_old && self.base_headers < BASE_HEADERS_MIN
    }

    /// Number of the last segment that counts.
    fn newest(&self) -> u64 {
        let sealed = || self.sealed.last_key_value().map_or(0, |(seq, _)| *seq);
        self.open.as_ref().map_or_else(sealed, |open| open.seq)
    }

    /// Syncs everything and leaves a mark: the last call.
    pub fn close(&mut self, mark: Mark) -> Outcome {
        let mut outcome = self.commit(mark);
        match self.sync() {
            Ok(()) => self.report(&mut outcome),
            Err(error) => self.fail(&error, mark, &mut outcome),
        }
        if let Err(error) = self.write_clock(mark) {
            outcome.warning = Some(format!("the clock file can't be written: {error}"));
        }
        outcome
    }

    /// Leaves a sign of life, which need not outlast a loss of power.
    ///
    /// # Errors
    /// It can't be written. The one before may be there still; nothing depends on it.
    pub fn write_clock(&mut self, mark: Mark) -> io::Result<()> {
        let mut created = self.disk.create(NEW_CLOCK_FILE);
        if matches!(&created, Err(error) if error.kind() == io::ErrorKind::AlreadyExists) {
            self.disk.remove(NEW_CLOCK_FILE)?;
            created = self.disk.create(NEW_CLOCK_FILE);
        }
        let clock = ClockFile { mark, synced_before: self.durable_before };
        self.disk.append(&mut created?, &[&encode_clock_file(self.store_id, clock)])?;
        self.disk.rename(NEW_CLOCK_FILE, CLOCK_FILE)
    }

    /// Files and how many bytes of each make a whole journal now. They stay until `unpin`.
    pub fn pin(&mut self) -> Vec<(String, u64)> {
        self.pins += 1;
        // Attempts to mend do not count, and may go at any time.
        let end = if self.mending_since == 0 { u64::MAX } else { self.mending_since };
        let sealed = self.sealed.range(self.base..end).map(|(seq, len)| (*seq, *len));
        let open = self.open.as_ref().map(|open| (open.seq, open.synced)).filter(|(seq, _)| *seq < end);
        sealed.chain(open).map(|(seq, len)| (segment_name(seq), len)).collect()
    }

    /// What `pin` named may go.
    pub fn unpin(&mut self) {
        self.pins = self.pins.saturating_sub(1);
    }

    /// Counts and state.
    pub fn statistics(&self) -> Statistics {
        let open = self.open.as_ref();
        Statistics {
            base: self.base,
            newest: self.newest(),
            segments: self.sealed.len() as u64 + open.map_or(0, |_| 1),
            disk_bytes: self.sealed.values().sum::<u64>() + open.map_or(0, |open| open.len),
            image_bytes: self.image_bytes,
            since_bytes: self.since_bytes,
            generation: self.generation,
            is_checkpointing: self.running.is_some(),
            is_down: self.health != Health::Up,
            ..self.statistics.clone()
        }
    }
}
