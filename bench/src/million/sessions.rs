//! `myriad-bench sessions`: a million persistent sessions that are offline, one subscription each. What one takes in
//! memory, and what a publish that matches none of them costs, against before they were there.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::Args;

use super::ground::{self, Ground};
use super::load::{Command, Kind, Plan, Subscriptions};
use super::results::Run;
use super::rig::Rig;
use super::size;
use super::stages::{FOR_EVER, LOOK, each, tally};
use super::target::Target;

/// Clients that stay connected and publish.
const PUBLISHERS: u32 = 100;
const REST: Duration = Duration::from_secs(3);
/// Connections at a time beyond those of handshakes: closes that the broker has not seen yet.
const CLOSING: u32 = 20_000;

/// Options of `myriad-bench sessions`. On a broker of --host the sessions are left behind.
#[derive(Args, Clone, Debug)]
pub(crate) struct Sessions {
    #[command(flatten)]
    target: Target,
    /// Sessions
    #[arg(long, default_value = "1M", value_parser = size::count)]
    clients: u32,
    /// Messages a second of the publish that matches none
    #[arg(long, default_value_t = 2000.0)]
    message_rate: f64,
    /// Seconds of it, before and after
    #[arg(long, default_value_t = 10.0)]
    duration: f64,
    /// Write everything that was measured as JSON to a file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Runs it.
pub(crate) fn run(options: &Sessions) -> ExitCode {
    super::conclude(options.json.as_deref(), || measure(options))
}

fn measure(options: &Sessions) -> anyhow::Result<Run> {
    options.target.check()?;
    if !(1.0..=1e6).contains(&options.message_rate) || !(0.1..=1e6).contains(&options.duration) {
        bail!("--message-rate must be from 1 to a million, --duration from 0.1 to a million");
    }
    // Few are connected at a time; ports wait after each.
    let ground = Ground::prepare(&options.target, PUBLISHERS + CLOSING, options.clients, false)?;
    let mut sets = ground::sets(ground.clients);
    let filters = options.clients.max(131_072);
    sets.push(format!("limits.subscriptions_expected={filters}"));
    let broker = ground.broker(&options.target, &sets)?;
    let plan = Plan {
        clean: false,
        subscriptions: Subscriptions::Own,
        clients_max: options.clients.saturating_add(PUBLISHERS),
        ..ground.plan(&options.target, &broker)
    };
    let mut rig = super::rig("myriad-bench sessions", &options.target, ground, broker, plan)?;
    if let Err(why) = sessions(&mut rig, options) {
        rig.run.problems.push(format!("{why:#}"));
    }
    Ok(super::finish(rig))
}

fn sessions(rig: &mut Rig, options: &Sessions) -> anyhow::Result<()> {
    rig.fill(PUBLISHERS, 0.0)?;
    rig.rest(REST)?;
    nowhere(rig, options, "publish_cpu_us_without_sessions")?;
    let empty = rig.broker.usage().map(|usage| usage.rss_bytes);

    let begun =
        rig.begin("sessions", "Clients with a persistent session connect, subscribe and disconnect")?;
    let clients = options.clients.saturating_add(PUBLISHERS);
    rig.fleet.command(|_| Command::Fill { clients, interval_us: 0.0, leave: true })?;
    rig.watch("sessions", FOR_EVER, LOOK, |t| t.task_left == 0)?;
    let (mut stage, _) = rig.end(&begun)?;
    tally(&mut stage, options.clients.into(), rig.fleet.totals().handshakes - begun.totals.handshakes);
    let done = stage.done;
    rig.keep(stage);
    rig.rest(REST)?;
    rig.growth("bytes_per_session", empty, done);
    if rig.is_interrupted() {
        return Ok(());
    }
    nowhere(rig, options, "publish_cpu_us_with_sessions")?;
    rig.leave()
}

/// Publishes that match nothing; what one costs becomes the figure `name`.
fn nowhere(rig: &mut Rig, options: &Sessions, name: &'static str) -> anyhow::Result<()> {
    rig.clients = PUBLISHERS;
    let title = "QoS 1 to topics that nobody has subscribed to, to PUBACK";
    let (mut stage, figures) =
        rig.flow("nowhere", title, Kind::Nowhere, options.message_rate, options.duration)?;
    stage.lost = figures.unanswered;
    stage.broker_cpu_us_each = each(stage.broker_cpu_s, stage.done);
    if let Some(us) = stage.broker_cpu_us_each {
        rig.run.figures.insert(name, us);
    }
    rig.keep(stage);
    Ok(())
}
