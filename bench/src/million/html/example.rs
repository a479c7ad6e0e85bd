//! Runs for the tests: one with everything in it, as a million connections on two cores might look, and parts of it.
//!
//! All of it is computed, the same at each call; no figure was measured.

use std::collections::BTreeMap;

use crate::million::results::*;

const CONNECTIONS: u64 = 1_000_000;
/// The broker's bytes for one connection; the kernel's for one end; the load generator's.
const BROKER: f64 = 612.0;
const KERNEL: f64 = 3_920.0;
const LOAD: f64 = 88.0;
const TOTAL: f64 = 25.2e9;

/// What a stage does to the machine, from `begin` on.
struct Part {
    name: &'static str,
    title: &'static str,
    begin: f64,
    seconds: f64,
    /// Connections at its end; they change evenly.
    until: u64,
    messages_per_s: f64,
    broker_cpus: f64,
    load_cpus: f64,
    /// Median of its latency, and how far the tail reaches.
    median_us: f64,
    tail: f64,
    asked: u64,
}

#[rustfmt::skip]
fn parts() -> Vec<Part> {
    let part = |name, title, begin, seconds, until, rates: (f64, f64, f64), latency: (f64, f64), asked| Part {
        name, title, begin, seconds, until, asked,
        messages_per_s: rates.0, broker_cpus: rates.1, load_cpus: rates.2, median_us: latency.0, tail: latency.1,
    };
    let held = CONNECTIONS;
    vec![
        part("fill", "Connects all clients, two SUBSCRIBEs each", 2.0, 68.0, held, (0.0, 0.46, 0.61), (14_800.0, 1.7), held),
        part("hold", "Holds them, with nothing but due PINGREQs", 70.0, 10.0, held, (180.0, 0.006, 0.02), (0.0, 0.0), 0),
        part("ping", "PINGREQs over random clients", 80.0, 10.0, held, (2000.0, 0.018, 0.05), (92.0, 1.9), 20_000),
        part("p2p0", "QoS 0 from a random client to another's topic", 90.0, 10.0, held, (2000.0, 0.03, 0.06), (131.0, 2.0), 20_000),
        part("p2p1", "QoS 1 from a random client to another's topic", 100.0, 10.0, held, (2000.0, 0.05, 0.08), (188.0, 2.1), 20_000),
        part("fanout", "One PUBLISH to a group of 1000, 20 times", 110.0, 4.0, held, (5000.0, 0.04, 0.04), (1_750.0, 1.25), 20_000),
        part("storm", "Cuts 10 % at once; they come back at full speed", 114.0, 8.0, held, (2000.0, 0.7, 0.8), (310.0, 3.4), 100_000),
        part("takeover", "1 % connect again while the first connection is open", 122.0, 3.0, held, (0.0, 0.3, 0.3), (940.0, 1.8), 10_000),
        part("end", "All clients DISCONNECT", 125.0, 12.0, 0, (0.0, 0.5, 0.5), (0.0, 0.0), held),
    ]
}

/// Everything that a run can have.
pub(super) fn everything() -> Run {
    let parts = parts();
    let samples = (0..=138).map(|second| sample(&parts, f64::from(second))).collect();
    let stages = parts.iter().map(|part| stage(part, &parts)).collect();
    Run {
        format: FORMAT,
        tool: "myriad-bench million".into(),
        tool_version: "0.1.0".into(),
        conditions: conditions(),
        checks: checks(),
        connections_fit: Some(2_350_000),
        connections_wanted: CONNECTIONS,
        connections_reached: CONNECTIONS,
        samples,
        stages,
        steps: [1_000, 10_000, 100_000, 500_000, 1_000_000].map(step).to_vec(),
        memory: Some(Memory {
            connections: CONNECTIONS,
            broker_bytes_per_connection: Some(BROKER),
            broker_empty_bytes: Some(14_200_000),
            broker_peak_over_held: Some(1.04),
            load_bytes_per_connection: LOAD,
            kernel_bytes_per_connection: KERNEL,
            both_ends_here: true,
            available_bytes_per_connection: 2.0 * KERNEL + BROKER + LOAD + 260.0,
        }),
        figures: BTreeMap::new(),
        failures: BTreeMap::new(),
        broker_exit: Some(BrokerExit { status: Some(0), seconds: 1.34, killed: false }),
        notes: vec![
            "The load generator kept its cores busy for 12 of 68 s of the fill: its cost is in the rate."
                .into(),
        ],
        problems: Vec::new(),
        interrupted: false,
        seconds: 139.2,
    }
}

