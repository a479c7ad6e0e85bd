//! The writer of the journal: a state machine over a disk, without a thread or clock.
//!
//! Order of calls: `append`, `imaged` and `fenced` for what the shards sent, `commit` once for all of it, then `maintain` until nothing
//! is due; again at `wake_at` at the latest. What a call returns is for the shards. After a failure (`Down`) nothing that was
//! not synced before is ever reported from what lies on disk: the shards' memory is written anew, as a checkpoint, and only
//! when that is complete and synced, `Up`, are tickets reported again.

mod split;
mod statistics;
#[cfg(test)]
mod tests;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Instant;

pub use self::statistics::Statistics;
use super::disk::Disk;
use super::frame::{FRAME_BODY_MAX, FRAME_HEADER_LEN, FrameKey, frame_header};
use super::marks::Mark;
use super::segment::{
    JournalEnd, SEGMENT_HEADER_LEN, SegmentHeader, damaged_name, segment_name, segment_seq,
};

/// Longest time from an append that nobody waits for to its sync, ms.
const UNAWAITED_MS: u32 = 10;

/// How the writer writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterOptions {
    /// Shards that write.
    pub shards: u16,
    /// Bytes of a segment, after which the next one begins.
    pub segment_bytes: u64,
    /// Longest time from an append to its sync, ms, where tickets are reported before it; `None`: they are reported after it.
    pub interval_ms: Option<u32>,
    /// A checkpoint is not worth its work before this many bytes have come since the last.
    pub checkpoint_bytes_min: u64,
}

impl WriterOptions {
    /// [`WriterOptions::checkpoint_bytes_min`] of a broker.
    pub const CHECKPOINT_BYTES_MIN: u64 = 64 * 1024 * 1024;
}

/// Why nothing is durable any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DownReason {
    /// No space is left, or no more is allowed.
    Full,
    /// Something else: the disk fails.
    Failed,
}

/// A change that all shards are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateChange {
    /// Tickets are reported again: all that were issued up to now, too.
    Up,
    /// No ticket is reported any more. Also after each attempt to mend that failed, whose images are of no use.
    Down {
        /// Why.
        reason: DownReason,
        /// What the system said, for the log.
        error: String,
        /// It was said before, and nothing has been `Up` since.
        is_again: bool,
    },
}

/// What a call has for the shards.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// For all shards, before anything else of this.
    pub state: Option<StateChange>,
    /// The highest ticket of a shard that is durable; a shard whose has not changed is not named.
    pub durable: Vec<(u16, u64)>,
    /// While a checkpoint mends: the highest ticket of a shard that is written, which promises nothing; as above.
    pub written: Vec<(u16, u64)>,
    /// For all shards: write images of everything; earlier checkpoints are void.
    pub checkpoint: Option<u64>,
    /// For all shards: all images of this checkpoint are there, and may name what other shards have not handed in yet; so each calls
    /// `fenced` when it has.
    pub fence: Option<u64>,
    /// For the log: what went wrong without harm to anyone.
    pub warning: Option<String>,
}

impl Outcome {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The segment that is written to.
#[derive(Debug)]
struct OpenSegment<F> {
    file: F,
    seq: u64,
    key: FrameKey,
    /// Bytes that were appended.
    len: u64,
    /// Bytes that are durable.
    synced: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Tickets {
    issued: u64,
    reported: u64,
    /// Reported as written only.
    written: u64,
}

/// A checkpoint that is under way.
#[derive(Debug)]
struct Running {
    generation: u64,
    /// Its first segment: the base when it is complete.
    first: u64,
    /// Which shards have written all their images.
    imaged: Vec<bool>,
    /// Since all have: which have handed in what they had then.
    fenced: Option<Vec<bool>>,
}

impl Running {
    fn wants_fence(&self) -> bool {
        self.fenced.is_none() && self.imaged.iter().all(|imaged| *imaged)
    }

