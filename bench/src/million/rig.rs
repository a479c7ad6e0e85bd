//! The rig: the load shards, the broker, the meter and the live view together, and what every stage needs of them:
//! to begin, to watch until something has happened, to end with its figures.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;

use super::broker::Broker;
use super::fleet::Fleet;
use super::histogram::Latencies;
use super::live::Live;
use super::load::{Command, Figures, Totals};
use super::machine::MemoryInfo;
use super::meter::{Meter, Reading};
use super::results::{Run, Stage};

/// Time between two samples.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// The fill ends when less than this part of the memory is available.
const SPARE_PART: u64 = 10;
/// Without any progress for so long a stage ends with what it has: longer than the kernel tries to connect.
pub(crate) const PATIENCE: Duration = Duration::from_secs(150);

/// More CPUs than this busy with other work spoil latencies.
pub(crate) const OTHER_CPUS_MAX: f64 = 0.3;

/// How watching ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watched {
    /// What was waited for has happened.
    Done,
    /// The time is over.
    TimeOver,
    /// SIGINT.
    Interrupted,
    /// Too little memory is left.
    MemoryLow,
}

/// Everything together.
pub(crate) struct Rig {
    pub(crate) fleet: Fleet,
    pub(crate) broker: Broker,
    pub(crate) meter: Meter,
    pub(crate) live: Live,
    pub(crate) run: Run,
    pub(crate) interrupt: Arc<AtomicBool>,
    /// Clients that exist for the stages: all numbers below.
    pub(crate) clients: u32,
    stage: u16,
    sampled: Instant,
    latencies: Latencies,
}

/// A stage that has begun.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) name: &'static str,
    title: &'static str,
    pub(crate) reading: Reading,
    pub(crate) totals: Totals,
}

impl Rig {
    /// All parts together; nothing is connected.
    pub(crate) fn new(
        fleet: Fleet,
        broker: Broker,
        live: Live,
        run: Run,
        interrupt: Arc<AtomicBool>,
    ) -> Self {
        Self {
            fleet,
            broker,
            meter: Meter::new(),
            live,
            run,
            interrupt,
            clients: 0,
            stage: 0,
            sampled: Instant::now(),
            latencies: Latencies::default(),
        }
    }

