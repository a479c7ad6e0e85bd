//! What operators publish: a message of the broker itself, with the QoS that it is given. The ACL is not asked: it is about clients.

use super::super::Broker;
use super::super::effects::Effects;
use super::super::journal::CommitKey;
use super::super::publish::is_brokers_own;
use super::change::Changed;
use crate::clock::Timestamp;
use crate::limits::Level;
use crate::packet::{QoS, ReasonCode};
use crate::session::{Message, MessageHead, SessionSerial};
use crate::topic::{self, TopicLimits};

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
    /// Publishes, if there is room: `Changed::Unavailable` asks to come again. It is done when the message is on its way; nobody waits
    /// for the disk and other shards.
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
        if self.is_busy()
            || self.shared.pressure.level() >= Level::Pause
            || (is_stored && self.clients.journal.is_down())
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
        self.count_operators_message(asked);
        let message = Message::new(head, &asked.topic, &asked.forwarded, &asked.payload);
        let is_committed = number > 0 && asked.qos > QoS::AtMostOnce;
        let key = is_committed.then_some(CommitKey { message: number, publisher: None, packet_id: None });
        self.publish_own(now, message, None, key, fx);
        Changed::Done { is_new: true }
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
