//! One shard's broker between the rings and the mailboxes: translates what happened into inputs and effects into
//! what `shards` offers, through the layers of those connections that have some. No decision is made here.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use shards::{Accepted, Closed, Io};

use super::access::Access;
use super::acl_http::AclAsker;
use super::auth_gate::Gate;
use super::auth_pool::Pool;
use super::certificates::Acceptors;
use super::hand_over::{self, HandOver};
use super::handshakes::Handshakes;
use super::names::{origin, ours, theirs};
use super::storage::Parts;
use super::wrapped::WrappedConnections;
use crate::acl::Policy;
use crate::admin::{Asked, TraceWriter};
use crate::auth::{Answer, Credentials, ExchangeStep, Moment, Step, Verdict};
use crate::broker::{
    self, AclQuestion, Broker, BrokerSetup, Close, Condition, Effects, Input, ModuleOrder, Origin,
    ShardMessage, Shared, StoredSubscriptions, Timer, TraceEvent,
};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::interest::ShardId;
use crate::metrics::Metrics;
use crate::session::ConnectionId;
use crate::storage::thread::StorageHandle;
use crate::transport::tls::{Established, TlsError};
use crate::transport::{self, Buffers, End, Facts, Layers};

/// Bytes that wait for a client before its pings are not answered any more.
const CONGESTED: usize = 64 * 1024;

/// What shards and the main thread say to a shard.
#[derive(Debug)]
pub(super) enum ServerMessage {
    /// Another shard's broker to this one's.
    Broker(ShardMessage),
    /// SIGHUP.
    Reload(Arc<Config>, Arc<[Layers]>, Arc<Gate>),
    /// Certificates were read again.
    Certificates(Acceptors),
    /// A server's answer on what a client of this shard may do.
    Authorized {
        /// Which.
        connection: ConnectionId,
        /// On which question.
        key: u64,
        /// Yes, no, or none.
        answer: Option<bool>,
    },
    /// SIGHUP: the rules of the ACL.
    Policy(Arc<Policy>),
    /// The verdict about a client of this shard.
    Authenticated {
        /// Which.
        connection: ConnectionId,
        /// What.
        verdict: Verdict,
        /// By which generation of the credentials.
        generation: u64,
        /// Hashes, signatures and requests that it took.
        computed: u32,
    },
    /// All that the shard stored up to this ticket is on disk.
    Stored(u64),
    /// The same is written, and not durable: the disk mends.
    Written(u64),
    /// The journal begins a generation.
    Generation(u32),
    /// All shards' images of it are there.
    Fence(u32),
    /// The disk takes nothing any more.
    StorageDown,
    /// To shard 0: the machine's side has found something, or found it over.
    Condition(Condition, Option<String>),
    /// An operator asks.
    Admin(Box<Asked>),
    /// SIGTERM.
    Drain,
}

/// What all shards are made of.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub(super) config: Arc<Config>,
    pub(super) shared: Arc<Shared>,
    /// By listener.
    pub(super) layers: Arc<[Layers]>,
    pub(super) acceptors: Acceptors,
    pub(super) access: Arc<Access>,
    pub(super) door: Door,
    pub(super) policy: Arc<Policy>,
    /// `None`: nothing outlasts the process.
    pub(super) journal: Option<StorageHandle>,
    pub(super) parts: Parts,
    /// Who writes down what is traced.
    pub(super) traces: TraceWriter,
    /// Automatic subscriptions that operators have stored.
    pub(super) stored: Arc<StoredSubscriptions>,
}

/// A shard's broker.
#[derive(Debug)]
pub(super) struct Application {
    broker: Broker,
    wrapped: WrappedConnections,
    handshakes: Handshakes<shards::ConnectionId>,
    buffers: Buffers,
    access: Arc<Access>,
    door: Door,
    metrics: Arc<Metrics>,
    journal: Option<StorageHandle>,
    traces: TraceWriter,
    /// What the clock of the shards has to be advanced by to be that of the broker, ms.
    epoch_ms: u64,
    /// Connections that the rules of access refused after their PROXY header.
    refused: u64,
    is_exiting: bool,
}

/// What a shard needs to ask who a client is.
#[derive(Debug, Clone)]
pub(super) struct Door {
    /// Who knows.
    pub(super) gate: Arc<Gate>,
    /// Who does the work.
    pub(super) pool: Arc<Pool>,
    /// Who asks a server what a client may do.
    pub(super) asker: Arc<AclAsker>,
}