    fn is_complete(&self) -> bool {
        self.fenced.as_ref().is_some_and(|fenced| fenced.iter().all(|fenced| *fenced))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Up,
    /// No segment is open.
    Down,
    /// A checkpoint that mends is under way.
    Mending,
}

/// See the module.
#[derive(Debug)]
pub struct JournalWriter<D: Disk> {
    disk: D,
    options: WriterOptions,
    store_id: u64,
    user_key: u64,
    accepted_before: u64,
    damaged: BTreeSet<u64>,
    base: u64,
    /// Headers that name it.
    base_headers: u32,
    generation: u64,
    open: Option<OpenSegment<D::File>>,
    /// All other segments, with the bytes that count; those before `base` are about to be removed.
    sealed: BTreeMap<u64, u64>,
    next_frame: u64,
    /// All frames with lower numbers were synced.
    synced_before: u64,
    /// The same, of those that count after a crash.
    durable_before: u64,
    /// The first segment after a failure that is not mended yet ([`SegmentHeader::mending_since`]), or 0.
    mending_since: u64,
    batch: Vec<Vec<u8>>,
    /// Somebody waits for something of it.
    is_awaited: bool,
    /// A longer body becomes several frames.
    body_max: usize,
    tickets: Vec<Tickets>,
    running: Option<Running>,
    /// Size of the last complete checkpoint.
    image_bytes: u64,
    /// Bytes since it was complete.
    since_bytes: u64,
    health: Health,
    /// When to try again, while down.
    retry_at_ms: u64,
    retry_ms: u64,
    last_append_ms: u64,
    /// When what was appended must be synced, where the interval counts.
    sync_due_ms: Option<u64>,
    /// Backups that read the segments, which stay for so long.
    pins: u32,
    statistics: Statistics,
}

impl<D: Disk> JournalWriter<D> {
    /// Begins to write where the reader found the end: a new segment, and a checkpoint unless the journal is new. On a full
    /// disk it begins `Down`.
    ///
    /// # Errors
    /// The folder can't be read or written to.
    pub fn open(disk: D, end: JournalEnd, options: WriterOptions, mark: Mark) -> io::Result<(Self, Outcome)> {
        let is_fresh = end.last == 0;
        let tickets = vec![Tickets::default(); usize::from(options.shards)];
        let mut writer = Self {
            disk,
            options,
            store_id: end.store_id,
            user_key: end.user_key,
            accepted_before: end.accepted_before,
            damaged: end.damaged.iter().copied().collect(),
            base: end.base.max(1),
            base_headers: u32::from(!is_fresh),
            generation: end.generation,
            open: None,
            sealed: BTreeMap::new(),
            next_frame: end.next_frame,
            synced_before: end.next_frame,
            durable_before: end.next_frame,
            mending_since: 0,
            batch: Vec::new(),
            is_awaited: false,
            body_max: FRAME_BODY_MAX,
            tickets,
            running: None,
            image_bytes: 0,
            since_bytes: if is_fresh { 0 } else { end.bytes },
            health: Health::Up,
            retry_at_ms: 0,
            retry_ms: upkeep::RETRY_MS_MIN,
            last_append_ms: mark.clocks.boot_ms,
            sync_due_ms: None,
            pins: 0,
            statistics: Statistics::default(),
        };
        writer.take_over(&end)?;
        let mut outcome = Outcome::default();
        let begun = if is_fresh {
            writer.generation += 1;
            writer.begin_segment(writer.base, mark)
        } else {
            writer.begin_checkpoint(mark).map(|generation| outcome.checkpoint = Some(generation))
        };
        match begun {
            Err(error) if down_reason(&error) == DownReason::Full => writer.fail(&error, mark, &mut outcome),
            begun => begun?,
        }
        Ok((writer, outcome))
    }

    /// Looks at what is there, and clears away what the reader found void.
    fn take_over(&mut self, end: &JournalEnd) -> io::Result<()> {
        let names = self.disk.list()?;
        let mut is_cleared = false;
        for seq in names.iter().filter_map(|name| segment_seq(name)) {
            if seq > end.last {
                self.put_away(seq)?;
                is_cleared = true;
            } else {
                let len = self.disk.len(&segment_name(seq))?;
                self.sealed.insert(seq, len);
            }
        }
        if end.last != 0 {
            self.sealed.insert(end.last, end.last_len);
            // What was read of it may be in memory only, if its writer was killed: but from now on it counts.
            self.disk.sync_existing(&segment_name(end.last))?;
        }
        if is_cleared { self.disk.sync_names() } else { Ok(()) }
    }

