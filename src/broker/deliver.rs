//! One message to one session: at once, into its inflight window, or into its mqueue. Here every PUBLISH that
//! the broker sends is written.

use std::num::NonZeroU16;
use std::sync::Arc;

use smallvec::SmallVec;

use super::clients::Clients;
use super::effects::Effects;
use super::fan_out::terms_of;
use super::journal::Awaited;
use super::message::{SessionToken, delivery_qos};
use super::mount::unmounted;
use super::observe::{self, PublishText, Traces};
use super::publication::{Publication, SHARED_PAYLOAD_MIN};
use crate::clock::Timestamp;
use crate::connection::{AliasUse, Connection};
use crate::metrics::Metrics;
use crate::packet::{self, PacketId, PublishHead, QoS, encode_publish_head, publish_len};
use crate::router::{FilterId, SessionIndex, SubscriptionOptions};
use crate::session::message::expiry_left_s;
use crate::session::{ConnectionId, Delivery, HELD, Message, READY, ShareName, Slot, UNCOMMITTED, UNSENT};
use crate::storage::Entry;

/// Bytes that a Topic Alias adds to a PUBLISH, the growth of two lengths included.
const ALIAS_LEN: usize = 3 + 2;

/// Whence a message comes that goes into the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// It is new to the session.
    Publication,
    /// It has waited.
    Mqueue,
}

/// What the matching subscriptions make of a message.
#[derive(Debug)]
pub(super) struct Terms<'a> {
    /// The highest QoS granted.
    pub(super) qos: QoS,
    /// RETAIN is forwarded as published.
    pub(super) retain_as_published: bool,
    /// It is a retained message for a new subscription.
    pub(super) retained: bool,
    /// Subscription Identifiers.
    pub(super) ids: &'a [u32],
    /// The Shared Subscription that chose this session.
    pub(super) share: Option<&'a Arc<ShareName>>,
}

/// One PUBLISH to be written.
struct Outgoing<'a> {
    topic: &'a str,
    forwarded: &'a [u8],
    payload: &'a [u8],
    kept: Option<&'a Arc<Message>>,
    expiry_s: Option<u32>,
    ids: &'a [u32],
    packet_id: Option<PacketId>,
    qos: QoS,
    retain: bool,
    dup: bool,
}

impl<'a> Outgoing<'a> {
    fn of(delivery: &'a Delivery, packet_id: Option<PacketId>, dup: bool, now: Timestamp) -> Self {
        Self {
            topic: delivery.message.topic(),
            forwarded: delivery.message.forwarded(),
            payload: delivery.message.payload(),
            kept: Some(&delivery.message),
            expiry_s: delivery.message.expiry_left_s(now),
            ids: delivery.subscription_ids.as_deref().map_or(&[], Vec::as_slice),
            packet_id,
            qos: delivery.qos,
            retain: delivery.retain,
            dup,
        }
    }

    fn head(&self, connection: &Connection) -> PublishHead<'a> {
        PublishHead {
            version: connection.version,
            dup: self.dup,
            qos: self.qos,
            retain: self.retain,
            topic: unmounted(self.topic, connection.mount_len()),
            packet_id: self.packet_id,
            expiry_s: self.expiry_s,
            topic_alias: None,
            subscription_ids: self.ids,
            forwarded: self.forwarded,
            payload_len: self.payload.len(),
        }
    }
}

impl Clients {
    /// Delivers by the subscriptions that matched.
    #[inline]
    pub(super) fn deliver_matched<E: Effects>(
        &mut self,
        now: Timestamp,
        index: SessionIndex,
        matched: &[(FilterId, SubscriptionOptions)],
        publication: &mut Publication<'_>,
        fx: &mut E,
    ) {
        let Some(session) = self.sessions.get(index.0) else { return };
        let is_own = session.serial == publication.head.publisher;
        let mut ids = SmallVec::new();
        for (filter, options) in matched {
            if options.has_id() && !(is_own && options.no_local()) {
                ids.extend(session.subscriptions.find(false, filter.0).map(|subscription| subscription.id));
            }
        }
        if let Some(terms) = terms_of(matched, is_own, &ids) {
            self.deliver(now, index.0, publication, &terms, fx);
        }
    }

