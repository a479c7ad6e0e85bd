//! A folder of the file system as a [`Disk`]. Appends go out in one system call as a rule, a sync is fdatasync(2) (which also
//! makes the new length last), names are synced by fsync(2) of the folder. Segments grow: with space allocated or filled with zeros
//! beforehand, or files used again, a sync measured the same on ext4.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, IoSlice, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::lock::{DirectoryLock, LockError};

/// The folder, locked against other processes as long as this value lives.
#[derive(Debug)]
pub struct RealDisk {
    dir: PathBuf,
    folder: File,
    _lock: Option<DirectoryLock>,
}

/// Why a folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it, or it can't be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// It can't be made or opened.
    #[error("{}: {error}", .dir.display())]
    Io {
        /// The folder.
        dir: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

impl RealDisk {
    /// Opens `dir` to write there; makes it, for this user only, if it does not exist.
    ///
    /// # Errors
    /// It can't be made or written to, or another process has it.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let failed = |error| OpenError::Io { dir: dir.to_owned(), error };
        if !dir.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
            if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)?;
            }
        }
        let lock = DirectoryLock::acquire(dir)?;
        let folder = File::open(dir).map_err(failed)?;
        Ok(Self { dir: dir.to_owned(), folder, _lock: Some(lock) })
    }

    /// Opens `dir`, which exists, to read: nothing is made there.
    ///
    /// # Errors
    /// It can't be opened, or a broker is using it.
    pub fn open_existing(dir: &Path) -> Result<Self, OpenError> {
        let folder = File::open(dir).map_err(|error| OpenError::Io { dir: dir.to_owned(), error })?;
        let lock = DirectoryLock::check_free(dir)?;
        Ok(Self { dir: dir.to_owned(), folder, _lock: lock })
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// The error with the file that it is about, of the same kind.
fn named(path: &Path) -> impl FnOnce(io::Error) -> io::Error + '_ {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// A file that is appended to.
#[derive(Debug)]
pub struct RealFile {
    file: File,
    path: PathBuf,
}

impl Disk for RealDisk {
    type File = RealFile;

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.dir).map_err(named(&self.dir))? {
            // A name that is not UTF-8 is none of ours.
            names.extend(entry.map_err(named(&self.dir))?.file_name().into_string());
        }
        Ok(names)
    }

    fn create(&mut self, name: &str) -> io::Result<RealFile> {
        let path = self.path(name);
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path);
        Ok(RealFile { file: file.map_err(named(&path))?, path })
    }

    fn append(&mut self, file: &mut RealFile, parts: &[&[u8]]) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut rest = slices.as_mut_slice();
        IoSlice::advance_slices(&mut rest, 0); // empty parts at the beginning
        while !rest.is_empty() {
            match file.file.write_vectored(rest) {
                Ok(0) => return Err(named(&file.path)(io::ErrorKind::WriteZero.into())),
                Ok(written) => IoSlice::advance_slices(&mut rest, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(named(&file.path)(error)),
            }
        }
        Ok(())
    }

    fn sync(&mut self, file: &mut RealFile) -> io::Result<()> {
        file.file.sync_data().map_err(named(&file.path))
    }

    fn sync_existing(&mut self, name: &str) -> io::Result<()> {
        let path = self.path(name);
        File::open(&path).and_then(|file| file.sync_data()).map_err(named(&path))
    }

    fn cut(&mut self, file: &mut RealFile, len: u64) -> io::Result<()> {
        file.file.set_len(len).map_err(named(&file.path))
    }

    fn sync_names(&mut self) -> io::Result<()> {
        self.folder.sync_all().map_err(named(&self.dir))
    }

    fn read(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let path = self.path(name);
        let mut bytes = Vec::new();
        File::open(&path)
            .and_then(|mut file| {
                let left = file.metadata()?.len().saturating_sub(offset).min(len as u64);
                if left == 0 {
                    return Ok(0);
                }
                bytes.try_reserve_exact(left as usize).map_err(|_| io::ErrorKind::OutOfMemory)?;
                file.seek(SeekFrom::Start(offset))?;
                file.take(left).read_to_end(&mut bytes)
            })
            .map_err(named(&path))?;
        Ok(bytes)
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        let path = self.path(name);
        std::fs::metadata(&path).map(|data| data.len()).map_err(named(&path))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let path = self.path(from);
        std::fs::rename(&path, self.path(to)).map_err(named(&path))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let path = self.path(name);
        std::fs::remove_file(&path).map_err(named(&path))
    }
}

