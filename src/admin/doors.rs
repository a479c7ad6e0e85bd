//! Where the admin side listens, and its thread: one runtime of one thread at the lowest priority, so that whatever operators ask,
//! shards have the CPU first.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{io, thread};

use tokio::sync::oneshot;

use super::desk::Desk;
use super::http::Routes;
use super::recovery::Recovery;
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
    /// Whether there will be a control socket.
    wants_socket: bool,
}

/// The thread runs until the process ends; the control socket's file is removed with this value.
#[derive(Debug)]
pub struct Serving {
    address: Option<SocketAddr>,
    /// To the thread, which waits for what there is to ask about.
    opening: Option<oneshot::Sender<Opening>>,
    unix: Option<UnixListener>,
    _file: Option<SocketFile>,
}

/// What the thread waits for.
#[derive(Debug)]
struct Opening {
    desk: Arc<Desk>,
    unix: Option<UnixListener>,
}

impl Doors {
    /// Listens at `admin.listen`. Where that is the default and taken, there is a warning and no HTTP: a second broker on
    /// a machine starts without a configuration.
    ///
    /// # Errors
    /// The address can't be had.
    pub fn open(config: &Config, warn: impl FnOnce(String)) -> Result<Self, AdminError> {
        let wants_socket = config.node.control_socket;
        let Some(address) = config.admin.address() else { return Ok(Self { tcp: None, wants_socket }) };
        let listener = TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        match listener {
            Ok(listener) => Ok(Self { tcp: Some(listener), wants_socket }),
            Err(error) if config.admin.listen == Admin::default().listen => {
                warn(format!("no HTTP API and no dashboard: {}", AdminError::Listen { address, error }));
                Ok(Self { tcp: None, wants_socket })
            }
            Err(error) => Err(AdminError::Listen { address, error }),
        }
    }

    /// Starts the thread, unless there is nothing to serve. `prepare` is called on it first: it lowers the thread's priority. Until
    /// there is a desk ([`Serving::admit`]), it tells those who come to the port how far the start is.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn serve(self, recovery: Arc<Recovery>, prepare: fn()) -> Result<Serving, AdminError> {
        let Self { tcp, wants_socket } = self;
        let address = tcp.as_ref().and_then(|listener| listener.local_addr().ok());
        if tcp.is_none() && !wants_socket {
            return Ok(Serving { address, opening: None, unix: None, _file: None });
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .thread_name("admin-work")
            .build()
            .map_err(AdminError::Thread)?;
        let (opening, later) = oneshot::channel();
        let run = move || {
            prepare();
            runtime.block_on(run(recovery, tcp, later));
        };
        thread::Builder::new().name("admin".into()).spawn(run).map_err(AdminError::Thread)?;
        Ok(Serving { address, opening: Some(opening), unix: None, _file: None })
    }
}

impl Serving {
    /// Where HTTP listens.
    pub const fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Makes the control socket too.
    ///
    /// # Errors
    /// It can't be made, or another broker has that directory.
    pub fn open_socket(&mut self, data_dir: &Path) -> Result<(), AdminError> {
        let (unix, file) = socket::open(data_dir)?;
        (self.unix, self._file) = (Some(unix), Some(file));
        Ok(())
    }

    /// Lets operators in: from here on there is something to ask about.
    pub fn admit(&mut self, desk: Arc<Desk>) {
        if let Some(opening) = self.opening.take() {
            // The thread lives as long as the process.
            let _ = opening.send(Opening { desk, unix: self.unix.take() });
        }
    }
}

/// Serves for as long as the process lives.
async fn run(recovery: Arc<Recovery>, tcp: Option<TcpListener>, later: oneshot::Receiver<Opening>) {
    let routes = Routes::early(recovery);
    if let Some(listener) = tcp {
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => drop(tokio::spawn(serve::serve(listener, routes.clone(), http::Door::Network))),
            Err(error) => tracing::error!(%error, "no HTTP API: its listener can't be polled"),
        }
    }
    // It ends only with a broker that does not start.
    let Ok(Opening { desk, unix }) = later.await else { return };
    routes.replace(http::router(Arc::clone(&desk)));
    tokio::spawn(super::history::sample(desk));
    if let Some(listener) = unix {
        match tokio::net::UnixListener::from_std(listener) {
            Ok(listener) => drop(tokio::spawn(serve::serve(listener, routes, http::Door::Local))),
            Err(error) => tracing::error!(%error, "no control socket: its listener can't be polled"),
        }
    }
    std::future::pending().await
}
