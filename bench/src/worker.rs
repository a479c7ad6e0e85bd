//! One thread of connections: the steps of a run in order, each begun when the coordinator says so.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{anyhow, bail};

use crate::board::{Board, Phase};
use crate::cli::Settings;
use crate::clock::{SECOND_NS, now_ns};
use crate::engine::Engine;
use crate::keep_alive::KeepAlive;
use crate::load::Load;
use crate::publisher::{Pacing, Publisher};
use crate::schedule::Schedule;
use crate::setup::{Setup, io_words};
use crate::stats::{Counters, Latency};
use crate::topology::Scenario;
use crate::wire::{self, PINGREQ, PublishTemplate};

/// Longest wait: after it phases, keep alive and stalls are looked at.
const WAIT: Duration = Duration::from_millis(100);
/// No answer to any CONNECT or SUBSCRIBE for so long ends the run.
const STALL_NS: u64 = 20 * SECOND_NS;
/// A closed loop that got nothing for so long takes what it awaits for lost: at QoS 0, and above.
const WRITE_OFF_NS: [u64; 2] = [SECOND_NS, 5 * SECOND_NS];

/// One thread's part of a run.
#[derive(Debug)]
pub(crate) struct Worker {
    thread: usize,
    settings: Arc<Settings>,
    board: Arc<Board>,
    engine: Engine,
    /// Their numbers in the topology; their connections come first, in this order.
    subscribers: Vec<usize>,
    publishers: Vec<usize>,
    setup: Setup,
    keep_alive: KeepAlive,
}

/// What a thread measured.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// When its last client was connected, and subscribed.
    pub(crate) connected_ns: u64,
    pub(crate) subscribed_ns: u64,
    pub(crate) connect_latency: Latency,
    pub(crate) latency: Latency,
    pub(crate) acknowledge_latency: Latency,
    pub(crate) counters: Counters,
}

impl Worker {
    /// A worker that has not begun.
    pub(crate) fn new(thread: usize, settings: Arc<Settings>, board: Arc<Board>, engine: Engine) -> Self {
        let topology = &settings.topology;
        let mine = |n: usize| (0..n).filter(|m| topology.thread(*m, settings.threads) == thread).collect();
        let subscribers: Vec<usize> = mine(topology.subscribers);
        let publishers: Vec<usize> = mine(topology.publishers);
        let prefix = &settings.client_prefix;
        let identities = subscribers
            .iter()
            .map(|j| format!("{prefix}s{j}"))
            .chain(publishers.iter().map(|k| format!("{prefix}p{k}")))
            .collect();
        let o = &settings.options;
        let credentials = (o.username.clone(), o.password.clone());
        let setup = Setup::new(settings.version, identities, o.keep_alive, credentials, o.qos);
        let keep_alive = KeepAlive::new(now_ns(), o.keep_alive);
        Self { thread, settings, board, engine, subscribers, publishers, setup, keep_alive }
    }

    /// Runs all steps. A failure ends the run for all threads and shows on the board.
    pub(crate) fn run(mut self) -> Option<Outcome> {
        match self.steps() {
            Ok(outcome) => outcome,
            Err(why) => {
                self.board.fail(format!("{why:#}"));
                None
            }
        }
    }

    fn steps(&mut self) -> anyhow::Result<Option<Outcome>> {
        self.connect()?;
        let connected_ns = now_ns();
        self.wait_for(Phase::Subscribe)?;
        self.subscribe()?;
        let subscribed_ns = now_ns();
        self.wait_for(Phase::Load)?;
        if self.board.phase() == Phase::Stop {
            return Ok(None);
        }
        let load = self.load()?;
        for index in 0..self.engine.len() {
            self.engine.close(index, &wire::DISCONNECT);
        }
        Ok(Some(Outcome {
            connected_ns,
            subscribed_ns,
            connect_latency: self.setup.latency.clone(),
            latency: load.latency,
            acknowledge_latency: load.acknowledge_latency,
            counters: load.counters,
        }))
    }

    /// The number of a connection over all threads, for its source address.
    fn connection_number(&self, index: usize) -> usize {
        let publisher = index.checked_sub(self.subscribers.len()).and_then(|k| self.publishers.get(k));
        match (self.subscribers.get(index), publisher) {
            (Some(j), _) => *j,
            (_, Some(k)) => self.settings.topology.subscribers + k,
            _ => index,
        }
    }

