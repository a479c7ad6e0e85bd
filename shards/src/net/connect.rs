//! Connecting: CONNECT on an ordinary descriptor, then its installation in a ring's table, as one chain. A failed
//! connect never touches the table, and the ordinary descriptor is gone as soon as there is a direct one.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use io_uring::types::{CancelBuilder, Fd};
use io_uring::{opcode, squeue};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::{Event, Net};
use crate::application::Accepted;
use crate::ring::Operation;

/// `Accepted::listener` of a connection that was not accepted.
const NO_LISTENER: u16 = u16::MAX;
/// `IORING_FILE_INDEX_ALLOC`: the kernel chooses the slot.
const SLOT_OF_THE_KERNEL: i32 = -1;

/// A connect under way. Boxed: the kernel reads the address and writes the slot.
struct Connect {
    key: u64,
    to: SocketAddr,
    address: SockAddr,
    socket: Option<OwnedFd>,
    /// The descriptor to install; the kernel replaces it by the slot.
    descriptor: i32,
    ring: usize,
}

/// The connects of one shard.
#[derive(Default)]
pub(crate) struct Connects {
    #[expect(clippy::vec_box, reason = "the kernel points into them: they must not move with the list")]
    places: Vec<Box<Connect>>,
    free: Vec<u32>,
    /// The shard is ending.
    closed: bool,
}

impl Connects {
    /// None is under way.
    pub(crate) fn ended(&self) -> bool {
        self.places.len() == self.free.len()
    }
}

/// A socket that is bound to `from`. Blocking, as accepted ones are: the ring waits for it, every other operation says
/// MSG_DONTWAIT.
fn socket(to: SocketAddr, from: Option<IpAddr>) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    if let Some(from) = from {
        crate::sys::bind_address_no_port(socket.as_raw_fd())?;
        socket.bind(&SockAddr::from(SocketAddr::new(from, 0)))?;
    }
    Ok(socket)
}

impl Net {
    /// Begins to connect; [`Event::Connected`] or [`Event::ConnectFailed`] follows, unless the shard is ending: an answer
    /// would let who connects again upon each failure keep it from that.
    pub(crate) fn connect(&mut self, to: SocketAddr, from: Option<IpAddr>, key: u64) {
        if self.connects.closed {
            return;
        }
        if let Err(error) = self.try_connect(to, from, key) {
            self.events.push_back(Event::ConnectFailed { key, error });
        }
    }

    fn try_connect(&mut self, to: SocketAddr, from: Option<IpAddr>, key: u64) -> io::Result<()> {
        let full =
            || io::Error::new(io::ErrorKind::StorageFull, "the shard holds its maximum of connections");
        let socket = socket(to, from)?;
        if !self.count_in(NO_LISTENER) {
            return Err(full());
        }
        let Some(ring) = self.ring_with_room() else {
            self.count_out(NO_LISTENER);
            return Err(full());
        };
        let connect = Connect {
            key,
            to,
            address: SockAddr::from(to),
            descriptor: socket.as_raw_fd(),
            socket: Some(OwnedFd::from(socket)),
            ring,
        };
        let place = match self.connects.free.pop() {
            Some(place) => {
                *self.connects.places[place as usize] = connect;
                place
            }
            None => {
                self.connects.places.push(Box::new(connect));
                self.connects.places.len() as u32 - 1
            }
        };
        self.push_connect(ring, place);
        Ok(())
    }

    fn push_connect(&mut self, ring: usize, place: u32) {
        let connect = &mut self.connects.places[place as usize];
        let begin = opcode::Connect::new(
            Fd(connect.descriptor),
            connect.address.as_ptr().cast(),
            connect.address.len(),
        )
        .build()
        .flags(squeue::Flags::IO_LINK | squeue::Flags::SKIP_SUCCESS)
        .user_data(Operation::Connect.on(0, place));
        let install = opcode::FilesUpdate::new(&raw const connect.descriptor, 1)
            .offset(SLOT_OF_THE_KERNEL)
            .build()
            .user_data(Operation::Install.on(0, place));
        // SAFETY: the place is boxed and taken until the last completion of the chain (`connect_done`).
        unsafe { self.ring(ring).push_chain(&[begin, install]) };
    }

    /// A CONNECT has failed (one that succeeds gives no completion), or an installation is done: either is the last
    /// completion of its chain, for a failed one that skips its success takes the rest along in silence.
    pub(super) fn connect_done(&mut self, place: u32, result: i32) -> Option<Event> {
        let connect = self.connects.places.get_mut(place as usize)?;
        self.connects.free.push(place);
        connect.socket = None;
        let (key, ring, slot) = (connect.key, connect.ring, connect.descriptor);
        let accepted = Accepted { listener: NO_LISTENER, remote: connect.to, over_capacity: false };
        if result < 1 {
            self.rings[ring].port.give_back(1);
            self.count_out(NO_LISTENER);
            return Some(Event::ConnectFailed { key, error: io::Error::from_raw_os_error(-result) });
        }
        let id = self.begin(self.index(ring as u16, slot as u32), &accepted)?;
        self.arm(id);
        self.counts.connected += 1;
        Some(Event::Connected(id, key))
    }

    /// Cancels what is under way, the connections would be closed at once, and begins no more.
    pub(crate) fn stop_connecting(&mut self) {
        self.connects.closed = true;
        for place in 0..self.connects.places.len() {
            let connect = &self.connects.places[place];
            let (Some(socket), ring) = (&connect.socket, connect.ring) else { continue };
            let entry = opcode::AsyncCancel2::new(CancelBuilder::fd(Fd(socket.as_raw_fd())).all())
                .build()
                .flags(squeue::Flags::SKIP_SUCCESS)
                .user_data(Operation::Cancel.on(0, 0));
            // SAFETY: names no memory.
            unsafe { self.push(ring, &entry) };
        }
    }
}