    /// Delivers on given terms, unless the message has expired on its way between shards or with another member of its
    /// Shared Subscription [MQTT-3.3.2-5].
    pub(super) fn deliver<E: Effects>(
        &mut self,
        now: Timestamp,
        index: u32,
        publication: &mut Publication<'_>,
        terms: &Terms<'_>,
        fx: &mut E,
    ) {
        if publication.head.expires_at.is_some_and(|at| at <= now) {
            return self.dropped(&self.metrics.dropped_expired);
        }
        let qos = delivery_qos(publication.head.qos, terms.qos, self.config.mqtt.upgrade_qos);
        let retain = terms.retained || (terms.retain_as_published && publication.head.retain);
        if qos == QoS::AtMostOnce {
            self.deliver_qos0(now, index, publication, terms, retain, fx);
            return;
        }
        let delivery = delivery_of(publication, terms, qos, retain);
        self.deliver_tracked(now, index, delivery, fx);
    }

    fn deliver_qos0<E: Effects>(
        &mut self,
        now: Timestamp,
        index: u32,
        publication: &mut Publication<'_>,
        terms: &Terms<'_>,
        retain: bool,
        fx: &mut E,
    ) {
        let Some((session, id, connection)) = self.connected(index) else {
            return self.keep_qos0(index, publication, terms, retain);
        };
        let waits = session.outbound.as_ref().is_some_and(|outbound| {
            // An older retained message waits for the disk: nobody sees it after a newer one.
            outbound.mqueue.has_qos0() || publication.head.retain && outbound.inflight.has_held()
        });
        if waits {
            // Kept ones of before wait for the window: this one must not overtake them [MQTT-4.6.0-6].
            return self.enqueue(index, delivery_of(publication, terms, QoS::AtMostOnce, retain));
        }
        let is_plain = terms.ids.is_empty()
            && !retain
            && connection.topic_alias_max == 0
            && connection.mount_len() == 0
            && publication.payload.len() < SHARED_PAYLOAD_MIN;
        let (version, packet_bytes_max) = (connection.version, connection.packet_bytes_max);
        let Some(output) = fx.output_below(id, self.outbound_bytes_max()) else {
            self.dropped(&self.metrics.dropped_slow);
            return self.note_slow(now, index, publication.topic, fx);
        };
        if is_plain {
            let bytes = self.encoded.plain(version, now, publication);
            if bytes.len() > packet_bytes_max as usize {
                return self.dropped(&self.metrics.dropped_too_large);
            }
            output.extend_from_slice(bytes);
            count_publish(&self.metrics, QoS::AtMostOnce, bytes.len());
            if self.sight.traces.is_on() {
                self.trace_plain(index, publication, fx);
            }
            return;
        }
        let kept =
            (publication.payload.len() >= SHARED_PAYLOAD_MIN).then(|| Arc::clone(publication.message()));
        let outgoing = Outgoing {
            topic: publication.topic,
            forwarded: publication.forwarded,
            payload: publication.payload,
            kept: kept.as_ref(),
            expiry_s: expiry_left_s(publication.head.expires_at, now),
            ids: terms.ids,
            packet_id: None,
            qos: QoS::AtMostOnce,
            retain,
            dup: false,
        };
        self.write(id, &outgoing, fx);
    }

    fn keep_qos0(&mut self, index: u32, publication: &mut Publication<'_>, terms: &Terms<'_>, retain: bool) {
        if !self.config.session.queue_qos0 {
            return self.dropped(&self.metrics.dropped_offline_qos0);
        }
        if self.keeps_no_qos0() {
            return self.dropped(&self.metrics.dropped_memory);
        }
        let delivery = delivery_of(publication, terms, QoS::AtMostOnce, retain);
        self.enqueue(index, delivery);
    }

    /// QoS 1 and 2: into the window if there is room and nothing waits before it, else into the mqueue.
    pub(super) fn deliver_tracked<E: Effects>(
        &mut self,
        now: Timestamp,
        index: u32,
        delivery: Delivery,
        fx: &mut E,
    ) {
        let has_room = self.has_room(index, fx);
        let Some(session) = self.sessions.get_mut(index) else { return };
        let waits =
            session.outbound.as_ref().is_some_and(|o| !o.mqueue.is_empty() || o.inflight.has_unsent());
        if !has_room || waits {
            self.enqueue_tracked(index, delivery);
            return self.note_waiting(now, index, fx);
        }
        self.send_tracked(now, index, delivery, From::Publication, fx);
    }

