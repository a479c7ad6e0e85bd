//! Overlapping subscriptions: the subscribers of several filters merged by session, so that each session is met once
//! with all that matched it, whatever its version's rule makes of it. The buffers are kept from message to message.

use super::options::Entry;
use super::{FilterId, Router, SessionIndex, SubscriptionOptions};
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

/// The buffers of a merge, to be reused for every message.
#[derive(Debug, Default)]
pub struct Merge {
    heads: BinaryHeap<Reverse<Head>>,
    matched: Vec<(FilterId, SubscriptionOptions)>,
}

/// A merge under way. The router can't change meanwhile; to go on after it changed, start again after the session
/// that was met last.
#[derive(Debug)]
pub struct Merged<'a> {
    router: &'a Router,
    merge: &'a mut Merge,
}

/// The first subscriber of a filter that is not yet merged, and where the list goes on: by position and not by
/// reference, so that the heap can outlive the merge.
#[derive(Debug, Clone, Copy)]
struct Head {
    entry: Entry,
    filter: FilterId,
    next: Position,
}

/// A place in a list of subscribers, while the list does not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Position {
    pub(super) chunk: u32,
    pub(super) place: u32,
}

impl Merge {
    /// Empty buffers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins to merge the subscribers of `filters` (each given once, as [`Router::matching`] does), from the
    /// session after `after`. Costs one search a filter; each session costs `log2(filters)`.
    pub fn start<'a>(
        &'a mut self,
        router: &'a Router,
        filters: &[FilterId],
        after: Option<SessionIndex>,
    ) -> Merged<'a> {
        let first = after.map_or(Entry::first_of(SessionIndex(0)), Entry::first_after);
        self.heads.clear();
        for filter in filters {
            let Some(entry) = router.filters.get(filter.0) else { continue };
            let next = entry.subscribers.seek(first);
            self.heads.extend(Head::step(router, *filter, next).map(Reverse));
        }
        Merged { router, merge: self }
    }
}

impl Merged<'_> {
    /// The next session and all filters that matched it, with its options for each, by ascending filter.
    #[expect(clippy::should_implement_trait, reason = "the answer borrows the buffer, which no Iterator can")]
    pub fn next(&mut self) -> Option<(SessionIndex, &[(FilterId, SubscriptionOptions)])> {
        let Merge { heads, matched } = &mut *self.merge;
        let session = heads.peek()?.0.entry.session();
        matched.clear();
        while let Some(mut top) = heads.peek_mut() {
            let Head { entry, filter, next } = top.0;
            if entry.session() != session {
                break;
            }
            matched.push((filter, entry.options()));
            match Head::step(self.router, filter, next) {
                Some(head) => top.0 = head,
                None => drop(PeekMut::pop(top)),
            }
        }
        Some((session, matched))
    }
}

impl Head {
    fn step(router: &Router, filter: FilterId, at: Position) -> Option<Self> {
        let (entry, next) = router.filters.get(filter.0)?.subscribers.at(at)?;
        Some(Self { entry, filter, next })
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.entry.session(), self.filter).cmp(&(other.entry.session(), other.filter))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head {}
