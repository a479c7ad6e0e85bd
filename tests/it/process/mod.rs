//! The contract of the process: command line, exit codes, signals, files, `$SYS` (DESIGN's section on the command line).

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::broker::{Broker, NO_HTTP, binary, peer_is_mosquitto, temporary_dir, unused_address, wait};

mod churn;
mod command_line;
mod limits;
mod locked_memory;
mod notify;
mod seccomp;
mod signals;
mod sys;

pub use limits::cpu_ticks;

/// Runs the broker's binary to its end; `None` where Mosquitto takes its place.
fn run(args: &[&str]) -> Option<Output> {
    if peer_is_mosquitto() {
        println!("skipped: the command line is ours");
        return None;
    }
    let mut command = Command::new(binary());
    // Many run at a time, and there is one port of HTTP.
    command
        .args(args)
        .args(["--set", "admin.listen="])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    if wait(&mut child).is_none() {
        let _ = child.kill();
        panic!("myriad {args:?} still runs");
    }
    Some(child.wait_with_output().unwrap())
}

/// Runs the binary, which has to end with `status` and one line on standard error that has all of `words`.
fn expect_failure(args: &[&str], status: i32, words: &[&str]) {
    let Some(output) = run(args) else { return };
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "myriad {args:?}: {stderr}");
    for word in words {
        assert!(stderr.contains(word), "{word:?} is not named by myriad {args:?}: {stderr}");
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
}

/// The same, and there is exactly one line.
fn expect_failure_in_one_line(args: &[&str], status: i32, words: &[&str]) {
    expect_failure(args, status, words);
    let Some(output) = run(args) else { return };
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr.trim_end().lines().count(), 1, "myriad {args:?}: {stderr}");
}

/// A broker with a configuration file, which it reads again at SIGHUP; `None` where Mosquitto takes its place.
fn start_with_file(dir: &Path, file: &Path, shards: u16) -> Option<Broker> {
    if peer_is_mosquitto() {
        println!("skipped: the configuration file is ours");
        return None;
    }
    let address = unused_address();
    let mut command = Command::new(binary());
    command.arg("--config").arg(file).arg("--data-dir").arg(dir.join("data"));
    command.args([
        "--shards",
        &shards.to_string(),
        "--listen",
        &format!("mqtt://{address}"),
        "--set",
        NO_HTTP,
    ]);
    Some(Broker::spawn(&mut command, address, shards, dir.into()))
}

/// A file in a new directory.
fn file_with(text: &str) -> (std::path::PathBuf, std::path::PathBuf) {
    let dir = temporary_dir();
    let file = dir.join("myriad.toml");
    std::fs::write(&file, text).unwrap();
    (dir, file)
}
