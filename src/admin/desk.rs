//! What is behind the doors: how a shard is asked, how the main thread is told to do something, and what all routes look into.
//! Questions under way are bounded, and each has an answer or an end.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

use super::admission::Admission;
use super::history::History;
use super::modules::{ModuleState, StoredFile};
use super::operators::OperatorsError;
use super::traces::TraceDesk;
use crate::acl::Policy;
use crate::bridge::Bridges;
use crate::broker::{Answer, Question, Shared};
use crate::clock::Timestamp;
use crate::config::{Arguments, Config, ListenerUrl};
use crate::interest::ShardId;
use crate::storage::thread::StorageHandle;
use crate::webhook::Webhooks;

/// Questions that one shard has not yet answered, of all requests together: it may answer all of them in one turn.
const QUESTIONS_MAX: usize = 8;
/// How long a shard has to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a healthy shard takes at most.
const HEALTHY: Duration = Duration::from_secs(1);
/// How long the outcome of asking for that is good.
const PULSE_FOR: Duration = Duration::from_millis(200);

/// How a question gets to a shard: `server` knows the mailboxes.
pub trait ShardLine: Send + Sync {
    /// How many shards there are.
    fn shards(&self) -> u16;
    /// Hands it over. `false`: that shard does not exist or has ended.
    fn ask(&self, to: ShardId, asked: Box<Asked>) -> bool;
}

/// A question on its way to a shard, with the way back.
#[derive(Debug)]
pub struct Asked {
    /// What is asked.
    pub question: Question,
    reply: oneshot::Sender<Answer>,
    /// Given back when the shard has answered, not when whoever asked has lost patience: what waits in mailboxes is bounded.
    /// `None`: whoever asks sees to that.
    _place: Option<OwnedSemaphorePermit>,
}

impl Asked {
    /// The question, and what takes the answer.
    pub fn take(self) -> (Question, impl FnOnce(Answer)) {
        let Self { question, reply, _place } = self;
        let answer = move |answer| {
            // Whoever asked may have gone.
            let _ = reply.send(answer);
            drop(_place);
        };
        (question, answer)
    }
}

/// What there is to know and to do about listeners: `server` has them.
pub trait Listeners: Send + Sync {
    /// The URL of each as it is bound, in the order of the configuration.
    fn bound(&self) -> &[ListenerUrl];
    /// Connections of one now.
    fn connections(&self, listener: usize) -> u32;
    /// Whether an operator stopped it.
    fn is_stopped(&self, listener: usize) -> bool;
    /// Stops it or lets it go on. `false`: there is no such listener.
    fn stop(&self, listener: usize, is_stopped: bool) -> bool;
}

/// What the main thread is asked to do.
#[derive(Debug)]
pub enum Order {
    /// To read the configuration again, as SIGHUP does; then it answers with what came of it, or with why nothing did.
    Reload(oneshot::Sender<Result<Reloaded, String>>),
    /// To read `acl.file` again; then it answers with why the old rules stay, if they do.
    ReloadAcl(oneshot::Sender<Result<(), String>>),
}

/// What a reload came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Keys that changed.
    pub changed: Vec<String>,
    /// Keys that differ and wait for a restart.
    pub needs_restart: Vec<String>,
}

/// Why a shard gave no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// Too many questions wait for its answers.
    #[error("{QUESTIONS_MAX} questions wait for shard {} already; try again in a moment", .0.0)]
    Busy(ShardId),
    /// It did not answer in time.
    #[error("shard {} does not answer; it is overloaded or stuck, `slow_turns` of /api/v1/shards tells", .0.0)]
    Silent(ShardId),
    /// It has ended.
    #[error("shard {} has ended: the broker shuts down", .0.0)]
    Gone(ShardId),
}

/// What a desk is made of.
pub struct DeskParts {
    /// To the shards.
    pub line: Box<dyn ShardLine>,
    /// To the main thread; `false`: it has ended.
    pub orders: Box<dyn Fn(Order) -> bool + Send + Sync>,
    /// What all shards see.
    pub shared: Arc<Shared>,
    /// `None`: nothing is stored.
    pub storage: Option<StorageHandle>,
    /// Where clients come in.
    pub listeners: Box<dyn Listeners>,
    /// Who may do what.
    pub policy: Arc<Policy>,
    /// The configuration in effect.
    pub config: Arc<Config>,
    /// Of the command line, which lies over every configuration that is read.
    pub arguments: Arguments,
    /// What is traced.
    pub traces: TraceDesk,
    /// What the shards' clocks count from.
    pub started: std::time::Instant,
    /// The stored automatic subscriptions, which the shards have too.
    pub stored: StoredFile,
    /// To other brokers.
    pub bridges: Arc<Bridges>,
    /// To HTTP servers.
    pub webhooks: Arc<Webhooks>,
}