impl Application {
    /// Made on the shard's own thread.
    pub(super) fn new(shard: shards::ShardId, setup: Setup, io: &mut Io<'_, Self>) -> Self {
        let Setup { config, shared, layers, acceptors, access, door, policy, journal, parts, traces, stored } =
            setup;
        let epoch_ms = shared.origins.now.0;
        let metrics = shared.metrics.get(usize::from(shard.0)).cloned().unwrap_or_default();
        let mut broker = Broker::new(BrokerSetup { shard: ShardId(shard.0), config, shared });
        let mut wrapped = WrappedConnections::new(layers);
        wrapped.set_acceptors(&acceptors);
        let now = Timestamp(epoch_ms + io.now_ms());
        let mut machine = Machine {
            io,
            wrapped: &mut wrapped,
            door: &door,
            metrics: &metrics,
            journal: journal.as_ref(),
            traces: &traces,
            epoch_ms,
        };
        broker.handle(now, Input::Policy(policy), &mut machine);
        broker.handle(now, Input::Module(ModuleOrder::AutoSubscriptions(stored)), &mut machine);
        broker.start(now, &mut machine);
        broker.restore(now, parts.take(shard.0), &mut machine);
        let buffers = Buffers::default();
        Self {
            broker,
            wrapped,
            handshakes: Handshakes::new(),
            buffers,
            access,
            door,
            metrics,
            journal,
            traces,
            epoch_ms,
            refused: 0,
            is_exiting: false,
        }
    }

    #[inline]
    fn input(&mut self, io: &mut Io<'_, Self>, input: Input<'_>) {
        let now = Timestamp(self.epoch_ms + io.now_ms());
        let machine = &mut Machine {
            io,
            wrapped: &mut self.wrapped,
            door: &self.door,
            metrics: &self.metrics,
            journal: self.journal.as_ref(),
            traces: &self.traces,
            epoch_ms: self.epoch_ms,
        };
        self.broker.handle(now, input, machine);
    }

    /// What an operator asks or wants done: an input like any other, but for its answer.
    fn inspect(&mut self, io: &mut Io<'_, Self>, question: broker::Question) -> broker::Answer {
        let now = Timestamp(self.epoch_ms + io.now_ms());
        let machine = &mut Machine {
            io,
            wrapped: &mut self.wrapped,
            door: &self.door,
            metrics: &self.metrics,
            journal: self.journal.as_ref(),
            traces: &self.traces,
            epoch_ms: self.epoch_ms,
        };
        self.broker.inspect(now, question, machine)
    }

    /// Bytes of a TLS handshake: they cost, so they have their turn.
    fn received_handshake(&mut self, io: &mut Io<'_, Self>, connection: shards::ConnectionId, bytes: &[u8]) {
        if self.handshakes.may_go_on() {
            return self.shake(io, connection, bytes);
        }
        let Some(wrapped) = self.wrapped.find(connection) else { return };
        self.metrics.tls_handshakes_delayed.inc();
        match wrapped.unread.take() {
            None => {
                wrapped.unread = Some(bytes.into());
                self.handshakes.wait(connection);
                io.pause(connection);
            }
            // Read on in spite of the pause: it has its place already.
            Some(before) => wrapped.unread = Some([&before, bytes].concat().into()),
        }
    }

    /// A handshake goes on, and its time is counted.
    fn shake(&mut self, io: &mut Io<'_, Self>, connection: shards::ConnectionId, bytes: &[u8]) {
        let begin_us = io.now_us();
        self.received_wrapped(io, connection, bytes);
        self.handshakes.spend(io.now_us().saturating_sub(begin_us));
    }

    /// The handshakes that waited for the end of the turn, as far as there is time. Whether some wait for the next one.
    fn finish_handshakes(&mut self, io: &mut Io<'_, Self>) -> bool {
        while let Some(connection) = self.handshakes.next() {
            // It may be closed meanwhile.
            let Some(wrapped) = self.wrapped.find(connection) else { continue };
            let Some(bytes) = wrapped.unread.take() else { continue };
            if !wrapped.is_paused {
                io.resume(connection);
            }
            self.shake(io, connection, &bytes);
        }
        self.metrics.tls_handshakes_waiting.set(self.handshakes.len() as u64);
        self.handshakes.end_turn()
    }

