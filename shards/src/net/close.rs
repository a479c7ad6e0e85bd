//! Closing: a closing state, then cancel and close, unlinked; the completion of Close frees the slot.

use io_uring::types::Fixed;
use io_uring::{opcode, squeue};

use super::read::cause;
use super::{Event, Net};
use crate::application::{Close, Closed, ConnectionId};
use crate::connection::{NONE, State, flag};
use crate::output::Progress;
use crate::ring::Operation;

/// Unread bytes that are thrown away before a close.
const DISCARD_MAX: u32 = 1 << 24;
/// The same of a Unix socket, at a time: more than its peer's send buffer lets it be ahead, unless that was made larger.
const UNIX_DISCARD_MAX: usize = 256 * 1024;
/// How many times that: a send buffer can be made as large as this, as that of TCP, and a peer that goes on to write has no
/// end.
const UNIX_DISCARDS_MAX: u8 = 64;

/// Ends a poll, which would hold the socket open. Not PollRemove: it may find the poll busy (EALREADY). And by its
/// `user_data`, for which the kernel looks into one bucket of its table: for all requests of a descriptor it would walk
/// through those of all connections.
pub(super) fn cancel_poll(poll: Operation, id: ConnectionId, slot: u32) -> squeue::Entry {
    opcode::AsyncCancel::new(poll.on(id.generation, slot))
        .build()
        .flags(squeue::Flags::SKIP_SUCCESS)
        .user_data(Operation::Cancel.on(id.generation, slot))
}

impl Net {
    /// The application closes.
    pub(crate) fn close(&mut self, id: ConnectionId, how: Close) {
        let Some(connection) = self.table.open(id) else { return };
        match how {
            Close::Abort => self.begin_close(id, Closed::Local, false),
            Close::Flush if connection.output == NONE => self.begin_close(id, Closed::Local, true),
            Close::Flush => {
                connection.state = State::Flushing;
                self.deadlines.push_back((self.now_ms + self.flush_timeout_ms, id));
            }
        }
    }

    /// Closes whatever lives at `index`, for the end of the shard.
    pub(crate) fn close_index(&mut self, index: u32, how: Close) {
        let Some(connection) = self.table.slot(index) else { return };
        let id = ConnectionId { index, generation: connection.generation };
        match (connection.state, how) {
            (State::Open, how) => self.close(id, how),
            (State::Flushing, Close::Abort) => self.begin_close(id, Closed::FlushTimeout, false),
            _ => {}
        }
    }

    /// The peer has closed its side. It may still read: what this turn has for it leaves, if the socket
    /// takes it.
    pub(super) fn peer_closed(&mut self, id: ConnectionId) {
        let Some(connection) = self.table.open(id) else { return };
        let output = connection.output;
        if output == NONE || self.outbounds[output].progress == Progress::Blocked {
            self.begin_close(id, Closed::Peer, false);
        } else {
            connection.state = State::Flushing;
            connection.set(flag::PEER_CLOSED);
            self.deadlines.push_back((self.now_ms + self.flush_timeout_ms, id));
        }
    }

    /// Closes those whose flush takes too long.
    pub(super) fn expire(&mut self) {
        while let Some(&(at, id)) = self.deadlines.front() {
            if at > self.now_ms {
                return;
            }
            self.deadlines.pop_front();
            if let Some(connection) = self.table.find(id).filter(|c| c.state == State::Flushing) {
                let peer = connection.has(flag::PEER_CLOSED);
                self.begin_close(id, if peer { Closed::Peer } else { Closed::FlushTimeout }, false);
            }
        }
    }

    /// Ends a connection: from here on the application hears nothing of it but `Closed`.
    ///
    /// With `discard` unread bytes are thrown away first: closing over them would send RST, which may destroy
    /// at the peer what has just been flushed.
    pub(super) fn begin_close(&mut self, id: ConnectionId, why: Closed, discard: bool) {
        let Some(connection) = self.table.find(id) else { return };
        if connection.state == State::Closing {
            return;
        }
        connection.state = State::Closing;
        let output = std::mem::replace(&mut connection.output, NONE);
        let stashed = connection.has(flag::STASHED);
        if stashed {
            self.stash.remove(&id);
        }
        let mut blocked = false;
        if output != NONE {
            blocked = self.outbounds[output].progress == Progress::Blocked;
            match self.outbounds[output].progress {
                // Listed elsewhere: freed where the list is worked off.
                Progress::Sending | Progress::Dirty => self.outbounds[output].orphan = true,
                Progress::Idle | Progress::Blocked => self.free_output(output),
            }
        }
        if blocked {
            let cancel = cancel_poll(Operation::PollOut, id, id.index % self.slots);
            let (ring, _) = self.place(id.index);
            // SAFETY: names no memory.
            unsafe { self.push(ring, &cancel) };
        }
        self.push_close(id, discard);
        self.events.push_back(Event::Closed(id, why));
    }

