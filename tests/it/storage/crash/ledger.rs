//! What the clients of the crash test know together: what was published and acknowledged, what arrived, and every fault found.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Display;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};

/// Faults beyond these say nothing new.
const FAULTS_KEPT: usize = 10_000;

/// What clients have to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(super) enum Phase {
    /// Everything.
    Traffic,
    /// Finish what is under way and begin nothing.
    Drain,
    /// Return.
    End,
}

/// What is known of a topic with a Retained Message. Its versions are numbered from 0.
#[derive(Debug, Default, Clone)]
pub(super) struct Retained {
    /// Whether each version that was sent deletes it.
    pub(super) deletes: Vec<bool>,
    /// The last version that was acknowledged.
    pub(super) acknowledged: Option<u32>,
}

/// Topics, and what came on them in the order of arrival.
pub(super) type Log = BTreeMap<String, Vec<u32>>;

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The disk fails at times, so the broker may refuse what needs it.
    pub(super) disk_fails: bool,
    phase: AtomicU8,
    round: AtomicU32,
    /// Clients that have something under way while draining.
    busy: AtomicUsize,
    faults: Mutex<Vec<String>>,
    /// How many messages each topic had; all numbers below have been sent.
    sent: Mutex<BTreeMap<String, u32>>,
    /// Numbers of a topic that were refused in the end: they may have come all the same.
    refused: Mutex<HashSet<(String, u32)>>,
    acknowledged: AtomicUsize,
    repeated: AtomicUsize,
    retained: Mutex<HashMap<String, Retained>>,
    logs: Mutex<HashMap<String, Log>>,
}

impl Ledger {
    pub(super) fn new(disk_fails: bool) -> Self {
        Self { disk_fails, ..Self::default() }
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::SeqCst) {
            0 => Phase::Traffic,
            1 => Phase::Drain,
            _ => Phase::End,
        }
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::SeqCst);
    }

    pub(super) fn begin_round(&self, round: u32) {
        self.round.store(round, Ordering::SeqCst);
    }

    /// A client begins to have something under way, or to have nothing.
    pub(super) fn set_busy(&self, was: &mut bool, is: bool) {
        match (*was, is) {
            (false, true) => drop(self.busy.fetch_add(1, Ordering::SeqCst)),
            (true, false) => drop(self.busy.fetch_sub(1, Ordering::SeqCst)),
            _ => {}
        }
        *was = is;
    }

    pub(super) fn busy(&self) -> usize {
        self.busy.load(Ordering::SeqCst)
    }

    /// Something that may not happen.
    pub(super) fn fault(&self, who: &str, what: impl Display) {
        let round = self.round.load(Ordering::SeqCst);
        let mut faults = self.faults.lock().unwrap();
        if faults.len() < FAULTS_KEPT {
            faults.push(format!("round {round}, {who}: {what}"));
        }
    }

    pub(super) fn faults(&self) -> Vec<String> {
        self.faults.lock().unwrap().clone()
    }

    /// The next number of a topic, which is sent now.
    pub(super) fn send(&self, topic: &str) -> u32 {
        let mut sent = self.sent.lock().unwrap();
        let next = sent.entry(topic.into()).or_default();
        *next += 1;
        *next - 1
    }

    /// PUBACK or PUBREC came.
    pub(super) fn acknowledge(&self) {
        self.acknowledged.fetch_add(1, Ordering::SeqCst);
    }

    /// PUBACK or PUBREC refused it, because of the disk.
    pub(super) fn refuse(&self, topic: &str, number: u32) {
        self.refused.lock().unwrap().insert((topic.into(), number));
    }

    pub(super) fn is_refused(&self, topic: &str, number: u32) -> bool {
        self.refused.lock().unwrap().contains(&(topic.into(), number))
    }

    pub(super) fn refusals(&self) -> usize {
        self.refused.lock().unwrap().len()
    }

    /// Whether an answer with this Reason Code says no more than that the broker or its disk is going. UNSUBACK has no 0x97.
    pub(super) fn may_say(&self, reason: u8) -> bool {
        reason == 0x8B || (matches!(reason, 0x83 | 0x97) && self.disk_fails)
    }

    /// A PUBLISH is sent again.
    pub(super) fn repeat(&self) {
        self.repeated.fetch_add(1, Ordering::SeqCst);
    }

    /// Messages acknowledged, and PUBLISHes sent again.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.acknowledged.load(Ordering::SeqCst), self.repeated.load(Ordering::SeqCst))
    }

    pub(super) fn sent(&self) -> BTreeMap<String, u32> {
        self.sent.lock().unwrap().clone()
    }

    /// The next version of a Retained Message, which is sent now.
    pub(super) fn send_retained(&self, topic: &str, deletes: bool) -> u32 {
        let mut retained = self.retained.lock().unwrap();
        let versions = &mut retained.entry(topic.into()).or_default().deletes;
        versions.push(deletes);
        versions.len() as u32 - 1
    }

    pub(super) fn acknowledge_retained(&self, topic: &str, version: u32) {
        let mut retained = self.retained.lock().unwrap();
        let acknowledged = &mut retained.get_mut(topic).unwrap().acknowledged;
        *acknowledged = (*acknowledged).max(Some(version));
    }

    pub(super) fn retained(&self) -> HashMap<String, Retained> {
        self.retained.lock().unwrap().clone()
    }

    /// A message arrived at a subscriber, not as a repetition of one with the same Packet Identifier.
    pub(super) fn arrived(&self, subscriber: &str, topic: &str, number: u32) {
        let mut logs = self.logs.lock().unwrap();
        let log = logs.entry(subscriber.into()).or_default();
        if let Some(numbers) = log.get_mut(topic) {
            numbers.push(number);
        } else {
            log.insert(topic.into(), vec![number]);
        }
    }

    pub(super) fn log(&self, subscriber: &str) -> Log {
        self.logs.lock().unwrap().get(subscriber).cloned().unwrap_or_default()
    }
}
