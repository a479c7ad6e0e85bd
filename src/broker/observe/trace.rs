//! Traces: what happens to one client, to one topic or from one address, as lines for people. A shard makes the lines and hands them
//! to the machine's side, which writes them down; it looks for what to trace only while there is a trace.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use smallvec::SmallVec;

use super::super::Broker;
use super::super::disconnect::End;
use super::super::effects::Effects;
use super::super::mount::{client_id_of, mount_of, session_name};
use super::presence::reason_of;
use super::trace_text;
use crate::clock::Timestamp;
use crate::connection::Connection;
use crate::packet::{Connect, Packet, ReasonCode};
use crate::session::{ConnectionId, Session};
use crate::topic;

/// Traces at a time.
pub const TRACES_MAX: usize = 10;
/// Connections whose next packet has been traced already, at a time.
const STALLED_MAX: usize = 256;

/// What is traced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TraceTarget {
    /// The client with this identifier, within this mountpoint; `None`: within whichever, or none.
    Client(Box<str>, Option<Box<str>>),
    /// PUBLISHes to topics that this filter matches, and SUBSCRIBEs with such filters.
    Topic(Box<str>),
    /// Connections from these addresses.
    Address(IpNet),
}

impl TraceTarget {
    fn covers(&self, session_name: &str, address: IpAddr, topic: Option<&str>) -> bool {
        match self {
            Self::Client(id, mountpoint) => {
                let is_within = |mountpoint: &str| mountpoint == mount_of(session_name);
                **id == *client_id_of(session_name) && mountpoint.as_deref().is_none_or(is_within)
            }
            Self::Topic(filter) => topic.is_some_and(|topic| topic::matches(filter, topic)),
            Self::Address(network) => network.contains(&address),
        }
    }
}

/// A trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceSpec {
    /// Its number.
    pub id: u32,
    /// What is traced.
    pub target: TraceTarget,
    /// When it ends by itself.
    pub until: Timestamp,
}

/// Something that happened to what is traced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceEvent {
    /// The traces that it belongs to.
    pub traces: SmallVec<[u32; 4]>,
    /// Whose connection.
    pub client_id: Box<str>,
    /// Within which mountpoint that client lives; empty: none.
    pub mountpoint: Box<str>,
    /// In a word: `connected`, `disconnected`, `refused`, `received`, `sent`, `dropped`, `denied`.
    pub event: &'static str,
    /// What exactly. No password, and of a payload only the beginning.
    pub text: String,
}

/// The traces of a shard.
#[derive(Debug, Default)]
pub(in crate::broker) struct Traces {
    list: Vec<TraceSpec>,
    /// Connections whose next packet was traced, and had to wait: it comes again.
    stalled: Vec<ConnectionId>,
}

impl Traces {
    /// Whether there is any.
    #[inline]
    pub(in crate::broker) fn is_on(&self) -> bool {
        !self.list.is_empty()
    }

    /// One more; false: there are too many.
    pub(in crate::broker) fn start(&mut self, now: Timestamp, spec: TraceSpec) -> bool {
        self.expire(now);
        self.list.retain(|known| known.id != spec.id);
        let has_room = self.list.len() < TRACES_MAX;
        if has_room {
            self.list.push(spec);
        }
        has_room
    }

    /// It ends; false: there is none.
    pub(in crate::broker) fn stop(&mut self, id: u32) -> bool {
        let before = self.list.len();
        self.list.retain(|spec| spec.id != id);
        self.list.len() < before
    }

    pub(super) fn expire(&mut self, now: Timestamp) {
        self.list.retain(|spec| spec.until > now);
        if self.list.is_empty() {
            self.stalled.clear();
        }
    }

    /// A packet of this connection was traced, and will come again.
    fn waits(&mut self, id: ConnectionId) {
        if self.stalled.len() < STALLED_MAX {
            self.stalled.push(id);
        }
    }

    /// It has come again, or its connection is gone; whether it had to wait.
    fn goes_on(&mut self, id: ConnectionId) -> bool {
        let at = self.stalled.iter().position(|stalled| *stalled == id);
        at.map(|at| self.stalled.swap_remove(at)).is_some()
    }

