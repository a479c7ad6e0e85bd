//! What is read of journals that were written, cut, damaged and crashed.
#![allow(clippy::unwrap_used)]

use std::io;

use super::*;
use crate::packet::ProtocolVersion;
use crate::storage::StoredSession;
use crate::storage::entry::put_varint;
use crate::storage::marks::Mark;
use crate::storage::replay::describe;
use crate::storage::replay::model::Model;
use crate::storage::segment::{SEGMENT_HEADER_LEN, damaged_name, segment_seq};
use crate::storage::simulated_disk::{SimulatedDisk, SyncFault};
use crate::storage::writer::{JournalWriter, Outcome, StateChange, WriterOptions};

const OPTIONS: RecoverOptions = RecoverOptions { accept_damage: false, store_id: 77, user_key: 88 };
const ACCEPT: RecoverOptions = RecoverOptions { accept_damage: true, ..OPTIONS };
const NOON: u64 = 1_800_000_000_000;

type Recovered = (Restored, JournalEnd, Report);

fn clocks(ms: u64) -> Clocks {
    Clocks { unix_ms: NOON + ms, boot_ms: 5000 + ms, boot_id: 3 }
}

fn mark(ms: u64) -> Mark {
    Mark { journal: Timestamp(ms), clocks: clocks(ms) }
}

fn read_with(disk: &SimulatedDisk, options: &RecoverOptions) -> Result<Recovered, RecoverError> {
    recover(disk, clocks(100_000), options, &mut |_| {})
}

fn read(disk: &SimulatedDisk) -> Recovered {
    read_with(disk, &OPTIONS).unwrap()
}

fn refused(disk: &SimulatedDisk) -> String {
    let line = read_with(disk, &OPTIONS).unwrap_err().to_string();
    assert_eq!(line.lines().count(), 1, "{line}");
    line
}

/// A frame that begins session `serial`.
fn frame(ms: u64, serial: u64) -> Vec<u8> {
    let mut body = Vec::new();
    put_varint(&mut body, ms);
    let client_id = format!("client {serial}");
    Entry::Session(StoredSession {
        serial,
        is_new: true,
        client_id: &client_id,
        version: ProtocolVersion::V311,
        expiry_s: u32::MAX,
        user: 0,
        last_packet_id: 0,
        disconnected_at: None,
        will: None,
    })
    .encode(&mut body);
    body
}

fn serials((restored, ..): &Recovered) -> Vec<u64> {
    restored.sessions.iter().map(|session| session.serial).collect()
}

fn lines((.., report): &Recovered) -> Vec<String> {
    report.findings.iter().map(ToString::to_string).collect()
}

fn writer(disk: &SimulatedDisk, end: JournalEnd, ms: u64) -> (JournalWriter<SimulatedDisk>, Option<u64>) {
    let options =
        WriterOptions { shards: 1, segment_bytes: 240, interval_ms: None, checkpoint_bytes_min: 3000 };
    let (writer, outcome) = JournalWriter::open(disk.clone(), end, options, mark(ms)).unwrap();
    (writer, outcome.checkpoint)
}

/// A journal of one generation with sessions 1 to `sessions`, a frame each, three or so in a segment.
fn journal(sessions: u64) -> SimulatedDisk {
    let disk = SimulatedDisk::new(1);
    let (mut writer, _) = writer(&disk, JournalEnd::fresh(77, 88), 0);
    for serial in 1..=sessions {
        writer.append(0, serial, frame(serial * 10, serial));
        assert_eq!(writer.commit(mark(serial * 10)).durable, [(0, serial)]);
        assert!(writer.maintain(mark(serial * 10)).is_empty());
    }
    disk
}

fn segments(disk: &SimulatedDisk) -> Vec<u64> {
    disk.list().unwrap().iter().filter_map(|name| segment_seq(name)).collect()
}

#[test]
fn an_empty_folder_is_an_empty_state() {
    let (restored, end, report) = read(&SimulatedDisk::new(1));
    assert!(restored.sessions.is_empty() && !report.is_damaged() && report.findings.is_empty());
    assert_eq!((end, restored.user_key), (JournalEnd::fresh(77, 88), 88));
    assert_eq!((restored.first_serial, restored.first_number, restored.now), (1, 1, Timestamp(0)));
}

