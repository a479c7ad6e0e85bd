//! `myriadctl`, the operator's command line. Each subcommand is a module; this file only says which there are.
//! Exit status 0: all is well; 1: something falls short or failed; 2: the arguments are wrong.

mod bans;
mod control;
mod count;
mod passwd;
mod store;
mod tune;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs and looks after Myriad, the MQTT broker.
#[derive(Debug, Parser)]
#[command(name = "myriadctl", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Who is kept out of a running broker: list, add, lift.
    Bans(bans::Arguments),
    /// The settings of the kernel and of systemd that so many connections need: compare, print or apply them.
    Tune(tune::Arguments),
    /// The users of a password file: add, change, delete.
    Passwd(passwd::Arguments),
    /// What outlasts the broker's process: check it, measure it, back it up.
    Store(store::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Bans(arguments) => bans::run(&arguments),
        Command::Tune(arguments) => tune::run(&arguments),
        Command::Passwd(arguments) => passwd::run(&arguments),
        Command::Store(arguments) => store::run(&arguments),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("myriadctl: {error:#}");
        ExitCode::FAILURE
    })
}