    /// Removes a segment, or renames it if something of it is damaged.
    fn put_away(&mut self, seq: u64) -> io::Result<()> {
        let name = segment_name(seq);
        if self.damaged.contains(&seq) {
            self.disk.rename(&name, &damaged_name(seq))
        } else {
            self.disk.remove(&name)
        }
    }

    /// Takes the body of a frame that `shard` wrote; an empty one only asks for a report. Tickets of a shard rise.
    pub fn append(&mut self, shard: u16, ticket: u64, body: Vec<u8>) {
        self.is_awaited = true;
        self.append_unawaited(shard, ticket, body);
    }

    /// The same for one that nobody waits for: it is synced with the next that somebody does, or soon.
    pub fn append_unawaited(&mut self, shard: u16, ticket: u64, body: Vec<u8>) {
        if let Some(tickets) = self.tickets.get_mut(usize::from(shard)) {
            tickets.issued = tickets.issued.max(ticket);
        }
        if self.open.is_none() {
            self.statistics.refused_frames += 1;
        } else if body.len() > self.body_max {
            self.batch.extend(split::split(&body, self.body_max));
        } else if !body.is_empty() {
            self.batch.push(body);
        }
    }

    /// `shard` has appended images of everything that it has, for checkpoint `generation`.
    pub fn imaged(&mut self, shard: u16, generation: u64) {
        let running = self.running.as_mut().filter(|running| running.generation == generation);
        if let Some(imaged) = running.and_then(|running| running.imaged.get_mut(usize::from(shard))) {
            *imaged = true;
        }
    }

    /// `shard` has appended, since it was asked by [`Outcome::fence`], what it had until then.
    pub fn fenced(&mut self, shard: u16, generation: u64) {
        let running = self.running.as_mut().filter(|running| running.generation == generation);
        let fenced = running.and_then(|running| running.fenced.as_mut());
        if let Some(fenced) = fenced.and_then(|fenced| fenced.get_mut(usize::from(shard))) {
            *fenced = true;
        }
    }

    /// Writes what was appended, syncs it unless nobody waits or the interval allows to do that later, and says what is durable.
    pub fn commit(&mut self, mark: Mark) -> Outcome {
        let mut outcome = Outcome::default();
        let is_awaited = std::mem::take(&mut self.is_awaited);
        let written = self.write(mark).and_then(|()| {
            let is_awaited = is_awaited && self.options.interval_ms.is_none();
            let is_due = self.sync_due_ms.is_none_or(|due| mark.clocks.boot_ms >= due);
            if is_awaited || is_due { self.sync() } else { Ok(()) }
        });
        match written {
            Ok(()) => self.report(&mut outcome),
            Err(error) => self.fail(&error, mark, &mut outcome),
        }
        outcome
    }

    /// Appends the batch to the segment.
    fn write(&mut self, mark: Mark) -> io::Result<()> {
        let batch = std::mem::take(&mut self.batch);
        let Some(open) = self.open.as_mut().filter(|_| !batch.is_empty()) else { return Ok(()) };
        let (synced, key) = (self.synced_before, open.key);
        let headers: Vec<[u8; FRAME_HEADER_LEN]> = (self.next_frame..)
            .zip(&batch)
            .map(|(number, body)| {
                frame_header(key, number, u32::try_from(number - synced).unwrap_or(u32::MAX), body)
            })
            .collect();
        let parts: Vec<&[u8]> =
            headers.iter().zip(&batch).flat_map(|(header, body)| [header.as_slice(), body]).collect();
        self.disk.append(&mut open.file, &parts)?;
        let bytes = parts.iter().map(|part| part.len() as u64).sum::<u64>();
        open.len += bytes;
        self.next_frame += batch.len() as u64;
        self.since_bytes += bytes;
        self.statistics.bytes += bytes;
        self.statistics.frames += batch.len() as u64;
        let now_ms = mark.clocks.boot_ms;
        self.last_append_ms = now_ms;
        let delay_ms = self.options.interval_ms.unwrap_or(UNAWAITED_MS);
        self.sync_due_ms.get_or_insert(now_ms + u64::from(delay_ms));
        Ok(())
    }

