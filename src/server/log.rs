//! Structured logs to standard error, with levels that change while the broker runs.

use std::io::IsTerminal;

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt};

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

/// Starts the process's log. `level`: as `info` or `info,myriad::broker=debug`.
///
/// # Errors
/// The level can't be read, or the process has a log already.
pub fn start_log(level: &str) -> Result<LogHandle, LogError> {
    let (filter, handle) = reload::Layer::new(parse(level)?);
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
    pub fn change(&self, level: &str) -> Result<(), LogError> {
        self.handle.reload(parse(level)?).map_err(|error| LogError::Log(error.to_string()))
    }
}

/// rustls tells each oddity of a peer as a warning; what of it matters is in our own lines and counters. It speaks where
/// `level` names it.
fn parse(level: &str) -> Result<EnvFilter, LogError> {
    let quiet = if level.contains("rustls") { level.into() } else { format!("rustls=off,{level}") };
    EnvFilter::try_new(quiet)
        .map_err(|error| LogError::Level { level: level.into(), problem: error.to_string() })
}
