//! `myriadctl config`: checks a file without a broker, shows what a broker has in effect, makes it read its file again.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use myriad::config::{Arguments as Overrides, Config};
use serde_json::{Value, json};

use crate::api::route;
use crate::print::{Console, say};

/// Of `myriadctl config`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Checks a file as `myriad check` does, without a broker. Exit status 1: it can't be used.
    Check {
        /// The file.
        file: PathBuf,
    },
    /// The configuration in effect, secrets hidden.
    Show {
        /// Only keys that begin with this, as session. or limits.receive_max
        prefix: Option<String>,
    },
    /// Makes the broker read its file again, as SIGHUP does, and says what changed.
    Reload,
}

/// Does it.
pub(crate) fn run(arguments: &Arguments, console: &Console<'_>) -> Result<ExitCode> {
    match &arguments.command {
        Command::Check { file } => check(file, console),
        Command::Show { prefix } => show(prefix.as_deref(), console),
        Command::Reload => {
            let answer = console.api()?.post(&route(&["config", "reload"]), &json!({}))?;
            if console.json {
                return console.done(&answer, "");
            }
            let names = |key: &str| -> Vec<String> {
                let items = answer[key].as_array().into_iter().flatten();
                items.filter_map(|name| name.as_str().map(str::to_owned)).collect()
            };
            let (changed, waiting) = (names("changed"), names("needs_restart"));
            if changed.is_empty() && waiting.is_empty() {
                say("nothing has changed")?;
            }
            changed.iter().try_for_each(|key| say(format_args!("changed: {key}")))?;
            waiting.iter().try_for_each(|key| say(format_args!("waits for a restart: {key}")))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn check(file: &std::path::Path, console: &Console<'_>) -> Result<ExitCode> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(|| name.clone())?;
    let mut warnings = Vec::new();
    let outcome: Result<Config, _> =
        Overrides::default().resolve_with(Some((&name, &text)), |warning| warnings.push(warning));
    let error = outcome.err().map(|error| error.to_string());
    if console.json {
        let answer = json!({ "ok": error.is_none(), "error": error, "warnings": warnings });
        say(serde_json::to_string_pretty(&answer)?)?;
    } else {
        warnings.iter().for_each(|warning| eprintln!("myriadctl: {warning}"));
        match &error {
            None => say(format_args!("{name}: can be used"))?,
            Some(error) => eprintln!("myriadctl: {error}"),
        }
    }
    Ok(if error.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show(prefix: Option<&str>, console: &Console<'_>) -> Result<ExitCode> {
    let answer = console.api()?.get(&route(&["config"]), &[])?;
    let Some(prefix) = prefix else {
        if console.json {
            return console.done(&answer, "");
        }
        if let Some(file) = answer["file"].as_str() {
            say(format_args!("# {file}"))?;
        }
        say(answer["toml"].as_str().unwrap_or_default().trim_end())?;
        return Ok(ExitCode::SUCCESS);
    };
    let keys = answer["items"].as_object().into_iter().flatten();
    let keys: serde_json::Map<String, Value> =
        keys.filter(|(key, _)| key.starts_with(prefix)).map(|(k, v)| (k.clone(), v.clone())).collect();
    if keys.is_empty() {
        let line = format!("no key begins with {prefix:?}; `myriadctl config show` lists them all");
        return Err(crate::failure::Failure::new(crate::failure::Status::NotFound, line).into());
    }
    if console.json {
        return console.done(&Value::Object(keys), "");
    }
    for (key, value) in keys {
        say(format_args!("{key} = {value}"))?;
    }
    Ok(ExitCode::SUCCESS)
}
