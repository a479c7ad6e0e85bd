//! Binding: one socket per shard and listener (SO_REUSEPORT), all bound before any listens (pitfall 11).

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::limits::Listener;
use crate::start::StartError;

/// How long a port that is in use may take to become free.
const RELEASE_WAIT: Duration = Duration::from_secs(1);

/// The sockets of one listener, one per shard.
pub(crate) struct Bound {
    sockets: Vec<Socket>,
    /// The address bound; its port is never 0.
    pub(crate) address: SocketAddr,
    backlog: i32,
}

fn socket(address: SocketAddr, share: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if share {
        socket.set_reuse_port(true)?;
        // Accepted sockets inherit it.
        socket.set_tcp_nodelay(true)?;
    }
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

/// Checks that nobody listens on `address`, without SO_REUSEPORT: with it, a second process of the same user
/// would silently share the port instead of being told. The kernel closes the listeners of a process that
/// used io_uring a moment after its end, so a quick restart waits for that.
fn wait_free(address: SocketAddr) -> io::Result<()> {
    let end = Instant::now() + RELEASE_WAIT;
    loop {
        match socket(address, false) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < end => {
                std::thread::sleep(RELEASE_WAIT / 20);
            }
            result => return result.map(drop),
        }
    }
}

impl Bound {
    /// Binds `shards` sockets.
    pub(crate) fn new(listener: &Listener, shards: u16) -> Result<Self, StartError> {
        let wanted = listener.address;
        let refused = |error: io::Error| StartError::bind(wanted, error);
        wait_free(wanted).map_err(refused)?;
        let mut address = wanted;
        let mut sockets = Vec::with_capacity(usize::from(shards));
        for _ in 0..shards {
            let socket = socket(address, true).map_err(refused)?;
            address = socket.local_addr().map_err(refused)?.as_socket().unwrap_or(address);
            sockets.push(socket);
        }
        Ok(Self { sockets, address, backlog: i32::try_from(listener.backlog).unwrap_or(i32::MAX).max(1) })
    }

    /// Descriptors of the sockets for the shards.
    pub(crate) fn descriptors(&self) -> io::Result<Vec<OwnedFd>> {
        self.sockets.iter().map(|socket| Ok(OwnedFd::from(socket.try_clone()?))).collect()
    }

    /// From here on clients can connect.
    pub(crate) fn listen(&self) -> Result<(), StartError> {
        for socket in &self.sockets {
            socket.listen(self.backlog).map_err(|error| StartError::bind(self.address, error))?;
        }
        Ok(())
    }
}
