//! The writer against the simulated disk: what was reported durable is readable after a crash at any point, whatever the disk
//! did. The reader here is as simple as can be: newest valid header, its base, all frames from there.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io;

use super::*;
use crate::clock::Timestamp;
use crate::storage::marks::{CLOCK_FILE, Clocks, decode_clock_file};
use crate::storage::segment::{Piece, SegmentReader};
use crate::storage::simulated_disk::{SimulatedDisk, SyncFault};
use crate::storage::{Entry, RecoverOptions, recover};

const SHARDS: u16 = 2;

fn options() -> WriterOptions {
    WriterOptions { shards: SHARDS, segment_bytes: 2000, interval_ms: None, checkpoint_bytes_min: 4000 }
}

fn at(ms: u64) -> Mark {
    Mark { journal: Timestamp(ms), clocks: Clocks { unix_ms: ms, boot_ms: ms, boot_id: 1 } }
}

/// What a restart finds: all frames from the base on, and where to go on.
struct Found {
    frames: Vec<Vec<u8>>,
    end: JournalEnd,
    /// Frames that are lost, though something follows them.
    lost: u64,
    base: u64,
}

fn read(disk: &SimulatedDisk) -> Found {
    let mut headers = BTreeMap::new();
    for name in disk.list().unwrap() {
        let Some(seq) = segment_seq(&name) else { continue };
        if let Ok(header) = SegmentHeader::decode(&disk.read(&name, 0, SEGMENT_HEADER_LEN).unwrap()) {
            assert_eq!(header.seq, seq);
            headers.insert(seq, header);
        }
    }
    let mut found = Found { frames: Vec::new(), end: JournalEnd::fresh(1, 2), lost: 0, base: 0 };
    let Some(newest) = headers.last_key_value().map(|(_, header)| *header) else { return found };
    let clock = disk.read(CLOCK_FILE, 0, 1000).ok().and_then(|bytes| decode_clock_file(1, &bytes));
    let clock_synced = clock.map_or(0, |clock| clock.synced_before);
    found.base = newest.base;
    let mut expected = None;
    for seq in newest.base..=newest.last_that_counts() {
        let header =
            headers.get(&seq).unwrap_or_else(|| panic!("segment {seq} is missing, base {}", newest.base));
        let name = segment_name(seq);
        let len = disk.len(&name).unwrap();
        let next = headers.get(&(seq + 1));
        let end = next.map_or(len, |next| next.previous_len);
        assert!(end <= len, "segment {seq} has {len} bytes, and the next header says {end}");
        assert!(expected.is_none_or(|expected| expected == header.first_frame));
        let (key, first) = (header.key(), header.first_frame);
        let mut reader = match next {
            Some(next) if next.seq <= newest.last_that_counts() => {
                SegmentReader::with_synced(disk, &name, key, first, end, next.first_frame)
            }
            // What comes next does not count, but it knows how much of this does.
            Some(_) => SegmentReader::new(disk, &name, key, first, end),
            None => SegmentReader::newest(disk, &name, key, first, end, clock_synced).unwrap(),
        };
        while let Some(piece) = reader.next().unwrap() {
            match piece {
                Piece::Frame { body, .. } => found.frames.push(body.to_vec()),
                Piece::Damage(damage) => {
                    assert!(next.is_none() || !damage.is_tail, "{name}: {damage:?}");
                    found.lost += damage.frames_lost;
                }
            }
        }
        expected = Some(reader.next_frame());
        found.end.last_len = reader.good_end();
        found.end.bytes += reader.good_end();
    }
    found.end.base = newest.base;
    found.end.last = if found.end.last_len == 0 { 0 } else { newest.last_that_counts() };
    found.end.generation = headers.values().map(|header| header.generation).max().unwrap();
    found.end.next_frame = expected.unwrap_or(1);
    found
}

/// What a shard of this test has: a number for each of its keys; a frame sets one, an image all.
#[derive(Debug, Default, Clone, PartialEq)]
struct Memory(BTreeMap<u8, u64>);

fn set(shard: u16, key: u8, value: u64) -> Vec<u8> {
    format!("set {shard} {key} {value} {}", "x".repeat(value as usize % 90)).into_bytes()
}

