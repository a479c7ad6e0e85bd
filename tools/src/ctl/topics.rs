//! `myriadctl topics` and `retained`: which Topic Filters are in use, and what is retained.

use std::io::{IsTerminal, Write, stdout};
use std::process::ExitCode;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::api::route;
use crate::print::{Column, Console, Form, Paging, column, say, visible};

/// Of `myriadctl topics`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Topic Filters that somebody subscribed to.
    List {
        /// Those that this one covers.
        #[arg(long = "match", value_name = "FILTER")]
        matching: Option<String>,
        #[command(flatten)]
        paging: Paging,
    },
    /// Who subscribed to a filter.
    Show {
        /// Topic Filter, as `list` shows it.
        filter: String,
    },
}

/// Of `myriadctl retained`.
#[derive(Debug, clap::Args)]
pub(crate) struct RetainedArguments {
    #[command(subcommand)]
    command: RetainedCommand,
}

#[derive(Debug, clap::Subcommand)]
enum RetainedCommand {
    /// Retained Messages, without their payloads.
    List {
        /// Those whose topic matches this filter.
        #[arg(long = "match", value_name = "FILTER")]
        matching: Option<String>,
        #[command(flatten)]
        paging: Paging,
    },
    /// Prints the payload of one; with --json all of it.
    Get {
        /// Topic Name.
        topic: String,
    },
    /// Deletes one; subscribers are not told.
    Del {
        /// Topic Name.
        topic: String,
    },
}

const TOPICS: [Column; 3] = [
    column("filter", "filter", Form::Text),
    column("subscribers", "subscribers", Form::Count),
    column("shards", "shards", Form::Text),
];

const TOPIC: [Column; 3] = [
    column("filter", "filter", Form::Text),
    column("subscribers", "count", Form::Count),
    column("shards", "shards", Form::Text),
];

const RETAINED: [Column; 4] = [
    column("topic", "topic", Form::Text),
    column("payload", "payload_bytes", Form::Bytes),
    column("qos", "qos", Form::Count),
    column("expires at", "expires_at", Form::Text),
];

/// `topics`.
pub(crate) fn run(arguments: &Arguments, console: &Console<'_>) -> Result<ExitCode> {
    match &arguments.command {
        Command::List { matching, paging } => {
            console.list(&route(&["topics"]), &[("match", matching.as_deref())], paging, &TOPICS)
        }
        Command::Show { filter } => {
            let topic = console.api()?.get(&route(&["topics", filter]), &[])?;
            console.show(&topic, &TOPIC, &[("subscribers", "subscribers", &[])])
        }
    }
}

/// `retained`.
pub(crate) fn retained(arguments: &RetainedArguments, console: &Console<'_>) -> Result<ExitCode> {
    let message = route(&["retained", "message"]);
    match &arguments.command {
        RetainedCommand::List { matching, paging } => {
            console.list(&route(&["retained"]), &[("match", matching.as_deref())], paging, &RETAINED)
        }
        RetainedCommand::Get { topic } => {
            let answer = console.api()?.get(&message, &[("topic", Some(topic))])?;
            if console.json {
                return console.done(&answer, "");
            }
            let payload = answer["payload_base64"].as_str().unwrap_or_default();
            let payload = STANDARD.decode(payload).context("the payload is no base64")?;
            if stdout().is_terminal() {
                say(visible(&String::from_utf8_lossy(&payload)))?;
            } else {
                stdout().lock().write_all(&payload)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        RetainedCommand::Del { topic } => {
            let answer = console.api()?.delete(&message, &[("topic", Some(topic))])?;
            console.done(&answer, format_args!("nothing is retained for {topic:?} any more"))
        }
    }
}
