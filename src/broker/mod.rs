//! One `Broker` a shard: sessions, connections, routing, acknowledgements. A function of its inputs: no socket,
//! clock, thread or random source. `handle` takes what happened and performs effects; one file a concern.
//!
//! Order of calls: any inputs of a turn, then `Input::TurnEnd`; if `has_work` says so, the next turn comes
//! without waiting for anything.

mod acks;
mod arrival;
mod ask;
mod audit;
mod authenticate;
mod authorize;
mod clients;
mod commits;
mod connect;
mod cursors;
mod deliver;
mod disconnect;
mod durable;
mod effects;
mod fan_out;
mod images;
pub mod inspect;
mod journal;
mod memory;
mod message;
mod modules;
mod mount;
mod observe;
mod operations;
mod publication;
mod publish;
mod quota;
mod rates;
mod receive;
mod restore;
mod retained;
mod returns;
mod route;
mod shared;
mod subscribe;
mod sys;
mod timers;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

pub use ask::AclQuestion;
pub use effects::{Close, Effects, Input, Origin, Timer};
pub use inspect::{Answer, ObserveAnswer, ObserveQuestion, Question};
pub use journal::Reach;
pub use message::{CursorToken, HandOver, OperationId, SessionToken, ShardMessage, SharedDelivery};
pub use modules::{
    DelayedCounts, DelayedPage, DelayedShown, DrainOrder, HookEvent, HookKind, ModuleAnswer, ModuleOrder,
    StoredSubscription, StoredSubscriptions, StoredSubscriptionsError,
};
pub use mount::{client_id_of, session_name};
pub use observe::{
    Alarm, Condition, LongQueues, SlowClient, TRACES_MAX, TopicMetric, TraceEvent, TraceSpec, TraceTarget,
};
pub use restore::{RestoredShard, distribute};

use arrival::FLAPPING_MAX;
use audit::Sampling;
use authenticate::Handshake;
use clients::Clients;
use commits::CommitOrder;
use cursors::SessionCursors;
use disconnect::End;
use fan_out::{FanOut, Waiting};
use hashbrown::HashMap;
use inspect::Receipts;
use memory::MemoryWatch;
use modules::Modules;
use observe::Observe;
use operations::Operation;
use route::RelayKey;
use shared::{Groups, Memberships};

use crate::acl::Policy;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::interest::{InterestTable, LocalInterest, Placement, ShardId};
use crate::limits::{Bans, Gate, Occurrences, Pressure, Tally, Usage, Users};
use crate::metrics::{Latency, Metrics, Totals};
use crate::packet::ReasonCode;
use crate::retained::RetainedStore;
use crate::router::{FilterId, Merge, Router};
use crate::session::{ConnectionId, Message, SessionSerial, Will};
use crate::slab::ChunkedSlab;

/// What all shards of a node see.
#[derive(Debug)]
pub struct Shared {
    /// Which shards may want a topic.
    pub interest: Arc<InterestTable>,
    /// Which shards may hold the retained message of a topic, so that a SUBSCRIBE to a topic that has none asks nobody.
    pub retained_marks: Arc<InterestTable>,
    /// Which shard is whose home.
    pub placement: Placement,
    /// Numbers of every shard.
    pub metrics: Vec<Arc<Metrics>>,
    /// How long messages take, by the shard that delivers them.
    pub latency: Vec<Arc<Latency>>,
    /// Retained messages of all slices: the limit is the node's.
    pub retained_count: AtomicU32,
    /// Delayed messages of all shards: the limits are the node's.
    pub delayed: DelayedCounts,
    /// Connections of each address, where there is a limit.
    pub addresses: Arc<Tally<IpAddr>>,
    /// Those past the limit, which are there only to be told.
    pub refused_addresses: Arc<Tally<IpAddr>>,
    /// How many connections a second each listener admits.
    pub gates: Vec<Gate>,
    /// Who is kept out.
    pub bans: Bans,
    /// What each user has, where there are quotas.
    pub users: Users,
    /// How near the process is to `limits.memory_max`.
    pub pressure: Arc<Pressure>,
    /// Milliseconds of Unix time at `Timestamp(0)`, for what people read.
    pub started_unix_ms: u64,
    /// What names this node among those whose bridges a message passes; empty: it has no bridges.
    pub bridge_mark: Box<str>,
    /// Where numbers that the journal has go on.
    pub origins: Origins,
    /// Filters in use, of all shards, that begin with `$`: nobody else gets what is below `$SYS`.
    dollar_filters: AtomicU32,
    seed: u64,
}

