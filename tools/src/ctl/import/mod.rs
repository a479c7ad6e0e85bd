//! `myriadctl import`: a configuration of Mosquitto, of emqttd 0.x and 1.x (Erlang terms) or of emqttd 2.x (`key = value`) as one of
//! Myriad. `draft` is what is being made; each format has a folder that fills it. Nothing is left out silently: each line is in
//! effect, needs nothing, or is listed with the reason and the nearest thing.

mod draft;
mod emqttd;
mod mosquitto;

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde_json::json;

use crate::failure::{Failure, Status};
use crate::print::{Console, say, visible};
use draft::{Draft, Fate};

/// Bytes of the largest file that is read.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Of `myriadctl import`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// mosquitto.conf, emqttd.config or emq.conf.
    file: PathBuf,
    /// Write the configuration here and the files that it needs beside it; without it, print it.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// What the file is, where its text does not tell.
    #[arg(long, value_enum)]
    from: Option<Source>,
    /// Overwrite what is there.
    #[arg(long, requires = "output")]
    force: bool,
}

/// A format that is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Source {
    /// mosquitto.conf
    Mosquitto,
    /// emqttd 0.x and 1.x: etc/emqttd.config, Erlang terms.
    Emqttd,
    /// emqttd 2.x: etc/emq.conf and the files of its plugins.
    Emq,
}

impl Source {
    /// Tells by the first line that says something.
    fn of(text: &str) -> Self {
        let mut lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with(['#', '%']));
        match lines.next() {
            Some(line) if line.starts_with(['[', '{']) => Self::Emqttd,
            Some(line)
                if line
                    .split_once('=')
                    .is_some_and(|(key, _)| key.trim().contains('.') && !key.trim().contains(' ')) =>
            {
                Self::Emq
            }
            _ => Self::Mosquitto,
        }
    }
}

/// Does it. Exit status 1: what came out can't be used as it is; what has to be added is said.
pub(crate) fn run(arguments: &Arguments, console: &Console<'_>) -> Result<ExitCode> {
    let text = read(&arguments.file)?;
    let mut draft = Draft::new(&arguments.file, arguments.output.as_deref());
    match arguments.from.unwrap_or_else(|| Source::of(&text)) {
        Source::Mosquitto => mosquitto::import(&text, &arguments.file, &mut draft)?,
        Source::Emqttd => emqttd::import_terms(&text, &arguments.file, &mut draft)?,
        Source::Emq => emqttd::import_conf(&text, &arguments.file, &mut draft),
    }
    let toml = draft.to_toml();
    let problem =
        myriad::config::Config::from_toml(&toml, "myriad.toml").err().map(|error| error.to_string());
    if let Some(output) = &arguments.output {
        write(output, &toml, &draft, arguments.force)?;
    }
    if console.json {
        say(serde_json::to_string_pretty(&report_json(&draft, &toml, problem.as_deref()))?)?;
    } else {
        report(&draft, &toml, arguments)?;
    }
    match problem {
        None => Ok(ExitCode::SUCCESS),
        Some(problem) => {
            let line = format!("what came out can't be used yet: {problem}");
            Err(Failure::new(Status::Failed, line).into())
        }
    }
}

/// A text file of sensible size; what is no UTF-8 in it (comments, mostly) is replaced.
fn read(path: &Path) -> Result<String> {
    let named = || path.display().to_string();
    let len = fs::metadata(path).with_context(named)?.len();
    anyhow::ensure!(len <= FILE_BYTES_MAX, "{}: {len} bytes are no configuration", named());
    Ok(String::from_utf8_lossy(&fs::read(path).with_context(named)?).into_owned())
}

fn write(output: &Path, toml: &str, draft: &Draft, force: bool) -> Result<()> {
    let beside = output.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut files = vec![(output.to_owned(), toml)];
    files.extend(draft.files.iter().map(|(name, text)| (beside.join(name), text.as_str())));
    if !force && let Some((there, _)) = files.iter().find(|(path, _)| path.exists()) {
        let line = format!("{} is there already; --force overwrites it", there.display());
        return Err(Failure::new(Status::Failed, line).into());
    }
    for (path, text) in files {
        // What the old configuration kept from others stays so: URLs and parameters of auth.http may have passwords.
        let mode = if draft.may_have_secrets() { 0o600 } else { 0o644 };
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(mode);
        let mut file = options.open(&path).with_context(|| path.display().to_string())?;
        file.write_all(text.as_bytes()).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// The report goes to standard error where the configuration itself goes to standard output.
fn report(draft: &Draft, toml: &str, arguments: &Arguments) -> Result<()> {
    let mut lines = Vec::new();
    for (fate, title) in [
        (Fate::Unmapped, "Not in the new configuration"),
        (Fate::Changed, "In the new configuration, but not quite the same"),
    ] {
        let notes: Vec<_> = draft.notes.iter().filter(|note| note.fate == fate).collect();
        if notes.is_empty() {
            continue;
        }
        lines.push(format!("{title} ({}):", notes.len()));
        for note in notes {
            lines.push(format!("  {}: {}\n      {}", note.place, visible(&note.line), note.why));
        }
    }
    let count = |fate| draft.notes.iter().filter(|note| note.fate == fate).count();
    lines.push(format!(
        "lines in effect: {}, that need nothing: {}, changed: {}, not mapped: {}",
        count(Fate::Mapped),
        count(Fate::Needless),
        count(Fate::Changed),
        count(Fate::Unmapped)
    ));
    match &arguments.output {
        Some(output) => {
            lines.push(format!("Look at {0}, then: myriad check --config {0}", output.display()));
            say(lines.join("\n"))
        }
        None => {
            eprintln!("{}", lines.join("\n"));
            say(toml.trim_end())?;
            draft.files.iter().try_for_each(|(name, text)| {
                let shown: Vec<String> = text.lines().map(|line| format!("# {line}")).collect();
                say(format_args!(
                    "\n# ---- {name}, which --output writes beside it ----\n{}",
                    shown.join("\n")
                ))
            })
        }
    }
}

fn report_json(draft: &Draft, toml: &str, problem: Option<&str>) -> serde_json::Value {
    let notes = |fate: Fate| -> Vec<serde_json::Value> {
        let notes = draft.notes.iter().filter(|note| note.fate == fate);
        notes.map(|note| json!({ "place": note.place, "line": note.line, "why": note.why })).collect()
    };
    let files: serde_json::Map<_, _> =
        draft.files.iter().map(|(n, t)| (n.clone(), t.as_str().into())).collect();
    json!({
        "toml": toml,
        "files": files,
        "mapped": notes(Fate::Mapped).len(),
        "needless": notes(Fate::Needless),
        "changed": notes(Fate::Changed),
        "unmapped": notes(Fate::Unmapped),
        "problem": problem,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_tells_what_it_is() {
        for (text, source) in [
            ("# x\nlistener 1883\n", Source::Mosquitto),
            ("% -*- mode: erlang -*-\n[{kernel, []}].", Source::Emqttd),
            ("## EMQ\n\nnode.name = emq@127.0.0.1\n", Source::Emq),
            ("log_timestamp_format %Y=%m\n", Source::Mosquitto),
            ("", Source::Mosquitto),
        ] {
            assert_eq!(Source::of(text), source, "{text}");
        }
    }
}
