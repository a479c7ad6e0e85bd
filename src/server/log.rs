//! Structured logs to standard error, with levels that change while the broker runs.

use std::io::IsTerminal;

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt};

use crate::config::Log;

/// Changes the levels of a log that is running.
#[derive(Debug, Clone)]
pub struct LogHandle {
    handle: Handle<EnvFilter, Registry>,
}

/// The levels are no levels.
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
    /// Another log was started before.
    #[error("the log can't be started or changed: {0}")]
    Log(String),
}

/// Starts the process's log.
///
/// # Errors
/// The level can't be read, or the process has a log already.
pub fn start_log(log: &Log) -> Result<LogHandle, LogError> {
    let (filter, handle) = reload::Layer::new(parse(log)?);
    let output = fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr);
    tracing_subscriber::registry()
        .with(filter)
        .with(output)
        .try_init()
        .map_err(|error| LogError::Log(error.to_string()))?;
    Ok(LogHandle { handle })
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

/// rustls tells each oddity of a peer as a warning; what of it matters is in our own lines and counters. It speaks where
/// `log.level` names it. The audit log is on or off by a key of its own.
fn parse(log: &Log) -> Result<EnvFilter, LogError> {
    let level = &log.level;
    let quiet = if level.contains("rustls") { "" } else { "rustls=off," };
    let audit = if log.audit { "info" } else { "off" };
    EnvFilter::try_new(format!("{quiet}{level},audit={audit}"))
        .map_err(|error| LogError::Level { level: level.clone(), problem: error.to_string() })
}
