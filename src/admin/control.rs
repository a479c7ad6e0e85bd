//! The control socket: `<node.data_dir>/control.sock`, for the user that runs the broker only (mode 0600). One thread
//! serves one operator at a time; what is asked is in `request`.

use std::fs::{DirBuilder, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::request::{self, Desk};
use crate::broker::Shared;
use crate::clock::Timestamp;
use crate::storage::thread::StorageHandle;

/// Bytes of the longest request.
const REQUEST_BYTES_MAX: u64 = 64 * 1024;
/// How long an operator may keep others waiting.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// It can't be made.
    #[error("{}: {error}", .path.display())]
    Io {
        /// What was to be made.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// Another broker answers there.
    #[error("{}: another broker has this node.data_dir", .0.display())]
    InUse(PathBuf),
}

/// The socket's file; it is removed with this value.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
}

impl ControlSocket {
    /// Makes the socket in `data_dir` and serves it on a thread of its own. `now` is the shards' time, `storage` the journal if
    /// there is one.
    ///
    /// # Errors
    /// The directory or the socket can't be made, or another broker uses it.
    pub fn start(
        data_dir: &Path,
        shared: Arc<Shared>,
        storage: Option<StorageHandle>,
        now: impl Fn() -> Timestamp + Send + 'static,
    ) -> Result<Self, ControlError> {
        let path = data_dir.join("control.sock");
        if UnixStream::connect(&path).is_ok() {
            return Err(ControlError::InUse(path));
        }
        let failed = |error| ControlError::Io { path: path.clone(), error };
        let listener = bind(data_dir, &path).map_err(failed)?;
        let desk = Desk { shared, storage };
        let serve = move || {
            for stream in listener.incoming() {
                match stream {
                    Ok(stream) => {
                        // An operator who leaves is no concern of the broker.
                        let _ = serve(&stream, &desk, &now);
                    }
                    // Out of descriptors, most likely: not in a tight loop.
                    Err(_) => thread::sleep(PATIENCE),
                }
            }
        };
        thread::Builder::new().name("control".into()).spawn(serve).map_err(failed)?;
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Makes it under another name in a directory that nobody else may enter, so that it is never open to others; then it
/// takes its place, and that of one which a broker that was killed left behind.
fn bind(data_dir: &Path, path: &Path) -> std::io::Result<UnixListener> {
    std::fs::create_dir_all(data_dir)?;
    let private = data_dir.join(format!(".control-{}", std::process::id()));
    DirBuilder::new().mode(0o700).create(&private)?;
    let within = private.join("s");
    let bound = UnixListener::bind(&within).and_then(|listener| {
        std::fs::set_permissions(&within, Permissions::from_mode(0o600))?;
        std::fs::rename(&within, path)?;
        Ok(listener)
    });
    let _ = std::fs::remove_file(&within);
    let _ = std::fs::remove_dir(&private);
    bound
}

/// Answers requests until the operator has no more.
fn serve(stream: &UnixStream, desk: &Desk, now: impl Fn() -> Timestamp) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.by_ref().take(REQUEST_BYTES_MAX).read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut answer = String::new();
        for value in request::answer(desk, now(), &line) {
            answer.push_str(&value.to_string());
            answer.push('\n');
        }
        let mut writer = stream;
        writer.write_all(answer.as_bytes())?;
        if !line.ends_with('\n') {
            // Cut off, or the end.
            return Ok(());
        }
    }
}
