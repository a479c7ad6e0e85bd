//! `myriadctl tune`: what so many connections need of the kernel and of the unit, compared with the machine, printed, or
//! applied. `settings` knows what is needed, `machine` what there is, `check` compares, `render` prints, `apply` changes.

mod apply;
mod check;
mod machine;
mod render;
mod settings;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::count;
use crate::failure::{Failure, Status};
use check::Report;
use machine::Machine;

/// Most connections that can be asked for.
const CONNECTIONS_MAX: u64 = 100_000_000;

/// Of `myriadctl tune`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Connections of the broker, as 100k, 1M or 1_000_000.
    #[arg(long, value_name = "N", default_value = "1M", value_parser = connections)]
    connections: u64,
    /// Compare this machine (the default). Exit status 1 if something that matters falls short.
    #[arg(long, conflicts_with_all = ["print", "apply"])]
    check: bool,
    /// Print the file for /etc/sysctl.d, or the drop-in for the systemd unit.
    #[arg(long, value_name = "WHAT", value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "sysctl")]
    #[arg(conflicts_with = "apply")]
    print: Option<Part>,
    /// Change the running kernel and write /etc/sysctl.d/60-myriad.conf. Needs root.
    #[arg(long)]
    apply: bool,
    /// The clients of a test run on this machine too: their ports and sockets count.
    #[arg(long)]
    load_generator: bool,
    /// Where the machine's files are, for tests.
    #[arg(long, value_name = "DIR", hide = true, default_value = "/")]
    root: PathBuf,
}

/// What `--print` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The file for /etc/sysctl.d.
    Sysctl,
    /// The drop-in for the systemd unit.
    Systemd,
}

fn connections(text: &str) -> Result<u64, String> {
    match count::parse(text)? {
        0 => Err("0 connections need nothing".into()),
        many if many > CONNECTIONS_MAX => {
            Err(format!("at most {} connections", count::grouped(CONNECTIONS_MAX)))
        }
        count => Ok(count),
    }
}

/// Does what the arguments say.
///
/// # Errors
/// A file or standard output can't be written.
pub(crate) fn run(arguments: &Arguments, json: bool) -> Result<ExitCode> {
    if arguments.print.is_some() && json {
        return Err(Failure::new(Status::Usage, "--print has a form of its own: leave out --json").into());
    }
    let machine = Machine::new(&arguments.root);
    let report = Report::new(&machine, arguments.connections, arguments.load_generator);
    match arguments.print {
        Some(Part::Sysctl) => print(&render::sysctl_file(&report, &[]), true),
        Some(Part::Systemd) => print(&render::drop_in(arguments.connections), true),
        None if arguments.apply => apply_and_tell(&machine, &report, json),
        None if json => print(&render::json(&report)?, report.is_enough()),
        None => print(&render::table(&report), report.is_enough()),
    }
}

fn apply_and_tell(machine: &Machine, report: &Report, json: bool) -> Result<ExitCode> {
    let outcome = apply::apply(machine, report)?;
    let (mut text, refusals) = apply::told(&outcome);
    if json {
        text = serde_json::to_string_pretty(&outcome)? + "\n";
    }
    let status = print(&text, refusals.is_empty())?;
    for refusal in refusals {
        eprintln!("myriadctl: {refusal}");
    }
    Ok(status)
}

fn print(text: &str, is_good: bool) -> Result<ExitCode> {
    let mut output = std::io::stdout().lock();
    output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
        .context("cannot write to standard output")?;
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
