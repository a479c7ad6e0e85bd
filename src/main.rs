//! The program `myriad`: reads the command line, then checks the configuration or runs the broker.

use std::process::ExitCode;

use clap::Parser;
use myriad::config::{Arguments, Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match &cli.command {
        Some(Command::Check(arguments)) => check(arguments),
        None => run(&cli.arguments),
    }
}

/// `myriad check`: prints what would run.
fn check(arguments: &Arguments) -> ExitCode {
    match arguments.load() {
        Ok(config) => {
            print!("{}", config.to_toml());
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error, error.exit_status()),
    }
}

/// Runs the broker until it is told to stop.
fn run(arguments: &Arguments) -> ExitCode {
    match arguments.load() {
        Ok(_config) => fail(&"the server is not part of this build", 1),
        Err(error) => fail(&error, error.exit_status()),
    }
}

/// One line on standard error that names the thing and the mend.
fn fail(problem: &dyn std::fmt::Display, status: u8) -> ExitCode {
    eprintln!("myriad: {problem}");
    ExitCode::from(status)
}