    /// Into the mqueue, and into the journal if the session is kept.
    fn enqueue_tracked(&mut self, index: u32, mut delivery: Delivery) {
        let number = delivery.message.head().number;
        if let (Some(session), Some(token)) = (self.sessions.get(index), self.token(index))
            && self.journal.keeps(session)
            && number > 0
        {
            if delivery.qos == QoS::ExactlyOnce && self.journal.holds() {
                delivery.sent_s = UNCOMMITTED;
                self.journal.hold(number, token, None);
            }
            self.journal.write_delivery(token.serial.0, &delivery, None);
        }
        self.enqueue(index, delivery);
    }

    /// A retained message for a new subscription: past the mqueue. The caller has seen that there is room.
    pub(super) fn deliver_before_mqueue<E: Effects>(
        &mut self,
        now: Timestamp,
        index: u32,
        publication: &mut Publication<'_>,
        terms: &Terms<'_>,
        fx: &mut E,
    ) {
        let qos = delivery_qos(publication.head.qos, terms.qos, self.config.mqtt.upgrade_qos);
        if qos == QoS::AtMostOnce {
            return self.deliver_qos0(now, index, publication, terms, terms.retained, fx);
        }
        let delivery = delivery_of(publication, terms, qos, terms.retained);
        self.send_tracked(now, index, delivery, From::Publication, fx);
    }

    /// Whether the session's client may get one more QoS 1 or 2 message now [MQTT-3.3.4-9].
    pub(super) fn has_room<E: Effects>(&mut self, index: u32, fx: &mut E) -> bool {
        let inflight_max = self.config.session.inflight_max;
        let outbound_max = self.config.limits.outbound_bytes as usize;
        let Some((session, id, connection)) = self.connected(index) else { return false };
        let limit = usize::from(connection.receive_max.min(inflight_max));
        if session
            .outbound
            .as_ref()
            .is_some_and(|o| o.inflight.on_the_wire() >= limit || !o.inflight.has_room())
        {
            return false;
        }
        if fx.outbound_len(id) <= outbound_max {
            return true;
        }
        fx.want_drained(id);
        false
    }

    /// Into the window and onto the wire. The caller has seen that there is room. To a session that is kept a message of
    /// QoS 2 goes when the journal has its identifier, and others not before it.
    fn send_tracked<E: Effects>(
        &mut self,
        now: Timestamp,
        index: u32,
        mut delivery: Delivery,
        from: From,
        fx: &mut E,
    ) {
        let Self { sessions, connections, metrics, journal, sight, .. } = self;
        let Some(session) = sessions.get_mut(index) else { return };
        let number = delivery.message.head().number;
        let is_kept = journal.keeps(session) && number > 0;
        let token = SessionToken { index, serial: session.serial };
        let Some((id, connection)) =
            session.connection.and_then(|id| connections.get_mut(id).map(|connection| (id, connection)))
        else {
            return;
        };
        if connection.packet_bytes_max != u32::MAX
            && publish_len(&Outgoing::of(&delivery, Some(PacketId::FIRST), false, now).head(connection))
                > connection.packet_bytes_max as usize
        {
            if is_kept && from == From::Mqueue {
                journal.write_gone(Some(token.serial.0), &delivery);
            }
            return self.dropped(&self.metrics.dropped_too_large);
        }
        let outbound = session.outbound_mut();
        delivery.sent_s = match (is_kept && journal.is_synced(), delivery.qos) {
            (true, QoS::ExactlyOnce) => HELD,
            (true, _) if outbound.inflight.has_held() => READY,
            _ => sent_second(now),
        };
        let packet_id = match outbound.inflight.push(delivery.clone()) {
            Ok(packet_id) => packet_id,
            Err(delivery) => return self.enqueue_tracked(index, delivery),
        };
        metrics.inflight.inc();
        if is_kept {
            journal.write_inflight(token, &delivery, packet_id, from);
        }
        if ![HELD, READY].contains(&delivery.sent_s) {
            let outgoing = Outgoing::of(&delivery, Some(packet_id), false, now);
            if write(id, connection, &outgoing, metrics, fx) && sight.traces.is_on() {
                trace_written(&sight.traces, &session.client_id, connection, &outgoing, fx);
            }
        }
    }