fn image(shard: u16, memory: &Memory) -> Vec<u8> {
    let all: Vec<String> = memory.0.iter().map(|(key, value)| format!("{key} {value}")).collect();
    format!("image {shard} {}", all.join(" ")).into_bytes()
}

/// The shards' memory as the frames have it.
fn replay(frames: &[Vec<u8>]) -> Vec<Memory> {
    let mut memories = vec![Memory::default(); usize::from(SHARDS)];
    for frame in frames {
        let text = std::str::from_utf8(frame).unwrap();
        let mut words = text.split(' ').filter(|word| !word.is_empty());
        let kind = words.next().unwrap();
        let memory = &mut memories[words.next().unwrap().parse::<usize>().unwrap()];
        let numbers: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
        match kind {
            "set" => assert_eq!(numbers.len(), 2, "{text}"),
            "image" => memory.0.clear(),
            other => panic!("{other}"),
        }
        memory.0.extend(numbers.chunks(2).map(|pair| (pair[0] as u8, pair[1])));
    }
    memories
}

/// Shards that write, and what they were told. It plays the broker's part.
struct Shards {
    disk: SimulatedDisk,
    writer: JournalWriter<SimulatedDisk>,
    memories: Vec<Memory>,
    /// What each shard's memory was when it issued a ticket, from the last that is durable on.
    issued: Vec<BTreeMap<u64, Memory>>,
    durable: Vec<u64>,
    ticket: u64,
    /// A checkpoint that shards have not written their images for, in turn.
    imaging: Option<(u64, u16)>,
    is_up: bool,
    now_ms: u64,
    value: u64,
    /// Nobody waits for most of what is written.
    is_lazy: bool,
}

impl Shards {
    fn start(disk: &SimulatedDisk, options: WriterOptions, now_ms: u64) -> io::Result<Self> {
        let found = read(disk);
        let memories = replay(&found.frames);
        let issued = memories.iter().map(|memory| BTreeMap::from([(0, memory.clone())])).collect();
        let (writer, outcome) = JournalWriter::open(disk.clone(), found.end, options, at(now_ms))?;
        let durable = vec![0; usize::from(SHARDS)];
        let disk = disk.clone();
        let (ticket, imaging, is_up, value, is_lazy) = (0, None, true, now_ms, false);
        let mut shards =
            Self { disk, writer, memories, issued, durable, ticket, imaging, is_up, now_ms, value, is_lazy };
        shards.told(outcome);
        Ok(shards)
    }

    fn told(&mut self, outcome: Outcome) {
        match outcome.state {
            Some(StateChange::Up) => self.is_up = true,
            Some(StateChange::Down { .. }) => self.is_up = false,
            None => {}
        }
        for (shard, ticket) in outcome.durable {
            assert!(self.is_up, "a ticket was reported while the disk was down");
            let shard = usize::from(shard);
            assert!(ticket > self.durable[shard]);
            self.durable[shard] = ticket;
            self.issued[shard] = self.issued[shard].split_off(&ticket);
        }
        if let Some(generation) = outcome.checkpoint {
            self.imaging = Some((generation, 0));
        }
        if let Some(generation) = outcome.fence {
            (0..SHARDS).for_each(|shard| self.writer.fenced(shard, generation));
        }
    }

    fn write(&mut self, shard: u16) {
        self.value += 1;
        let key = (self.value % 7) as u8;
        let memory = &mut self.memories[usize::from(shard)];
        memory.0.insert(key, self.value);
        self.ticket += 1;
        self.issued[usize::from(shard)].insert(self.ticket, memory.clone());
        let body = set(shard, key, self.value);
        if self.is_lazy && !self.value.is_multiple_of(3) {
            self.writer.append_unawaited(shard, self.ticket, body);
        } else {
            self.writer.append(shard, self.ticket, body);
        }
    }

    /// One shard writes its image, if it is asked for.
    fn write_image(&mut self) {
        let Some((generation, shard)) = self.imaging.filter(|(_, shard)| *shard < SHARDS) else { return };
        let body = image(shard, &self.memories[usize::from(shard)]);
        self.ticket += 1;
        self.issued[usize::from(shard)].insert(self.ticket, self.memories[usize::from(shard)].clone());
        self.writer.append(shard, self.ticket, body);
        self.writer.imaged(shard, generation);
        self.imaging = Some((generation, shard + 1));
    }

