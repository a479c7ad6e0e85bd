//! Writing: one SEND or SENDMSG per connection and submission (pitfall 7), success without a completion.
//!
//! A send is settled when the ring has consumed its entry, completions do not overflow, and all that have
//! arrived have been seen: no completion then means that everything left, and only then are its buffers used
//! again. A short or refused send always gives a completion (MSG_WAITALL is what makes it so).

use std::ptr;

use bytes::Bytes;
use io_uring::types::Fixed;
use io_uring::{cqueue, opcode, squeue};

use super::read::cause;
use super::{Event, Net};
use crate::application::{Closed, ConnectionId};
use crate::connection::{NONE, State, flag};
use crate::output::{NO_RESULT, Outbound, Progress, SEGMENTS_MAX, Vectors};
use crate::ring::Operation;

/// Outputs that are begun before what is there is sent early: bounds the memory of a fan-out.
const DIRTY_MAX: usize = 2048;
/// Bytes in one send.
const SEND_MAX: usize = 1 << 30;
const FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL;

impl Net {
    /// The buffer to append to; one that is thrown away where the connection is stale or closing.
    pub(crate) fn output(&mut self, id: ConnectionId) -> &mut Vec<u8> {
        match self.outbound(id) {
            Some(index) => self.outbounds[index].tail(&mut self.pool),
            None => {
                self.sink.clear();
                self.sink.shrink_to(64 * 1024);
                &mut self.sink
            }
        }
    }

    /// Appends a payload by reference.
    pub(crate) fn output_shared(&mut self, id: ConnectionId, bytes: Bytes) {
        if let Some(index) = self.outbound(id) {
            self.outbounds[index].push_shared(bytes, &mut self.pool);
        }
    }

    /// The output of an open connection, in the list of what leaves at the end of the turn.
    fn outbound(&mut self, id: ConnectionId) -> Option<u32> {
        let mut index = self.table.open(id)?.output;
        if index == NONE {
            if self.dirty.len() >= DIRTY_MAX {
                self.flush_output();
                self.submit();
                // The socket may have failed in between.
                self.table.open(id)?;
            }
            index = self.outbounds.take();
            let tail = self.pool.take();
            self.outbounds[index].begin(id.index, id.generation, tail);
            self.table.open(id)?.output = index;
        }
        let outbound = &mut self.outbounds[index];
        if outbound.progress == Progress::Idle {
            outbound.progress = Progress::Dirty;
            self.dirty.push(index);
        }
        Some(index)
    }

    /// Bytes that the socket has not taken.
    pub(crate) fn outbound_len(&self, id: ConnectionId) -> usize {
        match self.table.look(id).map(|c| c.output) {
            None | Some(NONE) => 0,
            Some(index) => self.outbounds[index].len(),
        }
    }

    /// Owes `drained` once everything has left. `false`: nothing is pending.
    pub(crate) fn want_drained(&mut self, id: ConnectionId) -> bool {
        match self.table.open(id).map(|c| c.output) {
            None | Some(NONE) => false,
            Some(index) => {
                self.outbounds[index].drain_owed = true;
                true
            }
        }
    }

    /// Submits one send for each connection that has output and is not blocked.
    pub(super) fn flush_output(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for index in dirty.drain(..) {
            let outbound = &mut self.outbounds[index];
            outbound.close_tail();
            if outbound.orphan {
                self.free_output(index);
            } else if outbound.queue.is_empty() {
                self.output_empty(index);
            } else {
                self.push_send(index);
            }
        }
        // `output_empty` may have begun a close, never a new output.
        self.dirty = dirty;
    }

    fn push_send(&mut self, index: u32) {
        let outbound = &mut self.outbounds[index];
        let (connection, generation) = (outbound.connection, outbound.generation);
        outbound.progress = Progress::Sending;
        outbound.result = NO_RESULT;
        let (ring, slot) = ((connection / self.slots) as usize, connection % self.slots);
        let entry = send_entry(outbound, &mut self.vectors, slot)
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(Operation::Send.on(generation, slot));
        let all = outbound.sending == outbound.queued;
        self.prompt |= !all || outbound.drain_owed;
        self.prompt |= self.table.slot(connection).is_some_and(|c| c.state == State::Flushing);
        let ring = self.ring(ring);
        // SAFETY: the segments and vectors stay in the output, untouched, until `settle` sees the entry
        // consumed; new bytes go to the tail, which is not part of the send.
        unsafe { ring.push(&entry) };
        ring.sends.push_back((ring.queued(), index));
    }

    /// A send was short or refused.
    pub(super) fn sent(&mut self, ring: u16, entry: &cqueue::Entry) {
        let id = self.id_of(ring, entry);
        // A closing connection has let go of its output: nothing to note.
        if let Some(index) = self.table.find(id).map(|c| c.output).filter(|&index| index != NONE) {
            self.outbounds[index].result = entry.result();
        }
    }

    /// Finishes all sends whose entries the ring has consumed.
    pub(super) fn settle(&mut self, ring: usize) {
        while let Some(&(mark, index)) = self.rings[ring].sends.front() {
            if !self.rings[ring].consumed(mark) {
                return;
            }
            self.rings[ring].sends.pop_front();
            self.settle_one(index);
        }
    }

