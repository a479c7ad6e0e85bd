//! `myriad-bench million`: as many connections as the machine holds, real MQTT clients, measured while they are held.
//!
//! `options` and `check` come first, then `broker` (one of its own, or any) and `fleet` (the load shards; what one does
//! is in `load`). `rig` brings them together, `stages` are what is measured, `results` is what the JSON says,
//! `summary` what people read. Works with any broker: of Myriad it knows how to start it, no more.

mod broker;
mod check;
mod fleet;
mod histogram;
mod live;
mod load;
mod machine;
mod meter;
mod netns;
mod options;
mod results;
mod rig;
mod size;
mod stages;
mod summary;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, bail};
use myriad::metrics::datetime_utc;
use signal_hook::consts::{SIGINT, SIGTERM};

pub(crate) use self::options::Options;

use self::broker::Broker;
use self::check::Wish;
use self::fleet::Fleet;
use self::live::Live;
use self::load::{Plan, Subscriptions};
use self::machine::Facts;
use self::options::StageName;
use self::results::{Conditions, Cost, FORMAT, Memory, Run, Stage, Step, Verdict};
use self::rig::Rig;
use crate::proc::Machine;

/// Start of Client Identifiers and topics: `million-000000000123`, `million/c/123`.
const PREFIX: &str = "million";
/// Subscribers of one group topic.
const GROUP_LEN: u32 = 1000;
/// Handshakes outstanding on one load shard.
const HANDSHAKES: u32 = 512;
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

fn write_results(options: &Options, run: &Run) -> anyhow::Result<()> {
    let Some(path) = &options.json else { return Ok(()) };
    let text = serde_json::to_string_pretty(run)? + "\n";
    std::fs::write(path, text).with_context(|| format!("--json {}", path.display()))
}

/// Checks, starts, measures, ends. An error: nothing was measured; later ones are among the run's problems.
fn measure(options: &Options) -> anyhow::Result<Run> {
    let peer = options.peer()?;
    if options.netns {
        netns::enter()?;
    }
    let interrupt = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The second one ends the program at once.
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&interrupt))?;
        signal_hook::flag::register(signal, Arc::clone(&interrupt))?;
    }
    let facts = Facts::here(options.pid);
    let target = peer.map_or(std::net::Ipv4Addr::LOCALHOST.into(), |to| to.ip());
    let sources = options.sources(target, facts.ports_len());
    let shards = options.load_shards.unwrap_or_else(|| u16::try_from(facts.cores).unwrap_or(u16::MAX));
    let handshakes = options.handshakes.map_or(HANDSHAKES, |all| all.div_ceil(u32::from(shards)));
    let wish = Wish {
        connections: options.wanted().into(),
        sources: sources.len() as u64,
        own_broker: peer.is_none(),
        both_ends_here: peer.is_none() || options.pid.is_some() || target.is_loopback(),
        handshakes: u64::from(handshakes) * u64::from(shards),
        network_namespace: options.netns,
    };
    let mut run = blank(options, &facts, &wish);
    run.checks = check::rows(&facts, &wish);
    run.connections_fit = check::fits(&run.checks);
    println!("{}", check::table(&run.checks, wish.connections));
    let clients = clients_that_fit(&mut run, wish.connections)?;

    let broker = match peer {
        Some(address) => Broker::running(address, options.pid)?,
        None => Broker::start(options, &sets(clients))?,
    };
    run.conditions.broker_address = broker.address.to_string();
    run.conditions.broker_version = broker.version.clone();
    run.conditions.load_shards = shards;
    if let Some(process) = broker.process() {
        run.conditions.broker_threads = Some(process.threads);
        run.conditions.broker_command = process.command;
    }
    if let Some(log) = &broker.log {
        println!(
            "broker   {} at {}, log {}",
            broker.version.as_deref().unwrap_or(""),
            broker.address,
            log.display()
        );
    }
    let plan = Plan {
        to: broker.address,
        sources,
        version: options.protocol(),
        prefix: PREFIX.into(),
        keep_alive_s: options.keep_alive,
        clean: true,
        subscriptions: Subscriptions::OwnAndGroup,
        clients_max: clients,
        group_len: GROUP_LEN,
        handshakes: handshakes as usize,
        payload_len: options.payload as usize,
    };
    let fleet = Fleet::start(plan, shards, room(clients))?;
    std::thread::sleep(SETTLE);
    let empty = broker.usage().map(|usage| usage.rss_bytes);
    let live = Live::new(options.quiet, clients.into(), empty);
    let mut rig = Rig::new(fleet, broker, live, run, interrupt);
    if let Err(why) = stages(&mut rig, options, clients, &wish) {
        rig.run.problems.push(format!("{why:#}"));
    }
    rig.live.clear();
    Ok(finish(rig, &wish))
}

