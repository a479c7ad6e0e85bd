//! Bytes of clients become packets and packets find their handler. A connection keeps bytes only while a packet
//! is incomplete or while it is stalled: its next packet has to wait (for credit of another shard, for
//! acknowledgements that it is owed, for an unfinished fan-out), and reading it is paused meanwhile.

use super::arrival::Arrival;
use super::effects::{Close, Effects, Input, Origin};
use super::message::HandOver;
use super::mount::client_id_of;
use super::{Broker, STALLED_BUDGET};
use crate::clock::Timestamp;
use crate::connection::{Connection, Error, Phase};
use crate::interest::ShardId;
use crate::limits::Level;
use crate::packet::{self, Frame, Packet, PacketType, ReasonCode, Side};
use crate::session::ConnectionId;

/// What a packet did to the stream it came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// Handled: the next one, please.
    Next,
    /// Not handled: again later, from this packet on.
    Stall,
    /// Not handled: again at that moment, from this packet on.
    Hold(Timestamp),
    /// The connection is gone.
    Gone,
    /// Not handled: again when its verdict is there.
    Wait,
    /// A CONNECT whose home is another shard.
    Leave(ShardId),
    /// Handled, and now the CONNECT that was kept goes home, with what comes behind this packet.
    LeaveBehind(ShardId),
}

/// Whether what a packet does to a durable session is written, and grows with each of them. PUBLISH is judged by itself.
const fn is_written(packet: &Packet<'_>) -> bool {
    matches!(packet, Packet::Subscribe(_) | Packet::Unsubscribe(_) | Packet::PubRec(_) | Packet::PubRel(_))
}

/// Whether a packet's first byte says that it is a CONNECT.
pub(super) fn is_connect(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| first >> 4 == PacketType::Connect as u8)
}

