//! What `myriad-bench million` writes with `--json`: everything that it measured, and under which conditions.
//!
//! Whoever draws it needs only this file. Units are in the names (`_us` microseconds, `_s` seconds, `_bytes`); times
//! named `t_s` are seconds since the run began and can be laid over each other. A field that could not be measured
//! (no `--pid`, a stage that was left out) is null; a list is then empty. Fields are only ever added.

use std::collections::BTreeMap;

use serde::Serialize;

/// Version of this form; grows when a field changes its meaning.
pub(crate) const FORMAT: u32 = 1;

/// A whole run: the top of the file.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Run {
    /// [`FORMAT`].
    pub(crate) format: u32,
    /// `myriad-bench million`.
    pub(crate) tool: String,
    pub(crate) tool_version: String,
    pub(crate) conditions: Conditions,
    /// The machine check, a row each, in the order in which it was printed.
    pub(crate) checks: Vec<CheckRow>,
    /// Connections that would fit by the machine check; null: nothing limits them.
    pub(crate) connections_fit: Option<u64>,
    /// Connections asked for with `--connections`.
    pub(crate) connections_wanted: u64,
    /// Most connections held at one time, each with its two subscriptions.
    pub(crate) connections_reached: u64,
    /// One a second over the whole run, in order of time.
    pub(crate) samples: Vec<Sample>,
    /// Every stage that was run, in order; with `--steps` the stages of all steps one after the other.
    pub(crate) stages: Vec<Stage>,
    /// One for each step of `--steps` (without it one, for the whole run): how the costs grow.
    pub(crate) steps: Vec<Step>,
    /// Memory of the held connections against before the first one.
    pub(crate) memory: Option<Memory>,
    /// Failures over the whole run by reason, most of them tried again: `"closed before CONNACK" → 3`.
    pub(crate) failures: BTreeMap<String, u64>,
    /// How the broker that this run started ended; null with `--host`.
    pub(crate) broker_exit: Option<BrokerExit>,
    /// What weakens the figures, in sentences: stopped early, fewer than wanted, load generator behind.
    pub(crate) notes: Vec<String>,
    /// Why the run counts as failed (exit status 1), a line each; empty: all connected, nothing lost.
    pub(crate) problems: Vec<String>,
    /// SIGINT ended it before all stages were run.
    pub(crate) interrupted: bool,
    /// Seconds from the start of the program to its last measurement.
    pub(crate) seconds: f64,
}

/// Under which conditions it was measured.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Conditions {
    /// The command line, word by word.
    pub(crate) command: Vec<String>,
    /// Begin, seconds since 1970 UTC.
    pub(crate) started_unix_s: u64,
    /// The same as text, UTC: `2026-11-22 14:58:03`.
    pub(crate) started: String,
    pub(crate) kernel: String,
    pub(crate) cpu_model: String,
    /// CPUs that the process may use.
    pub(crate) cores: u64,
    pub(crate) memory_total_bytes: u64,
    pub(crate) memory_available_bytes: u64,
    /// RLIMIT_NOFILE, hard, of this program (and of the broker that it starts).
    pub(crate) open_files_max: u64,
    /// Where the broker listens.
    pub(crate) broker_address: String,
    /// The broker's command line, empty if its process is not known.
    pub(crate) broker_command: Vec<String>,
    /// What `BROKER --version` says, if this run started it.
    pub(crate) broker_version: Option<String>,
    /// Threads of the broker.
    pub(crate) broker_threads: Option<u64>,
    /// Threads that made the load.
    pub(crate) load_shards: u16,
    /// Source addresses in use, each with up to `connections / source_addresses` connections.
    pub(crate) source_addresses: u64,
    /// Both ends ran in a network namespace of their own (`--netns`).
    pub(crate) network_namespace: bool,
    /// MQTT: 3 (3.1), 4 (3.1.1) or 5 (5.0).
    pub(crate) mqtt_version: u8,
    pub(crate) keep_alive_s: u16,
    /// Messages a second of the stages `ping`, `p2p0` and `p2p1`.
    pub(crate) message_rate: f64,
    /// Connections a second asked for in `fill`; 0: as fast as the broker answers.
    pub(crate) connect_rate: f64,
    /// Handshakes outstanding at most, over all load shards.
    pub(crate) handshakes_max: u64,
    /// Payload of each message, bytes.
    pub(crate) payload_bytes: u64,
    /// Subscribers of one group topic, for the fan-out.
    pub(crate) group_len: u64,
}