/// An empty folder for a test of this process.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) fn test_dir(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("myriad-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_in_parts_is_read_in_portions() {
        let dir = test_dir("real-disk");
        let mut disk = RealDisk::open(&dir.join("a/b")).unwrap();
        let mut file = disk.create("one").unwrap();
        let many: Vec<Vec<u8>> = (0..3000_u32).map(|n| n.to_le_bytes().repeat(n as usize % 3)).collect();
        let parts: Vec<&[u8]> = many.iter().map(Vec::as_slice).collect();
        disk.append(&mut file, &parts).unwrap();
        disk.append(&mut file, &[b"", b"end", b""]).unwrap();
        disk.append(&mut file, &[]).unwrap();
        disk.sync(&mut file).unwrap();
        disk.sync_names().unwrap();
        let whole = [many.concat().as_slice(), b"end"].concat();
        assert_eq!(disk.len("one").unwrap(), whole.len() as u64);
        assert_eq!(disk.read("one", 0, usize::MAX).unwrap(), whole);
        assert_eq!(disk.read("one", 100, 50).unwrap(), whole[100..150]);
        assert!(disk.read("one", u64::MAX / 2, 50).unwrap().is_empty());
        disk.cut(&mut file, 5).unwrap();
        disk.append(&mut file, &[b"after"]).unwrap();
        disk.sync_existing("one").unwrap();
        assert_eq!(disk.read("one", 0, 50).unwrap(), [&whole[..5], b"after"].concat());
        assert_eq!(disk.sync_existing("none").unwrap_err().kind(), io::ErrorKind::NotFound);
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn names_come_and_go() {
        let dir = test_dir("real-names");
        let mut disk = RealDisk::open(&dir).unwrap();
        drop(disk.create("one").unwrap());
        assert_eq!(disk.create("one").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        drop(disk.create("two").unwrap());
        disk.rename("one", "two").unwrap();
        let mut names = disk.list().unwrap();
        names.sort();
        assert_eq!(names, ["LOCK", "two"]);
        disk.remove("two").unwrap();
        let error = disk.len("two").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("two: No such file"), "{error}");
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_folder_belongs_to_one_process_and_readers_make_nothing_in_it() {
        let dir = test_dir("real-lock");
        drop(RealDisk::open_existing(&dir).unwrap());
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
        let disk = RealDisk::open(&dir).unwrap();
        for second in [RealDisk::open(&dir), RealDisk::open_existing(&dir)] {
            assert!(matches!(second, Err(OpenError::Lock(LockError::Held { .. }))));
        }
        drop(disk);
        RealDisk::open(&dir).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_folder_that_nobody_can_write_to_is_named_with_the_mend() {
        // Not even root makes files in this one.
        let line = RealDisk::open(Path::new("/proc")).unwrap_err().to_string();
        assert!(line.starts_with("/proc/LOCK: ") && line.lines().count() == 1, "{line}");
        assert!(line.ends_with("the user that runs the broker must be able to write there"), "{line}");
    }

    #[test]
    fn a_folder_that_can_not_be_made_is_an_error_of_one_line() {
        let dir = test_dir("real-file");
        std::fs::write(dir.join("file"), "").unwrap();
        let line = RealDisk::open(&dir.join("file/journal")).unwrap_err().to_string();
        assert!(line.contains("file/journal: ") && line.lines().count() == 1, "{line}");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