impl Broker {
    pub(super) fn accepted<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        origin: Origin,
        fx: &mut E,
    ) {
        self.metrics().connections_accepted.inc();
        let arrival = self.judge_arrival(now, &origin);
        if let Arrival::Shut = arrival {
            self.metrics().connections_closed.inc();
            return fx.close(id, Close::Abort);
        }
        self.admit(now, id, origin, fx);
        let Some(connection) = self.clients.connections.get_mut(id) else { return };
        arrival.mark(connection);
    }

    fn admit<E: Effects>(&mut self, now: Timestamp, id: ConnectionId, origin: Origin, fx: &mut E) {
        let Origin { listener, remote, over_capacity } = origin;
        let mut connection = Connection::new(id.generation, listener, remote, now);
        connection.refusal = over_capacity.then_some(ReasonCode::QuotaExceeded);
        connection.grant = self.clients.grants.current();
        self.clients.connections.insert(id, connection);
        let timeout_s = u64::from(self.config().limits.connect_timeout_s);
        self.clients.want_connection_timer(id.index, now.plus_s(timeout_s), fx);
    }

    pub(super) fn handed_over<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        origin: Origin,
        hand_over: HandOver,
        fx: &mut E,
    ) {
        self.metrics().connections_handed_over.inc();
        self.admit(now, id, origin, fx);
        self.admit_as(id, hand_over.identity, hand_over.authentication_data);
        if let Some(connection) = self.clients.connections.get_mut(id) {
            connection.allowance = hand_over.allowance;
        }
        self.handle(now, Input::Received { connection: id, bytes: &hand_over.bytes }, fx);
    }

    /// Its home has no room: refused here.
    pub(super) fn hand_over_failed<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        hand_over: HandOver,
        fx: &mut E,
    ) {
        self.admit(now, id, Origin { over_capacity: true, ..hand_over.origin }, fx);
        if let Some(connection) = self.clients.connections.get_mut(id) {
            connection.allowance = hand_over.allowance;
        }
        self.parse(now, id, &hand_over.bytes, fx);
    }

    pub(super) fn received<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        bytes: &[u8],
        fx: &mut E,
    ) {
        self.metrics().bytes_received.add(bytes.len() as u64);
        let Some(connection) = self.clients.connections.get_mut(id) else { return };
        if connection.phase == Phase::Connected {
            connection.heard_at = now;
        }
        match connection.partial.take() {
            None => self.parse(now, id, bytes, fx),
            Some(mut partial) => {
                partial.extend_from_slice(bytes);
                if connection.stalled {
                    connection.partial = Some(partial);
                } else {
                    self.parse_owned(now, id, partial, fx);
                }
            }
        }
        if self.paces_bytes || self.shared.pressure.level() >= Level::Pause {
            self.pace_bytes(now, id, bytes.len(), fx);
        }
    }

    /// Handles the whole packets in `bytes`; the rest is kept with the connection.
    fn parse<E: Effects>(&mut self, now: Timestamp, id: ConnectionId, bytes: &[u8], fx: &mut E) {
        let consumed = self.parse_packets(now, id, bytes, fx);
        let rest = bytes.get(consumed..).unwrap_or_default();
        if !rest.is_empty()
            && let Some(connection) = self.clients.connections.get_mut(id)
        {
            connection.partial = Some(Box::new(rest.to_vec()));
        }
    }

    fn parse_owned<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        mut bytes: Box<Vec<u8>>,
        fx: &mut E,
    ) {
        let consumed = self.parse_packets(now, id, &bytes, fx);
        if consumed < bytes.len()
            && let Some(connection) = self.clients.connections.get_mut(id)
        {
            bytes.drain(..consumed);
            connection.partial = Some(bytes);
        }
    }

    /// How many bytes were handled: all packets up to the first that is incomplete or has to wait.
    fn parse_packets<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        bytes: &[u8],
        fx: &mut E,
    ) -> usize {
        let mut consumed = 0;
        let packet_bytes_max = self.clients.grant(id).packet_bytes_max;
        loop {
            let rest = bytes.get(consumed..).unwrap_or_default();
            let packet = match packet::frame(rest, packet_bytes_max) {
                Ok(Frame::Complete { header_len, body_len }) => rest.get(..header_len + body_len),
                Ok(Frame::Incomplete) => None,
                Err(error) => {
                    self.fail(now, id, &error.into(), fx);
                    return bytes.len();
                }
            };
            let Some(packet) = packet else { return consumed };
            match self.packet(now, id, packet, fx) {
                Flow::Next => consumed += packet.len(),
                Flow::Stall => {
                    self.stall(id, fx);
                    return consumed;
                }
                Flow::Hold(at) => {
                    self.hold(id, at, fx);
                    return consumed;
                }
                Flow::Wait => {
                    self.wait(id, fx);
                    return consumed;
                }
                Flow::Gone => return bytes.len(),
                Flow::Leave(home) => {
                    self.leave(id, home, rest.to_vec(), fx);
                    return bytes.len();
                }
                Flow::LeaveBehind(home) => {
                    let mut kept = self.take_kept_connect(id);
                    kept.extend_from_slice(rest.get(packet.len()..).unwrap_or_default());
                    self.leave(id, home, kept, fx);
                    return bytes.len();
                }
            }
        }
    }

    fn packet<E: Effects>(&mut self, now: Timestamp, id: ConnectionId, bytes: &[u8], fx: &mut E) -> Flow {
        let Some(connection) = self.clients.connections.get(id) else { return Flow::Gone };
        let flow = match connection.phase {
            Phase::Authenticating if self.is_exchanging(id) => {
                match packet::decode(packet::ProtocolVersion::V5, bytes, Side::FromClient) {
                    Ok(packet) => self.exchange_packet(now, id, &packet, fx),
                    Err(error) => {
                        self.fail(now, id, &error.into(), fx);
                        Flow::Gone
                    }
                }
            }
            Phase::Opening | Phase::Authenticating | Phase::Admitted => self.opening(now, id, bytes, fx),
            // Before its CONNACK nothing else is answered.
            Phase::Committing => Flow::Wait,
            Phase::Connected if is_connect(bytes) => {
                // Not decoded: what is wrong inside has Reason Codes of CONNACK, not of DISCONNECT.
                self.violation(now, id, "a second CONNECT [MQTT-3.1.0-2]", fx);
                Flow::Gone
            }
            Phase::Connected => match packet::decode(connection.version, bytes, Side::FromClient) {
                Ok(packet) if self.clients.sight.traces.is_on() => self.dispatch_traced(now, id, packet, fx),
                Ok(packet) => self.dispatch(now, id, packet, fx),
                Err(error) => {
                    self.fail(now, id, &error.into(), fx);
                    Flow::Gone
                }
            },
        };
        if !matches!(flow, Flow::Stall | Flow::Wait | Flow::Hold(_)) {
            self.metrics().packets_received.inc();
        }
        flow
    }

    #[cold]
    fn dispatch_traced<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        packet: Packet<'_>,
        fx: &mut E,
    ) -> Flow {
        self.trace_received(id, &packet, fx);
        let flow = self.dispatch(now, id, packet, fx);
        if matches!(flow, Flow::Stall | Flow::Wait | Flow::Hold(_)) {
            self.trace_again(id);
        }
        flow
    }

    fn dispatch<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        packet: Packet<'_>,
        fx: &mut E,
    ) -> Flow {
        if self.clients.journal.is_backlogged() && is_written(&packet) && self.is_kept(id) {
            self.metrics().storage_waits.inc();
            return Flow::Stall;
        }
        match packet {
            Packet::Publish(publish) => return self.publish(now, id, &publish, fx),
            Packet::PubAck(ack) => self.puback(now, id, &ack, fx),
            Packet::PubRec(ack) => self.pubrec(now, id, &ack, fx),
            Packet::PubRel(ack) => self.pubrel(id, &ack, fx),
            Packet::PubComp(ack) => self.pubcomp(now, id, &ack, fx),
            Packet::Subscribe(subscribe) => return self.subscribe(now, id, &subscribe, fx),
            Packet::Unsubscribe(unsubscribe) => return self.unsubscribe(now, id, &unsubscribe, fx),
            Packet::PingReq => self.pingreq(id, fx),
            Packet::Disconnect(disconnect) => return self.disconnect(now, id, &disconnect, fx),
            Packet::Auth(auth) => return self.reauthenticate(now, id, &auth, fx),
            Packet::Connect(_)
            | Packet::ConnAck(_)
            | Packet::SubAck(_)
            | Packet::UnsubAck(_)
            | Packet::PingResp => {
                self.violation(now, id, "a packet that only servers send", fx);
                return Flow::Gone;
            }
        }
        Flow::Next
    }

    fn pingreq<E: Effects>(&mut self, id: ConnectionId, fx: &mut E) {
        self.metrics().packets_pingreq.inc();
        if self.clients.sight.traces.is_on() {
            self.trace_sent(id, || "PINGRESP".into(), fx);
        }
        let output = fx.output(id);
        let before = output.len();
        packet::encode_pingresp(output);
        let metrics = self.metrics();
        super::deliver::count_sent(metrics, &metrics.packets_pingresp, output.len() - before);
    }

    /// The packet breaks a rule that decoding does not see.
    pub(super) fn violation<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        what: &'static str,
        fx: &mut E,
    ) {
        self.fail(now, id, &Error::Violation(what), fx);
    }

    /// Sends the connection home with the bytes from its CONNECT on.
    fn leave<E: Effects>(&mut self, id: ConnectionId, home: ShardId, bytes: Vec<u8>, fx: &mut E) {
        let authentication_data = self.take_authentication_data(id);
        let Some(origin) = self.origin(id) else { return };
        let Some(connection) = self.clients.connections.remove(id) else { return };
        let Connection { identity, mut allowance, .. } = connection;
        if let Some(allowance) = &mut allowance {
            // Its timer stays here: a pause that was not over would never end there.
            allowance.resume_at = None;
        }
        fx.hand_over(id, home, HandOver { bytes, origin, identity, allowance, authentication_data });
    }

    /// Nothing of it is handled or read until `go_on`. Not one of the stalled: credit is not what it waits for.
    fn wait<E: Effects>(&mut self, id: ConnectionId, fx: &mut E) {
        if let Some(connection) = self.clients.connections.get_mut(id) {
            connection.stalled = true;
            fx.pause(id);
        }
    }

    /// What a waiting connection waited for is there. It is read again before its bytes are handled: it may go home by
    /// them, and a connection does not travel while it is paused.
    pub(super) fn go_on<E: Effects>(&mut self, now: Timestamp, id: ConnectionId, fx: &mut E) {
        fx.resume(id);
        self.resume(now, id, fx);
    }

    pub(super) fn stall<E: Effects>(&mut self, id: ConnectionId, fx: &mut E) {
        if let Some(connection) = self.clients.connections.get_mut(id) {
            connection.stalled = true;
            if !connection.queued {
                connection.queued = true;
                self.stalled.push_back(id);
            }
            fx.pause(id);
        }
    }

    /// What stalled connections waited for may be there: each is tried again, in the order in which they stalled.
    pub(super) fn resume_stalled<E: Effects>(&mut self, now: Timestamp, fx: &mut E) {
        self.stalled_to_try = self.stalled.len();
        self.continue_stalled(now, fx);
    }

    /// Goes on with that, within the budget of a turn.
    pub(super) fn continue_stalled<E: Effects>(&mut self, now: Timestamp, fx: &mut E) {
        for _ in 0..self.stalled_to_try.min(STALLED_BUDGET) {
            if self.is_busy() {
                // Its end begins anew.
                self.stalled_to_try = 0;
                return;
            }
            self.stalled_to_try -= 1;
            let Some(id) = self.stalled.pop_front() else { return };
            if let Some(connection) = self.clients.connections.get_mut(id) {
                connection.queued = false;
                self.resume(now, id, fx);
            }
        }
    }

    pub(super) fn resume<E: Effects>(&mut self, now: Timestamp, id: ConnectionId, fx: &mut E) {
        if let Some(at) = self.bytes_pause(now, id) {
            return self.hold(id, at, fx);
        }
        let Some(connection) = self.clients.connections.get_mut(id) else { return };
        if !connection.stalled {
            return;
        }
        connection.stalled = false;
        if connection.phase == Phase::Connected {
            // Until then it is the moment of the accept, from which the time for CONNECT counts.
            connection.heard_at = now;
        }
        if let Some(bytes) = connection.partial.take() {
            self.parse_owned(now, id, bytes, fx);
        }
        if let Some(connection) = self.clients.connections.get(id)
            && !connection.stalled
        {
            fx.resume(id);
        }
    }

    /// The connection is owed less now: it may go on if that was what it waited for.
    pub(super) fn resume_one<E: Effects>(&mut self, now: Timestamp, id: ConnectionId, fx: &mut E) {
        let is_stalled = self.clients.connections.get(id).is_some_and(|connection| connection.stalled);
        if is_stalled && !self.is_busy() && !self.waits_for_turn(now, id) {
            self.resume(now, id, fx);
        }
    }

    /// Closes a connection whose bytes break a rule: the reason goes to a client that can understand it
    /// [MQTT-4.13.1-1], the Will is published.
    pub(super) fn fail<E: Effects>(&mut self, now: Timestamp, id: ConnectionId, error: &Error, fx: &mut E) {
        let Some(connection) = self.clients.connections.get(id) else { return };
        let metrics = self.metrics();
        match error.kind() {
            packet::ErrorKind::Malformed => metrics.errors_malformed.inc(),
            packet::ErrorKind::Protocol => metrics.errors_protocol.inc(),
            packet::ErrorKind::Limit => metrics.errors_limit.inc(),
        }
        let client_id =
            self.clients.sessions.get(connection.session).map_or("", |s| client_id_of(&s.client_id));
        let remote: std::net::SocketAddr = connection.remote.into();
        tracing::debug!(%remote, client_id, %error, "closing the connection");
        self.send_disconnect(id, error.reason_code(), Some(&error.to_string()), fx);
        self.failure = Some(error.reason_code());
        fx.close(id, Close::Flush);
        self.end_connection(now, id, super::disconnect::End::Lost, fx);
        self.failure = None;
    }
}