    fn commit(&mut self) {
        let outcome = self.writer.commit(at(self.now_ms));
        self.told(outcome);
    }

    fn maintain(&mut self) {
        let outcome = self.writer.maintain(at(self.now_ms));
        self.told(outcome);
    }

    /// Goes on until nothing is due and no image is missing.
    fn settle(&mut self) {
        for _ in 0..1000 {
            self.write_image();
            self.commit();
            self.maintain();
            let is_due = self.writer.wake_at().is_some_and(|due| due <= self.now_ms);
            if !is_due && self.imaging.is_none_or(|(_, shard)| shard == SHARDS) {
                return;
            }
        }
        panic!("it never settles");
    }

    /// After a restart every shard's memory is one that it had at the last ticket that it was told of, or later.
    fn check(&self) -> Found {
        let found = read(&self.disk);
        let memories = replay(&found.frames);
        for (shard, memory) in memories.iter().enumerate() {
            assert!(
                self.issued[shard].values().any(|had| had == memory),
                "shard {shard} was told {}, and has {memory:?} instead of one of {:?}",
                self.durable[shard],
                self.issued[shard]
            );
        }
        found
    }
}

fn started(seed: u64) -> (SimulatedDisk, Shards) {
    let disk = SimulatedDisk::new(seed);
    let shards = Shards::start(&disk, options(), 1000).unwrap();
    (disk, shards)
}

#[test]
fn one_sync_commits_what_all_shards_wrote() {
    let (disk, mut shards) = started(1);
    let syncs = disk.syncs();
    for _ in 0..5 {
        shards.write(0);
        shards.write(1);
    }
    assert_eq!(shards.durable, [0, 0]);
    shards.commit();
    assert_eq!(shards.durable, [9, 10]);
    assert_eq!(disk.syncs() - syncs, 1);
    shards.commit();
    assert_eq!(disk.syncs() - syncs, 1, "nothing new, nothing to sync");
    let statistics = shards.writer.statistics();
    assert_eq!((statistics.frames, statistics.syncs, statistics.segments), (10, 1, 1));
    disk.crash();
    assert_eq!(shards.check().frames.len(), 10);
}

#[test]
fn an_empty_frame_asks_what_is_durable() {
    let (_, mut shards) = started(1);
    shards.writer.append(1, 77, Vec::new());
    assert_eq!(shards.writer.commit(at(1000)).durable, [(1, 77)]);
    assert_eq!(shards.writer.statistics().frames, 0);
}

#[test]
fn a_full_segment_is_followed_by_the_next_and_checkpoints_remove_the_old() {
    let (disk, mut shards) = started(2);
    let mut segments_max = 0;
    for _ in 0..400 {
        shards.write(0);
        shards.write(1);
        shards.settle();
        segments_max = segments_max.max(shards.writer.statistics().segments);
    }
    let statistics = shards.writer.statistics();
    assert!(statistics.newest > 20, "{statistics:?}");
    assert!(statistics.checkpoints > 5, "{statistics:?}");
    assert!((3..=6).contains(&segments_max), "{segments_max}");
    assert_eq!(statistics.segments, disk.list().unwrap().len() as u64);
    assert_eq!(statistics.left_files, 0);
    disk.crash();
    let found = shards.check();
    assert_eq!(found.lost, 0);
    assert_eq!(replay(&found.frames), shards.memories);
}

/// Else the header before it would name a base that is not there any more, and a start would be refused though nothing is lost.
#[test]
fn one_damaged_header_never_makes_removed_segments_missing() {
    let (disk, mut shards) = started(2);
    for _ in 0..400 {
        shards.write(0);
        shards.settle();
        let newest = shards.writer.statistics().newest;
        for seq in shards.writer.statistics().base..=newest {
            let damaged = disk.copy();
            damaged.flip_bit(&segment_name(seq), 300);
            let options = RecoverOptions::default();
            match recover(&damaged, Clocks::default(), &options, &mut |_| {}) {
                Ok((_, end, _)) => assert!(end.base <= shards.writer.statistics().base),
                // The first of all has no other that knows what the journal is.
                Err(error) => assert!(newest == 1, "{seq} of {newest}: {error}"),
            }
        }
    }
    assert!(shards.writer.statistics().checkpoints > 3);
}

