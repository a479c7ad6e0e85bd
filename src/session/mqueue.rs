//! The mqueue: messages that wait for an inflight slot or for the client.
//! One queue over all topics of a session; when it is full the oldest goes (emqttd's rule), counted by the caller.

use std::collections::VecDeque;

use super::inflight::UNCOMMITTED;
use super::message::Delivery;
use crate::clock::Timestamp;
use crate::packet::QoS;

/// Messages in order of arrival, bounded by the caller's limit.
#[derive(Debug, Default)]
pub struct Mqueue {
    queue: VecDeque<Delivery>,
    /// Of them with QoS 0.
    qos0: u32,
    /// It went over the high watermark and has not come down to the low one since.
    is_long: bool,
}

/// Messages dropped for one that comes: more than one only after a reload with a lower limit, and no turn of the loop
/// frees a long queue at once.
const DROPPED_MAX: usize = 64;

impl Mqueue {
    /// Appends; the oldest go if there are `len_max` already: `dropped` is told of each. Says how many went.
    pub fn push(&mut self, delivery: Delivery, len_max: u32, mut dropped: impl FnMut(&Delivery)) -> usize {
        let too_many = (self.queue.len() + 1).saturating_sub(len_max.max(1) as usize);
        let going = too_many.min(DROPPED_MAX);
        for _ in 0..going {
            if let Some(gone) = self.pop() {
                dropped(&gone);
            }
        }
        self.qos0 += u32::from(delivery.qos == QoS::AtMostOnce);
        self.queue.push_back(delivery);
        going
    }

    /// What waits, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Delivery> {
        self.queue.iter()
    }

    /// Whether the oldest may not be sent before its message is committed.
    pub fn is_uncommitted(&self) -> bool {
        self.queue.front().is_some_and(|delivery| delivery.sent_s == UNCOMMITTED)
    }

    /// Whether the oldest has QoS 0.
    pub fn begins_with_qos0(&self) -> bool {
        self.queue.front().is_some_and(|delivery| delivery.qos == QoS::AtMostOnce)
    }

    /// The message with this number is committed: it came lately.
    pub fn commit(&mut self, number: u64) {
        for delivery in self.queue.iter_mut().rev() {
            if delivery.message.head().number == number && delivery.sent_s == UNCOMMITTED {
                delivery.sent_s = 0;
                return;
            }
        }
    }

    /// The oldest.
    pub fn pop(&mut self) -> Option<Delivery> {
        let delivery = self.queue.pop_front()?;
        self.qos0 -= u32::from(delivery.qos == QoS::AtMostOnce);
        Some(delivery)
    }

    /// Whether messages of QoS 0 wait (kept while the client was away): later ones wait behind them.
    pub fn has_qos0(&self) -> bool {
        self.qos0 > 0
    }

    /// Messages waiting.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Looks whether it is long now: from more than `high` messages on, until no more than `low` wait. `Some`: that has just changed.
    pub fn judge_length(&mut self, low: usize, high: usize) -> Option<bool> {
        let is_long = self.queue.len() > if self.is_long { low } else { high };
        let has_changed = is_long != self.is_long;
        self.is_long = is_long;
        has_changed.then_some(is_long)
    }

    /// What `judge_length` found last.
    pub fn is_long(&self) -> bool {
        self.is_long
    }

    /// Gives back memory that is not needed for what waits.
    pub fn shrink(&mut self) {
        self.queue.shrink_to(self.queue.len());
    }

    /// Takes all out, oldest first.
    pub fn drain(&mut self) -> impl Iterator<Item = Delivery> + '_ {
        self.qos0 = 0;
        self.queue.drain(..)
    }

    /// Drops what has expired, of which `dropped` is told, and says how many went.
    pub fn drop_expired(&mut self, now: Timestamp, mut dropped: impl FnMut(&Delivery)) -> usize {
        let before = self.queue.len();
        self.queue.retain(|delivery| {
            let is_expired = delivery.message.is_expired(now);
            if is_expired {
                dropped(delivery);
            }
            !is_expired
        });
        self.qos0 = self.queue.iter().filter(|delivery| delivery.qos == QoS::AtMostOnce).count() as u32;
        before - self.queue.len()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::message::{Message, MessageHead, SessionSerial};
    use super::*;

    fn delivery(topic: &str, expires_at: Option<Timestamp>) -> Delivery {
        let head = MessageHead {
            qos: QoS::AtLeastOnce,
            retain: false,
            expires_at,
            publisher: SessionSerial(1),
            owner: 0,
            number: 0,
        };
        Delivery {
            message: Message::new(head, topic, &[], b"x"),
            subscription_ids: None,
            share: None,
            sent_s: 0,
            qos: QoS::AtLeastOnce,
            retain: false,
        }
    }

    #[test]
    fn faq_70_and_80_into_100_lose_the_oldest_50() {
        let mut mqueue = Mqueue::default();
        let mut dropped = 0;
        for n in 0..150 {
            let topic = if n < 70 { "one" } else { "two" };
            dropped += mqueue.push(delivery(topic, None), 100, |_| {});
        }
        assert_eq!(dropped, 50);
        let left: Vec<_> = mqueue.drain().map(|d| d.message.topic().to_owned()).collect();
        assert_eq!(left.iter().filter(|t| *t == "one").count(), 20);
        assert_eq!(left.iter().filter(|t| *t == "two").count(), 80);
        assert_eq!(left.first().unwrap(), "one");
    }

    #[test]
    fn a_lower_limit_after_a_reload_is_kept_soon() {
        let mut mqueue = Mqueue::default();
        for n in 0..1000 {
            mqueue.push(delivery(&n.to_string(), None), 1000, |_| {});
        }
        let dropped: usize = (0..20).map(|_| mqueue.push(delivery("new", None), 100, |_| {})).sum();
        assert_eq!((dropped, mqueue.len()), (920, 100));
        assert_eq!(mqueue.pop().unwrap().message.topic(), "920");
    }

    #[test]
    fn a_queue_is_long_from_the_high_watermark_to_the_low_one() {
        let mut mqueue = Mqueue::default();
        let mut changes = Vec::new();
        for n in 0..8 {
            mqueue.push(delivery("t", None), 100, |_| {});
            changes.extend(mqueue.judge_length(2, 6).map(|is_long| (n + 1, is_long)));
        }
        for n in (0..8).rev() {
            mqueue.pop();
            changes.extend(mqueue.judge_length(2, 6).map(|is_long| (n, is_long)));
        }
        assert_eq!(changes, [(7, true), (2, false)]);
        assert!(!mqueue.is_long());
    }

    #[test]
    fn mqtt_3_3_2_5_expired_messages_leave_the_queue() {
        let mut mqueue = Mqueue::default();
        mqueue.push(delivery("a", Some(Timestamp(10))), 9, |_| {});
        mqueue.push(delivery("b", None), 9, |_| {});
        let mut told = Vec::new();
        let tell = |dropped: &Delivery| told.push(dropped.message.topic().to_owned());
        assert_eq!(mqueue.drop_expired(Timestamp(10), tell), 1);
        assert_eq!(told, ["a"]);
        assert_eq!(mqueue.pop().unwrap().message.topic(), "b");
    }
}
