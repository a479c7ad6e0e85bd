//! The audit log: who connected, left, was refused, was banned; a structured line each, target `audit`. In a storm only so
//! many lines of a kind are written a second, then one that says how many were left out.

use std::net::SocketAddr;

use super::Broker;
use super::disconnect::End;
use super::mount::{client_id_of, mount_of};
use crate::clock::Timestamp;
use crate::connection::Connection;
use crate::packet::{Connect, ProtocolVersion, ReasonCode};
use crate::session::ConnectionId;

/// Lines of one kind a second, a shard.
const LINES_MAX: u32 = 100;

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Connected,
    Disconnected,
    Refused,
    Banned,
}

impl Event {
    const ALL: [Self; 4] = [Self::Connected, Self::Disconnected, Self::Refused, Self::Banned];

    const fn name(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::Refused => "refused",
            Self::Banned => "banned",
        }
    }
}

/// How much was written of each kind.
#[derive(Debug, Default)]
pub(super) struct Sampling {
    second: u64,
    written: [u32; Event::ALL.len()],
    left_out: [u64; Event::ALL.len()],
}

impl Sampling {
    /// Whether a line may be written now.
    fn admits(&mut self, now: Timestamp, event: Event) -> bool {
        self.tell_left_out(now);
        let kind = event as usize;
        let (Some(written), Some(left_out)) = (self.written.get_mut(kind), self.left_out.get_mut(kind))
        else {
            return false;
        };
        if *written >= LINES_MAX {
            *left_out += 1;
            return false;
        }
        *written += 1;
        true
    }

    /// Once a second is over, says what it left out.
    pub(super) fn tell_left_out(&mut self, now: Timestamp) {
        let second = now.0 / 1000;
        if second == self.second {
            return;
        }
        self.second = second;
        self.written = Default::default();
        for (event, count) in Event::ALL.into_iter().zip(std::mem::take(&mut self.left_out)) {
            if count > 0 {
                tracing::info!(target: "audit", event = "left_out", kind = event.name(), count);
            }
        }
    }
}

impl Broker {
    fn audits(&mut self, now: Timestamp, event: Event) -> bool {
        self.clients.config.log.audit && self.sampling.admits(now, event)
    }

    /// A client is connected.
    pub(super) fn audit_connected(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        connect: &Connect<'_>,
        client_id: &str,
        session_present: bool,
    ) {
        if !self.clients.config.log.audit {
            return;
        }
        if let Some(connection) = self.clients.connections.get_mut(id) {
            connection.allowance.get_or_insert_default().connected_at = Some(now);
        }
        if !self.audits(now, Event::Connected) {
            return;
        }
        let Some(connection) = self.clients.connections.get(id) else { return };
        tracing::info!(
            target: "audit",
            event = Event::Connected.name(),
            client_id,
            user = user_of(connection),
            mountpoint = self.mount(connection),
            address = %SocketAddr::from(connection.remote),
            listener = self.listener_of(connection),
            version = version_name(connect.version),
            clean_start = connect.clean_start,
            session_present,
        );
    }

    /// A client is gone; `failure`: what it did wrong, if it was closed for that.
    pub(super) fn audit_disconnected(&mut self, now: Timestamp, connection: &Connection, end: End) {
        let failure = self.failure.take();
        if !self.audits(now, Event::Disconnected) {
            return;
        }
        let name = self.clients.sessions.get(connection.session).map_or("", |session| &*session.client_id);
        let connected_at = connection.allowance.as_ref().and_then(|allowance| allowance.connected_at);
        let reason = match (failure, end) {
            (Some(reason), _) => reason.to_string(),
            (None, End::Lost) => "connection lost".into(),
            (None, End::Goodbye) => "disconnect".into(),
            (None, End::Takeover { .. }) => "takeover".into(),
            (None, End::Drain) => "shutdown".into(),
        };
        tracing::info!(
            target: "audit",
            event = Event::Disconnected.name(),
            client_id = client_id_of(name),
            user = user_of(connection),
            mountpoint = mount_of(name),
            address = %SocketAddr::from(connection.remote),
            reason,
            connected_s = connected_at.map(|at| now.ms_since(at) / 1000),
        );
    }

    /// A CONNECT is refused.
    pub(super) fn audit_refused(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        client_id: &str,
        reason: ReasonCode,
        why: &str,
    ) {
        if !self.audits(now, Event::Refused) {
            return;
        }
        let Some(connection) = self.clients.connections.get(id) else { return };
        tracing::info!(
            target: "audit",
            event = Event::Refused.name(),
            client_id,
            address = %SocketAddr::from(connection.remote),
            listener = self.listener_of(connection),
            reason = reason.to_string(),
            why,
        );
    }

    /// Somebody is banned.
    pub(super) fn audit_banned(&mut self, now: Timestamp, subject: &str, cause: &str) {
        if self.audits(now, Event::Banned) {
            tracing::info!(target: "audit", event = Event::Banned.name(), subject, cause);
        }
    }

    fn listener_of(&self, connection: &Connection) -> String {
        let listener = self.config().listeners.get(usize::from(connection.listener));
        listener.map(|listener| listener.url.to_string()).unwrap_or_default()
    }
}

fn user_of(connection: &Connection) -> &str {
    connection.identity.as_ref().and_then(|identity| identity.username.as_deref()).unwrap_or_default()
}

const fn version_name(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::V31 => "3.1",
        ProtocolVersion::V311 => "3.1.1",
        ProtocolVersion::V5 => "5.0",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_sampled_a_kind_for_itself() {
        let mut sampling = Sampling::default();
        let mut count = |now, event| (0..1000).filter(|_| sampling.admits(Timestamp(now), event)).count();
        assert_eq!(count(1_000, Event::Connected), 100);
        assert_eq!(count(1_999, Event::Connected), 0);
        assert_eq!(count(1_999, Event::Refused), 100);
        assert_eq!(count(2_000, Event::Connected), 100);
        assert_eq!(sampling.left_out, [900, 0, 0, 0]);
        sampling.tell_left_out(Timestamp(5_000));
        assert_eq!(sampling.left_out, [0; 4]);
    }
}
