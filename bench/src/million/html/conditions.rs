//! Under which conditions a run was measured: a sentence, the full list, and the command that repeats it.

use super::format;
use super::markup::{element, escape, text};
use crate::million::results::Run;

/// Machine and kernel in one line, for the header and for images.
pub(super) fn sentence(run: &Run) -> String {
    let conditions = &run.conditions;
    let mut parts = vec![
        format::counted(conditions.cores, "core", "cores"),
        conditions.cpu_model.clone(),
        format::bytes(conditions.memory_total_bytes as f64),
        kernel(run),
    ];
    parts.extend(conditions.broker_version.clone());
    parts.extend(
        conditions.broker_threads.map(|threads| format::counted(threads, "broker thread", "broker threads")),
    );
    parts.push(format::counted(conditions.load_shards.into(), "load thread", "load threads"));
    parts.retain(|part| !part.is_empty());
    parts.join(" · ")
}

/// `uname -r` alone does not say of what.
fn kernel(run: &Run) -> String {
    let kernel = &run.conditions.kernel;
    if kernel.starts_with(|c: char| c.is_ascii_digit()) { format!("Linux {kernel}") } else { kernel.clone() }
}

/// All conditions, name and value.
pub(super) fn list(run: &Run) -> String {
    let row = |(name, value): (&str, String)| {
        let value = if value.is_empty() { format::NONE.into() } else { value };
        format!("<dt>{}</dt><dd>{}</dd>\n", escape(name), escape(&value))
    };
    let rows: String = machine(run).into_iter().chain(load(run)).chain(end(run)).map(row).collect();
    element("div", "panel", &element("dl", "conditions", &rows))
}

/// The command line, and the broker's.
pub(super) fn repeat(run: &Run) -> String {
    let line = |about: &str, words: &[String]| {
        text("p", "about", about) + &text("pre", "", &format::command_line(words))
    };
    let conditions = &run.conditions;
    if conditions.command.is_empty() {
        return text("p", "missing", "The command line was not recorded.");
    }
    let mut lines = line("The command of this run:", &conditions.command);
    if !conditions.broker_command.is_empty() {
        lines += &line("The broker that it measured:", &conditions.broker_command);
    }
    element("div", "panel", &lines)
}

fn machine(run: &Run) -> Vec<(&'static str, String)> {
    let conditions = &run.conditions;
    let bytes = |bytes: u64| format::bytes(bytes as f64);
    vec![
        ("Begin (UTC)", conditions.started.clone()),
        ("Length of the run", format::seconds(run.seconds)),
        ("Kernel", kernel(run)),
        ("CPU", conditions.cpu_model.clone()),
        ("CPUs that may be used", format::integer(conditions.cores)),
        ("Memory", bytes(conditions.memory_total_bytes)),
        ("Memory available at the beginning", bytes(conditions.memory_available_bytes)),
        ("Open files at most (RLIMIT_NOFILE)", format::integer(conditions.open_files_max)),
        ("Network namespace of its own", if conditions.network_namespace { "yes" } else { "no" }.into()),
        ("Broker listens on", conditions.broker_address.clone()),
        ("Broker's version", conditions.broker_version.clone().unwrap_or_default()),
        ("Broker's threads", conditions.broker_threads.map(format::integer).unwrap_or_default()),
    ]
}

fn load(run: &Run) -> Vec<(&'static str, String)> {
    let conditions = &run.conditions;
    let protocol = match conditions.mqtt_version {
        3 => "3.1".into(),
        4 => "3.1.1".into(),
        5 => "5.0".into(),
        other => format!("level {other}"),
    };
    let rate = match conditions.connect_rate {
        rate if rate > 0.0 => format!("{} a second", format::rounded(rate)),
        _ => "as fast as the broker answers".into(),
    };
    vec![
        ("Threads that make the load", format::integer(conditions.load_shards.into())),
        ("Source addresses", format::integer(conditions.source_addresses)),
        ("MQTT version", protocol),
        ("Keep alive", format::seconds(conditions.keep_alive_s.into())),
        ("Connect rate asked for", rate),
        ("Handshakes outstanding at most", format::integer(conditions.handshakes_max)),
        ("Message rate of ping and p2p", format!("{} a second", format::rounded(conditions.message_rate))),
        ("Payload", format::counted(conditions.payload_bytes, "byte", "bytes")),
        ("Subscribers of one group topic", format::integer(conditions.group_len)),
    ]
}

fn end(run: &Run) -> Vec<(&'static str, String)> {
    let broker = run.broker_exit.as_ref().map(|exit| {
        let how = match (exit.killed, exit.status) {
            (true, _) => "had to be killed".into(),
            (false, Some(status)) => format!("status {status}"),
            (false, None) => "ended by a signal".into(),
        };
        format!("{how}, {} after SIGTERM", format::seconds(exit.seconds))
    });
    let unknown = || "not started by this run".to_owned();
    vec![
        ("Broker's end", broker.unwrap_or_else(unknown)),
        ("Written by", format!("{} {}, form {}", run.tool, run.tool_version, run.format)),
    ]
}
