//! `myriad-bench churn`: clients connect and disconnect at a fixed rate beside others that stay. Afterwards the broker
//! must have what it had before: memory, connections, descriptors.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::Args;

use super::ground::{self, Ground};
use super::load::{Command, Plan, Subscriptions};
use super::machine::tcp_sockets_at;
use super::results::Run;
use super::rig::Rig;
use super::size;
use super::stages::{FOR_EVER, LOOK, each, note_flow};
use super::target::Target;

/// Kernels keep an address and port for so long after a close, seconds.
const TIME_WAIT_S: f64 = 60.0;
/// Churn before the first look, so that tables have grown and buffers are there: a part, at most so many seconds.
const WARM_UP_PART: f64 = 0.2;
const WARM_UP_MAX_S: f64 = 20.0;
/// Rest before each look.
const REST: Duration = Duration::from_secs(4);
/// How much more memory than before counts as the same: an allocator's scatter.
const MEMORY_FACTOR: f64 = 1.05;
// A heap grows by huge pages of 2 MiB, a few in each thread.
const MEMORY_BYTES: f64 = 12e6;
/// Sockets and descriptors that may be on their way.
const SLACK: u64 = 8;

/// Options of `myriad-bench churn`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Churn {
    #[command(flatten)]
    target: Target,
    /// Connects (and disconnects) a second
    #[arg(long, default_value_t = 5000.0)]
    rate: f64,
    /// Seconds; hours of it are a soak
    #[arg(long, default_value_t = 600.0)]
    duration: f64,
    /// Clients that stay connected
    #[arg(long, default_value = "1000", value_parser = size::count)]
    connections: u32,
    /// Write everything that was measured as JSON to a file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What must be as before.
#[derive(Clone, Copy, Debug, Default)]
struct Holdings {
    memory_bytes: Option<u64>,
    descriptors: Option<u64>,
    /// The broker's end of connections.
    sockets: u64,
}

/// Runs it.
pub(crate) fn run(options: &Churn) -> ExitCode {
    super::conclude(options.json.as_deref(), || measure(options))
}

fn measure(options: &Churn) -> anyhow::Result<Run> {
    options.target.check()?;
    if !(1.0..=1e6).contains(&options.rate) || !(1.0..=1e8).contains(&options.duration) {
        bail!("--rate must be from 1 to a million, --duration from 1 to a hundred million");
    }
    // As many under way as two seconds bring.
    let pool = ((options.rate * 2.0) as u32).clamp(1_000, 100_000);
    let closed = (options.rate * TIME_WAIT_S) as u32;
    let ground = Ground::prepare(&options.target, options.connections.saturating_add(pool), closed, false)?;
    if ground.clients < options.connections + pool {
        bail!("{} connections are needed, {} fit", options.connections + pool, ground.clients);
    }
    let broker = ground.broker(&options.target, &ground::sets(ground.clients))?;
    let plan = Plan { subscriptions: Subscriptions::Own, ..ground.plan(&options.target, &broker) };
    let mut rig = super::rig("myriad-bench churn", &options.target, ground, broker, plan)?;
    if let Err(why) = churn(&mut rig, options) {
        rig.run.problems.push(format!("{why:#}"));
    }
    Ok(super::finish(rig))
}

fn churn(rig: &mut Rig, options: &Churn) -> anyhow::Result<()> {
    rig.fill(options.connections, 0.0)?;
    let warm_up_s = (options.duration * WARM_UP_PART).min(WARM_UP_MAX_S);
    spin(rig, options, warm_up_s)?;
    rig.rest(REST)?;
    let before = Holdings::now(rig);

    let begun = rig.begin(
        "churn",
        "Clients connect, subscribe and disconnect at a fixed rate beside others that stay",
    )?;
    spin(rig, options, options.duration)?;
    let (mut stage, figures) = rig.end(&begun)?;
    let totals = rig.fleet.totals();
    stage.done = totals.handshakes - begun.totals.handshakes;
    stage.lost = totals.given_up - begun.totals.given_up;
    stage.asked = stage.done + stage.lost;
    stage.broker_cpu_us_each = each(stage.broker_cpu_s, stage.done);
    if figures.skipped > 0 {
        rig.run.notes.push(format!("{} connects were left out: the broker was behind", figures.skipped));
    }
    note_flow(&mut stage, &super::load::Figures::default());
    rig.keep(stage);
    rig.rest(REST)?;
    let after = Holdings::now(rig);
    compare(&mut rig.run, &before, &after);
    let held = rig.fleet.totals().held;
    if held != u64::from(options.connections) && !rig.is_interrupted() {
        rig.run.problems.push(format!("{held} of {} clients that stay are connected", options.connections));
    }
    rig.leave()
}

/// Churns for `seconds`, until the last has left.
fn spin(rig: &mut Rig, options: &Churn, seconds: f64) -> anyhow::Result<()> {
    let interval_us = f64::from(rig.fleet.shards()) * 1e6 / options.rate;
    let from = options.connections;
    rig.fleet.command(|_| Command::Churn { from, interval_us })?;
    rig.watch("churn", Duration::from_secs_f64(seconds), LOOK, |_| false)?;
    rig.fleet.command(|_| Command::StopChurn)?;
    rig.watch("churn", FOR_EVER, LOOK, |t| t.task_left == 0).map(drop)
}

impl Holdings {
    fn now(rig: &Rig) -> Self {
        Self {
            memory_bytes: rig.broker.usage().map(|usage| usage.rss_bytes),
            descriptors: rig.broker.descriptors(),
            sockets: tcp_sockets_at(rig.broker.address.port()),
        }
    }
}

/// Writes both down, and what has not come back as a problem.
fn compare(run: &mut Run, before: &Holdings, after: &Holdings) {
    if let (Some(was), Some(is)) = (before.memory_bytes, after.memory_bytes) {
        run.figures.extend([("broker_bytes_before", was as f64), ("broker_bytes_after", is as f64)]);
        if is as f64 > was as f64 * MEMORY_FACTOR + MEMORY_BYTES {
            run.problems.push(format!(
                "memory did not return: {} before, {} after",
                size::bytes(was),
                size::bytes(is)
            ));
        }
    }
    if let (Some(was), Some(is)) = (before.descriptors, after.descriptors) {
        run.figures
            .extend([("broker_descriptors_before", was as f64), ("broker_descriptors_after", is as f64)]);
        if is > was + SLACK {
            run.problems.push(format!("descriptors did not return: {was} before, {is} after"));
        }
    }
    let (was, is) = (before.sockets, after.sockets);
    run.figures.extend([("sockets_before", was as f64), ("sockets_after", is as f64)]);
    if is > was + SLACK {
        run.problems.push(format!("sockets did not return: {was} before, {is} after"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_return_is_named() {
        let before = Holdings { memory_bytes: Some(100_000_000), descriptors: Some(20), sockets: 1_000 };
        let mut run = Run::default();
        let same = Holdings { memory_bytes: Some(116_000_000), descriptors: Some(21), sockets: 1_001 };
        compare(&mut run, &before, &same);
        assert!(run.problems.is_empty() && run.figures.len() == 6);
        let grown = Holdings { memory_bytes: Some(118_000_000), descriptors: Some(40), sockets: 2_000 };
        compare(&mut run, &before, &grown);
        assert_eq!(run.problems.len(), 3);
        let mut run = Run::default();
        compare(&mut run, &Holdings::default(), &Holdings::default());
        assert_eq!((run.problems.len(), run.figures.len()), (0, 2));
    }
}
