//! `--apply`: the settings into the running kernel through /proc/sys, and into sysctl.d for the next boot. What the kernel
//! refuses is named and stands in the file as a comment, so that the file is one that a boot can apply as a whole.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use super::check::{Report, Row, Verdict};
use super::machine::{Machine, Reading};
use super::render;
use super::settings::Place;

/// Below the root.
const FOLDER: &str = "etc/sysctl.d";
const FILE: &str = "60-myriad.conf";
/// The file until it is complete: sysctl reads only names that end in `.conf`.
const DRAFT: &str = ".60-myriad.conf.new";

/// What came of it.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    /// The file that was written.
    pub(super) file: PathBuf,
    /// Settings changed.
    pub(super) changed: Vec<Change>,
    /// Settings that were as wanted already.
    pub(super) kept: usize,
    /// Settings that the kernel refused.
    pub(super) refused: Vec<Refusal>,
}

/// A setting that was changed.
#[derive(Debug, Serialize)]
pub(super) struct Change {
    name: &'static str,
    before: String,
    now: String,
}

/// A setting that could not be changed.
#[derive(Debug, Serialize)]
pub(super) struct Refusal {
    name: &'static str,
    wanted: String,
    error: String,
}

/// Changes what falls short.
///
/// # Errors
/// The file can't be written. If that shows before anything was changed, nothing was; the error says which.
pub(super) fn apply(machine: &Machine, report: &Report) -> Result<Outcome> {
    let folder = machine.path(FOLDER);
    let (draft, file) = (folder.join(DRAFT), folder.join(FILE));
    write_draft(&folder, &draft, &render::sysctl_file(report, &[])).with_context(|| {
        format!("cannot write {}, so nothing was changed; run it as root", file.display())
    })?;
    let mut outcome = Outcome { file: file.clone(), changed: Vec::new(), kept: 0, refused: Vec::new() };
    for row in &report.rows {
        if row.setting.place != Place::Sysctl || !report.concerns(&row.setting) {
            continue;
        }
        match &row.verdict {
            Verdict::NotApplicable(_) => {}
            Verdict::Enough => outcome.kept += 1,
            Verdict::Unreadable(why) => outcome.refuse(row, format!("cannot be read: {why}")),
            Verdict::Short(_) => match set(machine, row) {
                Ok(()) => outcome.changed.push(Change {
                    name: row.setting.name,
                    before: render::value(&row.now),
                    now: render::value(&row.mended()),
                }),
                Err(error) => outcome.refuse(row, explained(&error)),
            },
        }
    }
    let refused: Vec<_> =
        outcome.refused.iter().map(|refusal| (refusal.name, refusal.error.clone())).collect();
    write_draft(&folder, &draft, &render::sysctl_file(report, &refused))
        .and_then(|()| fs::rename(&draft, &file))
        .with_context(|| {
            let _ = fs::remove_file(&draft);
            let changed = outcome.changed.len();
            format!(
                "{changed} settings are changed until the next boot, but {} cannot be written",
                file.display()
            )
        })?;
    Ok(outcome)
}

impl Outcome {
    fn refuse(&mut self, row: &Row, error: String) {
        let wanted = row.setting.wanted.iter().map(|bound| bound.number()).collect::<Vec<_>>();
        let wanted = if row.now.is_empty() { wanted } else { row.mended() };
        self.refused.push(Refusal { name: row.setting.name, wanted: render::value(&wanted), error });
    }
}

/// Writes one setting and sees whether the kernel took it.
fn set(machine: &Machine, row: &Row) -> io::Result<()> {
    machine.set_sysctl(row.setting.name, &render::value(&row.mended()))?;
    match machine.sysctl(row.setting.name) {
        Reading::Numbers(now)
            if row.setting.wanted.iter().zip(&now).all(|(bound, now)| bound.holds(*now)) =>
        {
            Ok(())
        }
        Reading::Numbers(now) => {
            Err(io::Error::other(format!("the kernel made {} of it", render::value(&now))))
        }
        Reading::Absent => Err(io::Error::other("it is gone after writing")),
        Reading::Unreadable(why) => Err(io::Error::other(format!("cannot be read back: {why}"))),
    }
}

fn explained(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => format!("{error}: set it on the host of this container"),
        io::ErrorKind::PermissionDenied => format!("{error}: run as root, outside of containers"),
        _ => error.to_string(),
    }
}

fn write_draft(folder: &Path, draft: &Path, text: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut file = fs::File::create(draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// The outcome for people, and for each refusal a line for standard error.
pub(super) fn told(outcome: &Outcome) -> (String, Vec<String>) {
    let mut text: String = outcome
        .changed
        .iter()
        .map(|change| format!("{}: {} -> {}\n", change.name, change.before, change.now))
        .collect();
    text += &format!(
        "{} settings changed, {} were enough; {} keeps them over a reboot\n",
        outcome.changed.len(),
        outcome.kept,
        outcome.file.display()
    );
    let refusals = outcome.refused.iter();
    (text, refusals.map(|r| format!("{} = {} was refused: {}", r.name, r.wanted, r.error)).collect())
}
