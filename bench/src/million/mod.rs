//! `myriad-bench million`: as many connections as the machine holds, real MQTT clients, measured while they are held.
//!
//! `options` and `ground` (the machine `check`) come first, then `broker` (one of its own, or any) and `fleet` (the load shards; what one does
//! is in `load`). `rig` brings them together, `stages` are what is measured, `results` is what the JSON says,
//! `summary` what people read. `churn`, `sessions` and `retained` are smaller runs of the same parts. Works with any broker: of Myriad it knows how to start it, no more.

mod broker;
mod check;
mod churn;
mod fleet;
mod ground;
mod histogram;
mod html;
mod live;
mod load;
mod machine;
mod meter;
mod netns;
mod options;
mod results;
mod retained;
mod rig;
mod sessions;
mod size;
mod stages;
mod summary;
mod target;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, bail};
use myriad::metrics::datetime_utc;

pub(crate) use self::churn::{Churn, run as run_churn};
pub(crate) use self::options::Options;
pub(crate) use self::retained::{Retained, run as run_retained};
pub(crate) use self::sessions::{Sessions, run as run_sessions};

use self::broker::Broker;
use self::check::Wish;
use self::fleet::Fleet;
use self::ground::{GROUP_LEN, Ground};
use self::live::Live;
use self::load::Plan;
use self::options::StageName;
use self::results::{Conditions, Cost, FORMAT, Memory, Run, Stage, Step};
use self::rig::Rig;
use self::target::Target;
use crate::proc::Machine;

/// The machine's time to come to rest before the first measurement.
const SETTLE: Duration = Duration::from_millis(500);

/// Runs it all; the exit status says whether all clients were connected and nothing was lost.
pub(crate) fn run(options: Options) -> ExitCode {
    if let Err(why) = options.check() {
        return crate::fail(2, &format!("{why:#}"));
    }
    if let Err(why) = crate::check_writable(options.json.as_deref()) {
        return crate::fail(2, &format!("{why:#}"));
    }
    if let Err(why) = report_writable(&options) {
        return crate::fail(2, &format!("{why:#}"));
    }
    let start = Instant::now();
    let mut run = match measure(&options) {
        Ok(run) => run,
        Err(why) => return crate::fail(1, &format!("{why:#}")),
    };
    run.seconds = start.elapsed().as_secs_f64();
    if run.steps.len() > 1 {
        print!("{}", summary::steps(&run));
    }
    print!("{}", summary::last_lines(&run));
    if let Err(why) = write_results(&options, &run) {
        return crate::fail(1, &format!("{why:#}"));
    }
    if run.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Makes sure, before minutes of measuring, that the report can be kept.
fn report_writable(options: &Options) -> anyhow::Result<()> {
    if let Some(path) = &options.html {
        std::fs::File::create(path).with_context(|| format!("--html {}", path.display()))?;
    }
    if let Some(folder) = &options.images {
        std::fs::create_dir_all(folder).with_context(|| format!("--images {}", folder.display()))?;
    }
    Ok(())
}

fn write_results(options: &Options, run: &Run) -> anyhow::Result<()> {
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(run)? + "\n";
        std::fs::write(path, text).with_context(|| format!("--json {}", path.display()))?;
    }
    if let Some(path) = &options.html {
        std::fs::write(path, html::page(run)).with_context(|| format!("--html {}", path.display()))?;
    }
    if let Some(folder) = &options.images {
        for (name, text) in html::images(run) {
            std::fs::write(folder.join(name), text)
                .with_context(|| format!("--images {}", folder.display()))?;
        }
    }
    Ok(())
}

/// Checks, starts, measures, ends. An error: nothing was measured; later ones are among the run's problems.
fn measure(options: &Options) -> anyhow::Result<Run> {
    let target = &options.target;
    let ground = Ground::prepare(target, options.wanted(), 0, true)?;
    let (clients, wish) = (ground.clients, ground.wish);
    let broker = ground.broker(target, &ground::sets(clients))?;
    let plan = Plan {
        keep_alive_s: options.keep_alive,
        payload_len: options.payload as usize,
        ..ground.plan(target, &broker)
    };
    let mut rig = rig("myriad-bench million", target, ground, broker, plan)?;
    let conditions = &mut rig.run.conditions;
    (conditions.message_rate, conditions.connect_rate) = (options.message_rate, options.rate);
    if let Err(why) = stages(&mut rig, options, clients, &wish) {
        rig.run.problems.push(format!("{why:#}"));
    }
    let mut run = finish(rig);
    if run.connections_reached < wish.connections {
        let (reached, wanted) = (size::grouped(run.connections_reached), size::grouped(wish.connections));
        run.problems.push(format!("{reached} of {wanted} connections held"));
    }
    Ok(run)
}

/// One sentence on the stages during which other programs had the machine.
fn note_others(run: &mut Run) {
    let others = |s: &&Stage| s.other_cpus.is_some_and(|cpus| cpus > rig::OTHER_CPUS_MAX);
    let names: Vec<&str> = run.stages.iter().filter(others).map(|s| s.name).collect();
    let most = run.stages.iter().filter_map(|s| s.other_cpus).fold(0.0, f64::max);
    if !names.is_empty() {
        let names = names.join(", ");
        run.notes.push(format!(
            "other work kept up to {most:.1} CPUs busy during {names}: trust CPU figures more than latencies"
        ));
    }
}