    fn covering(&self, session_name: &str, address: IpAddr, topic: Option<&str>) -> SmallVec<[u32; 4]> {
        let covers = |spec: &&TraceSpec| spec.target.covers(session_name, address, topic);
        self.list.iter().filter(covers).map(|spec| spec.id).collect()
    }

    /// Traces what happens on a connection of the client with that session, if some trace covers it. The machine's side says when
    /// that was.
    #[cold]
    fn event<E: Effects>(
        &self,
        (session_name, address): (&str, IpAddr),
        topic: Option<&str>,
        (event, text): (&'static str, impl FnOnce() -> String),
        fx: &mut E,
    ) {
        let traces = self.covering(session_name, address, topic);
        if !traces.is_empty() {
            let client_id = client_id_of(session_name).into();
            let mountpoint = mount_of(session_name).into();
            fx.trace(TraceEvent { traces, client_id, mountpoint, event, text: text() });
        }
    }

    /// A PUBLISH has been written for a session, or dropped.
    #[cold]
    pub(in crate::broker) fn delivery<E: Effects>(
        &self,
        session_name: &str,
        connection: &Connection,
        (event, topic): (&'static str, &str),
        text: impl FnOnce() -> String,
        fx: &mut E,
    ) {
        let who = (session_name, address_of(connection));
        self.event(who, Some(topic), (event, text), fx);
    }
}

fn address_of(connection: &Connection) -> IpAddr {
    SocketAddr::from(connection.remote).ip()
}

impl Broker {
    /// Something happens on a connection: `topic` where it is about one. Call it only while `traces.is_on()`.
    #[cold]
    pub(in crate::broker) fn trace<E: Effects>(
        &self,
        id: ConnectionId,
        topic: Option<&str>,
        event: &'static str,
        text: impl FnOnce() -> String,
        fx: &mut E,
    ) {
        let Some(connection) = self.clients.connections.get(id) else { return };
        let name = self.clients.sessions.get(connection.session).map_or("", |session| &session.client_id);
        let who = (name, address_of(connection));
        self.clients.sight.traces.event(who, topic, (event, text), fx);
    }

    /// A packet of a connected client is to be handled. One that had to wait and comes again was traced before.
    #[cold]
    pub(in crate::broker) fn trace_received<E: Effects>(
        &mut self,
        id: ConnectionId,
        packet: &Packet<'_>,
        fx: &mut E,
    ) {
        if self.clients.sight.traces.goes_on(id) {
            return;
        }
        let Some(connection) = self.clients.connections.get(id) else { return };
        let mount = self.clients.sessions.get(connection.session).map_or("", |s| mount_of(&s.client_id));
        let text = || trace_text::of_packet(packet);
        for topic in trace_text::topics_of(packet, connection.aliases.as_deref()) {
            let full = format!("{mount}{topic}");
            if self.clients.sight.traces.has_topic(&full) {
                return self.trace(id, Some(&full), "received", text, fx);
            }
        }
        self.trace(id, None, "received", text, fx);
    }

    /// The packet that was traced has to wait, and comes again.
    #[cold]
    pub(in crate::broker) fn trace_again(&mut self, id: ConnectionId) {
        self.clients.sight.traces.waits(id);
    }

    /// A client is in.
    #[cold]
    pub(in crate::broker) fn trace_connected<E: Effects>(
        &self,
        id: ConnectionId,
        connect: &Connect<'_>,
        session_present: bool,
        fx: &mut E,
    ) {
        let text = || format!("{} session_present={session_present}", trace_text::of_connect(connect));
        self.trace(id, None, "connected", text, fx);
    }

    /// A CONNECT is refused.
    #[cold]
    pub(in crate::broker) fn trace_refused<E: Effects>(
        &self,
        id: ConnectionId,
        client_id: &str,
        (reason, why): (ReasonCode, &str),
        fx: &mut E,
    ) {
        let Some(connection) = self.clients.connections.get(id) else { return };
        let text = || format!("CONNECT refused: {reason} {why}");
        // There is no session of it; where it would be is known as far as it is known who it is.
        let name = session_name(&self.mountpoint(id, client_id).unwrap_or_default(), client_id).into_owned();
        let who = (name.as_str(), address_of(connection));
        self.clients.sight.traces.event(who, None, ("refused", text), fx);
    }

    /// A packet without a topic is on its way to a client.
    #[cold]
    pub(in crate::broker) fn trace_sent<E: Effects>(
        &self,
        id: ConnectionId,
        text: impl FnOnce() -> String,
        fx: &mut E,
    ) {
        self.trace(id, None, "sent", text, fx);
    }

    /// A connection is gone.
    #[cold]
    pub(in crate::broker) fn trace_disconnected<E: Effects>(
        &mut self,
        id: ConnectionId,
        connection: &Connection,
        failure: Option<ReasonCode>,
        end: End,
        fx: &mut E,
    ) {
        self.clients.sight.traces.goes_on(id);
        let name = self.clients.sessions.get(connection.session).map_or("", |session| &session.client_id);
        let who = (name, address_of(connection));
        self.clients.sight.traces.event(who, None, ("disconnected", || reason_of(failure, end)), fx);
    }
}

impl Traces {
    fn has_topic(&self, topic: &str) -> bool {
        self.list.iter().any(|spec| match &spec.target {
            TraceTarget::Topic(filter) => topic::matches(filter, topic),
            _ => false,
        })
    }

    /// A message for a session was dropped.
    #[cold]
    pub(in crate::broker) fn dropped<E: Effects>(
        &self,
        session: &Session,
        connection: &Connection,
        topic: &str,
        why: &'static str,
        fx: &mut E,
    ) {
        let text = || format!("PUBLISH {topic}: {why}");
        self.delivery(&session.client_id, connection, ("dropped", topic), text, fx);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn spec(id: u32, target: TraceTarget) -> TraceSpec {
        TraceSpec { id, target, until: Timestamp(100) }
    }

    fn client(client_id: &str, mountpoint: Option<&str>) -> TraceTarget {
        TraceTarget::Client(client_id.into(), mountpoint.map(Into::into))
    }

    #[test]
    fn a_client_of_a_tenant_is_not_that_of_another_one() {
        let mut traces = Traces::default();
        for (id, mountpoint) in [(1, None), (2, Some("one/")), (3, Some(""))] {
            traces.start(Timestamp(0), spec(id, client("c", mountpoint)));
        }
        let covering = |mount: &str| {
            traces.covering(&session_name(mount, "c"), IpAddr::from([127, 0, 0, 1]), None).to_vec()
        };
        assert_eq!(covering("one/"), [1, 2]);
        assert_eq!(covering("two/"), [1]);
        assert_eq!(covering(""), [1, 3]);
    }

    #[test]
    fn what_is_covered_by_which_trace() {
        let mut traces = Traces::default();
        assert!(!traces.is_on());
        assert!(traces.start(Timestamp(0), spec(1, client("c", None))));
        assert!(traces.start(Timestamp(0), spec(2, TraceTarget::Topic("a/+".into()))));
        assert!(traces.start(Timestamp(0), spec(3, TraceTarget::Address("10.0.0.0/8".parse().unwrap()))));
        let covering = |client: &str, address: &str, topic| {
            traces.covering(client, address.parse().unwrap(), topic).to_vec()
        };
        assert_eq!(covering("c", "10.1.2.3", Some("a/b")), [1, 2, 3]);
        assert_eq!(covering("d", "11.1.2.3", Some("a/b")), [2]);
        assert!(covering("d", "11.1.2.3", None).is_empty());
        traces.expire(Timestamp(100));
        assert!(!traces.is_on());
    }

    #[test]
    fn connections_that_are_gone_leave_room_for_those_that_wait() {
        let mut traces = Traces::default();
        let connection = |index| ConnectionId { index, generation: 1 };
        for index in 0..=STALLED_MAX as u32 {
            traces.waits(connection(index));
        }
        assert!(!traces.goes_on(connection(STALLED_MAX as u32)) && traces.goes_on(connection(7)));
        traces.waits(connection(5000));
        assert!(traces.goes_on(connection(5000)) && !traces.goes_on(connection(7)));
    }

    #[test]
    fn there_are_never_more_than_so_many() {
        let mut traces = Traces::default();
        let started = (0..50).filter(|id| traces.start(Timestamp(0), spec(*id, client("c", None)))).count();
        assert_eq!(started, TRACES_MAX);
        assert!(traces.stop(3) && !traces.stop(3));
        assert!(traces.start(Timestamp(0), spec(77, client("c", None))));
    }
}
