//! Flipped bits: a recovery from a journal with a few of them never panics, refuses only by the name of a file, and what it
//! says is lost bounds what is lost: a session or Retained Message that is another one than without the flips is one that
//! the lost frames tell of.

use std::collections::{BTreeMap, BTreeSet};

use myriad::storage::marks::Clocks;
use myriad::storage::segment::{Piece, SEGMENT_HEADER_LEN, SegmentHeader, SegmentReader};
use myriad::storage::simulated_disk::SimulatedDisk;
use myriad::storage::{Disk, Entry, Finding, RecoverOptions, Report, Restored, recover};

use crate::random::Random;
use crate::trace::{Check, broken, ensure};

/// Bits at most.
const FLIPS_MAX: u64 = 4;

fn options(accept_damage: bool) -> RecoverOptions {
    RecoverOptions { accept_damage, store_id: 1, user_key: 1 }
}

/// Flips some bits of the segments of `disk`.
pub fn flip(disk: &SimulatedDisk, random: &mut Random) -> Vec<(String, usize)> {
    let names: Vec<String> =
        disk.list().unwrap_or_default().into_iter().filter(|name| name.ends_with(".myj")).collect();
    let mut flips = Vec::new();
    for _ in 0..random.within(1, FLIPS_MAX) {
        let Some(name) = (!names.is_empty()).then(|| names[random.below(names.len())].clone()) else { break };
        let bits = disk.len(&name).unwrap_or(0) * 8;
        if bits > 0 {
            let bit = random.below(bits as usize);
            disk.flip_bit(&name, bit);
            flips.push((name, bit));
        }
    }
    flips
}

/// The same files on another disk.
fn copy(disk: &SimulatedDisk) -> std::io::Result<SimulatedDisk> {
    let mut copy = SimulatedDisk::new(1);
    for name in disk.list()? {
        let mut file = copy.create(&name)?;
        copy.append(&mut file, &[&disk.read(&name, 0, usize::MAX)?])?;
        copy.sync(&mut file)?;
    }
    copy.sync_names()?;
    Ok(copy)
}

/// Recovers from a copy with flipped bits beside a recovery without; gives how many flips lost something.
pub fn check(disk: &SimulatedDisk, now: Clocks, random: &mut Random) -> Check<u64> {
    let Ok((whole, ..)) = recover(disk, now, &options(false), &mut |_| ()) else { return Ok(0) };
    let Ok(hurt) = copy(disk) else { return Ok(0) };
    let flips = flip(&hurt, random);
    let (found, report) = match recover(&hurt, now, &options(false), &mut |_| ()) {
        Ok((found, _, report)) => (found, report),
        Err(error) => {
            let text = error.to_string();
            ensure(text.contains(".myj"), "flip-refused-by-name", || text.clone())?;
            match recover(&hurt, now, &options(true), &mut |_| ()) {
                // What is left without whole files nobody can bound.
                Ok(_) => return Ok(1),
                Err(again) => return broken("flip-can-be-accepted", format!("{text}; then {again}")),
            }
        }
    };
    let Some(told) = Told::of(disk, &report) else { return Ok(1) };
    let (before, after) = (describe(&whole), describe(&found));
    let mut lost = 0;
    for key in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
        if before.get(key) == after.get(key) {
            continue;
        }
        lost += 1;
        let is_told = told.covers(key, [before.get(key), after.get(key)]);
        ensure(is_told, "flip-loss-is-bounded", || {
            format!(
                "{key:?} is not the same after {flips:?}, and nobody told: {:?}\nbefore {:?}\nafter {:?}",
                report.findings,
                before.get(key),
                after.get(key)
            )
        })?;
    }
    Ok(lost)
}

/// What a state consists of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Session(u64),
    Retained(String),
}

/// A part of a state: all of it as text, and the messages in it.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    text: String,
    messages: BTreeSet<u64>,
}

