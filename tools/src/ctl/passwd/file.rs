//! Changes one line of a file and leaves the others as they are. The new file takes the old one's place at once, so that
//! a broker that reads it meanwhile sees the one or the other. A file that was not there can be read by its owner only.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Adds a user, or gives him a new secret.
pub(super) fn put(path: &Path, user: &str, secret: &str) -> Result<()> {
    let old = read(path)?;
    let line = format!("{user}:{secret}");
    let mut is_there = false;
    let mut new = String::with_capacity(old.len() + line.len() + 1);
    for old_line in old.lines() {
        let is_his = is_line_of(old_line, user);
        if !is_his || !is_there {
            new.push_str(if is_his { &line } else { old_line });
            new.push('\n');
        }
        is_there |= is_his;
    }
    if !is_there {
        new.push_str(&line);
        new.push('\n');
    }
    replace(path, &new)
}

/// Deletes a user; false: there was none.
pub(super) fn delete(path: &Path, user: &str) -> Result<bool> {
    let old = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let kept: String =
        old.lines().filter(|line| !is_line_of(line, user)).flat_map(|line| [line, "\n"]).collect();
    let was_there = kept.lines().count() < old.lines().count();
    if was_there {
        replace(path, &kept)?;
    }
    Ok(was_there)
}

fn is_line_of(line: &str, user: &str) -> bool {
    line.split_once(':').is_some_and(|(name, _)| name == user)
}

fn read(path: &Path) -> Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        other => other.with_context(|| path.display().to_string()),
    }
}

fn replace(path: &Path, text: &str) -> Result<()> {
    // Through a symbolic link, not in its place.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = beside(&target);
    let result = write(&temporary, &target, text).and_then(|()| Ok(fs::rename(&temporary, &target)?));
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result.with_context(|| format!("can't write {}", target.display()))?;
    // So that the new name survives a power failure; a file system that can't is no error.
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}

fn beside(target: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    target.with_file_name(name)
}

/// The whole text on the disk, with the owner and the permissions of what it replaces.
fn write(temporary: &Path, target: &Path, text: &str) -> Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
    if let Ok(old) = fs::metadata(target) {
        let new = file.metadata()?;
        if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
            chown(temporary, Some(old.uid()), Some(old.gid()))?;
        }
        file.set_permissions(old.permissions())?;
    }
    file.write_all(text.as_bytes())?;
    Ok(file.sync_all()?)
}
