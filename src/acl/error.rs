//! What is wrong with an ACL file, and where.

use std::fmt;

use thiserror::Error;

/// Where something begins, both from 1. Columns are characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Why a text is no ACL.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{at}: {what}")]
pub struct AclError {
    /// Where.
    pub at: Position,
    /// What was found, what was expected.
    pub what: String,
}

impl AclError {
    pub(super) fn new(at: Position, what: String) -> Self {
        Self { at, what }
    }
}
