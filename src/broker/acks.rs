//! PUBACK, PUBREC, PUBREL and PUBCOMP of clients: inflight windows move on, QoS 2 identifiers are released.

use super::Broker;
use super::clients::{Clients, SharedNews};
use super::deliver::count_sent;
use super::effects::Effects;
use super::journal::Awaited;
use super::observe;
use crate::clock::Timestamp;
use crate::config::SharedStrategy;
use crate::packet::{self, Ack, PacketId, QoS, ReasonCode};
use crate::session::{Acked, ConnectionId, Delivery};
use crate::storage::Entry;

impl Broker {
    pub(super) fn puback<E: Effects>(&mut self, now: Timestamp, id: ConnectionId, ack: &Ack<'_>, fx: &mut E) {
        self.metrics().packets_puback_received.inc();
        let acked = self.clients.finish(id, ack, QoS::AtLeastOnce);
        match acked {
            Acked::Delivery(delivery) => self.delivered(now, id, delivery, fx),
            Acked::Released | Acked::Unknown => self.metrics().packets_puback_missed.inc(),
        }
    }

    pub(super) fn pubrec<E: Effects>(&mut self, now: Timestamp, id: ConnectionId, ack: &Ack<'_>, fx: &mut E) {
        self.metrics().packets_pubrec_received.inc();
        if ack.reason.is_failure() {
            // The client does not want it: the identifier is free, no PUBREL follows [MQTT-4.3.3-4].
            match self.clients.finish(id, ack, QoS::ExactlyOnce) {
                Acked::Delivery(delivery) => self.delivered(now, id, delivery, fx),
                Acked::Released | Acked::Unknown => self.metrics().packets_pubrec_missed.inc(),
            }
            return;
        }
        let outbound = self.clients.session_of(id).and_then(|session| session.outbound.as_mut());
        let received = outbound.map_or(Acked::Unknown, |o| o.inflight.received(ack.packet_id));
        let kept = self.kept_session(id);
        if let Some(session) = kept
            && matches!(received, Acked::Delivery(_))
        {
            let packet_id = ack.packet_id.value();
            self.clients.journal.write(&Entry::Received { serial: session.serial.0, packet_id });
        }
        let reason = match received {
            Acked::Delivery(_) | Acked::Released => ReasonCode::Success,
            Acked::Unknown => {
                self.metrics().packets_pubrec_missed.inc();
                ReasonCode::PacketIdentifierNotFound
            }
        };
        if kept.is_some() && self.clients.journal.is_synced() {
            // After PUBREL the client forgets the identifier: from then on it must not get the message again.
            self.clients.journal.wait(Awaited::PubRel(id, ack.packet_id, reason));
        } else {
            self.send_pubrel(id, ack.packet_id, reason, fx);
        }
        if let Acked::Delivery(delivery) = received {
            self.shared_acked(now, id, &delivery, fx);
        }
    }

    pub(super) fn send_pubrel<E: Effects>(
        &mut self,
        id: ConnectionId,
        packet_id: PacketId,
        reason: ReasonCode,
        fx: &mut E,
    ) {
        if self.clients.sight.traces.is_on() {
            self.trace_sent(id, || observe::acknowledgement("PUBREL", packet_id.value(), reason), fx);
        }
        let Some(connection) = self.clients.connections.get(id) else { return };
        let output = fx.output(id);
        let before = output.len();
        packet::encode_pubrel(connection.version, packet_id, reason, output);
        let metrics = self.metrics();
        count_sent(metrics, &metrics.packets_pubrel_sent, output.len() - before);
    }

    pub(super) fn pubrel<E: Effects>(&mut self, id: ConnectionId, ack: &Ack<'_>, fx: &mut E) {
        self.metrics().packets_pubrel_received.inc();
        let Some(session) = self.clients.session_of(id) else { return };
        // Nobody has told the client yet that an uncommitted one has arrived.
        let is_known = session
            .inbound
            .as_mut()
            .is_some_and(|inbound| !inbound.is_uncommitted(ack.packet_id) && inbound.release(ack.packet_id));
        if session.inbound.as_ref().is_some_and(|inbound| inbound.is_empty()) {
            session.inbound = None;
        }
        let reason = if is_known { ReasonCode::Success } else { ReasonCode::PacketIdentifierNotFound };
        if !is_known {
            self.metrics().packets_pubrel_missed.inc();
        }
        if let Some(session) = self.kept_session(id) {
            let packet_id = ack.packet_id.value();
            if is_known {
                self.clients.journal.write(&Entry::InboundDone { serial: session.serial.0, packet_id });
            }
            if self.clients.journal.is_synced() {
                // After PUBCOMP the client gives the identifier to another message, which must not pass for this one; also if it is
                // a repetition that asks, and the disk does not know yet.
                return self.clients.journal.wait(Awaited::PubComp(id, ack.packet_id, reason));
            }
        }
        self.send_pubcomp(id, ack.packet_id, reason, fx);
    }