#[test]
fn what_was_written_is_read_over_all_segments() {
    let disk = journal(10);
    let all = segments(&disk);
    assert!(all.len() > 3, "{all:?}");
    let mut seen = Vec::new();
    let (restored, end, report) =
        recover(&disk, clocks(100_000), &OPTIONS, &mut |progress| seen.push(progress)).unwrap();
    assert_eq!(restored.sessions.len(), 10);
    assert_eq!((restored.user_key, restored.first_serial), (88, 11));
    assert_eq!((end.store_id, end.base, end.last, end.next_frame), (77, 1, all.len() as u64, 11));
    assert_eq!(
        (report.frames, report.entries, report.sessions, report.files),
        (10, 10, 10, all.len() as u64)
    );
    assert!(report.findings.is_empty(), "{report:?}");
    assert!(seen.is_empty(), "five times a second at most");
    let bytes: u64 = all.iter().map(|seq| disk.len(&segment_name(*seq)).unwrap()).sum();
    assert_eq!((end.bytes, report.bytes), (bytes, bytes));
}

#[test]
fn time_that_nobody_was_there_counts_from_the_last_sign_of_life() {
    let disk = journal(3);
    let (restored, _, report) = read(&disk);
    // The last frame was at 30 ms, and 100,000 ms by the machine's clock is now.
    assert_eq!((restored.now, report.away.as_millis()), (Timestamp(100_000), 99_970));
    assert!(restored.sessions.iter().all(|s| s.was_connected && s.disconnected_at == Timestamp(10_030)));
    let end = read(&disk).1;
    let (mut writer, _) = writer(&disk, end, 100_000);
    writer.close(mark(105_000));
    let (restored, _, report) = recover(&disk, clocks(107_000), &OPTIONS, &mut |_| {}).unwrap();
    assert_eq!((restored.now, report.away.as_millis()), (Timestamp(107_000), 2000));
    assert!(restored.sessions.iter().all(|s| s.disconnected_at == Timestamp(107_000)));
}

#[test]
fn a_torn_tail_is_left_out_wherever_it_is_cut() {
    let whole = journal(2);
    assert_eq!(segments(&whole), [1]);
    let name = segment_name(1);
    let len = whole.len(&name).unwrap() as usize;
    let mut good = 0;
    for cut in SEGMENT_HEADER_LEN..len {
        let disk = journal(2);
        disk.cut_existing(&name, cut);
        let found = read(&disk);
        let (_, end, report) = &found;
        assert!(!report.is_damaged());
        let is_whole = report.findings.is_empty();
        good += usize::from(is_whole);
        assert_eq!(end.last_len as usize == cut, is_whole, "cut to {cut}: {:?}", lines(&found));
        assert!(lines(&found).iter().all(|line| line.contains("a write that was interrupted: left out")));
        assert_eq!(end.next_frame, found.0.sessions.len() as u64 + 1);
    }
    assert_eq!(good, 2, "behind the header and behind the first frame");
}

#[test]
fn a_file_that_was_just_made_is_nothing() {
    for cut in 0..SEGMENT_HEADER_LEN {
        let disk = journal(1);
        disk.cut_existing(&segment_name(1), cut);
        let found = read(&disk);
        assert_eq!((&found.1, lines(&found).len()), (&JournalEnd::fresh(77, 88), 1));
        let disk = journal(6);
        let last = *segments(&disk).last().unwrap();
        disk.cut_existing(&segment_name(last), cut);
        let found = read(&disk);
        assert_eq!((found.1.last, found.2.is_damaged()), (last - 1, false));
        assert_eq!(lines(&found), [format!("{}: was just being made: left out", segment_name(last))]);
    }
}

