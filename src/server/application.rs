//! One shard's broker between the rings and the mailboxes: translates what happened into inputs and effects into
//! what `shards` offers. No decision is made here.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use shards::{Accepted, Closed, Io};

use super::auth_gate::Gate;
use super::auth_pool::Pool;
use crate::acl::Policy;
use crate::auth::{Answer, Credentials, ExchangeStep, Moment, Step, Verdict};
use crate::broker::{
    Broker, BrokerSetup, Close, Effects, HandOver, Input, Origin, ShardMessage, Shared, Timer,
};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::interest::ShardId;
use crate::metrics::Metrics;
use crate::session::ConnectionId;

/// What shards and the main thread say to a shard.
#[derive(Debug)]
pub(super) enum ServerMessage {
    /// Another shard's broker to this one's.
    Broker(ShardMessage),
    /// SIGHUP.
    Reload(Arc<Config>, Arc<Gate>),
    /// SIGHUP: the rules of the ACL.
    Policy(Arc<Policy>),
    /// The verdict about a client of this shard.
    Authenticated {
        /// Which.
        connection: ConnectionId,
        /// What.
        verdict: Verdict,
        /// Hashes, signatures and requests that it took.
        computed: u32,
    },
    /// SIGTERM.
    Drain,
}

/// A shard's broker.
#[derive(Debug)]
pub(super) struct Application {
    broker: Broker,
    door: Door,
    metrics: Arc<Metrics>,
    is_exiting: bool,
}

/// What a shard needs to ask who a client is.
#[derive(Debug, Clone)]
pub(super) struct Door {
    /// Who knows.
    pub(super) gate: Arc<Gate>,
    /// Who does the work.
    pub(super) pool: Arc<Pool>,
}

impl Application {
    /// Made on the shard's own thread.
    pub(super) fn new(
        shard: shards::ShardId,
        config: Arc<Config>,
        shared: Arc<Shared>,
        door: Door,
        policy: &Arc<Policy>,
        io: &mut Io<'_, Self>,
    ) -> Self {
        let metrics = shared.metrics.get(usize::from(shard.0)).cloned().unwrap_or_default();
        let mut broker = Broker::new(BrokerSetup { shard: ShardId(shard.0), config, shared });
        let now = Timestamp(io.now_ms());
        let mut machine = Machine { io, door: &door, metrics: &metrics };
        broker.handle(now, Input::Policy(Arc::clone(policy)), &mut machine);
        broker.start(now, &mut machine);
        Self { broker, door, metrics, is_exiting: false }
    }

    #[inline]
    fn input(&mut self, io: &mut Io<'_, Self>, input: Input<'_>) {
        let now = Timestamp(io.now_ms());
        self.broker.handle(now, input, &mut Machine { io, door: &self.door, metrics: &self.metrics });
    }
}

impl shards::Application for Application {
    type Message = ServerMessage;
    type HandOver = HandOver;

    fn accepted(&mut self, io: &mut Io<'_, Self>, connection: shards::ConnectionId, accepted: Accepted) {
        self.input(io, Input::Accepted { connection: ours(connection), origin: origin(accepted) });
    }

    fn received(&mut self, io: &mut Io<'_, Self>, connection: shards::ConnectionId, bytes: &[u8]) {
        self.input(io, Input::Received { connection: ours(connection), bytes });
    }

    fn drained(&mut self, io: &mut Io<'_, Self>, connection: shards::ConnectionId) {
        self.input(io, Input::Drained { connection: ours(connection) });
    }

    fn closed(&mut self, io: &mut Io<'_, Self>, connection: shards::ConnectionId, cause: Closed) {
        tracing::trace!(index = connection.index(), ?cause, "connection closed");
        self.input(io, Input::Closed { connection: ours(connection) });
    }

    fn handed_over(
        &mut self,
        io: &mut Io<'_, Self>,
        connection: shards::ConnectionId,
        accepted: Accepted,
        hand_over: HandOver,
    ) {
        let connection = ours(connection);
        self.input(io, Input::HandedOver { connection, origin: origin(accepted), hand_over });
    }

    fn hand_over_failed(
        &mut self,
        io: &mut Io<'_, Self>,
        connection: shards::ConnectionId,
        hand_over: HandOver,
    ) {
        self.input(io, Input::HandOverFailed { connection: ours(connection), hand_over });
    }

