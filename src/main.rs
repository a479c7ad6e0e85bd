//! The program `myriad`: reads the command line, then checks the configuration or runs the broker.

use std::process::ExitCode;

use clap::Parser;
use myriad::config::{Arguments, Cli, Command};
use myriad::server;

/// Measured against glibc's: small blocks without headers, memory goes back to the system.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match &cli.command {
        Some(Command::Check(arguments)) => check(arguments),
        None => run(&cli.arguments),
    }
}

/// `myriad check`: prints what would run.
fn check(arguments: &Arguments) -> ExitCode {
    match arguments.load(|warning| eprintln!("myriad: {warning}")) {
        Ok(config) => {
            if let Err(error) = server::check(&config, |warning| eprintln!("myriad: {warning}")) {
                return fail(&error, 1);
            }
            print!("{}", config.to_toml());
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error, error.exit_status()),
    }
}

/// Runs the broker until it is told to stop.
fn run(arguments: &Arguments) -> ExitCode {
    let mut warnings = Vec::new();
    let config = match arguments.load(|warning| warnings.push(warning)) {
        Ok(config) => config,
        Err(error) => return fail(&error, error.exit_status()),
    };
    let log = match server::start_log(&config.log) {
        Ok(log) => log,
        Err(error) => return fail(&error, 1),
    };
    server::warn(&warnings);
    match server::run(config, &log, arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, 1),
    }
}

/// One line on standard error that names the thing and the mend.
fn fail(problem: &dyn std::fmt::Display, status: u8) -> ExitCode {
    eprintln!("myriad: {problem}");
    ExitCode::from(status)
}
