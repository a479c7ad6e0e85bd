//! The journal's writer as an actor over the simulated disk: takes what waits when it has the time, commits it, and what it
//! has to say travels to the shards. The disk fails, fills up, and loses its power in the middle of anything.

use std::collections::VecDeque;
use std::io::ErrorKind;

use myriad::clock::Timestamp;
use myriad::storage::marks::{Clocks, Mark};
use myriad::storage::segment::JournalEnd;
use myriad::storage::simulated_disk::{SimulatedDisk, SyncFault};
use myriad::storage::writer::{JournalWriter, Outcome, StateChange, WriterOptions};
use myriad::storage::{Entry, RETAINED_UNDER_WAY, Restored};

use super::Defect;
use crate::effects::{Delays, Notice, Written};
use crate::random::Random;
use crate::world::World;

/// How far the wall clock jumps, ms, forth and back.
const JUMP_MS: u64 = 400 * 24 * 3_600_000;

/// The wall clock when the world began.
const BEGAN_UNIX_MS: u64 = 1_790_000_000_000;

/// How rough the disk is.
#[derive(Debug, Clone)]
pub struct Roughness {
    pub segment_bytes: u64,
    pub checkpoint_bytes_min: u64,
    pub interval_ms: Option<u32>,
    /// Longest that a batch takes, ms.
    pub commit_max: u64,
    /// Longest that word of it takes to a shard, ms.
    pub notice_max: u64,
}

/// The disk, and the writer while there is power.
pub struct Store {
    pub disk: SimulatedDisk,
    pub roughness: Roughness,
    pub defect: Option<Defect>,
    /// How often the writer said that nothing is durable any more.
    pub failures: u64,
    pub checkpoints: u64,
    writer: Option<JournalWriter<SimulatedDisk>>,
    busy_until: u64,
    /// The power goes with this many changes of the disk.
    power_until: Option<u64>,
    is_full: bool,
    boot_id: u128,
    /// How far the wall clock is ahead.
    wall_ahead_ms: u64,
    /// Whether it jumps at all: then the machine is not booted, after which nothing else would tell the time.
    jumps: bool,
    pub wall_jumps: u64,
    random: Random,
}

impl Store {
    pub fn new(seed: u64, roughness: Roughness, defect: Option<Defect>) -> Self {
        Self {
            disk: SimulatedDisk::new(seed),
            roughness,
            defect,
            failures: 0,
            checkpoints: 0,
            writer: None,
            busy_until: 0,
            power_until: None,
            is_full: false,
            boot_id: 1,
            wall_ahead_ms: JUMP_MS,
            jumps: seed.is_multiple_of(3),
            wall_jumps: 0,
            random: Random::new(seed ^ 0x57_03e),
        }
    }

    /// What the machine's clocks say.
    pub fn clocks(&self, now: u64) -> Clocks {
        Clocks { unix_ms: BEGAN_UNIX_MS + self.wall_ahead_ms + now, boot_ms: now, boot_id: self.boot_id }
    }

    fn mark(&self, now: u64) -> Mark {
        Mark { journal: Timestamp(now), clocks: self.clocks(now) }
    }

    /// The writer goes on where the reader found the end.
    pub fn open(&mut self, world: &mut World, end: JournalEnd) -> std::io::Result<()> {
        let options = WriterOptions {
            shards: world.nodes.len() as u16,
            segment_bytes: self.roughness.segment_bytes,
            interval_ms: self.roughness.interval_ms,
            checkpoint_bytes_min: self.roughness.checkpoint_bytes_min,
        };
        world.journal = Some(VecDeque::new());
        let (writer, outcome) = JournalWriter::open(self.disk.clone(), end, options, self.mark(world.now))?;
        self.writer = Some(writer);
        self.busy_until = world.now;
        self.tell(world, outcome);
        Ok(())
    }

    /// When it next has something to do.
    pub fn next_at(&self, world: &World) -> Option<u64> {
        let writer = self.writer.as_ref()?;
        let has_mail = world.journal.as_ref().is_some_and(|waiting| !waiting.is_empty());
        let due = if has_mail { Some(0) } else { writer.wake_at() };
        due.map(|at| at.max(self.busy_until))
    }

