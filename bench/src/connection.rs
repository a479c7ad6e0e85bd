//! One TCP connection of a client: dialing, its carrier, bytes that the kernel did not take, packets that are not whole
//! yet.
//!
//! An idle connection holds no buffer: bytes are read into and written from buffers of the engine, and only what
//! is left over is kept here.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};

use mio::net::TcpStream;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use crate::carrier::{Carrier, Carriers};

/// A buffer larger than this is given back once it is empty.
const KEPT_CAPACITY: usize = 64 * 1024;

/// What one read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Bytes of MQTT.
    pub(crate) bytes: usize,
    /// The socket or the carrier may have more.
    pub(crate) more: bool,
}

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Dialing,
    Open,
    Closed,
}

/// One connection, without its protocol state.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: Option<TcpStream>,
    pub(crate) state: State,
    /// The start of a packet whose end has not arrived.
    pub(crate) partial: Vec<u8>,
    /// Payload bytes of the packet in `partial` that are dropped as they arrive.
    pub(crate) skip: usize,
    carrier: Option<Box<Carrier>>,
    unsent: Vec<u8>,
    unsent_at: usize,
}

impl Connection {
    /// Starts connecting, from `source` if given. The outcome comes as an event.
    pub(crate) fn dial(to: SocketAddr, source: Option<IpAddr>, carriers: &Carriers) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        if let Some(source) = source {
            // The port is chosen at connect, when the kernel knows that only the four-tuple must be unique.
            setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        match socket.connect(&to.into()) {
            Err(e) if e.raw_os_error() != Some(nix::errno::Errno::EINPROGRESS as i32) => return Err(e),
            _ => {}
        }
        Ok(Self {
            stream: Some(TcpStream::from_std(socket.into())),
            state: State::Dialing,
            partial: Vec::new(),
            skip: 0,
            carrier: carriers.carrier()?,
            unsent: Vec::new(),
            unsent_at: 0,
        })
    }

    /// True while the kernel's send buffer is full: nothing more should be composed for this connection.
    #[inline]
    pub(crate) fn is_blocked(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// One read from the socket. Its end is an error, `UnexpectedEof`.
    #[inline]
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Taken> {
        if self.carrier.is_some() {
            return self.read_carried(buffer);
        }
        let bytes = self.read_socket(buffer)?;
        // A shorter read tells that the socket is empty, without another system call.
        Ok(Taken { bytes, more: bytes == buffer.len() })
    }

    fn read_socket(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(stream) = &mut self.stream else { return Err(io::ErrorKind::NotConnected.into()) };
        match stream.read(buffer)? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed by the broker")),
            bytes => Ok(bytes),
        }
    }

    fn read_carried(&mut self, buffer: &mut [u8]) -> io::Result<Taken> {
        let Some(mut carrier) = self.carrier.take() else { return Err(io::ErrorKind::NotConnected.into()) };
        let taken = self.read_through(&mut carrier, buffer);
        self.carrier = Some(carrier);
        taken
    }

    fn read_through(&mut self, carrier: &mut Carrier, buffer: &mut [u8]) -> io::Result<Taken> {
        // What was left over first.
        let bytes = carrier.take(buffer);
        if bytes > 0 {
            return Ok(Taken { bytes, more: true });
        }
        let n = self.read_socket(buffer)?;
        let mut answers = Vec::new();
        carrier.decode(buffer.get(..n).unwrap_or_default(), &mut answers)?;
        if !answers.is_empty() {
            self.write_bytes(&answers)?;
        }
        let full = n == buffer.len();
        let bytes = carrier.take(buffer);
        Ok(Taken { bytes, more: full || bytes == buffer.len() })
    }

    /// Writes `data`, and keeps what the kernel does not take.
    #[inline]
    pub(crate) fn write(&mut self, data: &[u8]) -> io::Result<()> {
        let Some(carrier) = &mut self.carrier else { return self.write_bytes(data) };
        let mut carried = Vec::new();
        carrier.encode(data, &mut carried)?;
        self.write_bytes(&carried)
    }

    #[inline]
    fn write_bytes(&mut self, data: &[u8]) -> io::Result<()> {
        if self.is_blocked() {
            self.unsent.extend_from_slice(data);
            return Ok(());
        }
        let taken = self.write_some(data)?;
        if let Some(rest) = data.get(taken..) {
            self.unsent.extend_from_slice(rest);
        }
        Ok(())
    }

    /// Writes what was kept. True if that emptied it.
    pub(crate) fn write_unsent(&mut self) -> io::Result<bool> {
        if !self.is_blocked() {
            return Ok(false);
        }
        let unsent = std::mem::take(&mut self.unsent);
        let taken = self.write_some(unsent.get(self.unsent_at..).unwrap_or_default());
        self.unsent = unsent;
        self.unsent_at += taken?;
        if self.unsent_at < self.unsent.len() {
            return Ok(false);
        }
        self.unsent_at = 0;
        clear(&mut self.unsent);
        Ok(true)
    }

    /// Writes until the kernel takes no more; edge-triggered epoll reports the next chance only then.
    #[inline]
    fn write_some(&mut self, data: &[u8]) -> io::Result<usize> {
        let Some(stream) = &mut self.stream else { return Ok(data.len()) };
        let mut taken = 0;
        while let Some(rest) = data.get(taken..)
            && !rest.is_empty()
        {
            match stream.write(rest) {
                Ok(n) => taken += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(taken)
    }

    /// Keeps `tail`, the front of a packet that is not whole.
    #[inline]
    pub(crate) fn keep(&mut self, tail: &[u8]) {
        if tail.is_empty() {
            clear(&mut self.partial);
        } else {
            self.partial.clear();
            self.partial.extend_from_slice(tail);
        }
    }

    /// Closes the socket and frees the buffers.
    pub(crate) fn close(&mut self) {
        self.stream = None;
        self.state = State::Closed;
        self.carrier = None;
        self.partial = Vec::new();
        self.unsent = Vec::new();
        self.unsent_at = 0;
        self.skip = 0;
    }
}

#[inline]
fn clear(buffer: &mut Vec<u8>) {
    if buffer.capacity() > KEPT_CAPACITY {
        *buffer = Vec::new();
    } else {
        buffer.clear();
    }
}