    /// What a message of QoS 2 waited for is in the journal: it is sent, and what waited behind it.
    pub(super) fn send_released<E: Effects>(
        &mut self,
        now: Timestamp,
        token: SessionToken,
        packet_id: PacketId,
        fx: &mut E,
    ) {
        let Some(outbound) = self.session_by(token).and_then(|session| session.outbound.as_mut()) else {
            return;
        };
        outbound.inflight.release(packet_id);
        let has_unsent = outbound.inflight.has_unsent();
        let is_connected = self.connected(token.index).is_some();
        let Self { sessions, connections, metrics, journal, sight, .. } = self;
        let Some(session) = sessions.get_mut(token.index) else { return };
        let mut has_gone = false;
        let connection = session.connection.and_then(|id| Some((id, connections.get_mut(id)?)));
        let Some(outbound) = &mut session.outbound else { return };
        match connection {
            Some((id, connection)) if is_connected && !has_unsent => {
                while let Some((packet_id, slot)) = outbound.inflight.next_ready(sent_second(now)) {
                    let Slot::Publish(delivery) = slot else { continue };
                    // Its time may be over before anything of it was sent [MQTT-3.3.2-5].
                    let is_expired = delivery.message.is_expired(now);
                    let outgoing = Outgoing::of(delivery, Some(packet_id), false, now);
                    let topics = &sight.topics;
                    let counted = topics.begin(outgoing.topic, outgoing.payload.len(), metrics);
                    let is_written = !is_expired && write(id, connection, &outgoing, metrics, fx);
                    if is_expired {
                        metrics.dropped_expired.inc();
                        metrics.messages_dropped.inc();
                    }
                    if let Some(before) = counted {
                        sight.topics.end(&before, metrics);
                    }
                    if is_written {
                        if sight.traces.is_on() {
                            trace_written(&sight.traces, &session.client_id, connection, &outgoing, fx);
                        }
                        continue;
                    }
                    let qos = delivery.qos;
                    outbound.inflight.finish_publish(packet_id, qos);
                    journal.write(&Entry::Done { serial: token.serial.0, packet_id: packet_id.value() });
                    metrics.inflight.dec();
                    has_gone = true;
                }
            }
            // Behind what has to be sent again.
            _ => while outbound.inflight.next_ready(UNSENT).is_some() {},
        }
        let session = self.sessions.get(token.index);
        let has_waiting = session.is_some_and(|session| session.mqueue_len() > 0);
        if has_gone || has_waiting {
            self.pump(now, token.index, fx);
        }
    }

    /// Sends what the window has room for: first what has to be sent again, then the mqueue.
    pub(super) fn pump<E: Effects>(&mut self, now: Timestamp, index: u32, fx: &mut E) {
        self.resend(now, index, fx);
        loop {
            let Some(session) = self.sessions.get_mut(index) else { return };
            let Some(outbound) = &mut session.outbound else { return };
            if session.connection.is_none() || outbound.inflight.has_unsent() {
                return;
            }
            if outbound.mqueue.is_empty() {
                session.shrink_outbound();
                return self.sight.slow.relieved(now, index);
            }
            let is_behind_held = outbound.mqueue.begins_with_qos0() && outbound.inflight.has_held();
            if outbound.mqueue.is_uncommitted() || is_behind_held {
                return;
            }
            if !self.has_room(index, fx) {
                return;
            }
            let Some(delivery) = self.pop_mqueue(index) else { return };
            let topics = &self.sight.topics;
            let message = &delivery.message;
            let counted = topics.begin(message.topic(), message.payload().len(), &self.metrics);
            self.send_waiting(now, index, delivery, fx);
            if let Some(before) = counted {
                self.sight.topics.end(&before, &self.metrics);
            }
        }
    }

    /// Sends what has come out of the mqueue.
    fn send_waiting<E: Effects>(&mut self, now: Timestamp, index: u32, delivery: Delivery, fx: &mut E) {
        if delivery.message.is_expired(now) {
            let session = self.sessions.get(index).filter(|session| self.journal.keeps(session));
            let kept = session.map(|session| session.serial.0);
            self.journal.write_gone(kept, &delivery);
            self.dropped(&self.metrics.dropped_expired);
        } else if delivery.qos == QoS::AtMostOnce {
            if let Some(id) = self.sessions.get(index).and_then(|session| session.connection) {
                self.write(id, &Outgoing::of(&delivery, None, false, now), fx);
            }
        } else {
            self.send_tracked(now, index, delivery, From::Mqueue, fx);
        }
    }

