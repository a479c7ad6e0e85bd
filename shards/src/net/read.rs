//! Reading: multishot POLL_ADD while idle, RECV while there is something, pause and resume.

use io_uring::types::Fixed;
use io_uring::{cqueue, opcode};

use super::{Event, Net};
use crate::application::{Closed, ConnectionId};
use crate::connection::{State, flag};
use crate::receive::BUFFER_LEN;
use crate::ring::Operation;

const BROKEN: i32 = (libc::POLLERR | libc::POLLHUP) as i32;

/// The cause that a socket's error number stands for.
pub(super) fn cause(result: i32) -> Closed {
    match -result {
        libc::ECONNRESET | libc::EPIPE => Closed::Reset,
        errno => Closed::Error(std::io::Error::from_raw_os_error(errno).kind()),
    }
}

impl Net {
    /// Arms the multishot poll of an idle connection: 256 bytes in the kernel, none here. Pitfall 8: it is
    /// edge-like, so reading goes on until the socket says that it is empty.
    pub(super) fn arm(&mut self, id: ConnectionId) {
        let (ring, slot) = self.place(id.index);
        let events = libc::POLLIN as u32 | libc::POLLRDHUP as u32;
        let entry = opcode::PollAdd::new(Fixed(slot), events).multi(true).build();
        if let Some(connection) = self.table.find(id) {
            connection.clear(flag::UNARMED);
        }
        // SAFETY: names no memory.
        unsafe { self.push(ring, &entry.user_data(Operation::Poll.on(id.generation, slot))) };
    }

    /// Reads a new connection before its poll is armed: a client's first bytes are often there when it is accepted,
    /// and what they say may send the connection to another shard, which arms a poll of its own.
    pub(super) fn read_first(&mut self, id: ConnectionId) {
        if let Some(connection) = self.table.open(id) {
            connection.set(flag::UNARMED);
        }
        self.want_receive(id);
    }

    /// Arms the poll of a connection whose first RECV is over and that is not read on at once.
    fn arm_first(&mut self, id: ConnectionId) {
        if self.table.open(id).is_some_and(|c| c.has(flag::UNARMED) && !c.has(flag::QUEUED | flag::RECEIVING))
        {
            self.arm(id);
        }
    }

    /// The poll has something to say.
    pub(super) fn polled(&mut self, ring: u16, entry: &cqueue::Entry) {
        let id = self.id_of(ring, entry);
        let (result, flags) = (entry.result(), entry.flags());
        let Some(connection) = self.table.find(id) else { return };
        let (state, paused) = (connection.state, connection.has(flag::PAUSED));
        if matches!(state, State::Closing | State::HandingOver) {
            return;
        }
        if !cqueue::more(flags) {
            self.arm(id);
        }
        if result < 0 {
            return;
        }
        match (state, paused) {
            (State::Flushing, _) if result & BROKEN != 0 => self.begin_close(id, Closed::Reset, false),
            (State::Open, true) if result & BROKEN != 0 => self.begin_close(id, Closed::Reset, false),
            (State::Open, true) => {
                self.mark_readable(id);
                if result & libc::POLLRDHUP as i32 != 0 {
                    self.push_peek(id);
                }
            }
            (State::Open, false) => self.want_receive(id),
            _ => {}
        }
    }

    /// Looks whether the end that the poll speaks of is all that is unread.
    fn push_peek(&mut self, id: ConnectionId) {
        let (ring, slot) = self.place(id.index);
        let entry = opcode::Recv::new(Fixed(slot), self.scratch(), 1)
            .flags(libc::MSG_PEEK | libc::MSG_DONTWAIT)
            .build()
            .user_data(Operation::Peek.on(id.generation, slot));
        // SAFETY: what is written goes to memory of `Net` that nobody reads and that is never given back or moved before
        // the rings end.
        unsafe { self.push(ring, &entry) };
    }

    /// The answer.
    pub(super) fn peeked(&mut self, id: ConnectionId, result: i32) -> Option<Event> {
        let connection = self.table.open(id)?;
        let is_all = connection.has(flag::PAUSED) && !connection.has(flag::STASHED | flag::RECEIVING);
        (result == 0 && is_all).then_some(Event::PeerFinished(id))
    }

    fn mark_readable(&mut self, id: ConnectionId) {
        if let Some(connection) = self.table.open(id) {
            connection.set(flag::READABLE);
        }
    }

    /// Queues the connection for a receive buffer.
    pub(super) fn want_receive(&mut self, id: ConnectionId) {
        let Some(connection) = self.table.open(id) else { return };
        if connection.has(flag::PAUSED | flag::RECEIVING) {
            connection.set(flag::READABLE);
        } else if !connection.has(flag::QUEUED) {
            connection.clear(flag::READABLE);
            connection.set(flag::QUEUED);
            self.readable.push_back(id);
        }
    }

