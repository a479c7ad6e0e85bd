//! `myriadctl status` and `broker`: whether a broker runs, what it is, what it counts.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};

use crate::api::route;
use crate::failure::{Failure, Status};
use crate::print::{Column, Console, Form, column, say};

/// Of `myriadctl broker`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Subcommand)]
enum Command {
    /// What is there now: connections, sessions, subscriptions, queues, memory.
    Stats,
    /// Every counter since the start.
    Metrics,
}

const NODE: [Column; 14] = [
    column("name", "name", Form::Text),
    column("version", "version", Form::Text),
    column("started at", "started_at", Form::Text),
    column("up for", "uptime_s", Form::Seconds),
    column("shards", "shards", Form::Count),
    column("connections", "connections", Form::Count),
    column("connections at most", "connections_max", Form::Count),
    column("sessions", "sessions", Form::Count),
    column("subscriptions", "subscriptions", Form::Count),
    column("retained messages", "retained", Form::Count),
    column("memory", "memory_bytes", Form::Bytes),
    column("CPU seconds", "cpu_s", Form::Count),
    column("storage", "storage", Form::Text),
    column("drains", "draining", Form::Text),
];

const SHARDS: [Column; 10] = [
    column("shard", "shard", Form::Count),
    column("clients", "clients", Form::Count),
    column("sessions", "sessions", Form::Count),
    column("subscriptions", "subscriptions", Form::Count),
    column("retained", "retained", Form::Count),
    column("queued", "queued", Form::Count),
    column("inflight", "inflight", Form::Count),
    column("received", "messages_received", Form::Count),
    column("sent", "messages_sent", Form::Count),
    column("dropped", "messages_dropped", Form::Count),
];

/// `status`: exit status 1 where the broker runs and is not ready for clients.
pub(crate) fn status(console: &Console<'_>) -> Result<ExitCode> {
    let api = console.api()?;
    let (code, text) = api.text("/status")?;
    if code != 200 || !text.contains("is running") {
        let line = "something answers there that is no Myriad: check --url and --data-dir";
        return Err(Failure::new(Status::Failed, line).into());
    }
    let (code, ready) = api.text("/readyz")?;
    let (is_ready, ready) = (code == 200, ready.trim());
    if console.json {
        say(serde_json::to_string_pretty(
            &json!({ "status": text.trim(), "ready": is_ready, "state": ready }),
        )?)?;
    } else {
        say(text.trim_end())?;
        say(if is_ready {
            "ready for clients".to_owned()
        } else {
            format!("not ready for clients: {ready}")
        })?;
    }
    Ok(if is_ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `broker`.
pub(crate) fn run(arguments: &Arguments, console: &Console<'_>) -> Result<ExitCode> {
    let api = console.api()?;
    match arguments.command {
        None => console.show(&api.get(&route(&["node"]), &[])?, &NODE, &[]),
        Some(Command::Stats) => {
            let mut node = api.get(&route(&["node"]), &[])?;
            node["items"] = api.get(&route(&["shards"]), &[])?["items"].take();
            console.show(&node, &NODE, &[("shards", "items", &SHARDS)])
        }
        Some(Command::Metrics) => {
            let answer = api.get(&route(&["stats"]), &[])?;
            if console.json {
                return console.done(&answer["items"], "");
            }
            let counters = answer["items"].as_object();
            let widest = counters.map_or(0, |all| all.keys().map(String::len).max().unwrap_or(0));
            for (name, value) in counters.into_iter().flatten() {
                say(format_args!("{name:widest$}  {}", number(value)))?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn number(value: &Value) -> String {
    value.as_u64().map_or_else(|| value.to_string(), crate::count::grouped)
}