/// What a run looks like that fell short: fewer than wanted, failures, losses, no figures of the broker's process.
pub(super) fn fell_short() -> Run {
    let mut run = everything();
    run.connections_wanted = 2 * CONNECTIONS;
    run.failures =
        BTreeMap::from([("closed before CONNACK".into(), 1311), ("connect: ECONNREFUSED".into(), 3)]);
    run.notes.push("Memory ran out: less than 10 % was available, so filling stopped at 1,000,000.".into());
    run.problems = vec!["1,000,000 of 2,000,000 connected.".into(), "storm: 3 connections were lost.".into()];
    (run.connections_fit, run.memory, run.broker_exit) = (Some(1_100_000), None, None);
    run.steps.truncate(1);
    for sample in &mut run.samples {
        (sample.broker_rss_bytes, sample.broker_anon_bytes, sample.broker_cpus) = (None, None, None);
    }
    for stage in &mut run.stages {
        (stage.broker_cpu_s, stage.broker_cpu_us_each, stage.broker_rss_peak_bytes) = (None, None, None);
        match stage.name {
            "p2p0" => stage.lost = 12,
            "storm" => (stage.connections_lost, stage.lost) = (3, 5),
            _ => {}
        }
    }
    run
}

/// Thirty minutes: the hold is longer.
pub(super) fn half_an_hour() -> Run {
    let mut parts = parts();
    for part in &mut parts {
        match part.name {
            "fill" => {}
            "hold" => part.seconds += 1660.0,
            _ => part.begin += 1660.0,
        }
    }
    let samples = (0..=1798).map(|second| sample(&parts, f64::from(second))).collect();
    let stages = parts.iter().map(|part| stage(part, &parts)).collect();
    Run { samples, stages, seconds: 1799.0, ..everything() }
}

/// A number in 0..1 that looks like chance, the same for the same `n`.
fn chance(n: u64) -> f64 {
    let mixed = (n ^ 0x9e37_79b9).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ (n << 21);
    (mixed.wrapping_mul(0x94d0_49bb_1331_11eb) >> 11) as f64 / (1u64 << 53) as f64
}

fn part_at(parts: &[Part], t: f64) -> Option<&Part> {
    parts.iter().find(|part| t >= part.begin && t < part.begin + part.seconds)
}

fn held_at(parts: &[Part], t: f64) -> f64 {
    let mut held = 0.0;
    for part in parts.iter().filter(|part| t >= part.begin) {
        let share = ((t - part.begin) / part.seconds).min(1.0);
        let eased = if part.name == "fill" { share.powf(1.06) } else { share };
        let cut = if part.name == "storm" && share < 1.0 { (1.0 - share) * 0.1 * held } else { 0.0 };
        held = held + (part.until as f64 - held) * eased - cut;
    }
    held
}

