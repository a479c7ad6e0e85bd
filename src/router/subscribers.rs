//! The subscribers of one filter: a sorted list in chunks, four bytes each.
//! One subscriber is stored in the filter's own entry; the list begins with the second.

use super::merge::Position;
use super::options::Entry;
use super::{SessionIndex, SubscriptionOptions};
use smallvec::SmallVec;

/// Entries of a chunk at most: 4 KB, the most that one insertion moves.
const CHUNK_LEN: usize = 1024;
/// Neighbours that together hold no more than this are joined, so that chunks stay at least a quarter full on average.
const JOIN_LEN: usize = CHUNK_LEN / 2;

/// Subscribers of a filter, sorted by session index: none, one in place, or a list on the heap.
#[derive(Debug)]
pub(super) struct Subscribers {
    list: Option<Box<List>>,
    /// The only subscriber, or `Entry::NONE`; unused while there is a list.
    one: Entry,
    /// Groups of Shared Subscriptions are attached to the filter; here because there is room.
    pub(super) has_groups: bool,
}

/// At least two subscribers. Every chunk is sorted and not empty, and below the next one.
#[derive(Debug)]
struct List {
    chunks: SmallVec<[Vec<Entry>; 1]>,
    len: usize,
}

impl Subscribers {
    pub(super) const fn new() -> Self {
        Self { list: None, one: Entry::NONE, has_groups: false }
    }

    pub(super) fn len(&self) -> usize {
        match &self.list {
            Some(list) => list.len,
            None => usize::from(self.one != Entry::NONE),
        }
    }

    /// Adds a subscriber or replaces its options; true if it is new.
    pub(super) fn insert(&mut self, entry: Entry) -> bool {
        if let Some(list) = &mut self.list {
            return list.insert(entry);
        }
        if self.one == Entry::NONE || self.one.session() == entry.session() {
            return std::mem::replace(&mut self.one, entry) == Entry::NONE;
        }
        let pair = vec![self.one.min(entry), self.one.max(entry)];
        self.list = Some(Box::new(List { chunks: SmallVec::from_buf([pair]), len: 2 }));
        true
    }

    /// Removes a subscriber; what its options were.
    pub(super) fn remove(&mut self, session: SessionIndex) -> Option<SubscriptionOptions> {
        let Some(list) = &mut self.list else {
            let found = self.one != Entry::NONE && self.one.session() == session;
            return found.then(|| std::mem::replace(&mut self.one, Entry::NONE).options());
        };
        let removed = list.remove(session)?;
        if list.len == 1 {
            self.one = list.chunks.first().and_then(|chunk| chunk.first()).copied().unwrap_or(Entry::NONE);
            self.list = None;
        }
        Some(removed.options())
    }

    pub(super) fn options(&self, session: SessionIndex) -> Option<SubscriptionOptions> {
        let first = self.from(Entry::first_of(session)).next()?;
        (first.session() == session).then(|| first.options())
    }

    /// Where the subscribers at `first` and above begin.
    pub(super) fn seek(&self, first: Entry) -> Position {
        let Some(list) = &self.list else {
            return Position { chunk: 0, place: u32::from(self.one < first) };
        };
        let chunk = list.chunk_of(first);
        let place = list.chunks.get(chunk).map_or(0, |chunk| chunk.partition_point(|entry| *entry < first));
        Position { chunk: chunk as u32, place: place as u32 }
    }

    /// The subscriber at a position, or the first one of the next chunk; and the position after it.
    pub(super) fn at(&self, at: Position) -> Option<(Entry, Position)> {
        let Some(list) = &self.list else {
            let found = at == Position::default() && self.one != Entry::NONE;
            return found.then_some((self.one, Position { chunk: 0, place: 1 }));
        };
        let here = list.chunks.get(at.chunk as usize)?;
        if let Some(entry) = here.get(at.place as usize) {
            return Some((*entry, Position { place: at.place + 1, ..at }));
        }
        let chunk = at.chunk + 1;
        let entry = list.chunks.get(chunk as usize)?.first()?;
        Some((*entry, Position { chunk, place: 1 }))
    }

    /// The subscribers at `first` and above.
    pub(super) fn from(&self, first: Entry) -> Entries<'_> {
        let Some(list) = &self.list else {
            let within = self.one != Entry::NONE && self.one >= first;
            let one = if within { std::slice::from_ref(&self.one) } else { &[] };
            return Entries { current: one.iter(), chunks: [].iter() };
        };
        let chunk = list.chunk_of(first);
        let mut chunks = list.chunks.get(chunk..).unwrap_or(&[]).iter();
        let current = chunks.next().map_or(&[][..], |chunk| chunk.as_slice());
        let skip = current.partition_point(|entry| *entry < first);
        Entries { current: current.get(skip..).unwrap_or(&[]).iter(), chunks }
    }
}

impl List {
    /// The chunk where `entry` is or belongs: the last one that begins at or below it, or the first.
    fn chunk_of(&self, entry: Entry) -> usize {
        let above = self.chunks.partition_point(|chunk| chunk.first().is_some_and(|first| *first <= entry));
        above.saturating_sub(1)
    }

