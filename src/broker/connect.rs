//! CONNECT: who may go on, where its home is, takeover, the session resumed or begun, CONNACK.

use std::num::NonZeroU16;

use super::Broker;
use super::authenticate::Admission;
use super::deliver::count_sent;
use super::disconnect::End;
use super::effects::{Close, Effects};
use super::journal::Awaited;
use super::modules::PacketKind;
use super::mount::{fits, session_name};
use super::publish::is_brokers_own;
use super::receive::{Flow, is_connect};
use crate::acl::Action;
use crate::auth::SCRAM_SHA_256;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::connection::Phase;
use crate::packet::{self, ConnAck, Connect, Disconnect, ProtocolVersion, QoS, ReasonCode, connect};
use crate::session::{ConnectionId, Message, MessageHead, NEVER, SessionSerial, Will};
use crate::topic;

impl Broker {
    /// The first packet of a connection: a CONNECT or nothing [MQTT-3.1.0-1].
    pub(super) fn opening<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        bytes: &[u8],
        fx: &mut E,
    ) -> Flow {
        if !is_connect(bytes) {
            self.violation(now, id, "a packet before CONNECT [MQTT-3.1.0-1]", fx);
            return Flow::Gone;
        }
        let connect = match connect::decode(bytes) {
            Ok(connect) => connect,
            Err(error) => {
                self.metrics().packets_connect.inc();
                self.refuse_malformed(id, bytes, &error, fx);
                self.fail(now, id, &error.into(), fx);
                return Flow::Gone;
            }
        };
        let mut decided = None;
        if let Some(connection) = self.clients.connections.get_mut(id) {
            // For a refusal already [MQTT-3.1.2-24].
            connection.packet_bytes_max = connect.packet_bytes_max.unwrap_or(u32::MAX);
            decided = connection.refusal;
        }
        let refusal = if decided.is_some() {
            decided
        } else if self.is_banned(now, id, connect.client_id) {
            Some(ReasonCode::Banned)
        } else {
            self.refusal_here(id, &connect)
        };
        if let Some(reason) = refusal {
            self.metrics().packets_connect.inc();
            return self.refuse_and_close(now, id, (connect.version, connect.client_id), (reason, ""), fx);
        }
        match self.authenticate(id, bytes, &connect, fx) {
            Admission::Granted => self.arrive(now, id, &connect, fx),
            Admission::Waits => Flow::Wait,
            Admission::GoesOn => Flow::Next,
            Admission::Refused(refusal) => {
                self.metrics().packets_connect.inc();
                self.turn_away(now, id, &connect, &refusal, fx)
            }
        }
    }

    /// Why a CONNECT is refused, whoever the client is.
    fn refusal_here(&self, id: ConnectionId, connect: &Connect<'_>) -> Option<ReasonCode> {
        if !self.may_be_called(id, connect.client_id) {
            return Some(ReasonCode::ClientIdentifierNotValid);
        }
        // Bridges go on while clients are sent away: what those have said is still to be passed on.
        let draining = if self.is_bridge(id) { None } else { self.drain_refusal() };
        draining.or_else(|| refusal(connect, self.config()))
    }

    /// A client that may come in goes to its home, or is there.
    fn arrive<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        connect: &Connect<'_>,
        fx: &mut E,
    ) -> Flow {
        let identity = self.clients.connections.get(id).and_then(|connection| connection.identity.clone());
        let own = identity.as_ref().and_then(|identity| identity.client_id.as_deref());
        let client_id = own.unwrap_or(connect.client_id);
        if !self.may_be_called(id, client_id) {
            self.metrics().packets_connect.inc();
            let refusal =
                (ReasonCode::ClientIdentifierNotValid, "its credentials give it the name of a bridge");
            return self.refuse_and_close(now, id, (connect.version, client_id), refusal, fx);
        }
        if client_id.is_empty() {
            let assigned = self.assign_client_id(id);
            self.metrics().packets_connect.inc();
            return self.welcome(now, id, connect, &assigned, fx);
        }
        if self.shards > 1 {
            let mount = self.mountpoint(id, client_id).unwrap_or_default();
            let home = self.shared.placement.home_of(&session_name(&mount, client_id));
            if home != self.shard {
                return Flow::Leave(home);
            }
        }
        self.metrics().packets_connect.inc();
        self.welcome(now, id, connect, client_id, fx)
    }

    /// At home, with a Client Identifier: what only the home shard can judge, before any session is touched.
    fn welcome<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        connect: &Connect<'_>,
        client_id: &str,
        fx: &mut E,
    ) -> Flow {
        let other = connect
            .will
            .as_ref()
            .and_then(|will| self.rewritten(id, Some(client_id), PacketKind::Publish, will.topic));
        match &other {
            None => self.welcome_meant(now, id, connect, client_id, fx),
            Some(topic) => self.welcome_meant(now, id, &with_will_topic(connect, topic), client_id, fx),
        }
    }

    /// `welcome`, the topic of its Will being what the client means.
    fn welcome_meant<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        connect: &Connect<'_>,
        client_id: &str,
        fx: &mut E,
    ) -> Flow {
        if let Some(will) = &connect.will {
            let wanted = std::iter::once((Action::Publish, will.topic));
            if self.waits_for_answers(now, id, Some(client_id), wanted, fx) {
                return Flow::Wait;
            }
        }
        let mount = match self.mountpoint(id, client_id) {
            Ok(mount) => mount,
            Err(reason) => {
                let refusal = (reason, "its mountpoint can't be made of its names");
                return self.refuse_and_close(now, id, (connect.version, client_id), refusal, fx);
            }
        };
        if self.is_banned_now(now, id, &session_name(&mount, client_id)) {
            return self.refuse_and_close(
                now,
                id,
                (connect.version, client_id),
                (ReasonCode::Banned, ""),
                fx,
            );
        }
        if let Some(will) = &connect.will
            && (!self.may_leave_will(id, client_id, will.topic) || !fits(&mount, will.topic))
        {
            let refusal = (ReasonCode::NotAuthorized, "the ACL denies its Will");
            return self.refuse_and_close(now, id, (connect.version, client_id), refusal, fx);
        }
        if self.clients.journal.is_down() && self.needs_disk(id, connect, &session_name(&mount, client_id)) {
            self.metrics().storage_refused.inc();
            let refusal = (ReasonCode::QuotaExceeded, "the disk takes nothing now");
            return self.refuse_and_close(now, id, (connect.version, client_id), refusal, fx);
        }
        if let Err(reason) = self.enter_quota(id, &session_name(&mount, client_id)) {
            let refusal = (reason, "its user has its quota");
            return self.refuse_and_close(now, id, (connect.version, client_id), refusal, fx);
        }
        if let Some(connection) = self.clients.connections.get_mut(id)
            && !mount.is_empty()
        {
            let mount_len = u16::try_from(mount.len()).unwrap_or(u16::MAX);
            connection.allowance.get_or_insert_default().mount_len = mount_len;
        }
        self.establish(now, id, connect, client_id, &mount, fx);
        Flow::Next
    }

    /// Whether a CONNECT asks for something that only the disk can keep: a session that outlasts the connection and is not
    /// there yet, the Will of one, the end of one.
    fn needs_disk(&self, id: ConnectionId, connect: &Connect<'_>, name: &str) -> bool {
        let goes_on = !connect.clean_start && self.clients.find_own(id, name).is_some();
        let former = self.clients.find(name).and_then(|index| self.clients.sessions.get(index));
        let ends_one = !goes_on && former.is_some_and(|session| self.clients.journal.keeps(session));
        ends_one || session_expiry_s(connect, self.config()) > 0 && !(goes_on && connect.will.is_none())
    }

    /// Refuses a CONNECT and closes.
    pub(super) fn refuse_and_close<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        (version, client_id): (ProtocolVersion, &str),
        (reason, why): (ReasonCode, &str),
        fx: &mut E,
    ) -> Flow {
        self.audit_refused(now, id, client_id, reason, why);
        if self.clients.sight.traces.is_on() {
            self.trace_refused(id, client_id, (reason, why), fx);
        }
        self.refuse(id, version, reason, fx);
        fx.close(id, Close::Flush);
        self.end_connection(now, id, End::Lost, fx);
        Flow::Gone
    }

    /// A Client Identifier whose home is here, so that the connection stays [MQTT-3.1.3-6, 3.1.3-7].
    fn assign_client_id(&mut self, id: ConnectionId) -> String {
        loop {
            let client_id = format!("auto-{:016x}{:04x}", self.next_random(), self.shard.0);
            let mount = self.mountpoint(id, &client_id).unwrap_or_default();
            let name = session_name(&mount, &client_id);
            let is_home = self.shards == 1 || self.shared.placement.home_of(&name) == self.shard;
            if is_home && self.clients.find(&name).is_none() {
                return client_id;
            }
        }
    }

    fn establish<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        connect: &Connect<'_>,
        client_id: &str,
        mount: &str,
        fx: &mut E,
    ) {
        let name = session_name(mount, client_id);
        let was_there = self.clients.find_own(id, &name).is_some();
        let goes_on = was_there && !connect.clean_start;
        let former = self.clients.find(&name).and_then(|index| self.clients.sessions.get(index));
        let was_kept = former.is_some_and(|session| self.clients.journal.keeps(session));
        let (index, is_present) = self.take_session(now, goes_on, connect.version, &name, fx);
        let user = self.clients.user_hash(id);
        let config = std::sync::Arc::clone(&self.clients.config);
        let expiry_s = session_expiry_s(connect, &config);
        let keep_alive = granted_keep_alive(connect, &config);
        let Some(connection) = self.clients.connections.get_mut(id) else { return };
        connection.grant = self.clients.grants.current();
        connection.heard_at = now;
        connection.session = index;
        connection.version = connect.version;
        connection.packet_bytes_max = connect.packet_bytes_max.unwrap_or(u32::MAX);
        connection.receive_max = connect.receive_max.unwrap_or(u16::MAX);
        connection.topic_alias_max = connect.topic_alias_max.unwrap_or(0).min(config.limits.topic_alias_max);
        connection.problem_information = connect.request_problem_information;
        connection.may_extend_expiry = connect.session_expiry_s.unwrap_or(0) > 0;
        let factor = f64::from(config.limits.keep_alive_factor);
        connection.silence_max_ms = (f64::from(keep_alive) * 1000.0 * factor) as u32;
        let silence_max_ms = u64::from(connection.silence_max_ms);
        let expires_at = connection.identity.as_ref().and_then(|identity| identity.expires_at);
        self.assign_quota(id, index, was_there);
        let owner = self.owner(id);
        let Some(session) = self.clients.sessions.get_mut(index) else { return };
        session.connection = Some(id);
        session.since = now;
        session.clean_start = connect.clean_start;
        session.version = connect.version;
        session.user = user;
        session.will =
            connect.will.as_ref().map(|will| Box::new(will_of(will, mount, session.serial, owner)));
        if is_present {
            self.change_expiry(index, expiry_s);
        } else {
            session.expiry_s = expiry_s;
            let is_persistent = session.is_persistent();
            self.count_persistent(false, is_persistent);
        }
        self.write_session(index, !is_present);
        self.subscribe_automatically(id, index, client_id, fx);
        self.metrics().clients.inc();
        if silence_max_ms > 0 {
            self.clients.want_connection_timer(id.index, now.plus_ms(silence_max_ms), fx);
        }
        if let Some(at) = expires_at {
            self.clients.want_connection_timer(id.index, at, fx);
        }
        self.want_retry_timer(now, id, fx);
        let packet = self.connack(id, connect, client_id, is_present);
        self.audit_connected(now, id, connect, client_id, is_present);
        if self.clients.sight.traces.is_on() {
            self.trace_connected(id, connect, is_present, fx);
        }
        let waits = self.clients.journal.is_synced() && !self.clients.journal.is_down();
        if waits && (was_kept || self.is_kept(id)) {
            if let Some(connection) = self.clients.connections.get_mut(id) {
                connection.phase = Phase::Committing;
            }
            let Some(session) = self.clients.token(index) else { return };
            self.clients.journal.wait(Awaited::ConnAck { connection: id, session, packet, is_present });
        } else {
            self.go_in(now, id, &packet, is_present, fx);
        }
        self.tell_connected(now, id, connect, client_id, fx);
        self.hook_connected(now, id, connect, fx);
    }

    /// The session that the connection goes on with, and whether there was one [MQTT-3.1.2-4, 3.1.2-5]. It does not go on
    /// with that of another user, whose subscriptions and messages are none of its business: that one ends, as if
    /// Clean Start were asked for.
    fn take_session<E: Effects>(
        &mut self,
        now: Timestamp,
        goes_on: bool,
        version: ProtocolVersion,
        client_id: &str,
        fx: &mut E,
    ) -> (u32, bool) {
        if let Some(old) =
            self.clients.find(client_id).and_then(|index| self.clients.sessions.get(index)?.connection)
        {
            self.metrics().takeovers.inc();
            self.go_in_unheard(old, fx);
            self.send_disconnect(old, ReasonCode::SessionTakenOver, None, fx);
            fx.close(old, Close::Flush);
            self.end_connection(now, old, End::Takeover { goes_on }, fx);
        }
        if let Some(index) = self.clients.find(client_id) {
            if goes_on {
                return (index, true);
            }
            self.end_session(now, index, fx);
        }
        (self.clients.open_session(client_id, version), false)
    }

    pub(super) fn resume_session<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        index: u32,
        fx: &mut E,
    ) {
        let super::clients::Clients { sessions, journal, .. } = &mut self.clients;
        let Some(session) = sessions.get_mut(index) else { return };
        if let Some(inbound) = &mut session.inbound {
            inbound.resume();
        }
        let kept = journal.keeps(session).then_some(session.serial.0);
        if let Some(outbound) = &mut session.outbound {
            outbound.inflight.mark_unsent();
            let mut qos2 = 0;
            let expired = outbound.mqueue.drop_expired(now, |gone| {
                qos2 += u64::from(gone.qos == QoS::ExactlyOnce);
                journal.write_gone(kept, gone);
            }) as u64;
            self.clients.judge_queue(index);
            let metrics = self.metrics();
            metrics.dropped_qos2.add(qos2);
            metrics.queues.set(metrics.queues.load().wrapping_sub(expired));
            metrics.dropped_expired.add(expired);
            metrics.messages_dropped.add(expired);
        }
        self.tell_presence(index, true, fx);
        self.pump(now, id, fx);
    }

    fn connack(
        &mut self,
        id: ConnectionId,
        connect: &Connect<'_>,
        client_id: &str,
        is_present: bool,
    ) -> Vec<u8> {
        let authentication_data = self.take_authentication_data(id);
        let config = self.config();
        let keep_alive = granted_keep_alive(connect, config);
        let expiry_s = session_expiry_s(connect, config);
        let mark = self.mark_for(connect);
        let mut connack = ConnAck::new(is_present, ReasonCode::Success);
        if connect.version == ProtocolVersion::V5 {
            connack.session_expiry_s =
                (connect.session_expiry_s.unwrap_or(0) != expiry_s).then_some(expiry_s);
            connack.receive_max = (config.limits.receive_max < u16::MAX).then_some(config.limits.receive_max);
            connack.maximum_qos = QoS::from_bits(config.mqtt.qos_max).unwrap_or(QoS::ExactlyOnce);
            connack.retain_available = config.mqtt.retain_available;
            connack.packet_bytes_max = Some(config.limits.packet_bytes_max);
            connack.assigned_client_id = connect.client_id.is_empty().then_some(client_id);
            connack.topic_alias_max =
                (config.limits.topic_alias_max > 0).then_some(config.limits.topic_alias_max);
            connack.wildcard_subscriptions_available = config.mqtt.wildcard_available;
            connack.shared_subscriptions_available = config.mqtt.shared_available;
            // [MQTT-4.12.0-5]
            connack.user_properties = packet::UserProperties::parse(&mark).unwrap_or_default();
            connack.authentication_method = connect.authentication_method;
            connack.authentication_data = authentication_data.as_deref();
            connack.server_keep_alive = (keep_alive != connect.keep_alive).then_some(keep_alive);
        }
        let mut packet = Vec::new();
        connack.encode(connect.version, &mut packet);
        packet
    }

    /// CONNACK with an error. The caller closes.
    pub(super) fn refuse<E: Effects>(
        &mut self,
        id: ConnectionId,
        version: ProtocolVersion,
        reason: ReasonCode,
        fx: &mut E,
    ) {
        self.metrics().connections_refused.inc();
        tracing::debug!(connection = id.index, ?reason, "CONNECT refused");
        let packet_bytes_max = self.clients.connections.get(id).map_or(0, |c| c.packet_bytes_max as usize);
        let fits = |reference: &&str| reference.len() + 16 <= packet_bytes_max;
        let reference = self.server_reference(reason).filter(fits).map(str::to_owned);
        let connack = ConnAck { server_reference: reference.as_deref(), ..ConnAck::new(false, reason) };
        self.write_connack(id, version, &connack, fx);
    }

    /// The answer to a CONNECT that can't be read: none, where its sender would not understand it.
    fn refuse_malformed<E: Effects>(
        &mut self,
        id: ConnectionId,
        bytes: &[u8],
        error: &packet::Error,
        fx: &mut E,
    ) {
        self.metrics().connections_refused.inc();
        let version = match (error, connect::version(bytes)) {
            // Newer versions than ours have CONNACKs like that of 5.0, older ones like that of 3.1.1.
            (packet::Error::ProtocolLevel { level }, _) if *level > 5 => ProtocolVersion::V5,
            (packet::Error::ProtocolLevel { .. }, _) => ProtocolVersion::V311,
            (_, Ok(ProtocolVersion::V5)) => ProtocolVersion::V5,
            _ => return,
        };
        self.write_connack(id, version, &ConnAck::new(false, error.reason_code()), fx);
    }

    fn write_connack<E: Effects>(
        &mut self,
        id: ConnectionId,
        version: ProtocolVersion,
        connack: &ConnAck<'_>,
        fx: &mut E,
    ) {
        let mut packet = Vec::new();
        connack.encode(version, &mut packet);
        self.put_connack(id, &packet, fx);
    }

    /// Sends an encoded CONNACK.
    pub(super) fn put_connack<E: Effects>(&self, id: ConnectionId, packet: &[u8], fx: &mut E) {
        fx.output(id).extend_from_slice(packet);
        let metrics = self.metrics();
        count_sent(metrics, &metrics.packets_connack, packet.len());
    }

    /// DISCONNECT, which only 5.0 has from the server. `why` is for people: left out where the client wants none
    /// [MQTT-3.1.2-29] or takes no packet that large [MQTT-3.14.2-3].
    pub(super) fn send_disconnect<E: Effects>(
        &mut self,
        id: ConnectionId,
        reason: ReasonCode,
        why: Option<&str>,
        fx: &mut E,
    ) {
        let Some(connection) = self.clients.connections.get(id) else { return };
        if !connection.is_v5() || connection.phase != Phase::Connected {
            return;
        }
        if self.clients.sight.traces.is_on() {
            let why = why.unwrap_or_default();
            self.trace_sent(id, || format!("DISCONNECT {reason} {why}"), fx);
        }
        let fits = |why: &&str| why.len() + 16 <= connection.packet_bytes_max as usize;
        let reason_string = why.filter(|_| connection.problem_information).filter(fits);
        let output = fx.output(id);
        let before = output.len();
        Disconnect { reason_string, ..Disconnect::new(reason) }.encode(ProtocolVersion::V5, output);
        let metrics = self.metrics();
        count_sent(metrics, &metrics.packets_disconnect_sent, output.len() - before);
    }

    /// Keeps `sessions_persistent`.
    pub(super) fn count_persistent(&self, was: bool, is: bool) {
        let gauge = &self.metrics().sessions_persistent;
        match (was, is) {
            (false, true) => gauge.inc(),
            (true, false) => gauge.dec(),
            _ => {}
        }
    }
}

