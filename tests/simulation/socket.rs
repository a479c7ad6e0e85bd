//! One TCP connection with its two streams, cut into pieces at random, and all the ways in which it may end.

use std::collections::VecDeque;

use myriad::session::ConnectionId;

use crate::stream::Marks;

/// Index into `World::sockets`; never reused.
pub type SocketId = usize;

/// Where the broker's end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the accept queue of a shard.
    Backlog(usize),
    /// Held by a shard under a name.
    At(usize, ConnectionId),
    /// Between two shards; the first still has the name.
    Moving { from: usize, name: ConnectionId, to: usize },
    /// Closed by the broker: what is left flows, then it is over.
    Flushing(usize, ConnectionId),
    /// Nothing is left.
    Gone,
}

/// How the client's end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientEnd {
    Open,
    /// All that was sent arrives, then the end is seen.
    Finished,
    /// Some of what was sent may be lost; then the end is seen.
    Reset,
    /// Nothing is seen ever again.
    Silent,
}

/// How and when the broker learned (or decided) that it is over.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    pub at: u64,
    pub stamp: u64,
    /// The broker closed it, not the client.
    pub by_broker: bool,
    /// Every byte of the client had been handed to the broker.
    pub all_fed: bool,
    /// The configuration by which its CONNECT was answered.
    pub config: Option<usize>,
}

/// A TCP connection.
pub struct Socket {
    pub client: usize,
    pub place: Place,
    pub client_end: ClientEnd,
    /// Bytes on their way to the broker.
    pub up: VecDeque<u8>,
    pub up_ready_at: u64,
    pub last_fed_at: u64,
    /// Bytes that the client has written, the broker has been given, the broker has surely handled.
    pub sent: u64,
    pub fed: u64,
    pub handled: u64,
    pub paused: bool,
    pub ever_paused: bool,
    /// Bytes that the broker's end could not send yet.
    pub waiting: VecDeque<u8>,
    /// Bytes that the client may read.
    pub arrived: VecDeque<u8>,
    pub arrived_max: usize,
    /// When the broker wrote what.
    pub written: Marks,
    /// Accepted into a reserved slot: only to be refused.
    pub over_capacity: bool,
    /// The configuration by which its CONNECT was answered.
    pub config: Option<usize>,
    pub drained_owed: bool,
    /// The broker has asked to be told when its output has left.
    pub drained_wanted: bool,
    pub flush_until: u64,
    /// Once `arrived` is empty the client sees the end.
    pub broker_finished: bool,
    /// The broker's end was closed with output left.
    pub output_lost: bool,
    pub closed_ready_at: u64,
    pub hand_over_failed: bool,
    /// It came when memory was too short for anyone to come in.
    pub no_memory: bool,
    pub ended: Option<Ended>,
}

impl Socket {
    pub fn new(client: usize, shard: usize, now: u64, arrived_max: usize) -> Self {
        Self {
            client,
            place: Place::Backlog(shard),
            client_end: ClientEnd::Open,
            up: VecDeque::new(),
            up_ready_at: now,
            last_fed_at: now,
            sent: 0,
            fed: 0,
            handled: 0,
            paused: false,
            ever_paused: false,
            waiting: VecDeque::new(),
            arrived: VecDeque::new(),
            arrived_max,
            written: Marks::default(),
            over_capacity: false,
            config: None,
            drained_owed: false,
            drained_wanted: false,
            flush_until: 0,
            broker_finished: false,
            output_lost: false,
            closed_ready_at: 0,
            hand_over_failed: false,
            no_memory: false,
            ended: None,
        }
    }

    /// Moves what the client's end has room for; true if nothing waits any more and something did.
    pub fn flow(&mut self) -> bool {
        let had = !self.waiting.is_empty();
        if matches!(self.client_end, ClientEnd::Finished | ClientEnd::Reset) {
            // A client that is gone takes everything and reads nothing.
            self.waiting.clear();
            self.arrived.clear();
        }
        let room = self.arrived_max.saturating_sub(self.arrived.len()).min(self.waiting.len());
        self.arrived.extend(self.waiting.drain(..room));
        had && self.waiting.is_empty()
    }

    /// The client may learn something.
    pub fn is_readable(&self) -> bool {
        !self.arrived.is_empty() || self.broker_finished
    }

    /// Whether the broker's side still holds it open.
    pub fn is_live(&self) -> bool {
        matches!(self.place, Place::Backlog(_) | Place::At(..) | Place::Moving { .. })
    }
}
