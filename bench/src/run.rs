//! The coordinator: starts the threads, leads them from step to step, and reads clocks and `/proc` between.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};

use crate::board::{Board, Phase};
use crate::cli::Settings;
use crate::clock::{SECOND_NS, now_ns, seconds_ns};
use crate::engine::Engine;
use crate::proc::{Machine, Process, Usage, machine_busy_s};
use crate::progress::Progress;
use crate::report::{Conditions, Connections, Hold, LoadFigures, Report, Slices, Subscriptions, Totals};
use crate::stats::{Counters, Latency, median};
use crate::topology::Scenario;
use crate::worker::{Outcome, Worker};

/// How often a step's end is looked for.
const LOOK: Duration = Duration::from_millis(20);
/// From the word to start to the first message, so that all threads are awake.
const LEAD_NS: u64 = 20_000_000;

/// A report without figures, for a run that is about to begin.
pub(crate) fn blank(settings: &Settings) -> Report {
    let o = settings.options.clone();
    let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Report {
        tool: "myriad-bench",
        tool_version: env!("CARGO_PKG_VERSION"),
        label: o.label.clone(),
        scenario: settings.topology.scenario,
        conditions: Conditions {
            command: std::env::args().collect(),
            started_unix_s: started.as_secs(),
            broker_address: settings.to.to_string(),
            publishers: settings.topology.publishers,
            subscribers: settings.topology.subscribers,
            topics: settings.topology.groups,
            open_loop: o.rate > 0.0,
            machine: Machine::here(),
            broker: o.pid.and_then(|pid| Process::of(pid).ok()),
            options: o,
        },
        connections: None,
        subscriptions: None,
        hold: None,
        load: None,
        notes: Vec::new(),
        failure: None,
    }
}

/// Runs a scenario and fills the report in, as far as it comes.
pub(crate) fn run(settings: Settings, report: &mut Report) -> anyhow::Result<()> {
    let (mut run, start) = Run::start(settings)?;
    let result = run.steps(&start, report);
    run.progress.clear();
    run.board.advance(Phase::Stop);
    for thread in run.threads.drain(..) {
        // A panic of a thread has been printed; the missing outcome shows it below.
        let _ = thread.join();
    }
    result
}

struct Run {
    settings: Arc<Settings>,
    board: Arc<Board>,
    threads: Vec<JoinHandle<Option<Outcome>>>,
    progress: Progress,
}

/// Clocks and counters at one moment.
#[derive(Clone, Copy)]
struct Sample {
    at_ns: u64,
    counters: Counters,
    broker: Option<Usage>,
    own: Usage,
    busy_s: f64,
}

impl Run {
    fn start(settings: Settings) -> anyhow::Result<(Self, Sample)> {
        raise_open_files();
        // Finer timers for this thread's children; without it sleeps are 50 us late.
        let _ = nix::sys::prctl::set_timerslack(1);
        if let Some(pid) = settings.options.pid {
            Usage::of(pid)?;
        }
        let engines = (0..settings.threads).map(|_| Engine::new(settings.version, settings.carriers.clone()));
        let engines = engines.collect::<Result<Vec<_>, _>>().context("epoll")?;
        let wakers = engines.iter().map(Engine::waker).collect();
        let board = Arc::new(Board::new(wakers, settings.topology.publishers));
        let progress = Progress::new(settings.options.quiet);
        let run = Self { threads: Vec::new(), settings: Arc::new(settings), board, progress };
        let start = run.sample()?;
        Ok((run.with_threads(engines)?, start))
    }

    fn with_threads(mut self, engines: Vec<Engine>) -> std::io::Result<Self> {
        for (thread, engine) in engines.into_iter().enumerate() {
            let (settings, board) = (Arc::clone(&self.settings), Arc::clone(&self.board));
            let body = move || Worker::new(thread, settings, board, engine).run();
            self.threads.push(thread::Builder::new().name(format!("clients-{thread}")).spawn(body)?);
        }
        Ok(self)
    }

