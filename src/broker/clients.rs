//! The sessions and connections of a shard and what is found by what. Apart from the router, so that a fan-out
//! can walk the one while it changes the other.

use std::sync::Arc;

use ahash::RandomState;

use super::Shared;
use super::effects::Effects;
use super::effects::Timer;
use super::journal::Journal;
use super::message::SessionToken;
use super::observe::Sight;
use super::publication::Encoded;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::connection::{Connection, ConnectionTable, Grant, Grants, Phase};
use crate::interest::ShardId;
use crate::limits::Pressure;
use crate::metrics::{Counter, Metrics};
use crate::packet::{ProtocolVersion, QoS};
use crate::session::{ConnectionId, Delivery, Message, Session, SessionSerial, ShareName};
use crate::slab::{ChunkedSlab, KeyTable};
use sha1::{Digest, Sha1};

/// What became of a delivery of a Shared Subscription, to be told to its home.
#[derive(Debug)]
pub(super) enum SharedNews {
    /// The session, which did not outlast the process, ended first.
    Returned(Arc<ShareName>, Arc<Message>),
    /// The session ended first; the journal has it under this serial.
    GivenBack(SessionSerial),
    /// The client acknowledged it.
    Acked(Arc<ShareName>, u32, SessionSerial),
}

/// Sessions, connections, and what every delivery needs.
#[derive(Debug)]
pub(super) struct Clients {
    pub(super) sessions: ChunkedSlab<Session>,
    pub(super) connections: ConnectionTable,
    pub(super) config: Arc<Config>,
    pub(super) grants: Grants,
    pub(super) metrics: Arc<Metrics>,
    pub(super) pressure: Arc<Pressure>,
    pub(super) encoded: Encoded,
    /// Collected while sessions change, sent by the caller.
    pub(super) shared_news: Vec<SharedNews>,
    pub(super) journal: Journal,
    pub(super) sight: Sight,
    by_client_id: KeyTable,
    hasher: RandomState,
    /// Key of the hashes of User Names, which the journal keeps.
    user_key: u64,
    next_serial: u64,
    serial_step: u64,
}

impl Clients {
    pub(super) fn new(shard: ShardId, config: Arc<Config>, metrics: Arc<Metrics>, shared: &Shared) -> Self {
        let seed = shared.seed;
        let shards = u16::try_from(shared.metrics.len()).unwrap_or(u16::MAX);
        let mut sight = Sight::default();
        sight.lengths.configure(&config);
        Self {
            sight,
            sessions: ChunkedSlab::new(),
            connections: ConnectionTable::default(),
            grants: Grants::new(&config),
            journal: Journal::new(&config, shard.0, shards, shared.origins.first_number),
            config,
            metrics,
            pressure: Arc::clone(&shared.pressure),
            encoded: Encoded::default(),
            shared_news: Vec::new(),
            by_client_id: KeyTable::new(),
            hasher: RandomState::with_seeds(seed, 3, 5, 7),
            user_key: shared.origins.user_key,
            next_serial: shared.origins.first_serial.max(1) + u64::from(shard.0),
            serial_step: u64::from(shards.max(1)),
        }
    }

    /// The session of a Client Identifier.
    pub(super) fn find(&self, client_id: &str) -> Option<u32> {
        let is_it = |index| self.sessions.get(index).is_some_and(|s: &Session| &*s.client_id == client_id);
        self.by_client_id.find(self.hasher.hash_one(client_id), is_it)
    }

    /// By which the sessions of a connection's user are known: a keyed hash of its verified User Name; 0: it has none.
    pub(super) fn user_hash(&self, id: ConnectionId) -> u32 {
        let identity = self.connections.get(id).and_then(|connection| connection.identity.as_ref());
        let username = identity.and_then(|identity| identity.username.as_deref());
        username.map_or(0, |name| user_hash(self.user_key, name))
    }

    /// The session of a Client Identifier, if it is that of the connection's user.
    pub(super) fn find_own(&self, id: ConnectionId, client_id: &str) -> Option<u32> {
        let user = self.user_hash(id);
        let is_own = |index: &u32| self.sessions.get(*index).is_some_and(|session| session.user == user);
        self.find(client_id).filter(is_own)
    }

    /// Hash by which the messages of a topic are known again.
    pub(super) fn topic_hash(&self, topic: &str) -> u64 {
        self.hasher.hash_one(topic)
    }

    /// Hash of a session's Client Identifier.
    pub(super) fn client_hash(&self, index: u32) -> Option<u64> {
        self.sessions.get(index).map(|session| self.hasher.hash_one(&*session.client_id))
    }

