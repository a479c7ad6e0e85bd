//! One connection's record, and the shard's table of them: chunks that are made when a slot of theirs is first
//! used. An idle connection costs this record and nothing else in user space.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::application::{Accepted, ConnectionId};

/// No output is pending.
pub(crate) const NONE: u32 = u32::MAX;
const CHUNK: usize = 1024;
/// Generations have 24 bits, as in the `user_data` of a submission.
const GENERATION_MASK: u32 = 0x00FF_FFFF;

/// What a slot is doing.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub(crate) enum State {
    /// Nothing lives here.
    #[default]
    Free,
    /// The application's connection.
    Open,
    /// Closes once its output has left.
    Flushing,
    /// On its way to another shard.
    HandingOver,
    /// Close has been submitted; its completion frees the slot.
    Closing,
}

pub(crate) mod flag {
    //! Bits of [`super::Connection::flags`].
    /// The application does not want to read.
    pub(crate) const PAUSED: u16 = 1;
    /// The socket has, or may have, unread bytes or an unread end.
    pub(crate) const READABLE: u16 = 1 << 1;
    /// Stands in the queue for a receive buffer.
    pub(crate) const QUEUED: u16 = 1 << 2;
    /// A RECV is submitted.
    pub(crate) const RECEIVING: u16 = 1 << 3;
    /// Bytes that were received while paused wait in the stash.
    pub(crate) const STASHED: u16 = 1 << 4;
    /// Accepted beyond the maximum.
    pub(crate) const OVER_CAPACITY: u16 = 1 << 5;
    /// The address is IPv6.
    pub(crate) const V6: u16 = 1 << 6;
    /// The peer has closed: flush once, then close with `Closed::Peer`.
    pub(crate) const PEER_CLOSED: u16 = 1 << 7;
    /// No poll is armed yet: the first RECV comes before it.
    pub(crate) const UNARMED: u16 = 1 << 8;
    /// Its listener's filter did not let it in: the application has never heard of it.
    pub(crate) const FILTERED: u16 = 1 << 9;
}

/// One slot of a ring's descriptor table.
#[derive(Default)]
pub(crate) struct Connection {
    pub(crate) generation: u32,
    /// Its output, or [`NONE`].
    pub(crate) output: u32,
    address: [u8; 16],
    port: u16,
    pub(crate) listener: u16,
    /// The receive buffer of the RECV under way.
    pub(crate) buffer: u16,
    pub(crate) flags: u16,
    pub(crate) state: State,
    /// How many times unread bytes were thrown away before it is closed.
    pub(crate) discards: u8,
}

const _: () = assert!(size_of::<Connection>() <= 48);

impl Connection {
    /// Came by a Unix socket: no peer of TCP has port 0.
    pub(crate) fn is_unix(&self) -> bool {
        self.port == 0
    }

    /// Begins the life of a new connection in this slot.
    pub(crate) fn begin(&mut self, accepted: &Accepted) {
        self.generation = match (self.generation + 1) & GENERATION_MASK {
            0 => 1,
            generation => generation,
        };
        self.state = State::Open;
        self.output = NONE;
        self.buffer = 0;
        self.discards = 0;
        self.flags = if accepted.over_capacity { flag::OVER_CAPACITY } else { 0 };
        self.listener = accepted.listener;
        self.port = accepted.remote.port();
        self.address = match accepted.remote.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => {
                self.flags |= flag::V6;
                v6.octets()
            }
        };
    }

    /// Where it came from.
    pub(crate) fn accepted(&self) -> Accepted {
        let v6 = Ipv6Addr::from(self.address);
        let ip = if self.has(flag::V6) { IpAddr::V6(v6) } else { v6.to_canonical() };
        Accepted {
            listener: self.listener,
            remote: SocketAddr::new(ip, self.port),
            over_capacity: self.has(flag::OVER_CAPACITY),
        }
    }

    pub(crate) fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    pub(crate) fn set(&mut self, flag: u16) {
        self.flags |= flag;
    }

    pub(crate) fn clear(&mut self, flag: u16) {
        self.flags &= !flag;
    }
}

/// All slots of all rings of one shard.
pub(crate) struct Table {
    chunks: Vec<Option<Box<[Connection]>>>,
}

impl Table {
    /// A table for `slots` connections; nothing but the list of chunks is allocated.
    pub(crate) fn new(slots: usize) -> Self {
        Self { chunks: (0..slots.div_ceil(CHUNK)).map(|_| None).collect() }
    }

    /// The slot at `index`, whatever lives there. `None` beyond the table and where nothing ever lived.
    pub(crate) fn slot(&mut self, index: u32) -> Option<&mut Connection> {
        self.chunks
            .get_mut(index as usize / CHUNK)?
            .as_deref_mut()
            .map(|chunk| &mut chunk[index as usize % CHUNK])
    }

    /// The slot at `index`, made if nothing ever lived there. `None` beyond the table.
    pub(crate) fn slot_or_new(&mut self, index: u32) -> Option<&mut Connection> {
        let chunk = self.chunks.get_mut(index as usize / CHUNK)?;
        let chunk = chunk.get_or_insert_with(|| (0..CHUNK).map(|_| Connection::default()).collect());
        Some(&mut chunk[index as usize % CHUNK])
    }

    /// The connection `id` in whatever state, unless the identifier is stale.
    pub(crate) fn find(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.slot(id.index).filter(|c| c.generation == id.generation && c.state != State::Free)
    }

    /// As [`Table::find`], to look only.
    pub(crate) fn look(&self, id: ConnectionId) -> Option<&Connection> {
        let chunk = self.chunks.get(id.index as usize / CHUNK)?.as_deref()?;
        let connection = &chunk[id.index as usize % CHUNK];
        (connection.generation == id.generation && connection.state != State::Free).then_some(connection)
    }

    /// The connection `id` if it is the application's (open).
    pub(crate) fn open(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.slot(id.index).filter(|c| c.generation == id.generation && c.state == State::Open)
    }

    /// Number of indices.
    pub(crate) fn len(&self) -> u32 {
        (self.chunks.len() * CHUNK) as u32
    }
}
