//! One session as its client knows it: its subscriptions over time, and what it got.

use std::collections::BTreeMap;

use super::message::{Message, MessageNumber, matches};

/// Whether a SUBSCRIBE brings retained messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Snapshot {
    No,
    Yes,
    Maybe,
}

/// One filter of one SUBSCRIBE.
#[derive(Debug, Clone)]
pub struct Subscription {
    pub filter: String,
    pub share: Option<String>,
    pub qos: u8,
    pub no_local: bool,
    pub retain_as_published: bool,
    pub snapshot: Snapshot,
    pub id: u32,
    pub sent: u64,
    pub acked: Option<u64>,
    pub granted: Option<u8>,
    pub unsubscribe_sent: Option<u64>,
    /// From here on it can't cause a delivery any more: UNSUBACK, or SUBACK of the next one.
    pub over: Option<u64>,
    /// A later SUBSCRIBE to the same filter.
    pub successor: Option<usize>,
    /// Last retained message accepted before this SUBSCRIBE was sent, by topic.
    pub floors: BTreeMap<String, u64>,
}

impl Subscription {
    /// QoS of its deliveries at most.
    pub fn qos_max(&self) -> u8 {
        self.granted.unwrap_or(self.qos)
    }

    /// Whether it may cause a delivery of something processed within `interval`.
    pub fn may_cover(&self, (from, to): (u64, u64)) -> bool {
        // A Shared Subscription gives a message again when a member's session ends: also to one who came later.
        (self.sent <= to || self.share.is_some()) && from <= self.over.unwrap_or(u64::MAX)
    }

    /// Whether it and `other` are one subscription as the broker sees it.
    pub fn is_same_filter(&self, other: &Self) -> bool {
        self.filter == other.filter && self.share == other.share
    }
}

/// How often a session got a message.
#[derive(Debug, Clone, Copy, Default)]
pub struct Got {
    /// As a new one.
    pub fresh: u32,
    /// In any way.
    pub any: u32,
    /// When it came first.
    pub first_at: u64,
    /// When the broker wrote it first, if it went through the mqueue's order: live and with QoS 1 or 2.
    pub queued_at: Option<u64>,
}

/// What tells streams apart that are in order each: publisher, topic, QoS of the publication and of the delivery.
pub type Stream = (usize, String, u8, u8);

/// A session from its first CONNACK to its end.
#[derive(Debug, Clone, Default)]
pub struct Session {
    pub number: usize,
    pub client: usize,
    pub ended: Option<u64>,
    pub connections: u32,
    pub subscriptions: Vec<Subscription>,
    pub got: BTreeMap<MessageNumber, Got>,
    pub last: BTreeMap<Stream, u64>,
    /// Newest retained message that came live, by topic.
    pub live_retained: BTreeMap<String, u64>,
    /// Newest message that came in any way with RETAIN as published, by topic.
    pub newest_retained: BTreeMap<String, u64>,
    /// Smallest Maximum Packet Size of its connections.
    pub packet_max: Option<usize>,
    /// When it surely had no connection: from, to (stamps).
    pub offline: Vec<(u64, u64)>,
    /// Its places in Shared Subscriptions were counted as left.
    pub has_left: bool,
}

impl Session {
    /// The subscription to a filter that counts now, as far as the client knows.
    pub fn current(&self, filter: &str, share: Option<&str>) -> Option<usize> {
        self.subscriptions
            .iter()
            .rposition(|s| s.filter == filter && s.share.as_deref() == share && s.over.is_none())
    }

    /// The session has ended: how many places in Shared Subscriptions it leaves that were not counted before.
    pub fn leave_shares(&mut self) -> u32 {
        if std::mem::replace(&mut self.has_left, true) {
            return 0;
        }
        self.subscriptions.iter().filter(|s| s.share.is_some() && s.successor.is_none()).count() as u32
    }

    /// Until when a subscription surely delivers at QoS 1 at least.
    pub fn definite_until(&self, index: usize) -> u64 {
        let subscription = &self.subscriptions[index];
        let own = subscription.unsubscribe_sent.unwrap_or(u64::MAX);
        let Some(next) = subscription.successor else { return own };
        let successor = &self.subscriptions[next];
        let as_good = successor.qos_max() >= 1 && successor.no_local == subscription.no_local;
        own.min(if as_good { self.definite_until(next) } else { successor.sent })
    }

    /// Subscriptions that may deliver a live message.
    pub fn live<'s>(&'s self, message: &'s Message) -> impl Iterator<Item = &'s Subscription> {
        let own = message.publisher == self.client && message.session == Some(self.number);
        self.subscriptions.iter().filter(move |s| {
            matches(&s.filter, &message.topic) && !(s.no_local && own) && s.may_cover(message.interval())
        })
    }

    /// Subscriptions that may deliver it because it is retained.
    pub fn snapshots<'s>(&'s self, message: &'s Message) -> impl Iterator<Item = &'s Subscription> {
        self.subscriptions.iter().filter(move |s| {
            message.retain && s.snapshot != Snapshot::No && matches(&s.filter, &message.topic)
        })
    }

    /// Whether every copy of `message` must come, once it is accepted: a subscription acknowledged before it was
    /// sent, never ended, at QoS 1 at least.
    pub fn is_owed(&self, message: &Message) -> bool {
        if self.ended.is_some() || message.qos == 0 || message.delete {
            return false;
        }
        let room = self.packet_max.is_none_or(|max| message.size + message.topic.len() + 64 <= max);
        room && (0..self.subscriptions.len()).any(|index| {
            let s = &self.subscriptions[index];
            s.share.is_none()
                && matches(&s.filter, &message.topic)
                && !(s.no_local && message.publisher == self.client)
                && s.acked.is_some_and(|at| at < message.interval().0)
                && s.qos_max() >= 1
                && self.definite_until(index) == u64::MAX
        })
    }

    pub fn got(&self, message: MessageNumber) -> Got {
        self.got.get(&message).copied().unwrap_or_default()
    }
}