/// One row of the machine check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct CheckRow {
    /// What was looked at: `memory`, `fs.file-max`.
    pub(crate) name: String,
    /// What the machine has.
    pub(crate) has: String,
    /// What N connections need.
    pub(crate) needs: String,
    pub(crate) verdict: Verdict,
    /// Connections for which it suffices; null: it limits none.
    pub(crate) fits: Option<u64>,
    /// What to do, if it falls short.
    pub(crate) mend: Option<String>,
}

/// What a row of the machine check means for the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Ok,
    /// Less than wanted; the run goes on, with what fits.
    FallsShort,
    /// Can't work at all.
    Fatal,
}

/// The machine at one moment. Byte figures are totals, not per connection.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Sample {
    pub(crate) t_s: f64,
    /// Name of the stage under way: `fill`, `hold`, `ping`, …; empty between stages.
    pub(crate) stage: &'static str,
    /// Connections held, both SUBACKs in.
    pub(crate) connections: u64,
    /// Handshakes completed a second since the last sample.
    pub(crate) connections_per_s: f64,
    /// Messages (deliveries, PINGRESPs) a second since the last sample.
    pub(crate) messages_per_s: f64,
    /// The broker's resident memory, and the part of it that is anonymous (heap, stacks).
    pub(crate) broker_rss_bytes: Option<u64>,
    pub(crate) broker_anon_bytes: Option<u64>,
    /// Kernel memory in slabs, the whole machine (both ends' sockets are in it).
    pub(crate) slab_bytes: u64,
    /// Memory of TCP's buffers (`/proc/net/sockstat`).
    pub(crate) tcp_buffers_bytes: u64,
    pub(crate) memory_available_bytes: u64,
    /// This program's resident memory.
    pub(crate) load_rss_bytes: u64,
    /// CPUs kept busy since the last sample: 1.0 is one core.
    pub(crate) broker_cpus: Option<f64>,
    pub(crate) load_cpus: f64,
    /// All CPUs of the machine, other programs included.
    pub(crate) machine_cpus: f64,
    /// Latency of the stage under way until now.
    pub(crate) p50_us: Option<u64>,
    pub(crate) p99_us: Option<u64>,
}

/// One stage.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Stage {
    /// `fill`, `hold`, `ping`, `p2p0`, `p2p1`, `fanout`, `storm`, `takeover` or `end`.
    pub(crate) name: &'static str,
    /// One sentence on what it does, for a heading.
    pub(crate) title: String,
    /// When it began.
    pub(crate) t_s: f64,
    pub(crate) seconds: f64,
    /// Connections held when it began and when it ended.
    pub(crate) connections_before: u64,
    pub(crate) connections_after: u64,
    /// What was asked for: connections of `fill`, messages of `ping` and `p2p`, deliveries of `fanout`, clients of
    /// `storm` and `takeover`, disconnects of `end`.
    pub(crate) asked: u64,
    /// How much of it was done.
    pub(crate) done: u64,
    /// Done more than once (QoS 0 and 1 deliveries).
    pub(crate) duplicates: u64,
    /// Asked for and never done. 0 is what is expected, always.
    pub(crate) lost: u64,
    /// Connections that ended though they should not have. 0 is what is expected, always.
    pub(crate) connections_lost: u64,
    /// `done / seconds`.
    pub(crate) per_s: f64,
    /// The stage's main latency. `fill`: from the first packet of TCP to the second SUBACK; `ping` and `storm`: from
    /// the scheduled moment of PINGREQ to PINGRESP (storm: of those who were not cut); `p2p`, `fanout`: from the
    /// scheduled moment of PUBLISH to its delivery; `takeover`: from the first packet of the second connection to
    /// its CONNACK and the end of the first one, both.
    pub(crate) latency: Option<Latency>,
    /// `p2p1`: from the scheduled moment to PUBACK. `storm`: handshakes of the returning clients.
    /// `fanout`: until the last subscriber had it, one a repetition.
    pub(crate) second_latency: Option<Latency>,
    /// What `second_latency` is, for a heading.
    pub(crate) second_title: Option<&'static str>,
    /// CPU seconds of the broker and of this program during the stage.
    pub(crate) broker_cpu_s: Option<f64>,
    pub(crate) load_cpu_s: f64,
    /// The broker's CPU per thing done (`done`), the due keep-alive PINGREQs taken out at the cost of stage `ping`
    /// where that ran. `storm`: per returning client, all else included.
    pub(crate) broker_cpu_us_each: Option<f64>,
    /// Keep-alive PINGREQs that were due during the stage.
    pub(crate) keep_alive_pings: u64,
    /// Memory when it began, when it ended, and the largest sample in between.
    pub(crate) before: MemoryNow,
    pub(crate) after: MemoryNow,
    pub(crate) broker_rss_peak_bytes: Option<u64>,
    /// Failures of this stage by reason.
    pub(crate) failures: BTreeMap<String, u64>,
    /// What is to be known to read the figures.
    pub(crate) notes: Vec<String>,
}