    /// SIGINT has come.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupt.load(Ordering::Relaxed)
    }

    /// Waits without doing anything.
    ///
    /// # Errors
    /// The broker is gone.
    pub(crate) fn rest(&mut self, rest: Duration) -> anyhow::Result<()> {
        self.watch("", rest, Duration::from_millis(20), |_| false).map(drop)
    }

    /// Begins a stage.
    ///
    /// # Errors
    /// A load shard has ended.
    pub(crate) fn begin(&mut self, name: &'static str, title: &'static str) -> anyhow::Result<Begun> {
        self.stage += 1;
        let number = self.stage;
        self.fleet.command(|_| Command::Stage(number))?;
        let totals = self.fleet.totals();
        self.sample(name, &totals);
        Ok(Begun { name, title, reading: Reading::now(&self.broker), totals })
    }

    fn sample(&mut self, name: &'static str, totals: &Totals) {
        self.fleet.live(&mut self.latencies);
        if let Some(sample) = self.meter.sample(name, &self.broker, totals, self.latencies.middle()) {
            self.sampled = Instant::now();
            self.live.show(&sample);
        }
    }

    /// Waits until `done` says so, at most for `max`, and looks each `look`. Samples meanwhile.
    ///
    /// # Errors
    /// The broker is gone.
    pub(crate) fn watch(
        &mut self,
        name: &'static str,
        max: Duration,
        look: Duration,
        mut done: impl FnMut(&Totals) -> bool,
    ) -> anyhow::Result<Watched> {
        let since = Instant::now();
        let mut progress = (0, Instant::now());
        loop {
            let totals = self.fleet.totals();
            if done(&totals) {
                return Ok(Watched::Done);
            }
            let sign = totals.handshakes + totals.messages + totals.failures + totals.begun + totals.due;
            if sign + totals.task_left != progress.0 {
                progress = (sign + totals.task_left, Instant::now());
            }
            if since.elapsed() >= max || (totals.task_left > 0 && progress.1.elapsed() > PATIENCE) {
                return Ok(Watched::TimeOver);
            }
            if self.is_interrupted() {
                return Ok(Watched::Interrupted);
            }
            if self.sampled.elapsed() >= SAMPLE_EVERY {
                self.sample(name, &totals);
                if let Some(why) = self.broker.gone() {
                    bail!(why);
                }
                let memory = MemoryInfo::now();
                if name == "fill" && memory.available_bytes < memory.total_bytes / SPARE_PART {
                    return Ok(Watched::MemoryLow);
                }
            }
            std::thread::sleep(look.min(max.saturating_sub(since.elapsed())));
        }
    }

    /// Ends a stage: what every stage has. The rest is for the stage to fill in, and then to [`Rig::keep`].
    ///
    /// # Errors
    /// A load shard does not answer.
    pub(crate) fn end(&mut self, begun: &Begun) -> anyhow::Result<(Stage, Figures)> {
        let reading = Reading::now(&self.broker);
        let totals = self.fleet.totals();
        self.sample(begun.name, &totals);
        let figures = self.fleet.collect()?;
        let seconds = reading.at.duration_since(begun.reading.at).as_secs_f64();
        let t_s = self.meter.t_s(begun.reading.at);
        let (before, after) = (begun.reading.memory, reading.memory);
        let ends = [before.broker_rss_bytes, after.broker_rss_bytes];
        let stage = Stage {
            name: begun.name,
            title: begun.title.to_owned(),
            t_s,
            seconds,
            connections_before: begun.totals.held,
            connections_after: totals.held,
            duplicates: figures.duplicates,
            connections_lost: totals.lost - begun.totals.lost,
            latency: figures.latency.result(),
            broker_cpu_s: reading.broker_cpu_since(&begun.reading),
            load_cpu_s: reading.load_cpu_s - begun.reading.load_cpu_s,
            other_cpus: reading.other_cpus_since(&begun.reading),
            keep_alive_pings: figures.keep_alive_pings,
            before,
            after,
            broker_rss_peak_bytes: self.meter.broker_peak(t_s, ends),
            failures: figures.failures.clone(),
            ..Stage::default()
        };
        Ok((stage, figures))
    }

    /// Notes under `name` by how many bytes the broker has grown since it had `before`, for each of `n`.
    pub(crate) fn growth(&mut self, name: &'static str, before: Option<u64>, n: u64) {
        if let (Some(before), Some(after)) = (before, self.broker.usage()) {
            let each = (after.rss_bytes as f64 - before as f64) / n.max(1) as f64;
            self.run.figures.insert(name, each);
        }
    }

    /// Keeps a finished stage: its line is printed, and what must not have happened becomes a problem of the run.
    pub(crate) fn keep(&mut self, mut stage: Stage) {
        stage.per_s = stage.done as f64 / stage.seconds.max(1e-6);
        for (reason, n) in &stage.failures {
            *self.run.failures.entry(reason.clone()).or_default() += n;
        }
        if stage.lost > 0 {
            let what = what(stage.name);
            self.run
                .problems
                .push(format!("{}: {} of {} {what} missing", stage.name, stage.lost, stage.asked));
        }
        if let Some(other) = stage.other_cpus.filter(|other| *other > OTHER_CPUS_MAX) {
            stage
                .notes
                .push(format!("other work kept {other:.1} CPUs busy: trust CPU figures more than latencies"));
        }
        if stage.connections_lost > 0 {
            let lost = stage.connections_lost;
            self.run.problems.push(format!("{}: {lost} connections ended that should not have", stage.name));
        }
        self.live.say(&super::summary::line(&stage));
        self.run.stages.push(stage);
    }
}

/// What a stage counts.
pub(crate) fn what(stage: &str) -> &'static str {
    match stage {
        "fill" => "connections",
        "ping" => "PINGRESPs",
        "p2p0" | "p2p1" | "fanout" => "deliveries",
        "storm" => "returns",
        "takeover" => "takeovers",
        "churn" => "connects and disconnects",
        "sessions" => "sessions",
        "retain" => "retained messages",
        "deliver" => "retained deliveries",
        "nowhere" => "PUBACKs",
        _ => "disconnects",
    }
}