fn sample(parts: &[Part], t: f64) -> Sample {
    let held = held_at(parts, t);
    let before = held_at(parts, t - 1.0);
    let part = part_at(parts, t);
    let noise = |n: u64| 1.0 + 0.09 * (chance(t as u64 * 8 + n) - 0.5);
    let of = |value: fn(&Part) -> f64, n| part.map_or(0.0, value) * noise(n);
    let (broker, load) = (of(|part| part.broker_cpus, 1), of(|part| part.load_cpus, 2) + 0.01);
    let sockets = held * KERNEL * 2.0;
    let buffers = of(|part| part.messages_per_s, 3) * 4096.0 + (held - before).max(0.0) * 2300.0;
    let kept = if t > 125.0 { 0.34 * (1e6 - held) * BROKER } else { 0.0 };
    let rss = 14.2e6 + held * BROKER + kept;
    let own = 21e6 + CONNECTIONS as f64 * LOAD * (held / 1e6).max(if t > 70.0 { 1.0 } else { 0.0 });
    Sample {
        t_s: t,
        stage: part.map_or("", |part| part.name),
        connections: held as u64,
        connections_per_s: (held - before).max(0.0) * noise(4),
        messages_per_s: of(|part| part.messages_per_s, 5),
        broker_rss_bytes: Some(rss as u64),
        broker_anon_bytes: Some((rss - 6e6) as u64),
        slab_bytes: (212e6 + sockets) as u64,
        tcp_buffers_bytes: buffers as u64,
        memory_available_bytes: (TOTAL * 0.96 - sockets - buffers - rss - own - held * 260.0) as u64,
        load_rss_bytes: own as u64,
        broker_cpus: Some(broker),
        load_cpus: load,
        machine_cpus: (broker + load + 0.35 * (broker + load) * noise(6) + 0.02).min(2.0),
        p50_us: None,
        p99_us: None,
    }
}

fn stage(part: &Part, parts: &[Part]) -> Stage {
    let end = part.begin + part.seconds;
    let cpu = part.broker_cpus * part.seconds;
    let each = (part.asked > 0).then(|| cpu * 1e6 / part.asked as f64);
    let second = |median| Some(latency(median, 1.6, 9, part.asked.clamp(20, 100_000)));
    let (second_latency, second_title) = match part.name {
        "p2p1" => (second(121.0), Some("PUBLISH QoS 1 to PUBACK")),
        "storm" => (second(31_000.0), Some("handshakes of the returning clients")),
        "fanout" => (Some(latency(3_100.0, 1.1, 5, 20)), Some("PUBLISH until the last subscriber had it")),
        _ => (None, None),
    };
    Stage {
        name: part.name,
        title: part.title.into(),
        t_s: part.begin,
        seconds: part.seconds,
        connections_before: held_at(parts, part.begin - 0.1) as u64,
        connections_after: part.until,
        asked: part.asked,
        done: part.asked,
        per_s: part.asked as f64 / part.seconds,
        latency: (part.median_us > 0.0)
            .then(|| latency(part.median_us, part.tail, part.begin as u64, part.asked)),
        second_latency,
        second_title,
        broker_cpu_s: Some(cpu),
        load_cpu_s: part.load_cpus * part.seconds,
        broker_cpu_us_each: each,
        keep_alive_pings: if part.name == "hold" { 1_812 } else { 0 },
        broker_rss_peak_bytes: Some((14.2e6 + held_at(parts, end).max(1e5) * BROKER * 1.04) as u64),
        notes: if part.name == "storm" {
            vec!["The 100,000 were cut within 0.4 s.".into()]
        } else {
            Vec::new()
        },
        ..Stage::default()
    }
}

/// `count` latencies around `median_us`, with a tail that is longer the larger `tail` is.
fn latency(median_us: f64, tail: f64, seed: u64, count: u64) -> Latency {
    let drawn = count.min(20_000);
    let mut values: Vec<u64> = (0..drawn)
        .map(|n| {
            let (a, b, c) = (chance(seed * 77_777 + n * 3), chance(n * 3 + 1 + seed), chance(n * 3 + 2));
            let bell = (a + b + c - 1.5) * 0.55;
            let late = if chance(n * 31 + seed) > 0.985 { chance(n * 17 + 5) * tail } else { 0.0 };
            (median_us * (bell + late).exp()) as u64
        })
        .collect();
    values.sort_unstable();
    let weight = count / drawn.max(1);
    let at = |share: f64| values[((drawn - 1) as f64 * share) as usize];
    let mut buckets: Vec<Bucket> = Vec::new();
    for value in &values {
        let up_to_us =
            2f64.powf(((*value).max(1) as f64).log2().mul_add(8.0, -1e-9).ceil() / 8.0).floor() as u64;
        match buckets.last_mut() {
            Some(bucket) if bucket.up_to_us == up_to_us => bucket.count += weight,
            _ => buckets.push(Bucket { up_to_us, count: weight }),
        }
    }
    Latency {
        count,
        mean_us: values.iter().sum::<u64>() as f64 / drawn as f64,
        min_us: at(0.0),
        p50_us: at(0.5),
        p90_us: at(0.9),
        p99_us: at(0.99),
        p999_us: at(0.999),
        p9999_us: at(0.9999),
        max_us: at(1.0),
        buckets,
    }
}