    fn steps(&mut self, start: &Sample, report: &mut Report) -> anyhow::Result<()> {
        let scenario = self.settings.topology.scenario;
        let clients = self.settings.topology.clients() as u64;
        self.wait("connecting", clients, |c| c.connected)?;
        let connected = self.settled()?;
        let subscribing_ns = now_ns();
        self.board.advance(Phase::Subscribe);
        let each = u64::from(self.settings.topology.subscriptions());
        let subscriptions = self.settings.topology.subscribers as u64 * each;
        self.wait("subscribing", subscriptions, |c| c.subscribed)?;
        let subscribed = self.settled()?;
        let (mut load, mut hold) = (None, None);
        let outcome = if scenario == Scenario::Connect {
            let figures = self.hold(subscribed)?;
            let outcome = self.finish()?;
            let after = match self.settings.options.pid {
                Some(_) => self.settled()?.broker.map(|b| b.rss_bytes),
                None => None,
            };
            hold = Some(Hold { broker_rss_bytes_after_close: after, ..figures });
            outcome
        } else {
            let figures = self.load()?;
            let outcome = self.finish()?;
            load = Some(self.complete(figures, &outcome));
            outcome
        };
        report.connections = Some(connections(clients, start, &connected, &outcome));
        report.subscriptions = (subscriptions > 0).then(|| {
            let seconds = seconds(subscribing_ns, outcome.subscribed_ns);
            Subscriptions {
                subscriptions,
                seconds,
                per_s: subscriptions as f64 / seconds,
                broker_cpu_us_per_subscription: cpu(&connected, &subscribed)
                    .map(|s| s * 1e6 / subscriptions as f64),
                broker_rss_bytes_per_client: growth(start, &subscribed).map(|b| b / clients as f64),
            }
        });
        (report.hold, report.load) = (hold, load);
        if let Some(load) = &report.load {
            report.notes = load.notes(self.settings.threads);
            report.failure = load.totals.failure(self.settings.options.qos, scenario == Scenario::Pub);
            if load.messages == 0 && report.failure.is_none() {
                bail!(
                    "no message was {} while measuring",
                    if scenario == Scenario::Pub { "taken" } else { "delivered" }
                );
            }
        }
        Ok(())
    }

    fn sample(&self) -> anyhow::Result<Sample> {
        let broker = self.settings.options.pid.map(Usage::of).transpose()?;
        Ok(Sample {
            at_ns: now_ns(),
            counters: self.board.counters(),
            broker,
            own: Usage::own(),
            busy_s: machine_busy_s(),
        })
    }

    /// A sample after a moment of silence, where memory is read.
    fn settled(&self) -> anyhow::Result<Sample> {
        if self.settings.options.pid.is_some() {
            thread::sleep(Duration::from_secs_f64(self.settings.options.settle));
        }
        self.sample()
    }

    fn check(&self) -> anyhow::Result<()> {
        match self.board.failure() {
            Some(why) => bail!("{why}"),
            None if self.threads.iter().any(JoinHandle::is_finished) => {
                bail!("a thread of clients ended early")
            }
            None => Ok(()),
        }
    }

    fn wait(&self, step: &'static str, all: u64, done: impl Fn(&Counters) -> u64) -> anyhow::Result<()> {
        self.progress.step(step, all);
        loop {
            self.check()?;
            let done = done(&self.board.counters());
            self.progress.at(done);
            if done >= all {
                return Ok(());
            }
            thread::sleep(LOOK);
        }
    }

    /// Sleeps until `at_ns`, and shows how the load goes.
    fn sleep_until(&self, at_ns: u64, from: &Sample) -> anyhow::Result<()> {
        let mut last = (now_ns(), self.messages(&self.board.counters()));
        while let Some(left) = at_ns.checked_sub(now_ns()).filter(|left| *left > 0) {
            thread::sleep(Duration::from_nanos(left.min(SECOND_NS / 5)));
            self.check()?;
            let now = (now_ns(), self.messages(&self.board.counters()));
            let per_s = (now.1 - last.1) as f64 / seconds(last.0, now.0);
            self.progress.load(Duration::from_nanos(now.0 - from.at_ns), per_s);
            last = now;
        }
        Ok(())
    }