    /// Bytes of a connection with layers: everything that comes out of them is one input.
    fn received_wrapped(&mut self, io: &mut Io<'_, Self>, connection: shards::ConnectionId, bytes: &[u8]) {
        let is_congested = io.outbound_len(connection) > CONGESTED;
        let Some(wrapped) = self.wrapped.find(connection) else { return };
        let mut buffers = std::mem::take(&mut self.buffers);
        let end = match wrapped.receive(bytes, is_congested, &mut buffers) {
            Ok(true) => None,
            Ok(false) => {
                self.buffers = buffers;
                return;
            }
            Err(end) => Some(end),
        };
        if !buffers.down.is_empty() {
            io.output(connection).extend_from_slice(&buffers.down);
        }
        let is_over = end.is_none() && wrapped.transport.is_plain();
        if is_over {
            // Behind a PROXY header there may be nothing but MQTT: from here on it is as any plain connection.
            self.wrapped.flush_one(connection, io);
            self.wrapped.remove(connection);
        }
        let rest = std::mem::take(&mut buffers.rest);
        let is_admitted = self.learned(io, connection, std::mem::take(&mut buffers.facts));
        if is_admitted && !buffers.up.is_empty() {
            self.input(io, Input::Received { connection: ours(connection), bytes: &buffers.up });
        }
        buffers.trim();
        self.buffers = buffers;
        if let Some(end) = end {
            self.count(connection, &end);
            self.end(io, connection);
        } else if is_admitted && !rest.is_empty() {
            // Behind a PROXY header, and there is only one.
            shards::Application::received(self, io, connection, &rest);
        }
    }

    /// The layers have learned something about the client. `false`: it may not come in, and is closed.
    fn learned(&mut self, io: &mut Io<'_, Self>, connection: shards::ConnectionId, facts: Facts) -> bool {
        if let Some(header) = facts.proxy
            && !self.learned_address(io, connection, header)
        {
            return false;
        }
        if let Some(established) = facts.established {
            self.learned_tls(io, connection, *established);
        }
        true
    }

    /// The PROXY header has come. `false`: the client's address may not come in, and the connection is closed.
    fn learned_address(
        &mut self,
        io: &mut Io<'_, Self>,
        connection: shards::ConnectionId,
        header: transport::proxy::Header,
    ) -> bool {
        let Some(mut origin) = self.broker.origin(ours(connection)) else { return false };
        origin.remote = header.source.unwrap_or(origin.remote);
        if !self.access.allows(origin.listener, origin.remote.ip()) {
            tracing::debug!(remote = %origin.remote, listener = origin.listener, "refused by the listener's `access`");
            self.refused += 1;
            self.input(io, Input::Closed { connection: ours(connection) });
            self.wrapped.remove(connection);
            io.close(connection, shards::Close::Abort);
            return false;
        }
        if header.source.is_some() {
            self.input(io, Input::Peer { connection: ours(connection), remote: origin.remote });
        }
        true
    }

    /// The TLS handshake is over.
    fn learned_tls(
        &mut self,
        io: &mut Io<'_, Self>,
        connection: shards::ConnectionId,
        established: Established,
    ) {
        let Established { resumed, is_tls13, peer } = established;
        self.metrics.tls_handshakes.inc();
        self.metrics.tls_resumed.add(u64::from(resumed));
        let subject = peer.as_ref().map(|peer| &peer.subject);
        tracing::debug!(index = connection.index(), is_tls13, resumed, ?subject, "TLS handshake");
        if let Some(certificate) = peer {
            self.input(io, Input::Certified { connection: ours(connection), certificate });
        }
    }

    fn count(&mut self, connection: shards::ConnectionId, end: &End) {
        match end {
            End::Peer => return,
            End::Proxy(_) => self.metrics.errors_proxy.inc(),
            End::Tls(error) => self.count_tls(connection, error),
            End::WebSocket(transport::websocket::Error::Refused(_)) => {
                self.metrics.websocket_refused.inc();
            }
            End::WebSocket(transport::websocket::Error::Violation(_)) => self.metrics.errors_websocket.inc(),
        }
        if let Some(origin) = self.broker.origin(ours(connection)) {
            tracing::debug!(remote = %origin.remote, %end, "closing the connection");
        }
    }