#[test]
fn one_flipped_bit_costs_one_frame_and_is_named() {
    let sessions = 8;
    let segments = segments(&journal(sessions));
    for seq in segments.clone() {
        let name = segment_name(seq);
        let len = journal(sessions).len(&name).unwrap() as usize;
        for byte in 0..len {
            let disk = journal(sessions);
            disk.flip_bit(&name, byte * 8 + byte % 8);
            let found = read(&disk);
            let what = format!("byte {byte} of {name}: {:?}", lines(&found));
            assert!(lines(&found).iter().any(|line| line.starts_with(&format!("{name}: "))), "{what}");
            if byte < SEGMENT_HEADER_LEN {
                assert_eq!(serials(&found).len(), sessions as usize, "{what}");
                assert!(found.2.is_damaged() || seq == *segments.last().unwrap(), "{what}");
            } else {
                assert_eq!(serials(&found).len(), sessions as usize - 1, "{what}");
                // The last frame of all might as well be torn.
                let is_last = serials(&found).last() != Some(&sessions);
                assert_eq!(found.2.is_damaged(), !is_last, "{what}");
                assert_eq!(found.1.damaged, if is_last { vec![] } else { vec![seq] }, "{what}");
            }
        }
    }
}

#[test]
fn a_lost_frame_is_counted_by_its_number_also_at_the_end_of_a_file() {
    let disk = journal(8);
    let name = segment_name(1);
    let len = disk.len(&name).unwrap();
    disk.cut_existing(&name, len as usize - 1);
    let found = read(&disk);
    let line = format!("{name}: {} damaged bytes at offset ", (len - 128) / 3 - 1);
    assert!(lines(&found)[0].starts_with(&line), "{:?}", lines(&found));
    assert!(lines(&found)[0].ends_with(": frame 3 is lost"), "{:?}", lines(&found));
    assert_eq!(serials(&found), [1, 2, 4, 5, 6, 7, 8]);
    // All frames gone, at the border of the first.
    disk.cut_existing(&name, SEGMENT_HEADER_LEN);
    let found = read(&disk);
    assert!(lines(&found)[0].ends_with("at offset 128: frames 1 to 3 are lost"), "{:?}", lines(&found));
    assert_eq!(serials(&found), [4, 5, 6, 7, 8]);
}

#[test]
fn a_missing_file_stops_the_start_until_its_loss_is_accepted_once() {
    for gone in [vec![1], vec![2], vec![1, 2]] {
        let mut disk = journal(10);
        for seq in &gone {
            disk.remove(&segment_name(*seq)).unwrap();
        }
        let line = refused(&disk);
        let named = if gone.len() == 2 { " and the 1 after it" } else { "" };
        assert!(line.starts_with(&format!("{}{named}: is missing", segment_name(gone[0]))), "{line}");
        assert!(line.contains("bring the file back") && line.contains("--set storage.accept_damage=true"));
        let found = read_with(&disk, &ACCEPT).unwrap();
        assert_eq!(serials(&found).len(), 10 - 3 * gone.len());
        assert!(found.2.is_damaged() && lines(&found)[0].ends_with(": missing: accepted as lost"));
        assert_eq!(found.1.accepted_before, found.1.last + 1);
        // Before its first checkpoint is complete the next start finds the same gap.
        drop(writer(&disk, found.1, 100_000));
        let again = read(&disk);
        assert_eq!(serials(&again).len(), 10 - 3 * gone.len());
        assert!(lines(&again)[0].contains("missing since before"), "{:?}", lines(&again));
    }
}

#[test]
fn files_that_are_another_journals_are_refused() {
    let disk = journal(10);
    disk.clone().rename(&segment_name(2), &segment_name(900)).unwrap();
    assert!(refused(&disk).starts_with(&format!("{}: belongs to another journal", segment_name(900))));
    let found = read_with(&disk, &ACCEPT).unwrap();
    assert_eq!(serials(&found), [1, 2, 3, 7, 8, 9, 10]);
    assert_eq!(found.1.damaged, [900]);
    drop(writer(&disk, found.1, 100_000));
    assert!(disk.list().unwrap().contains(&damaged_name(900)));
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let mut disk = journal(10);
    let mut header = disk.read(&segment_name(3), 0, SEGMENT_HEADER_LEN).unwrap();
    header[8] = 9;
    let sum = crc32fast::hash(&header[..SEGMENT_HEADER_LEN - 4]).to_le_bytes();
    header[SEGMENT_HEADER_LEN - 4..].copy_from_slice(&sum);
    disk.remove(&segment_name(3)).unwrap();
    let mut file = disk.create(&segment_name(3)).unwrap();
    disk.append(&mut file, &[&header]).unwrap();
    let line = refused(&disk);
    assert!(line.starts_with(&segment_name(3)) && line.contains("version 9"), "{line}");
    assert!(read_with(&disk, &ACCEPT).is_err(), "accepting damage does not read it either");
}