fn describe(restored: &Restored) -> BTreeMap<Key, Part> {
    let mut parts = BTreeMap::new();
    for session in &restored.sessions {
        let inflight = session.inflight.iter().filter_map(|(_, slot)| match slot {
            myriad::storage::RestoredSlot::Publish(delivery) => Some(delivery),
            myriad::storage::RestoredSlot::Release => None,
        });
        let messages = inflight.chain(&session.mqueue).map(|delivery| delivery.message.head().number);
        let (subscriptions, inbound) = (&session.subscriptions, &session.inbound);
        // When a connected one was last seen depends on the last frame of all.
        let text = format!(
            "{} {subscriptions:?} {inbound:?} {:?} {:?} {:?}",
            session.client_id, session.inflight, session.mqueue, session.will
        );
        parts.insert(Key::Session(session.serial), Part { text, messages: messages.collect() });
    }
    for message in &restored.retained {
        let messages = BTreeSet::from([message.head().number]);
        parts.insert(
            Key::Retained(message.topic().to_owned()),
            Part { text: format!("{message:?}"), messages },
        );
    }
    parts
}

/// What the frames that a report says are lost told of.
#[derive(Debug, Default)]
struct Told {
    sessions: BTreeSet<u64>,
    messages: BTreeSet<u64>,
    topics: BTreeSet<String>,
}

impl Told {
    /// `None`: it names whole files, and nobody can bound that.
    fn of(whole: &SimulatedDisk, report: &Report) -> Option<Self> {
        let mut told = Self::default();
        for finding in &report.findings {
            let (file, from, to) = match finding {
                Finding::Damage { file, damage } => (file, damage.offset, damage.offset + damage.len),
                Finding::TornTail { file, offset, len } => (file, *offset, offset + len),
                Finding::Entry { file, offset, .. } => (file, *offset, offset + 1),
                Finding::Deliveries(_) | Finding::Retained(_) => continue,
                _ => return None,
            };
            told.read(whole, file, from, to);
        }
        Some(told)
    }

    /// Adds what the frames of `file` that begin from `from` to `to` tell of.
    fn read(&mut self, whole: &SimulatedDisk, file: &str, from: u64, to: u64) {
        let bytes = whole.read(file, 0, SEGMENT_HEADER_LEN).unwrap_or_default();
        let (Ok(header), Ok(len)) = (SegmentHeader::decode(&bytes), whole.len(file)) else { return };
        let mut reader = SegmentReader::new(whole, file, header.key(), header.first_frame, len);
        while let Ok(Some(piece)) = reader.next() {
            if let Piece::Frame { offset, body, .. } = piece
                && (from..to).contains(&offset)
            {
                let mut rest = &body[super::store::time_len(body)..];
                while let Ok(entry) = Entry::decode(&mut rest) {
                    self.add(&entry);
                }
            }
        }
    }

    fn add(&mut self, entry: &Entry<'_>) {
        match *entry {
            Entry::Message(message) => {
                self.messages.insert(message.number);
                self.topics.insert(message.topic.to_owned());
            }
            Entry::Session(session) => {
                self.sessions.insert(session.serial);
            }
            Entry::Deliver(delivery) => {
                self.sessions.insert(delivery.serial);
            }
            Entry::Reset { serial }
            | Entry::End { serial, .. }
            | Entry::Subscribe { serial, .. }
            | Entry::Unsubscribe { serial, .. }
            | Entry::Sent { serial, .. }
            | Entry::Gone { serial, .. }
            | Entry::Done { serial, .. }
            | Entry::Received { serial, .. }
            | Entry::Inbound { serial, .. }
            | Entry::InboundDone { serial, .. } => {
                self.sessions.insert(serial);
            }
            Entry::Commit { number, publisher, .. } => {
                self.messages.insert(number);
                self.sessions.insert(publisher);
            }
            Entry::Retain { number } | Entry::Confirm { number } => {
                self.messages.insert(number);
            }
            Entry::Unretain { topic } => {
                self.topics.insert(topic.to_owned());
            }
        }
    }

    fn covers(&self, key: &Key, parts: [Option<&Part>; 2]) -> bool {
        let is_told = match key {
            Key::Session(serial) => self.sessions.contains(serial),
            Key::Retained(topic) => self.topics.contains(topic),
        };
        let messages = parts.into_iter().flatten().flat_map(|part| &part.messages);
        is_told || messages.into_iter().any(|number| self.messages.contains(number))
    }
}
