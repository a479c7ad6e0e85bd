//! The sockets of one shard: rings, table of connections, receive buffers and outputs. What happens to them
//! comes out as [`Event`]s; no callback is made from here.

mod accept;
mod close;
mod connect;
mod move_away;
mod read;
mod rings;
mod write;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};

use io_uring::cqueue;

use crate::application::{Accepted, Closed, ConnectionId};
use crate::chunks::Chunks;
use crate::connection::{State, Table};
use crate::limits::{Layout, Listener};
use crate::output::{BufferPool, Outbound, Vectors};
use crate::receive::ReceiveBuffers;
use crate::ring::{Operation, Port, Ring};
use crate::stats::Counts;
use crate::sys::EventFd;

pub(crate) use accept::{Acceptor, OUTSTANDING_MAX};
use connect::Connects;

/// Connections and refusals of the whole process.
pub(crate) struct Capacity {
    /// Connections now, without those accepted over capacity.
    pub(crate) connections: AtomicU32,
    pub(crate) connections_max: u32,
    pub(crate) listeners: Vec<Entrance>,
    /// Rises whenever a listener is paused or goes on: shards look at them only then.
    pub(crate) changes: AtomicU32,
}

/// What all shards know of a listener.
pub(crate) struct Entrance {
    /// Connections now, without those accepted over capacity.
    pub(crate) connections: AtomicU32,
    pub(crate) connections_max: u32,
    /// Nobody is to be let in.
    pub(crate) is_paused: AtomicBool,
}

impl Entrance {
    pub(crate) fn new(listener: &Listener) -> Self {
        Self {
            connections: AtomicU32::new(0),
            connections_max: listener.connections_max,
            is_paused: AtomicBool::new(false),
        }
    }
}

/// What happened, in order.
pub(crate) enum Event {
    Accepted(ConnectionId, Accepted),
    /// Bytes are in the receive buffer; [`Net::receive_done`] follows.
    Received {
        id: ConnectionId,
        buffer: u16,
        len: usize,
        more: bool,
    },
    /// The peer of a paused connection has closed its side, and all that came before has been received.
    PeerFinished(ConnectionId),
    /// The connection is read again, and bytes of it were put aside.
    Unstash(ConnectionId),
    Drained(ConnectionId),
    Closed(ConnectionId, Closed),
    /// A descriptor has come from another shard.
    Arrived {
        token: u64,
        index: u32,
    },
    /// Bytes of a connection on its way that had been received before.
    Late(ConnectionId, Vec<u8>),
    /// The descriptor has left.
    HandedAway(ConnectionId),
    /// The descriptor could not leave.
    HandOverBroken(ConnectionId),
    /// A connect has succeeded.
    Connected(ConnectionId, u64),
    /// A connect has failed.
    ConnectFailed {
        key: u64,
        error: io::Error,
    },
}

/// The sockets of one shard.
pub(crate) struct Net {
    rings: Vec<Ring>,
    /// How many of them are in use: the others have no connection, no submission and no completion.
    active: usize,
    /// Rings but ring 0 that are looked at in each turn; the eventfds of the others in use tell of their completions.
    awake: Vec<usize>,
    /// When all rings are looked at next.
    look_around_at_ms: u64,
    slots: u32,
    pub(crate) table: Table,
    receive: ReceiveBuffers,
    /// Connections that wait for a receive buffer, fairly: each gets one buffer's worth, then goes to the end.
    readable: VecDeque<ConnectionId>,
    stash: HashMap<ConnectionId, Vec<u8>>,
    outbounds: Chunks<Outbound>,
    dirty: Vec<u32>,
    pool: BufferPool,
    #[expect(clippy::vec_box, reason = "the kernel reads them: they must not move with the pool")]
    vectors: Vec<Box<Vectors>>,
    sink: Vec<u8>,
    /// The kernel writes there what is thrown away of Unix sockets; empty before the first.
    scratch: Box<[u8]>,
    pub(crate) acceptor: Acceptor,
    pub(crate) connects: Connects,
    /// Deadlines of flushing connections: one constant delay, so first in, first out.
    deadlines: VecDeque<(u64, ConnectionId)>,
    flush_timeout_ms: u64,
    moving: Vec<(ConnectionId, i32, u64)>,
    pub(crate) completions: VecDeque<(u16, cqueue::Entry)>,
    /// Memory of [`Net::sort`].
    polls: Vec<cqueue::Entry>,
    pub(crate) events: VecDeque<Event>,
    /// Connections on this shard, closing ones included.
    pub(crate) live: u32,
    capacity: Arc<Capacity>,
    pub(crate) now_ms: u64,
    pub(crate) counts: Counts,
    /// An eventfd was read since the last wait began.
    pub(crate) bell_rang: bool,
    /// Something waits for the success of a send under way, which no completion tells: do not sleep on it.
    prompt: bool,
}