#[test]
fn no_header_at_all_is_refused_and_put_aside_when_accepted() {
    let disk = journal(2);
    disk.flip_bit(&segment_name(1), 300);
    assert!(refused(&disk).contains("the header is damaged, and no other file tells"));
    let (restored, end, report) = read_with(&disk, &ACCEPT).unwrap();
    assert!(restored.sessions.is_empty() && report.is_damaged());
    assert_eq!((end.last, &end.damaged), (0, &vec![1]));
    drop(writer(&disk, end, 100_000));
    assert!(disk.list().unwrap().contains(&damaged_name(1)));
    assert!(read(&disk).0.sessions.is_empty());
}

/// A disk of which one file can't be read.
struct Unreadable {
    disk: SimulatedDisk,
    name: String,
    from: u64,
}

impl Disk for Unreadable {
    type File = ();

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }
    fn read(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        if name == self.name && offset >= self.from {
            return Err(io::Error::other("Input/output error"));
        }
        self.disk.read(name, offset, len)
    }
    fn len(&self, name: &str) -> io::Result<u64> {
        self.disk.len(name)
    }
    fn create(&mut self, _: &str) -> io::Result<()> {
        unreachable!("recovery changes nothing")
    }
    fn append(&mut self, (): &mut (), _: &[&[u8]]) -> io::Result<()> {
        unreachable!("recovery changes nothing")
    }
    fn sync(&mut self, (): &mut ()) -> io::Result<()> {
        unreachable!("recovery changes nothing")
    }
    fn sync_existing(&mut self, _: &str) -> io::Result<()> {
        unreachable!("recovery changes nothing")
    }
    fn cut(&mut self, (): &mut (), _: u64) -> io::Result<()> {
        unreachable!("recovery changes nothing")
    }
    fn sync_names(&mut self) -> io::Result<()> {
        unreachable!("recovery changes nothing")
    }
    fn rename(&mut self, _: &str, _: &str) -> io::Result<()> {
        unreachable!("recovery changes nothing")
    }
    fn remove(&mut self, _: &str) -> io::Result<()> {
        unreachable!("recovery changes nothing")
    }
}

#[test]
fn a_file_that_can_not_be_read_stops_the_start_until_that_is_accepted() {
    for from in [0, SEGMENT_HEADER_LEN as u64] {
        let disk = Unreadable { disk: journal(10), name: segment_name(2), from };
        let line = recover(&disk, clocks(1), &OPTIONS, &mut |_| {}).unwrap_err().to_string();
        assert!(
            line.contains("can't be read: Input/output error") && line.contains("accept_damage"),
            "{line}"
        );
        let found = recover(&disk, clocks(1), &ACCEPT, &mut |_| {}).unwrap();
        assert_eq!(serials(&found), [1, 2, 3, 7, 8, 9, 10]);
        assert_eq!((&found.1.damaged, found.2.is_damaged()), (&vec![2], true));
    }
}

#[test]
fn nonsense_in_a_whole_frame_costs_its_rest() {
    let disk = SimulatedDisk::new(1);
    let (mut writer, _) = writer(&disk, JournalEnd::fresh(77, 88), 0);
    writer.append(0, 1, [frame(1, 1), vec![99]].concat());
    writer.append(0, 2, frame(2, 2));
    writer.commit(mark(2));
    let found = read(&disk);
    assert_eq!(serials(&found), [1, 2]);
    let line =
        format!("{}: frame 1 at offset 128: entry of unknown kind 99: its rest is left out", segment_name(1));
    assert_eq!(lines(&found), [line]);
}

#[test]
fn no_more_findings_are_named_than_anyone_reads() {
    let disk = SimulatedDisk::new(1);
    let (mut writer, _) = writer(&disk, JournalEnd::fresh(77, 88), 0);
    (1..=1000).for_each(|ticket| writer.append(0, ticket, vec![1, 99]));
    writer.commit(mark(2));
    let found = lines(&read(&disk));
    assert_eq!(found.len(), Report::FINDINGS_MAX + 1);
    assert_eq!(found.last().unwrap(), "800 more damaged places, not named");
}