    fn pop_mqueue(&mut self, index: u32) -> Option<Delivery> {
        let delivery = self.sessions.get_mut(index)?.outbound.as_mut()?.mqueue.pop()?;
        self.metrics.queues.dec();
        self.judge_queue(index);
        Some(delivery)
    }

    /// Sends again what a former connection did not acknowledge, in order, with DUP [MQTT-4.4.0-1, 3.3.1-1].
    pub(super) fn resend<E: Effects>(&mut self, now: Timestamp, index: u32, fx: &mut E) {
        loop {
            let may_send = self.has_room(index, fx);
            let Self { sessions, connections, metrics, journal, sight, .. } = self;
            let Some(session) = sessions.get_mut(index) else { return };
            let Some((id, connection)) =
                session.connection.and_then(|id| connections.get_mut(id).map(|connection| (id, connection)))
            else {
                return;
            };
            let kept = journal.keeps(session).then_some(session.serial.0);
            let Some(outbound) = &mut session.outbound else { return };
            if !outbound.inflight.has_unsent() || !may_send {
                return;
            }
            match outbound.inflight.next_unsent(sent_second(now)) {
                Some((packet_id, Slot::Publish(delivery))) => {
                    let qos = delivery.qos;
                    let outgoing = Outgoing::of(delivery, Some(packet_id), true, now);
                    if write(id, connection, &outgoing, metrics, fx) {
                        if sight.traces.is_on() {
                            trace_written(&sight.traces, &session.client_id, connection, &outgoing, fx);
                        }
                    } else {
                        // This connection takes less than the one before.
                        outbound.inflight.finish_publish(packet_id, qos);
                        metrics.inflight.dec();
                        if let Some(serial) = kept {
                            journal.write(&Entry::Done { serial, packet_id: packet_id.value() });
                        }
                    }
                }
                // That PUBREC came is perhaps not on disk yet: while that fails, clients come back all the same.
                Some((packet_id, Slot::Release { .. }))
                    if kept.is_some() && journal.is_synced() && journal.is_behind() =>
                {
                    let pubrel = Awaited::PubRel(id, packet_id, packet::ReasonCode::Success);
                    journal.wait(pubrel);
                }
                Some((packet_id, Slot::Release { .. })) => {
                    let output = fx.output(id);
                    let before = output.len();
                    packet::encode_pubrel(connection.version, packet_id, packet::ReasonCode::Success, output);
                    count_sent(metrics, &metrics.packets_pubrel_sent, output.len() - before);
                }
                Some((_, Slot::Done)) | None => return,
            }
        }
    }

    fn write<E: Effects>(&mut self, id: ConnectionId, outgoing: &Outgoing<'_>, fx: &mut E) {
        let Self { connections, metrics, sight, sessions, .. } = self;
        let Some(connection) = connections.get_mut(id) else { return };
        if write(id, connection, outgoing, metrics, fx)
            && sight.traces.is_on()
            && let Some(session) = sessions.get(connection.session)
        {
            trace_written(&sight.traces, &session.client_id, connection, outgoing, fx);
        }
    }

    /// A message of QoS 0 was dropped for a slow client.
    #[cold]
    fn note_slow<E: Effects>(&mut self, now: Timestamp, index: u32, topic: &str, fx: &mut E) {
        self.note_dropped(now, index, fx);
        let Self { sessions, connections, sight, .. } = self;
        if sight.traces.is_on()
            && let Some(session) = sessions.get(index)
            && let Some(connection) = session.connection.and_then(|id| connections.get(id))
        {
            sight.traces.dropped(session, connection, topic, "too much waits for the client", fx);
        }
    }

    /// A PUBLISH of QoS 0 went out as everyone gets it.
    #[cold]
    fn trace_plain<E: Effects>(&self, index: u32, publication: &Publication<'_>, fx: &mut E) {
        let Some(session) = self.sessions.get(index) else { return };
        let Some(connection) = session.connection.and_then(|id| self.connections.get(id)) else { return };
        let text = || {
            observe::of_publish(&PublishText {
                topic: publication.topic,
                qos: QoS::AtMostOnce,
                retain: false,
                dup: false,
                packet_id: None,
                payload: publication.payload,
            })
        };
        let sent = ("sent", publication.topic);
        self.sight.traces.delivery(&session.client_id, connection, sent, text, fx);
    }
}