    fn hold(&self, from: Sample) -> anyhow::Result<Hold> {
        let duration = self.settings.options.duration;
        self.board.start_load(from.at_ns, u64::MAX, u64::MAX);
        self.progress.step("holding", duration as u64);
        self.sleep_until(from.at_ns + seconds_ns(duration), &from)?;
        let to = self.sample()?;
        let seconds = seconds(from.at_ns, to.at_ns);
        let broker_cpus = cpu(&from, &to).map(|s| s / seconds);
        Ok(Hold { seconds, broker_cpus, broker_rss_bytes_after_close: None })
    }

    /// The messages that the figures count.
    fn messages(&self, c: &Counters) -> u64 {
        let o = &self.settings.options;
        match self.settings.topology.scenario {
            // Nothing confirms them while an open loop runs.
            Scenario::Pub if o.qos == 0 && o.rate > 0.0 => c.sent,
            Scenario::Pub => c.accepted,
            _ => c.delivered,
        }
    }

    fn load(&self) -> anyhow::Result<LoadFigures> {
        let o = &self.settings.options;
        let start_ns = now_ns() + LEAD_NS;
        let measure_ns = start_ns + seconds_ns(o.warmup);
        let slices = o.duration.round().max(1.0);
        let until_ns = measure_ns + seconds_ns(o.duration);
        self.board.start_load(start_ns, measure_ns, until_ns);
        let begin = self.sample()?;
        self.progress.step("load", (o.warmup + o.duration).ceil() as u64);
        self.sleep_until(measure_ns, &begin)?;
        let mut samples = vec![self.sample()?];
        for slice in 1..=slices as u64 {
            self.sleep_until(measure_ns + seconds_ns(o.duration / slices * slice as f64), &begin)?;
            samples.push(self.sample()?);
        }
        let rss = samples.last().and_then(|s| s.broker).map(|b| b.rss_bytes);
        self.drain()?;
        Ok(self.figures(&samples, rss))
    }

    /// Waits for what is under way, as long as there is progress.
    fn drain(&self) -> anyhow::Result<()> {
        let o = &self.settings.options;
        let (mut seen, mut since_ns) = ((0, 0, 0), now_ns());
        loop {
            self.check()?;
            let c = self.board.counters();
            let acknowledged = if o.qos > 0 || self.settings.topology.subscribers == 0 { c.sent } else { 0 };
            let complete = c.unsent + c.undelivered() == 0 && c.accepted + c.refused >= acknowledged;
            if c.finished == self.threads.len() as u64 && complete {
                return Ok(());
            }
            let now = now_ns();
            let reached = (c.sent, c.delivered, c.accepted);
            if reached != seen {
                (seen, since_ns) = (reached, now);
            }
            if now - since_ns > seconds_ns(o.drain) {
                return Ok(());
            }
            thread::sleep(LOOK);
        }
    }

    fn figures(&self, samples: &[Sample], broker_rss_bytes: Option<u64>) -> LoadFigures {
        let rate = |a: &Sample, b: &Sample| {
            (self.messages(&b.counters) - self.messages(&a.counters)) as f64 / seconds(a.at_ns, b.at_ns)
        };
        let rates: Vec<f64> = samples.windows(2).map(|w| rate(&w[0], &w[w.len() - 1])).collect();
        let (from, to) = (&samples[0], &samples[samples.len() - 1]);
        let (seconds, own_s) = (seconds(from.at_ns, to.at_ns), to.own.cpu_s - from.own.cpu_s);
        let messages = self.messages(&to.counters) - self.messages(&from.counters);
        let broker_s = cpu(from, to);
        let each = |cpu_s: f64| if messages == 0 { 0.0 } else { cpu_s * 1e6 / messages as f64 };
        LoadFigures {
            seconds,
            messages,
            per_s: messages as f64 / seconds,
            per_s_slices: Slices {
                count: rates.len(),
                min: rates.iter().copied().fold(f64::INFINITY, f64::min),
                median: median(&rates),
                max: rates.iter().copied().fold(0.0, f64::max),
            },
            sent_per_s: (to.counters.sent - from.counters.sent) as f64 / seconds,
            received_bytes_per_s: (to.counters.bytes_received - from.counters.bytes_received) as f64
                / seconds,
            broker_cpu_s_per_million: broker_s.map(each),
            own_cpu_s_per_million: each(own_s),
            broker_cpus: broker_s.map(|s| s / seconds),
            own_cpus: own_s / seconds,
            other_cpus: broker_s.map(|s| ((to.busy_s - from.busy_s - s - own_s) / seconds).max(0.0)),
            latency_us: None,
            acknowledge_latency_us: None,
            broker_rss_bytes,
            totals: Totals::default(),
        }
    }