    fn message(&mut self, io: &mut Io<'_, Self>, from: Option<shards::ShardId>, message: ServerMessage) {
        match (message, from) {
            (ServerMessage::Broker(message), Some(from)) => {
                self.input(io, Input::Message { from: ShardId(from.0), message });
            }
            (ServerMessage::Broker(_), None) => {}
            (ServerMessage::Policy(policy), _) => self.input(io, Input::Policy(policy)),
            (ServerMessage::Reload(config, gate), _) => {
                self.door.gate = gate;
                self.input(io, Input::Reload(config));
            }
            (ServerMessage::Authenticated { connection, verdict, computed }, _) => {
                self.metrics.auth_computed.add(u64::from(computed));
                self.input(io, Input::Authenticated { connection, verdict });
            }
            (ServerMessage::Drain, _) => self.input(io, Input::Drain),
        }
    }

    fn credits_available(&mut self, io: &mut Io<'_, Self>) {
        self.input(io, Input::CreditsAvailable);
    }

    fn timer(&mut self, io: &mut Io<'_, Self>, key: u64) {
        if let Some(timer) = Timer::from_bits(key) {
            self.input(io, Input::Timer(timer));
        }
    }

    fn turn_end(&mut self, io: &mut Io<'_, Self>) -> bool {
        self.input(io, Input::TurnEnd);
        self.metrics.cpu_us.set(io.thread_cpu_us());
        self.metrics.mailbox_depth.set(io.mailbox_depth());
        self.metrics.slow_turns.set(io.slow_turns());
        if self.broker.is_drained() && !self.is_exiting {
            self.is_exiting = true;
            io.exit();
        }
        self.broker.has_work()
    }
}

/// The machine, as the broker's effects see it.
struct Machine<'a, 'b> {
    io: &'a mut Io<'b, Application>,
    door: &'a Door,
    metrics: &'a Metrics,
}

impl Machine<'_, '_> {
    fn moment(&self) -> Moment {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Moment { at: Timestamp(self.io.now_ms()), unix_s: since.map_or(0, |since| since.as_secs()) }
    }
}

impl Effects for Machine<'_, '_> {
    #[inline]
    fn output(&mut self, connection: ConnectionId) -> &mut Vec<u8> {
        self.io.output(theirs(connection))
    }

    fn output_shared(&mut self, connection: ConnectionId, bytes: Bytes) {
        self.io.output_shared(theirs(connection), bytes);
    }

    #[inline]
    fn outbound_len(&mut self, connection: ConnectionId) -> usize {
        self.io.outbound_len(theirs(connection))
    }

    fn want_drained(&mut self, connection: ConnectionId) {
        // False where nothing is queued: the broker asks only when much is.
        let _ = self.io.want_drained(theirs(connection));
    }

    fn pause(&mut self, connection: ConnectionId) {
        self.io.pause(theirs(connection));
    }

    fn resume(&mut self, connection: ConnectionId) {
        self.io.resume(theirs(connection));
    }

    fn close(&mut self, connection: ConnectionId, how: Close) {
        let how = match how {
            Close::Flush => shards::Close::Flush,
            Close::Abort => shards::Close::Abort,
        };
        self.io.close(theirs(connection), how);
    }

    fn hand_over(&mut self, connection: ConnectionId, to: ShardId, hand_over: HandOver) {
        self.io.hand_over(theirs(connection), shards::ShardId(to.0), hand_over);
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
        self.io.set_timer(timer.to_bits(), at.0);
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

    fn stop_accepting(&mut self) {
        self.io.stop_accepting();
    }
}

#[inline]
fn ours(connection: shards::ConnectionId) -> ConnectionId {
    ConnectionId { index: connection.index(), generation: connection.generation() }
}

#[inline]
fn theirs(connection: ConnectionId) -> shards::ConnectionId {
    shards::ConnectionId::from_bits(u64::from(connection.generation) << 32 | u64::from(connection.index))
}

fn origin(accepted: Accepted) -> Origin {
    Origin { listener: accepted.listener, remote: accepted.remote, over_capacity: accepted.over_capacity }
}
