//! What a connection has to send: segments in order, of which the first few are in the kernel's hands while
//! a send is under way. Exists only while there is something to send; its buffers come from a bounded pool.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::chunks::{Link, NONE};

/// A tail longer than this is closed and a new one begun, so that appending never moves much.
pub(crate) const TAIL_MAX: usize = 64 * 1024;
/// Shared payloads below this are copied: cheaper than a segment of their own.
const SHARED_MIN: usize = 512;
/// Segments in one SENDMSG.
pub(crate) const SEGMENTS_MAX: usize = 64;
/// Buffers with more capacity than this are freed, not pooled.
const POOLED_CAPACITY_MAX: usize = 16 * 1024;

/// A piece of output.
pub(crate) enum Segment {
    /// Appended through `Io::output`.
    Owned(Vec<u8>),
    /// Given to `Io::output_shared`.
    Shared(Bytes),
}

impl Segment {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

/// What SENDMSG reads; boxed, because it must not move between submission and completion.
pub(crate) struct Vectors {
    pub(crate) header: libc::msghdr,
    pub(crate) segments: [libc::iovec; SEGMENTS_MAX],
}

/// How far the output of a connection is.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub(crate) enum Progress {
    /// Nothing under way.
    #[default]
    Idle,
    /// In the list of what leaves at the end of the turn.
    Dirty,
    /// A send is submitted.
    Sending,
    /// The socket is full; POLLOUT is armed.
    Blocked,
}

/// No completion has come for the send under way.
pub(crate) const NO_RESULT: i32 = i32::MAX;

/// The pending output of one connection.
#[derive(Default)]
pub(crate) struct Outbound {
    /// Index of the connection, and its generation.
    pub(crate) connection: u32,
    pub(crate) generation: u32,
    pub(crate) tail: Vec<u8>,
    pub(crate) queue: VecDeque<Segment>,
    /// Bytes of the first segment that have left.
    pub(crate) offset: usize,
    /// Bytes in `queue` that have not left.
    pub(crate) queued: usize,
    /// Bytes of the send under way.
    pub(crate) sending: usize,
    pub(crate) vectors: Option<Box<Vectors>>,
    pub(crate) result: i32,
    pub(crate) progress: Progress,
    /// The socket was full at some time, or the application asked: `drained` is owed.
    pub(crate) drain_owed: bool,
    /// The connection is gone; freed when the send under way has been consumed.
    pub(crate) orphan: bool,
    next: u32,
}

impl Link for Outbound {
    fn next(&self) -> u32 {
        self.next
    }
    fn set_next(&mut self, next: u32) {
        self.next = next;
    }
}

impl Outbound {
    /// Begins the output of a connection.
    pub(crate) fn begin(&mut self, connection: u32, generation: u32, tail: Vec<u8>) {
        debug_assert!(self.queue.is_empty() && self.queued == 0);
        self.connection = connection;
        self.generation = generation;
        self.tail = tail;
        self.offset = 0;
        self.sending = 0;
        self.result = NO_RESULT;
        self.progress = Progress::Idle;
        self.drain_owed = false;
        self.orphan = false;
        self.next = NONE;
    }

    /// Bytes that the socket has not taken.
    pub(crate) fn len(&self) -> usize {
        self.queued + self.tail.len()
    }

    /// Moves the tail behind the queue.
    pub(crate) fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.queued += self.tail.len();
            self.queue.push_back(Segment::Owned(std::mem::take(&mut self.tail)));
        }
    }

    /// The tail, to append to.
    pub(crate) fn tail(&mut self, pool: &mut BufferPool) -> &mut Vec<u8> {
        if self.tail.len() >= TAIL_MAX {
            self.close_tail();
        }
        if self.tail.capacity() == 0 {
            self.tail = pool.take();
        }
        &mut self.tail
    }

    /// Appends a payload by reference.
    pub(crate) fn push_shared(&mut self, bytes: Bytes, pool: &mut BufferPool) {
        if bytes.len() < SHARED_MIN {
            self.tail(pool).extend_from_slice(&bytes);
        } else {
            self.close_tail();
            self.queued += bytes.len();
            self.queue.push_back(Segment::Shared(bytes));
        }
    }

    /// Drops the first `n` bytes of the queue: the socket has them.
    pub(crate) fn advance(&mut self, mut n: usize, pool: &mut BufferPool) {
        self.queued -= n.min(self.queued);
        while let Some(first) = self.queue.front() {
            let left = first.as_slice().len() - self.offset;
            if n < left {
                self.offset += n;
                return;
            }
            n -= left;
            self.offset = 0;
            if let Some(Segment::Owned(buffer)) = self.queue.pop_front() {
                pool.give(buffer);
            }
            if n == 0 {
                return;
            }
        }
    }

    /// Throws everything away.
    pub(crate) fn clear(&mut self, pool: &mut BufferPool) {
        while let Some(segment) = self.queue.pop_front() {
            if let Segment::Owned(buffer) = segment {
                pool.give(buffer);
            }
        }
        if self.queue.capacity() > SEGMENTS_MAX {
            self.queue = VecDeque::new();
        }
        pool.give(std::mem::take(&mut self.tail));
        self.queued = 0;
        self.offset = 0;
    }
}

/// Buffers for tails, bounded in bytes.
pub(crate) struct BufferPool {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
    bytes_max: usize,
}

impl BufferPool {
    /// A pool that keeps at most `bytes_max` bytes of capacity.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { buffers: Vec::new(), bytes: 0, bytes_max }
    }

    /// An empty buffer.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let buffer = self.buffers.pop().unwrap_or_default();
        self.bytes -= buffer.capacity();
        buffer
    }

    /// Takes a buffer back, or frees it.
    pub(crate) fn give(&mut self, mut buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        if capacity != 0 && capacity <= POOLED_CAPACITY_MAX && self.bytes + capacity <= self.bytes_max {
            buffer.clear();
            self.bytes += capacity;
            self.buffers.push(buffer);
        }
    }

    /// Frees down to `bytes`.
    pub(crate) fn trim(&mut self, bytes: usize) {
        while self.bytes > bytes {
            let Some(buffer) = self.buffers.pop() else { break };
            self.bytes -= buffer.capacity();
        }
        if self.buffers.len() < self.buffers.capacity() / 4 {
            self.buffers.shrink_to_fit();
        }
    }
}
