//! An Application Message once accepted: immutable, shared by every receiver and every shard.
//! Topic, forwarded properties and payload lie in one block: one copy out of the ring's buffer.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::packet::QoS;

/// Who published: unique over shards and time, so that No Local never mistakes one session for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct SessionSerial(pub u64);

/// What a PUBLISH says beside topic, properties and payload.
#[derive(Debug, Clone, Copy)]
pub struct MessageHead {
    /// QoS of the publisher.
    pub qos: QoS,
    /// RETAIN as published.
    pub retain: bool,
    /// When the Message Expiry Interval ends.
    pub expires_at: Option<Timestamp>,
    /// The publishing session; `SessionSerial(0)` is the broker itself.
    pub publisher: SessionSerial,
    /// Number of the user whose quota it counts towards while it is retained; 0: nobody's.
    pub owner: u32,
    /// Its name in the journal; 0: nothing there needs to name it.
    pub number: u64,
}

/// An Application Message.
#[derive(Debug)]
pub struct Message {
    block: Bytes,
    topic_len: u16,
    forwarded_len: u32,
    /// The journal's generation in which it was written last; 0: in none.
    written: AtomicU32,
    /// When it arrived, if it is one of those that are timed; else 0.
    arrived_us: u32,
    head: MessageHead,
}

impl Message {
    /// Copies the parts into one block. `forwarded` are encoded 5.0 properties that travel unaltered.
    pub fn new(head: MessageHead, topic: &str, forwarded: &[u8], payload: &[u8]) -> Arc<Self> {
        Self::timed(head, topic, forwarded, payload, 0)
    }

    /// As `new`. `arrived_us`: when it arrived, in microseconds of the machine's clock, if it is to be timed; else 0.
    pub fn timed(
        head: MessageHead,
        topic: &str,
        forwarded: &[u8],
        payload: &[u8],
        arrived_us: u32,
    ) -> Arc<Self> {
        let mut block = Vec::with_capacity(topic.len() + forwarded.len() + payload.len());
        block.extend_from_slice(topic.as_bytes());
        block.extend_from_slice(forwarded);
        block.extend_from_slice(payload);
        Arc::new(Self {
            block: block.into(),
            topic_len: u16::try_from(topic.len()).unwrap_or(u16::MAX),
            forwarded_len: u32::try_from(forwarded.len()).unwrap_or(u32::MAX),
            written: AtomicU32::new(0),
            arrived_us,
            head,
        })
    }

    /// The same under another number: its block is shared.
    pub fn renumbered(&self, number: u64) -> Arc<Self> {
        let (block, head) = (self.block.clone(), MessageHead { number, ..self.head });
        let Self { topic_len, forwarded_len, arrived_us, .. } = *self;
        Arc::new(Self { block, topic_len, forwarded_len, written: AtomicU32::new(0), arrived_us, head })
    }

    /// Topic Name.
    pub fn topic(&self) -> &str {
        // The block began as a `&str` of this length, so this never fails.
        self.block
            .get(..usize::from(self.topic_len))
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .unwrap_or_default()
    }

    /// Encoded properties that travel unaltered to 5.0 subscribers.
    pub fn forwarded(&self) -> &[u8] {
        self.block.get(usize::from(self.topic_len)..self.payload_start()).unwrap_or_default()
    }

    /// Payload.
    pub fn payload(&self) -> &[u8] {
        self.block.get(self.payload_start()..).unwrap_or_default()
    }

    /// The payload by reference, for large ones.
    pub fn payload_shared(&self) -> Bytes {
        self.block.slice(self.payload_start()..)
    }

    /// Bytes of topic, properties and payload.
    pub fn len(&self) -> usize {
        self.block.len()
    }

    /// Whether topic, properties and payload are all empty.
    pub fn is_empty(&self) -> bool {
        self.block.is_empty()
    }

    /// QoS, RETAIN, expiry and publisher.
    pub fn head(&self) -> &MessageHead {
        &self.head
    }

    /// When it arrived, in microseconds of the machine's clock, if it is one of those that are timed; else 0.
    #[inline]
    pub fn arrived_us(&self) -> u32 {
        self.arrived_us
    }

    /// Whether its Message Expiry Interval has passed.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.head.expires_at.is_some_and(|at| at <= now)
    }

    /// What is left of the Message Expiry Interval, in whole seconds, at least 1 [MQTT-3.3.2-6].
    pub fn expiry_left_s(&self, now: Timestamp) -> Option<u32> {
        expiry_left_s(self.head.expires_at, now)
    }

    /// Notes that the journal has it from `generation` on; true if it had not.
    pub fn write_in(&self, generation: u32) -> bool {
        self.written.fetch_max(generation, Relaxed) < generation
    }

    fn payload_start(&self) -> usize {
        usize::from(self.topic_len) + self.forwarded_len as usize
    }
}

// One for each message that waits.
const _: () = assert!(size_of::<Message>() <= 88);

/// What is left until `expires_at`, in whole seconds rounded up, at least 1.
pub fn expiry_left_s(expires_at: Option<Timestamp>, now: Timestamp) -> Option<u32> {
    expires_at.map(|at| u32::try_from(at.ms_since(now).div_ceil(1000).max(1)).unwrap_or(u32::MAX))
}

/// A message on its way to one session: what the subscription made of it.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The message.
    pub message: Arc<Message>,
    /// Subscription Identifiers of all matching subscriptions; `None`: no one has any.
    pub subscription_ids: Option<Box<Vec<u32>>>,
    /// The Shared Subscription that chose this session.
    pub share: Option<Arc<ShareName>>,
    /// When it was last sent (seconds), for `session.retry_interval_s`.
    pub sent_s: u32,
    /// QoS of this delivery.
    pub qos: QoS,
    /// RETAIN of this delivery.
    pub retain: bool,
}

/// The name of a Shared Subscription: `$share/{name}/{filter}`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ShareName {
    /// Share Name.
    pub name: Box<str>,
    /// Topic Filter.
    pub filter: Box<str>,
}
