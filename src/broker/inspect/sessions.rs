//! Lists of sessions, and of clients: a client is a session with a connection. They are walked by the place of the session, which
//! stays the same over all its connections, so that a client which reconnects meanwhile is neither missed nor listed twice.

use std::net::SocketAddr;
use std::ops::ControlFlow;

use ipnet::IpNet;

use super::super::Broker;
use super::super::mount::{client_id_of, mount_of};
use super::glob::Glob;
use super::page::{Budget, Listing, Page};
use crate::clock::Timestamp;
use crate::connection::Connection;
use crate::packet::ProtocolVersion;
use crate::session::{NEVER, Session};

/// Which clients are wanted: those to which all of it applies.
#[derive(Debug, Clone, Default)]
pub struct ClientSelection {
    /// Pattern of the Client Identifier.
    pub client_id: Option<Glob>,
    /// Pattern of the verified User Name.
    pub user: Option<Glob>,
    /// Where the address is.
    pub address: Option<IpNet>,
    /// Index of the listener.
    pub listener: Option<u16>,
}

/// Which sessions are wanted: those to which all of it applies.
#[derive(Debug, Clone, Default)]
pub struct SessionSelection {
    /// Pattern of the Client Identifier.
    pub client_id: Option<Glob>,
    /// Whether it outlives its connection.
    pub is_persistent: Option<bool>,
    /// Whether it has a connection.
    pub is_connected: Option<bool>,
}

/// A session.
#[derive(Debug, Clone)]
pub struct SessionRow {
    /// Client Identifier.
    pub client_id: Box<str>,
    /// Its mountpoint; empty: it has none.
    pub mountpoint: Box<str>,
    /// Whether it outlives its connection.
    pub is_persistent: bool,
    /// Whether it has a connection.
    pub is_connected: bool,
    /// Number of subscriptions.
    pub subscriptions: usize,
    /// Messages that wait.
    pub queued: usize,
    /// Messages sent and not acknowledged.
    pub inflight: usize,
    /// QoS 2 identifiers of its client that are not released.
    pub awaiting_rel: usize,
    /// Session Expiry Interval, in seconds; `None`: it never ends.
    pub expiry_s: Option<u32>,
    /// When it ends, if it has no connection and ends at all.
    pub expires_at: Option<Timestamp>,
}

/// A connection.
#[derive(Debug, Clone)]
pub struct ConnectionRow {
    /// Verified User Name.
    pub username: Option<Box<str>>,
    /// Address of the client.
    pub address: SocketAddr,
    /// Index of the listener.
    pub listener: u16,
    /// Version of the protocol.
    pub version: ProtocolVersion,
    /// Whether it began with a clean session.
    pub clean_start: bool,
    /// Keep Alive granted, in seconds; 0: none.
    pub keep_alive_s: u32,
    /// When it was connected.
    pub connected_at: Timestamp,
    /// Whether its next packet has to wait.
    pub is_paused: bool,
}

/// A connected client.
#[derive(Debug, Clone)]
pub struct ClientRow {
    /// Its session.
    pub session: SessionRow,
    /// Its connection.
    pub connection: ConnectionRow,
}

impl ClientSelection {
    fn wants(&self, session: &Session, connection: &Connection, budget: &mut Budget) -> bool {
        let listener = self.listener.is_none_or(|wanted| wanted == connection.listener);
        let address = self.address.is_none_or(|wanted| {
            let address = SocketAddr::from(connection.remote).ip();
            wanted.contains(&address)
        });
        listener
            && address
            && wants_name(self.client_id.as_ref(), client_id_of(&session.client_id), budget)
            && self.user.as_ref().is_none_or(|wanted| {
                username(connection).is_some_and(|name| wants_name(Some(wanted), name, budget))
            })
    }
}

impl SessionSelection {
    fn wants(&self, session: &Session, budget: &mut Budget) -> bool {
        self.is_persistent.is_none_or(|wanted| wanted == session.is_persistent())
            && self.is_connected.is_none_or(|wanted| wanted == session.connection.is_some())
            && wants_name(self.client_id.as_ref(), client_id_of(&session.client_id), budget)
    }
}

/// Whether a name has the wanted form, if one is wanted.
pub(super) fn wants_name(wanted: Option<&Glob>, name: &str, budget: &mut Budget) -> bool {
    wanted.is_none_or(|glob| {
        budget.spend(glob.cost(name));
        glob.matches(name)
    })
}

fn username(connection: &Connection) -> Option<&str> {
    connection.identity.as_ref()?.username.as_deref()
}

impl Broker {
    pub(super) fn list_clients(&self, listing: &Listing<ClientSelection, u32>) -> Page<ClientRow, u32> {
        self.walk_sessions(listing.from, listing.limit, |session, budget| {
            let connection = self.clients.connections.get(session.connection?)?;
            let is_wanted = listing.selection.wants(session, connection, budget);
            is_wanted.then(|| ClientRow {
                session: session_row(session),
                connection: self.connection_row(session, connection),
            })
        })
    }

    pub(super) fn list_sessions(&self, listing: &Listing<SessionSelection, u32>) -> Page<SessionRow, u32> {
        self.walk_sessions(listing.from, listing.limit, |session, budget| {
            listing.selection.wants(session, budget).then(|| session_row(session))
        })
    }

    fn walk_sessions<T>(
        &self,
        from: Option<u32>,
        limit: usize,
        look: impl Fn(&Session, &mut Budget) -> Option<T>,
    ) -> Page<T, u32> {
        let mut items = Vec::new();
        let next = self.each_session(from.unwrap_or(0), limit, |_, session, budget| {
            if let Some(item) = look(session, budget) {
                budget.spend_item();
                items.push(item);
            }
            ControlFlow::Continue(())
        });
        Page { items, next }
    }

    /// Looks at sessions by ascending place, within the budget of an answer; where to go on. Free places count too, since
    /// there may be many.
    pub(super) fn each_session(
        &self,
        from: u32,
        limit: usize,
        mut look: impl FnMut(u32, &Session, &mut Budget) -> ControlFlow<()>,
    ) -> Option<u32> {
        let mut budget = Budget::new(limit);
        for place in from..self.clients.sessions.places() {
            if budget.is_spent() {
                return Some(place);
            }
            budget.spend(1);
            if let Some(session) = self.clients.sessions.get(place)
                && look(place, session, &mut budget).is_break()
            {
                return Some(place);
            }
        }
        None
    }

    pub(super) fn connection_row(&self, session: &Session, connection: &Connection) -> ConnectionRow {
        let factor = f64::from(self.config().limits.keep_alive_factor);
        let keep_alive_s = f64::from(connection.silence_max_ms) / 1000.0 / factor;
        ConnectionRow {
            username: username(connection).map(Into::into),
            address: connection.remote.into(),
            listener: connection.listener,
            version: connection.version,
            clean_start: session.clean_start,
            keep_alive_s: keep_alive_s.round() as u32,
            connected_at: session.since,
            is_paused: connection.stalled,
        }
    }
}

pub(super) fn session_row(session: &Session) -> SessionRow {
    SessionRow {
        client_id: client_id_of(&session.client_id).into(),
        mountpoint: mount_of(&session.client_id).into(),
        is_persistent: session.is_persistent(),
        is_connected: session.connection.is_some(),
        subscriptions: session.subscriptions.len(),
        queued: session.mqueue_len(),
        inflight: session.inflight_len(),
        awaiting_rel: session.inbound.as_ref().map_or(0, |inbound| inbound.len()),
        expiry_s: (session.expiry_s != NEVER).then_some(session.expiry_s),
        expires_at: session.expires_at(),
    }
}
