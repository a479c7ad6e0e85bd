//! Presence: `$SYS/brokers/<node>/clients/<client id>/connected` and `/disconnected`, in emqttd's form. While nobody subscribes
//! below `$SYS` a connection costs one load; while somebody does, at most so many messages a second leave a shard.

use std::net::SocketAddr;

use serde_json::json;

use super::super::Broker;
use super::super::disconnect::End;
use super::super::effects::Effects;
use super::super::mount::{client_id_of, mount_of};
use crate::clock::Timestamp;
use crate::connection::Connection;
use crate::packet::{Connect, ProtocolVersion, QoS, ReasonCode};
use crate::session::{ConnectionId, Message, MessageHead, SessionSerial};

/// Presence messages of a shard in one second.
const MESSAGES_MAX: u32 = 1_000;
/// Bytes of a Client Identifier that still fits a topic.
const CLIENT_ID_LEN_MAX: usize = 16_384;

/// What was published in this second.
#[derive(Debug, Default)]
pub(super) struct Presence {
    second: u64,
    published: u32,
}

impl Presence {
    /// Whether one more may go.
    fn admits(&mut self, now: Timestamp) -> bool {
        if self.second != now.0 / 1000 {
            (self.second, self.published) = (now.0 / 1000, 0);
        }
        self.published += 1;
        self.published <= MESSAGES_MAX
    }
}

impl Broker {
    /// Publishes that a client has connected.
    pub(in crate::broker) fn tell_connected<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        connect: &Connect<'_>,
        client_id: &str,
        fx: &mut E,
    ) {
        if !self.may_tell() {
            return;
        }
        let Some(connection) = self.clients.connections.get(id) else { return };
        let identity = connection.identity.as_ref();
        let mut told = json!({
            "clientid": client_id,
            "username": identity.and_then(|identity| identity.username.as_deref()),
            "ipaddress": SocketAddr::from(connection.remote).ip().to_string(),
            "session": connect.clean_start,
            "protocol": match connect.version {
                ProtocolVersion::V31 => 3,
                ProtocolVersion::V311 => 4,
                ProtocolVersion::V5 => 5,
            },
            "connack": 0,
            "ts": self.unix_s(now),
        });
        let mount = self.mount(connection);
        if !mount.is_empty() {
            told["mountpoint"] = mount.into();
        }
        self.publish_presence(now, client_id, "connected", &told.to_string(), fx);
    }

    /// Publishes that a client is gone. `failure`: what it was closed for.
    pub(in crate::broker) fn tell_disconnected<E: Effects>(
        &mut self,
        now: Timestamp,
        connection: &Connection,
        failure: Option<ReasonCode>,
        end: End,
        fx: &mut E,
    ) {
        if !self.may_tell() {
            return;
        }
        let Some(session) = self.clients.sessions.get(connection.session) else { return };
        let client_id = client_id_of(&session.client_id).to_owned();
        let reason = reason_of(failure, end);
        let mut told = json!({ "clientid": client_id, "reason": reason, "ts": self.unix_s(now) });
        let mount = mount_of(&session.client_id);
        if !mount.is_empty() {
            told["mountpoint"] = mount.into();
        }
        self.publish_presence(now, &client_id, "disconnected", &told.to_string(), fx);
    }

    fn unix_s(&self, now: Timestamp) -> u64 {
        (self.shared.started_unix_ms + now.0) / 1000
    }

    /// Whether somebody may be interested at all: no wildcard at the beginning of a filter matches what begins with `$`.
    fn may_tell(&self) -> bool {
        let sys = &self.config().sys;
        let is_asked = !sys.prefix.starts_with('$') || self.shared.has_dollar_filters();
        sys.presence && is_asked && self.draining.is_none()
    }

    fn publish_presence<E: Effects>(
        &mut self,
        now: Timestamp,
        client_id: &str,
        what: &str,
        payload: &str,
        fx: &mut E,
    ) {
        if client_id.len() > CLIENT_ID_LEN_MAX {
            return;
        }
        let config = &self.clients.config;
        let qos = QoS::from_bits(config.sys.presence_qos).unwrap_or(QoS::AtMostOnce);
        let level = level_of(client_id);
        let topic = format!("{}/{}/clients/{level}/{what}", config.sys.prefix, config.node.name);
        if !self.is_wanted(&topic) {
            return;
        }
        if !self.observe.presence.admits(now) {
            return self.metrics().presence_left_out.inc();
        }
        self.publish_of_node(now, &topic, payload.as_bytes(), false, qos, fx);
    }

    /// Whether some session may want the topic.
    fn is_wanted(&mut self, topic: &str) -> bool {
        if self.shards > 1 {
            use crate::interest::Interest;
            return !self.shared.interest.interested(topic).is_empty();
        }
        let mut filters = std::mem::take(&mut self.matched);
        filters.clear();
        self.router.matching(topic, &mut filters);
        let is_wanted = !filters.is_empty();
        self.matched = filters;
        is_wanted
    }

    /// Publishes a message of the node itself. The caller bounds how many.
    pub(in crate::broker) fn publish_of_node<E: Effects>(
        &mut self,
        now: Timestamp,
        topic: &str,
        payload: &[u8],
        retain: bool,
        qos: QoS,
        fx: &mut E,
    ) {
        let head = MessageHead {
            qos,
            retain,
            expires_at: None,
            publisher: SessionSerial::default(),
            owner: 0,
            number: 0,
        };
        self.publish_own(now, Message::new(head, topic, &[], payload), None, None, fx);
    }
}

/// A Client Identifier as one level of a topic: what would end the level, or is a wildcard, is written as in URLs.
fn level_of(client_id: &str) -> String {
    let mut level = String::with_capacity(client_id.len());
    for c in client_id.chars() {
        match c {
            '/' => level.push_str("%2F"),
            '+' => level.push_str("%2B"),
            '#' => level.push_str("%23"),
            '%' => level.push_str("%25"),
            c => level.push(c),
        }
    }
    level
}

/// The words of emqttd, where it had one.
pub(in crate::broker) fn reason_of(failure: Option<ReasonCode>, end: End) -> String {
    match (failure, end) {
        (Some(ReasonCode::KeepAliveTimeout), _) => "keepalive_timeout".into(),
        (Some(reason), _) => reason.to_string(),
        (None, End::Goodbye) => "normal".into(),
        (None, End::Takeover { .. }) => "conflict".into(),
        (None, End::Drain) => "shutdown".into(),
        (None, End::Lost) => "closed".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_identifier_is_one_level_and_no_wildcard() {
        assert_eq!(level_of("plain-id"), "plain-id");
        assert_eq!(level_of("a/b+c#%"), "a%2Fb%2Bc%23%25");
    }

    #[test]
    fn a_storm_is_bounded() {
        let mut presence = Presence::default();
        let mut admitted = |ms| (0..100_000).filter(|_| presence.admits(Timestamp(ms))).count();
        assert_eq!((admitted(5_000), admitted(5_900), admitted(6_000)), (1_000, 0, 1_000));
    }
}