#[test]
fn a_start_begins_with_a_checkpoint() {
    let (disk, mut shards) = started(3);
    (0..30).for_each(|_| shards.write(0));
    shards.settle();
    let before = shards.memories.clone();
    let mut shards = Shards::start(&disk, options(), 2000).unwrap();
    assert_eq!(shards.memories, before);
    assert!(shards.imaging.is_some());
    shards.write(1);
    shards.settle();
    let found = shards.check();
    assert!(found.base > 1);
    assert_eq!(found.frames.len(), 3, "two images and what was written beside them");
    assert_eq!(found.lost, 0);
}

/// An image may name a message that another shard has in the frame of a turn that has not ended.
#[test]
fn a_checkpoint_is_complete_when_every_shard_has_handed_in_what_its_images_may_name() {
    let (disk, mut shards) = started(20);
    (0..30).for_each(|_| shards.write(0));
    shards.settle();
    let mut shards = Shards::start(&disk, options(), 2000).unwrap();
    let (generation, _) = shards.imaging.unwrap();
    let base = shards.writer.statistics().base;
    shards.writer.fenced(0, generation);
    (0..SHARDS).for_each(|_| shards.write_image());
    shards.commit();
    let outcome = shards.writer.maintain(at(2000));
    assert_eq!(
        outcome,
        Outcome { fence: Some(generation), ..Outcome::default() },
        "once, when all images are there"
    );
    assert_eq!(shards.writer.wake_at(), None);
    shards.writer.fenced(0, generation);
    shards.writer.fenced(1, generation - 1);
    assert_eq!(shards.writer.wake_at(), None, "shard 1 has not answered");
    shards.write(1);
    shards.writer.fenced(1, generation);
    assert!(shards.writer.maintain(at(2000)).is_empty());
    assert_eq!(shards.writer.statistics().base, base, "what was handed in is not written");
    shards.commit();
    shards.maintain();
    let statistics = shards.writer.statistics();
    assert!(statistics.base > base && !statistics.is_checkpointing);
    disk.crash();
    assert_eq!(replay(&shards.check().frames), shards.memories);
}

/// The same run, with the power going after each operation of the disk in turn.
#[test]
fn what_was_reported_is_there_after_a_crash_at_any_step() {
    for round in 0.. {
        let disk = SimulatedDisk::new(round);
        disk.lose_power_after(round);
        let mut is_over = false;
        if let Ok(mut shards) = Shards::start(&disk, options(), 1000) {
            for turn in 0..100_u16 {
                shards.write(turn % SHARDS);
                shards.commit();
                shards.write_image();
                shards.maintain();
            }
            is_over = disk.operations() < round;
            disk.crash();
            let found = shards.check();
            assert_eq!(found.lost, 0, "round {round}: nothing that was promised is missing in the middle");
        } else {
            disk.crash();
        }
        // Whatever is there, a start goes on from it.
        let mut again = Shards::start(&disk, options(), 5000).unwrap();
        again.write(0);
        again.settle();
        disk.crash();
        again.check();
        if is_over {
            assert!(round > 200, "the run should do more than {round} operations");
            return;
        }
    }
}

#[test]
fn random_faults_and_crashes_lose_nothing_that_was_reported() {
    for seed in 0..300 {
        let disk = SimulatedDisk::new(seed);
        let mut now_ms = 1000;
        for life in 0..4 {
            let mut options = options();
            options.segment_bytes = 500 + disk.random_below(3000) as u64;
            disk.set_free(None);
            let mut shards = Shards::start(&disk, options, now_ms).unwrap();
            shards.is_lazy = seed % 2 == 1;
            for _ in 0..disk.random_below(400) {
                match disk.random_below(100) {
                    0 => disk.fail_sync(SyncFault::Lost),
                    1 => disk.fail_sync(SyncFault::Kept),
                    2 => disk.fail_append(io::ErrorKind::StorageFull),
                    3 => disk.fail_append(io::ErrorKind::Other),
                    4 => disk.set_free(Some(disk.random_below(6000) as u64)),
                    5..10 => disk.set_free(None),
                    10..15 => shards.now_ms += 1 + disk.random_below(20_000) as u64,
                    15..50 => shards.write(0),
                    50..70 => shards.write(1),
                    70..80 => shards.write_image(),
                    _ => {
                        shards.commit();
                        shards.maintain();
                    }
                }
            }
            now_ms = shards.now_ms + 1;
            disk.crash();
            let found = shards.check();
            assert_eq!(found.lost, 0, "seed {seed}, life {life}");
        }
    }
}