/// Starts the load shards and brings all parts together.
fn rig(tool: &str, target: &Target, ground: Ground, broker: Broker, plan: Plan) -> anyhow::Result<Rig> {
    let mut run = blank(tool, target, &ground, &plan);
    run.conditions.broker_address = broker.address.to_string();
    run.conditions.broker_version = broker.version.clone();
    if let Some(process) = broker.process() {
        run.conditions.broker_threads = Some(process.threads);
        run.conditions.broker_command = process.command;
    }
    let fleet = Fleet::start(plan, ground.shards, ground::room(ground.clients))?;
    std::thread::sleep(SETTLE);
    let empty = broker.usage().map(|usage| usage.rss_bytes);
    let live = Live::new(target.quiet, ground.clients.into(), empty);
    Ok(Rig::new(fleet, broker, live, run, ground.interrupt))
}

/// What the smaller subcommands end with: the last lines, the JSON, the exit status.
fn conclude(json: Option<&Path>, measure: impl FnOnce() -> anyhow::Result<Run>) -> ExitCode {
    if let Err(why) = crate::check_writable(json) {
        return crate::fail(2, &format!("{why:#}"));
    }
    let start = Instant::now();
    let mut run = match measure() {
        Ok(run) => run,
        Err(why) => return crate::fail(1, &format!("{why:#}")),
    };
    run.seconds = start.elapsed().as_secs_f64();
    print!("{}", summary::last_lines(&run));
    let written = json.map_or(Ok(()), |path| {
        let text = serde_json::to_string_pretty(&run)? + "\n";
        std::fs::write(path, text).with_context(|| format!("--json {}", path.display()))
    });
    match written {
        Err(why) => crate::fail(1, &format!("{why:#}")),
        Ok(()) if run.problems.is_empty() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
    }
}

/// Ends load and broker, and what the run says of itself.
fn finish(rig: Rig) -> Run {
    rig.live.clear();
    let is_interrupted = rig.is_interrupted();
    let Rig { fleet, broker, meter, mut run, .. } = rig;
    run.samples = meter.samples;
    if let Err(why) = fleet.end() {
        run.problems.push(format!("{why:#}"));
    }
    run.broker_exit = broker.end();
    if let Some(exit) = run.broker_exit.as_ref().filter(|exit| exit.status != Some(0)) {
        run.problems.push(format!("the broker ended with {:?} after SIGTERM", exit.status));
    }
    note_others(&mut run);
    run.interrupted = is_interrupted;
    if run.interrupted {
        run.problems.push("interrupted before all stages were run".into());
    }
    run
}

fn blank(tool: &str, target: &Target, ground: &Ground, plan: &Plan) -> Run {
    let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let machine = Machine::here();
    let (facts, wish) = (&ground.facts, &ground.wish);
    let conditions = Conditions {
        command: std::env::args().collect(),
        started_unix_s: started,
        started: datetime_utc(started),
        kernel: machine.kernel,
        cpu_model: machine.cpu,
        cores: facts.cores,
        memory_total_bytes: facts.memory_total_bytes,
        memory_available_bytes: facts.memory_available_bytes,
        open_files_max: facts.open_files_max,
        load_shards: ground.shards,
        source_addresses: wish.sources,
        network_namespace: wish.network_namespace,
        mqtt_version: target.version,
        keep_alive_s: plan.keep_alive_s,
        handshakes_max: wish.handshakes,
        payload_bytes: plan.payload_len as u64,
        group_len: GROUP_LEN.into(),
        ..Conditions::default()
    };
    let mut run = Run {
        format: FORMAT,
        tool: tool.into(),
        tool_version: env!("CARGO_PKG_VERSION").into(),
        conditions,
        checks: ground.checks.clone(),
        connections_fit: check::fits(&ground.checks),
        connections_wanted: wish.connections,
        ..Run::default()
    };
    if u64::from(ground.clients) < wish.connections {
        run.notes.push(format!("only {} connections fit", size::grouped(ground.clients.into())));
    }
    run
}

/// All steps, then what is done once, with all clients.
fn stages(rig: &mut Rig, options: &Options, clients: u32, wish: &Wish) -> anyhow::Result<()> {
    let empty = meter::Reading::now(&rig.broker).memory;
    let steps = options.steps();
    for (i, step) in steps.iter().enumerate() {
        let complete = rig.fill((*step).min(clients), options.rate)?;
        let from = rig.run.stages.len() - 1;
        if rig.fleet.totals().held == 0 {
            bail!("not one client is connected: nothing else can be measured");
        }
        if !rig.is_interrupted() && rig.clients > 0 {
            measure_held(rig, options)?;
        }
        note_memory(rig, &empty, wish.both_ends_here);
        note_step(rig, from);
        let last = i + 1 == steps.len() || *step >= clients;
        if last || !complete || rig.is_interrupted() {
            break;
        }
    }
    let (storm, takeover) = Rig::PARTS;
    if options.runs(StageName::Fanout) && rig.clients > 0 && !rig.is_interrupted() {
        rig.fan_out(GROUP_LEN)?;
    }
    if options.runs(StageName::Storm) && rig.has_part(storm) && !rig.is_interrupted() {
        rig.storm(options.message_rate, options.storm_all)?;
    }
    if options.runs(StageName::Takeover) && rig.has_part(takeover) && !rig.is_interrupted() {
        rig.take_over()?;
    }
    if rig.is_interrupted() {
        return Ok(());
    }
    rig.leave()
}

