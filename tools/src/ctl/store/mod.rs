//! `myriadctl store`: the journal, in which sessions, queues and Retained Messages outlast the broker's process. A running
//! broker is asked by its API; files that no broker uses are read here.

mod offline;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::api::route;
use crate::print::units::bytes;
use crate::print::{Console, say};

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
    },
    /// Prints what the journal takes and does: asked of the broker if one is running, else from the files.
    Stats,
    /// Copies the journal to a new folder, which a broker can start on: while the broker runs, or from the files.
    Backup {
        /// The new folder.
        to: PathBuf,
    },
}

/// Does it. Exit status 1: the journal is damaged, or it could not be done.
pub(crate) fn run(arguments: &Arguments, console: &Console<'_>) -> Result<ExitCode> {
    match &arguments.command {
        Command::Check { dir } => offline::check(dir, console.json),
        Command::Stats => stats(console),
        Command::Backup { to } => backup(to, console),
    }
}

/// Whether a broker is to be asked, rather than the files.
fn is_running(console: &Console<'_>) -> bool {
    let socket = || console.reach.data_dir().join("control.sock");
    console.reach.is_remote() || std::os::unix::net::UnixStream::connect(socket()).is_ok()
}

fn stats(console: &Console<'_>) -> Result<ExitCode> {
    if !is_running(console) {
        return offline::stats(&console.reach.data_dir(), console.json);
    }
    let of = console.api()?.get(&route(&["store"]), &[])?;
    if console.json {
        return console.done(&of, "");
    }
    say(described(&of))?;
    Ok(ExitCode::SUCCESS)
}

fn described(of: &Value) -> String {
    let n = |key: &str| of[key].as_u64().unwrap_or_default();
    let state =
        if of["is_down"] == true { "the disk is full or failed: nothing is stored" } else { "stores" };
    let syncs = n("syncs").max(1) as f64;
    let mut lines = vec![
        format!("state             {state}"),
        format!(
            "on disk           {} in {} files, from segment {} to {}",
            bytes(n("disk_bytes")),
            n("segments"),
            n("base"),
            n("newest")
        ),
        format!(
            "checkpoints       {} since the start; the last took {}, and {} came since{}",
            n("checkpoints"),
            bytes(n("image_bytes")),
            bytes(n("since_bytes")),
            if of["is_checkpointing"] == true { "; one is under way" } else { "" }
        ),
        format!("written           {} in {} frames since the start", bytes(n("bytes")), n("frames")),
        format!(
            "syncs             {}, {:.1} frames and {:.2} ms each, the slowest {:.1} ms",
            n("syncs"),
            n("frames") as f64 / syncs,
            n("sync_us") as f64 / syncs / 1000.0,
            n("sync_us_max") as f64 / 1000.0
        ),
        format!("failures          {}, with {} frames refused", n("failures"), n("refused_frames")),
    ];
    if n("left_files") > 0 {
        lines.push(format!(
            "left behind       {} files could not be removed: see the broker's log",
            n("left_files")
        ));
    }
    lines.join("\n")
}

fn backup(to: &Path, console: &Console<'_>) -> Result<ExitCode> {
    let to = std::path::absolute(to).with_context(|| format!("{}", to.display()))?;
    if !is_running(console) {
        return offline::backup(&to, &console.reach.data_dir(), console.json);
    }
    let path = to.to_str().with_context(|| format!("{}: not UTF-8", to.display()))?;
    // A backup takes as long as the disk does.
    let api = crate::api::Api::open(&crate::api::Reach { timeout: 0, ..console.reach.clone() })?;
    let answer = api.post(&route(&["store", "backup"]), &json!({ "to": path }))?;
    let (files, size) = (answer["files"].as_u64(), answer["bytes"].as_u64());
    let size = bytes(size.unwrap_or_default());
    console.done(&answer, format_args!("{}: {size} in {} files", to.display(), files.unwrap_or_default()))
}