/// Why a readable CONNECT is refused all the same.
fn refusal(connect: &Connect<'_>, config: &Config) -> Option<ReasonCode> {
    let is_v5 = connect.version == ProtocolVersion::V5;
    if connect.client_id.is_empty()
        && (connect.version == ProtocolVersion::V31 || (!is_v5 && !connect.clean_start))
    {
        // [MQTT-3.1.3-8]; 3.1 has no empty identifiers at all.
        return Some(ReasonCode::ClientIdentifierNotValid);
    }
    if connect.client_id.len() > usize::from(config.limits.client_id_len_max) {
        return Some(ReasonCode::ClientIdentifierNotValid);
    }
    if connect.authentication_method.is_some_and(|m| m != SCRAM_SHA_256 || !config.auth.asks("scram")) {
        // [MQTT-4.12.0-1]
        return Some(ReasonCode::BadAuthenticationMethod);
    }
    let will = connect.will.as_ref()?;
    let limits = topic::TopicLimits {
        len_max: config.limits.topic_len_max,
        levels_max: config.limits.topic_levels_max,
    };
    if topic::check_name(will.topic, &limits).is_err() {
        return Some(ReasonCode::TopicNameInvalid);
    }
    if is_brokers_own(will.topic) {
        return Some(ReasonCode::NotAuthorized);
    }
    if let Err(error) = will.check_payload_format() {
        return Some(error.reason_code());
    }
    if will.qos as u8 > config.mqtt.qos_max {
        return Some(ReasonCode::QoSNotSupported);
    }
    if will.retain && !config.mqtt.retain_available {
        return Some(ReasonCode::RetainNotSupported);
    }
    None
}