/// What is measured at every step.
fn measure_held(rig: &mut Rig, options: &Options) -> anyhow::Result<()> {
    let (rate, seconds) = (options.message_rate, options.duration);
    if options.runs(StageName::Hold) && options.hold > 0.0 {
        rig.hold(options.hold)?;
    }
    if options.runs(StageName::Ping) && !rig.is_interrupted() {
        rig.ping(rate, seconds)?;
    }
    for (stage, qos) in [(StageName::P2p0, 0), (StageName::P2p1, 1)] {
        if options.runs(stage) && !rig.is_interrupted() {
            rig.publish(qos, rate, seconds)?;
        }
    }
    Ok(())
}

/// What the held connections cost: as they were at the end of the last fill, or of the hold after it.
fn note_memory(rig: &mut Rig, empty: &results::MemoryNow, both_ends_here: bool) {
    let stages = &rig.run.stages;
    let Some(fill) = stages.iter().rev().find(|s| s.name == "fill") else { return };
    let held = stages.iter().rev().find(|s| s.name == "hold" && s.t_s > fill.t_s).unwrap_or(fill);
    let (n, after) = (held.connections_after, held.after);
    if n == 0 {
        return;
    }
    let grown = |now: u64, before: u64| (now as f64 - before as f64) / n as f64;
    let broker = after.broker_rss_bytes.zip(empty.broker_rss_bytes);
    let ends = if both_ends_here { 2.0 } else { 1.0 };
    let peaks = stages.iter().filter(|s| s.name == "fill").filter_map(|s| s.broker_rss_peak_bytes);
    let peak = peaks.max().zip(after.broker_rss_bytes);
    rig.run.memory = Some(Memory {
        connections: n,
        broker_bytes_per_connection: broker.map(|(now, before)| grown(now, before)),
        broker_empty_bytes: empty.broker_rss_bytes,
        broker_peak_over_held: peak.map(|(peak, held)| peak as f64 / held.max(1) as f64),
        load_bytes_per_connection: grown(after.load_rss_bytes, empty.load_rss_bytes),
        kernel_bytes_per_connection: grown(after.slab_bytes, empty.slab_bytes) / ends,
        both_ends_here,
        available_bytes_per_connection: grown(empty.memory_available_bytes, after.memory_available_bytes),
    });
}

/// The row of the step whose stages begin at `from`.
fn note_step(rig: &mut Rig, from: usize) {
    let stages = rig.run.stages.get(from..).unwrap_or_default();
    let cost = |name: &str| stages.iter().find(|s| s.name == name).map(cost);
    let (Some(memory), Some(connect)) = (rig.run.memory, cost("fill")) else { return };
    let total = |each: f64, n: u64| each * n as f64;
    let before = rig.run.steps.last().and_then(|s| Some((s.connections, s.bytes_per_connection?)));
    let slope = memory.broker_bytes_per_connection.map(|now| {
        let (n, each) = before.unwrap_or((0, 0.0));
        let more = memory.connections.saturating_sub(n).max(1);
        (total(now, memory.connections) - total(each, n)) / more as f64
    });
    let step = Step {
        connections: memory.connections,
        bytes_per_connection: memory.broker_bytes_per_connection,
        bytes_per_connection_slope: slope,
        kernel_bytes_per_connection: memory.kernel_bytes_per_connection,
        connect,
        ping: cost("ping"),
        publish_qos0: cost("p2p0"),
        publish_qos1: cost("p2p1"),
    };
    rig.run.steps.push(step);
}

fn cost(stage: &Stage) -> Cost {
    let latency = |pick: fn(&results::Latency) -> u64| stage.latency.as_ref().map_or(0, pick);
    Cost {
        cpu_us: stage.broker_cpu_us_each,
        p50_us: latency(|l| l.p50_us),
        p99_us: latency(|l| l.p99_us),
        per_s: stage.per_s,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_json_has_all_parts_and_nulls_where_nothing_was_measured() {
        let stage = Stage { name: "fill", latency: Some(results::Latency::default()), ..Stage::default() };
        let run = Run { format: FORMAT, stages: vec![stage], ..Run::default() };
        let json: serde_json::Value = serde_json::from_str(&serde_json::to_string(&run).unwrap()).unwrap();
        assert_eq!(json["format"], 1);
        assert_eq!(json["stages"][0]["name"], "fill");
        assert!(json["stages"][0]["latency"]["buckets"].is_array());
        assert!(json["memory"].is_null() && json["stages"][0]["broker_cpu_s"].is_null());
    }
}
