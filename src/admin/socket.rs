//! The control socket: `<node.data_dir>/control.sock`, for the user that runs the broker only (mode 0600). Who can open it needs no
//! password.

use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::AdminError;

/// The socket's file; it is removed with this value.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Makes the socket in `data_dir`.
///
/// # Errors
/// The directory or the socket can't be made, or another broker uses it.
pub(super) fn open(data_dir: &Path) -> Result<(UnixListener, SocketFile), AdminError> {
    let path = data_dir.join("control.sock");
    if UnixStream::connect(&path).is_ok() {
        return Err(AdminError::InUse(path));
    }
    let bound = bind(data_dir, &path).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    match bound {
        Ok(listener) => Ok((listener, SocketFile(path))),
        Err(error) => Err(AdminError::Socket { path, error }),
    }
}

/// Makes it under another name in a directory that nobody else may enter, so that it is never open to others; then it
/// takes its place, and that of one which a broker that was killed left behind.
fn bind(data_dir: &Path, path: &Path) -> std::io::Result<UnixListener> {
    std::fs::create_dir_all(data_dir)?;
    let private = data_dir.join(format!(".control-{}", std::process::id()));
    let within = private.join("s");
    // In a container every broker has the same pid: one that was killed just here would be in the way of all after it.
    let _ = std::fs::remove_file(&within);
    let _ = std::fs::remove_dir(&private);
    DirBuilder::new().mode(0o700).create(&private)?;
    let bound = UnixListener::bind(&within).and_then(|listener| {
        std::fs::set_permissions(&within, Permissions::from_mode(0o600))?;
        std::fs::rename(&within, path)?;
        Ok(listener)
    });
    let _ = std::fs::remove_file(&within);
    let _ = std::fs::remove_dir(&private);
    bound
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_broker_left_is_not_in_the_way() {
        let dir = std::env::temp_dir().join(format!("myriad-socket-{}", std::process::id()));
        let private = dir.join(format!(".control-{}", std::process::id()));
        std::fs::create_dir_all(&private).unwrap();
        drop(UnixListener::bind(private.join("s")).unwrap());
        drop(UnixListener::bind(dir.join("control.sock")).unwrap());
        let (_listener, file) = open(&dir).unwrap();
        assert!(UnixStream::connect(dir.join("control.sock")).is_ok() && !private.exists());
        drop(file);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