/// The same with another topic of its Will.
fn with_will_topic<'c>(connect: &Connect<'c>, topic: &'c str) -> Connect<'c> {
    let will = connect.will.clone().map(|will| packet::Will { topic, ..will });
    Connect { will, ..connect.clone() }
}

/// Session Expiry Interval granted: 3.x knows only "ends with the connection" and "does not".
fn session_expiry_s(connect: &Connect<'_>, config: &Config) -> u32 {
    if connect.version == ProtocolVersion::V5 {
        return connect.session_expiry_s.unwrap_or(0).min(config.session.expiry_s_max);
    }
    if connect.clean_start {
        0
    } else if config.session.expiry_s == 0 {
        NEVER
    } else {
        config.session.expiry_s
    }
}

/// Keep Alive granted. Only 5.0 can be told of another one than it asked for [MQTT-3.2.2-21].
fn granted_keep_alive(connect: &Connect<'_>, config: &Config) -> u16 {
    match NonZeroU16::new(config.limits.keep_alive_s_max) {
        Some(max) if connect.version == ProtocolVersion::V5 => match connect.keep_alive {
            0 => max.get(),
            asked => asked.min(max.get()),
        },
        _ => connect.keep_alive,
    }
}

fn will_of(will: &packet::Will<'_>, mount: &str, publisher: SessionSerial, owner: u32) -> Will {
    let mut forwarded = Vec::new();
    will.forwarded.write(&mut forwarded);
    let head =
        MessageHead { qos: will.qos, retain: will.retain, expires_at: None, publisher, owner, number: 0 };
    Will {
        message: Message::new(head, &[mount, will.topic].concat(), &forwarded, will.payload),
        expiry_s: will.expiry_s,
        delay_s: will.delay_s,
    }
}
