//! `myriadctl bans`: who is kept out of a running broker.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;

use crate::api::route;
use crate::failure::{Failure, Status, status_of};
use crate::print::{Column, Console, Form, column};

/// Of `myriadctl bans`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Prints who is banned, why, and for how long yet.
    List,
    /// Refuses new connections of somebody; those that are there stay.
    Add {
        #[command(flatten)]
        subject: Subject,
        /// For so many seconds; otherwise until the ban is lifted or the broker ends.
        #[arg(long, value_name = "SECONDS")]
        seconds: Option<u64>,
    },
    /// Lifts a ban.
    Lift {
        #[command(flatten)]
        subject: Subject,
    },
}

#[derive(Debug, clap::Args)]
struct Subject {
    /// What the name is.
    #[arg(value_enum)]
    kind: Kind,
    /// An IP address (IPv6: its /64), a Client Identifier, a User Name.
    name: String,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Kind {
    Address,
    Client,
    User,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Client => "client",
            Self::User => "user",
        }
    }
}

const BANS: [Column; 4] = [
    column("kind", "kind", Form::Text),
    column("name", "name", Form::Text),
    column("cause", "cause", Form::Text),
    column("ends in", "seconds_left", Form::Seconds),
];

/// Does it.
pub(crate) fn run(arguments: &Arguments, console: &Console<'_>) -> Result<ExitCode> {
    let api = console.api()?;
    match &arguments.command {
        Command::List => console.items(&api.get(&route(&["bans"]), &[])?, &BANS),
        Command::Add { subject: Subject { kind, name }, seconds } => {
            let kind = kind.name();
            let body = json!({ "kind": kind, "name": name, "seconds": seconds });
            let answer = api.post(&route(&["bans"]), &body)?;
            console.done(&answer, format_args!("{kind} {name} is banned"))
        }
        Command::Lift { subject: Subject { kind, name } } => {
            let kind = kind.name();
            let answer =
                api.delete(&route(&["bans", kind, name]), &[]).map_err(|error| match status_of(&error) {
                    Status::NotFound => {
                        Failure::new(Status::NotFound, format!("{kind} {name} was not banned")).into()
                    }
                    _ => error,
                })?;
            console.done(&answer, format_args!("{kind} {name} may come in again"))
        }
    }
}
