//! A shard's slice of the Retained Messages: one message per Topic Name, ordered by topic, so that a filter with
//! wildcards reads only the parts of the order where it can match, in portions, with a topic as cursor.
//! Which shard's slice a topic belongs to is `interest::Placement`'s to say; limits are the broker's.

mod seek;

#[cfg(test)]
mod tests;

use crate::topic::{has_wildcard, literal_prefix};
use seek::{Next, Seek};
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Bound;

/// What a [`RetainedStore`] holds: a message, or a pointer to one, that knows its topic. The topic never changes
/// while it is stored.
pub trait Stored {
    /// The Topic Name.
    fn topic(&self) -> &str;

    /// Bytes that the message counts for in [`RetainedStore::bytes`]; the same at every call.
    fn size_bytes(&self) -> usize {
        self.topic().len()
    }
}

impl<M: Stored + ?Sized> Stored for std::sync::Arc<M> {
    fn topic(&self) -> &str {
        (**self).topic()
    }

    fn size_bytes(&self) -> usize {
        (**self).size_bytes()
    }
}

/// A slice of the Retained Messages. Beyond `M` itself (which has the topic in it) a message costs 4 to 9 bytes.
#[derive(Debug)]
pub struct RetainedStore<M> {
    messages: BTreeSet<ByTopic<M>>,
    bytes: usize,
}

/// What a [`RetainedStore::scan`] or [`RetainedStore::sweep`] came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// The topic after which to go on; `None` when all was seen. It stays good whatever changes meanwhile.
    pub next: Option<Box<str>>,
    /// Messages looked at.
    pub visited: usize,
}

impl Scan {
    /// True when all was seen.
    pub const fn is_done(&self) -> bool {
        self.next.is_none()
    }
}

impl<M: Stored> Default for RetainedStore<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M: Stored> RetainedStore<M> {
    /// An empty slice.
    pub const fn new() -> Self {
        Self { messages: BTreeSet::new(), bytes: 0 }
    }

    /// Stores a message and returns the one of the same topic that it replaces. (An empty payload deletes: that is
    /// for the caller to see, and to call [`remove`](Self::remove).)
    pub fn insert(&mut self, message: M) -> Option<M> {
        self.bytes += message.size_bytes();
        let ByTopic(old) = self.messages.replace(ByTopic(message))?;
        self.bytes -= old.size_bytes();
        Some(old)
    }

    /// Takes the message of a topic out.
    pub fn remove(&mut self, topic: &str) -> Option<M> {
        let ByTopic(old) = self.messages.take(topic)?;
        self.bytes -= old.size_bytes();
        Some(old)
    }

    /// The message of a topic.
    pub fn get(&self, topic: &str) -> Option<&M> {
        self.messages.get(topic).map(|ByTopic(message)| message)
    }

    /// Number of messages.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// True without messages.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Sum of [`Stored::size_bytes`].
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// All messages after a topic, in the order of topics.
    pub fn iter_after(&self, after: Option<&str>) -> impl Iterator<Item = &M> + '_ {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.messages.range::<str, _>((from, Bound::Unbounded)).map(|ByTopic(message)| message)
    }
}

impl<M: Stored + Clone> RetainedStore<M> {
    /// Appends to `out` the messages after topic `after` that match a valid Topic Filter (without
    /// `$share/{ShareName}/`) and are `live` (not expired), in the order of topics: at most `limit` of them, after
    /// looking at no more than `budget` messages (each at least 1). Parts of the order where the filter can't match are
    /// skipped, not looked at.
    pub fn scan(
        &self,
        filter: &str,
        after: Option<&str>,
        budget: usize,
        limit: usize,
        out: &mut Vec<M>,
        live: impl Fn(&M) -> bool,
    ) -> Scan {
        if !has_wildcard(filter) {
            let found = self.get(filter).filter(|message| after.is_none() && live(message));
            out.extend(found.cloned());
            return Scan { next: None, visited: usize::from(found.is_some()) };
        }
        let mut seek = Seek::new(filter);
        // No topic below the literal prefix matches; a cursor is never below it.
        let first = after.map_or(Bound::Included(literal_prefix(filter)), Bound::Excluded);
        let mut range = self.messages.range::<str, _>((first, Bound::Unbounded));
        let (mut visited, mut found) = (0, 0);
        while let Some(ByTopic(message)) = range.next() {
            visited += 1;
            match seek.next(message.topic()) {
                Next::Matches if live(message) => {
                    out.push(message.clone());
                    found += 1;
                }
                Next::Matches | Next::Following => {}
                Next::From(topic) => {
                    range = self.messages.range::<str, _>((Bound::Included(topic), Bound::Unbounded));
                }
                Next::Nowhere => break,
            }
            if visited >= budget || found >= limit {
                return Scan { next: Some(message.topic().into()), visited };
            }
        }
        Scan { next: None, visited }
    }

    /// Looks at up to `budget` messages (at least 1) after topic `after` and moves those that are not `live` any more
    /// to `dead`.
    pub fn sweep(
        &mut self,
        after: Option<&str>,
        budget: usize,
        live: impl Fn(&M) -> bool,
        dead: &mut Vec<M>,
    ) -> Scan {
        let (mut visited, mut last) = (0, None);
        let first_dead = dead.len();
        for message in self.iter_after(after) {
            visited += 1;
            if !live(message) {
                dead.push(message.clone());
            }
            if visited >= budget {
                last = Some(message.topic().into());
                break;
            }
        }
        for message in dead.iter().skip(first_dead) {
            self.remove(message.topic());
        }
        Scan { next: last, visited }
    }
}

/// A message ordered by the bytes of its topic.
#[derive(Debug)]
struct ByTopic<M>(M);

impl<M: Stored> Borrow<str> for ByTopic<M> {
    fn borrow(&self) -> &str {
        self.0.topic()
    }
}

impl<M: Stored> Ord for ByTopic<M> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.topic().cmp(other.0.topic())
    }
}

impl<M: Stored> PartialOrd for ByTopic<M> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<M: Stored> PartialEq for ByTopic<M> {
    fn eq(&self, other: &Self) -> bool {
        self.0.topic() == other.0.topic()
    }
}

impl<M: Stored> Eq for ByTopic<M> {}
