//! Message Expiry Interval (5.0 section 3.3.2.3.3): counted down on the way, never delivered late, never dropped early.
//! The model knows when the broker was given a PUBLISH and when it had handled it, mostly the same moment.

use super::message::{Message, MessageNumber, Passage, Stored};
use super::receive::{Reception, Way};
use super::session::Session;
use super::will::{LATE_MS, Verdict, Will};
use super::{Connection, Model};
use crate::socket::SocketId;
use crate::trace::{Check, ensure};

/// Between two searches for expired retained messages.
const SWEEP_MS: u64 = 10_000;

/// A PUBLISH on its way to the broker: where its last byte is in the stream.
#[derive(Debug, Clone)]
pub struct Upload {
    end: u64,
    message: MessageNumber,
    passage: Option<usize>,
}

/// The earliest and the latest moment at which a message may expire.
type Deadline = (u64, u64);

/// What is left of the interval, as the broker has to say it: whole seconds, rounded up, never 0.
fn left_s(deadline: u64, now: u64) -> u64 {
    deadline.saturating_sub(now).div_ceil(1000).max(1)
}

impl Model {
    /// A PUBLISH goes out on `socket`; its last byte is the `end`th of the stream.
    pub fn uploaded(&mut self, socket: SocketId, end: u64, message: MessageNumber) {
        self.connections[socket].uploads.push_back(Upload { end, message, passage: None });
    }

    /// The broker was given the stream up to `offset`.
    pub fn fed(&mut self, socket: SocketId, offset: u64, now: u64) {
        let Self { connections, messages, .. } = self;
        for upload in connections[socket].uploads.iter_mut().take_while(|u| u.end <= offset) {
            let passages = &mut messages[upload.message].passages;
            upload.passage.get_or_insert_with(|| {
                passages.push(Passage { from: now, until: None });
                passages.len() - 1
            });
        }
    }

    /// And has handled it.
    pub fn handled(&mut self, socket: SocketId, offset: u64, now: u64) {
        let Self { connections, messages, .. } = self;
        let uploads = &mut connections[socket].uploads;
        let count = uploads.iter().take_while(|u| u.end <= offset).count();
        for upload in uploads.drain(..count) {
            if let Some(passage) = upload.passage {
                messages[upload.message].passages[passage].until = Some(now);
            }
        }
    }

    /// Checks what a PUBLISH says of its expiry, and that it was not written after it.
    pub(super) fn check_expiry(
        &mut self,
        number: MessageNumber,
        reception: &Reception<'_>,
        way: Way,
    ) -> Check {
        let Reception { written, publish, is_v5, .. } = *reception;
        let (deadlines, may_lack) = self.deadlines(number, publish.retain && way != Way::Live, written);
        let may_lack = may_lack || way == Way::Either && self.messages[number].expiry_s.is_none();
        self.checked.expiries += u64::from(!may_lack);
        let story = || {
            let message = &self.messages[number];
            format!("message {number} {message:?} written at {written} with {:?} s left", publish.expiry_s)
        };
        // What was begun may go on after its time: only the first copy counts.
        let in_time = deadlines.iter().any(|deadline| deadline.1 > written);
        ensure(may_lack || publish.dup || in_time, "not-after-its-expiry", story)?;
        let right = match publish.expiry_s {
            None => may_lack || !is_v5,
            Some(left) => deadlines.iter().any(|&(earliest, latest)| {
                (left_s(earliest, written)..=left_s(latest, written)).contains(&left.into())
            }),
        };
        ensure(right, "expiry-counted-down", story)
    }

    /// When a message expires; and whether it may have come without any expiry. `retained`: as a retained message, which
    /// may have got one from `retained.expiry_s`.
    fn deadlines(&self, number: MessageNumber, retained: bool, seen: u64) -> (Vec<Deadline>, bool) {
        let message = &self.messages[number];
        let passages = self.passages(number, seen);
        let after = |expiry_s: u32, (from, until): Deadline| {
            (from + u64::from(expiry_s) * 1000, until + u64::from(expiry_s) * 1000)
        };
        if let Some(expiry_s) = message.expiry_s {
            return (passages.into_iter().map(|p| after(expiry_s, p)).collect(), false);
        }
        if !retained {
            return (Vec::new(), true);
        }
        let mut deadlines = Vec::new();
        let mut may_lack = false;
        for (from, until) in passages {
            // At its slice it is later, at its acknowledgement it is there.
            let stored = message.accepted_at.filter(|_| message.sent.len() == 1).unwrap_or(seen).max(until);
            for config in self.settings.during(from, stored) {
                match config.retained.expiry_s {
                    0 => may_lack = true,
                    expiry_s => deadlines.push(after(expiry_s, (from, stored))),
                }
            }
        }
        (deadlines, may_lack)
    }

