//! `myriadctl slow`, `alarms` and `topic-metrics`: what needs an operator's eye.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;

use crate::api::route;
use crate::print::{Column, Console, Form, column};

const SLOW: [Column; 5] = [
    column("client", "client_id", Form::Text),
    column("waiting", "outbound_bytes", Form::Bytes),
    column("queued", "queued", Form::Count),
    column("dropped", "dropped", Form::Count),
    column("worst delay ms", "worst_delay_ms", Form::Count),
];

const ALARMS: [Column; 5] = [
    column("alarm", "id", Form::Text),
    column("active", "active", Form::Text),
    column("raised at", "raised_at", Form::Text),
    column("cleared at", "cleared_at", Form::Text),
    column("message", "message", Form::Text),
];

const TOPIC_METRICS: [Column; 6] = [
    column("filter", "filter", Form::Text),
    column("in", "messages_in", Form::Count),
    column("out", "messages_out", Form::Count),
    column("dropped", "dropped", Form::Count),
    column("bytes in", "bytes_in", Form::Bytes),
    column("bytes out", "bytes_out", Form::Bytes),
];

/// Of `myriadctl alarms`.
#[derive(Debug, clap::Args)]
pub(crate) struct AlarmArguments {
    /// Also those that are over.
    #[arg(long)]
    history: bool,
}

/// Of `myriadctl topic-metrics`.
#[derive(Debug, clap::Args)]
pub(crate) struct TopicArguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// The filters that are counted, and their counts.
    List,
    /// Counts the messages of a filter from now on; 64 filters at most.
    Add {
        /// Topic Filter.
        filter: String,
    },
    /// Counts it no more.
    Del {
        /// Topic Filter.
        filter: String,
    },
}

/// `slow`: the subscribers that fall behind, worst first.
pub(crate) fn slow(console: &Console<'_>) -> Result<ExitCode> {
    console.items(&console.api()?.get(&route(&["slow"]), &[])?, &SLOW)
}

/// `alarms`. Exit status 1: some are active.
pub(crate) fn alarms(arguments: &AlarmArguments, console: &Console<'_>) -> Result<ExitCode> {
    let mut answer = console.api()?.get(&route(&["alarms"]), &[])?;
    let Some(alarms) = answer["items"].as_array_mut() else { return Ok(ExitCode::SUCCESS) };
    let is_quiet = alarms.iter().all(|alarm| alarm["active"] != true);
    if !arguments.history {
        alarms.retain(|alarm| alarm["active"] == true);
    }
    console.items(&answer, &ALARMS)?;
    Ok(if is_quiet { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `topic-metrics`.
pub(crate) fn topic_metrics(arguments: &TopicArguments, console: &Console<'_>) -> Result<ExitCode> {
    let (api, path) = (console.api()?, route(&["topic-metrics"]));
    match &arguments.command {
        Command::List => console.items(&api.get(&path, &[])?, &TOPIC_METRICS),
        Command::Add { filter } => console
            .done(&api.post(&path, &json!({ "filter": filter }))?, format_args!("{filter:?} is counted")),
        Command::Del { filter } => {
            let answer = api.delete(&path, &[("filter", Some(filter))])?;
            console.done(&answer, format_args!("{filter:?} is not counted any more"))
        }
    }
}
