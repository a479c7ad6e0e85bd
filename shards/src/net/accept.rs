//! Accepting: one-shot ACCEPTs into direct descriptors, each with room for the peer's address.
//!
//! Pitfall 9: an ACCEPT is posted only where a slot has been reserved for it, and as many as the process may
//! still take; beyond the maximum a few are posted so that clients can be refused properly.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering};

use io_uring::types::{CancelBuilder, DestinationSlot, Fd};
use io_uring::{opcode, squeue};
use socket2::Socket;

use super::{Event, Net};
use crate::application::{Accepted, ConnectionId};
use crate::listener::{Filter, ListenerSocket};
use crate::ring::Operation;

/// Outstanding ACCEPTs per shard, over its listeners.
pub(crate) const OUTSTANDING_MAX: u32 = 64;
/// Pause after an accept that failed for lack of something.
const RETRY_MS: u64 = 100;
/// Pause after a listener could not be opened.
const REOPEN_MS: u64 = 1000;

/// What one ACCEPT writes to. Boxed in one block that never moves.
struct AcceptSlot {
    address: libc::sockaddr_in6,
    len: libc::socklen_t,
    listener: u16,
    ring: u16,
}

struct Listening {
    socket: Option<Socket>,
    filter: Option<Filter>,
    outstanding: u32,
    /// See [`ListenerSocket::reopens`].
    reopens: Option<i32>,
    is_paused: bool,
}

impl From<ListenerSocket> for Listening {
    fn from(from: ListenerSocket) -> Self {
        let ListenerSocket { socket, filter, reopens } = from;
        Self { socket: Some(socket), filter, outstanding: 0, reopens, is_paused: false }
    }
}

impl Listening {
    fn pause(&mut self, is_paused: bool) -> io::Result<()> {
        let (Some(socket), Some(backlog)) = (&self.socket, self.reopens) else { return Ok(()) };
        if self.is_paused == is_paused {
            return Ok(());
        }
        // A listening socket that is shut down listens no more, but is still bound: others can't have the address as long as it
        // does not say that it may be used again.
        socket.set_reuse_address(!is_paused)?;
        if is_paused {
            socket.shutdown(Shutdown::Read)?
        } else {
            socket.listen(backlog)?
        }
        self.is_paused = is_paused;
        Ok(())
    }
}

/// The listeners of one shard.
pub(crate) struct Acceptor {
    listeners: Vec<Listening>,
    slots: Box<[AcceptSlot]>,
    free: Vec<u32>,
    /// Connections over capacity that live on this shard.
    pub(crate) refused: u32,
    refusals_max: u32,
    /// Slots of each ring that only hand-overs may take.
    leave: i32,
    open: bool,
    retry_ms: Option<u64>,
    /// The `changes` of [`Capacity`](super::Capacity) that all listeners are as they should be for.
    changes: u32,
    /// When a listener that could not be opened is tried again.
    reopen_ms: Option<u64>,
}

impl Acceptor {
    /// Accepts on `sockets` (one per listener).
    pub(crate) fn new(sockets: Vec<ListenerSocket>, outstanding: u32, refusals_max: u32, leave: i32) -> Self {
        let count = if sockets.is_empty() { 0 } else { outstanding.max(sockets.len() as u32) };
        // SAFETY: a C struct for which all zeroes is a valid value.
        let address = || unsafe { std::mem::zeroed() };
        Self {
            listeners: sockets.into_iter().map(Listening::from).collect(),
            slots: (0..count)
                .map(|_| AcceptSlot { address: address(), len: 0, listener: 0, ring: 0 })
                .collect(),
            free: (0..count).rev().collect(),
            refused: 0,
            refusals_max: refusals_max.max(1),
            leave,
            open: true,
            retry_ms: None,
            changes: 0,
            reopen_ms: None,
        }
    }

    fn outstanding(&self) -> u32 {
        (self.slots.len() - self.free.len()) as u32
    }

    /// All listeners are closed.
    pub(crate) fn ended(&self) -> bool {
        !self.open && self.listeners.iter().all(|listening| listening.socket.is_none())
    }

    /// When what failed is tried again.
    pub(super) fn retry_ms(&self) -> Option<u64> {
        [self.retry_ms, self.reopen_ms].into_iter().flatten().min()
    }
}

