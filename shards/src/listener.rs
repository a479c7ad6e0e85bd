//! Binding: one TCP socket per shard and listener (SO_REUSEPORT), all bound before any listens (pitfall 11); or one Unix
//! socket that all shards accept from.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::limits::Listener;
use crate::start::StartError;

/// How long a port that is in use may take to become free.
const RELEASE_WAIT: Duration = Duration::from_secs(1);

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP. Port 0 takes a free one (see `Shards::addresses`).
    Tcp {
        /// The address to bind.
        address: SocketAddr,
        /// An IPv6 address takes no IPv4 connections; without this `[::]` takes both.
        only_v6: bool,
    },
    /// A Unix socket. A file that a dead process left is replaced; the file is removed at the end.
    Unix {
        /// Its file.
        path: PathBuf,
        /// The file's permissions.
        mode: u32,
    },
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp { address, only_v6: false }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { address, .. } => write!(f, "{address}"),
            Self::Unix { path, .. } => write!(f, "{}", path.display()),
        }
    }
}

/// Says of an address whether connections from it are let in. Asked for each accept on the shards' threads.
#[derive(Clone)]
pub struct Filter(pub Arc<dyn Fn(IpAddr) -> bool + Send + Sync>);

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Filter")
    }
}

/// What a shard has of a listener.
pub(crate) struct ListenerSocket {
    pub(crate) socket: Socket,
    pub(crate) filter: Option<Filter>,
    /// Its backlog, if it can be closed and opened again: a Unix socket can't.
    pub(crate) reopens: Option<i32>,
}

/// The sockets of one listener.
pub(crate) struct Bound {
    /// One a shard, or a single one.
    sockets: Vec<Socket>,
    shards: u16,
    wanted: Address,
    /// The address bound; its port is never 0. Of a Unix socket: 0.0.0.0:0.
    pub(crate) address: SocketAddr,
    backlog: i32,
    pub(crate) file: Option<SocketFile>,
}

/// The file of a Unix socket: removed when dropped, unless it has become another one.
pub(crate) struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if std::fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            // It may be gone by now: then there is nothing to do.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn tcp_socket(address: SocketAddr, only_v6: bool, share: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // Explicitly: the default is the machine's (net.ipv6.bindv6only).
        socket.set_only_v6(only_v6)?;
    }
    if share {
        socket.set_reuse_port(true)?;
        // Accepted sockets inherit it.
        socket.set_tcp_nodelay(true)?;
    }
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

/// Tries `bind` for a while if the address is in use. The kernel closes the listeners of a process that used io_uring a moment
/// after its end, so a quick restart waits for that.
fn wait_free<T>(mut bind: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let end = Instant::now() + RELEASE_WAIT;
    loop {
        match bind() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < end => {
                std::thread::sleep(RELEASE_WAIT / 20);
            }
            result => return result,
        }
    }
}

/// Binds a Unix socket that nobody can connect to before it listens.
fn unix_socket(path: &Path, mode: u32) -> io::Result<(Socket, SocketFile)> {
    clear(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile { path: path.to_owned(), inode: std::fs::symlink_metadata(path)?.ino() };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok((socket, file))
}

/// Removes the socket of a dead process: nobody takes a connection there. Anything else that is there stays.
fn clear(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket is there"));
        }
        Ok(_) => {}
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A full backlog must not be waited for: it means a live process.
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

impl Bound {
    /// Binds the sockets for `shards` shards.
    pub(crate) fn new(listener: &Listener, shards: u16) -> Result<Self, StartError> {
        let wanted = &listener.address;
        let refused = |error: io::Error| StartError::bind(wanted.clone(), error);
        let mut bound = Self {
            sockets: Vec::with_capacity(usize::from(shards)),
            shards,
            wanted: wanted.clone(),
            address: SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
            backlog: i32::try_from(listener.backlog).unwrap_or(i32::MAX).max(1),
            file: None,
        };
        match wanted {
            Address::Tcp { address, only_v6 } => bound.bind_tcp(*address, *only_v6).map_err(refused)?,
            Address::Unix { path, mode } => {
                let (socket, file) = wait_free(|| unix_socket(path, *mode)).map_err(refused)?;
                bound.sockets.push(socket);
                bound.file = Some(file);
            }
        }
        Ok(bound)
    }

    fn bind_tcp(&mut self, wanted: SocketAddr, only_v6: bool) -> io::Result<()> {
        // Without SO_REUSEPORT: with it, a second process of the same user would silently share the port instead of
        // being told.
        wait_free(|| tcp_socket(wanted, only_v6, false).map(drop))?;
        self.address = wanted;
        // A port that the kernel chose is a socket's only as long as that listens: this one finds a port, for the others to ask for.
        let scout = if wanted.port() == 0 { Some(tcp_socket(wanted, only_v6, true)?) } else { None };
        if let Some(scout) = &scout {
            self.address = scout.local_addr()?.as_socket().unwrap_or(wanted);
        }
        for _ in 0..self.shards {
            self.sockets.push(tcp_socket(self.address, only_v6, true)?);
        }
        Ok(())
    }

    /// The sockets for the shards.
    pub(crate) fn sockets(&self, listener: &Listener) -> io::Result<Vec<ListenerSocket>> {
        let of_each = self.sockets.iter().cycle().take(usize::from(self.shards));
        let reopens = self.file.is_none().then_some(self.backlog);
        let of_shard = |socket: &Socket| {
            Ok(ListenerSocket { socket: socket.try_clone()?, filter: listener.filter.clone(), reopens })
        };
        of_each.map(of_shard).collect()
    }

    /// From here on clients can connect.
    pub(crate) fn listen(&self) -> Result<(), StartError> {
        for socket in &self.sockets {
            socket.listen(self.backlog).map_err(|error| StartError::bind(self.wanted.clone(), error))?;
        }
        Ok(())
    }
}
