//! `myriad-bench`: load generator and measurements for MQTT brokers.
//!
//! Two generators. `million`, over package `shards`, holds as many connections as the machine does. For all other
//! scenarios `run` leads through the steps; each thread (`worker`) has an epoll set of connections (`engine`) and what
//! they do (`setup`, `load`); `report` says what was found. Both measure any broker; of `myriad` they use only the
//! wire format.

mod addresses;
mod board;
mod carrier;
mod cli;
mod clock;
mod connection;
mod engine;
mod keep_alive;
mod load;
mod million;
mod proc;
mod progress;
mod publisher;
mod report;
mod run;
mod scanner;
mod schedule;
mod setup;
mod stats;
mod sync;
mod topology;
mod wire;
mod worker;

use std::path::Path;
use std::process::ExitCode;
use std::{fs, io};

use anyhow::Context as _;
use clap::Parser as _;

use crate::cli::{Cli, Command, LoadCommand, Settings};
use crate::report::Report;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Load(load) => run_load(load),
        Command::Million(options) => million::run(*options),
        Command::Churn(options) => million::run_churn(&options),
        Command::Sessions(options) => million::run_sessions(&options),
        Command::Retained(options) => million::run_retained(&options),
        Command::Sync(options) => match sync::run(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => fail(1, &format!("{why:#}")),
        },
    }
}

fn run_load(load: LoadCommand) -> ExitCode {
    let (scenario, options) = load.parts();
    let json = options.json.clone();
    let settings = match Settings::new(scenario, options) {
        Ok(settings) => settings,
        Err(why) => return fail(2, &format!("{why:#}")),
    };
    if let Err(why) = check_writable(json.as_deref()) {
        return fail(2, &format!("{why:#}"));
    }
    let mut report = run::blank(&settings);
    let result = run::run(settings, &mut report);
    if let Err(why) = result {
        report.failure = Some(format!("{why:#}"));
    }
    if let Err(why) = show(&report, json.as_deref()) {
        return fail(1, &format!("{why:#}"));
    }
    match &report.failure {
        Some(why) => fail(1, why),
        None => ExitCode::SUCCESS,
    }
}

fn fail(code: u8, why: &str) -> ExitCode {
    eprintln!("myriad-bench: {why}");
    ExitCode::from(code)
}

/// Makes sure, before minutes of measuring, that the results can be kept.
fn check_writable(json: Option<&Path>) -> anyhow::Result<()> {
    match json {
        Some(path) if path != Path::new("-") => {
            fs::File::create(path).map(drop).with_context(|| format!("--json {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Text to standard output, unless that has the JSON.
fn show(report: &Report, json: Option<&Path>) -> anyhow::Result<()> {
    let to_stdout = json == Some(Path::new("-"));
    if !to_stdout && report.connections.is_some() {
        print!("{report}");
    }
    match json {
        None => Ok(()),
        Some(_) if to_stdout => {
            serde_json::to_writer(io::stdout().lock(), report)?;
            println!();
            Ok(())
        }
        Some(path) => {
            let text = serde_json::to_string_pretty(report)? + "\n";
            fs::write(path, text).with_context(|| format!("--json {}", path.display()))
        }
    }
}