    /// Takes some of what waits, commits it, and does what else is due. True: the power is gone with it.
    pub fn work(&mut self, world: &mut World) -> bool {
        let mark = self.mark(world.now);
        let Some(mut writer) = self.writer.take() else { return false };
        let waiting = world.journal.as_ref().map_or(0, VecDeque::len);
        let taken = if self.random.percent(50) { waiting } else { self.random.below(waiting + 1) };
        for written in world.journal.iter_mut().flat_map(|waiting| waiting.drain(..taken)).collect::<Vec<_>>()
        {
            match written {
                Written::Frame { shard, ticket, frame, is_awaited } => {
                    let frame = self.sabotage(frame);
                    world.trace.note(|| format!("shard {shard} ticket {ticket}: {}", entries(&frame)));
                    if self.defect == Some(Defect::ReportBeforeSync) {
                        let at = world.now;
                        world.states[usize::from(shard)].notices.push_back((at, Notice::Stored(ticket)));
                    }
                    if is_awaited {
                        writer.append(shard, ticket, frame);
                    } else {
                        writer.append_unawaited(shard, ticket, frame);
                    }
                }
                Written::Imaged { shard, generation } => writer.imaged(shard, generation),
                Written::Fenced { shard, generation } => writer.fenced(shard, generation),
            }
        }
        let is_late = self.defect == Some(Defect::ReportBeforeSync) && self.random.percent(80);
        let committed = if is_late { Outcome::default() } else { writer.commit(mark) };
        if self.is_power_gone() {
            return true;
        }
        self.tell(world, committed);
        let maintained = writer.maintain(mark);
        if self.is_power_gone() {
            return true;
        }
        self.tell(world, maintained);
        if self.random.percent(5) {
            // The disk may be full: then there is none.
            let _ = writer.write_clock(mark);
        }
        self.checkpoints = self.checkpoints.max(writer.statistics().checkpoints);
        self.writer = Some(writer);
        self.busy_until = world.now + Delays::some(&mut self.random, self.roughness.commit_max);
        world.trace.note(|| format!("the writer took {taken} of {waiting}"));
        false
    }

    fn is_power_gone(&self) -> bool {
        self.power_until.is_some_and(|until| self.disk.operations() >= until)
    }

    /// What the shards have to hear goes to them, in order.
    fn tell(&mut self, world: &mut World, outcome: Outcome) {
        if !outcome.is_empty() {
            world.trace.note(|| format!("the writer says {outcome:?}"));
        }
        if let Some(StateChange::Down { .. }) = &outcome.state {
            self.failures += 1;
            (0..world.nodes.len()).for_each(|shard| self.notify(world, shard, Notice::Down));
        }
        for (shard, ticket) in outcome.durable {
            self.notify(world, usize::from(shard), Notice::Stored(ticket));
        }
        for (shard, ticket) in outcome.written {
            self.notify(world, usize::from(shard), Notice::Written(ticket));
        }
        if let Some(generation) = outcome.checkpoint {
            let notice = Notice::Generation(generation as u32);
            (0..world.nodes.len()).for_each(|shard| self.notify(world, shard, notice));
        }
        if let Some(generation) = outcome.fence {
            let notice = Notice::Fence(generation as u32);
            (0..world.nodes.len()).for_each(|shard| self.notify(world, shard, notice));
        }
    }

    fn notify(&mut self, world: &mut World, shard: usize, notice: Notice) {
        let at = world.now + Delays::some(&mut self.random, self.roughness.notice_max);
        let notices = &mut world.states[shard].notices;
        let at = notices.back().map_or(at, |last| last.0.max(at));
        notices.push_back((at, notice));
    }

    /// The power goes after so many changes of the disk more.
    pub fn lose_power_after(&mut self, operations: u64) {
        self.disk.lose_power_after(operations);
        self.power_until = Some(self.disk.operations() + operations);
    }

    /// The process was killed, and nothing that it had written is lost; or the power went, and is back.
    pub fn crash(&mut self) {
        self.writer = None;
        if self.power_until.take().is_none() && self.random.percent(25) {
            return;
        }
        self.disk.crash();
        if !self.jumps && self.random.percent(50) {
            self.boot_id += 1;
        }
    }

    /// Somebody turns the wall clock, now and then.
    pub fn turn_clock(&mut self) {
        if self.jumps && self.random.below(500) == 0 {
            self.wall_ahead_ms = self.random.within(0, 2 * JUMP_MS);
            self.wall_jumps += 1;
        }
    }

