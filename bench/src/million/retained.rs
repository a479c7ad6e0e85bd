//! `myriad-bench retained`: a million retained messages. What one takes in memory; and one client subscribes to all of
//! them with a wildcard: whether all come, how long that takes, and how others' PINGREQs fare meanwhile.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;

use super::ground::{self, Ground};
use super::load::{Command, Kind, Plan, Subscriptions};
use super::results::Run;
use super::rig::Rig;
use super::size;
use super::stages::{FOR_EVER, LOOK, note_flow, tally};
use super::target::Target;

/// Clients that publish, and ping; the last of them subscribes.
const CLIENTS: u32 = 256;
/// Retained messages of the broker itself, at most.
const OWN_MAX: u32 = 100_000;
const REST: Duration = Duration::from_secs(3);
/// Without any delivery for so long the rest is lost.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// Options of `myriad-bench retained`. On a broker of --host the messages are left behind.
#[derive(Args, Clone, Debug)]
pub(crate) struct Retained {
    #[command(flatten)]
    target: Target,
    /// Retained messages, a topic each
    #[arg(long, default_value = "1M", value_parser = size::count)]
    topics: u32,
    /// Payload of each, bytes
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(16..=65_536))]
    payload: u32,
    /// QoS of the subscription
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=1))]
    qos: u8,
    /// PINGREQs a second of the other clients during the delivery
    #[arg(long, default_value_t = 1000.0)]
    message_rate: f64,
    /// Write everything that was measured as JSON to a file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Runs it.
pub(crate) fn run(options: &Retained) -> ExitCode {
    super::conclude(options.json.as_deref(), || measure(options))
}

fn measure(options: &Retained) -> anyhow::Result<Run> {
    options.target.check()?;
    if !(1.0..=1e6).contains(&options.message_rate) {
        bail!("--message-rate must be from 1 to a million");
    }
    let ground = Ground::prepare(&options.target, CLIENTS, 0, false)?;
    let mut sets = ground::sets(CLIENTS);
    // The broker's own retained messages (`$SYS`) count too.
    sets.push(format!("retained.count_max={}", options.topics.saturating_add(OWN_MAX)));
    let broker = ground.broker(&options.target, &sets)?;
    let plan = Plan {
        subscriptions: Subscriptions::None,
        payload_len: options.payload as usize,
        ..ground.plan(&options.target, &broker)
    };
    let mut rig = super::rig("myriad-bench retained", &options.target, ground, broker, plan)?;
    if let Err(why) = retained(&mut rig, options) {
        rig.run.problems.push(format!("{why:#}"));
    }
    Ok(super::finish(rig))
}

fn retained(rig: &mut Rig, options: &Retained) -> anyhow::Result<()> {
    rig.fill(CLIENTS, 0.0)?;
    rig.rest(REST)?;
    let empty = rig.broker.usage().map(|usage| usage.rss_bytes);
    let topics = options.topics;
    let begun =
        rig.begin("retain", "Clients publish retained messages at QoS 1, one at a time each, to PUBACK")?;
    rig.fleet.command(|_| Command::Retain { topics })?;
    until_silent(rig, "retain", |t| t.retained, topics.into())?;
    let (mut stage, _) = rig.end(&begun)?;
    tally(&mut stage, topics.into(), rig.fleet.totals().retained);
    let done = stage.done;
    rig.keep(stage);
    rig.rest(REST)?;
    rig.growth("bytes_per_retained_message", empty, done);
    if !rig.is_interrupted() {
        deliver(rig, options)?;
    }
    rig.leave()
}

/// One client subscribes to all; the others ping.
fn deliver(rig: &mut Rig, options: &Retained) -> anyhow::Result<()> {
    let begun =
        rig.begin("deliver", "One client subscribes to all retained messages; PINGREQs of others meanwhile")?;
    let (topics, qos) = (options.topics, options.qos);
    let subscriber = CLIENTS - 1;
    rig.clients = subscriber;
    rig.start_flow(Kind::Ping, options.message_rate, None, None)?;
    let since = Instant::now();
    rig.fleet.command(|_| Command::SubscribeRetained { client: subscriber, qos })?;
    until_silent(rig, "deliver", |t| t.retained_delivered, topics.into())?;
    let seconds = since.elapsed().as_secs_f64();
    rig.fleet.command(|_| Command::StopFlow)?;
    rig.watch("deliver", SILENCE_MAX, LOOK, |t| t.pending == 0)?;
    let delivered = rig.fleet.totals().retained_delivered;
    let (mut stage, figures) = rig.end(&begun)?;
    stage.seconds = seconds;
    tally(&mut stage, topics.into(), delivered);
    note_flow(&mut stage, &figures);
    if figures.unanswered > 0 {
        rig.run.problems.push(format!("deliver: {} PINGREQs unanswered", figures.unanswered));
    }
    rig.keep(stage);
    Ok(())
}

/// Waits until `count` has reached `aim`, or does not move any more.
fn until_silent(
    rig: &mut Rig,
    name: &'static str,
    count: impl Fn(&super::load::Totals) -> u64,
    aim: u64,
) -> anyhow::Result<()> {
    let mut last = (0, Instant::now());
    let done = |t: &super::load::Totals| {
        let now = count(t);
        if now != last.0 {
            last = (now, Instant::now());
        }
        now >= aim || last.1.elapsed() > SILENCE_MAX
    };
    rig.watch(name, FOR_EVER, LOOK, done).map(drop)
}
