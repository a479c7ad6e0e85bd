//! Delayed messages: what is published to `$delayed/{seconds}/{topic}` is published to `{topic}` later. Each waits on its
//! publisher's shard, in the order in which they are due; all shards share one limit. The journal has one as a Will that is due
//! then: the acknowledgement comes when that is on disk, and a restart brings it back.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::super::Broker;
use super::super::commits::Publisher;
use super::super::effects::{Effects, Timer};
use super::super::inspect::ITEMS_MAX;
use super::super::journal::{CommitKey, Reach};
use super::super::operations::Waiter;
use super::super::publication::Publication;
use super::super::receive::Flow;
use super::super::route::Routed;
use crate::clock::Timestamp;
use crate::packet::{Publish, QoS, ReasonCode};
use crate::session::{ConnectionId, Message, MessageHead, SessionSerial, Will};

/// What the topics of delayed messages begin with.
const PREFIX: &str = "$delayed/";
/// Messages published in one turn; the next follow so many milliseconds later.
const DUE_BUDGET: usize = 256;
const PAUSE_MS: u64 = 5;
/// Bytes that a message costs beside what it says.
const OVERHEAD_BYTES: usize = 200;

/// How much waits on all shards.
#[derive(Debug, Default)]
pub struct DelayedCounts {
    count: AtomicU64,
    bytes: AtomicU64,
}

impl DelayedCounts {
    /// Counts one more message of so many bytes; false: there is no room.
    fn enter(&self, bytes: u64, count_max: u64, bytes_max: u64) -> bool {
        let is_below = self.count.fetch_add(1, Relaxed) < count_max;
        if is_below && self.bytes.fetch_add(bytes, Relaxed) + bytes <= bytes_max {
            return true;
        }
        self.count.fetch_sub(1, Relaxed);
        if is_below {
            self.bytes.fetch_sub(bytes, Relaxed);
        }
        false
    }

    fn leave(&self, bytes: u64) {
        self.count.fetch_sub(1, Relaxed);
        self.bytes.fetch_sub(bytes, Relaxed);
    }
}

/// Those of one shard.
#[derive(Debug, Default)]
pub(super) struct DelayedMessages {
    /// By the moment at which each is due, and its name in the journal.
    waiting: BTreeMap<(u64, u64), Will>,
    /// The earliest timer that is set.
    timer_at: Option<Timestamp>,
}

/// What is shown of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelayedShown {
    /// When it will be published.
    pub due: Timestamp,
    /// To what topic, mountpoint included.
    pub topic: String,
    /// At which QoS.
    pub qos: QoS,
    /// Whether it will be retained.
    pub retain: bool,
    /// Bytes of its payload.
    pub payload_bytes: usize,
}

/// Some of a shard's, in the order in which they are due.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DelayedPage {
    /// With the place of each.
    pub items: Vec<((u64, u64), DelayedShown)>,
    /// Whether others follow.
    pub has_more: bool,
}

impl DelayedMessages {
    /// Those after a place: so many at most, and no more than one answer may have.
    pub(super) fn page(&self, after: Option<(u64, u64)>, limit: usize) -> DelayedPage {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.waiting.range((from, Bound::Unbounded));
        let shown = |(place, will): (&(u64, u64), &Will)| {
            let (head, message) = (will.message.head(), &will.message);
            let shown = DelayedShown {
                due: Timestamp(place.0),
                topic: message.topic().to_owned(),
                qos: head.qos,
                retain: head.retain,
                payload_bytes: message.payload().len(),
            };
            (*place, shown)
        };
        let items = rest.by_ref().take(limit.clamp(1, ITEMS_MAX)).map(shown).collect();
        DelayedPage { items, has_more: rest.next().is_some() }
    }

    /// The first that is due by now, and its place.
    fn first_due(&self, now: Timestamp) -> Option<((u64, u64), Will)> {
        let (place, will) = self.waiting.first_key_value().filter(|(place, _)| place.0 <= now.0)?;
        Some((*place, will.clone()))
    }
}

/// What a topic says of a delay: seconds and the topic proper; 0 where it says nothing. `None`: it says it wrongly.
fn split(topic: &str) -> Option<(u32, &str)> {
    let Some(rest) = topic.strip_prefix(PREFIX) else { return Some((0, topic)) };
    let (seconds, topic) = rest.split_once('/')?;
    let is_number = !seconds.is_empty() && seconds.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = if is_number { seconds.parse().ok()? } else { return None };
    (!topic.is_empty()).then_some((seconds, topic))
}

fn bytes_of(will: &Will) -> u64 {
    let message = &will.message;
    (message.topic().len() + message.forwarded().len() + message.payload().len() + OVERHEAD_BYTES) as u64
}

