//! The connections of a shard that have layers between socket and MQTT (`transport`): their states, and what is to be
//! wrapped at the end of the turn. Plain connections have no entry here. The states move with a hand-over.

use std::sync::Arc;

use shards::{ConnectionId, Io};

use super::application::Application;
use super::hand_over::Waiting;
use crate::transport::tls::Acceptor;
use crate::transport::{Buffers, End, Layers, Transport};

/// Places of a chunk of the table.
const CHUNK: usize = 1024;
/// Connections with staged output before what is staged goes down early: bounds the memory of a fan-out.
const DIRTY_MAX: usize = 2048;
/// Staged bytes of a connection that go down before the end of the turn: bounds a frame, and what is moved to append.
const STAGED_MAX: usize = 64 * 1024;
/// Capacity of the staging buffers that wait to be used again.
const POOL_BYTES_MAX: usize = 256 * 1024;
/// Capacity of a new one: an acknowledgement or a small message.
const FRESH_CAPACITY: usize = 128;
/// Capacity of the largest one that is kept.
const POOLED_CAPACITY_MAX: usize = 16 * 1024;

/// A connection with layers.
#[derive(Debug)]
pub(super) struct Wrapped {
    generation: u32,
    /// The layers themselves.
    pub(super) transport: Transport,
    /// Output of the broker in this turn.
    staged: Vec<u8>,
    /// Bytes with which its handshake waits for its turn.
    pub(super) unread: Option<Box<[u8]>>,
    /// Its way to its home shard, until what is pending for it has left.
    pub(super) waiting: Option<Box<Waiting>>,
    /// The broker can't take more of it now.
    pub(super) is_paused: bool,
    /// Nothing more can be received: once the broker has taken what came before, it is told.
    pub(super) is_ended: bool,
}

// With 8 bytes of the table and the allocator's rounding: the aim is 600 bytes beyond a plain connection.
const _: () = assert!(size_of::<Wrapped>() <= 136);

impl Wrapped {
    /// Takes bytes of the socket through the layers. False: they were over before, and these are read in spite of the pause
    /// that keeps the broker from knowing it. That stays so, also where a layer takes no notice of more.
    pub(super) fn receive(
        &mut self,
        bytes: &[u8],
        is_congested: bool,
        into: &mut Buffers,
    ) -> Result<bool, End> {
        if self.is_ended {
            return Ok(false);
        }
        let outcome = self.transport.receive(bytes, is_congested, into);
        // At once, so that it is not forgotten where the connection moves away.
        self.is_ended = outcome.is_err();
        outcome.map(|()| true)
    }
}

#[derive(Debug)]
struct Chunk {
    len: usize,
    places: Box<[Option<Box<Wrapped>>]>,
}

/// All connections of a shard that have layers.
#[derive(Debug)]
pub(super) struct WrappedConnections {
    /// By listener.
    listeners: Arc<[Layers]>,
    /// A bit for each index that has an entry, so that the many others are told apart by one load from little memory.
    bits: Vec<u64>,
    /// By index; a chunk is there while it has an entry.
    chunks: Vec<Option<Chunk>>,
    /// Those that may have staged output.
    dirty: Vec<ConnectionId>,
    /// Ended ones that the broker has resumed.
    pub(super) ended: Vec<ConnectionId>,
    pool: Vec<Vec<u8>>,
    pooled: usize,
    sink: Vec<u8>,
}

impl WrappedConnections {
    pub(super) fn new(listeners: Arc<[Layers]>) -> Self {
        Self {
            listeners,
            bits: Vec::new(),
            chunks: Vec::new(),
            dirty: Vec::new(),
            ended: Vec::new(),
            pool: Vec::new(),
            pooled: 0,
            sink: Vec::new(),
        }
    }

    /// New connections get layers as these say, with the certificates that are in effect.
    pub(super) fn set_listeners(&mut self, listeners: Arc<[Layers]>) {
        let acceptors: Vec<_> = self.listeners.iter().map(|layers| layers.tls.clone()).collect();
        self.listeners = listeners;
        self.set_acceptors(&acceptors);
    }

    /// New connections get these certificates.
    pub(super) fn set_acceptors(&mut self, acceptors: &[Option<Arc<Acceptor>>]) {
        let acceptors = acceptors.iter().cloned().chain(std::iter::repeat(None));
        let with = |(layers, tls): (&Layers, _)| Layers { tls, ..layers.clone() };
        self.listeners = self.listeners.iter().zip(acceptors).map(with).collect();
    }

