//! What operators have told the modules: the stored automatic subscriptions with their file, and whether clients are being sent
//! away. Shards have copies; this is where changes are made, one at a time.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::broker::{DrainOrder, StoredSubscriptions};

/// The file in `node.data_dir`.
const FILE: &str = "auto_subscriptions.jsonl";

/// Why the stored automatic subscriptions can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoredFileError {
    /// The file can't be read or written.
    #[error("{}: {error}; the user that runs the broker must be able to read and write it", .file.display())]
    Io {
        /// Which.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A line of it is none.
    #[error("{}:{line}: {problem}; mend or remove the line", .file.display())]
    Line {
        /// Which file.
        file: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
}

/// The stored automatic subscriptions, as they are on disk.
#[derive(Debug)]
pub struct StoredFile {
    file: PathBuf,
    all: Arc<StoredSubscriptions>,
}

impl StoredFile {
    /// Reads the file in `data_dir`; there may be none.
    ///
    /// # Errors
    /// It can't be read, or a line of it is none.
    pub fn open(data_dir: &Path) -> Result<Self, StoredFileError> {
        let file = data_dir.join(FILE);
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(StoredFileError::Io { file, error }),
        };
        match StoredSubscriptions::from_lines(&text) {
            Ok(all) => Ok(Self { file, all: Arc::new(all) }),
            Err((line, problem)) => Err(StoredFileError::Line { file, line, problem }),
        }
    }

    /// What is stored.
    pub fn all(&self) -> Arc<StoredSubscriptions> {
        Arc::clone(&self.all)
    }

    /// Puts these in the place of those before; all or none of them are there after a loss of power.
    ///
    /// # Errors
    /// The file can't be written; those before stay.
    pub(super) fn replace(&mut self, all: StoredSubscriptions) -> Result<(), StoredFileError> {
        write(&self.file, &all.to_lines())
            .map_err(|error| StoredFileError::Io { file: self.file.clone(), error })?;
        self.all = Arc::new(all);
        Ok(())
    }
}

fn write(file: &Path, text: &str) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let new = file.with_extension("new");
    let mut out =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    out.write_all(text.as_bytes())?;
    out.sync_all()?;
    std::fs::rename(&new, file)?;
    std::fs::File::open(folder)?.sync_all()
}

/// Clients are being sent away.
#[derive(Debug, Clone)]
pub(super) struct DrainUnderWay {
    pub(super) order: DrainOrder,
    /// Clients that had been sent away before it began.
    pub(super) sent_before: u64,
}

/// Both.
#[derive(Debug)]
pub(super) struct ModuleState {
    /// Held while shards are told: they learn of changes in the order in which those are made.
    pub(super) stored: tokio::sync::Mutex<StoredFile>,
    drain: Mutex<Option<DrainUnderWay>>,
}

impl ModuleState {
    pub(super) fn new(stored: StoredFile) -> Self {
        Self { stored: tokio::sync::Mutex::new(stored), drain: Mutex::new(None) }
    }

    /// The drain under way, if there is one.
    pub(super) fn drain(&self) -> Option<DrainUnderWay> {
        self.drain.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another one is under way, or none.
    pub(super) fn set_drain(&self, drain: Option<DrainUnderWay>) {
        *self.drain.lock().unwrap_or_else(PoisonError::into_inner) = drain;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::broker::StoredSubscription;
    use crate::config::AutoSubscription;

    #[test]
    fn what_is_stored_is_there_after_a_restart_and_a_bad_line_is_named() {
        let dir = std::env::temp_dir().join(format!("myriad-stored-{}", std::process::id()));
        let mut stored = StoredFile::open(&dir).unwrap();
        assert!(stored.all().is_empty());
        let subscription = AutoSubscription { filter: "a/%c".into(), qos: 1, ..AutoSubscription::default() };
        let mut all = StoredSubscriptions::default();
        all.add(StoredSubscription { client_id: "c".into(), subscription }).unwrap();
        stored.replace(all.clone()).unwrap();
        assert_eq!(*StoredFile::open(&dir).unwrap().all(), all);
        std::fs::write(dir.join(FILE), "{\"client_id\":\"c\",\"filter\":\"a\"}\nno\n").unwrap();
        let error = StoredFile::open(&dir).unwrap_err().to_string();
        assert!(error.contains("auto_subscriptions.jsonl:2: "), "{error}");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