    fn count_tls(&mut self, connection: shards::ConnectionId, error: &TlsError) {
        let refused = matches!(error, TlsError::ClientCertificate(_));
        self.metrics.tls_client_certs_refused.add(u64::from(refused));
        let is_handshaking =
            self.wrapped.find(connection).is_some_and(|wrapped| wrapped.transport.has_costly_step());
        match refused || is_handshaking {
            true => self.metrics.tls_handshake_errors.inc(),
            false => self.metrics.errors_tls.inc(),
        }
    }

    /// Nothing more can be received of a connection: closes it, once the broker has taken what came before and if the connection is
    /// not about to leave.
    fn end(&mut self, io: &mut Io<'_, Self>, connection: shards::ConnectionId) {
        let is_due = |state: &mut super::wrapped::Wrapped| {
            state.is_ended && !state.is_paused && state.waiting.is_none()
        };
        if self.wrapped.find(connection).is_some_and(is_due) {
            self.input(io, Input::Closed { connection: ours(connection) });
            self.wrapped.say_farewell(connection, io);
            io.close(connection, shards::Close::Flush);
        }
    }

    /// Ends the connections that the broker has caught up with, and sends what is staged.
    fn finish_wrapped(&mut self, io: &mut Io<'_, Self>) {
        for connection in std::mem::take(&mut self.wrapped.ended) {
            self.end(io, connection);
        }
        self.wrapped.flush(io);
    }
}

impl shards::Application for Application {
    type Message = ServerMessage;
    type HandOver = HandOver;

    fn accepted(&mut self, io: &mut Io<'_, Self>, connection: shards::ConnectionId, accepted: Accepted) {
        self.wrapped.accepted(connection, accepted.listener);
        self.input(io, Input::Accepted { connection: ours(connection), origin: origin(accepted) });
    }

    fn received(&mut self, io: &mut Io<'_, Self>, connection: shards::ConnectionId, bytes: &[u8]) {
        if let Some(wrapped) = self.wrapped.find(connection) {
            return match wrapped.transport.has_costly_step() {
                true => self.received_handshake(io, connection, bytes),
                false => self.received_wrapped(io, connection, bytes),
            };
        }
        self.input(io, Input::Received { connection: ours(connection), bytes });
    }

    fn peer_finished(&mut self, io: &mut Io<'_, Self>, connection: shards::ConnectionId) {
        // What a client sent through layers may be in them.
        if self.wrapped.find(connection).is_none() {
            self.input(io, Input::PeerFinished { connection: ours(connection) });
        }
    }

    fn drained(&mut self, io: &mut Io<'_, Self>, connection: shards::ConnectionId) {
        if !hand_over::drained(&mut self.wrapped, io, connection) {
            self.input(io, Input::Drained { connection: ours(connection) });
        }
    }

    fn closed(&mut self, io: &mut Io<'_, Self>, connection: shards::ConnectionId, cause: Closed) {
        tracing::trace!(index = connection.index(), ?cause, "connection closed");
        self.wrapped.remove(connection);
        self.input(io, Input::Closed { connection: ours(connection) });
    }

    fn handed_over(
        &mut self,
        io: &mut Io<'_, Self>,
        connection: shards::ConnectionId,
        accepted: Accepted,
        hand_over: HandOver,
    ) {
        let HandOver { broker: hand_over, layers } = hand_over;
        // The accepting shard may have learned a better address than the socket's.
        let origin = Origin { remote: hand_over.origin.remote, ..origin(accepted) };
        if let Some(layers) = layers {
            let (transport, is_ended) = *layers;
            self.wrapped.adopt(connection, transport, is_ended);
        }
        self.input(io, Input::HandedOver { connection: ours(connection), origin, hand_over });
        self.end(io, connection);
    }

    fn hand_over_failed(
        &mut self,
        io: &mut Io<'_, Self>,
        connection: shards::ConnectionId,
        hand_over: HandOver,
    ) {
        let HandOver { broker: hand_over, layers } = hand_over;
        if let Some(layers) = layers {
            let (transport, is_ended) = *layers;
            self.wrapped.adopt(connection, transport, is_ended);
            io.resume(connection);
        }
        self.input(io, Input::HandOverFailed { connection: ours(connection), hand_over });
        self.end(io, connection);
    }