    /// Submits a RECV for as many waiting connections as there are buffers.
    pub(super) fn push_receives(&mut self) {
        while self.receive.available() > 0 {
            let Some(id) = self.readable.pop_front() else { return };
            let Some(connection) = self.table.slot(id.index).filter(|c| c.generation == id.generation) else {
                continue;
            };
            connection.clear(flag::QUEUED);
            if connection.state != State::Open {
                continue;
            }
            if connection.has(flag::PAUSED | flag::RECEIVING) {
                connection.set(flag::READABLE);
                self.arm_first(id);
                continue;
            }
            let Some((buffer, address)) = self.receive.take() else { return };
            connection.set(flag::RECEIVING);
            connection.buffer = buffer;
            let (ring, slot) = self.place(id.index);
            let entry = opcode::Recv::new(Fixed(slot), address, BUFFER_LEN as u32)
                .flags(libc::MSG_DONTWAIT)
                .build()
                .user_data(Operation::Receive.on(id.generation, slot));
            // SAFETY: the buffer is taken until the completion of this RECV has been handled.
            unsafe { self.push(ring, &entry) };
        }
        self.counts.receive_waits += u64::from(!self.readable.is_empty());
    }

    /// A RECV has completed.
    pub(super) fn receive_completed(&mut self, id: ConnectionId, result: i32, flags: u32) -> Option<Event> {
        // The record is there: RECV completes before the Close that frees the slot.
        let connection = self.table.find(id)?;
        connection.clear(flag::RECEIVING);
        let (buffer, state) = (connection.buffer, connection.state);
        // What was put aside is older: nothing passes it.
        let aside = connection.has(flag::PAUSED | flag::STASHED);
        if state == State::Open && result == 0 && connection.has(flag::STASHED) {
            connection.set(flag::READABLE);
            self.receive.give(buffer);
            self.arm_first(id);
            return None;
        }
        if state == State::Open && result > 0 && !aside {
            let len = result as usize;
            self.counts.bytes_in += len as u64;
            return Some(Event::Received { id, buffer, len, more: cqueue::sock_nonempty(flags) });
        }
        let bytes = if result > 0 {
            // SAFETY: the completion has been seen; the slice is copied before the buffer is given back.
            unsafe { self.receive.filled(buffer, result as usize) }.to_vec()
        } else {
            Vec::new()
        };
        self.receive.give(buffer);
        match state {
            State::Open if result > 0 => {
                // Paused after this RECV had been submitted, for one.
                self.counts.bytes_in += bytes.len() as u64;
                self.mark_readable(id);
                self.put_aside(id, &bytes);
                self.arm_first(id);
            }
            State::Open if result == 0 => self.peer_closed(id),
            State::Open if result == -libc::EAGAIN => {
                self.receive_again(id);
                self.arm_first(id);
            }
            State::Open if result == -libc::EINTR => {
                self.want_receive(id);
                self.arm_first(id);
            }
            State::Open => self.begin_close(id, cause(result), false),
            State::HandingOver if result > 0 => {
                self.counts.bytes_in += bytes.len() as u64;
                return Some(Event::Late(id, bytes));
            }
            _ => {}
        }
        None
    }

    /// Reads on if the poll has spoken since the RECV was submitted.
    fn receive_again(&mut self, id: ConnectionId) {
        if self.table.open(id).is_some_and(|c| c.has(flag::READABLE) && !c.has(flag::PAUSED)) {
            self.want_receive(id);
        }
    }

    /// The bytes of [`Event::Received`].
    ///
    /// # Safety
    /// Not used after [`Net::receive_done`] for that buffer.
    pub(crate) unsafe fn received<'a>(&self, buffer: u16, len: usize) -> &'a [u8] {
        // SAFETY: the completion has been seen (there is an event), the caller keeps to the lifetime.
        unsafe { self.receive.filled(buffer, len) }
    }

    /// The application has seen the bytes of [`Event::Received`].
    pub(crate) fn receive_done(&mut self, id: ConnectionId, buffer: u16, more: bool) {
        self.receive.give(buffer);
        if more {
            self.want_receive(id);
        } else {
            self.receive_again(id);
        }
        self.arm_first(id);
    }

    /// Stops reading.
    pub(crate) fn pause(&mut self, id: ConnectionId) {
        if let Some(connection) = self.table.open(id) {
            connection.set(flag::PAUSED);
        }
    }

    /// Reads again.
    pub(crate) fn resume(&mut self, id: ConnectionId) {
        let Some(connection) = self.table.open(id) else { return };
        if !connection.has(flag::PAUSED) {
            return;
        }
        connection.clear(flag::PAUSED);
        if connection.has(flag::STASHED) {
            self.events.push_back(Event::Unstash(id));
        }
        self.receive_again(id);
    }

    /// Takes the bytes that were put aside, to send them along with the connection.
    pub(super) fn unstash(&mut self, id: ConnectionId) -> Vec<u8> {
        if let Some(connection) = self.table.find(id) {
            connection.clear(flag::STASHED);
        }
        self.stash.remove(&id).unwrap_or_default()
    }

    /// Takes the bytes that were put aside if the application reads the connection now.
    pub(crate) fn take_stash(&mut self, id: ConnectionId) -> Option<Vec<u8>> {
        let connection = self.table.open(id)?;
        if connection.has(flag::PAUSED) || !connection.has(flag::STASHED) {
            return None;
        }
        connection.clear(flag::STASHED);
        let bytes = self.stash.remove(&id);
        self.receive_again(id);
        bytes
    }

    /// Puts bytes aside; [`Event::Unstash`] delivers them.
    pub(crate) fn put_aside(&mut self, id: ConnectionId, bytes: &[u8]) {
        if let Some(connection) = self.table.open(id) {
            connection.set(flag::STASHED);
            self.stash.entry(id).or_default().extend_from_slice(bytes);
        }
    }
}
