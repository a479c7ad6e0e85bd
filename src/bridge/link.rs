//! The protocol of a bridge: a client of this node on one side, a client of the other broker on the other, and every message that
//! one of them gets is published by the other. A message is acknowledged where it came from only when the side where it went has
//! acknowledged it, so that it is always in one of the two brokers' queues. Bytes in, bytes out: no socket, no clock.
//!
//! Loops: neither side gets what it published itself (No Local); a message carries the marks of the nodes that it has been on (User
//! Properties of 5.0), and does not come to one twice: the nodes tell each other their marks in CONNECT and CONNACK. Where the other side speaks 3.1.1 what comes back is known by its
//! topic and payload.

mod echoes;
mod oversize;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use echoes::Echoes;

use super::status::Status;
use crate::config::{BRIDGE_MARK as MARK, BridgeRoute};
use crate::packet::{
    self, Connect, Frame, Packet, PacketId, ProtocolVersion, Publish, PublishHead, QoS, ReasonCode,
    RetainHandling, Side as From, Subscription, SubscriptionOptions, UserProperties, encode_pingreq,
    encode_puback, encode_publish_head, encode_subscribe, encode_user_property,
};
use crate::topic;

/// Nodes that a message may pass.
const MARKS_MAX: usize = 16;
/// Bytes that may wait for a side before nothing more is read from the other one.
const OUTPUT_MAX: usize = 1024 * 1024;
/// How long CONNACK and SUBACK may take.
const HANDSHAKE_MS: u64 = 10_000;
/// The only SUBSCRIBE of a connection has this identifier; PUBLISHes have those above.
const SUBSCRIBE_ID: PacketId = match PacketId::new(1) {
    Some(id) => id,
    None => unreachable!(),
};

/// Which side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// This node.
    Local,
    /// The other broker.
    Remote,
}

impl Side {
    const fn other(self) -> Self {
        match self {
            Self::Local => Self::Remote,
            Self::Remote => Self::Local,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Local => "this node",
            Self::Remote => "the other broker",
        }
    }
}

/// How a side is spoken to.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) version: ProtocolVersion,
    pub(super) client_id: String,
    pub(super) username: Option<String>,
    pub(super) password: Option<Vec<u8>>,
    pub(super) clean_start: bool,
    /// What this side is subscribed to, and what becomes of it on the other one.
    pub(super) routes: Vec<BridgeRoute>,
}

/// All that a link needs to know.
#[derive(Debug, Clone)]
pub(super) struct LinkSettings {
    pub(super) local: Account,
    pub(super) remote: Account,
    pub(super) keep_alive_s: u16,
    pub(super) inflight_max: u16,
    pub(super) expiry_s: u32,
    /// Bytes of the largest packet.
    pub(super) packet_bytes_max: u32,
    /// This node's mark.
    pub(super) mark: String,
}

