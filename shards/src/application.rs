//! What a program gives to a shard, and the words both use: who, where from, why closed.
//! The callbacks of one shard all run on its own thread, one after the other.

use std::io;
use std::net::SocketAddr;

use crate::Io;

/// One shard of the process: `0..Config::shards`.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ShardId(pub u16);

/// One connection on one shard. The index is dense and small (`ring * ring size + slot`), so an application
/// keeps what it knows of a connection in a table by index; the generation tells the connections that use
/// one index after the other apart.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct ConnectionId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl ConnectionId {
    /// Place in the shard's table of connections, below the table's size.
    pub fn index(self) -> u32 {
        self.index
    }

    /// Which of the connections that have used this index; 24 bits, never 0.
    pub fn generation(self) -> u32 {
        self.generation
    }

    /// Both as one number; never 0.
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The inverse of [`ConnectionId::to_bits`]. Any number is safe: an identifier that names no connection
    /// is treated as stale.
    pub fn from_bits(bits: u64) -> Self {
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

/// Where a connection came from.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// Index of the listener in `Config::listeners`; `u16::MAX` where the connection was opened from here.
    pub listener: u16,
    /// The other end; 127.0.0.1:0 for one of a Unix socket. An IPv4 address that came through an IPv6 socket is given as IPv4; scope and flow of
    /// an IPv6 address are not kept.
    pub remote: SocketAddr,
    /// The process (or the listener) holds its maximum already: the application is expected to answer with
    /// a refusal and close. Such connections are few (`Config::refusals`).
    pub over_capacity: bool,
}

/// How to close.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Close {
    /// After what is queued has left, within `Config::flush_timeout_ms`. Nothing more is received.
    Flush,
    /// Now; what is queued is thrown away.
    Abort,
}

/// Why a connection is gone.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Closed {
    /// The peer closed its side (FIN). What was queued for it has been handed to the socket if it fitted.
    Peer,
    /// The peer reset the connection.
    Reset,
    /// The socket failed in another way.
    Error(io::ErrorKind),
    /// The application closed it.
    Local,
    /// The application closed it with [`Close::Flush`] and the peer did not take the rest in time.
    FlushTimeout,
}

/// The program on one shard. Made on the shard's own thread, so it need not be `Send`.
///
/// A turn of the shard calls, in this order: what the sockets brought (`accepted`, `received`, `drained`,
/// `closed`, `handed_over`), `message`, `credits_available`, `timer`, `turn_end`. Everything that was put
/// into outputs and mailboxes leaves after `turn_end`.
pub trait Application: Sized + 'static {
    /// What shards and the outside send to each other.
    type Message: Send + 'static;
    /// What travels with a connection to another shard.
    type HandOver: Send + 'static;

    /// A connection has been accepted on this shard.
    fn accepted(&mut self, io: &mut Io<'_, Self>, connection: ConnectionId, accepted: Accepted);

    /// A connection that [`Io::connect`] asked for is open; from here on it is as one that was accepted.
    fn connected(&mut self, _io: &mut Io<'_, Self>, _connection: ConnectionId, _key: u64) {}

    /// A connection that [`Io::connect`] asked for could not be opened. `StorageFull`: the shard or the process holds
    /// its maximum of connections.
    fn connect_failed(&mut self, _io: &mut Io<'_, Self>, _key: u64, _error: io::Error) {}

    /// Bytes came in. `bytes` is never empty and lives only for this call.
    fn received(&mut self, io: &mut Io<'_, Self>, connection: ConnectionId, bytes: &[u8]);

    /// The peer of a connection that is paused has closed its side, and all that it sent before has been received. Once it
    /// is read again it is `closed`; an application that waits for nothing but its peer's good will may close it now. Not
    /// told of a peer that did so before the pause.
    fn peer_finished(&mut self, _io: &mut Io<'_, Self>, _connection: ConnectionId) {}

    /// All output has left, after it once did not fit into the socket or [`Io::want_drained`] asked for this.
    /// Output that the socket takes at once is not told otherwise.
    fn drained(&mut self, io: &mut Io<'_, Self>, connection: ConnectionId);

    /// The connection is gone. Called exactly once for each connection that was accepted here, connected from here or
    /// handed over to here, unless it was handed over elsewhere; no callback names it afterwards.
    fn closed(&mut self, io: &mut Io<'_, Self>, connection: ConnectionId, cause: Closed);

    /// A connection has come from another shard, under a new identifier. Bytes that it brought follow in
    /// `received`.
    fn handed_over(
        &mut self,
        io: &mut Io<'_, Self>,
        connection: ConnectionId,
        accepted: Accepted,
        hand_over: Self::HandOver,
    );

    /// The target of a hand-over is full or gone: the connection is still here, as it was before.
    fn hand_over_failed(
        &mut self,
        io: &mut Io<'_, Self>,
        connection: ConnectionId,
        hand_over: Self::HandOver,
    );

    /// A message from a shard, or (`None`) from a [`crate::Handle`].
    fn message(&mut self, io: &mut Io<'_, Self>, from: Option<ShardId>, message: Self::Message);

    /// After a refused [`Io::reserve`]: credit towards some shard has come back.
    fn credits_available(&mut self, io: &mut Io<'_, Self>);

    /// A timer is due.
    fn timer(&mut self, io: &mut Io<'_, Self>, key: u64);

    /// All callbacks of this turn have been made. `true`: more work is waiting, do not sleep.
    fn turn_end(&mut self, io: &mut Io<'_, Self>) -> bool;
}
