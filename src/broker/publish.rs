//! PUBLISH from a client: what the specification asks of it, then the router; and the acknowledgement, at once
//! or when every shard concerned has the message.

use super::Broker;
use super::commits::Publisher;
use super::deliver::count_sent;
use super::durable::needs_commit;
use super::effects::Effects;
use super::journal::CommitKey;
use super::modules::PacketKind;
use super::observe;
use super::operations::Waiter;
use super::publication::Publication;
use super::receive::Flow;
use super::route::Routed;
use crate::acl::Action;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::connection::{Connection, Error, OwedAck, OwedKind};
use crate::limits::Level;
use crate::packet::{self, PacketId, Publish, QoS, ReasonCode};
use crate::session::{ConnectionId, MessageHead};
use crate::topic;

impl Broker {
    pub(super) fn publish<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        publish: &Publish<'_>,
        fx: &mut E,
    ) -> Flow {
        if let Some(at) = self.publish_pause(now, id).or_else(|| self.user_pause(now, id)) {
            return Flow::Hold(at);
        }
        if self.shared.pressure.level() >= Level::Pause {
            self.pause_for_memory(now, fx);
            return Flow::Stall;
        }
        let mut named = std::mem::take(&mut self.alias_topic);
        let flow = match self.check_publish(id, publish, &mut named) {
            Ok(()) => {
                let topic = if publish.topic.is_empty() { named.as_str() } else { publish.topic };
                self.publish_named(now, id, publish, topic, fx)
            }
            Err(error) => {
                self.fail(now, id, &error, fx);
                Flow::Gone
            }
        };
        self.alias_topic = named;
        if flow == Flow::Next {
            self.take_message(now, id);
            self.take_user_message(now, id);
        }
        flow
    }

    /// What makes a PUBLISH illegal. Resolves its Topic Alias into `named` if it has no Topic Name.
    fn check_publish(
        &mut self,
        id: ConnectionId,
        publish: &Publish<'_>,
        named: &mut String,
    ) -> Result<(), Error> {
        let Self { clients, .. } = self;
        let Some(connection) = clients.connections.get_mut(id) else { return Ok(()) };
        let grant = clients.grants.find(connection.grant);
        if let Some(alias) = publish.topic_alias {
            if alias.get() > grant.topic_alias_max {
                return Err(Error::TopicAlias { found: alias.get(), max: grant.topic_alias_max });
            }
            if publish.topic.is_empty() {
                let known = connection.aliases.as_deref().and_then(|aliases| aliases.resolve(alias));
                let Some(known) = known else {
                    return Err(Error::Violation("a Topic Alias that was not introduced [MQTT-3.3.2-7]"));
                };
                named.clear();
                named.push_str(known);
            } else {
                connection.aliases.get_or_insert_default().learn(alias, publish.topic);
            }
        }
        if publish.qos as u8 > grant.qos_max {
            return Err(Error::Qos { found: publish.qos, max: grant.qos_max });
        }
        if publish.retain && !grant.retain_available && connection.is_v5() {
            return Err(Error::Retain);
        }
        Ok(())
    }

    /// Finds out what the client means by the name of a topic: a delay, and by the rules perhaps another topic.
    fn publish_named<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        publish: &Publish<'_>,
        named: &str,
        fx: &mut E,
    ) -> Flow {
        let Some((delay_s, topic)) = self.delay_of(id, named) else {
            self.count_received(publish);
            self.metrics().delayed_refused.inc();
            self.acknowledge_publish(id, publish, ReasonCode::TopicNameInvalid, fx);
            return Flow::Next;
        };
        match self.rewritten(id, None, PacketKind::Publish, topic) {
            None => self.publish_mounted(now, id, publish, (topic, delay_s), fx),
            Some(other) => self.publish_mounted(now, id, publish, (&other, delay_s), fx),
        }
    }

    /// Puts the client's mountpoint before the topic, if it has one.
    fn publish_mounted<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        publish: &Publish<'_>,
        (topic, delay_s): (&str, u32),
        fx: &mut E,
    ) -> Flow {
        let Some(connection) = self.clients.connections.get(id) else { return Flow::Gone };
        if connection.mount_len() == 0 {
            return self.publish_checked(now, id, publish, &Destination { topic, full: topic, delay_s }, fx);
        }
        let mut full = std::mem::take(&mut self.mounted_topic);
        let Some(connection) = self.clients.connections.get(id) else { return Flow::Gone };
        let fits = self.mount_topic(connection, topic, &mut full);
        let destination = Destination { topic, full: if fits { &full } else { "" }, delay_s };
        let flow = self.publish_checked(now, id, publish, &destination, fx);
        self.mounted_topic = full;
        flow
    }

    fn publish_checked<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        publish: &Publish<'_>,
        destination: &Destination<'_>,
        fx: &mut E,
    ) -> Flow {
        let Destination { topic, full, delay_s } = *destination;
        let Some(connection) = self.clients.connections.get(id) else { return Flow::Gone };
        let owed_max = usize::from(self.config().limits.receive_max.max(16));
        if self.is_busy() || connection.owed.as_ref().is_some_and(|owed| owed.len() >= owed_max) {
            return Flow::Stall;
        }
        if publish.retain
            && connection.owed.as_ref().is_some_and(|owed| owed.has_direct())
            && self.has_slice_elsewhere(full)
        {
            // The way over the slice may be the faster one: what went directly has to be there first [MQTT-4.6.0-6].
            return Flow::Stall;
        }
        if let Some(packet_id) = publish.packet_id {
            match self.check_quota(id, publish, packet_id) {
                Ok(Quota::New) => {}
                Ok(Quota::Uncommitted) => {
                    self.count_received(publish);
                    self.ask_commit_again(id, packet_id);
                    return Flow::Next;
                }
                Ok(Quota::Repeated) => {
                    self.count_received(publish);
                    self.acknowledge(id, OwedKind::PubRec(packet_id), ReasonCode::Success, fx);
                    return Flow::Next;
                }
                Err(error) => {
                    self.fail(now, id, &error, fx);
                    return Flow::Gone;
                }
            }
        }
        if let Some(reason) = refusal(publish, topic, self.config()) {
            self.count_received(publish);
            self.acknowledge_publish(id, publish, reason, fx);
            return Flow::Next;
        }
        let wanted = std::iter::once((Action::Publish, topic));
        if !full.is_empty() && self.waits_for_answers(now, id, None, wanted, fx) {
            return Flow::Wait;
        }
        if full.is_empty() || !self.may_publish(id, topic) {
            // 3.x knows no refusal here: the client is acknowledged, the message goes nowhere.
            if self.clients.sight.traces.is_on() {
                let text = || format!("PUBLISH {topic}: the ACL does not allow it");
                self.trace(id, Some(full), "denied", text, fx);
            }
            self.count_received(publish);
            self.acknowledge_publish(id, publish, ReasonCode::NotAuthorized, fx);
            return Flow::Next;
        }
        if self.came_back(id, publish) {
            self.count_received(publish);
            self.acknowledge_publish(id, publish, ReasonCode::Success, fx);
            return Flow::Next;
        }
        if self.clients.journal.is_on()
            && let Some(flow) = self.judge_storage(now, id, publish, (full, delay_s > 0), fx)
        {
            return flow;
        }
        if delay_s > 0 {
            return self.publish_later(now, id, publish, (delay_s, full), fx);
        }
        self.publish_routed(now, id, publish, full, fx)
    }

    fn publish_routed<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        publish: &Publish<'_>,
        topic: &str,
        fx: &mut E,
    ) -> Flow {
        let retain_available = self.config().mqtt.retain_available;
        let owner = self.owner(id);
        let is_tracked = publish.qos > QoS::AtMostOnce || publish.retain || self.config().mqtt.upgrade_qos;
        let number = if is_tracked { self.clients.journal.number() } else { 0 };
        let Some(serial) = self.clients.session_of(id).map(|session| session.serial) else {
            return Flow::Gone;
        };
        let head = MessageHead {
            qos: publish.qos,
            retain: publish.retain && retain_available,
            expires_at: publish.expiry_s.map(|seconds| now.plus_s(u64::from(seconds))),
            publisher: serial,
            owner,
            number,
        };
        let client = self.client_hash(id, head.retain);
        let mut encoded = std::mem::take(&mut self.forwarded);
        encoded.clear();
        publish.forwarded.write(&mut encoded);
        let mut publication = Publication::new(head, topic, &encoded, publish.payload);
        publication.arrived_us = self.sample(fx);
        let routed = self.route(now, &mut publication, Waiter::Publisher(None), client, fx);
        self.forwarded = encoded;
        if let Routed::Stalled = routed {
            return Flow::Stall;
        }
        self.count_received(publish);
        self.hook_publish(now, id, (publish, topic), fx);
        let key = self.record_inbound(id, publish, number);
        match routed {
            Routed::Done { reach } if needs_commit(&key, reach) => {
                if let Some(number) = self.owe(id, publish, true) {
                    let place = self.commits.follow(serial);
                    let publisher = Publisher { connection: id, number, key, place };
                    self.publish_arrived(now, publisher, reach, fx);
                }
            }
            Routed::Done { reach } => self.acknowledge_publish(id, publish, routed_reason(reach.matched), fx),
            Routed::Pending { operation, relayed } => {
                if let Some(number) = self.owe(id, publish, relayed) {
                    let place = (key.message > 0).then(|| self.commits.join(serial));
                    self.set_publisher(operation, Publisher { connection: id, number, key, place });
                }
            }
            Routed::Stalled => {}
        }
        Flow::Next
    }

    /// Records the identifier of a QoS 2 message, and gives what the journal will say of a message with this number.
    pub(super) fn record_inbound(
        &mut self,
        id: ConnectionId,
        publish: &Publish<'_>,
        number: u64,
    ) -> CommitKey {
        let is_acknowledged = publish.qos > QoS::AtMostOnce;
        let message = if is_acknowledged { number } else { 0 };
        let mut key = CommitKey { message, ..CommitKey::default() };
        if publish.qos != QoS::ExactlyOnce {
            return key;
        }
        let publisher = self.kept_session(id);
        let (Some(packet_id), Some(session)) = (publish.packet_id, self.clients.session_of(id)) else {
            return key;
        };
        let inbound = session.inbound.get_or_insert_default();
        inbound.insert(packet_id);
        if publisher.is_some() {
            (key.publisher, key.packet_id) = (publisher, Some(packet_id));
            // Also where acknowledgements do not wait for the disk: a PUBREC of the repetition, and the PUBREL that follows, must not come
            // before the `Commit` in the journal, which would bring the identifier back.
            inbound.begin_commit(packet_id);
        }
        key
    }

    /// A place among the acknowledgements that the connection is owed.
    pub(super) fn owe(&mut self, id: ConnectionId, publish: &Publish<'_>, relayed: bool) -> Option<u32> {
        let connection = self.clients.connections.get_mut(id)?;
        let ack = OwedAck { kind: owed_kind(publish), relayed, reason: None };
        Some(connection.owed.get_or_insert_default().push(ack))
    }

    /// Hash of the connection's Client Identifier, where the order of its messages between shards asks for it.
    fn client_hash(&self, id: ConnectionId, retain: bool) -> Option<u64> {
        if self.shards == 1 || !retain && self.relaying.is_empty() {
            return None;
        }
        let index = self.clients.connections.get(id)?.session;
        self.clients.client_hash(index)
    }

    /// Receive Maximum [MQTT-3.3.4-7] and repetitions of QoS 2 [MQTT-4.3.3-10].
    fn check_quota(
        &mut self,
        id: ConnectionId,
        publish: &Publish<'_>,
        packet_id: PacketId,
    ) -> Result<Quota, Error> {
        let receive_max = usize::from(self.clients.grant(id).receive_max);
        let is_v5 = self.clients.connections.get(id).is_some_and(Connection::is_v5);
        let owed_qos1 =
            self.clients.connections.get(id).and_then(|c| c.owed.as_ref()).map_or(0, |o| o.pubacks());
        let await_rel_max = match usize::from(self.clients.config.session.await_rel_max) {
            0 => usize::MAX,
            max => max,
        };
        let Some(session) = self.clients.session_of(id) else { return Ok(Quota::New) };
        if publish.qos == QoS::ExactlyOnce
            && let Some(inbound) = &mut session.inbound
            && inbound.contains(packet_id)
        {
            inbound.insert(packet_id);
            let is_uncommitted = inbound.is_uncommitted(packet_id);
            return Ok(if is_uncommitted { Quota::Uncommitted } else { Quota::Repeated });
        }
        let inbound = session.inbound.as_deref();
        let counted = inbound.map_or(0, |inbound| inbound.counted());
        let unreleased = inbound.map_or(0, |inbound| inbound.len());
        if is_v5 && counted + owed_qos1 >= receive_max {
            return Err(Error::ReceiveMaximum { max: receive_max });
        }
        if publish.qos == QoS::ExactlyOnce && unreleased >= await_rel_max {
            return Err(Error::ReceiveMaximum { max: await_rel_max });
        }
        Ok(Quota::New)
    }

    pub(super) fn count_received(&self, publish: &Publish<'_>) {
        let metrics = self.metrics();
        metrics.packets_publish_received.inc();
        metrics.messages_received.inc();
        match publish.qos {
            QoS::AtMostOnce => metrics.messages_qos0_received.inc(),
            QoS::AtLeastOnce => metrics.messages_qos1_received.inc(),
            QoS::ExactlyOnce => metrics.messages_qos2_received.inc(),
        }
        if publish.retain {
            metrics.messages_retained.inc();
        }
    }

    pub(super) fn acknowledge_publish<E: Effects>(
        &mut self,
        id: ConnectionId,
        publish: &Publish<'_>,
        reason: ReasonCode,
        fx: &mut E,
    ) {
        match owed_kind(publish) {
            OwedKind::Nothing => {}
            kind => self.acknowledge(id, kind, reason, fx),
        }
    }

    /// Acknowledges in order: at once if nothing older is owed.
    fn acknowledge<E: Effects>(&mut self, id: ConnectionId, kind: OwedKind, reason: ReasonCode, fx: &mut E) {
        let Some(connection) = self.clients.connections.get_mut(id) else { return };
        if let Some(owed) = &mut connection.owed
            && !owed.is_empty()
        {
            if !owed.contains(kind) {
                owed.push(OwedAck { kind, relayed: false, reason: Some(reason.value()) });
            }
            return;
        }
        self.write_ack(id, kind, reason, fx);
    }

    /// The answers for an owed acknowledgement are here: it leaves, and all that waited behind it.
    pub(super) fn acknowledge_owed<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        number: u32,
        matched: bool,
        fx: &mut E,
    ) {
        let Some(connection) = self.clients.connections.get_mut(id) else { return };
        let Some(owed) = &mut connection.owed else { return };
        owed.settle(number, routed_reason(matched).value());
        while let Some((kind, reason)) = self.pop_owed(id) {
            self.write_ack(id, kind, ReasonCode::from_value(reason).unwrap_or(ReasonCode::Success), fx);
        }
        self.resume_one(now, id, fx);
    }

    fn pop_owed(&mut self, id: ConnectionId) -> Option<(OwedKind, u8)> {
        let connection = self.clients.connections.get_mut(id)?;
        let popped = connection.owed.as_mut().and_then(|owed| owed.pop_settled());
        if connection.owed.as_ref().is_some_and(|owed| owed.is_empty()) {
            connection.owed = None;
        }
        popped
    }

    fn write_ack<E: Effects>(&mut self, id: ConnectionId, kind: OwedKind, reason: ReasonCode, fx: &mut E) {
        if self.clients.sight.traces.is_on() {
            let text = || match kind {
                OwedKind::Nothing => String::new(),
                OwedKind::PubAck(packet_id) => observe::acknowledgement("PUBACK", packet_id.value(), reason),
                OwedKind::PubRec(packet_id) => observe::acknowledgement("PUBREC", packet_id.value(), reason),
            };
            self.trace_sent(id, text, fx);
        }
        let Some(connection) = self.clients.connections.get(id) else { return };
        let version = connection.version;
        let metrics = &*self.clients.metrics;
        let output = fx.output(id);
        let before = output.len();
        let counter = match kind {
            OwedKind::Nothing => return,
            OwedKind::PubAck(packet_id) => {
                packet::encode_puback(version, packet_id, reason, output);
                &metrics.packets_puback_sent
            }
            OwedKind::PubRec(packet_id) => {
                packet::encode_pubrec(version, packet_id, reason, output);
                &metrics.packets_pubrec_sent
            }
        };
        count_sent(metrics, counter, output.len() - before);
    }
}