/// A model and a writer that live together.
struct Life<S> {
    disk: SimulatedDisk,
    model: Model,
    writer: JournalWriter<SimulatedDisk>,
    state: S,
    /// What the model's state was after each frame.
    snapshots: Vec<String>,
    /// Frames that were reported durable.
    durable: usize,
    generation: Option<u64>,
    failures: usize,
}

impl<S: Fn(&Model) -> String> Life<S> {
    fn begin(seed: u64, state: S) -> Self {
        let disk = SimulatedDisk::new(seed);
        let model = Model::new(seed);
        let (writer, _) = writer(&disk, JournalEnd::fresh(77, 88), 0);
        let snapshots = vec![state(&model)];
        Self { disk, model, writer, state, snapshots, durable: 0, generation: None, failures: 0 }
    }

    /// A few frames, a commit, and what is due.
    fn turn(&mut self, batch: usize) {
        for _ in 0..=self.model.random.below(batch) {
            self.frame();
        }
        let outcome = self.writer.commit(mark(self.model.last_alive().0));
        self.handle(outcome);
        for _ in 0..=self.model.random.below(4) {
            let outcome = self.writer.maintain(mark(self.model.last_alive().0));
            self.handle(outcome);
        }
    }

    fn frame(&mut self) {
        if self.generation.is_some() && self.model.random.one_in(2) {
            self.model.checkpoint();
        } else {
            self.model.turn();
        }
        if let Some((time, entries)) = self.model.frames.get(self.snapshots.len() - 1) {
            let mut body = Vec::new();
            put_varint(&mut body, time.0);
            body.extend_from_slice(entries);
            self.writer.append(0, self.snapshots.len() as u64, body);
            self.snapshots.push((self.state)(&self.model));
        }
        if !self.model.is_checkpointing()
            && let Some(generation) = self.generation.take()
        {
            self.writer.imaged(0, generation);
        }
    }

    fn handle(&mut self, outcome: Outcome) {
        if matches!(outcome.state, Some(StateChange::Down { .. })) {
            self.failures += 1;
        }
        if outcome.state.is_some() || outcome.checkpoint.is_some() {
            self.model.abandon_checkpoint();
            self.generation = None;
        }
        if let Some(generation) = outcome.fence {
            self.writer.fenced(0, generation);
        }
        if let Some((_, ticket)) = outcome.durable.last() {
            self.durable = *ticket as usize;
        }
        if outcome.checkpoint.is_some() {
            self.generation = outcome.checkpoint;
            self.model.checkpoint();
        }
    }

    /// After a crash: what is read is the state after one of the frames, and none before those that were reported durable.
    fn assert_recovers(&self, what: &str) -> Recovered {
        let probe = recover(&self.disk, clocks(0), &OPTIONS, &mut |_| {}).unwrap();
        assert!(!probe.2.is_damaged(), "{what}: {:?}", lines(&probe));
        // One second after the last frame that is there, as the snapshots are.
        let later = clocks(probe.0.now.0 + 1000);
        let mut found = describe(&recover(&self.disk, later, &OPTIONS, &mut |_| {}).unwrap().0);
        if !self.model.has_expiry {
            found = timeless(&found);
        }
        let at = self.snapshots.iter().rposition(|snapshot| *snapshot == found);
        let (durable, all) = (self.durable, self.snapshots.len() - 1);
        assert!(
            at.is_some_and(|at| at >= durable),
            "{what}: frame {at:?}, of which {durable} of {all} were durable; {:?}\n{found}---\n{}",
            self.disk.list(),
            self.snapshots[durable],
        );
        probe
    }
}

fn state(model: &Model) -> String {
    let now = model.last_alive().plus_ms(1000);
    // Less than the time to the next sign of life: who was connected may have been so until now.
    describe(&model.expected(now, now))
}

/// Without the moment at which connections ended.
fn timeless(state: &str) -> String {
    let lines = state.lines().map(|line| match line.split_once(" was_connected true ") {
        Some((before, after)) => [before.rsplit_once(' ').unwrap().0, after].join(" "),
        None => line.to_owned(),
    });
    lines.map(|line| line + "\n").collect()
}

