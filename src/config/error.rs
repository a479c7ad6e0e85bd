//! What is wrong with a configuration, where it was written, and how to mend it: always one line.

use std::fmt;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of the configuration file, counted from 1.
    Line {
        /// The file as the user named it.
        file: String,
        /// The line.
        line: usize,
    },
    /// The configuration file as a whole.
    File(String),
    /// A command line argument, as the user wrote it.
    Argument(String),
    /// Nowhere: the default.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { file, line } => write!(f, "{file}:{line}"),
            Self::File(file) => f.write_str(file),
            Self::Argument(argument) => f.write_str(argument),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A configuration that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", one_line(&format!("{origin}: {problem}")))]
pub struct Error {
    /// Where the value that has to change was written.
    pub origin: Origin,
    /// What is wrong, what was expected.
    pub problem: String,
}

impl Error {
    /// The process' exit status: 2 where an argument has to change, 1 where the file has to.
    pub fn exit_status(&self) -> u8 {
        match self.origin {
            Origin::Argument(_) => 2,
            Origin::Line { .. } | Origin::File(_) | Origin::Default => 1,
        }
    }
}

/// `text` with its control characters escaped: what the user wrote may hold line ends and terminal sequences.
fn one_line(text: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().collect() } else { String::from(c) };
    text.chars().map(escaped).collect()
}
