//! How a command can end badly: one line for people, and the exit status for scripts. Errors without a status of their own
//! count as `Failed`.

use std::fmt;

/// The exit statuses, as `myriadctl --help` and docs/MYRIADCTL.md list them. 2 belongs to the command line's own errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// It failed, or something is not as it should be.
    Failed = 1,
    /// An argument is wrong.
    Usage = 2,
    /// Nobody answers.
    Unreachable = 3,
    /// The thing that was named is not there.
    NotFound = 4,
    /// Not without a user, or not this one.
    Refused = 5,
}

/// What `--help` says of them.
pub(crate) const STATUSES: &str = "\
Exit status: 0 done; 1 failed, or something is not as it should be; 2 wrong arguments; 3 no broker answers; \
4 not found; 5 not allowed.";

/// An error with its exit status.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: Status,
    line: String,
}

impl Failure {
    pub(crate) fn new(status: Status, line: impl Into<String>) -> Self {
        Self { status, line: line.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl std::error::Error for Failure {}

/// The exit status that an error asks for.
pub(crate) fn status_of(error: &anyhow::Error) -> Status {
    error.chain().find_map(|cause| cause.downcast_ref::<Failure>()).map_or(Status::Failed, |f| f.status)
}

/// Whether whoever read our output has gone: `myriadctl clients list | head` is no error.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
    };
    error.chain().any(io)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_keeps_the_status() {
        let error = anyhow::Error::new(Failure::new(Status::NotFound, "no client c")).context("clients show");
        assert_eq!(status_of(&error), Status::NotFound);
        assert_eq!(status_of(&anyhow::anyhow!("other")), Status::Failed);
        let pipe = anyhow::Error::new(std::io::Error::from(std::io::ErrorKind::BrokenPipe)).context("out");
        assert!(is_broken_pipe(&pipe) && !is_broken_pipe(&error));
    }
}