    fn dial(&mut self, index: usize, since_ns: u64) -> anyhow::Result<()> {
        let settings = &self.settings;
        let sources = settings.options.source_addresses.as_ref();
        let source = sources.and_then(|s| s.nth(self.connection_number(index)));
        self.setup.since_ns.push(since_ns);
        self.engine.dial(settings.to, source).map_err(|e| anyhow!("{}: {}", settings.to, io_words(&e)))
    }

    fn connect(&mut self) -> anyhow::Result<()> {
        let clients = self.subscribers.len() + self.publishers.len();
        let threads = self.settings.threads;
        let window = self.settings.options.handshakes.div_ceil(threads);
        let rate = self.settings.options.connect_rate / threads as f64;
        let schedule = (rate > 0.0).then(|| Schedule::new(now_ns(), rate, 1));
        let (mut started, mut stall) = (0, Stall::new());
        while (self.setup.counters.connected as usize) < clients {
            if self.board.phase() == Phase::Stop {
                return Ok(());
            }
            let connected = self.setup.counters.connected as usize;
            while started < clients && started - connected < window {
                let now = now_ns();
                let due = schedule.map_or(now, |s| s.due_ns(started as u64));
                if due > now {
                    self.engine.arm(due)?;
                    break;
                }
                self.dial(started, due)?;
                started += 1;
            }
            self.setup_turn()?;
            // A slow rate is no stall: only what was started can be missing.
            if stall.is_over(connected as u64) && connected < started {
                bail!("{}: {connected} of {clients} clients connected, then silence", self.settings.to);
            }
        }
        self.check_allowed()
    }

    /// Takes over what the broker demands, and refuses a run that it would not allow.
    fn check_allowed(&mut self) -> anyhow::Result<()> {
        let (allowed, options) = (self.setup.allowed, &self.settings.options);
        if allowed.keep_alive_s > 0 {
            self.keep_alive = KeepAlive::new(now_ns(), allowed.keep_alive_s);
        }
        if options.qos > allowed.qos_max {
            bail!("--qos {}: the broker allows QoS {} at most", options.qos, allowed.qos_max);
        }
        if !allowed.wildcards && self.settings.topology.scenario == Scenario::Fanin {
            bail!("fanin: the broker allows no wildcards");
        }
        if !allowed.shared && self.settings.topology.is_shared() {
            bail!("shared: the broker allows no Shared Subscriptions");
        }
        let max = allowed.packet_bytes_max;
        if options.payload > max as usize {
            bail!("--payload {}: the broker allows packets of {max} bytes at most", options.payload);
        }
        Ok(())
    }

    fn subscribe(&mut self) -> anyhow::Result<()> {
        let topology = &self.settings.topology;
        let each = u64::from(topology.subscriptions());
        let all = self.subscribers.len() as u64 * each;
        let window = self.settings.options.handshakes.div_ceil(self.settings.threads) as u64;
        let (mut started, mut stall) = (0, Stall::new());
        while self.setup.counters.subscribed < all {
            if self.board.phase() == Phase::Stop {
                return Ok(());
            }
            let subscribed = self.setup.counters.subscribed;
            while started < all && started - subscribed < window {
                let (index, number) = ((started / each) as usize, (started % each) as u16);
                let subscriber = self.subscribers.get(index).copied().unwrap_or_default();
                let filter = self.settings.topology.filter(subscriber, number);
                let (version, qos) = (self.settings.version, self.settings.options.qos);
                wire::subscribe(&mut self.engine.output, version, number, &filter, qos);
                self.send(index)?;
                started += 1;
            }
            self.setup_turn()?;
            if stall.is_over(subscribed) {
                bail!("{}: {subscribed} of {all} subscriptions acknowledged, then silence", self.settings.to);
            }
        }
        Ok(())
    }

    /// Holds the connections until `phase`.
    fn wait_for(&mut self, phase: Phase) -> anyhow::Result<()> {
        while self.board.phase() < phase {
            self.setup_turn()?;
        }
        Ok(())
    }

    fn setup_turn(&mut self) -> anyhow::Result<()> {
        self.engine.turn(WAIT, &mut self.setup)?;
        if let Some((index, why)) = self.setup.failure.take() {
            return Err(self.blame(index, &why));
        }
        self.board.show(self.thread, &self.setup.counters);
        self.ping(|_| false)
    }

    fn send(&mut self, index: usize) -> anyhow::Result<()> {
        self.engine.send(index).map_err(|e| self.blame(index, &io_words(&e)))
    }