#[test]
fn a_failed_sync_is_never_trusted_and_the_shards_memory_mends_it() {
    let (disk, mut shards) = started(5);
    shards.write(0);
    shards.commit();
    assert_eq!(shards.durable, [1, 0]);
    shards.write(0);
    shards.write(1);
    disk.fail_sync(SyncFault::Lost);
    shards.commit();
    assert!(!shards.is_up);
    assert_eq!(shards.durable, [1, 0]);
    // Later syncs would succeed: none is asked.
    let syncs = disk.syncs();
    shards.write(0);
    shards.commit();
    shards.maintain();
    assert_eq!((shards.durable.clone(), disk.syncs()), (vec![1, 0], syncs));
    assert_eq!(shards.writer.statistics().refused_frames, 1);
    shards.now_ms += 1000;
    shards.maintain();
    assert!(shards.imaging.is_some());
    shards.write_image();
    shards.commit();
    shards.maintain();
    assert!(!shards.is_up, "one shard's image is missing");
    assert_eq!(shards.durable, [1, 0]);
    shards.settle();
    assert!(shards.is_up);
    assert_eq!(shards.durable, [5, 6]);
    disk.crash();
    let found = shards.check();
    assert_eq!(replay(&found.frames), shards.memories);
    assert_eq!(found.lost, 0);
    assert_eq!(shards.writer.statistics().failures, 1);
}

/// The last step is the header that makes the images the base: it may be on disk, though its sync failed.
#[test]
fn an_attempt_to_mend_that_fails_at_its_last_step_leaves_nothing_behind() {
    for (seed, operations) in (0..10).flat_map(|seed| (0..12).map(move |operations| (seed, operations))) {
        let (disk, mut shards) = started(seed);
        shards.write(0);
        shards.commit();
        shards.write(0);
        disk.fail_sync(SyncFault::Lost);
        shards.commit();
        shards.now_ms += 1000;
        shards.maintain();
        for _ in 0..SHARDS {
            shards.write_image();
            shards.commit();
        }
        shards.maintain();
        disk.fail_sync(SyncFault::Kept);
        disk.lose_power_after(operations);
        shards.maintain();
        assert!(!shards.is_up);
        assert_eq!(shards.durable, [1, 0]);
        disk.crash();
        assert_eq!(shards.check().lost, 0);
        Shards::start(&disk, options(), 9000).unwrap();
    }
}

#[test]
fn a_full_disk_heals_when_space_returns() {
    let (disk, mut shards) = started(6);
    (0..20).for_each(|_| shards.write(0));
    shards.commit();
    let durable = shards.durable.clone();
    disk.set_free(Some(30));
    shards.write(1);
    let outcome = shards.writer.commit(at(shards.now_ms));
    let error = io::Error::from(io::ErrorKind::StorageFull).to_string();
    assert_eq!(outcome.state, Some(StateChange::Down { reason: DownReason::Full, error, is_again: false }));
    shards.told(outcome);
    // Too little even for a header, then for the images; each time it gives back what it took.
    for (free, waits_ms) in [(20, 1000), (200, 1000), (200, 2000), (200, 4000), (200, 8000), (200, 16_000)] {
        disk.set_free(Some(free));
        shards.now_ms += waits_ms;
        assert!(shards.writer.wake_at().unwrap() <= shards.now_ms, "after {waits_ms} ms");
        shards.settle();
        assert!(!shards.is_up);
        assert_eq!(shards.durable, durable);
    }
    assert_eq!(shards.writer.statistics().segments, 1);
    disk.set_free(Some(100_000));
    shards.now_ms += 16_000;
    shards.settle();
    assert!(shards.is_up);
    assert_eq!(shards.durable[1], 21 + 12, "all that was issued, with the images of six attempts");
    disk.crash();
    assert_eq!(replay(&shards.check().frames), shards.memories);
}