    fn message(&mut self, io: &mut Io<'_, Self>, from: Option<shards::ShardId>, message: ServerMessage) {
        match (message, from) {
            (ServerMessage::Broker(message), Some(from)) => {
                self.input(io, Input::Message { from: ShardId(from.0), message });
            }
            (ServerMessage::Broker(_), None) => {}
            (ServerMessage::Authorized { connection, key, answer }, _) => {
                self.input(io, Input::Authorized { connection, key, answer });
            }
            (ServerMessage::Policy(policy), _) => self.input(io, Input::Policy(policy)),
            (ServerMessage::Reload(config, layers, gate), _) => {
                self.wrapped.set_listeners(layers);
                self.door.gate = gate;
                self.input(io, Input::Reload(config));
            }
            (ServerMessage::Certificates(acceptors), _) => self.wrapped.set_acceptors(&acceptors),
            (ServerMessage::Authenticated { connection, verdict, generation, computed }, _) => {
                self.metrics.auth_computed.add(u64::from(computed));
                // What was said before a reload may be what the reload was for.
                let verdict = (generation >= self.door.gate.generation()).then_some(verdict);
                self.input(io, Input::Authenticated { connection, verdict });
            }
            (ServerMessage::Stored(ticket), _) => self.input(io, Input::Stored(ticket)),
            (ServerMessage::Written(ticket), _) => self.input(io, Input::Written(ticket)),
            (ServerMessage::Generation(generation), _) => self.input(io, Input::Generation(generation)),
            (ServerMessage::Fence(generation), _) => self.input(io, Input::Fence(generation)),
            (ServerMessage::StorageDown, _) => self.input(io, Input::StorageDown),
            (ServerMessage::Condition(condition, message), _) => {
                self.input(io, Input::Condition(condition, message));
            }
            (ServerMessage::Admin(asked), _) => {
                let (question, answer) = asked.take();
                answer(self.inspect(io, question));
            }
            (ServerMessage::Drain, _) => self.input(io, Input::Drain),
        }
    }

    fn credits_available(&mut self, io: &mut Io<'_, Self>) {
        self.input(io, Input::CreditsAvailable);
    }

    fn timer(&mut self, io: &mut Io<'_, Self>, key: u64) {
        if hand_over::timer(&mut self.wrapped, io, key) {
            return;
        }
        if let Some(timer) = Timer::from_bits(key) {
            self.input(io, Input::Timer(timer));
        }
    }

    fn turn_end(&mut self, io: &mut Io<'_, Self>) -> bool {
        let has_handshakes = self.finish_handshakes(io);
        self.input(io, Input::TurnEnd);
        if !self.wrapped.is_idle() {
            self.finish_wrapped(io);
        }
        self.metrics.connections_refused_access.set(io.filtered() + self.refused);
        self.metrics.cpu_us.set(io.thread_cpu_us());
        self.metrics.mailbox_depth.set(io.mailbox_depth());
        self.metrics.slow_turns.set(io.slow_turns());
        if self.broker.is_drained() && !self.is_exiting {
            self.is_exiting = true;
            io.exit();
        }
        self.broker.has_work() || has_handshakes || !self.wrapped.ended.is_empty()
    }
}

/// The machine, as the broker's effects see it.
struct Machine<'a, 'b> {
    io: &'a mut Io<'b, Application>,
    wrapped: &'a mut WrappedConnections,
    door: &'a Door,
    metrics: &'a Metrics,
    journal: Option<&'a StorageHandle>,
    traces: &'a TraceWriter,
    epoch_ms: u64,
}

impl Machine<'_, '_> {
    fn moment(&self) -> Moment {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Moment {
            at: Timestamp(self.epoch_ms + self.io.now_ms()),
            unix_s: since.map_or(0, |since| since.as_secs()),
        }
    }
}

impl Effects for Machine<'_, '_> {
    #[inline]
    fn output(&mut self, connection: ConnectionId) -> &mut Vec<u8> {
        let connection = theirs(connection);
        if self.wrapped.find(connection).is_some() {
            return self.wrapped.staged(connection, self.io);
        }
        self.io.output(connection)
    }

    fn output_shared(&mut self, connection: ConnectionId, bytes: Bytes) {
        let connection = theirs(connection);
        if self.wrapped.find(connection).is_some() {
            // Layers change every byte or frame it: nothing is left to share.
            return self.wrapped.staged(connection, self.io).extend_from_slice(&bytes);
        }
        self.io.output_shared(connection, bytes);
    }

