//! A shard's own index of subscriptions: which Topic Filters exist here, who subscribes to each with which options,
//! and which filters match a Topic Name. Filters without wildcards are found by one hash, the rest through a trie.
//! It knows sessions by index and groups of Shared Subscriptions by number, and nothing else about them.

mod merge;
mod options;
mod subscribers;
mod trie;

#[cfg(test)]
mod tests;

use crate::slab::{ChunkedSlab, KeyTable, ShortText};
use crate::topic::has_wildcard;
use ahash::RandomState;
pub use merge::{Merge, Merged};
use options::Entry;
pub use options::{SessionIndex, SubscriptionOptions};
use std::collections::BTreeMap;
use subscribers::Subscribers;
use trie::Trie;

/// A Topic Filter of this shard: valid while somebody subscribes to it, then given out again.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Ord, PartialOrd, Debug)]
pub struct FilterId(pub u32);

/// What [`Router::subscribe`] did.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Subscribed {
    /// The filter subscribed to.
    pub filter: FilterId,
    /// The session had no subscription to this filter; otherwise its options were replaced.
    pub is_new_subscription: bool,
    /// Nobody of this shard had this filter.
    pub is_new_filter: bool,
}

/// What [`Router::unsubscribe`] did.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Unsubscribed {
    /// The filter unsubscribed from; no longer valid if it is gone.
    pub filter: FilterId,
    /// It was the last subscriber, and no group is attached: the filter is forgotten.
    pub filter_gone: bool,
}

#[derive(Debug)]
struct Filter {
    name: ShortText,
    subscribers: Subscribers,
}

// With 10 to 19 bytes in the table: under 60 bytes for a filter of up to 22 bytes with one subscriber.
const _: () = assert!(size_of::<Filter>() == 40);

/// The subscriptions of one shard.
#[derive(Debug)]
pub struct Router {
    filters: ChunkedSlab<Filter>,
    /// Filters without wildcards, by their text.
    exact: KeyTable,
    /// Filters with wildcards.
    trie: Trie,
    /// Groups attached to a filter; such a filter says so itself, so this is asked for few.
    groups: BTreeMap<FilterId, Vec<u32>>,
    subscriptions: usize,
    hasher: RandomState,
}

impl Router {
    /// An empty index. `seed` keys its hashes, so that no client can choose names that collide.
    pub fn new(seed: u64) -> Self {
        let hasher = RandomState::with_seeds(
            seed,
            !seed,
            seed.rotate_left(32),
            seed.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        );
        Self {
            filters: ChunkedSlab::new(),
            exact: KeyTable::new(),
            trie: Trie::new(hasher.clone()),
            groups: BTreeMap::new(),
            subscriptions: 0,
            hasher,
        }
    }

    /// Subscribes `session` to a valid Topic Filter, or replaces the options of the subscription that it has
    /// ([MQTT-3.8.4-3]).
    ///
    /// # Panics
    /// If `session` is above [`SessionIndex::MAX`].
    pub fn subscribe(
        &mut self,
        filter: &str,
        session: SessionIndex,
        options: SubscriptionOptions,
    ) -> Subscribed {
        let (id, is_new_filter) = self.find_or_insert(filter);
        let entry = Entry::new(session, options);
        let is_new_subscription =
            self.filters.get_mut(id.0).is_some_and(|filter| filter.subscribers.insert(entry));
        self.subscriptions += usize::from(is_new_subscription);
        Subscribed { filter: id, is_new_subscription, is_new_filter }
    }

    /// Ends the subscription of `session` to the filter of this text; `None` if there is none.
    pub fn unsubscribe(&mut self, filter: &str, session: SessionIndex) -> Option<Unsubscribed> {
        self.unsubscribe_id(self.find(filter)?, session)
    }

    /// Ends the subscription of `session` to a filter; `None` if there is none.
    pub fn unsubscribe_id(&mut self, filter: FilterId, session: SessionIndex) -> Option<Unsubscribed> {
        self.filters.get_mut(filter.0)?.subscribers.remove(session)?;
        self.subscriptions -= 1;
        Some(Unsubscribed { filter, filter_gone: self.forget_if_unused(filter) })
    }

    /// The filter of exactly this text.
    pub fn find(&self, filter: &str) -> Option<FilterId> {
        if has_wildcard(filter) { self.trie.find(filter) } else { self.find_exact(filter) }
    }

    /// The text of a filter; empty for one that is gone.
    pub fn filter(&self, filter: FilterId) -> &str {
        self.filters.get(filter.0).map_or("", |filter| filter.name.as_str())
    }

    /// Appends to `out` the filters that match a valid Topic Name, each once and in no order; allocates nothing else.
    #[inline]
    pub fn matching(&self, topic: &str, out: &mut Vec<FilterId>) {
        out.extend(self.find_exact(topic));
        if !self.trie.is_empty() {
            self.trie.matching(topic, out);
        }
    }