    /// The disk fails once, or is full until it is not any more.
    pub fn hurt(&mut self) {
        match self.random.below(5) {
            0 => self.disk.fail_sync(SyncFault::Kept),
            1 => self.disk.fail_sync(SyncFault::Lost),
            2 => self.disk.fail_append(ErrorKind::Other),
            3 => self.disk.fail_append(ErrorKind::StorageFull),
            _ => {
                self.disk.set_free(Some(self.random.within(0, 3_000)));
                self.is_full = true;
            }
        }
    }

    /// There is space again.
    pub fn relieve(&mut self) {
        self.is_full = false;
        self.disk.set_free(None);
    }

    /// Nothing goes wrong any more.
    pub fn calm_down(&mut self) {
        self.relieve();
        // Power that was to go stays.
        self.disk.lose_power_after(u64::MAX);
        self.power_until = None;
    }

    pub const fn is_full(&self) -> bool {
        self.is_full
    }

    /// Whether everything is durable that anyone waits for.
    pub fn is_at_rest(&self, world: &World) -> bool {
        let is_empty = world.journal.as_ref().is_none_or(VecDeque::is_empty);
        is_empty
            && self.writer.as_ref().is_none_or(|writer| {
                let statistics = writer.statistics();
                !statistics.is_down && !statistics.is_checkpointing
            })
    }

    /// A frame without some of its entries.
    fn sabotage(&mut self, frame: Vec<u8>) -> Vec<u8> {
        let Some(defect @ (Defect::NoCommit | Defect::NoDeliver)) = self.defect else { return frame };
        let (mut rest, mut kept) = (&frame[time_len(&frame)..], frame[..time_len(&frame)].to_vec());
        while let Ok(entry) = Entry::decode(&mut rest) {
            let is_meant = match entry {
                Entry::Commit { .. } => defect == Defect::NoCommit,
                Entry::Deliver(_) => defect == Defect::NoDeliver,
                _ => false,
            };
            if !is_meant || self.random.percent(50) {
                entry.encode(&mut kept);
            }
        }
        kept
    }

    /// What a reader that forgets something would have read.
    pub fn forget(&self, restored: &mut Restored) {
        for session in &mut restored.sessions {
            match self.defect {
                Some(Defect::ForgetInbound) => session.inbound.clear(),
                Some(Defect::ForgetSubscriptions) => session.subscriptions.clear(),
                Some(Defect::ForgetInflight) => session.inflight.clear(),
                Some(Defect::ForgetWill) => session.will = None,
                Some(Defect::ForgetCursors) => {
                    session.subscriptions.iter_mut().for_each(|s| s.options &= !RETAINED_UNDER_WAY);
                }
                _ => {}
            }
        }
        if let Some(Defect::ForgetRetained) = self.defect {
            restored.retained.clear();
        }
    }
}

/// Bytes of the time with which a frame's body begins.
pub fn time_len(frame: &[u8]) -> usize {
    frame.iter().take_while(|byte| **byte >= 0x80).count() + 1
}

/// What a frame says, in words.
fn entries(frame: &[u8]) -> String {
    let mut rest = &frame[time_len(frame)..];
    let mut words = Vec::new();
    while !rest.is_empty() {
        match Entry::decode(&mut rest) {
            Ok(entry) => words.push(format!("{entry:?}")),
            Err(error) => {
                words.push(format!("{error}: {rest:x?}"));
                break;
            }
        }
    }
    words.join("\n               ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_without_its_commits_keeps_the_rest() {
        // The time, 300.
        let mut frame = vec![0xac, 0x02];
        let commit = Entry::Commit { number: 4, publisher: 0, packet_id: 0, is_will: false };
        for _ in 0..20 {
            commit.encode(&mut frame);
            Entry::Retain { number: 4 }.encode(&mut frame);
        }
        let roughness = Roughness {
            segment_bytes: 1,
            checkpoint_bytes_min: 1,
            interval_ms: None,
            commit_max: 0,
            notice_max: 0,
        };
        let kept = Store::new(1, roughness, Some(Defect::NoCommit)).sabotage(frame.clone());
        let count = |frame: &[u8], is_meant: fn(&Entry<'_>) -> bool| {
            let (mut rest, mut count) = (&frame[2..], 0);
            while let Ok(entry) = Entry::decode(&mut rest) {
                count += usize::from(is_meant(&entry));
            }
            count
        };
        assert_eq!(count(&kept, |entry| matches!(entry, Entry::Retain { .. })), 20);
        assert!(count(&kept, |entry| matches!(entry, Entry::Commit { .. })) < 20);
    }
}
