//! A copy of a journal in a folder of its own: as a `node.data_dir` that a broker can start on. It appears under its name only
//! when it is whole and synced.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Folder of the journal in a `node.data_dir`.
pub const JOURNAL_DIR: &str = "journal";

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupReport {
    /// Segments.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
}

/// Copies the first bytes of `files` of folder `from`, as many as are given with each, to the new folder `to`.
///
/// # Errors
/// `to` exists already, or a file can't be copied whole; then nothing is left of it.
pub fn copy(from: &Path, files: &[(String, u64)], to: &Path) -> io::Result<BackupReport> {
    if to.exists() {
        let why = format!("{}: exists already; a backup needs a new folder", to.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
    }
    let partial = partial_name(to);
    let copied = copy_to(from, files, &partial).and_then(|report| {
        std::fs::rename(&partial, to).map_err(named(to))?;
        sync_dir(parent(to))?;
        Ok(report)
    });
    if copied.is_err() {
        // What it failed for is what the operator must know.
        let _ = std::fs::remove_dir_all(&partial);
    }
    copied
}

fn copy_to(from: &Path, files: &[(String, u64)], partial: &Path) -> io::Result<BackupReport> {
    let journal = partial.join(JOURNAL_DIR);
    if partial.exists() {
        std::fs::remove_dir_all(partial).map_err(named(partial))?;
    }
    DirBuilder::new().recursive(true).mode(0o700).create(&journal).map_err(named(&journal))?;
    let mut report = BackupReport { files: 0, bytes: 0 };
    for (name, len) in files {
        copy_file(&from.join(name), &journal.join(name), *len)?;
        report.files += 1;
        report.bytes += len;
    }
    sync_dir(&journal)?;
    sync_dir(partial)?;
    Ok(report)
}

fn copy_file(from: &Path, to: &Path, len: u64) -> io::Result<()> {
    let source = File::open(from).map_err(named(from))?;
    let target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    let mut target = target.map_err(named(to))?;
    let copied = io::copy(&mut source.take(len), &mut target).map_err(named(to))?;
    if copied < len {
        let why = format!("{}: has {copied} bytes instead of {len}", from.display());
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
    }
    target.sync_all().map_err(named(to))
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(named(dir))
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn partial_name(to: &Path) -> PathBuf {
    let mut name = OsString::from(to);
    name.push(".partial");
    PathBuf::from(name)
}

fn named(path: &Path) -> impl FnOnce(io::Error) -> io::Error + '_ {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::storage::real_disk::test_dir;

    #[test]
    fn a_backup_is_whole_or_not_there() {
        let dir = test_dir("backup");
        std::fs::write(dir.join("one"), "0123456789").unwrap();
        std::fs::write(dir.join("two"), "abc").unwrap();
        let files = [("one".to_owned(), 4), ("two".to_owned(), 3)];
        let to = dir.join("copy");
        assert_eq!(copy(&dir, &files, &to).unwrap(), BackupReport { files: 2, bytes: 7 });
        assert_eq!(std::fs::read(to.join("journal/one")).unwrap(), b"0123");
        let again = copy(&dir, &files, &to).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        let short = copy(&dir, &[("two".to_owned(), 4)], &dir.join("other")).unwrap_err();
        assert!(short.to_string().contains("two: has 3 bytes instead of 4"), "{short}");
        let missing = copy(&dir, &[("three".to_owned(), 4)], &dir.join("other")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        let mut left: Vec<_> =
            std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["copy", "one", "two"]);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