    /// Nothing is to be done at the end of the turn.
    pub(super) fn is_idle(&self) -> bool {
        self.dirty.is_empty() && self.ended.is_empty()
    }

    /// Begins the layers of a new connection, if its listener has any.
    pub(super) fn accepted(&mut self, connection: ConnectionId, listener: u16) {
        let layers = self.listeners.get(usize::from(listener)).filter(|layers| !layers.is_plain());
        if let Some(layers) = layers {
            let transport = layers.begin();
            self.adopt(connection, transport, false);
        }
    }

    /// Takes over a connection with the state that it has reached.
    pub(super) fn adopt(&mut self, connection: ConnectionId, transport: Transport, is_ended: bool) {
        let (at, place) = split(connection);
        if self.chunks.len() <= at {
            self.chunks.resize_with(at + 1, || None);
        }
        let Some(chunk) = self.chunks.get_mut(at) else { return };
        let chunk = chunk.get_or_insert_with(|| Chunk { len: 0, places: (0..CHUNK).map(|_| None).collect() });
        let Some(place) = chunk.places.get_mut(place) else { return };
        let wrapped = Wrapped {
            generation: connection.generation(),
            transport,
            staged: Vec::new(),
            unread: None,
            waiting: None,
            is_paused: false,
            is_ended,
        };
        if place.replace(Box::new(wrapped)).is_none() {
            chunk.len += 1;
        }
        let (word, mask) = bit(connection);
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        if let Some(word) = self.bits.get_mut(word) {
            *word |= mask;
        }
    }

    /// The entry of a connection. Plain connections pay for one test of a bit.
    #[inline]
    pub(super) fn find(&mut self, connection: ConnectionId) -> Option<&mut Wrapped> {
        let (word, mask) = bit(connection);
        if self.bits.get(word).is_none_or(|word| word & mask == 0) {
            return None;
        }
        lookup(&mut self.chunks, connection)
    }

    /// Takes the entry of a connection out. What is staged for it is thrown away.
    pub(super) fn remove(&mut self, connection: ConnectionId) -> Option<Box<Wrapped>> {
        self.find(connection)?;
        let (at, place) = split(connection);
        let slot = self.chunks.get_mut(at)?;
        let chunk = slot.as_mut()?;
        let mut wrapped = chunk.places.get_mut(place)?.take()?;
        chunk.len -= 1;
        if chunk.len == 0 {
            *slot = None;
        }
        let (word, mask) = bit(connection);
        if let Some(word) = self.bits.get_mut(word) {
            *word &= !mask;
        }
        self.give(std::mem::take(&mut wrapped.staged));
        Some(wrapped)
    }

    /// The buffer that takes the broker's output for a connection that has an entry.
    pub(super) fn staged(&mut self, connection: ConnectionId, io: &mut Io<'_, Application>) -> &mut Vec<u8> {
        if self.dirty.len() >= DIRTY_MAX {
            self.flush(io);
        } else if self.staged_len(connection) >= STAGED_MAX {
            self.flush_one(connection, io);
        }
        let Some(wrapped) = lookup(&mut self.chunks, connection) else {
            self.sink.clear();
            return &mut self.sink;
        };
        if wrapped.staged.capacity() == 0 {
            wrapped.staged = self.pool.pop().unwrap_or_else(|| Vec::with_capacity(FRESH_CAPACITY));
            self.pooled = self.pooled.saturating_sub(wrapped.staged.capacity());
            self.dirty.push(connection);
        }
        &mut wrapped.staged
    }

    /// Bytes of the broker for a connection that its layers have not seen.
    pub(super) fn staged_len(&mut self, connection: ConnectionId) -> usize {
        self.find(connection).map_or(0, |wrapped| wrapped.staged.len())
    }

    /// The end of a turn: what is staged goes through the layers to the sockets, a frame a connection.
    pub(super) fn flush(&mut self, io: &mut Io<'_, Application>) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for connection in dirty.drain(..) {
            self.flush_one(connection, io);
        }
        dirty.shrink_to(DIRTY_MAX);
        self.dirty = dirty;
    }

    /// What is staged for one connection goes through its layers.
    pub(super) fn flush_one(&mut self, connection: ConnectionId, io: &mut Io<'_, Application>) {
        let Some(wrapped) = self.find(connection) else { return };
        let staged = std::mem::take(&mut wrapped.staged);
        if !staged.is_empty()
            && let Err(end) = wrapped.transport.send(&staged, io.output(connection))
        {
            tracing::debug!(index = connection.index(), %end, "closing the connection");
            wrapped.is_ended = true;
            self.ended.push(connection);
        }
        self.give(staged);
    }

    /// The connection is about to be closed in order: what is staged leaves, then the farewells of the layers.
    pub(super) fn say_farewell(&mut self, connection: ConnectionId, io: &mut Io<'_, Application>) {
        self.flush_one(connection, io);
        if let Some(mut wrapped) = self.remove(connection) {
            let mut farewell = Vec::new();
            wrapped.transport.close(&mut farewell);
            if !farewell.is_empty() {
                io.output(connection).append(&mut farewell);
            }
        }
    }

    fn give(&mut self, mut buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        if (1..=POOLED_CAPACITY_MAX).contains(&capacity) && self.pooled + capacity <= POOL_BYTES_MAX {
            buffer.clear();
            self.pooled += capacity;
            self.pool.push(buffer);
        }
    }
}