    pub(super) fn send_pubcomp<E: Effects>(
        &mut self,
        id: ConnectionId,
        packet_id: PacketId,
        reason: ReasonCode,
        fx: &mut E,
    ) {
        if self.clients.sight.traces.is_on() {
            self.trace_sent(id, || observe::acknowledgement("PUBCOMP", packet_id.value(), reason), fx);
        }
        let Some(connection) = self.clients.connections.get(id) else { return };
        let output = fx.output(id);
        let before = output.len();
        packet::encode_pubcomp(connection.version, packet_id, reason, output);
        let metrics = self.metrics();
        count_sent(metrics, &metrics.packets_pubcomp_sent, output.len() - before);
    }

    pub(super) fn pubcomp<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        ack: &Ack<'_>,
        fx: &mut E,
    ) {
        self.metrics().packets_pubcomp_received.inc();
        let outbound = self.clients.session_of(id).and_then(|session| session.outbound.as_mut());
        if outbound.is_some_and(|outbound| outbound.inflight.complete(ack.packet_id)) {
            self.metrics().inflight.dec();
            if let Some(session) = self.kept_session(id) {
                self.clients.journal.write_done(session.serial.0, ack);
            }
            self.pump(now, id, fx);
        } else {
            self.metrics().packets_pubcomp_missed.inc();
        }
    }

    /// A delivery has ended: the next one may go.
    fn delivered<E: Effects>(&mut self, now: Timestamp, id: ConnectionId, delivery: Delivery, fx: &mut E) {
        self.metrics().inflight.dec();
        self.shared_acked(now, id, &delivery, fx);
        self.pump(now, id, fx);
    }

    /// Sends the session of a connection what there is room for, retained messages included.
    pub(super) fn pump<E: Effects>(&mut self, now: Timestamp, id: ConnectionId, fx: &mut E) {
        let Some(index) = self.clients.connections.get(id).map(|connection| connection.session) else {
            return;
        };
        if !self.cursors.is_empty() {
            // After what is older, before the mqueue, which may never be empty.
            self.clients.resend(now, index, fx);
            self.advance_cursors(now, index, fx);
        }
        self.clients.pump(now, index, fx);
    }

    pub(super) fn drained<E: Effects>(&mut self, now: Timestamp, id: ConnectionId, fx: &mut E) {
        if let Some(connection) = self.clients.connections.get(id) {
            self.clients.sight.slow.relieved(now, connection.session);
        }
        self.pump(now, id, fx);
    }

    fn shared_acked<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        delivery: &Delivery,
        fx: &mut E,
    ) {
        let Some(share) = &delivery.share else { return };
        if self.config().mqtt.shared_strategy != SharedStrategy::LeastInflight {
            return;
        }
        let share = std::sync::Arc::clone(share);
        let Some(index) = self.clients.connections.get(id).map(|connection| connection.session) else {
            return;
        };
        let Some(serial) = self.clients.sessions.get(index).map(|session| session.serial) else { return };
        self.clients.shared_news.push(SharedNews::Acked(share, index, serial));
        self.send_shared_news(now, fx);
    }
}

impl Clients {
    fn finish(&mut self, id: ConnectionId, ack: &Ack<'_>, qos: QoS) -> Acked {
        let Some(index) = self.connections.get(id).map(|connection| connection.session) else {
            return Acked::Unknown;
        };
        let Self { sessions, journal, .. } = self;
        let Some(session) = sessions.get_mut(index) else { return Acked::Unknown };
        let kept = journal.keeps(session).then_some(session.serial.0);
        let outbound = session.outbound.as_mut();
        let acked = outbound.map_or(Acked::Unknown, |o| o.inflight.finish_publish(ack.packet_id, qos));
        if let (Some(serial), Acked::Delivery(_)) = (kept, &acked) {
            journal.write_done(serial, ack);
        }
        acked
    }
}