    /// Closes a connection that has just come and that nobody was told of.
    pub(super) fn turn_away(&mut self, id: ConnectionId) {
        let Some(connection) = self.table.find(id) else { return };
        connection.state = State::Closing;
        connection.set(flag::FILTERED);
        self.counts.filtered += 1;
        self.push_close(id, false);
    }

    fn push_close(&mut self, id: ConnectionId, discard: bool) {
        let (ring, slot) = self.place(id.index);
        if discard {
            if self.table.find(id).is_some_and(|connection| connection.is_unix()) {
                return self.push_unix_discard(id);
            }
            let entry = opcode::Recv::new(Fixed(slot), std::ptr::null_mut(), DISCARD_MAX)
                .flags(libc::MSG_TRUNC | libc::MSG_DONTWAIT)
                .build()
                .flags(squeue::Flags::SKIP_SUCCESS)
                .user_data(Operation::Discard.on(id.generation, slot));
            // SAFETY: MSG_TRUNC on TCP drops the bytes and writes to no memory.
            unsafe { self.push(ring, &entry) };
        }
        // Unlinked, so that the slot is free at once; late completions are told apart by their generation.
        let cancel = cancel_poll(Operation::Poll, id, slot);
        let close = opcode::Close::new(Fixed(slot)).build();
        // SAFETY: neither names memory.
        unsafe {
            self.push(ring, &cancel);
            self.push(ring, &close.user_data(Operation::Close.on(id.generation, slot)));
        }
    }

    /// Reads a part of what is unread in a Unix socket, and closes when all was read. TCP drops it by itself; a Unix socket
    /// copies whatever is asked (unix(7) has no MSG_TRUNC for streams).
    fn push_unix_discard(&mut self, id: ConnectionId) {
        let (ring, slot) = self.place(id.index);
        let entry = opcode::Recv::new(Fixed(slot), self.scratch(), UNIX_DISCARD_MAX as u32)
            .flags(libc::MSG_DONTWAIT)
            .build()
            .user_data(Operation::Discard.on(id.generation, slot));
        // SAFETY: what is written goes to memory of `Net` that nobody reads and that is never given back or moved before
        // the rings end.
        unsafe { self.push(ring, &entry) };
    }

    /// Unread bytes were thrown away: of a Unix socket there may be more.
    pub(super) fn discarded(&mut self, id: ConnectionId, result: i32) {
        let Some(connection) = self.table.find(id) else { return };
        if connection.state != State::Closing || !connection.is_unix() {
            return;
        }
        connection.discards += 1;
        if result == UNIX_DISCARD_MAX as i32 && connection.discards < UNIX_DISCARDS_MAX {
            self.push_unix_discard(id);
        } else {
            self.push_close(id, false);
        }
    }

    /// Memory of `UNIX_DISCARD_MAX` bytes for what nobody reads.
    pub(super) fn scratch(&mut self) -> *mut u8 {
        if self.scratch.is_empty() {
            self.scratch = vec![0; UNIX_DISCARD_MAX].into();
        }
        self.scratch.as_mut_ptr()
    }

    /// Close has completed: the slot is free.
    pub(super) fn close_done(&mut self, id: ConnectionId, result: i32) -> Option<Event> {
        let connection = self.table.find(id)?;
        let (state, over_capacity) = (connection.state, connection.has(flag::OVER_CAPACITY));
        let (listener, filtered) = (connection.listener, connection.has(flag::FILTERED));
        if result < 0 && state != State::Closing {
            // The chain of a hand-over broke before it: the descriptor is still here, `hand_over_failed` takes
            // care of it.
            return None;
        }
        if result < 0 {
            tracing::error!(error = ?cause(result), "closing a descriptor failed");
        }
        connection.state = State::Free;
        self.live -= 1;
        let (ring, _) = self.place(id.index);
        self.rings[ring].port.give_back(1);
        if filtered {
            return None;
        }
        if over_capacity {
            self.acceptor.refused -= 1;
        }
        if state == State::HandingOver {
            return Some(Event::HandedAway(id));
        }
        if !over_capacity {
            self.count_out(listener);
        }
        self.counts.closed += 1;
        None
    }
}
