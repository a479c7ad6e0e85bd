//! This shard's slice of the retained messages: one a topic, the last one, within the node's limits.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::fence;

use super::Broker;
use super::effects::{Effects, Timer};
use super::message::{CursorToken, ShardMessage};
use super::publication::Publication;
use crate::clock::Timestamp;
use crate::interest::ShardId;
use crate::retained::Stored;
use crate::session::{Message, MessageHead};
use crate::storage::Entry;
use crate::topic;

/// Keys looked at for one pull of a cursor.
pub(super) const SCAN_BUDGET: usize = 1024;
/// Messages given for one pull of a cursor.
pub(super) const CHUNK_LEN_MAX: usize = 64;
/// Keys looked at in one step of the search for expired messages.
const SWEEP_BUDGET: usize = 4096;
/// Between two steps of the search, and between two searches.
const SWEEP_STEP_MS: u64 = 250;
const SWEEP_PAUSE_MS: u64 = 10_000;

impl Stored for Message {
    fn topic(&self) -> &str {
        Message::topic(self)
    }

    fn size_bytes(&self) -> usize {
        self.len()
    }
}

impl Broker {
    /// A message with RETAIN: replaces the one of its topic, or deletes it if its payload is empty
    /// [MQTT-3.3.1-5 to 3.3.1-7]. One that is too large deletes it too: an older one must not pass for the last.
    /// `is_marked`: by [`Broker::mark_retained`]. Says whether the journal has something of it.
    pub(super) fn retain(
        &mut self,
        now: Timestamp,
        publication: &mut Publication<'_>,
        is_marked: bool,
    ) -> bool {
        let config = Arc::clone(&self.clients.config);
        let is_too_large = publication.payload.len() > config.retained.payload_bytes_max as usize;
        if publication.payload.is_empty() || is_too_large {
            self.forget_retained(publication.topic);
        }
        if publication.payload.is_empty() {
            return publication.head.number > 0;
        }
        let former = self.retained.get(publication.topic).map(|former| former.head().owner);
        let is_new = former.is_none();
        let count = self.shared.retained_count.load(Relaxed);
        let is_refused = is_too_large || (is_new && count >= config.retained.count_max);
        let deletes = is_too_large && publication.head.number > 0;
        // Whoever replaces a message of another user takes it over, whatever its quota: an older one must not stay.
        let owner = publication.head.owner;
        if is_refused || is_new && !self.enter_retained(owner) {
            self.metrics().retained_refused.inc();
            tracing::debug!(topic = publication.topic, is_too_large, count, "retained message refused");
            if is_marked {
                self.unmark_retained(publication.topic);
            }
            return deletes;
        }
        let message = match (publication.head.expires_at, config.retained.expiry_s) {
            (None, expiry_s) if expiry_s > 0 => {
                let expires_at = Some(now.plus_s(u64::from(expiry_s)));
                // What the node says of itself has no number: it is about this run, and is not kept over a restart.
                let is_kept = publication.head.number > 0;
                let number = if is_kept { self.clients.journal.number() } else { 0 };
                let head = MessageHead { expires_at, number, ..publication.head };
                Message::new(head, publication.topic, publication.forwarded, publication.payload)
            }
            _ => Arc::clone(publication.message()),
        };
        if let Some(former) = former.filter(|former| *former != owner) {
            self.leave_retained(former);
            self.take_over_retained(owner);
        }
        self.clients.journal.write_retained(&message);
        let is_written = message.head().number > 0;
        self.retained.insert(message);
        if is_new {
            self.count_retained_new();
        }
        is_written
    }

    /// The topic's Retained Message goes, if it has one.
    pub(super) fn forget_retained(&mut self, topic: &str) {
        if let Some(former) = self.retained.remove(topic) {
            self.leave_retained(former.head().owner);
            self.unmark_retained(topic);
            self.count_retained_gone(1);
            self.clients.journal.write(&Entry::Unretain { topic });
        }
    }

    fn count_retained_new(&self) {
        self.shared.retained_count.fetch_add(1, Relaxed);
        self.metrics().retained.inc();
    }