impl Net {
    /// Closes the listeners that were paused since the last look, and opens those that are to go on. Outstanding ACCEPTs of a
    /// closed one complete with EINVAL.
    pub(super) fn pause_listeners(&mut self) {
        let changes = self.capacity.changes.load(Ordering::Acquire);
        if self.acceptor.changes == changes || self.acceptor.reopen_ms.is_some_and(|at| at > self.now_ms) {
            return;
        }
        self.acceptor.reopen_ms = None;
        for (listening, entrance) in self.acceptor.listeners.iter_mut().zip(&self.capacity.listeners) {
            if let Err(error) = listening.pause(entrance.is_paused.load(Ordering::Relaxed)) {
                let again_s = REOPEN_MS / 1000;
                tracing::error!(%error, "a listener can't be closed or opened, tried again in {again_s} s");
                self.acceptor.reopen_ms = Some(self.now_ms + REOPEN_MS);
            }
        }
        if self.acceptor.reopen_ms.is_none() {
            self.acceptor.changes = changes;
        }
    }

    /// Posts ACCEPTs up to what may be outstanding.
    pub(super) fn push_accepts(&mut self) {
        if !self.acceptor.open || self.acceptor.retry_ms.is_some_and(|at| at > self.now_ms) {
            return;
        }
        self.acceptor.retry_ms = None;
        let count = self.acceptor.listeners.len() as u32;
        if count == 0 || self.acceptor.free.is_empty() {
            return;
        }
        let connections = self.capacity.connections.load(Ordering::Relaxed);
        let room = self.capacity.connections_max.saturating_sub(connections);
        let mut allowed = (room.saturating_add(self.acceptor.refusals_max))
            .saturating_sub(self.acceptor.refused + self.acceptor.outstanding());
        let each = (self.acceptor.slots.len() as u32 / count).max(1);
        // The listener with the fewest first, so that a scarce slot goes round.
        while allowed > 0 && !self.acceptor.free.is_empty() {
            let fewest = (0..self.acceptor.listeners.len())
                .filter(|&listener| !self.acceptor.listeners[listener].is_paused)
                .min_by_key(|&listener| self.acceptor.listeners[listener].outstanding);
            let Some(listener) = fewest else { return };
            if self.acceptor.listeners[listener].outstanding >= each {
                return;
            }
            let Some(ring) = self.ring_with_room() else { return };
            self.push_accept(listener, ring);
            allowed -= 1;
        }
    }

    /// Reserves a slot of the first ring that has one: the fewer rings are in use, the fewer are entered a turn.
    pub(super) fn ring_with_room(&self) -> Option<usize> {
        self.rings.iter().position(|ring| ring.port.reserve(self.acceptor.leave))
    }

    fn push_accept(&mut self, listener: usize, ring: usize) {
        let listening = &mut self.acceptor.listeners[listener];
        let (Some(socket), Some(place)) = (&listening.socket, self.acceptor.free.pop()) else {
            self.rings[ring].port.give_back(1);
            return;
        };
        listening.outstanding += 1;
        let slot = &mut self.acceptor.slots[place as usize];
        slot.len = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
        (slot.listener, slot.ring) = (listener as u16, ring as u16);
        let (address, len) = (&raw mut slot.address, &raw mut slot.len);
        // No SOCK_CLOEXEC: with a direct descriptor it is EINVAL.
        let entry = opcode::Accept::new(Fd(socket.as_raw_fd()), address.cast(), len)
            .file_index(Some(DestinationSlot::auto_target()))
            .build()
            .user_data(Operation::Accept.on(0, place));
        // SAFETY: the place is taken until the completion is seen, its block lives as long as the rings, and
        // the socket is closed only when none of its ACCEPTs is outstanding.
        unsafe { self.push(ring, &entry) };
    }

