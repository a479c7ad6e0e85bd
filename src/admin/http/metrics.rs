//! The numbers as Prometheus reads them (text format 0.0.4), and the order of its lines: HELP, TYPE, then a sample a shard.

use std::fmt::Write;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::failure::Failure;
use super::guard::{Caller, authorize};
use crate::admin::desk::Desk;
use crate::admin::process;
use crate::metrics::{Kind, LatencySnapshot, Metrics};

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Bounds of the histogram, microseconds.
const BOUNDS_US: [u64; 13] =
    [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 500_000, 1_000_000, 10_000_000];

pub(super) fn routes() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::new().routes(routes!(show))
}

/// Every number for Prometheus
///
/// Without a password where `admin.metrics_open` is true.
#[utoipa::path(
    get, path = "/metrics", tag = "health", security((), ("token" = []), ("password" = [])),
    responses((status = 200, body = String, content_type = "text/plain", description = "Text format 0.0.4")),
)]
async fn show(
    State(desk): State<Arc<Desk>>,
    caller: Option<Extension<Caller>>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Failure> {
    if !desk.config().admin.metrics_open {
        authorize(&desk, caller.as_deref(), &headers).await?;
    }
    let mut out = String::with_capacity(64 * 1024);
    shards(&mut out, &desk);
    latency(&mut out, &desk);
    storage(&mut out, &desk);
    of_process(&mut out, &desk);
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], out))
}

/// Opens a family: what it is, in the two lines that Prometheus wants before its samples.
fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    let help = help.trim().replace('\\', "\\\\").replace('\n', "\\n");
    // Writing to a String can't fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// A family of one sample.
fn single(out: &mut String, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
    family(out, name, kind, help);
    let _ = writeln!(out, "{name} {value}");
}

/// Every number of every shard. Prometheus counts time in seconds.
#[allow(clippy::cast_possible_wrap)]
fn shards(out: &mut String, desk: &Desk) {
    let values: Vec<_> = desk.shared.metrics.iter().map(|metrics| metrics.values()).collect();
    for (place, metric) in Metrics::ALL.iter().enumerate() {
        let (name, kind) = match (metric.name, metric.kind) {
            ("cpu_us", _) => ("myriad_shard_cpu_seconds_total".to_owned(), "counter"),
            (name, Kind::Counter) => (format!("myriad_{name}_total"), "counter"),
            (name, Kind::Gauge) => (format!("myriad_{name}"), "gauge"),
        };
        let help = if metric.name == "cpu_us" { "CPU that the shard's thread used." } else { metric.doc };
        family(out, &name, kind, help);
        for (shard, values) in values.iter().enumerate() {
            let value = values.get(place).copied().unwrap_or(0);
            let _ = match (metric.name, metric.kind) {
                ("cpu_us", _) => writeln!(out, "{name}{{shard=\"{shard}\"}} {}", value as f64 / 1e6),
                (_, Kind::Counter) => writeln!(out, "{name}{{shard=\"{shard}\"}} {value}"),
                // A share may be below zero where one shard counted up and another down.
                (_, Kind::Gauge) => writeln!(out, "{name}{{shard=\"{shard}\"}} {}", value as i64),
            };
        }
    }
}

/// Publish to delivery, of the messages that were timed, all shards together.
fn latency(out: &mut String, desk: &Desk) {
    let name = "myriad_delivery_latency_seconds";
    let snapshot = LatencySnapshot::of(desk.shared.latency.iter().map(Arc::as_ref));
    family(
        out,
        name,
        "histogram",
        "From the arrival of a message to its delivery, of the messages that were timed.",
    );
    for (bound_us, count) in BOUNDS_US.iter().zip(snapshot.cumulative(&BOUNDS_US)) {
        let _ = writeln!(out, "{name}_bucket{{le=\"{}\"}} {count}", *bound_us as f64 / 1e6);
    }
    let count = snapshot.count();
    let _ = writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_count {count}");
    // The sum is known to the width of a step only.
    let _ = writeln!(out, "{name}_sum {}", snapshot.sum_us() as f64 / 1e6);
}

fn storage(out: &mut String, desk: &Desk) {
    let Some(storage) = &desk.storage else { return };
    let of = storage.statistics();
    let seconds = |us: u64| us as f64 / 1e6;
    single(out, "myriad_storage_down", "gauge", "1: the disk is full or failed.", u8::from(of.is_down));
    single(out, "myriad_storage_disk_bytes", "gauge", "Bytes of the journal on disk.", of.disk_bytes);
    single(out, "myriad_storage_segments", "gauge", "Files of the journal.", of.segments);
    single(out, "myriad_storage_frames_total", "counter", "Frames that were appended.", of.frames);
    single(out, "myriad_storage_bytes_total", "counter", "Bytes that were appended.", of.bytes);
    single(out, "myriad_storage_syncs_total", "counter", "Appends that were synced.", of.syncs);
    let help = "Time that syncs took together.";
    single(out, "myriad_storage_sync_seconds_total", "counter", help, seconds(of.sync_us));
    let help = "Time that the slowest sync took.";
    single(out, "myriad_storage_sync_seconds_max", "gauge", help, seconds(of.sync_us_max));
    single(
        out,
        "myriad_storage_checkpoints_total",
        "counter",
        "Checkpoints that were completed.",
        of.checkpoints,
    );
    single(
        out,
        "myriad_storage_failures_total",
        "counter",
        "How often the disk was full or failed.",
        of.failures,
    );
}

/// The process, by the names that Prometheus' own clients give.
fn of_process(out: &mut String, desk: &Desk) {
    let process = process::read();
    let started_s = (desk.shared.started_unix_ms + desk.shared.origins.now.0) as f64 / 1e3;
    family(out, "myriad_build_info", "gauge", "Which version runs.");
    let _ = writeln!(out, "myriad_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    let max = desk.config().limits.max_connections;
    single(out, "myriad_connections_max", "gauge", "limits.max_connections.", max);
    let draining = u8::from(desk.is_draining());
    single(out, "myriad_draining", "gauge", "1: clients are sent away, the broker ends.", draining);
    single(out, "process_cpu_seconds_total", "counter", "CPU that the process used.", process.cpu_s);
    single(out, "process_resident_memory_bytes", "gauge", "Memory in RAM.", process.memory_bytes);
    single(out, "process_virtual_memory_bytes", "gauge", "Address space.", process.virtual_bytes);
    single(
        out,
        "process_open_fds",
        "gauge",
        "Open descriptors, without those of the rings.",
        process.open_files,
    );
    single(out, "process_start_time_seconds", "gauge", "When it began, Unix time.", started_s);
}