    /// A Retained Message that the journal has.
    pub(super) fn restore_retained(&mut self, message: Arc<Message>) {
        if self.shards > 1 {
            self.retained_marks.add(message.topic(), false);
        }
        self.retained.insert(message);
        self.count_retained_new();
    }

    /// Marks the topic of a message that may become a new retained one, so that every shard sees it; `true` if that is
    /// to be undone should it not be stored.
    ///
    /// To be called before the interest table is read: a subscriber on another shard sets its bit there before it looks
    /// for the mark. So it finds the mark and asks for the message, or its bit is found and it gets the message live.
    pub(super) fn mark_retained(&mut self, publication: &Publication<'_>) -> bool {
        let may_be_new = self.shards > 1
            && publication.head.retain
            && !publication.payload.is_empty()
            && self.retained.get(publication.topic).is_none();
        if may_be_new {
            self.retained_marks.add(publication.topic, false);
        }
        may_be_new
    }

    /// The topic has no retained message (any more).
    pub(super) fn unmark_retained(&mut self, topic: &str) {
        if self.shards > 1 {
            self.retained_marks.remove(topic, false);
        }
    }

    /// Whether there may be retained messages for a new subscription, whose interest is announced already.
    pub(super) fn may_have_retained(&self, filter: &str) -> bool {
        if topic::has_wildcard(filter) {
            return true;
        }
        let slice = self.shared.placement.slice_of(filter);
        if slice == self.shard {
            return self.retained.get(filter).is_some();
        }
        // What a client of this shard has sent on its way to a slice, perhaps this one, may be older than its SUBSCRIBE.
        if !self.relaying.is_empty() {
            return true;
        }
        // The other half of the order that `mark_retained` describes: the bit may have been set long ago, for another
        // filter, and then nothing else stands between it and this load.
        fence(SeqCst);
        self.retained_marks.interested(filter).contains(slice)
    }

    /// The next messages for a cursor of a session here.
    pub(super) fn scan_retained(
        &self,
        now: Timestamp,
        filter: &str,
        after: Option<&str>,
    ) -> (Vec<Arc<Message>>, Option<Box<str>>) {
        let mut messages = Vec::new();
        let live = |message: &Arc<Message>| !message.is_expired(now);
        let scan = self.retained.scan(filter, after, SCAN_BUDGET, CHUNK_LEN_MAX, &mut messages, live);
        (messages, scan.next)
    }

    /// The next messages for a cursor of another shard.
    pub(super) fn retained_pull<E: Effects>(
        &mut self,
        now: Timestamp,
        from: ShardId,
        cursor: CursorToken,
        filter: &str,
        after: Option<&str>,
        fx: &mut E,
    ) {
        let (messages, next) = self.scan_retained(now, filter, after);
        self.send_control(from, ShardMessage::RetainedChunk { cursor, messages, next }, fx);
    }

    /// Removes what has expired, a step at a time; a message that has is given to no one even before.
    pub(super) fn sweep_retained<E: Effects>(&mut self, now: Timestamp, fx: &mut E) {
        let mut dead = Vec::new();
        let live = |message: &Arc<Message>| !message.is_expired(now);
        let scan = self.retained.sweep(self.retained_swept.as_deref(), SWEEP_BUDGET, live, &mut dead);
        for message in &dead {
            self.leave_retained(message.head().owner);
            self.unmark_retained(message.topic());
        }
        self.count_retained_gone(dead.len());
        let pause_ms = if scan.is_done() { SWEEP_PAUSE_MS } else { SWEEP_STEP_MS };
        self.retained_swept = scan.next;
        fx.set_timer(Timer::RetainedSweep, now.plus_ms(pause_ms));
    }

    fn count_retained_gone(&self, count: usize) {
        self.shared.retained_count.fetch_sub(u32::try_from(count).unwrap_or(u32::MAX), Relaxed);
        let gauge = &self.metrics().retained;
        gauge.set(gauge.load().wrapping_sub(count as u64));
    }
}