impl Broker {
    /// The delay in seconds and the topic that a client's Topic Name means. `None`: no message can be published so. What a bridge
    /// brings was published on another broker, and is no order to this one.
    #[inline]
    pub(in crate::broker) fn delay_of<'t>(&self, id: ConnectionId, topic: &'t str) -> Option<(u32, &'t str)> {
        if !topic.starts_with(PREFIX) || self.is_bridge(id) {
            return Some((0, topic));
        }
        let limits = &self.config().delayed;
        split(topic).filter(|(seconds, _)| limits.count_max > 0 && *seconds <= limits.delay_s_max)
    }

    /// Keeps a PUBLISH that may be published to `topic`, until it is due.
    pub(in crate::broker) fn publish_later<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        publish: &Publish<'_>,
        (delay_s, topic): (u32, &str),
        fx: &mut E,
    ) -> Flow {
        let Some(publisher) = self.clients.session_of(id).map(|session| session.serial) else {
            return Flow::Gone;
        };
        if publish.qos == QoS::ExactlyOnce && self.commits.has_line(publisher) {
            // The identifier would come into the journal behind older PUBLISHes, the message at once. A crash between would leave the
            // one without the other, and the repetition would be a second message.
            return Flow::Hold(now.plus_ms(PAUSE_MS));
        }
        let Some(will) = self.delayed_message(id, publish, (delay_s, topic)) else { return Flow::Gone };
        self.count_received(publish);
        let limits = &self.config().delayed;
        let (count_max, bytes_max) = (u64::from(limits.count_max), limits.bytes_max);
        if !self.shared.delayed.enter(bytes_of(&will), count_max, bytes_max) {
            self.metrics().delayed_refused.inc();
            self.clients.dropped(&self.metrics().dropped_delayed);
            self.acknowledge_publish(id, publish, ReasonCode::QuotaExceeded, fx);
            return Flow::Next;
        }
        let serial = self.clients.next_serial();
        let due = now.plus_s(u64::from(delay_s));
        self.clients.journal.write_delayed(serial, &will, due);
        self.insert_delayed(due, serial, will, fx);
        if publish.qos == QoS::AtMostOnce {
            return Flow::Next;
        }
        let number = self.clients.journal.number();
        let key = self.record_inbound(id, publish, number);
        // The journal has it now: as if a durable session had it.
        let reach = Reach { written: number > 0, ..Reach::matched(true) };
        if let Some(number) = self.owe(id, publish, true) {
            let place = self.commits.follow(publisher);
            self.publish_arrived(now, Publisher { connection: id, number, key, place }, reach, fx);
        }
        Flow::Next
    }

    fn delayed_message(
        &mut self,
        id: ConnectionId,
        publish: &Publish<'_>,
        (delay_s, topic): (u32, &str),
    ) -> Option<Will> {
        let retain_available = self.config().mqtt.retain_available;
        let owner = self.owner(id);
        let publisher = self.clients.session_of(id)?.serial;
        let head = MessageHead {
            qos: publish.qos,
            retain: publish.retain && retain_available,
            expires_at: None,
            publisher,
            owner,
            number: 0,
        };
        let mut forwarded = Vec::new();
        publish.forwarded.write(&mut forwarded);
        let message = Message::new(head, topic, &forwarded, publish.payload);
        Some(Will { message, expiry_s: publish.expiry_s, delay_s })
    }

    fn insert_delayed<E: Effects>(&mut self, due: Timestamp, serial: SessionSerial, will: Will, fx: &mut E) {
        self.metrics().delayed.inc();
        let delayed = &mut self.modules.delayed;
        delayed.waiting.insert((due.0, serial.0), will);
        if delayed.timer_at.is_none_or(|at| due < at) {
            delayed.timer_at = Some(due);
            fx.set_timer(Timer::Delayed, due);
        }
    }

    /// One that a journal has. It has its place whatever the limits are now: it was promised.
    pub(in crate::broker) fn restore_delayed<E: Effects>(&mut self, due: Timestamp, will: Will, fx: &mut E) {
        let serial = will.message.head().publisher;
        self.shared.delayed.enter(bytes_of(&will), u64::MAX, u64::MAX);
        self.insert_delayed(due, serial, will, fx);
    }

    /// Publishes what is due, within the budget of a turn, and as fast as this shard and others take it: what they do not take yet
    /// waits on, in its place.
    pub(in crate::broker) fn publish_delayed<E: Effects>(&mut self, now: Timestamp, fx: &mut E) {
        if self.modules.delayed.timer_at.is_some_and(|at| at <= now) {
            self.modules.delayed.timer_at = None;
        }
        for _ in 0..DUE_BUDGET {
            if self.is_busy() || !self.publish_first_delayed(now, fx) {
                break;
            }
        }
        let first = self.modules.delayed.waiting.first_key_value().map(|((due, _), _)| Timestamp(*due));
        if let Some(due) = first {
            let at = due.max(now.plus_ms(PAUSE_MS));
            let delayed = &mut self.modules.delayed;
            if delayed.timer_at.is_none_or(|set| at < set) {
                delayed.timer_at = Some(at);
                fx.set_timer(Timer::Delayed, at);
            }
        }
    }

    /// Publishes the one that has been due for longest. False: there is none, or some shard gives no credit for it.
    fn publish_first_delayed<E: Effects>(&mut self, now: Timestamp, fx: &mut E) -> bool {
        let Some((place, will)) = self.modules.delayed.first_due(now) else { return false };
        let kept = self.clients.journal.is_on().then_some(SessionSerial(place.1));
        let (message, key) = self.due_message(now, &will, kept);
        let bytes = bytes_of(&will);
        let waiter = Waiter::Delayed { key, bytes };
        let routed = self.route(now, &mut Publication::of(&message), waiter, None, fx);
        if let Routed::Stalled = routed {
            return false;
        }
        self.modules.delayed.waiting.remove(&place);
        let metrics = self.metrics();
        metrics.delayed.dec();
        metrics.delayed_published.inc();
        if let Some(serial) = kept {
            // From here on it is as any Will that is due: it is in the journal until everyone has it.
            self.clients.journal.begin_will(serial, &will);
        }
        if let Routed::Done { reach } = routed {
            self.delayed_arrived(now, key, bytes, reach, fx);
        }
        true
    }

    /// Everyone who wants a delayed message has it: only then there is room for another one.
    pub(in crate::broker) fn delayed_arrived<E: Effects>(
        &mut self,
        now: Timestamp,
        key: Option<CommitKey>,
        bytes: u64,
        reach: Reach,
        fx: &mut E,
    ) {
        self.shared.delayed.leave(bytes);
        if let Some(key) = key {
            self.commit_will(now, key, reach, fx);
        }
    }

    /// Writes the delayed message after this place into a new generation of the journal, and gives its place; `None`: there is no
    /// other.
    pub(in crate::broker) fn write_next_delayed(&mut self, after: Option<(u64, u64)>) -> Option<(u64, u64)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let (place, will) = self.modules.delayed.waiting.range((from, Bound::Unbounded)).next()?;
        self.clients.journal.write_delayed(SessionSerial(place.1), will, Timestamp(place.0));
        Some(*place)
    }

    /// Delayed messages of this shard.
    pub(in crate::broker) fn delayed_len(&self) -> usize {
        self.modules.delayed.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_says_its_delay() {
        assert_eq!(split("a/b"), Some((0, "a/b")));
        assert_eq!(split("$delayed/5/a/b"), Some((5, "a/b")));
        assert_eq!(split("$delayed/0/a"), Some((0, "a")));
        assert_eq!(split("$delayed/5//"), Some((5, "/")));
        assert_eq!(split("$delayed"), Some((0, "$delayed")));
        for wrong in
            ["$delayed/", "$delayed/5", "$delayed/5/", "$delayed//a", "$delayed/x/a", "$delayed/+5/a"]
        {
            assert_eq!(split(wrong), None, "{wrong}");
        }
        assert_eq!(split("$delayed/4294967296/a"), None);
    }

    #[test]
    fn an_answer_lists_no_more_than_a_turn_may_cost() {
        let head = MessageHead {
            qos: QoS::AtLeastOnce,
            retain: false,
            expires_at: None,
            publisher: SessionSerial::default(),
            owner: 0,
            number: 0,
        };
        let mut delayed = DelayedMessages::default();
        for number in 0..1000 {
            let message = Message::new(head, "t", &[], b"x");
            delayed.waiting.insert((7, number), Will { message, expiry_s: None, delay_s: 1 });
        }
        let (mut after, mut listed) = (None, Vec::new());
        loop {
            let page = delayed.page(after, 1000);
            assert!(page.items.len() <= ITEMS_MAX, "{}", page.items.len());
            listed.extend(page.items.iter().map(|(place, _)| *place));
            after = listed.last().copied();
            if !page.has_more {
                break;
            }
        }
        assert_eq!(listed, (0..1000).map(|number| (7, number)).collect::<Vec<_>>());
    }

    #[test]
    fn the_limits_are_the_nodes_and_a_refusal_costs_nothing() {
        let counts = DelayedCounts::default();
        assert!(counts.enter(60, 2, 100));
        assert!(!counts.enter(41, 2, 100));
        assert!(counts.enter(40, 2, 100));
        assert!(!counts.enter(0, 2, 100));
        counts.leave(40);
        assert!(counts.enter(40, 2, 100));
    }
}