    /// An ACCEPT has completed.
    pub(super) fn accept_done(&mut self, ring: u16, place: u32, result: i32) -> Option<Event> {
        let slot = self.acceptor.slots.get(place as usize)?;
        debug_assert_eq!(slot.ring, ring);
        let (listener, remote) = (slot.listener, address(&slot.address));
        self.acceptor.free.push(place);
        let listening = self.acceptor.listeners.get_mut(usize::from(listener))?;
        listening.outstanding -= 1;
        if !self.acceptor.open && listening.outstanding == 0 {
            listening.socket = None;
        }
        if result < 0 {
            self.rings[usize::from(ring)].port.give_back(1);
            let is_paused = self.acceptor.listeners[usize::from(listener)].is_paused;
            self.accept_failed(-result, is_paused);
            return None;
        }
        if listening.filter.as_ref().is_some_and(|filter| !filter.0(remote.ip())) {
            let accepted = Accepted { listener, remote, over_capacity: false };
            let id = self.begin(self.index(ring, result as u32), &accepted)?;
            self.turn_away(id);
            return None;
        }
        let over_capacity = !self.count_in(listener);
        let accepted = Accepted { listener, remote, over_capacity };
        let id: ConnectionId = self.begin(self.index(ring, result as u32), &accepted)?;
        self.read_first(id);
        if over_capacity {
            self.acceptor.refused += 1;
        }
        self.counts.accepted += 1;
        Some(Event::Accepted(id, accepted))
    }

    fn accept_failed(&mut self, errno: i32, is_paused: bool) {
        match errno {
            // The client went away while it waited; or we stop accepting.
            libc::ECONNABORTED | libc::ECANCELED | libc::EINTR | libc::EAGAIN | libc::EPROTO => {}
            _ if !self.acceptor.open || is_paused => {}
            _ => {
                let error = io::Error::from_raw_os_error(errno);
                tracing::warn!(%error, "accept failed, tried again in {RETRY_MS} ms");
                self.acceptor.retry_ms = Some(self.now_ms + RETRY_MS);
            }
        }
    }

    /// Counts a connection in the process and its listener, unless one of them is full.
    pub(super) fn count_in(&mut self, listener: u16) -> bool {
        let below = |count: &AtomicU32, max: u32| {
            if count.fetch_add(1, Ordering::Relaxed) < max {
                return true;
            }
            count.fetch_sub(1, Ordering::Relaxed);
            false
        };
        if !below(&self.capacity.connections, self.capacity.connections_max) {
            return false;
        }
        let listener = self.capacity.listeners.get(usize::from(listener));
        let fits = listener.is_none_or(|entrance| below(&entrance.connections, entrance.connections_max));
        if !fits {
            self.capacity.connections.fetch_sub(1, Ordering::Relaxed);
        }
        fits
    }

    /// Counts a connection out of the process and its listener.
    pub(super) fn count_out(&mut self, listener: u16) {
        self.capacity.connections.fetch_sub(1, Ordering::Relaxed);
        if let Some(entrance) = self.capacity.listeners.get(usize::from(listener)) {
            entrance.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Stops accepting: outstanding ACCEPTs are cancelled, then the listeners are closed.
    pub(crate) fn stop_accepting(&mut self) {
        if !std::mem::replace(&mut self.acceptor.open, false) {
            return;
        }
        for listener in 0..self.acceptor.listeners.len() {
            if self.acceptor.listeners[listener].outstanding == 0 {
                self.acceptor.listeners[listener].socket = None;
            }
            let Some(socket) = self.acceptor.listeners[listener].socket.as_ref().map(AsRawFd::as_raw_fd)
            else {
                continue;
            };
            for ring in 0..self.active {
                let entry = opcode::AsyncCancel2::new(CancelBuilder::fd(Fd(socket)).all())
                    .build()
                    .flags(squeue::Flags::SKIP_SUCCESS)
                    .user_data(Operation::AcceptCancel.on(0, 0));
                // SAFETY: names no memory.
                unsafe { self.push(ring, &entry) };
            }
        }
    }
}

/// The address that the kernel wrote; IPv4-mapped IPv6 becomes IPv4, and a Unix socket's peer this machine.
fn address(raw: &libc::sockaddr_in6) -> SocketAddr {
    if i32::from(raw.sin6_family) == libc::AF_INET6 {
        let ip = Ipv6Addr::from(raw.sin6_addr.s6_addr);
        return SocketAddr::new(ip.to_canonical(), u16::from_be(raw.sin6_port));
    }
    if i32::from(raw.sin6_family) == libc::AF_UNIX {
        return SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
    }
    // sockaddr_in: family, port and address stand where sockaddr_in6 has family, port and flow.
    let ip = Ipv4Addr::from(u32::from_be(raw.sin6_flowinfo));
    SocketAddr::new(IpAddr::V4(ip), u16::from_be(raw.sin6_port))
}