/// Where the numbers that a journal names things by go on, and the key of its hashes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Origins {
    /// No session has this serial or a higher one.
    pub first_serial: u64,
    /// No message has this number or a higher one.
    pub first_number: u64,
    /// Key of the hashes of User Names.
    pub user_key: u64,
    /// What the clock of the broker begins with.
    pub now: Timestamp,
}

impl Shared {
    /// For a node of `shards` shards. `seed` keys every hash: random in a process, chosen in a simulation.
    pub fn new(config: &Config, shards: u16, seed: u64, started_unix_ms: u64) -> Arc<Self> {
        Self::after(config, shards, seed, started_unix_ms, Origins { user_key: seed, ..Origins::default() })
    }

    /// `new`, where a journal was restored.
    pub fn after(
        config: &Config,
        shards: u16,
        seed: u64,
        started_unix_ms: u64,
        origins: Origins,
    ) -> Arc<Self> {
        Arc::new(Self {
            interest: Arc::new(InterestTable::new(shards, config.limits.subscriptions_expected, seed)),
            retained_marks: Arc::new(InterestTable::new(shards, config.limits.subscriptions_expected, !seed)),
            placement: Placement::new(seed, shards),
            metrics: (0..shards).map(|_| Arc::default()).collect(),
            latency: (0..shards).map(|_| Arc::default()).collect(),
            dollar_filters: AtomicU32::new(0),
            retained_count: AtomicU32::new(0),
            delayed: DelayedCounts::default(),
            addresses: Arc::new(Tally::new(seed)),
            refused_addresses: Arc::new(Tally::new(seed)),
            gates: config.listeners.iter().map(|_| Gate::default()).collect(),
            bans: Bans::new(seed),
            users: Users::default(),
            pressure: Arc::default(),
            started_unix_ms,
            bridge_mark: modules::bridge_mark(config, origins.user_key),
            origins,
            seed,
        })
    }
}

impl Shared {
    /// Whether some filter in use begins with `$`.
    pub fn has_dollar_filters(&self) -> bool {
        self.dollar_filters.load(Relaxed) > 0
    }

    /// A filter came into use on a shard, or went out of it.
    fn count_filter(&self, filter: &str, is_new: bool) {
        if filter.starts_with('$') {
            match is_new {
                true => self.dollar_filters.fetch_add(1, Relaxed),
                false => self.dollar_filters.fetch_sub(1, Relaxed),
            };
        }
    }
}

/// What a broker is made of.
#[derive(Debug, Clone)]
pub struct BrokerSetup {
    /// Which shard it is.
    pub shard: ShardId,
    /// The configuration in effect.
    pub config: Arc<Config>,
    /// What all shards see.
    pub shared: Arc<Shared>,
}

/// The broker of one shard.
#[derive(Debug)]
pub struct Broker {
    shard: ShardId,
    shards: u16,
    shared: Arc<Shared>,
    clients: Clients,
    router: Router,
    interest: LocalInterest,
    retained: RetainedStore<Arc<Message>>,
    retained_marks: LocalInterest,
    retained_swept: Option<Box<str>>,
    groups: Groups,
    memberships: Memberships,
    modules: Modules,
    operations: ChunkedSlab<Operation>,
    commits: CommitOrder,
    /// Messages under way over a retained slice of another shard: how many, by client and topic.
    relaying: HashMap<RelayKey, u32, ahash::RandomState>,
    fan_out: Option<FanOut>,
    waiting: VecDeque<Waiting>,
    /// Of connections that are being authenticated or have a client certificate, by index.
    handshakes: HashMap<u32, Box<Handshake>, ahash::RandomState>,
    /// Within a call: the CONNECT of a connection that has to go home.
    kept_connect: Option<(ConnectionId, Vec<u8>)>,
    stalled: VecDeque<ConnectionId>,
    stalled_to_try: usize,
    cursors: BTreeMap<u32, SessionCursors>,
    ready_cursors: VecDeque<u32>,
    cursor_number: u32,
    draining: Option<u32>,
    /// Who may publish and subscribe to what; its number tells it from those before.
    policy: Arc<Policy>,
    policy_generation: u32,
    /// Of PUBLISHes: nobody need be asked.
    policy_allows_all: bool,
    /// Some listener or client has a byte rate.
    paces_bytes: bool,
    /// Connections of Client Identifiers lately, where those are limited.
    flapping: Occurrences,
    memory: MemoryWatch,
    /// Whose quota a session counts towards.
    usages: HashMap<u32, Arc<Usage>, ahash::RandomState>,
    sampling: Sampling,
    observe: Observe,
    /// Of sessions that had ended before a crash, to be published.
    restored_wills: VecDeque<(SessionSerial, Will)>,
    /// What such sessions left to other members of their Shared Subscriptions.
    restored_returns: VecDeque<SessionSerial>,
    /// For what the connection is closed that ends next.
    failure: Option<ReasonCode>,
    /// What operators changed and the disk or other shards have not confirmed.
    receipts: Receipts,
    /// Of messages that operators published here and other shards, or the rest of a fan-out, do not have yet.
    operators_bytes: usize,
    /// When the `$SYS` tree is published next; a timer set for another moment is void.
    sys_at: Option<Timestamp>,
    random: u64,
    totals: Totals,
    matched: Vec<FilterId>,
    merge: Merge,
    alias_topic: String,
    mounted_topic: String,
    forwarded: Vec<u8>,
}

