//! Where the admin side listens, and its thread: one runtime of one thread at the lowest priority, so that whatever operators ask,
//! shards have the CPU first.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{io, thread};

use super::desk::Desk;
use super::socket::SocketFile;
use super::{http, serve, socket};
use crate::config::{Admin, Config};

/// Threads for what blocks: hashes of passwords, backups.
const BLOCKING_THREADS_MAX: usize = 4;

/// Why operators can't ask.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address can't be had.
    #[error(
        "admin.listen {address}: {error}; stop what listens there, or set another address, or \"\" for no HTTP"
    )]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why not.
        error: io::Error,
    },
    /// The control socket can't be made.
    #[error("{}: {error}", .path.display())]
    Socket {
        /// What was to be made.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// Another broker answers there.
    #[error("{}: another broker has this node.data_dir", .0.display())]
    InUse(PathBuf),
    /// No thread can be started.
    #[error("cannot start the thread of the admin side: {0}")]
    Thread(io::Error),
}

/// Where HTTP listens. Opened before anything else starts, so that a port in use is known at once.
#[derive(Debug, Default)]
pub struct Doors {
    tcp: Option<TcpListener>,
    unix: Option<(UnixListener, SocketFile)>,
}

/// The thread runs until the process ends; the control socket's file is removed with this value.
#[derive(Debug)]
pub struct Serving {
    _file: Option<SocketFile>,
}

impl Doors {
    /// Listens at `admin.listen`. Where that is the default and taken, there is a warning and no HTTP: a second broker on
    /// a machine starts without a configuration.
    ///
    /// # Errors
    /// The address can't be had.
    pub fn open(config: &Config, warn: impl FnOnce(String)) -> Result<Self, AdminError> {
        let Some(address) = config.admin.address() else { return Ok(Self::default()) };
        let listener = TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        match listener {
            Ok(listener) => Ok(Self { tcp: Some(listener), unix: None }),
            Err(error) if config.admin.listen == Admin::default().listen => {
                warn(format!("no HTTP API and no dashboard: {}", AdminError::Listen { address, error }));
                Ok(Self::default())
            }
            Err(error) => Err(AdminError::Listen { address, error }),
        }
    }

    /// Makes the control socket too.
    ///
    /// # Errors
    /// It can't be made, or another broker has that directory.
    pub fn open_socket(&mut self, data_dir: &Path) -> Result<(), AdminError> {
        self.unix = Some(socket::open(data_dir)?);
        Ok(())
    }

    /// Where HTTP listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref()?.local_addr().ok()
    }

    /// Starts the thread, unless there is nothing to serve. `prepare` is called on it first: it lowers the thread's priority.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn serve(self, desk: Arc<Desk>, prepare: fn()) -> Result<Serving, AdminError> {
        let Self { tcp, unix } = self;
        let (unix, file) = unix.unzip();
        if tcp.is_none() && unix.is_none() {
            return Ok(Serving { _file: None });
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .thread_name("admin-work")
            .build()
            .map_err(AdminError::Thread)?;
        let run = move || {
            prepare();
            runtime.block_on(run(desk, tcp, unix));
        };
        thread::Builder::new().name("admin".into()).spawn(run).map_err(AdminError::Thread)?;
        Ok(Serving { _file: file })
    }
}

/// Serves for as long as the process lives.
async fn run(desk: Arc<Desk>, tcp: Option<TcpListener>, unix: Option<UnixListener>) {
    let router = http::router(Arc::clone(&desk));
    tokio::spawn(super::history::sample(desk));
    if let Some(listener) = tcp {
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => drop(tokio::spawn(serve::serve(listener, router.clone(), http::Door::Network))),
            Err(error) => tracing::error!(%error, "no HTTP API: its listener can't be polled"),
        }
    }
    if let Some(listener) = unix {
        match tokio::net::UnixListener::from_std(listener) {
            Ok(listener) => drop(tokio::spawn(serve::serve(listener, router, http::Door::Local))),
            Err(error) => tracing::error!(%error, "no control socket: its listener can't be polled"),
        }
    }
    std::future::pending().await
}
