//! The command line of `myriad`. Exit status: 2 where an argument has to change, 1 for what could not start.

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};

use super::draft::Draft;
use super::value::{Field, Form, Value};
use super::{Config, Error, ListenerUrl, Origin, ShardCount};

/// An MQTT broker for one million clients on one Linux machine.
#[derive(Debug, Clone, Parser)]
#[command(name = "myriad", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do other than to run.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// What to run.
    #[command(flatten)]
    pub arguments: Arguments,
}

/// What `myriad` does other than to run the broker.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Read and check the configuration, print what would run, and exit.
    Check(Arguments),
}

/// The arguments that decide the configuration.
#[derive(Debug, Clone, Default, PartialEq, Args)]
pub struct Arguments {
    /// Configuration file (TOML); without one every key has its default.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Shards to run: a number, or "auto" for one per CPU.
    #[arg(long, value_name = "N|auto", value_parser = parse_shards)]
    pub shards: Option<ShardCount>,

    /// Listen here, in place of the file's listeners; may be repeated. As mqtt://127.0.0.1:1883
    #[arg(long, value_name = "URL")]
    pub listen: Vec<ListenerUrl>,

    /// Where files are kept.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// Level of the log: off, error, warn, info, debug, trace, or by module as info,myriad::broker=debug
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<String>,

    /// Set any key of the file; may be repeated. As session.queue_len_max=100; listener.KEY sets it for all listeners
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

fn parse_shards(text: &str) -> Result<ShardCount, String> {
    let value = super::keys::find("node", "shards").map_or(Form::Shards(u16::MAX), |key| key.form);
    let value = value.resolve(Value::of_argument(text))?;
    ShardCount::from_value(value).ok_or_else(|| "expected a number of shards".into())
}

impl Arguments {
    /// Reads the file, if one was named, and lays the other arguments over it. SIGHUP calls this again. Warnings go to
    /// `warn`, a line each.
    ///
    /// # Errors
    /// The file can't be read, or the configuration can't be used.
    pub fn load(&self, warn: impl FnMut(String)) -> Result<Config, Error> {
        match &self.config {
            None => self.resolve_with(None, warn),
            Some(path) => self.resolve_with(Some((&path.to_string_lossy(), &read(path)?)), warn),
        }
    }

    /// `load` for a file (name, text) that was read already, without its warnings. A function of its arguments.
    ///
    /// # Errors
    /// The configuration can't be used.
    pub fn resolve(&self, file: Option<(&str, &str)>) -> Result<Config, Error> {
        self.resolve_with(file, |_| {})
    }

    /// The same with warnings.
    ///
    /// # Errors
    /// The configuration can't be used.
    pub fn resolve_with(
        &self,
        file: Option<(&str, &str)>,
        warn: impl FnMut(String),
    ) -> Result<Config, Error> {
        let mut draft = Draft::default();
        if let Some((name, text)) = file {
            draft.file(text, name)?;
        }
        if let Some(shards) = self.shards {
            draft.shards(shards);
        }
        if let Some(path) = &self.data_dir {
            draft.data_dir(path);
        }
        if let Some(level) = &self.log {
            draft.log(level)?;
        }
        draft.listen(&self.listen);
        for assignment in &self.set {
            draft.set(assignment)?;
        }
        draft.finish(warn)
    }
}

fn read(path: &Path) -> Result<String, Error> {
    let origin = || Origin::File(path.to_string_lossy().into_owned());
    let bytes = std::fs::read(path).map_err(|error| Error {
        origin: origin(),
        problem: format!("the configuration can't be read: {error}"),
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        Error { origin: origin(), problem: format!("the configuration is not UTF-8 text (byte {offset})") }
    })
}