/// Else shards that have begun to write the images of the attempt would wait for ever for what they were told to write.
#[test]
fn shards_are_told_of_every_attempt_to_mend_that_fails() {
    let (disk, mut shards) = started(16);
    disk.fail_sync(SyncFault::Lost);
    shards.write(0);
    shards.commit();
    assert!(!shards.is_up);
    for (attempt, waits_ms) in [(1, 1000), (2, 2000), (3, 4000)] {
        shards.now_ms += waits_ms;
        shards.maintain();
        assert!(shards.imaging.is_some(), "attempt {attempt}");
        shards.write_image();
        disk.fail_append(io::ErrorKind::StorageFull);
        let outcome = shards.writer.commit(at(shards.now_ms));
        let Some(StateChange::Down { reason, is_again: true, .. }) = outcome.state else {
            panic!("{outcome:?}");
        };
        assert_eq!(reason, DownReason::Full);
        assert_eq!(shards.writer.maintain(at(shards.now_ms)), Outcome::default(), "once an attempt");
    }
    assert_eq!(shards.writer.statistics().failures, 1);
    shards.imaging = None;
    shards.now_ms += 8000;
    shards.settle();
    assert!(shards.is_up);
    assert_eq!(replay(&shards.check().frames), shards.memories);
}

/// Shards pace their images by what is not written yet.
#[test]
fn what_is_written_while_a_checkpoint_mends_is_told_and_promises_nothing() {
    let (disk, mut shards) = started(17);
    shards.write(0);
    disk.fail_sync(SyncFault::Lost);
    assert!(shards.writer.commit(at(shards.now_ms)).written.is_empty());
    shards.write(1);
    assert!(
        shards.writer.commit(at(shards.now_ms)).written.is_empty(),
        "nothing is written while it is down"
    );
    shards.now_ms += 1000;
    shards.maintain();
    shards.write(1);
    let outcome = shards.writer.commit(at(shards.now_ms));
    assert_eq!(outcome, Outcome { written: vec![(1, 3)], ..Outcome::default() });
    assert!(shards.writer.commit(at(shards.now_ms)).is_empty(), "once");
    shards.settle();
    assert_eq!(shards.durable, [4, 5]);
    shards.write(0);
    let outcome = shards.writer.commit(at(shards.now_ms));
    assert_eq!(outcome, Outcome { durable: vec![(0, 6)], ..Outcome::default() });
}

#[test]
fn images_that_never_come_make_an_attempt_to_mend_fail() {
    let (disk, mut shards) = started(18);
    shards.write(0);
    disk.fail_sync(SyncFault::Lost);
    shards.commit();
    shards.now_ms += 1000;
    shards.maintain();
    shards.write_image();
    shards.now_ms += 20_000;
    shards.commit();
    let (generation, _) = shards.imaging.unwrap();
    let due = shards.writer.wake_at().unwrap();
    assert_eq!(due, shards.now_ms + 30_000, "from the last that came");
    assert!(shards.writer.maintain(at(due - 1)).is_empty());
    let outcome = shards.writer.maintain(at(due));
    assert!(matches!(outcome.state, Some(StateChange::Down { is_again: true, .. })), "{outcome:?}");
    shards.now_ms = shards.writer.wake_at().unwrap();
    assert!(shards.now_ms > due);
    shards.maintain();
    assert!(shards.imaging.unwrap().0 > generation, "they are asked anew");
    shards.settle();
    assert!(shards.is_up);
    assert_eq!(replay(&shards.check().frames), shards.memories);
}

#[test]
fn what_no_frame_can_hold_becomes_several_and_not_a_failure() {
    let (disk, mut shards) = started(19);
    shards.writer.body_max = 20;
    let mut body = vec![1];
    (1..=20).for_each(|serial| Entry::Reset { serial }.encode(&mut body));
    assert!(body.len() > 40);
    shards.writer.append(0, 1, body.clone());
    assert_eq!(shards.writer.commit(at(1000)), Outcome { durable: vec![(0, 1)], ..Outcome::default() });
    disk.crash();
    let frames = read(&disk).frames;
    assert!(frames.len() > 2 && frames.iter().all(|frame| frame.len() <= 20 && frame[0] == 1));
    let entries: Vec<u8> = frames.iter().flat_map(|frame| frame[1..].to_vec()).collect();
    assert_eq!(entries, body[1..]);
}