fn lookup(chunks: &mut [Option<Chunk>], connection: ConnectionId) -> Option<&mut Wrapped> {
    let (at, place) = split(connection);
    let place = chunks.get_mut(at)?.as_mut()?.places.get_mut(place)?;
    place.as_deref_mut().filter(|wrapped| wrapped.generation == connection.generation())
}

/// The chunk of a connection's index and the place in it.
fn split(connection: ConnectionId) -> (usize, usize) {
    let index = connection.index() as usize;
    (index / CHUNK, index % CHUNK)
}

/// The word of `bits` that has a connection's index, and its bit there.
#[inline]
fn bit(connection: ConnectionId) -> (usize, u64) {
    (connection.index() as usize / 64, 1 << (connection.index() % 64))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::transport::websocket::Service;

    #[test]
    fn who_has_an_entry_is_found_and_nobody_else() {
        let proxied = Layers { proxy: true, ..Layers::default() };
        let mut wrapped = WrappedConnections::new([Layers::default(), proxied].into());
        let id = |generation: u64, index: u64| ConnectionId::from_bits(generation << 32 | index);
        assert!(wrapped.find(id(1, 0)).is_none());
        let indices = [0, 63, 64, 1023, 1024, 70_000];
        indices.iter().for_each(|&index| wrapped.accepted(id(1, index), 1));
        wrapped.accepted(id(1, 65), 0);
        for index in (0..2_000).chain(69_990..71_000) {
            let expected = indices.contains(&index);
            assert_eq!(wrapped.find(id(1, index)).is_some(), expected, "{index}");
            assert!(wrapped.find(id(2, index)).is_none(), "another life of {index}");
        }
        assert!(wrapped.remove(id(2, 63)).is_none());
        for index in indices {
            assert!(wrapped.find(id(1, index)).is_some());
            assert!(wrapped.remove(id(1, index)).is_some() && wrapped.remove(id(1, index)).is_none());
            assert!(wrapped.find(id(1, index)).is_none());
            wrapped.accepted(id(2, index), 1);
            assert!(wrapped.find(id(2, index)).is_some() && wrapped.remove(id(2, index)).is_some());
        }
        assert!(wrapped.bits.iter().all(|word| *word == 0) && wrapped.chunks.iter().all(Option::is_none));
    }

    #[test]
    fn what_is_read_in_spite_of_a_pause_does_not_undo_the_end() {
        let service = Service { path: "/".into(), origins: vec![], packet_bytes_max: 1000, scheme: "ws" };
        let layers = Layers { websocket: Some(Arc::new(service)), ..Layers::default() };
        let mut connections = WrappedConnections::new([layers].into());
        let id = ConnectionId::from_bits(1 << 32);
        connections.accepted(id, 0);
        let wrapped = connections.find(id).unwrap();
        let mut buffers = Buffers::default();
        let request = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\
                       Sec-WebSocket-Version: 13\r\n\r\n";
        assert_eq!(wrapped.receive(request.as_bytes(), false, &mut buffers), Ok(true));
        // A binary frame, then one that closes: what came before the end is there, and the broker paused.
        let frames = [0x82, 0x82, 0, 0, 0, 0, 0xC0, 0x00, 0x88, 0x80, 0, 0, 0, 0];
        assert_eq!(wrapped.receive(&frames, false, &mut buffers), Err(End::Peer));
        assert_eq!((buffers.up.as_slice(), wrapped.is_ended), (&[0xC0, 0x00][..], true));
        wrapped.is_paused = true;
        for more in [&frames[..], b"anything", b""] {
            assert_eq!(wrapped.receive(more, false, &mut buffers), Ok(false));
            assert!(wrapped.is_ended && buffers.up.len() == 2);
        }
    }
}
