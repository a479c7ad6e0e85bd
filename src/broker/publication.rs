//! A message while it is being published: borrowed from the ring's buffer as long as nobody has to keep it.
//! QoS 0 to connected clients of this shard never needs an allocation.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::packet::{ProtocolVersion, PublishHead, QoS, encode_publish_head};
use crate::session::message::expiry_left_s;
use crate::session::{Message, MessageHead};

/// Payloads from this size on are sent by reference.
pub(super) const SHARED_PAYLOAD_MIN: usize = 8 * 1024;

/// A message under way.
#[derive(Debug)]
pub(super) struct Publication<'a> {
    pub(super) head: MessageHead,
    pub(super) topic: &'a str,
    pub(super) forwarded: &'a [u8],
    pub(super) payload: &'a [u8],
    /// When it arrived, in microseconds of the machine's clock, if it is timed; else 0.
    pub(super) arrived_us: u32,
    message: Option<Arc<Message>>,
}

impl<'a> Publication<'a> {
    /// From parts that are borrowed.
    pub(super) fn new(head: MessageHead, topic: &'a str, forwarded: &'a [u8], payload: &'a [u8]) -> Self {
        Self { head, topic, forwarded, payload, arrived_us: 0, message: None }
    }

    /// From a message that is kept already.
    pub(super) fn of(message: &'a Arc<Message>) -> Self {
        Self {
            head: *message.head(),
            topic: message.topic(),
            forwarded: message.forwarded(),
            payload: message.payload(),
            arrived_us: message.arrived_us(),
            message: Some(Arc::clone(message)),
        }
    }

    /// The kept message; made when first asked for.
    pub(super) fn message(&mut self) -> &Arc<Message> {
        let Self { head, topic, forwarded, payload, arrived_us, message } = self;
        message.get_or_insert_with(|| Message::timed(*head, topic, forwarded, payload, *arrived_us))
    }
}

/// The message as one PUBLISH of QoS 0 without RETAIN, DUP, identifiers and aliases, once for each kind of version:
/// what nearly every receiver of a fan-out gets.
#[derive(Debug, Default)]
pub(super) struct Encoded {
    v3: Vec<u8>,
    v5: Vec<u8>,
}

impl Encoded {
    /// Forgets the last message.
    pub(super) fn reset(&mut self) {
        self.v3.clear();
        self.v5.clear();
    }

    /// The PUBLISH for a version.
    pub(super) fn plain(&mut self, version: ProtocolVersion, now: Timestamp, p: &Publication<'_>) -> &[u8] {
        let is_v5 = version == ProtocolVersion::V5;
        let out = if is_v5 { &mut self.v5 } else { &mut self.v3 };
        if out.is_empty() {
            let head = PublishHead {
                version,
                dup: false,
                qos: QoS::AtMostOnce,
                retain: false,
                topic: p.topic,
                packet_id: None,
                expiry_s: expiry_left_s(p.head.expires_at, now),
                topic_alias: None,
                subscription_ids: &[],
                forwarded: p.forwarded,
                payload_len: p.payload.len(),
            };
            if encode_publish_head(&head, out).is_ok() {
                out.extend_from_slice(p.payload);
            }
        }
        out
    }
}
