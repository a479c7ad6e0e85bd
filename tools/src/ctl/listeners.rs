//! `myriadctl listeners`: where the broker listens; closing one to new clients and opening it again.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;

use crate::api::route;
use crate::print::{Column, Console, Form, column};

/// Of `myriadctl listeners`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// The listeners, their numbers and states.
    List,
    /// Takes no new clients there; those that came by it stay.
    Stop {
        /// Its number.
        index: u32,
    },
    /// Takes new clients again.
    Start {
        /// Its number.
        index: u32,
    },
}

const LISTENERS: [Column; 8] = [
    column("#", "index", Form::Count),
    column("url", "url", Form::Text),
    column("bound to", "bound", Form::Text),
    column("state", "state", Form::Text),
    column("connections", "connections", Form::Count),
    column("at most", "max_connections", Form::Count),
    column("tls", "tls", Form::Text),
    column("mountpoint", "mountpoint", Form::Text),
];

/// Does it.
pub(crate) fn run(arguments: &Arguments, console: &Console<'_>) -> Result<ExitCode> {
    let api = console.api()?;
    let turn = |index: u32, verb: &str, state: &str| {
        let answer = api.post(&route(&["listeners", &index.to_string(), verb]), &json!({}))?;
        console.done(&answer, format_args!("listener {index} {state}"))
    };
    match arguments.command {
        Command::List => console.items(&api.get(&route(&["listeners"]), &[])?, &LISTENERS),
        Command::Stop { index } => turn(index, "stop", "takes no new clients"),
        Command::Start { index } => turn(index, "start", "takes clients"),
    }
}