/// What came of asking all shards whether they are there.
#[derive(Debug, Clone, Copy)]
struct Pulse {
    felt: Instant,
    outcome: Result<(), Unavailable>,
}

/// What operators may ask about.
pub struct Desk {
    pub(super) shared: Arc<Shared>,
    pub(super) storage: Option<StorageHandle>,
    pub(super) arguments: Arguments,
    pub(super) listeners: Box<dyn Listeners>,
    pub(super) admission: Arc<Admission>,
    pub(super) history: History,
    pub(super) traces: TraceDesk,
    pub(super) modules: ModuleState,
    pub(super) bridges: Arc<Bridges>,
    pub(super) webhooks: Arc<Webhooks>,
    /// One backup at a time.
    pub(super) backup_turn: Arc<Semaphore>,
    pulse: Mutex<Option<Pulse>>,
    line: Box<dyn ShardLine>,
    orders: Box<dyn Fn(Order) -> bool + Send + Sync>,
    config: RwLock<Arc<Config>>,
    policy: RwLock<Arc<Policy>>,
    is_draining: AtomicBool,
    started: std::time::Instant,
    /// Of each shard.
    places: Vec<Arc<Semaphore>>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("shards", &self.shards()).finish_non_exhaustive()
    }
}

impl Desk {
    /// A desk of these parts.
    pub fn new(parts: DeskParts) -> Arc<Self> {
        let DeskParts {
            line,
            orders,
            shared,
            storage,
            listeners,
            policy,
            config,
            arguments,
            traces,
            stored,
            started,
            bridges,
            webhooks,
        } = parts;
        let users = match &config.admin.users_file {
            file if file.as_os_str().is_empty() => config.node.data_dir.join("admin.users"),
            file => file.clone(),
        };
        let places = (0..line.shards()).map(|_| Arc::new(Semaphore::new(QUESTIONS_MAX))).collect();
        Arc::new(Self {
            shared,
            storage,
            arguments,
            listeners,
            admission: Arc::new(Admission::new(users)),
            history: History::default(),
            traces,
            modules: ModuleState::new(stored),
            bridges,
            webhooks,
            line,
            orders,
            config: RwLock::new(config),
            policy: RwLock::new(policy),
            is_draining: AtomicBool::new(false),
            backup_turn: Arc::new(Semaphore::new(1)),
            pulse: Mutex::default(),
            started,
            places,
        })
    }

    /// How many shards there are.
    pub fn shards(&self) -> u16 {
        self.line.shards()
    }

    /// Asks a shard and waits for its answer, five seconds at most.
    ///
    /// # Errors
    /// There is none.
    pub async fn ask(&self, shard: ShardId, question: Question) -> Result<Answer, Unavailable> {
        self.ask_within(shard, question, PATIENCE).await
    }

