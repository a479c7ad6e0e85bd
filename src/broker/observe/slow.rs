//! Slow subscribers: clients that do not take what is for them as fast as it comes. Noted where something had to wait or was
//! dropped for one, so that those who keep up cost nothing. A shard remembers a bounded number, for some minutes.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::super::Broker;
use super::super::clients::Clients;
use super::super::effects::Effects;
use super::super::mount::{client_id_of, mount_of};
use crate::clock::Timestamp;
use crate::session::SessionSerial;

/// Clients that a shard remembers.
const CLIENTS_MAX: usize = 256;
/// Clients that a shard tells of.
const LISTED_MAX: usize = 100;
/// How long one is remembered after the last time that something had to wait.
const FORGET_MS: u64 = 300_000;
/// An mqueue of a connected client that is worth a note, and each time that it has doubled.
const MQUEUE_LEN_MIN: usize = 16;
/// An old one gives way to a new one where there is no room, if nothing had to wait for it for so long.
const REPLACEABLE_MS: u64 = 10_000;

/// A client that was slow in the last minutes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlowClient {
    /// Client Identifier.
    pub client_id: Box<str>,
    /// Within which mountpoint it lives; empty: none.
    pub mountpoint: Box<str>,
    /// Bytes that waited for it, at most.
    pub outbound_bytes: usize,
    /// Messages that waited in its mqueue, at most.
    pub queued: usize,
    /// Messages dropped for it because they could not wait.
    pub dropped: u64,
    /// The longest that it took until nothing had to wait any more, or has taken so far.
    pub worst_delay_ms: u64,
}

#[derive(Debug)]
struct Noted {
    serial: SessionSerial,
    outbound_bytes: usize,
    queued: usize,
    dropped: u64,
    /// Since when something waits.
    since: Option<Timestamp>,
    worst_ms: u64,
    noted_at: Timestamp,
}

/// The slow clients of a shard, by session.
#[derive(Debug, Default)]
pub(in crate::broker) struct Slow {
    noted: BTreeMap<u32, Noted>,
    /// When there was last no room for one: looking for it again and again is not worth it.
    full_at: Timestamp,
}

impl Slow {
    /// The note on a session, if there is or can be one.
    fn note(&mut self, now: Timestamp, index: u32, serial: SessionSerial) -> Option<&mut Noted> {
        let is_known = self.noted.get(&index).is_some_and(|noted| noted.serial == serial);
        if !is_known {
            if self.noted.len() >= CLIENTS_MAX && !self.noted.contains_key(&index) && !self.make_room(now) {
                return None;
            }
            let new = Noted {
                serial,
                outbound_bytes: 0,
                queued: 0,
                dropped: 0,
                since: None,
                worst_ms: 0,
                noted_at: now,
            };
            self.noted.insert(index, new);
        }
        let noted = self.noted.get_mut(&index)?;
        noted.noted_at = now;
        Some(noted)
    }

    /// The one that has been quiet for the longest time goes, if that is long enough.
    fn make_room(&mut self, now: Timestamp) -> bool {
        if self.full_at == now {
            return false;
        }
        let oldest = self.noted.iter().min_by_key(|(_, noted)| noted.noted_at);
        let oldest = oldest.filter(|(_, noted)| now.ms_since(noted.noted_at) > REPLACEABLE_MS);
        match oldest.map(|(index, _)| *index) {
            Some(index) => self.noted.remove(&index).is_some(),
            None => {
                self.full_at = now;
                false
            }
        }
    }

    /// Nothing waits for the client of this session any more.
    #[inline]
    pub(in crate::broker) fn relieved(&mut self, now: Timestamp, index: u32) {
        if self.noted.is_empty() {
            return;
        }
        if let Some(noted) = self.noted.get_mut(&index)
            && let Some(since) = noted.since.take()
        {
            noted.worst_ms = noted.worst_ms.max(now.ms_since(since));
        }
    }

    /// Forgets those that keep up again.
    pub(super) fn forget(&mut self, now: Timestamp) {
        self.noted.retain(|_, noted| now.ms_since(noted.noted_at) < FORGET_MS);
    }
}

