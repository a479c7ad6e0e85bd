//! One process a journal: a lock on the file `LOCK` in its folder, which the kernel lifts when the process ends, however it
//! ends. The file says who holds it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Name of the file, which is never removed: whoever waits for a lock on a removed file waits for nothing.
pub const LOCK_FILE: &str = "LOCK";

/// Longest content of the file that is read: a process number.
const CONTENT_BYTES_MAX: u64 = 20;

/// Why a folder is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error(
        "{}: another broker has this journal{}; end it, or give this one a node.data_dir of its own",
        .path.display(), holder(.pid)
    )]
    Held {
        /// The lock file.
        path: PathBuf,
        /// Which process, if the file says so.
        pid: Option<u32>,
    },
    /// The file can't be made or locked.
    #[error("{}: {error}; the user that runs the broker must be able to write there", .path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

fn holder(pid: &Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

/// The lock; it ends with this value.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Locks `dir`, which exists.
    ///
    /// # Errors
    /// Another process has it, or the file can't be made.
    pub fn acquire(dir: &Path) -> Result<Self, LockError> {
        let path = dir.join(LOCK_FILE);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = match options.open(&path) {
            Ok(file) => file,
            Err(error) => return Err(LockError::Io { path, error }),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(LockError::Held { path, pid: pid_in(&mut file) });
            }
            Err(std::fs::TryLockError::Error(error)) => return Err(LockError::Io { path, error }),
        }
        // Who reads it wants to know whom to end. That it can't be written, on a full disk, is no reason not to start.
        let _ = write_pid(&mut file);
        Ok(Self { _file: file })
    }

    /// Makes sure that no process has `dir` right now, without making a file there.
    ///
    /// # Errors
    /// Another process has it.
    pub fn check_free(dir: &Path) -> Result<Option<Self>, LockError> {
        let path = dir.join(LOCK_FILE);
        // No file, or one that we may not open: nobody to ask.
        let Ok(mut file) = File::open(&path) else { return Ok(None) };
        match file.try_lock_shared() {
            Err(std::fs::TryLockError::WouldBlock) => Err(LockError::Held { path, pid: pid_in(&mut file) }),
            _ => Ok(Some(Self { _file: file })),
        }
    }
}

fn pid_in(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(CONTENT_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::storage::real_disk::test_dir;

    #[test]
    fn the_second_is_told_who_the_first_is() {
        let dir = test_dir("lock");
        assert!(DirectoryLock::check_free(&dir).unwrap().is_none());
        let first = DirectoryLock::acquire(&dir).unwrap();
        let line = DirectoryLock::acquire(&dir).unwrap_err().to_string();
        assert!(line.contains(&format!("process {}", std::process::id())), "{line}");
        assert!(line.contains("LOCK: another broker has this journal"), "{line}");
        assert!(matches!(DirectoryLock::check_free(&dir), Err(LockError::Held { .. })));
        drop(first);
        let reader = DirectoryLock::check_free(&dir).unwrap().unwrap();
        assert!(
            DirectoryLock::acquire(&dir).is_err(),
            "a broker does not start while its journal is checked"
        );
        drop(reader);
        DirectoryLock::acquire(&dir).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let line = DirectoryLock::acquire(Path::new("/nowhere/at/all")).unwrap_err().to_string();
        assert!(line.starts_with("/nowhere/at/all/LOCK: "), "{line}");
    }
}
