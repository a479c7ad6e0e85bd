//! Lists of the Retained Messages of a shard's slice, in the order of topics, and the end of one.

use std::sync::Arc;

use super::super::Broker;
use super::change::Changed;
use super::page::{Budget, Listing, Page};
use crate::clock::Timestamp;
use crate::session::Message;

/// Messages looked at for one answer, at most.
const SCAN_BUDGET: usize = 1024;

impl Broker {
    pub(super) fn list_retained(
        &self,
        now: Timestamp,
        listing: &Listing<Box<str>, Box<str>>,
    ) -> Page<Arc<Message>, Box<str>> {
        let limit = Budget::new(listing.limit).items_left();
        let mut items = Vec::new();
        let live = |message: &Arc<Message>| !message.is_expired(now);
        let after = listing.from.as_deref();
        let scan = self.retained.scan(&listing.selection, after, SCAN_BUDGET, limit, &mut items, live);
        Page { items, next: scan.next }
    }

    pub(super) fn live_retained(&self, now: Timestamp, topic: &str) -> Option<Arc<Message>> {
        self.retained.get(topic).filter(|message| !message.is_expired(now)).map(Arc::clone)
    }

    /// As a PUBLISH with RETAIN and without payload, but nobody gets a message: only clients publish.
    pub(super) fn delete_retained(&mut self, topic: &str) -> Changed {
        let Some(message) = self.retained.get(topic) else { return Changed::NotFound };
        let is_kept = self.clients.journal.is_on() && message.head().number > 0;
        if is_kept && let Some(refusal) = self.refuse_change() {
            return refusal;
        }
        self.forget_retained(topic);
        self.changed(is_kept, true)
    }
}