/// Ends load and broker, and what the run says of itself.
fn finish(rig: Rig, wish: &Wish) -> Run {
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
    run.interrupted = is_interrupted;
    if run.interrupted {
        run.problems.push("interrupted before all stages were run".into());
    }
    if run.connections_reached < wish.connections {
        let (reached, wanted) = (size::grouped(run.connections_reached), size::grouped(wish.connections));
        run.problems.push(format!("{reached} of {wanted} connections held"));
    }
    run
}

/// How many clients to connect: what is wanted, or what fits.
fn clients_that_fit(run: &mut Run, wanted: u64) -> anyhow::Result<u32> {
    if let Some(row) = run.checks.iter().find(|row| row.verdict == Verdict::Fatal) {
        bail!("{}: {}", row.name, row.mend.as_deref().unwrap_or("not there"));
    }
    let clients = run.connections_fit.map_or(wanted, |fit| fit.min(wanted));
    if clients == 0 {
        bail!("not one connection fits; the rows above that fall short say why");
    }
    if clients < wanted {
        let note = format!("going on with the {} connections that fit", size::grouped(clients));
        println!("{note}");
        run.notes.push(note);
    }
    Ok(clients as u32)
}

/// What a broker must be told for `clients` clients, a few of which connect twice.
fn sets(clients: u32) -> Vec<String> {
    let room = room(clients);
    // Their own topics and the groups'.
    let filters = (clients + clients / GROUP_LEN + 1).max(131_072);
    vec![
        format!("limits.max_connections={room}"),
        format!("listener.max_connections={room}"),
        format!("limits.subscriptions_expected={filters}"),
        "storage.durability=memory".into(),
    ]
}

/// Connections that there are at most: some clients have two for a moment.
fn room(clients: u32) -> u32 {
    clients + clients / 50 + 1024
}

fn blank(options: &Options, facts: &Facts, wish: &Wish) -> Run {
    let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let machine = Machine::here();
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
        source_addresses: wish.sources,
        network_namespace: options.netns,
        mqtt_version: options.version,
        keep_alive_s: options.keep_alive,
        message_rate: options.message_rate,
        connect_rate: options.rate,
        handshakes_max: wish.handshakes,
        payload_bytes: options.payload.into(),
        group_len: GROUP_LEN.into(),
        ..Conditions::default()
    };
    Run {
        format: FORMAT,
        tool: "myriad-bench million".into(),
        tool_version: env!("CARGO_PKG_VERSION").into(),
        conditions,
        connections_wanted: wish.connections,
        ..Run::default()
    }
}

/// All steps, then what is done once, with all clients.
fn stages(rig: &mut Rig, options: &Options, clients: u32, wish: &Wish) -> anyhow::Result<()> {
    let empty = meter::Reading::now(&rig.broker).memory;
    let steps = options.steps();
    for (i, step) in steps.iter().enumerate() {
        let complete = rig.fill((*step).min(clients), options.rate)?;
        let from = rig.run.stages.len() - 1;
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
        rig.storm(options.message_rate)?;
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
    fn a_broker_is_told_of_its_clients() {
        let sets = sets(1_000_000);
        assert_eq!(sets.first().unwrap(), "limits.max_connections=1021024");
        assert!(sets.contains(&"limits.subscriptions_expected=1001001".to_owned()));
    }

    #[test]
    fn more_than_fits_is_cut_and_said() {
        let mut run = Run { connections_fit: Some(300), ..Run::default() };
        assert_eq!(clients_that_fit(&mut run, 1_000).unwrap(), 300);
        assert!(run.notes.first().unwrap().contains("300"));
        assert_eq!(clients_that_fit(&mut run, 200).unwrap(), 200);
        run.connections_fit = Some(0);
        assert!(clients_that_fit(&mut run, 200).is_err());
    }

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