#[test]
fn what_nobody_waits_for_shares_a_sync_or_has_its_own_soon() {
    let (disk, mut shards) = started(21);
    let syncs = disk.syncs();
    shards.writer.append_unawaited(0, 1, set(0, 1, 1));
    assert!(shards.writer.commit(at(1000)).is_empty());
    assert!(shards.writer.maintain(at(1000)).is_empty());
    assert_eq!((disk.syncs(), shards.writer.wake_at()), (syncs, Some(1010)));
    // The one that somebody waits for comes in time.
    shards.writer.append(1, 2, set(1, 1, 1));
    assert_eq!(shards.writer.commit(at(1005)).durable, [(0, 1), (1, 2)]);
    assert_eq!((disk.syncs(), shards.writer.wake_at()), (syncs + 1, None));
    // None comes.
    shards.writer.append_unawaited(0, 3, set(0, 1, 2));
    assert!(shards.writer.commit(at(2000)).is_empty());
    shards.writer.append_unawaited(1, 4, set(1, 1, 2));
    assert!(shards.writer.commit(at(2009)).is_empty());
    assert_eq!(shards.writer.wake_at(), Some(2010), "from the first");
    assert!(shards.writer.maintain(at(2009)).is_empty());
    assert_eq!(shards.writer.maintain(at(2010)).durable, [(0, 3), (1, 4)]);
    assert_eq!((disk.syncs(), shards.writer.wake_at()), (syncs + 2, None));
    shards.writer.append_unawaited(0, 5, set(0, 1, 3));
    assert_eq!(shards.writer.close(at(2010)).durable, [(0, 5)]);
    disk.crash();
    assert_eq!(read(&disk).frames.len(), 5);
}

/// A failed sync is a failure also where nobody waited.
#[test]
fn a_failed_sync_of_what_nobody_waits_for_is_told() {
    let (disk, mut shards) = started(22);
    shards.writer.append_unawaited(0, 1, set(0, 1, 1));
    shards.commit();
    disk.fail_sync(SyncFault::Lost);
    let outcome = shards.writer.maintain(at(1010));
    assert!(matches!(outcome.state, Some(StateChange::Down { .. })) && outcome.durable.is_empty());
}

#[test]
fn a_start_on_a_full_disk_waits_for_space() {
    let (disk, mut shards) = started(7);
    shards.write(0);
    shards.commit();
    disk.set_free(Some(10));
    let mut shards = Shards::start(&disk, options(), 2000).unwrap();
    assert!(!shards.is_up);
    shards.write(1);
    shards.settle();
    assert_eq!(shards.durable, [0, 0]);
    disk.set_free(None);
    shards.now_ms += 1000;
    shards.settle();
    assert!(shards.is_up);
    assert!(shards.durable[1] > 0);
    disk.crash();
    assert_eq!(replay(&shards.check().frames), shards.memories);
}

#[test]
fn a_disk_that_fails_at_the_start_is_an_error() {
    let disk = SimulatedDisk::new(8);
    disk.fail_sync(SyncFault::Lost);
    assert!(Shards::start(&disk, options(), 1000).is_err());
    Shards::start(&disk, options(), 1000).unwrap();
}

#[test]
fn an_interval_reports_at_once_and_syncs_in_time() {
    let disk = SimulatedDisk::new(9);
    let mut shards =
        Shards::start(&disk, WriterOptions { interval_ms: Some(100), ..options() }, 1000).unwrap();
    let syncs = disk.syncs();
    shards.write(0);
    shards.commit();
    assert_eq!(shards.durable, [1, 0]);
    assert_eq!(disk.syncs(), syncs);
    assert_eq!(shards.writer.wake_at(), Some(1100));
    shards.now_ms = 1099;
    shards.maintain();
    assert_eq!(disk.syncs(), syncs);
    shards.now_ms = 1100;
    shards.maintain();
    assert_eq!(disk.syncs(), syncs + 1);
    assert_eq!(shards.writer.wake_at(), None);
    disk.crash();
    assert_eq!(read(&disk).frames.len(), 1);
}