/// Where a PUBLISH goes.
struct Destination<'t> {
    /// The client's word for the topic.
    topic: &'t str,
    /// The broker's, with the client's mountpoint; empty: there is none.
    full: &'t str,
    /// Seconds until then.
    delay_s: u32,
}

enum Quota {
    New,
    /// It is here already.
    Repeated,
    /// It is here already, and will be acknowledged when the disk has it.
    Uncommitted,
}

/// Why this one message goes no further; the connection does (section 3.3.2.3.2).
fn refusal(publish: &Publish<'_>, topic: &str, config: &Config) -> Option<ReasonCode> {
    let limits = topic::TopicLimits {
        len_max: config.limits.topic_len_max,
        levels_max: config.limits.topic_levels_max,
    };
    if topic::check_name(topic, &limits).is_err() {
        return Some(ReasonCode::TopicNameInvalid);
    }
    if is_brokers_own(topic) {
        return Some(ReasonCode::NotAuthorized);
    }
    publish.check_payload_format().err().map(|error| error.reason_code())
}

/// Only the broker speaks there [MQTT-4.7.2-1, non-normative comment]: no PUBLISH and no Will of a client.
pub(super) fn is_brokers_own(topic: &str) -> bool {
    topic.starts_with("$SYS/")
}

fn owed_kind(publish: &Publish<'_>) -> OwedKind {
    match (publish.qos, publish.packet_id) {
        (QoS::AtLeastOnce, Some(packet_id)) => OwedKind::PubAck(packet_id),
        (QoS::ExactlyOnce, Some(packet_id)) => OwedKind::PubRec(packet_id),
        _ => OwedKind::Nothing,
    }
}

const fn routed_reason(matched: bool) -> ReasonCode {
    if matched { ReasonCode::Success } else { ReasonCode::NoMatchingSubscribers }
}
