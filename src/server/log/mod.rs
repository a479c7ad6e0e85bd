//! Structured logs, with levels that change while the broker runs: to standard error, to systemd's journal, or to a file that
//! is rotated by its size (`file`). A reload changes the levels; where the log goes, and how it looks, changes with a restart.

mod file;

use std::io::IsTerminal;

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::{Layer, Layered, SubscriberExt};
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt};

use crate::config::{Log, LogFormat, LogTarget};
use file::LogFile;

/// What events reach once they have passed the levels.
type Filtered = Layered<reload::Layer<EnvFilter, Registry>, Registry>;
/// Where they go then.
type Output = Box<dyn Layer<Filtered> + Send + Sync>;

/// Changes the levels of a log that is running; what it has not written to its file yet is written when this is dropped.
#[derive(Debug)]
pub struct LogHandle {
    handle: Handle<EnvFilter, Registry>,
    file: Option<LogFile>,
}

/// There is no such log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// `log.level` can't be read.
    #[error("log.level `{level}`: {problem}; expected as `info` or `info,myriad::broker=debug`")]
    Level {
        /// What was given.
        level: String,
        /// What is wrong.
        problem: String,
    },
    /// The file can't be written.
    #[error("log.file {}: {error}; the user that runs the broker must be able to write there", .file.display())]
    File {
        /// Which.
        file: std::path::PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// There is no journal.
    #[error(
        "log.target \"journald\": systemd's journal can't be reached ({0}); use \"stderr\" or \"file\" here"
    )]
    Journald(std::io::Error),
    /// Another log was started before.
    #[error("the log can't be started or changed: {0}")]
    Log(String),
}

/// Starts the process's log.
///
/// # Errors
/// The level can't be read, the target can't be written, or the process has a log already.
pub fn start_log(log: &Log) -> Result<LogHandle, LogError> {
    let (filter, handle) = reload::Layer::new(parse(log)?);
    let (output, file) = open(log)?;
    tracing_subscriber::registry()
        .with(filter)
        .with(output)
        .try_init()
        .map_err(|error| LogError::Log(error.to_string()))?;
    Ok(LogHandle { handle, file })
}

fn open(log: &Log) -> Result<(Output, Option<LogFile>), LogError> {
    let is_json = log.format == LogFormat::Json;
    Ok(match log.target {
        LogTarget::Journald => {
            let journald = tracing_journald::layer().map_err(LogError::Journald)?;
            (journald.with_syslog_identifier("myriad".into()).boxed(), None)
        }
        LogTarget::File => {
            let file = LogFile::start(&log.file, u64::from(log.rotate_bytes), log.keep)
                .map_err(|error| LogError::File { file: log.file.clone(), error })?;
            let layer = fmt::layer().with_ansi(false).with_writer(file.writer());
            (if is_json { layer.json().flatten_event(true).boxed() } else { layer.boxed() }, Some(file))
        }
        LogTarget::Stderr => {
            let is_colored = !is_json && std::io::stderr().is_terminal();
            let layer = fmt::layer().with_ansi(is_colored).with_writer(std::io::stderr);
            (if is_json { layer.json().flatten_event(true).boxed() } else { layer.boxed() }, None)
        }
    })
}

impl LogHandle {
    /// Changes the levels from now on.
    ///
    /// # Errors
    /// The level can't be read.
    pub fn change(&self, log: &Log) -> Result<(), LogError> {
        self.handle.reload(parse(log)?).map_err(|error| LogError::Log(error.to_string()))
    }
}

impl Drop for LogHandle {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            file.flush();
        }
    }
}

/// rustls tells each oddity of a peer as a warning; what of it matters is in our own lines and counters. It speaks where
/// `log.level` names it. The audit log is on or off by a key of its own.
fn parse(log: &Log) -> Result<EnvFilter, LogError> {
    let level = &log.level;
    let quiet = if level.contains("rustls") { "" } else { "rustls=off," };
    let audit = if log.audit { "info" } else { "off" };
    EnvFilter::try_new(format!("{quiet}{level},audit={audit}"))
        .map_err(|error| LogError::Level { level: level.clone(), problem: error.to_string() })
}
