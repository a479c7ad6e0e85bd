//! The writer against the simulated disk: what was reported durable is readable after a crash at any point, whatever the disk
//! did. The reader here is as simple as can be: newest valid header, its base, all frames from there.

#![allow(clippy::unwrap_used)]

mod checkpoint;
mod commit;
mod failure;
mod files;

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