    /// When the broker took the message, for each time that it was given it.
    fn passages(&self, number: MessageNumber, seen: u64) -> Vec<Deadline> {
        let message = &self.messages[number];
        if message.will {
            let connection = &self.connections[message.socket];
            return connection.will.iter().map(|will| will_published(will, connection, seen)).collect();
        }
        let until = |passage: &Passage| passage.until.unwrap_or(seen).min(seen);
        message.passages.iter().map(|p| (p.from, until(p))).collect()
    }

    /// Whether a message may have expired by `now`; as a retained one or live.
    pub(super) fn may_have_expired(&self, number: MessageNumber, retained: bool, now: u64) -> bool {
        self.deadlines(number, retained, now).0.iter().any(|deadline| deadline.0 <= now)
    }

    /// A session never got a message that it is owed. True: it expired in the queue, as far as one can know; what came
    /// after it in the same queue was not sent while it was alive.
    pub(super) fn has_expired_waiting(&self, session: &Session, number: MessageNumber, now: u64) -> bool {
        let (deadlines, _) = self.deadlines(number, false, now);
        let Some(alive_until) = deadlines.iter().map(|deadline| deadline.0).min() else { return false };
        let lost = &self.messages[number];
        let is_later = |other: &Message| lost.interval().1 < other.interval().0;
        let overtaken = session.got.iter().any(|(&other, got)| {
            got.queued_at.is_some_and(|at| at < alive_until)
                && is_later(&self.messages[other])
                && session.is_owed(&self.messages[other])
        });
        alive_until <= now && !overtaken
    }

    /// Whether the message was kept as its topic's retained message, as its publisher may know at `now`.
    pub(super) fn storage(&self, number: MessageNumber, now: u64) -> Stored {
        let message = &self.messages[number];
        let from = message.passages.iter().map(|p| p.from).min().unwrap_or(0);
        if message.delete {
            return Stored::Yes;
        }
        let too_large =
            |config: &myriad::config::Config| message.size > config.retained.payload_bytes_max as usize;
        let mut configs = self.settings.during(from, now).peekable();
        if configs.peek().is_some() && self.settings.during(from, now).all(too_large) {
            return Stored::No;
        }
        let open = |config: &myriad::config::Config| too_large(config) || config.retained.count_max < 1000;
        if configs.any(open) { Stored::Maybe } else { Stored::Yes }
    }

    /// Topics whose retained message may have expired and still be counted at `now`.
    pub(super) fn may_be_counted(&self, topic: &str, now: u64) -> bool {
        let retained = |(_, m): &(usize, &Message)| m.topic == topic && m.retain && !m.sent.is_empty();
        self.messages.iter().enumerate().filter(retained).any(|(number, _)| {
            let unswept = |deadline: &Deadline| deadline.0 <= now && deadline.1 + SWEEP_MS + LATE_MS >= now;
            self.deadlines(number, true, now).0.iter().any(unswept)
        })
    }
}

/// When a Will was published: its expiry counts from there.
fn will_published(will: &Will, connection: &Connection, seen: u64) -> Deadline {
    let begin = connection.connect_sent.map_or(0, |moment| moment.at);
    let (from, until) = match will.verdict {
        Verdict::Must { not_before: 0, .. } | Verdict::May | Verdict::Armed | Verdict::Never => (begin, seen),
        Verdict::Must { not_before, .. } if will.delay_s == 0 => (not_before, not_before),
        Verdict::Must { not_before, .. } => (not_before, not_before + LATE_MS),
        Verdict::Waiting { maybe_early: true, .. } => (begin, seen),
        Verdict::Waiting { due, .. } => (due, due + LATE_MS),
    };
    (from, until.min(seen).max(from))
}