impl Clients {
    /// A message of QoS 0 was dropped: too much waits for the client.
    #[cold]
    pub(in crate::broker) fn note_dropped<E: Effects>(&mut self, now: Timestamp, index: u32, fx: &mut E) {
        let Some(session) = self.sessions.get(index) else { return };
        let (Some(id), serial) = (session.connection, session.serial) else { return };
        let outbound_bytes = fx.outbound_len(id);
        let Some(noted) = self.sight.slow.note(now, index, serial) else { return };
        noted.dropped += 1;
        noted.outbound_bytes = noted.outbound_bytes.max(outbound_bytes);
        if noted.since.is_none() {
            noted.since = Some(now);
            fx.want_drained(id);
        }
    }

    /// A message of QoS 1 or 2 had to wait in the mqueue.
    pub(in crate::broker) fn note_waiting<E: Effects>(&mut self, now: Timestamp, index: u32, fx: &mut E) {
        let len_max = self.config.session.queue_len_max as usize;
        let Some(session) = self.sessions.get(index) else { return };
        let Some(id) = session.connection else { return };
        let (queued, serial) = (session.mqueue_len(), session.serial);
        let is_full = queued >= len_max;
        if !is_full && (queued < MQUEUE_LEN_MIN || !queued.is_power_of_two()) {
            return;
        }
        let outbound_bytes = fx.outbound_len(id);
        let Some(noted) = self.sight.slow.note(now, index, serial) else { return };
        noted.queued = noted.queued.max(queued);
        noted.outbound_bytes = noted.outbound_bytes.max(outbound_bytes);
        noted.dropped += u64::from(is_full);
        noted.since.get_or_insert(now);
    }
}

impl Broker {
    /// The slow clients of this shard, the slowest first.
    pub(in crate::broker) fn slow_clients(&self, now: Timestamp) -> Vec<SlowClient> {
        let list = self.clients.sight.slow.noted.iter().filter_map(|(index, noted)| {
            let session =
                self.clients.sessions.get(*index).filter(|session| session.serial == noted.serial)?;
            Some(SlowClient {
                client_id: client_id_of(&session.client_id).into(),
                mountpoint: mount_of(&session.client_id).into(),
                outbound_bytes: noted.outbound_bytes,
                queued: noted.queued.max(session.mqueue_len()),
                dropped: noted.dropped,
                worst_delay_ms: noted.worst_ms.max(noted.since.map_or(0, |since| now.ms_since(since))),
            })
        });
        let mut list: Vec<_> = list.collect();
        list.sort_by_key(SlowClient::rank);
        list.truncate(LISTED_MAX);
        list
    }
}

impl SlowClient {
    /// By which the slowest comes first.
    pub fn rank(&self) -> Reverse<(u64, usize, usize)> {
        Reverse((self.worst_delay_ms, self.outbound_bytes, self.queued))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_remembered_and_the_quiet_ones_give_way() {
        let mut slow = Slow::default();
        for index in 0..1000 {
            slow.note(Timestamp(5), index, SessionSerial(1));
        }
        assert_eq!(slow.noted.len(), CLIENTS_MAX);
        let later = Timestamp(6 + REPLACEABLE_MS);
        slow.note(later, 3, SessionSerial(1)).unwrap().since = Some(Timestamp(5));
        assert!(slow.note(later, 5000, SessionSerial(9)).is_some());
        assert!(slow.noted.contains_key(&3) && slow.noted.len() == CLIENTS_MAX);
        slow.relieved(Timestamp(later.0 + 10), 3);
        assert_eq!(slow.noted[&3].worst_ms, REPLACEABLE_MS + 11);
        slow.forget(Timestamp(later.0 + FORGET_MS));
        assert!(slow.noted.is_empty());
    }

    #[test]
    fn a_later_session_at_the_same_place_begins_anew() {
        let mut slow = Slow::default();
        slow.note(Timestamp(5), 1, SessionSerial(1)).unwrap().dropped = 7;
        assert_eq!(slow.note(Timestamp(6), 1, SessionSerial(2)).unwrap().dropped, 0);
    }
}