    /// Makes durable what was written.
    fn sync(&mut self) -> io::Result<()> {
        self.sync_due_ms = None;
        let Some(open) = self.open.as_mut().filter(|open| open.synced < open.len) else { return Ok(()) };
        let begun = Instant::now();
        self.disk.sync(&mut open.file)?;
        let us = begun.elapsed().as_micros() as u64;
        open.synced = open.len;
        self.synced_before = self.next_frame;
        if self.health == Health::Up {
            self.durable_before = self.next_frame;
        }
        self.statistics.syncs += 1;
        self.statistics.sync_us += us;
        self.statistics.sync_us_max = self.statistics.sync_us_max.max(us);
        Ok(())
    }

    /// Names the shards whose highest ticket has become durable; or been written, so that shards write on, while that is what mends.
    fn report(&mut self, outcome: &mut Outcome) {
        let is_synced = || self.open.as_ref().is_none_or(|open| open.synced == open.len);
        let is_early = self.options.interval_ms.is_some() || self.health == Health::Mending;
        if !self.batch.is_empty() || !(is_early || is_synced()) {
            return;
        }
        for (shard, tickets) in self.tickets.iter_mut().enumerate() {
            let (reported, told) = match self.health {
                Health::Up => (&mut tickets.reported, &mut outcome.durable),
                Health::Mending => (&mut tickets.written, &mut outcome.written),
                Health::Down => return,
            };
            if tickets.issued > *reported {
                *reported = tickets.issued;
                told.push((shard as u16, tickets.issued));
            }
        }
    }

    /// Begins the next segment: all of the one before must be synced. When this returns it will outlast a crash, and `base` counts.
    fn begin_segment(&mut self, base: u64, mark: Mark) -> io::Result<()> {
        let open = self.open.as_ref().map(|open| (open.seq, open.synced));
        let newest = open.or_else(|| self.sealed.last_key_value().map(|(seq, len)| (*seq, *len)));
        let (last, previous_len) = newest.unwrap_or((self.base - 1, 0));
        let header = SegmentHeader {
            seq: last + 1,
            base,
            generation: self.generation,
            store_id: self.store_id,
            user_key: self.user_key,
            first_frame: self.next_frame,
            previous_len,
            mending_since: self.mending_since,
            accepted_before: self.accepted_before,
            mark,
        };
        let name = segment_name(header.seq);
        let created = self.disk.create(&name).or_else(|error| {
            // An attempt that failed has left it; it counts for nothing.
            if error.kind() != io::ErrorKind::AlreadyExists {
                return Err(error);
            }
            self.disk.remove(&name)?;
            self.disk.create(&name)
        });
        let mut file = created?;
        self.disk.append(&mut file, &[&header.encode()])?;
        self.disk.sync(&mut file)?;
        self.disk.sync_names()?;
        let len = SEGMENT_HEADER_LEN as u64;
        let open = OpenSegment { file, seq: header.seq, key: header.key(), len, synced: len };
        if let Some(before) = self.open.replace(open) {
            self.sealed.insert(before.seq, before.synced);
        }
        self.base_headers = if base == self.base { self.base_headers + 1 } else { 1 };
        self.base = base;
        Ok(())
    }

    /// After a failed append, sync, or begin of a segment: what was not synced counts as lost, and its file is never touched again.
    fn fail(&mut self, error: &io::Error, mark: Mark, outcome: &mut Outcome) {
        self.batch.clear();
        self.is_awaited = false;
        self.running = None;
        self.sync_due_ms = None;
        if let Some(mut open) = self.open.take() {
            self.sealed.insert(open.seq, open.synced);
            // If this process is killed now the next one must not read what perhaps is in memory only. If it can't be cut, a loss of
            // power after that loses what nobody was promised.
            let _ = self.disk.cut(&mut open.file, open.synced);
        }
        let is_again = self.health == Health::Mending;
        if is_again {
            self.forget_attempt();
        }
        if self.health != Health::Down {
            self.statistics.failures += u64::from(!is_again);
            let reason = down_reason(error);
            outcome.state = Some(StateChange::Down { reason, error: error.to_string(), is_again });
            // What was durable before is so still, even if nobody was told: but nobody needs to know any more.
            outcome.durable.clear();
            outcome.written.clear();
        }
        (outcome.checkpoint, outcome.fence) = (None, None);
        self.health = Health::Down;
        self.retry_at_ms = mark.clocks.boot_ms + self.retry_ms;
    }
}

/// Why an error of the disk means that nothing is durable.
fn down_reason(error: &io::Error) -> DownReason {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            DownReason::Full
        }
        _ => DownReason::Failed,
    }
}