    fn settle_one(&mut self, index: u32) {
        let outbound = &mut self.outbounds[index];
        if let Some(vectors) = outbound.vectors.take()
            && self.vectors.len() < 256
        {
            self.vectors.push(vectors);
        }
        if outbound.orphan {
            self.free_output(index);
            return;
        }
        let id = ConnectionId { index: outbound.connection, generation: outbound.generation };
        let sent = match outbound.result {
            NO_RESULT => outbound.sending,
            result if result >= 0 => (result as usize).min(outbound.sending),
            result if [libc::EAGAIN, libc::EINTR, libc::ENOBUFS, libc::ENOMEM].contains(&-result) => 0,
            result => {
                outbound.progress = Progress::Idle;
                self.begin_close(id, cause(result), false);
                return;
            }
        };
        self.counts.bytes_out += sent as u64;
        outbound.advance(sent, &mut self.pool);
        if outbound.result != NO_RESULT {
            outbound.progress = Progress::Blocked;
            outbound.drain_owed = true;
            self.counts.short_sends += 1;
            self.blocked(id);
        } else if outbound.len() > 0 {
            outbound.progress = Progress::Dirty;
            self.dirty.push(index);
        } else {
            self.output_empty(index);
        }
    }

    /// The socket is full.
    fn blocked(&mut self, id: ConnectionId) {
        if self.table.find(id).is_some_and(|c| c.has(flag::PEER_CLOSED)) {
            self.begin_close(id, Closed::Peer, false);
            return;
        }
        let (ring, slot) = self.place(id.index);
        let entry = opcode::PollAdd::new(Fixed(slot), libc::POLLOUT as u32).build();
        // SAFETY: names no memory.
        unsafe { self.push(ring, &entry.user_data(Operation::PollOut.on(id.generation, slot))) };
    }

    /// POLLOUT: the socket takes bytes again (or has failed, which the send will tell).
    pub(super) fn writable(&mut self, id: ConnectionId, result: i32) {
        let Some(connection) = self.table.find(id) else { return };
        if result < 0
            || !matches!(connection.state, State::Open | State::Flushing)
            || connection.output == NONE
        {
            return;
        }
        let index = connection.output;
        if self.outbounds[index].progress == Progress::Blocked {
            self.outbounds[index].progress = Progress::Dirty;
            self.dirty.push(index);
        }
    }

    /// Everything has left: tells, frees, and closes where that was waited for.
    fn output_empty(&mut self, index: u32) {
        let outbound = &self.outbounds[index];
        let id = ConnectionId { index: outbound.connection, generation: outbound.generation };
        let drain_owed = outbound.drain_owed;
        self.free_output(index);
        let Some(connection) = self.table.find(id) else { return };
        connection.output = NONE;
        match connection.state {
            State::Open if drain_owed => self.events.push_back(Event::Drained(id)),
            State::Flushing if connection.has(flag::PEER_CLOSED) => self.begin_close(id, Closed::Peer, false),
            State::Flushing => self.begin_close(id, Closed::Local, true),
            _ => {}
        }
    }

    /// Frees an output that is not under way.
    pub(super) fn free_output(&mut self, index: u32) {
        let outbound = &mut self.outbounds[index];
        outbound.clear(&mut self.pool);
        outbound.progress = Progress::Idle;
        self.outbounds.give(index);
    }
}

/// SEND for one segment, SENDMSG for several.
#[expect(clippy::vec_box, reason = "the kernel reads them: they must not move with the pool")]
fn send_entry(outbound: &mut Outbound, pool: &mut Vec<Box<Vectors>>, slot: u32) -> squeue::Entry {
    let first = outbound.queue.front().map_or(&[][..], |segment| segment.as_slice());
    let first = first.get(outbound.offset..).unwrap_or(&[]);
    let first = &first[..first.len().min(SEND_MAX)];
    if outbound.queue.len() == 1 || first.len() == SEND_MAX {
        outbound.sending = first.len();
        let (address, len) = (first.as_ptr(), first.len() as u32);
        return opcode::Send::new(Fixed(slot), address, len).flags(FLAGS).build();
    }
    let mut vectors = pool.pop().unwrap_or_else(|| {
        // SAFETY: both are plain C structs for which all zeroes is a valid value.
        Box::new(unsafe { std::mem::zeroed::<Vectors>() })
    });
    let (mut count, mut sending, mut offset) = (0, 0, outbound.offset);
    for segment in outbound.queue.iter().take(SEGMENTS_MAX) {
        let bytes = segment.as_slice().get(offset..).unwrap_or(&[]);
        if sending + bytes.len() > SEND_MAX {
            break;
        }
        // The kernel only reads through iov_base.
        vectors.segments[count] =
            libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        (count, sending, offset) = (count + 1, sending + bytes.len(), 0);
    }
    vectors.header.msg_name = ptr::null_mut();
    vectors.header.msg_iov = vectors.segments.as_mut_ptr();
    vectors.header.msg_iovlen = count as _;
    outbound.sending = sending;
    let header = &raw const vectors.header;
    outbound.vectors = Some(vectors);
    opcode::SendMsg::new(Fixed(slot), header).flags(FLAGS as u32).build()
}