    /// A serial that nothing has.
    pub(super) fn next_serial(&mut self) -> SessionSerial {
        let serial = SessionSerial(self.next_serial);
        self.next_serial += self.serial_step;
        serial
    }

    /// A new session.
    pub(super) fn open_session(&mut self, client_id: &str, version: ProtocolVersion) -> u32 {
        let serial = self.next_serial();
        self.add_session(Session::new(client_id, serial, version))
    }

    /// Puts a session into the tables.
    pub(super) fn add_session(&mut self, session: Session) -> u32 {
        let hash = self.hasher.hash_one(&*session.client_id);
        let index = self.sessions.insert(session);
        self.by_client_id.insert(hash, index);
        self.metrics.sessions.inc();
        index
    }

    /// Names a session across shards and time.
    pub(super) fn token(&self, index: u32) -> Option<SessionToken> {
        self.sessions.get(index).map(|session| SessionToken { index, serial: session.serial })
    }

    /// The session that a token names, if it is still there.
    pub(super) fn session_by(&mut self, token: SessionToken) -> Option<&mut Session> {
        self.sessions.get_mut(token.index).filter(|session| session.serial == token.serial)
    }

    /// Takes a session out of the tables.
    pub(super) fn remove_session(&mut self, index: u32) -> Option<Session> {
        let hash = self.hasher.hash_one(&*self.sessions.get(index)?.client_id);
        self.by_client_id.remove(hash, |other| other == index);
        self.metrics.sessions.dec();
        self.sessions.remove(index)
    }

    /// A session and the connection that uses it.
    pub(super) fn connected(&mut self, index: u32) -> Option<(&mut Session, ConnectionId, &mut Connection)> {
        let session = self.sessions.get_mut(index)?;
        let id = session.connection?;
        // Before its CONNACK a client gets nothing.
        let connection =
            self.connections.get_mut(id).filter(|connection| connection.phase == Phase::Connected)?;
        Some((session, id, connection))
    }

    /// The limits that a connection was promised.
    pub(super) fn grant(&self, id: ConnectionId) -> &Grant {
        self.grants.find(self.connections.get(id).map_or(0, |connection| connection.grant))
    }

    /// The session of a connection.
    pub(super) fn session_of(&mut self, id: ConnectionId) -> Option<&mut Session> {
        let index = self.connections.get(id)?.session;
        self.sessions.get_mut(index)
    }

    /// Counts a message let go for `reason`.
    pub(super) fn dropped(&self, reason: &Counter) {
        reason.inc();
        self.metrics.messages_dropped.inc();
    }

    /// Appends to an mqueue; the oldest goes if it is full.
    pub(super) fn enqueue(&mut self, index: u32, delivery: Delivery) {
        let len_max = self.config.session.queue_len_max;
        let Self { sessions, journal, .. } = self;
        let Some(session) = sessions.get_mut(index) else { return };
        let kept = journal.keeps(session).then_some(session.serial.0);
        let mqueue = &mut session.outbound_mut().mqueue;
        let mut qos2 = 0;
        let dropped = mqueue.push(delivery, len_max, |gone| {
            qos2 += u64::from(gone.qos == QoS::ExactlyOnce);
            journal.write_gone(kept, gone);
        }) as u64;
        if dropped > 0 {
            self.metrics.dropped_qos2.add(qos2);
            self.metrics.dropped_queue_full.add(dropped);
            self.metrics.messages_dropped.add(dropped);
        }
        self.metrics.queues.set((self.metrics.queues.load() + 1).wrapping_sub(dropped));
        self.judge_queue(index);
    }

    /// Sets the session's timer, unless an earlier one will do.
    pub(super) fn want_session_timer<E: Effects>(&mut self, index: u32, at: Timestamp, fx: &mut E) {
        if let Some(session) = self.sessions.get_mut(index)
            && session.timer_at.is_none_or(|set| at < set)
        {
            session.timer_at = Some(at);
            fx.set_timer(Timer::Session(index), at);
        }
    }

    /// Sets the connection's timer, unless an earlier one will do.
    pub(super) fn want_connection_timer<E: Effects>(&mut self, index: u32, at: Timestamp, fx: &mut E) {
        if self.connections.want_timer(index, at) {
            fx.set_timer(Timer::Connection(index), at);
        }
    }
}

/// Keyed hash of a User Name that stays the same as long as the journal does; never 0.
fn user_hash(key: u64, name: &str) -> u32 {
    let digest: [u8; 20] = Sha1::new().chain_update(key.to_le_bytes()).chain_update(name).finalize().into();
    let [a, b, c, d, ..] = digest;
    u32::from_le_bytes([a, b, c, d]).max(1)
}