fn step(connections: u64) -> Step {
    let size = (connections as f64).log10() - 3.0;
    let cost = |cpu_us: f64, p99: f64, per_s| Cost {
        cpu_us: Some(cpu_us * (1.0 + 0.06 * size)),
        p50_us: (p99 * 0.4) as u64,
        p99_us: (p99 * (1.0 + 0.3 * size)) as u64,
        per_s,
    };
    Step {
        connections,
        bytes_per_connection: Some(BROKER + 900.0 / 10f64.powf(size)),
        bytes_per_connection_slope: (connections > 1000).then_some(BROKER - 8.0),
        kernel_bytes_per_connection: KERNEL + 300.0 / 10f64.powf(size),
        connect: cost(27.0, 21_000.0, 14_700.0),
        ping: Some(cost(7.6, 230.0, 2000.0)),
        publish_qos0: Some(cost(12.8, 290.0, 2000.0)),
        publish_qos1: Some(cost(20.4, 410.0, 2000.0)),
    }
}

fn conditions() -> Conditions {
    let words = |line: &str| line.split(' ').map(String::from).collect();
    Conditions {
        command: words(
            "myriad-bench million --netns --steps 1k,10k,100k,500k,1M --html million.html --json million.json",
        ),
        started_unix_s: 1_795_359_483,
        started: "2026-11-22T14:58:03Z".into(),
        kernel: "Linux 6.18.5".into(),
        cpu_model: "AMD EPYC 9B14".into(),
        cores: 2,
        memory_total_bytes: TOTAL as u64,
        memory_available_bytes: (TOTAL * 0.96) as u64,
        open_files_max: 20_000,
        broker_address: "127.0.0.1:40113".into(),
        broker_command: words("myriad --listen mqtt://127.0.0.1:40113 --set storage.durability=memory"),
        broker_version: Some("myriad 0.1.0".into()),
        broker_threads: Some(2),
        load_shards: 2,
        source_addresses: 40,
        network_namespace: true,
        mqtt_version: 4,
        keep_alive_s: 300,
        message_rate: 2000.0,
        connect_rate: 0.0,
        handshakes_max: 1024,
        payload_bytes: 64,
        group_len: 1000,
    }
}

fn checks() -> Vec<CheckRow> {
    let row = |name: &str, has: &str, needs: &str, fits, mend: Option<&str>| CheckRow {
        name: name.into(),
        has: has.into(),
        needs: needs.into(),
        verdict: if mend.is_some() { Verdict::FallsShort } else { Verdict::Ok },
        fits,
        mend: mend.map(String::from),
    };
    vec![
        row("cores", "2", "2 or more", None, None),
        row("memory", "24.2 GB available", "9.0 GB", Some(2_350_000), None),
        row("RLIMIT_NOFILE", "20,000", "no cap: several rings", None, None),
        row("fs.file-max", "9,223,372,036,854,775,807", "2,000,000", None, None),
        row(
            "net.ipv4.ip_local_port_range",
            "1024 to 65535, 40 addresses",
            "1,000,000",
            Some(2_580_480),
            None,
        ),
        row(
            "net.ipv4.tcp_mem",
            "2.3 GB",
            "4.1 GB under load",
            Some(560_000),
            Some("sysctl -w net.ipv4.tcp_mem='…'"),
        ),
        row("conntrack", "not loaded", "not loaded", None, None),
        row("io_uring", "6.18", "6.1", None, None),
    ]
}