    fn insert(&mut self, entry: Entry) -> bool {
        let first = Entry::first_of(entry.session());
        // By the session's highest word, because the entry that is replaced may begin a chunk.
        let index = self.chunk_of(Entry::last_of(entry.session()));
        let is_last = index + 1 == self.chunks.len();
        let Some(chunk) = self.chunks.get_mut(index) else { return false };
        let place = chunk.partition_point(|other| *other < first);
        if let Some(other) = chunk.get_mut(place)
            && other.session() == entry.session()
        {
            *other = entry;
            return false;
        }
        self.len += 1;
        if chunk.len() < CHUNK_LEN {
            chunk.insert(place, entry);
        } else if is_last && place == chunk.len() {
            // Sessions are mostly numbered upwards: a new chunk keeps the full one full.
            self.chunks.push(vec![entry]);
        } else {
            let mut upper = chunk.split_off(CHUNK_LEN / 2);
            match place.checked_sub(CHUNK_LEN / 2) {
                Some(place) => upper.insert(place, entry),
                None => chunk.insert(place, entry),
            }
            self.chunks.insert(index + 1, upper);
        }
        true
    }

    fn remove(&mut self, session: SessionIndex) -> Option<Entry> {
        let index = self.chunk_of(Entry::last_of(session));
        let chunk = self.chunks.get_mut(index)?;
        let place = chunk.partition_point(|entry| *entry < Entry::first_of(session));
        if chunk.get(place)?.session() != session {
            return None;
        }
        let removed = chunk.remove(place);
        self.len -= 1;
        if chunk.len() * 4 <= chunk.capacity() {
            chunk.shrink_to(chunk.len() * 2);
        }
        if chunk.is_empty() {
            self.chunks.remove(index);
        } else if !self.join(index) {
            index.checked_sub(1).map(|previous| self.join(previous));
        }
        if self.chunks.len() * 4 <= self.chunks.capacity() {
            self.chunks.shrink_to_fit();
        }
        Some(removed)
    }

    /// Joins a chunk with the next one if both are nearly empty.
    fn join(&mut self, index: usize) -> bool {
        let len = |index: usize| self.chunks.get(index).map_or(CHUNK_LEN, Vec::len);
        if len(index) + len(index + 1) > JOIN_LEN {
            return false;
        }
        let upper = self.chunks.remove(index + 1);
        if let Some(chunk) = self.chunks.get_mut(index) {
            chunk.extend_from_slice(&upper);
        }
        true
    }
}

/// Entries of a filter in order.
#[derive(Debug, Clone)]
pub(super) struct Entries<'a> {
    current: std::slice::Iter<'a, Entry>,
    chunks: std::slice::Iter<'a, Vec<Entry>>,
}

impl Iterator for Entries<'_> {
    type Item = Entry;

    #[inline]
    fn next(&mut self) -> Option<Entry> {
        loop {
            if let Some(entry) = self.current.next() {
                return Some(*entry);
            }
            self.current = self.chunks.next()?.iter();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn check(list: &Subscribers, model: &BTreeMap<u32, u8>) {
        assert_eq!(list.len(), model.len());
        let expected = model.iter().map(|(session, bits)| (*session, *bits));
        assert!(
            list.from(Entry::first_of(SessionIndex(0)))
                .map(|e| (e.session().0, e.options().bits()))
                .eq(expected)
        );
        if let Some(list) = &list.list {
            assert!(list.chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= CHUNK_LEN));
            assert!(list.chunks.windows(2).all(|pair| pair[0].last() < pair[1].first()));
        }
    }

    #[test]
    fn subscribers_agree_with_a_map_under_random_changes() {
        let mut list = Subscribers::new();
        let mut model = BTreeMap::new();
        let mut random = 99_u64;
        for step in 0..120_000_u32 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let session = (random >> 40) as u32 % 12_000;
            let bits = (random >> 33) as u8 % 3;
            // Three tides: up, down to (nearly) nothing, up again.
            if (step / 30_000) % 2 == 0 {
                let new =
                    list.insert(Entry::new(SessionIndex(session), SubscriptionOptions::from_bits(bits)));
                assert_eq!(new, model.insert(session, bits).is_none());
            } else if let Some((&session, _)) = model.range(session..).next() {
                let removed = list.remove(SessionIndex(session)).map(SubscriptionOptions::bits);
                assert_eq!(removed, model.remove(&session));
                assert_eq!(list.remove(SessionIndex(session)), None);
            }
            let options = list.options(SessionIndex(session)).map(SubscriptionOptions::bits);
            assert_eq!(options, model.get(&session).copied());
            if step % 997 == 0 {
                check(&list, &model);
                let from = list.from(Entry::first_after(SessionIndex(session))).next().map(|e| e.session().0);
                assert_eq!(from, model.range(session + 1..).next().map(|(session, _)| *session));
            }
        }
        check(&list, &model);
        for session in model.keys().rev() {
            assert!(list.remove(SessionIndex(*session)).is_some());
        }
        assert_eq!((list.len(), list.list.is_none()), (0, true));
    }

    #[test]
    fn many_subscribers_cost_about_four_bytes_each() {
        for order in [1_u32, 7919] {
            let mut list = Subscribers::new();
            for session in 0..100_000_u32 {
                list.insert(Entry::new(
                    SessionIndex(session * order % 100_000),
                    SubscriptionOptions::default(),
                ));
            }
            let Some(heap) = &list.list else { return assert!(list.list.is_some()) };
            let bytes: usize = heap.chunks.iter().map(|chunk| chunk.capacity() * 4 + 32).sum();
            assert!(bytes < 900_000, "{} bytes for 100,000 subscribers", bytes);
        }
    }
}