    #[inline]
    fn outbound_len(&mut self, connection: ConnectionId) -> usize {
        let connection = theirs(connection);
        self.io.outbound_len(connection) + self.wrapped.staged_len(connection)
    }

    fn want_drained(&mut self, connection: ConnectionId) {
        self.wrapped.flush_one(theirs(connection), self.io);
        // False where nothing is queued: the broker asks only when much is.
        let _ = self.io.want_drained(theirs(connection));
    }

    fn pause(&mut self, connection: ConnectionId) {
        if let Some(wrapped) = self.wrapped.find(theirs(connection)) {
            wrapped.is_paused = true;
        }
        self.io.pause(theirs(connection));
    }

    fn resume(&mut self, connection: ConnectionId) {
        if let Some(wrapped) = self.wrapped.find(theirs(connection)) {
            wrapped.is_paused = false;
            if wrapped.is_ended {
                self.wrapped.ended.push(theirs(connection));
            }
        }
        self.io.resume(theirs(connection));
    }

    fn close(&mut self, connection: ConnectionId, how: Close) {
        let connection = theirs(connection);
        let how = match how {
            Close::Flush => {
                self.wrapped.say_farewell(connection, self.io);
                shards::Close::Flush
            }
            Close::Abort => {
                self.wrapped.remove(connection);
                shards::Close::Abort
            }
        };
        self.io.close(connection, how);
    }

    fn hand_over(&mut self, connection: ConnectionId, to: ShardId, hand_over: broker::HandOver) {
        hand_over::send(self.wrapped, self.io, theirs(connection), shards::ShardId(to.0), hand_over);
    }

    fn reserve(&mut self, to: ShardId) -> bool {
        self.io.reserve(shards::ShardId(to.0))
    }

    fn unreserve(&mut self, to: ShardId) {
        self.io.unreserve(shards::ShardId(to.0));
    }

    fn send(&mut self, to: ShardId, message: ShardMessage) {
        self.io.send(shards::ShardId(to.0), ServerMessage::Broker(message));
    }

    fn send_control(&mut self, to: ShardId, message: ShardMessage) {
        self.io.send_control(shards::ShardId(to.0), ServerMessage::Broker(message));
    }

    fn release(&mut self, from: ShardId, n: u32) {
        self.io.release(shards::ShardId(from.0), n);
    }

    fn set_timer(&mut self, timer: Timer, at: Timestamp) {
        self.io.set_timer(timer.to_bits(), at.0.saturating_sub(self.epoch_ms));
    }

    fn store(&mut self, ticket: u64, frame: Vec<u8>, is_awaited: bool) {
        if let Some(journal) = self.journal {
            journal.store(self.io.shard().0, ticket, frame, is_awaited);
        }
    }

    fn imaged(&mut self, generation: u32) {
        if let Some(journal) = self.journal {
            journal.imaged(self.io.shard().0, u64::from(generation));
        }
    }

    fn fenced(&mut self, generation: u32) {
        if let Some(journal) = self.journal {
            journal.fenced(self.io.shard().0, u64::from(generation));
        }
    }

    fn authorize(&mut self, connection: ConnectionId, question: AclQuestion) -> bool {
        let to = (ShardId(self.io.shard().0), connection);
        self.door.asker.push(to, question)
    }

    fn give_memory_back(&mut self, all: bool) {
        shards::allocator::give_memory_back(all);
    }

    fn authenticate(&mut self, connection: ConnectionId, client: &Credentials<'_>) -> Answer {
        let to = (ShardId(self.io.shard().0), connection);
        self.door.gate.ask(client, self.moment(), to, &self.door.pool, self.metrics)
    }

    fn exchange(&mut self, client: &Credentials<'_>, step: ExchangeStep<'_>) -> Step {
        self.door.gate.exchange(client, step)
    }

    fn now_us(&mut self) -> u64 {
        self.io.now_us()
    }

    fn unix_ms(&mut self) -> Option<u64> {
        SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|since| since.as_millis() as u64)
    }

    fn trace(&mut self, event: TraceEvent) {
        if !self.traces.write(event) {
            self.metrics.trace_left_out.inc();
        }
    }

    fn stop_accepting(&mut self) {
        self.io.stop_accepting();
    }
}