/// The whole second, as `Delivery::sent_s` has it: rounded up, so that nothing is sent again before its time.
const fn sent_second(now: Timestamp) -> u32 {
    now.0.div_ceil(1000) as u32
}

/// The message as its terms make it, to be kept for one session.
fn delivery_of(publication: &mut Publication<'_>, terms: &Terms<'_>, qos: QoS, retain: bool) -> Delivery {
    Delivery {
        message: Arc::clone(publication.message()),
        subscription_ids: ids_box(terms.ids),
        // QoS 0 is not given back when the session ends.
        share: terms.share.filter(|_| qos > QoS::AtMostOnce).cloned(),
        sent_s: 0,
        qos,
        retain,
    }
}

fn ids_box(ids: &[u32]) -> Option<Box<Vec<u32>>> {
    if ids.is_empty() { None } else { Some(Box::new(ids.to_vec())) }
}

/// Writes a PUBLISH; false: it is larger than the client takes, so it counts as delivered [MQTT-3.1.2-25].
fn write<E: Effects>(
    id: ConnectionId,
    connection: &mut Connection,
    outgoing: &Outgoing<'_>,
    metrics: &Metrics,
    fx: &mut E,
) -> bool {
    let mut head = outgoing.head(connection);
    let bytes_max = connection.packet_bytes_max as usize;
    if bytes_max != u32::MAX as usize && publish_len(&head) > bytes_max {
        metrics.dropped_too_large.inc();
        metrics.messages_dropped.inc();
        return false;
    }
    // An alias makes the packet that introduces it three bytes longer: only where they fit.
    if connection.topic_alias_max > 0 && publish_len(&head) + ALIAS_LEN <= bytes_max {
        match connection.aliases.get_or_insert_default().name(outgoing.topic, connection.topic_alias_max) {
            AliasUse::None => {}
            AliasUse::Introduce(alias) => head.topic_alias = NonZeroU16::new(alias),
            AliasUse::Known(alias) => {
                head.topic_alias = NonZeroU16::new(alias);
                head.topic = "";
            }
        }
    }
    let output = fx.output(id);
    let before = output.len();
    if encode_publish_head(&head, output).is_err() {
        // Larger than any packet: only a message with very many Subscription Identifiers gets there.
        return false;
    }
    let head_len = output.len() - before;
    match outgoing.kept {
        Some(kept) if outgoing.payload.len() >= SHARED_PAYLOAD_MIN => {
            fx.output_shared(id, kept.payload_shared());
        }
        _ => output.extend_from_slice(outgoing.payload),
    }
    count_publish(metrics, outgoing.qos, head_len + outgoing.payload.len());
    true
}

/// A PUBLISH has been written.
#[cold]
fn trace_written<E: Effects>(
    traces: &Traces,
    client_id: &str,
    connection: &Connection,
    outgoing: &Outgoing<'_>,
    fx: &mut E,
) {
    let text = || {
        observe::of_publish(&PublishText {
            topic: outgoing.topic,
            qos: outgoing.qos,
            retain: outgoing.retain,
            dup: outgoing.dup,
            packet_id: outgoing.packet_id.map(|id| id.value()),
            payload: outgoing.payload,
        })
    };
    traces.delivery(client_id, connection, ("sent", outgoing.topic), text, fx);
}

fn count_publish(metrics: &Metrics, qos: QoS, bytes: usize) {
    metrics.messages_sent.inc();
    match qos {
        QoS::AtMostOnce => metrics.messages_qos0_sent.inc(),
        QoS::AtLeastOnce => metrics.messages_qos1_sent.inc(),
        QoS::ExactlyOnce => metrics.messages_qos2_sent.inc(),
    }
    count_sent(metrics, &metrics.packets_publish_sent, bytes);
}

/// Counts a packet of `bytes` bytes that goes to a client.
pub(super) fn count_sent(metrics: &Metrics, kind: &crate::metrics::Counter, bytes: usize) {
    kind.inc();
    metrics.packets_sent.inc();
    metrics.bytes_sent.add(bytes as u64);
}