    /// Ends the threads and collects what they measured.
    fn finish(&mut self) -> anyhow::Result<Outcome> {
        self.board.advance(Phase::Stop);
        let mut sum: Option<Outcome> = None;
        for thread in self.threads.drain(..) {
            let one = thread.join().ok().flatten();
            let Some(one) = one else {
                bail!("{}", self.board.failure().unwrap_or("a thread failed".into()))
            };
            match &mut sum {
                None => sum = Some(one),
                Some(sum) => sum.add(&one),
            }
        }
        sum.context("no thread ran")
    }

    fn complete(&self, figures: LoadFigures, outcome: &Outcome) -> LoadFigures {
        let c = &outcome.counters;
        LoadFigures {
            latency_us: outcome.latency.summary(),
            acknowledge_latency_us: outcome.acknowledge_latency.summary(),
            totals: Totals {
                sent: c.sent,
                unsent: c.unsent,
                accepted: c.accepted,
                refused: c.refused,
                expected: c.expected,
                delivered: c.delivered,
                undelivered: c.undelivered(),
                duplicate_or_out_of_order: c.stale,
                gaps: c.gaps,
                foreign: c.foreign,
            },
            ..figures
        }
    }
}

impl Outcome {
    fn add(&mut self, other: &Self) {
        self.connected_ns = self.connected_ns.max(other.connected_ns);
        self.subscribed_ns = self.subscribed_ns.max(other.subscribed_ns);
        let histograms: [(&mut Latency, &Latency); 3] = [
            (&mut self.connect_latency, &other.connect_latency),
            (&mut self.latency, &other.latency),
            (&mut self.acknowledge_latency, &other.acknowledge_latency),
        ];
        for (sum, one) in histograms {
            sum.add(one);
        }
        self.counters += other.counters;
    }
}

fn connections(clients: u64, start: &Sample, connected: &Sample, outcome: &Outcome) -> Connections {
    let seconds = seconds(start.at_ns, outcome.connected_ns);
    Connections {
        clients,
        seconds,
        per_s: clients as f64 / seconds,
        latency_us: outcome.connect_latency.summary(),
        broker_cpu_us_per_connection: cpu(start, connected).map(|s| s * 1e6 / clients as f64),
        broker_rss_bytes: connected.broker.map(|b| b.rss_bytes),
        broker_rss_bytes_per_connection: growth(start, connected).map(|b| b / clients as f64),
    }
}

/// Seconds between two readings of the clock, never zero.
fn seconds(from_ns: u64, to_ns: u64) -> f64 {
    to_ns.saturating_sub(from_ns).max(1) as f64 / SECOND_NS as f64
}

/// The broker's CPU seconds between two samples.
fn cpu(from: &Sample, to: &Sample) -> Option<f64> {
    Some(to.broker?.cpu_s - from.broker?.cpu_s)
}

/// Growth of the broker's memory between two samples, bytes.
fn growth(from: &Sample, to: &Sample) -> Option<f64> {
    Some(to.broker?.rss_bytes as f64 - from.broker?.rss_bytes as f64)
}

/// Raises the limit of open files as far as it goes: a client takes one.
fn raise_open_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // What this fails to allow, the dial that needs it reports.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