    /// The same with another limit.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn ask_within(
        &self,
        shard: ShardId,
        question: Question,
        patience: Duration,
    ) -> Result<Answer, Unavailable> {
        let deadline = Instant::now() + patience;
        let answer = self.send(shard, question, deadline).await?;
        match tokio::time::timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(Unavailable::Gone(shard)),
            Err(_) => Err(Unavailable::Silent(shard)),
        }
    }

    /// Whether a shard is there, without a place among the questions of operators: they can't keep the one out who has to know.
    /// He asks again only when he has the answer to what he asked before.
    ///
    /// # Errors
    /// There will be no answer.
    pub fn ping(&self, shard: ShardId) -> Result<oneshot::Receiver<Answer>, Unavailable> {
        self.hand_over(shard, Question::Ping, None)
    }

    /// Sends a question as soon as there is a place; what comes back resolves to the answer.
    async fn send(
        &self,
        shard: ShardId,
        question: Question,
        deadline: Instant,
    ) -> Result<oneshot::Receiver<Answer>, Unavailable> {
        let places = self.places.get(usize::from(shard.0)).ok_or(Unavailable::Gone(shard))?;
        let place = tokio::time::timeout_at(deadline, Arc::clone(places).acquire_owned()).await;
        // Nobody closes it.
        let place = place.map_err(|_| Unavailable::Busy(shard))?.map_err(|_| Unavailable::Gone(shard))?;
        self.hand_over(shard, question, Some(place))
    }

    fn hand_over(
        &self,
        shard: ShardId,
        question: Question,
        place: Option<OwnedSemaphorePermit>,
    ) -> Result<oneshot::Receiver<Answer>, Unavailable> {
        let (reply, answer) = oneshot::channel();
        match self.line.ask(shard, Box::new(Asked { question, reply, _place: place })) {
            true => Ok(answer),
            false => Err(Unavailable::Gone(shard)),
        }
    }

    /// The same question to every shard at once; the answers in the order of the shards.
    ///
    /// # Errors
    /// One of them does not answer within `patience`.
    pub async fn ask_all(
        &self,
        question: impl Fn() -> Question,
        patience: Duration,
    ) -> Result<Vec<Answer>, Unavailable> {
        let deadline = Instant::now() + patience;
        let mut pending = Vec::new();
        for shard in (0..self.shards()).map(ShardId) {
            pending.push((shard, self.send(shard, question(), deadline).await?));
        }
        let mut answers = Vec::new();
        for (shard, answer) in pending {
            match tokio::time::timeout_at(deadline, answer).await {
                Ok(Ok(answer)) => answers.push(answer),
                Ok(Err(_)) => return Err(Unavailable::Gone(shard)),
                Err(_) => return Err(Unavailable::Silent(shard)),
            }
        }
        Ok(answers)
    }

    /// Whether every shard answers within a second. Anyone may ask that as often as he likes: there is one round at a time, and
    /// its outcome is good for a while.
    ///
    /// # Errors
    /// One of them does not.
    pub async fn pulse(&self) -> Result<(), Unavailable> {
        let mut last = self.pulse.lock().await;
        if let Some(last) = last.as_ref().filter(|last| last.felt.elapsed() < PULSE_FOR) {
            return last.outcome;
        }
        let outcome = self.ask_all(|| Question::Ping, HEALTHY).await.map(drop);
        *last = Some(Pulse { felt: Instant::now(), outcome });
        outcome
    }

    /// Has the main thread read the configuration again, as SIGHUP does.
    ///
    /// # Errors
    /// Why the old one stays in effect.
    pub async fn reload(&self) -> Result<Reloaded, String> {
        let (reply, outcome) = oneshot::channel();
        let is_gone = || "the broker shuts down".to_owned();
        if !(self.orders)(Order::Reload(reply)) {
            return Err(is_gone());
        }
        outcome.await.map_err(|_| is_gone())?
    }

    /// Has the main thread read `acl.file` again.
    ///
    /// # Errors
    /// Why the old rules stay in effect.
    pub async fn reload_acl(&self) -> Result<(), String> {
        let (reply, outcome) = oneshot::channel();
        let is_gone = || "the broker shuts down".to_owned();
        if !(self.orders)(Order::ReloadAcl(reply)) {
            return Err(is_gone());
        }
        outcome.await.map_err(|_| is_gone())?
    }

    /// Makes the first operator if there is none; his password, which is nowhere else.
    ///
    /// # Errors
    /// The file of operators can't be used.
    pub fn make_first_operator(&self) -> Result<Option<String>, OperatorsError> {
        self.admission.operators.make_first()
    }

    /// The file of operators.
    pub fn operators_file(&self) -> &Path {
        self.admission.operators.file()
    }

    /// Who may do what.
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Other rules are in effect.
    pub fn set_policy(&self, policy: Arc<Policy>) {
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = policy;
    }

    /// The configuration in effect.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Another configuration is in effect.
    pub fn set_config(&self, config: Arc<Config>) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// The broker sends its clients away and ends.
    pub fn set_draining(&self) {
        self.is_draining.store(true, Relaxed);
    }

    /// Whether it does, or an operator has it send them away.
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Relaxed) || self.modules.drain().is_some()
    }

    /// The shards' time.
    pub fn now(&self) -> Timestamp {
        self.shared.origins.now + self.started.elapsed()
    }

    /// Milliseconds of Unix time, as the shards have it.
    pub fn unix_ms(&self) -> u64 {
        self.shared.started_unix_ms.saturating_add(self.now().0)
    }

    /// How long the process runs.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}