#[test]
fn rotation_and_checkpoints_sync_first_where_the_interval_counts() {
    let disk = SimulatedDisk::new(10);
    let mut shards =
        Shards::start(&disk, WriterOptions { interval_ms: Some(60_000), ..options() }, 1000).unwrap();
    for _ in 0..300 {
        shards.write(0);
        shards.settle();
    }
    assert!(shards.writer.statistics().checkpoints > 1);
    shards.writer.close(at(shards.now_ms));
    disk.crash();
    let found = shards.check();
    assert_eq!((replay(&found.frames), found.lost), (shards.memories.clone(), 0));
}

#[test]
fn when_it_is_quiet_what_is_on_disk_shrinks_to_what_lives() {
    let disk = SimulatedDisk::new(11);
    let options = WriterOptions { segment_bytes: 1 << 20, checkpoint_bytes_min: 64 << 20, ..options() };
    let mut shards = Shards::start(&disk, options, 1000).unwrap();
    for _ in 0..20_000 {
        shards.write(0);
    }
    shards.settle();
    let busy = shards.writer.statistics();
    assert!(busy.disk_bytes > 1 << 20 && !busy.is_checkpointing, "{busy:?}");
    let due = shards.writer.wake_at().unwrap();
    assert!(due > shards.now_ms + 4000);
    shards.now_ms = due;
    shards.settle();
    let idle = shards.writer.statistics();
    assert!(idle.disk_bytes < 1000, "{idle:?}");
    assert_eq!(shards.writer.wake_at(), None, "and then it sleeps");
    shards.check();
}

#[test]
fn damaged_segments_are_put_aside_and_not_removed() {
    let (disk, mut shards) = started(12);
    (0..5).for_each(|_| shards.write(0));
    shards.commit();
    disk.flip_bit(&segment_name(1), 8 * (SEGMENT_HEADER_LEN + 30));
    let mut end = read(&disk).end;
    end.damaged = vec![1];
    let (writer, outcome) = JournalWriter::open(disk.clone(), end, options(), at(2000)).unwrap();
    shards.writer = writer;
    shards.told(outcome);
    shards.settle();
    let names = disk.list().unwrap();
    assert!(names.contains(&damaged_name(1)) && !names.contains(&segment_name(1)), "{names:?}");
}

#[test]
fn files_behind_the_end_that_the_reader_found_are_cleared_away() {
    let (mut disk, mut shards) = started(13);
    shards.write(0);
    shards.commit();
    let end = read(&disk).end;
    let mut torn = disk.create(&segment_name(2)).unwrap();
    disk.append(&mut torn, &[b"MYRI"]).unwrap();
    let (writer, _) = JournalWriter::open(disk.clone(), end, options(), at(2000)).unwrap();
    assert_eq!(writer.statistics().newest, 2);
    drop(writer);
    assert_eq!(read(&disk).frames.len(), 1);
}

#[test]
fn what_a_backup_reads_stays_until_it_is_done() {
    let (disk, mut shards) = started(14);
    for _ in 0..40 {
        shards.write(0);
        shards.settle();
    }
    let files = shards.writer.pin();
    for _ in 0..200 {
        shards.write(0);
        shards.settle();
    }
    let lens: Vec<u64> = files.iter().map(|(name, _)| disk.len(name).unwrap()).collect();
    assert!(files.iter().zip(&lens).all(|((_, pinned), len)| pinned <= len));
    let before = shards.writer.statistics().segments;
    shards.writer.unpin();
    shards.settle();
    assert!(shards.writer.statistics().segments < before);
}

#[test]
fn the_clock_file_is_whole_whenever_it_is_there() {
    let (disk, mut shards) = started(15);
    for ms in [5000, 6000] {
        shards.writer.write_clock(at(ms)).unwrap();
        let bytes = disk.read(CLOCK_FILE, 0, 1000).unwrap();
        let clock = decode_clock_file(1, &bytes).unwrap();
        assert_eq!((clock.mark, clock.synced_before), (at(ms), 1));
    }
    shards.write(0);
    shards.writer.close(at(7000));
    let clock = decode_clock_file(1, &disk.read(CLOCK_FILE, 0, 1000).unwrap()).unwrap();
    assert_eq!((clock.mark, clock.synced_before), (at(7000), 2));
}
