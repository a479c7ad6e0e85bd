//! Journals that no broker uses: read, measured and copied here. They are locked meanwhile, so that no broker starts on them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use myriad::storage::backup::{self, JOURNAL_DIR};
use myriad::storage::marks::{CLOCK_FILE, Clocks};
use myriad::storage::real_disk::RealDisk;
use myriad::storage::segment::segment_seq;
use myriad::storage::{Disk, RecoverOptions, Report, recover};
use serde_json::json;

use super::bytes;

/// The folder of the journal in `dir`, or `dir` if it is one.
fn open(dir: &Path) -> Result<(RealDisk, PathBuf)> {
    let within = dir.join(JOURNAL_DIR);
    let folder = if within.is_dir() { within } else { dir.to_owned() };
    let disk = RealDisk::open_existing(&folder)?;
    let has_segments = disk.list()?.iter().any(|name| segment_seq(name).is_some());
    if !has_segments {
        bail!("{}: there is no journal", folder.display());
    }
    Ok((disk, folder))
}

/// Reads all of it. The time that passed since does not count: nothing has expired since then.
fn read(disk: &RealDisk, folder: &Path) -> Result<Report> {
    let recovered = recover(disk, Clocks::default(), &RecoverOptions::default(), &mut |_| {});
    let (.., report) = recovered.with_context(|| folder.display().to_string())?;
    Ok(report)
}

/// Prints a line for each thing that is not as it should be, and the sums. Exit status 1: something is damaged.
pub(super) fn check(dir: &Path, json: bool) -> Result<ExitCode> {
    let (disk, folder) = open(dir)?;
    let report = read(&disk, &folder)?;
    print(&report, json);
    Ok(if report.is_damaged() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn print(report: &Report, json: bool) {
    if json {
        println!("{}", as_json(report));
        return;
    }
    for finding in &report.findings {
        println!("{}: {finding}", if finding.is_damage() { "damaged" } else { "note" });
    }
    println!("{}: {report}", if report.is_damaged() { "damaged" } else { "sound" });
}

fn as_json(report: &Report) -> serde_json::Value {
    let finding = |finding: &myriad::storage::Finding| json!({ "is_damage": finding.is_damage(), "text": finding.to_string() });
    json!({
        "is_damaged": report.is_damaged(),
        "files": report.files,
        "bytes": report.bytes,
        "frames": report.frames,
        "entries": report.entries,
        "sessions": report.sessions,
        "subscriptions": report.subscriptions,
        "deliveries": report.deliveries,
        "retained": report.retained,
        "wills": report.wills,
        "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
    })
}

/// Prints what the files hold and take.
pub(super) fn stats(data_dir: &Path, json: bool) -> Result<ExitCode> {
    let (disk, folder) = open(data_dir)?;
    let report = read(&disk, &folder)?;
    if json {
        println!("{}", as_json(&report));
    } else {
        println!("state             no broker is running");
        println!("on disk           {} in {} files", bytes(report.bytes), report.files);
        println!("holds             {report}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Copies the files as they are, damaged ones too, and says what the copy is worth.
pub(super) fn backup(to: &Path, data_dir: &Path, json: bool) -> Result<ExitCode> {
    let (disk, folder) = open(data_dir)?;
    let mut files = Vec::new();
    for name in disk.list()? {
        if segment_seq(&name).is_some() || name == CLOCK_FILE {
            let len = disk.len(&name)?;
            files.push((name, len));
        }
    }
    files.sort();
    let copied = backup::copy(&folder, &files, to)?;
    if !json {
        println!("{}: {} in {} files", to.display(), bytes(copied.bytes), copied.files);
    }
    check(to, json)
}