#[test]
fn after_a_crash_there_is_what_was_at_one_moment_and_no_ticket_is_lost() {
    let (mut checkpoints, mut torn) = (0, 0);
    for seed in 0..80 {
        let mut life = Life::begin(seed, state);
        life.disk.lose_power_after(30 + 6 * seed);
        for _ in 0..200 {
            life.turn(1 + seed as usize % 4);
            if life.failures > 0 {
                break;
            }
        }
        life.disk.crash();
        let (_, end, report) = life.assert_recovers(&format!("seed {seed}"));
        checkpoints += usize::from(end.base > 1);
        torn += usize::from(!report.findings.is_empty());
    }
    assert!(checkpoints > 20 && torn > 10, "{checkpoints} with a checkpoint, {torn} torn");
}

#[test]
fn what_was_written_before_a_failure_of_the_disk_and_after_it_never_mix() {
    let (mut failures, mut left_out) = (0, 0);
    for seed in 0..30 {
        // Its connections end when the journal does, which is later than any frame.
        let mut life = Life::begin(seed, |model| timeless(&state(model)));
        life.model.has_expiry = false;
        let turns = 40 + life.disk.random_below(160);
        for _ in 0..turns {
            match life.disk.random_below(60) {
                0 => life.disk.fail_sync(SyncFault::Kept),
                1 => life.disk.fail_sync(SyncFault::Lost),
                2 => life.disk.fail_append(io::ErrorKind::StorageFull),
                _ => {}
            }
            life.turn(2);
        }
        failures += life.failures;
        life.disk.crash();
        let (.., report) = life.assert_recovers(&format!("seed {seed}"));
        left_out += report.findings.iter().filter(|f| matches!(f, Finding::AfterFailure { .. })).count();
    }
    assert!(failures > 30 && left_out > 2, "{failures} failures, {left_out} files left out");
}

#[test]
fn no_damage_makes_recovery_fail_in_another_way_than_by_an_error() {
    let (mut read, mut refused) = (0, 0);
    for seed in 0..80 {
        let mut life = Life::begin(seed, |_| String::new());
        life.disk.lose_power_after(100 + 5 * seed);
        (0..150).for_each(|_| life.turn(3));
        let disk = life.disk.clone();
        disk.crash();
        for _ in 0..=disk.random_below(6) {
            let names: Vec<String> = disk.list().unwrap();
            let name = &names[disk.random_below(names.len())];
            let len = disk.len(name).unwrap() as usize;
            match disk.random_below(12) {
                0 => disk.clone().remove(name).unwrap(),
                1 => disk.cut_existing(name, disk.random_below(len + 1)),
                _ => disk.flip_bit(name, disk.random_below(len * 8 + 1)),
            }
        }
        match read_with(&disk, &OPTIONS) {
            Ok((_, end, report)) => {
                read += 1;
                assert!(report.findings.iter().all(|finding| finding.to_string().lines().count() == 1));
                let known = read_with(&disk, &ACCEPT).unwrap();
                assert_eq!(known.1, end, "seed {seed}: there was nothing to accept");
                // What was found is a beginning for a writer, and what that writes is found.
                let (mut writer, _) = writer(&disk, end, 100_000);
                writer.append(0, 1, frame(100_001, 1 << 40));
                assert_eq!(writer.commit(mark(100_001)).durable, [(0, 1)], "seed {seed}");
                assert!(serials(&super::tests::read(&disk)).contains(&(1 << 40)), "seed {seed}");
            }
            Err(_) => {
                refused += 1;
                let (_, end, report) = read_with(&disk, &ACCEPT).unwrap();
                assert!(report.is_damaged());
                let (mut writer, _) = writer(&disk, end, 100_000);
                writer.append(0, 1, frame(100_001, 1 << 40));
                assert_eq!(writer.commit(mark(100_001)).durable, [(0, 1)], "seed {seed}");
                assert!(serials(&super::tests::read(&disk)).contains(&(1 << 40)), "seed {seed}");
            }
        }
    }
    assert!(read > 30 && refused > 5, "{read} read, {refused} refused");
}
