//! What is wrong with a file that authentication reads, with its name and line.

/// One line that names the thing. Never quotes a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {problem}", if *.line > 0 { format!(" line {}", .line) } else { String::new() })]
pub struct FileError {
    /// The file, as the configuration names it.
    pub file: String,
    /// Its line, from 1; 0: the file as a whole.
    pub line: usize,
    /// What is wrong, and what was expected.
    pub problem: String,
}

impl FileError {
    /// About a line; the file's name is filled in by who read it.
    pub fn at(line: usize, problem: impl Into<String>) -> Self {
        Self { file: String::new(), line, problem: problem.into() }
    }

    /// The same, of that file.
    #[must_use]
    pub fn of(mut self, file: &str) -> Self {
        file.clone_into(&mut self.file);
        self
    }
}

/// The lines of a file that say something, with their numbers from 1: comments (`#`) and empty ones are left out.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim_end()))
        .filter(|(_, line)| !line.trim_start().is_empty() && !line.starts_with('#'))
}
