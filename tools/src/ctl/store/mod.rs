//! `myriadctl store`: the journal, in which sessions, queues and Retained Messages outlast the broker's process. A running
//! broker is asked over its control socket; files that no broker uses are read here.

mod offline;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::control::ask;

/// How long a broker may think about its figures.
const PATIENCE: Duration = Duration::from_secs(30);

/// Of `myriadctl store`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Reads a journal that no broker uses, or a backup, and says what is in it and what is damaged.
    Check {
        /// A node.data_dir, a backup, or the folder of a journal.
        dir: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Prints what the journal takes and does: asked of the broker if one is running, else from the files.
    Stats {
        /// The broker's node.data_dir.
        #[arg(long, value_name = "DIR", default_value = "./data")]
        data_dir: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Copies the journal to a new folder, which a broker can start on: while the broker runs, or from the files.
    Backup {
        /// The new folder.
        to: PathBuf,
        /// The broker's node.data_dir.
        #[arg(long, value_name = "DIR", default_value = "./data")]
        data_dir: PathBuf,
    },
}

/// Does it. Exit status 1: the journal is damaged, or it could not be done.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.command {
        Command::Check { dir, json } => offline::check(dir, *json),
        Command::Stats { data_dir, json } => stats(data_dir, *json),
        Command::Backup { to, data_dir } => backup(to, data_dir),
    }
}

/// The control socket of a running broker; `None`: none is running.
fn socket(data_dir: &Path) -> Option<PathBuf> {
    let socket = data_dir.join("control.sock");
    std::os::unix::net::UnixStream::connect(&socket).is_ok().then_some(socket)
}

fn stats(data_dir: &Path, json: bool) -> Result<ExitCode> {
    let Some(socket) = socket(data_dir) else { return offline::stats(data_dir, json) };
    let answer = ask(&socket, &json!({ "request": "store.stats" }), Some(PATIENCE))?;
    let of = answer.lines.first().context("the broker's answer has no figures")?;
    if json {
        println!("{of}");
    } else {
        print_stats(of);
    }
    Ok(ExitCode::SUCCESS)
}

fn print_stats(of: &Value) {
    let n = |key: &str| of[key].as_u64().unwrap_or_default();
    let state =
        if of["is_down"] == true { "the disk is full or failed: nothing is stored" } else { "stores" };
    println!("state             {state}");
    println!(
        "on disk           {} in {} files, from segment {} to {}",
        bytes(n("disk_bytes")),
        n("segments"),
        n("base"),
        n("newest")
    );
    println!(
        "checkpoints       {} since the start; the last took {}, and {} came since{}",
        n("checkpoints"),
        bytes(n("image_bytes")),
        bytes(n("since_bytes")),
        if of["is_checkpointing"] == true { "; one is under way" } else { "" }
    );
    println!("written           {} in {} frames since the start", bytes(n("bytes")), n("frames"));
    let syncs = n("syncs").max(1) as f64;
    println!(
        "syncs             {}, {:.1} frames and {:.2} ms each, the slowest {:.1} ms",
        n("syncs"),
        n("frames") as f64 / syncs,
        n("sync_us") as f64 / syncs / 1000.0,
        n("sync_us_max") as f64 / 1000.0
    );
    println!("failures          {}, with {} frames refused", n("failures"), n("refused_frames"));
    if n("left_files") > 0 {
        println!("left behind       {} files could not be removed: see the broker's log", n("left_files"));
    }
}

fn backup(to: &Path, data_dir: &Path) -> Result<ExitCode> {
    let to = std::path::absolute(to).with_context(|| format!("{}", to.display()))?;
    let Some(socket) = socket(data_dir) else { return offline::backup(&to, data_dir) };
    let path = to.to_str().with_context(|| format!("{}: not UTF-8", to.display()))?;
    let answer = ask(&socket, &json!({ "request": "store.backup", "to": path }), None)?;
    let (files, size) = (answer.last["files"].as_u64(), answer.last["bytes"].as_u64());
    println!("{}: {} in {} files", to.display(), bytes(size.unwrap_or_default()), files.unwrap_or_default());
    Ok(ExitCode::SUCCESS)
}

/// A size for people.
fn bytes(n: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let (mut size, mut unit) = (n as f64, "bytes");
    for next in UNITS {
        if size < 1024.0 {
            break;
        }
        (size, unit) = (size / 1024.0, next);
    }
    if unit == "bytes" { format!("{n} bytes") } else { format!("{size:.1} {unit}") }
}