    /// The options with which `session` subscribes to `filter`.
    pub fn options(&self, filter: FilterId, session: SessionIndex) -> Option<SubscriptionOptions> {
        self.filters.get(filter.0)?.subscribers.options(session)
    }

    /// The subscribers of a filter by ascending session index, from the one after `after`. That index is a cursor
    /// that stays valid whatever changes meanwhile: nobody who subscribes throughout is missed or repeated.
    #[inline]
    pub fn subscribers_after(
        &self,
        filter: FilterId,
        after: Option<SessionIndex>,
    ) -> impl Iterator<Item = (SessionIndex, SubscriptionOptions)> + '_ {
        let first = after.map_or(Entry::first_of(SessionIndex(0)), Entry::first_after);
        let entries = self.filters.get(filter.0).map(|filter| filter.subscribers.from(first));
        entries.into_iter().flatten().map(|entry| (entry.session(), entry.options()))
    }

    /// Number of subscribers of a filter.
    pub fn subscribers_len(&self, filter: FilterId) -> usize {
        self.filters.get(filter.0).map_or(0, |filter| filter.subscribers.len())
    }

    /// Number of distinct filters, those that only groups use included.
    pub const fn filters_len(&self) -> usize {
        self.filters.len()
    }

    /// Number of subscriptions, those of groups not included.
    pub const fn subscriptions_len(&self) -> usize {
        self.subscriptions
    }

    /// One more than the highest number of a filter.
    pub fn places(&self) -> u32 {
        self.filters.places()
    }

    /// All filters by ascending identifier, from the one after `after`: take a number and go on from the last one.
    pub fn filters_after(&self, after: Option<FilterId>) -> impl Iterator<Item = (FilterId, &str)> + '_ {
        let first = after.map_or(0, |after| after.0.saturating_add(1));
        self.filters.iter_from(first).map(|(id, filter)| (FilterId(id), filter.name.as_str()))
    }

    /// Attaches group `group` of a Shared Subscription to the filter (its text without `$share/{ShareName}/`), so
    /// that [`matching`](Self::matching) finds it even without a subscriber. Attaching twice is attaching once.
    pub fn attach_group(&mut self, filter: &str, group: u32) -> Subscribed {
        let (id, is_new_filter) = self.find_or_insert(filter);
        if let Some(filter) = self.filters.get_mut(id.0) {
            filter.subscribers.has_groups = true;
        }
        let groups = self.groups.entry(id).or_default();
        let is_new = !groups.contains(&group);
        if is_new {
            groups.push(group);
        }
        Subscribed { filter: id, is_new_subscription: is_new, is_new_filter }
    }

    /// Detaches a group; `None` if it was not attached.
    pub fn detach_group(&mut self, filter: &str, group: u32) -> Option<Unsubscribed> {
        let id = self.find(filter)?;
        let groups = self.groups.get_mut(&id)?;
        let place = groups.iter().position(|other| *other == group)?;
        groups.swap_remove(place);
        if groups.is_empty() {
            self.groups.remove(&id);
            if let Some(filter) = self.filters.get_mut(id.0) {
                filter.subscribers.has_groups = false;
            }
        }
        Some(Unsubscribed { filter: id, filter_gone: self.forget_if_unused(id) })
    }

    /// The groups attached to a filter.
    #[inline]
    pub fn groups(&self, filter: FilterId) -> &[u32] {
        match self.filters.get(filter.0) {
            Some(entry) if entry.subscribers.has_groups => {
                self.groups.get(&filter).map_or(&[], Vec::as_slice)
            }
            _ => &[],
        }
    }

    #[inline]
    fn find_exact(&self, filter: &str) -> Option<FilterId> {
        if self.exact.is_empty() {
            return None;
        }
        let is_it = |id| self.filters.get(id).is_some_and(|entry| entry.name.as_bytes() == filter.as_bytes());
        self.exact.find(self.hasher.hash_one(filter.as_bytes()), is_it).map(FilterId)
    }

    /// The filter of this text, and whether it is new.
    fn find_or_insert(&mut self, filter: &str) -> (FilterId, bool) {
        if let Some(found) = self.find(filter) {
            return (found, false);
        }
        let id = self.filters.insert(Filter { name: filter.into(), subscribers: Subscribers::new() });
        if has_wildcard(filter) {
            self.trie.insert(filter, FilterId(id));
        } else {
            self.exact.insert(self.hasher.hash_one(filter.as_bytes()), id);
        }
        (FilterId(id), true)
    }

    /// Frees a filter that nobody uses any more.
    fn forget_if_unused(&mut self, id: FilterId) -> bool {
        let unused = |filter: &Filter| filter.subscribers.len() == 0 && !filter.subscribers.has_groups;
        if !self.filters.get(id.0).is_some_and(unused) {
            return false;
        }
        let Some(Filter { name, .. }) = self.filters.remove(id.0) else { return false };
        if has_wildcard(name.as_str()) {
            self.trie.remove(name.as_str());
        } else {
            self.exact.remove(self.hasher.hash_one(name.as_bytes()), |other| other == id.0);
        }
        true
    }
}
