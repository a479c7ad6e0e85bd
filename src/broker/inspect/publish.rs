//! What operators publish: a message of the broker itself, with the QoS that it is given. The ACL is not asked: it is about clients.

use super::super::Broker;
use super::super::effects::Effects;
use super::super::journal::{CommitKey, Reach};
use super::super::operations::Waiter;
use super::super::publication::Publication;
use super::super::publish::is_brokers_own;
use super::super::route::Routed;
use super::change::Changed;
use crate::clock::Timestamp;
use crate::limits::Level;
use crate::packet::{QoS, ReasonCode};
use crate::session::{Message, MessageHead, SessionSerial};
use crate::topic::{self, TopicLimits};

/// Bytes of operators' messages that a shard has under way to others, but for one message of any size: a request that says one payload and
/// a thousand topics must not fill the mailboxes with a gigabyte.
const UNDER_WAY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A message that an operator publishes.
#[derive(Debug, Clone)]
pub struct Publishing {
    /// Topic Name.
    pub topic: Box<str>,
    /// Payload.
    pub payload: Box<[u8]>,
    /// Encoded properties that travel to 5.0 subscribers ([`Forwarded`](crate::packet::Forwarded)).
    pub forwarded: Box<[u8]>,
    /// QoS.
    pub qos: QoS,
    /// Retain it; an empty payload then ends the retained message of the topic.
    pub retain: bool,
    /// Message Expiry Interval, seconds.
    pub expiry_s: Option<u32>,
}

impl Broker {
    /// Publishes as a client does, on credit of every shard that wants the message, and if there is room: `Changed::Unavailable` asks to
    /// come again, and nothing was done. It is done when the message is on its way; nobody waits for the disk and other shards.
    pub(super) fn publish_for<E: Effects>(
        &mut self,
        now: Timestamp,
        asked: &Publishing,
        fx: &mut E,
    ) -> Changed {
        let limits = &self.config().limits;
        let topic_limits = TopicLimits { len_max: limits.topic_len_max, levels_max: limits.topic_levels_max };
        if topic::check_name(&asked.topic, &topic_limits).is_err() {
            return Changed::Refused(ReasonCode::TopicNameInvalid);
        }
        if is_brokers_own(&asked.topic) {
            return Changed::Refused(ReasonCode::NotAuthorized);
        }
        let len = asked.topic.len() + asked.forwarded.len() + asked.payload.len();
        if len > limits.packet_bytes_max as usize {
            return Changed::Refused(ReasonCode::PacketTooLarge);
        }
        if asked.retain && !self.config().mqtt.retain_available {
            return Changed::Refused(ReasonCode::RetainNotSupported);
        }
        let is_stored = asked.qos > QoS::AtMostOnce || asked.retain;
        let journal = &self.clients.journal;
        if self.is_busy()
            || self.shared.pressure.level() >= Level::Pause
            || (is_stored && (journal.is_down() || journal.is_backlogged()))
            || (self.operators_bytes > 0 && self.operators_bytes + len > UNDER_WAY_BYTES_MAX)
        {
            return Changed::Unavailable;
        }
        let is_tracked = is_stored || self.config().mqtt.upgrade_qos;
        let number = if is_tracked { self.clients.journal.number() } else { 0 };
        let head = MessageHead {
            qos: asked.qos,
            retain: asked.retain,
            expires_at: asked.expiry_s.map(|seconds| now.plus_s(u64::from(seconds))),
            publisher: SessionSerial::default(),
            owner: 0,
            number,
        };
        let message = Message::new(head, &asked.topic, &asked.forwarded, &asked.payload);
        let is_committed = number > 0 && asked.qos > QoS::AtMostOnce;
        let key = is_committed.then_some(CommitKey { message: number, publisher: None, packet_id: None });
        let waiter = Waiter::Operators { key, bytes: len };
        match self.route(now, &mut Publication::of(&message), waiter, None, fx) {
            Routed::Stalled => return Changed::Unavailable,
            Routed::Pending { .. } => self.operators_bytes += len,
            Routed::Done { reach } => self.operators_message_arrived(now, key, reach, fx),
        }
        self.count_operators_message(asked);
        Changed::Done { is_new: true }
    }

    /// Everyone who wants it has it.
    pub(in crate::broker) fn operators_message_arrived<E: Effects>(
        &mut self,
        now: Timestamp,
        key: Option<CommitKey>,
        reach: Reach,
        fx: &mut E,
    ) {
        if let Some(key) = key {
            self.commit_will(now, key, reach, fx);
        }
    }

    fn count_operators_message(&self, asked: &Publishing) {
        let metrics = self.metrics();
        metrics.messages_received.inc();
        match asked.qos {
            QoS::AtMostOnce => metrics.messages_qos0_received.inc(),
            QoS::AtLeastOnce => metrics.messages_qos1_received.inc(),
            QoS::ExactlyOnce => metrics.messages_qos2_received.inc(),
        }
        if asked.retain {
            metrics.messages_retained.inc();
        }
    }
}
