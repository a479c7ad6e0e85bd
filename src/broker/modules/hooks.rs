//! Events for webhooks: what clients do, told to whoever posts it. Where no webhook wants an event it costs one comparison.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use super::super::Broker;
use super::super::disconnect::End;
use super::super::effects::Effects;
use super::super::mount::{client_id_of, mount_of};
use super::super::observe::reason_of;
use crate::clock::Timestamp;
use crate::config::{Config, Webhook};
use crate::connection::Connection;
use crate::metrics::rfc3339;
use crate::packet::{Connect, ProtocolVersion, Publish, ReasonCode};
use crate::session::ConnectionId;
use crate::topic;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookKind {
    /// A client has connected.
    Connected,
    /// A client is gone.
    Disconnected,
    /// A client has subscribed.
    Subscribe,
    /// A client has unsubscribed.
    Unsubscribe,
    /// A client's message was accepted.
    Publish,
}

impl HookKind {
    /// All, in the order of `Webhook::EVENTS`.
    pub const ALL: [Self; 5] =
        [Self::Connected, Self::Disconnected, Self::Subscribe, Self::Unsubscribe, Self::Publish];

    /// As the configuration and the events name it.
    pub fn name(self) -> &'static str {
        Webhook::EVENTS.get(self as usize).copied().unwrap_or_default()
    }
}

/// An event, ready to be posted.
#[derive(Debug, Clone)]
pub struct HookEvent {
    /// What happened.
    pub kind: HookKind,
    /// Of a message: to what topic.
    pub topic: Option<Box<str>>,
    /// A JSON object.
    pub json: Arc<str>,
}

/// Which events are wanted at all.
#[derive(Debug, Default)]
pub(super) struct Hooks {
    wanted: [bool; HookKind::ALL.len()],
    topics: Vec<String>,
}

impl Hooks {
    pub(super) fn new(config: &Config) -> Self {
        let wants = |kind: HookKind| {
            config.webhooks.iter().filter(move |hook| hook.events.iter().any(|event| event == kind.name()))
        };
        Self {
            wanted: HookKind::ALL.map(|kind| wants(kind).next().is_some()),
            topics: wants(HookKind::Publish).flat_map(|hook| hook.topics.clone()).collect(),
        }
    }

    fn wants(&self, kind: HookKind) -> bool {
        self.wanted.get(kind as usize).copied().unwrap_or(false)
    }
}

impl Broker {
    /// A client has connected.
    pub(in crate::broker) fn hook_connected<E: Effects>(
        &self,
        now: Timestamp,
        id: ConnectionId,
        connect: &Connect<'_>,
        fx: &mut E,
    ) {
        if !self.modules.hooks.wants(HookKind::Connected) {
            return;
        }
        let Some(connection) = self.clients.connections.get(id) else { return };
        let told = json!({
            "address": SocketAddr::from(connection.remote).ip().to_string(),
            "protocol": match connect.version {
                ProtocolVersion::V31 => "3.1",
                ProtocolVersion::V311 => "3.1.1",
                ProtocolVersion::V5 => "5.0",
            },
            "clean_start": connect.clean_start,
            "keep_alive_s": connect.keep_alive,
        });
        self.hook(now, (HookKind::Connected, None), connection, told, fx);
    }

    /// A client is gone.
    pub(in crate::broker) fn hook_disconnected<E: Effects>(
        &self,
        now: Timestamp,
        connection: &Connection,
        (failure, end): (Option<ReasonCode>, End),
        fx: &mut E,
    ) {
        if self.modules.hooks.wants(HookKind::Disconnected) {
            let told = json!({ "reason": reason_of(failure, end) });
            self.hook(now, (HookKind::Disconnected, None), connection, told, fx);
        }
    }

    /// A client has subscribed (with this QoS) or unsubscribed.
    pub(in crate::broker) fn hook_subscription<E: Effects>(
        &self,
        now: Timestamp,
        id: ConnectionId,
        (filter, qos): (&str, Option<u8>),
        fx: &mut E,
    ) {
        let kind = if qos.is_some() { HookKind::Subscribe } else { HookKind::Unsubscribe };
        if !self.modules.hooks.wants(kind) {
            return;
        }
        let Some(connection) = self.clients.connections.get(id) else { return };
        let told = match qos {
            Some(qos) => json!({ "filter": filter, "qos": qos }),
            None => json!({ "filter": filter }),
        };
        self.hook(now, (kind, None), connection, told, fx);
    }

    /// A client's message was accepted.
    pub(in crate::broker) fn hook_publish<E: Effects>(
        &self,
        now: Timestamp,
        id: ConnectionId,
        (publish, topic): (&Publish<'_>, &str),
        fx: &mut E,
    ) {
        let hooks = &self.modules.hooks;
        if !hooks.wants(HookKind::Publish) || !hooks.topics.iter().any(|filter| topic::matches(filter, topic))
        {
            return;
        }
        let Some(connection) = self.clients.connections.get(id) else { return };
        let mut told = json!({ "topic": topic, "qos": publish.qos as u8, "retain": publish.retain });
        match std::str::from_utf8(publish.payload) {
            Ok(text) => told["payload"] = text.into(),
            Err(_) => told["payload_base64"] = BASE64_STANDARD.encode(publish.payload).into(),
        }
        self.hook(now, (HookKind::Publish, Some(topic)), connection, told, fx);
    }

    fn hook<E: Effects>(
        &self,
        now: Timestamp,
        (kind, topic): (HookKind, Option<&str>),
        connection: &Connection,
        told: Value,
        fx: &mut E,
    ) {
        let name = self.clients.sessions.get(connection.session).map_or("", |session| &*session.client_id);
        let identity = connection.identity.as_ref();
        let mut event = Map::new();
        event.insert("event".into(), kind.name().into());
        event.insert("at".into(), rfc3339(self.shared.started_unix_ms + now.0).into());
        event.insert("node".into(), self.config().node.name.as_str().into());
        event.insert("client_id".into(), client_id_of(name).into());
        event.insert("username".into(), identity.and_then(|identity| identity.username.as_deref()).into());
        if !mount_of(name).is_empty() {
            event.insert("mountpoint".into(), mount_of(name).into());
        }
        if let Value::Object(told) = told {
            event.extend(told);
        }
        let json = Value::Object(event).to_string().into();
        if !fx.hook(HookEvent { kind, topic: topic.map(Into::into), json }) {
            self.metrics().webhooks_dropped.inc();
        }
    }
}
