//! PUBACK, PUBREC, PUBREL and PUBCOMP of clients: inflight windows move on, QoS 2 identifiers are released.

use super::Broker;
use super::clients::{Clients, SharedNews};
use super::deliver::count_sent;
use super::effects::Effects;
use crate::clock::Timestamp;
use crate::config::SharedStrategy;
use crate::packet::{self, Ack, QoS, ReasonCode};
use crate::session::{Acked, ConnectionId, Delivery};

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
        let reason = match received {
            Acked::Delivery(_) | Acked::Released => ReasonCode::Success,
            Acked::Unknown => {
                self.metrics().packets_pubrec_missed.inc();
                ReasonCode::PacketIdentifierNotFound
            }
        };
        let Some(connection) = self.clients.connections.get(id) else { return };
        let output = fx.output(id);
        let before = output.len();
        packet::encode_pubrel(connection.version, ack.packet_id, reason, output);
        let metrics = self.metrics();
        count_sent(metrics, &metrics.packets_pubrel_sent, output.len() - before);
        if let Acked::Delivery(delivery) = received {
            self.shared_acked(now, id, &delivery, fx);
        }
    }

    pub(super) fn pubrel<E: Effects>(&mut self, id: ConnectionId, ack: &Ack<'_>, fx: &mut E) {
        self.metrics().packets_pubrel_received.inc();
        let Some(session) = self.clients.session_of(id) else { return };
        let is_known = session.inbound.as_mut().is_some_and(|inbound| inbound.release(ack.packet_id));
        if session.inbound.as_ref().is_some_and(|inbound| inbound.is_empty()) {
            session.inbound = None;
        }
        let reason = if is_known { ReasonCode::Success } else { ReasonCode::PacketIdentifierNotFound };
        if !is_known {
            self.metrics().packets_pubrel_missed.inc();
        }
        let Some(connection) = self.clients.connections.get(id) else { return };
        let output = fx.output(id);
        let before = output.len();
        packet::encode_pubcomp(connection.version, ack.packet_id, reason, output);
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
        let outbound = self.session_of(id).and_then(|session| session.outbound.as_mut());
        outbound.map_or(Acked::Unknown, |outbound| outbound.inflight.finish_publish(ack.packet_id, qos))
    }
}