    fn ping(&mut self, needless: impl Fn(usize) -> bool) -> anyhow::Result<()> {
        let now = now_ns();
        while let Some(index) = self.keep_alive.next(now, self.engine.len()) {
            if !self.engine.is_blocked(index) && !needless(index) {
                self.engine.output.extend_from_slice(&PINGREQ);
                self.send(index)?;
            }
        }
        Ok(())
    }

    /// An error of one client, as one line.
    fn blame(&self, index: usize, why: &str) -> anyhow::Error {
        let connected = self.setup.counters.connected as usize;
        let (to, identity) = (self.settings.to, self.setup.identity(index));
        if connected == 0 {
            return anyhow!("{to}: {why}");
        }
        let clients = self.subscribers.len() + self.publishers.len();
        if connected < clients {
            return anyhow!("{to}: client {identity}: {why} ({connected} of {clients} were connected)");
        }
        anyhow!("{to}: client {identity}: {why}")
    }

    fn publishers(&self) -> anyhow::Result<Vec<(usize, Publisher)>> {
        let (o, topology, version) = (&self.settings.options, &self.settings.topology, self.settings.version);
        let inflight = o.inflight.min(self.setup.allowed.receive_max);
        let publisher = |k: usize| {
            let fan = topology.fan(k);
            let pacing = match (o.rate > 0.0, fan, o.qos) {
                (true, _, _) => Pacing::Schedule,
                (false, 0, 0) => Pacing::Pings(o.window.into()),
                (false, 0, _) => Pacing::Acknowledgements,
                (false, _, _) => Pacing::Deliveries(u64::from(o.window) * u64::from(fan)),
            };
            let template =
                PublishTemplate::new(version, &topology.topic(k), o.qos, o.payload, o.user_properties)?;
            Ok((k, Publisher::new(template, pacing, k as u32, fan, o.qos, inflight)))
        };
        self.publishers.iter().map(|k| publisher(*k)).collect()
    }

    /// This thread's part of the schedule: its publishers' share of the rate, shifted against other threads.
    fn schedule(&self) -> Option<Schedule> {
        let o = &self.settings.options;
        let share = self.publishers.len() as f64 / self.settings.topology.publishers.max(1) as f64;
        let rate = o.rate * share;
        let shift = (SECOND_NS as f64 / o.rate.max(1.0)) as u64 * self.thread as u64;
        (rate > 0.0).then(|| Schedule::new(self.board.start_ns() + shift, rate, self.publishers.len()))
    }

    /// Sends until the end, then receives what is under way until the coordinator has seen enough.
    fn load(&mut self) -> anyhow::Result<Load> {
        let (settings, board) = (Arc::clone(&self.settings), Arc::clone(&self.board));
        let (topology, qos) = (&settings.topology, settings.options.qos);
        let spread = topology.is_spread(settings.threads);
        let publishers = self.publishers()?;
        let mut load = Load::new(settings.version, topology, &self.subscribers, publishers);
        load.counters = self.setup.counters;
        load.start(self.schedule(), board.measure_ns()..board.until_ns());
        let until = board.until_ns();
        let write_off_ns = if qos == 0 { WRITE_OFF_NS[0] } else { WRITE_OFF_NS[1] };
        let mut write_off_at = now_ns() + write_off_ns;
        while board.phase() == Phase::Load {
            let now = now_ns();
            if now < until {
                if let Some(due) = load.send(&mut self.engine, now)? {
                    self.engine.arm(due.min(until))?;
                }
            } else {
                load.wind_up(&mut self.engine, qos, until)?;
            }
            if now > write_off_at {
                load.write_off();
                write_off_at = now + write_off_ns;
            }
            board.show(self.thread, &load.counters);
            self.engine.turn(WAIT, &mut load)?;
            if spread {
                load.exchange_credits(&board, |k| topology.thread(k, settings.threads));
            }
            if let Some((index, why)) = load.failure.take() {
                return Err(self.blame(index, &why));
            }
            self.ping(|index| load.pings_itself(index))?;
        }
        Ok(load)
    }
}

/// Watches for progress.
struct Stall {
    seen: u64,
    since_ns: u64,
}

impl Stall {
    fn new() -> Self {
        Self { seen: 0, since_ns: now_ns() }
    }

    fn is_over(&mut self, count: u64) -> bool {
        let now = now_ns();
        if count != self.seen {
            *self = Self { seen: count, since_ns: now };
        }
        now - self.since_ns > STALL_NS
    }
}
