//! The sockets of one shard: rings, table of connections, receive buffers and outputs. What happens to them
//! comes out as [`Event`]s; no callback is made from here.

mod accept;
mod close;
mod connect;
mod move_away;
mod read;
mod write;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use io_uring::{cqueue, squeue};

use crate::application::{Accepted, Closed, ConnectionId};
use crate::chunks::Chunks;
use crate::connection::{State, Table};
use crate::limits::Layout;
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
    /// The same for each listener.
    pub(crate) listeners: Vec<(AtomicU32, u32)>,
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
    pub(crate) rings: Vec<Ring>,
    /// How many of them are in use: the others have no connection, no submission and no completion.
    pub(crate) active: usize,
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
    /// The eventfd's poll in ring 0 has fired or ended.
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
        eventfd: &EventFd,
    ) -> io::Result<Self> {
        let mut rings = Vec::with_capacity(ports.len());
        for port in ports {
            let mut ring = Ring::new(layout.ring, port.clone())?;
            ring.register_eventfd(eventfd.fd())?;
            rings.push(ring);
        }
        Ok(Self {
            table: Table::new(rings.len() * layout.ring.slots as usize),
            rings,
            active: 1,
            slots: layout.ring.slots,
            receive: ReceiveBuffers::new(layout.receive_buffers),
            readable: VecDeque::new(),
            stash: HashMap::new(),
            outbounds: Chunks::new(),
            dirty: Vec::new(),
            pool: BufferPool::new(layout.pool_bytes),
            vectors: Vec::new(),
            sink: Vec::new(),
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
            bell_rang: true,
            prompt: false,
        })
    }

    fn index(&self, ring: u16, slot: u32) -> u32 {
        u32::from(ring) * self.slots + slot
    }

    fn place(&self, index: u32) -> (usize, u32) {
        ((index / self.slots) as usize, index % self.slots)
    }

    /// Queues a submission for the ring and slot of a connection.
    ///
    /// # Safety
    /// As [`Ring::push`].
    unsafe fn push(&mut self, ring: usize, entry: &squeue::Entry) {
        // SAFETY: the caller's promise.
        unsafe { self.rings[ring].push(entry) }
    }

    /// Submits and takes what has arrived: without a timeout from all rings, with one from ring 0 after a wait, and then
    /// from the others if they may have rung. [`Net::enter_others`] comes before a wait.
    /// Sends are settled before anything else is looked at, so no callback ever sees one under way that the
    /// kernel has consumed. What the polls say is readable is read at once: a message that comes alone costs one turn.
    pub(crate) fn enter(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.prompt = false;
        if timeout.is_none() {
            self.enter_others()?;
        }
        if timeout.is_some() || self.rings[0].has_work() {
            self.rings[0].enter(timeout)?;
            self.sort(0);
        }
        if self.bell_rang && timeout.is_some() {
            // Perhaps for one of them: in the same turn too.
            self.enter_others()?;
        }
        if !self.readable.is_empty() {
            self.push_receives();
            self.submit();
        }
        Ok(())
    }

    /// Submits and takes what has arrived in all rings but ring 0, which is the one slept in. `true`: nothing is left
    /// there.
    pub(crate) fn enter_others(&mut self) -> io::Result<bool> {
        self.look_for_opened();
        let mut done = true;
        for ring in 1..self.active {
            if self.rings[ring].has_work() {
                self.rings[ring].enter(None)?;
                self.sort(ring);
                done &= !self.rings[ring].has_work();
            }
        }
        Ok(done)
    }

    /// How many rings are in use. Takes note of those that came into use. Slots are reserved in the order of the rings, so those in use are
    /// the first ones. Another shard opens one for a hand-over, whose parcel wakes this shard all the same.
    pub(crate) fn look_for_opened(&mut self) -> usize {
        while self.rings.get(self.active).is_some_and(|ring| ring.port.is_opened()) {
            self.active += 1;
        }
        self.active
    }

    /// Submits everything without waiting and settles the sends.
    fn submit(&mut self) {
        self.look_for_opened();
        for ring in 0..self.active {
            if self.rings[ring].has_queued() {
                // An error here is one of the ring itself: the next `enter` reports it.
                if self.rings[ring].enter(None).is_err() {
                    tracing::error!(ring, "submission failed");
                }
                self.sort(ring);
            }
        }
    }

    /// Takes sends, polls and the bell out of what has arrived, queues the rest for [`Net::complete`].
    fn sort(&mut self, ring: usize) {
        // Nothing is pushed in this loop: a push may collect more completions, and consume sends whose failure has
        // not been seen.
        let mut arrived = std::mem::take(&mut self.rings[ring].arrived);
        let mut polls = std::mem::take(&mut self.polls);
        for entry in arrived.drain(..) {
            match Operation::of(entry.user_data()) {
                Some(Operation::Send) => self.sent(ring as u16, &entry),
                Some(Operation::Poll) => polls.push(entry),
                Some(Operation::Bell) => self.bell_rang = true,
                _ => self.completions.push_back((ring as u16, entry)),
            }
        }
        self.rings[ring].arrived = arrived;
        self.settle(ring);
        for entry in polls.drain(..) {
            self.polled(ring as u16, &entry);
        }
        self.polls = polls;
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
            Operation::Connect | Operation::Install => return self.connect_done(slot, result),
            // Answers that need no reaction: nothing was there to cancel or to throw away. The first three were dealt
            // with before.
            Operation::Bell
            | Operation::Send
            | Operation::Poll
            | Operation::AcceptCancel
            | Operation::Discard
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
        self.push_accepts();
    }

    /// Enables or disables the eventfd of the rings from `first` on.
    pub(crate) fn notify(&mut self, first: usize, enabled: bool) {
        for ring in self.rings.iter_mut().take(self.active).skip(first) {
            ring.notify(enabled);
        }
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