/// Why a link ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum LinkError {
    /// A side said no.
    #[error("{side} refused the bridge: {reason:?}")]
    Refused { side: &'static str, reason: ReasonCode },
    /// A side does not let the bridge subscribe.
    #[error("{side} refused a subscription of the bridge: {reason:?} for {filter:?}")]
    Subscription { side: &'static str, reason: ReasonCode, filter: String },
    /// A side sent the bridge away.
    #[error("{side} sent the bridge away: {reason:?}")]
    SentAway { side: &'static str, reason: ReasonCode },
    /// A side broke the protocol.
    #[error("{side} broke the protocol: {what}")]
    Protocol { side: &'static str, what: String },
    /// A side is silent.
    #[error("{0} does not answer")]
    Silent(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Subscribing,
    Up,
}

/// A message on its way to a side.
#[derive(Debug)]
struct Outgoing {
    qos: QoS,
    retain: bool,
    topic: String,
    expiry_s: Option<u32>,
    forwarded: Vec<u8>,
    payload: Vec<u8>,
    /// What is acknowledged on the other side once this one has acknowledged it.
    of: Option<PacketId>,
}

/// The connection to one side.
#[derive(Debug)]
struct End {
    phase: Phase,
    version: ProtocolVersion,
    received: Vec<u8>,
    /// So many of the bytes that come next belong to a packet that is read over.
    skip: u64,
    output: Vec<u8>,
    next_id: u16,
    /// What was sent and is not acknowledged; what that acknowledges on the other side.
    inflight: HashMap<PacketId, Option<PacketId>>,
    inflight_max: usize,
    packet_bytes_max: usize,
    waiting: VecDeque<Outgoing>,
    heard_ms: u64,
    sent_ms: u64,
}

impl End {
    fn new(version: ProtocolVersion, inflight_max: u16, now_ms: u64) -> Self {
        Self {
            phase: Phase::Connecting,
            version,
            received: Vec::new(),
            skip: 0,
            output: Vec::new(),
            next_id: SUBSCRIBE_ID.value(),
            inflight: HashMap::new(),
            inflight_max: usize::from(inflight_max),
            packet_bytes_max: usize::MAX,
            waiting: VecDeque::new(),
            heard_ms: now_ms,
            sent_ms: now_ms,
        }
    }

    /// An identifier that is not in use; there is one, since `inflight_max` is below their number.
    fn fresh_id(&mut self) -> PacketId {
        loop {
            self.next_id = self.next_id.wrapping_add(1).max(SUBSCRIBE_ID.value() + 1);
            if let Some(id) = PacketId::new(self.next_id).filter(|id| !self.inflight.contains_key(id)) {
                return id;
            }
        }
    }
}

/// One connection of a bridge, both sides of it.
#[derive(Debug)]
pub(super) struct Link {
    settings: Arc<LinkSettings>,
    status: Arc<Status>,
    local: End,
    remote: End,
    echoes: Echoes,
    /// The other broker's mark, if it has one.
    remote_mark: Option<String>,
    began_ms: u64,
    /// When bytes came last, or a tick.
    now_ms: u64,
}

impl Link {
    /// Both CONNECTs are in the outputs.
    pub(super) fn new(settings: Arc<LinkSettings>, status: Arc<Status>, now_ms: u64) -> Self {
        let end = |account: &Account| End::new(account.version, settings.inflight_max, now_ms);
        let mut link = Self {
            local: end(&settings.local),
            remote: end(&settings.remote),
            echoes: Echoes::default(),
            remote_mark: None,
            began_ms: now_ms,
            now_ms,
            settings,
            status,
        };
        link.connect(Side::Local);
        link.connect(Side::Remote);
        link
    }

    /// Whether messages flow.
    pub(super) fn is_up(&self) -> bool {
        self.local.phase == Phase::Up && self.remote.phase == Phase::Up
    }

    /// What waits to be sent, to this node and to the other broker.
    pub(super) fn outputs(&self) -> (&[u8], &[u8]) {
        (&self.local.output, &self.remote.output)
    }

    /// So many bytes of a side's output are sent.
    pub(super) fn sent(&mut self, side: Side, len: usize, now_ms: u64) {
        let end = self.end_mut(side);
        end.output.drain(..len.min(end.output.len()));
        end.sent_ms = now_ms;
    }

    /// Whether a side should be read: what comes from it has room on the other one.
    pub(super) fn wants_input(&self, side: Side) -> bool {
        let to = self.end(side.other());
        to.waiting.len() < usize::from(self.settings.inflight_max) && to.output.len() < OUTPUT_MAX
    }

    /// Bytes came from a side.
    pub(super) fn received(&mut self, side: Side, bytes: &[u8], now_ms: u64) -> Result<(), LinkError> {
        self.now_ms = now_ms;
        let end = self.end_mut(side);
        end.heard_ms = now_ms;
        let skipped = end.skip.min(bytes.len() as u64);
        end.skip -= skipped;
        end.received.extend_from_slice(bytes.get(skipped as usize..).unwrap_or_default());
        let received = std::mem::take(&mut end.received);
        let mut consumed = 0;
        loop {
            let rest = received.get(consumed..).unwrap_or_default();
            let len = match packet::frame(rest, self.settings.packet_bytes_max) {
                Ok(Frame::Complete { header_len, body_len }) => header_len + body_len,
                Ok(Frame::Incomplete) => break,
                Err(packet::Error::PacketTooLarge { found, .. }) if self.may_read_over(side, rest) => {
                    let Some(of) = oversize::packet_id(rest) else { break };
                    consumed += self.read_over(side, rest.len() as u64, found, of);
                    continue;
                }
                Err(error) => return Err(protocol(side, &error)),
            };
            let Some(bytes) = rest.get(..len) else { break };
            let decoded = packet::decode(self.end(side).version, bytes, From::FromServer);
            self.packet(side, decoded.map_err(|error| protocol(side, &error))?)?;
            consumed += len;
        }
        self.end_mut(side).received.extend_from_slice(received.get(consumed..).unwrap_or_default());
        Ok(())
    }

    /// Whether a packet that is too large is no breach: a message, of a broker that does not know what is too large.
    fn may_read_over(&self, side: Side, bytes: &[u8]) -> bool {
        let end = self.end(side);
        !end.version.is_v5() && end.phase != Phase::Connecting && oversize::is_expected(bytes)
    }

    /// Lets a message go of which so many bytes have come, as if it were passed on. How many of those are its own.
    fn read_over(&mut self, side: Side, come: u64, len: u64, of: Option<PacketId>) -> usize {
        self.status.dropped.add(1);
        self.acknowledge(side, of);
        self.end_mut(side).skip = len.saturating_sub(come);
        come.min(len) as usize
    }

    /// Time has passed: pings, and sides that are silent for too long.
    pub(super) fn tick(&mut self, now_ms: u64) -> Result<(), LinkError> {
        self.now_ms = now_ms;
        let keep_alive_ms = u64::from(self.settings.keep_alive_s) * 1000;
        let is_late = now_ms.saturating_sub(self.began_ms) > HANDSHAKE_MS;
        for side in [Side::Local, Side::Remote] {
            // What a side says while it is not read, because the other one is slow, nobody hears: that is no silence. Where neither
            // is read, what would end that may lie unread on either side: then only a new connection helps.
            let is_excused = !self.wants_input(side) && self.wants_input(side.other());
            let end = self.end_mut(side);
            if is_excused {
                end.heard_ms = now_ms;
            }
            let silence_ms = now_ms.saturating_sub(end.heard_ms);
            if is_late && end.phase != Phase::Up || silence_ms > keep_alive_ms * 3 / 2 {
                return Err(LinkError::Silent(side.name()));
            }
            // By what was heard too: a side that only listens is asked whether it is there.
            let idle_ms = silence_ms.max(now_ms.saturating_sub(end.sent_ms));
            if end.phase == Phase::Up && end.output.is_empty() && idle_ms > keep_alive_ms / 2 {
                encode_pingreq(&mut end.output);
            }
        }
        Ok(())
    }

    fn end(&self, side: Side) -> &End {
        match side {
            Side::Local => &self.local,
            Side::Remote => &self.remote,
        }
    }

    fn end_mut(&mut self, side: Side) -> &mut End {
        match side {
            Side::Local => &mut self.local,
            Side::Remote => &mut self.remote,
        }
    }

    fn account(&self, side: Side) -> &Account {
        match side {
            Side::Local => &self.settings.local,
            Side::Remote => &self.settings.remote,
        }
    }

    fn connect(&mut self, side: Side) {
        let settings = Arc::clone(&self.settings);
        let account = match side {
            Side::Local => &settings.local,
            Side::Remote => &settings.remote,
        };
        let mut connect = Connect::new(account.version, &account.client_id);
        connect.clean_start = account.clean_start;
        connect.keep_alive = settings.keep_alive_s;
        connect.username = account.username.as_deref();
        connect.password = account.password.as_deref();
        let mut mark = Vec::new();
        encode_user_property(MARK, &settings.mark, &mut mark);
        if account.version.is_v5() {
            connect.user_properties = UserProperties::parse(&mark).unwrap_or_default();
            connect.session_expiry_s = Some(if account.clean_start { 0 } else { settings.expiry_s });
            connect.receive_max = Some(settings.inflight_max);
            connect.packet_bytes_max = Some(settings.packet_bytes_max);
        }
        connect.encode(&mut self.end_mut(side).output);
    }

    fn packet(&mut self, side: Side, packet: Packet<'_>) -> Result<(), LinkError> {
        let name = side.name();
        match (self.end(side).phase, packet) {
            (Phase::Connecting, Packet::ConnAck(connack)) => {
                if connack.reason != ReasonCode::Success {
                    return Err(LinkError::Refused { side: name, reason: connack.reason });
                }
                if side == Side::Remote {
                    let mark = connack.user_properties.iter().find(|(name, _)| *name == MARK);
                    self.remote_mark = mark.map(|(_, mark)| mark.to_owned());
                }
                let end = self.end_mut(side);
                if let Some(max) = connack.receive_max {
                    end.inflight_max = end.inflight_max.min(usize::from(max));
                }
                if let Some(max) = connack.packet_bytes_max {
                    end.packet_bytes_max = max as usize;
                }
                self.subscribe(side);
            }
            (Phase::Subscribing, Packet::SubAck(suback)) => {
                let refused = suback.reasons.iter().enumerate().find(|(_, reason)| reason.is_failure());
                if let Some((at, reason)) = refused {
                    let route = self.account(side).routes.get(at);
                    let filter = route.map(|route| route.filter.clone()).unwrap_or_default();
                    return Err(LinkError::Subscription { side: name, reason, filter });
                }
                self.go_up(side);
            }
            // A session that goes on may begin with messages.
            (Phase::Subscribing | Phase::Up, Packet::Publish(publish)) => {
                return self.publish(side, &publish);
            }
            (Phase::Subscribing | Phase::Up, Packet::PubAck(ack)) => {
                self.acknowledged(side, ack.packet_id, ack.reason);
            }
            (_, Packet::PingResp) => {}
            (_, Packet::Disconnect(disconnect)) => {
                return Err(LinkError::SentAway { side: name, reason: disconnect.reason });
            }
            (phase, _) => {
                let what = format!("an unexpected packet while {phase:?}");
                return Err(LinkError::Protocol { side: name, what });
            }
        }
        Ok(())
    }

    fn subscribe(&mut self, side: Side) {
        let routes = self.account(side).routes.clone();
        let end = self.end_mut(side);
        end.phase = Phase::Subscribing;
        if routes.is_empty() {
            return self.go_up(side);
        }
        let subscriptions = routes.iter().map(|route| Subscription {
            filter: &route.filter,
            options: SubscriptionOptions {
                qos: QoS::from_bits(route.qos).unwrap_or_default(),
                no_local: true,
                retain_as_published: true,
                retain_handling: RetainHandling::SendIfNew,
            },
        });
        let none = UserProperties::default();
        encode_subscribe(end.version, SUBSCRIBE_ID, None, &none, subscriptions, &mut end.output);
    }

    fn go_up(&mut self, side: Side) {
        self.end_mut(side).phase = Phase::Up;
        self.send_waiting(side);
    }

    /// A message of one side, for the other.
    fn publish(&mut self, side: Side, publish: &Publish<'_>) -> Result<(), LinkError> {
        if publish.qos == QoS::ExactlyOnce || publish.topic.is_empty() {
            let what = "a PUBLISH of QoS 2 or with a Topic Alias, which were not asked for".into();
            return Err(LinkError::Protocol { side: side.name(), what });
        }
        let Some(outgoing) = self.outgoing(side, publish) else {
            self.acknowledge(side, publish.packet_id);
            return Ok(());
        };
        if outgoing.of.is_none() {
            self.acknowledge(side, publish.packet_id);
        }
        let to = side.other();
        self.end_mut(to).waiting.push_back(outgoing);
        self.send_waiting(to);
        Ok(())
    }

    /// The message as it goes to the other side; `None`: it does not go there.
    fn outgoing(&mut self, side: Side, publish: &Publish<'_>) -> Option<Outgoing> {
        let properties = publish.forwarded.user_properties();
        let marks = properties.iter().filter(|(name, _)| *name == MARK).map(|(_, mark)| mark);
        let (own, remote) = (Some(self.settings.mark.as_str()), self.remote_mark.as_deref());
        let goal = if side == Side::Remote { own } else { remote };
        let has_passed = goal.is_some_and(|goal| marks.clone().any(|mark| mark == goal));
        let is_echo = side == Side::Remote
            && !self.remote.version.is_v5()
            && self.echoes.take(publish.topic, publish.payload, self.now_ms);
        if has_passed || marks.clone().count() >= MARKS_MAX || is_echo {
            self.status.looped.add(1);
            return None;
        }
        let routes = &self.account(side).routes;
        let route = routes.iter().find(|route| topic::matches(&route.filter, publish.topic));
        let Some((route, topic)) = route.and_then(|route| Some((route, route.map(publish.topic)?))) else {
            // Of a filter that the bridge had before, or a topic that would be none there.
            self.status.dropped.add(1);
            return None;
        };
        let qos = publish.qos.min(QoS::from_bits(route.qos).unwrap_or_default());
        let mut forwarded = Vec::new();
        publish.forwarded.write(&mut forwarded);
        let comes_from = if side == Side::Remote { remote } else { None };
        for mark in comes_from.into_iter().chain(own).filter(|new| !marks.clone().any(|mark| mark == *new)) {
            encode_user_property(MARK, mark, &mut forwarded);
        }
        Some(Outgoing {
            qos,
            retain: publish.retain,
            topic,
            expiry_s: publish.expiry_s,
            forwarded,
            payload: publish.payload.to_vec(),
            of: publish.packet_id.filter(|_| qos > QoS::AtMostOnce),
        })
    }

    /// Whether the other broker sends back what is published to this topic there.
    fn may_echo(&self, topic: &str) -> bool {
        self.settings.remote.routes.iter().any(|route| topic::matches(&route.filter, topic))
    }

    /// Sends what waits, as far as the side takes it.
    fn send_waiting(&mut self, side: Side) {
        while self.end(side).phase == Phase::Up
            && let Some(next) = self.end(side).waiting.front()
        {
            let end = self.end(side);
            if next.qos > QoS::AtMostOnce && end.inflight.len() >= end.inflight_max {
                return;
            }
            if let Some(outgoing) = self.end_mut(side).waiting.pop_front() {
                self.send(side, &outgoing);
            }
        }
    }

    fn send(&mut self, side: Side, outgoing: &Outgoing) {
        let end = self.end_mut(side);
        let packet_id = (outgoing.qos > QoS::AtMostOnce).then(|| end.fresh_id());
        let head = PublishHead {
            version: end.version,
            dup: false,
            qos: outgoing.qos,
            retain: outgoing.retain,
            topic: &outgoing.topic,
            packet_id,
            expiry_s: outgoing.expiry_s,
            topic_alias: None,
            subscription_ids: &[],
            forwarded: &outgoing.forwarded,
            payload_len: outgoing.payload.len(),
        };
        let before = end.output.len();
        let is_encoded = encode_publish_head(&head, &mut end.output).is_ok();
        let len = end.output.len() - before + outgoing.payload.len();
        if !is_encoded || len > end.packet_bytes_max {
            // The side would close the connection over it, again and again.
            end.output.truncate(before);
            self.status.dropped.add(1);
            return self.acknowledge(side.other(), outgoing.of);
        }
        end.output.extend_from_slice(&outgoing.payload);
        if side == Side::Remote && !self.remote.version.is_v5() && self.may_echo(&outgoing.topic) {
            self.echoes.expect(&outgoing.topic, &outgoing.payload, self.now_ms);
        }
        let end = self.end_mut(side);
        if let Some(packet_id) = packet_id {
            end.inflight.insert(packet_id, outgoing.of);
        } else {
            self.count(side);
        }
    }

    /// A side has a message.
    fn acknowledged(&mut self, side: Side, packet_id: PacketId, reason: ReasonCode) {
        let Some(of) = self.end_mut(side).inflight.remove(&packet_id) else { return };
        if reason.is_failure() {
            // It says no to this message, and would again.
            self.status.dropped.add(1);
        } else {
            self.count(side);
        }
        self.acknowledge(side.other(), of);
        self.send_waiting(side);
    }

    fn acknowledge(&mut self, side: Side, packet_id: Option<PacketId>) {
        let end = self.end_mut(side);
        if let Some(packet_id) = packet_id {
            encode_puback(end.version, packet_id, ReasonCode::Success, &mut end.output);
        }
    }

    fn count(&self, to: Side) {
        match to {
            Side::Local => self.status.messages_in.add(1),
            Side::Remote => self.status.messages_out.add(1),
        }
    }
}

fn protocol(side: Side, error: &packet::Error) -> LinkError {
    LinkError::Protocol { side: side.name(), what: error.to_string() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
