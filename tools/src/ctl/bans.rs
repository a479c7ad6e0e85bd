//! `myriadctl bans`: who is kept out of a running broker, over its control socket (`<node.data_dir>/control.sock`).

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::control::ask;

/// How long a broker may think.
const PATIENCE: Duration = Duration::from_secs(30);

/// Of `myriadctl bans`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The broker's control socket.
    #[arg(long, value_name = "FILE", default_value = "./data/control.sock", global = true)]
    socket: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Prints who is banned, why, and for how long yet.
    List {
        /// Print JSON, an object a line.
        #[arg(long)]
        json: bool,
    },
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

/// Does it. Exit status 1: the broker does not answer, refuses, or there was no such ban.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let request = match &arguments.command {
        Command::List { .. } => json!({ "request": "bans.list" }),
        Command::Add { subject, seconds } => {
            json!({ "request": "bans.add", "kind": subject.kind.name(), "name": subject.name, "seconds": seconds })
        }
        Command::Lift { subject } => {
            json!({ "request": "bans.lift", "kind": subject.kind.name(), "name": subject.name })
        }
    };
    let answer = ask(&arguments.socket, &request, Some(PATIENCE))?;
    let lines = answer.lines;
    match &arguments.command {
        Command::List { json: true } => lines.iter().for_each(|line| println!("{line}")),
        Command::List { json: false } => lines.iter().for_each(|line| println!("{}", describe(line))),
        Command::Add { .. } => {}
        Command::Lift { subject } => {
            if answer.last["was_banned"] != true {
                bail!("{} {} was not banned", subject.kind.name(), subject.name);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(ban: &Value) -> String {
    let text = |key: &str| ban[key].as_str().unwrap_or_default().to_owned();
    let left = ban["seconds_left"].as_u64().map_or("until lifted".into(), |s| format!("{s} s"));
    format!("{}\t{}\t{}\t{left}", text("kind"), text("name").escape_debug(), text("cause"))
}