/// Deliveries of one fan-out in one turn; then other clients have their turn.
const FAN_OUT_BUDGET: usize = 4096;
/// Stalled connections looked at in one turn.
const STALLED_BUDGET: usize = 256;
/// Deferred messages of other shards handled in one turn.
const WAITING_BUDGET: usize = 1024;
/// Connections sent away in one turn while draining.
const DRAIN_BUDGET: usize = 1024;

impl Broker {
    /// An empty broker.
    pub fn new(setup: BrokerSetup) -> Self {
        let BrokerSetup { shard, config, shared } = setup;
        let metrics = shared.metrics.get(usize::from(shard.0)).cloned().unwrap_or_default();
        let seed = shared.seed;
        let paces_bytes = rates::paces_bytes(&config);
        let modules = Modules::new(&config);
        Self {
            shard,
            shards: u16::try_from(shared.metrics.len()).unwrap_or(u16::MAX),
            clients: Clients::new(shard, config, metrics, &shared),
            router: Router::new(seed.rotate_left(17)),
            interest: LocalInterest::new(shard, Arc::clone(&shared.interest)),
            retained: RetainedStore::new(),
            retained_marks: LocalInterest::new(shard, Arc::clone(&shared.retained_marks)),
            retained_swept: None,
            groups: Groups::new(),
            memberships: Memberships::default(),
            modules,
            operations: ChunkedSlab::new(),
            commits: CommitOrder::default(),
            relaying: HashMap::with_hasher(ahash::RandomState::with_seeds(seed, 11, 13, 17)),
            fan_out: None,
            waiting: VecDeque::new(),
            handshakes: HashMap::with_hasher(ahash::RandomState::with_seeds(seed, 19, 23, 29)),
            kept_connect: None,
            stalled: VecDeque::new(),
            stalled_to_try: 0,
            cursors: BTreeMap::new(),
            ready_cursors: VecDeque::new(),
            cursor_number: 0,
            draining: None,
            policy: Arc::default(),
            policy_generation: 0,
            policy_allows_all: true,
            paces_bytes,
            flapping: Occurrences::new(FLAPPING_MAX, ahash::RandomState::with_seeds(seed, 43, 47, 53)),
            memory: MemoryWatch::default(),
            usages: HashMap::default(),
            sampling: Sampling::default(),
            observe: Observe::default(),
            restored_wills: VecDeque::new(),
            restored_returns: VecDeque::new(),
            failure: None,
            receipts: Receipts::default(),
            operators_bytes: 0,
            sys_at: None,
            random: seed ^ (u64::from(shard.0) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            totals: Totals::default(),
            matched: Vec::new(),
            merge: Merge::new(),
            alias_topic: String::new(),
            mounted_topic: String::new(),
            forwarded: Vec::new(),
            shared,
        }
    }

    /// Sets the first timers. Once, before any input.
    pub fn start<E: Effects>(&mut self, now: Timestamp, fx: &mut E) {
        self.start_timers(now, fx);
    }

    /// Takes what happened and performs what follows from it.
    pub fn handle<E: Effects>(&mut self, now: Timestamp, input: Input<'_>, fx: &mut E) {
        match input {
            Input::Received { connection, bytes } => self.received(now, connection, bytes, fx),
            Input::Accepted { connection, origin } => self.accepted(now, connection, origin, fx),
            Input::HandedOver { connection, origin, hand_over } => {
                self.handed_over(now, connection, origin, hand_over, fx);
            }
            Input::HandOverFailed { connection, hand_over } => {
                self.hand_over_failed(now, connection, hand_over, fx);
            }
            Input::Peer { connection, remote } => {
                self.peer_learned(now, connection, remote, fx);
            }
            Input::PeerFinished { connection } => self.peer_finished(now, connection, fx),
            Input::Drained { connection } => self.drained(now, connection, fx),
            Input::Closed { connection } => self.closed(now, connection, fx),
            Input::Certified { connection, certificate } => self.certified(connection, certificate),
            Input::Authenticated { connection, verdict } => self.authenticated(now, connection, verdict, fx),
            Input::Message { from, message } => self.shard_message(now, from, message, fx),
            Input::CreditsAvailable => self.resume_stalled(now, fx),
            Input::Timer(timer) => self.timer(now, timer, fx),
            Input::Reload(config) => self.reload(now, config, fx),
            Input::Policy(policy) => self.change_policy(policy),
            Input::Module(order) => {
                self.module_order(now, order, fx);
            }
            Input::Authorized { connection, key, answer } => {
                self.authorized(now, connection, key, answer, fx);
            }
            Input::Stored(ticket) => self.stored(now, ticket, fx),
            Input::Written(ticket) => self.written(now, ticket, fx),
            Input::Generation(generation) => self.begin_images(generation, fx),
            Input::Fence(generation) => self.clients.journal.fence = Some(generation),
            Input::StorageDown => self.storage_failed(now, fx),
            Input::Condition(condition, message) => self.condition_told(now, condition, message, fx),
            Input::Drain => self.drain(fx),
            Input::TurnEnd => self.turn_end(now, fx),
        }
    }

    /// Whether another turn is wanted at once.
    pub fn has_work(&self) -> bool {
        self.fan_out.is_some()
            || !self.waiting.is_empty()
            || !self.ready_cursors.is_empty()
            || self.stalled_to_try > 0
            || self.has_images_to_write()
            || self.draining.is_some_and(|_| !self.clients.connections.is_empty())
    }

    /// After `Input::Drain`: whether every connection has been sent away.
    pub fn is_drained(&self) -> bool {
        self.draining.is_some() && self.clients.connections.is_empty()
    }

    /// Where a connection of this shard came in.
    pub fn origin(&self, connection: ConnectionId) -> Option<Origin> {
        let connection = self.clients.connections.get(connection)?;
        Some(Origin {
            listener: connection.listener,
            remote: connection.remote.into(),
            over_capacity: connection.refusal.is_some(),
        })
    }

    /// Connections of this shard, those before CONNECT included.
    pub fn connections_len(&self) -> usize {
        self.clients.connections.len()
    }

    /// Sessions of this shard.
    pub fn sessions_len(&self) -> usize {
        self.clients.sessions.len()
    }

    /// Checks what must hold after every input; for the simulator.
    ///
    /// # Errors
    /// Names the invariant that does not hold.
    pub fn check_invariants(&self) -> Result<(), String> {
        self.check_sessions()?;
        self.check_counts()
    }

    fn turn_end<E: Effects>(&mut self, now: Timestamp, fx: &mut E) {
        if self.fan_out.is_some() || !self.waiting.is_empty() {
            self.continue_fan_out(now, fx);
        }
        if self.stalled_to_try > 0 {
            self.continue_stalled(now, fx);
        }
        if !self.ready_cursors.is_empty() {
            self.continue_cursors(now, fx);
        }
        if self.draining.is_some() {
            self.continue_drain(now, fx);
        }
        if self.clients.journal.is_on() {
            self.continue_images(now, fx);
            self.clients.journal.end_turn(now, fx);
        }
        self.record_delays(fx);
    }

    /// A step of xorshift64*: for choices that need no secrecy and must repeat under a seed.
    fn next_random(&mut self) -> u64 {
        let mut x = self.random | 1;
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.random = x;
        x.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn metrics(&self) -> &Metrics {
        &self.clients.metrics
    }

    fn config(&self) -> &Config {
        &self.clients.config
    }

    /// A filter came into use here: its bit is visible before the SUBACK goes out.
    fn announce(&mut self, filter: FilterId) {
        let text = self.router.filter(filter);
        self.interest.add(text, false);
        self.shared.count_filter(text, true);
        self.clients.metrics.topics.inc();
        self.clients.metrics.routes.inc();
    }

    /// A filter went out of use here.
    fn withdraw(&mut self, text: &str) {
        self.interest.remove(text, false);
        self.shared.count_filter(text, false);
        self.clients.metrics.topics.dec();
        self.clients.metrics.routes.dec();
    }
}