/// Memory at one moment; as in [`Sample`].
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct MemoryNow {
    pub(crate) broker_rss_bytes: Option<u64>,
    pub(crate) broker_anon_bytes: Option<u64>,
    pub(crate) load_rss_bytes: u64,
    pub(crate) slab_bytes: u64,
    pub(crate) tcp_buffers_bytes: u64,
    pub(crate) memory_available_bytes: u64,
}

/// What the held connections cost, per connection: held (before stage `ping`) against before `fill`.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Memory {
    pub(crate) connections: u64,
    /// The broker's user space.
    pub(crate) broker_bytes_per_connection: Option<f64>,
    /// The broker before the first connection, bytes.
    pub(crate) broker_empty_bytes: Option<u64>,
    /// The broker's largest sample during `fill` over the held one; at most 1.2 is the aim.
    pub(crate) broker_peak_over_held: Option<f64>,
    /// This program's user space.
    pub(crate) load_bytes_per_connection: f64,
    /// Slabs of the kernel for one end: half of their growth where both ends are on the machine.
    pub(crate) kernel_bytes_per_connection: f64,
    /// Whether that half was taken (the broker is on this machine).
    pub(crate) both_ends_here: bool,
    /// What MemAvailable lost, both ends and everything else, per connection.
    pub(crate) available_bytes_per_connection: f64,
}

/// How the costs are at one number of connections.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Step {
    pub(crate) connections: u64,
    /// The broker's user space per connection: against the empty broker, and against the step before (the slope).
    pub(crate) bytes_per_connection: Option<f64>,
    pub(crate) bytes_per_connection_slope: Option<f64>,
    /// Kernel, one end, against before the first connection.
    pub(crate) kernel_bytes_per_connection: f64,
    pub(crate) connect: Cost,
    pub(crate) ping: Option<Cost>,
    pub(crate) publish_qos0: Option<Cost>,
    pub(crate) publish_qos1: Option<Cost>,
}

/// What one of something costs.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Cost {
    /// The broker's CPU for one (a publish includes its delivery).
    pub(crate) cpu_us: Option<f64>,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) per_s: f64,
}

/// A histogram of latencies, microseconds. Values are exact to three digits; buckets are for drawing.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Latency {
    pub(crate) count: u64,
    pub(crate) mean_us: f64,
    pub(crate) min_us: u64,
    pub(crate) p50_us: u64,
    pub(crate) p90_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) p999_us: u64,
    pub(crate) p9999_us: u64,
    pub(crate) max_us: u64,
    /// Only those that hold something, ascending. Bounds grow by the eighth root of two (about 9 %).
    pub(crate) buckets: Vec<Bucket>,
}

/// Latencies above the bucket before, up to and including `up_to_us`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Bucket {
    pub(crate) up_to_us: u64,
    pub(crate) count: u64,
}

/// How the broker ended on SIGTERM.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct BrokerExit {
    /// Exit status; null: it was ended by a signal.
    pub(crate) status: Option<i32>,
    /// From SIGTERM to its end.
    pub(crate) seconds: f64,
    /// It had to be killed.
    pub(crate) killed: bool,
}