impl Net {
    /// The sockets of a shard; its rings are created here, on its own thread.
    pub(crate) fn new(
        layout: &Layout,
        ports: &[Arc<Port>],
        capacity: Arc<Capacity>,
        acceptor: Acceptor,
        bell: Arc<EventFd>,
    ) -> io::Result<Self> {
        let mut rings = Vec::with_capacity(ports.len());
        for port in ports {
            rings.push(match rings.is_empty() {
                true => Ring::first(layout.ring, port.clone(), bell.clone())?,
                false => Ring::further(layout.ring, port.clone())?,
            });
        }
        Ok(Self {
            table: Table::new(rings.len() * layout.ring.slots as usize),
            rings,
            active: 1,
            awake: Vec::new(),
            look_around_at_ms: 0,
            slots: layout.ring.slots,
            receive: ReceiveBuffers::new(layout.receive_buffers),
            readable: VecDeque::new(),
            stash: HashMap::new(),
            outbounds: Chunks::new(),
            dirty: Vec::new(),
            pool: BufferPool::new(layout.pool_bytes),
            vectors: Vec::new(),
            sink: Vec::new(),
            scratch: Box::default(),
            acceptor,
            connects: Connects::default(),
            deadlines: VecDeque::new(),
            flush_timeout_ms: layout.flush_timeout_ms,
            moving: Vec::new(),
            completions: VecDeque::new(),
            polls: Vec::new(),
            events: VecDeque::new(),
            live: 0,
            capacity,
            now_ms: 0,
            counts: Counts::default(),
            bell_rang: false,
            prompt: false,
        })
    }

    fn index(&self, ring: u16, slot: u32) -> u32 {
        u32::from(ring) * self.slots + slot
    }

    fn place(&self, index: u32) -> (usize, u32) {
        ((index / self.slots) as usize, index % self.slots)
    }

    /// Whether something has come that no turn has looked at.
    pub(crate) fn has_news(&self) -> bool {
        !self.completions.is_empty() || !self.events.is_empty() || !self.readable.is_empty()
    }

    /// Whether the next turn has something to do without any completion.
    pub(crate) fn has_leftovers(&self) -> bool {
        self.has_news() || !self.dirty.is_empty() || !self.moving.is_empty() || self.prompt
    }

    /// When the sockets want to be looked at without any completion.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        let deadline = self.deadlines.front().map(|&(at, _)| at);
        [deadline, self.acceptor.retry_ms()].into_iter().flatten().min()
    }

    /// The connection that a completion belongs to.
    fn id_of(&self, ring: u16, entry: &cqueue::Entry) -> ConnectionId {
        let (slot, generation) = (entry.user_data() as u32, (entry.user_data() >> 32) as u32 & 0x00FF_FFFF);
        ConnectionId { index: self.index(ring, slot), generation }
    }

    /// Handles one completion; what the application has to be told comes back, or is appended to `events`.
    pub(crate) fn complete(&mut self, ring: u16, entry: &cqueue::Entry) -> Option<Event> {
        let id = self.id_of(ring, entry);
        let (slot, result) = (entry.user_data() as u32, entry.result());
        match Operation::of(entry.user_data())? {
            Operation::Accept => return self.accept_done(ring, slot, result),
            Operation::PollOut => self.writable(id, result),
            Operation::Receive => return self.receive_completed(id, result, entry.flags()),
            Operation::Close => return self.close_done(id, result),
            Operation::HandOver => return self.hand_over_failed(id, result),
            Operation::HandedOver => return self.arrived(ring, result, entry.user_data()),
            Operation::Discard => self.discarded(id, result),
            Operation::Peek => return self.peeked(id, result),
            Operation::Connect | Operation::Install => return self.connect_done(slot, result),
            // Answers that need no reaction: nothing was there to cancel. The first three were dealt with before.
            Operation::Bell
            | Operation::Send
            | Operation::Poll
            | Operation::AcceptCancel
            | Operation::Cancel => {}
        }
        None
    }

    /// End of turn: everything that was asked for becomes submissions.
    pub(crate) fn flush(&mut self) {
        self.expire();
        self.flush_output();
        self.push_moves();
        self.push_receives();
        self.pause_listeners();
        self.push_accepts();
    }

    /// How long a flush before a close may take, milliseconds.
    pub(crate) fn flush_timeout_ms(&self) -> u64 {
        self.flush_timeout_ms
    }

    /// Gives memory of a busy time back, before a long sleep.
    pub(crate) fn trim(&mut self) {
        self.receive.trim();
        self.pool.trim(256 * 1024);
        self.outbounds.trim(4);
        self.vectors.truncate(16);
        self.completions.shrink_to(1024);
        self.polls.shrink_to(1024);
        self.readable.shrink_to(1024);
        for ring in &mut self.rings {
            ring.arrived.shrink_to(1024);
            ring.sends.shrink_to(1024);
        }
    }

    /// Begins a connection in a slot that the kernel has filled. It is neither polled nor read yet.
    fn begin(&mut self, index: u32, accepted: &Accepted) -> Option<ConnectionId> {
        let Some(connection) = self.table.slot_or_new(index) else {
            tracing::error!(index, "the kernel named a slot beyond the table");
            return None;
        };
        debug_assert!(matches!(connection.state, State::Free | State::Closing));
        connection.begin(accepted);
        let id = ConnectionId { index, generation: connection.generation };
        self.live += 1;
        Some(id)
    }
}
