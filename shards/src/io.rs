//! What an application can ask of its shard, during a callback.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use crate::application::{Application, Close, ConnectionId, ShardId};
use crate::shard::Core;

/// The shard, as a callback sees it. Nothing asked for here happens at once: sockets and mailboxes are
/// served at the end of the turn.
pub struct Io<'a, A: Application> {
    pub(crate) core: &'a mut Core<A>,
}

impl<A: Application> Io<'_, A> {
    /// Milliseconds since the shards were started, monotonic; read once per turn, the same epoch on all.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.core.net.now_ms
    }

    /// Microseconds since the shards were started, monotonic; read now, the same epoch on all.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        self.core.now_us()
    }

    /// Ends the shard's next wait at this moment of [`Io::now_us`] at the latest; a turn follows, with
    /// `turn_end` in it. For a schedule that is finer than [`Io::set_timer`]. The last call before the wait counts.
    pub fn wake_at_us(&mut self, at_us: u64) {
        self.core.wake_at_us(at_us);
    }

    /// This shard.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        self.core.shard
    }

    /// Number of shards.
    #[must_use]
    pub fn shards(&self) -> u16 {
        self.core.shards
    }

    /// Number of connection indices on this shard: every [`ConnectionId::index`] is below.
    #[must_use]
    pub fn connection_indices(&self) -> u32 {
        self.core.net.table.len()
    }

    /// The buffer to append output to. All output of a turn leaves in one send. For an identifier that is
    /// stale, closing or being handed over, a buffer that is thrown away.
    pub fn output(&mut self, connection: ConnectionId) -> &mut Vec<u8> {
        self.core.net.output(connection)
    }

    /// Appends a payload by reference, in order with [`Io::output`]. Small ones (below 512 bytes) are copied.
    pub fn output_shared(&mut self, connection: ConnectionId, bytes: Bytes) {
        self.core.net.output_shared(connection, bytes);
    }

    /// Bytes that the socket has not taken, those of this turn included.
    #[must_use]
    pub fn outbound_len(&self, connection: ConnectionId) -> usize {
        self.core.net.outbound_len(connection)
    }

    /// Asks for `drained` once everything queued has left, also if the socket takes it at once (of which
    /// nothing is told otherwise): for a source that goes on as the reader keeps up. `false`: nothing is
    /// queued, `drained` will not come.
    pub fn want_drained(&mut self, connection: ConnectionId) -> bool {
        self.core.net.want_drained(connection)
    }

    /// Stops reading: no `received` until [`Io::resume`]. A reset is still noticed; an end (FIN) only after
    /// [`Io::resume`], for the application may not be done with what it was given before.
    pub fn pause(&mut self, connection: ConnectionId) {
        self.core.net.pause(connection);
    }

    /// Reads again.
    pub fn resume(&mut self, connection: ConnectionId) {
        self.core.net.resume(connection);
    }

    /// Closes; `closed` follows, with [`crate::Closed::Local`] if all goes well.
    pub fn close(&mut self, connection: ConnectionId, how: Close) {
        self.core.net.close(connection, how);
    }

    /// Opens a TCP connection to `to`, from the address `from` (its port is chosen while connecting). `connected` or
    /// `connect_failed` follows with `key`, never from within this call; on a shard that is ending, nothing does. Counts
    /// as one of `Config::connections_max`.
    pub fn connect(&mut self, to: SocketAddr, from: Option<IpAddr>, key: u64) {
        self.core.net.connect(to, from, key);
    }

    /// Gives the connection to shard `to`, where `handed_over` is called with `hand_over` and a new
    /// identifier; here the old one is stale from now on. Bytes not yet received are received there.
    ///
    /// Everything sent to `to` before and after keeps its order with it. If there is no
    /// room at `to`, if it is this shard itself, or if output of the connection is pending,
    /// `hand_over_failed` is called and nothing else has changed. A stale identifier drops `hand_over`.
    pub fn hand_over(&mut self, connection: ConnectionId, to: ShardId, hand_over: A::HandOver) {
        self.core.hand_over(connection, to, hand_over);
    }

    /// Takes one credit for one message towards `to`. After `false`, `credits_available` is called once a
    /// credit towards some shard is back.
    #[must_use]
    pub fn reserve(&mut self, to: ShardId) -> bool {
        self.core.post.reserve(to.0)
    }

    /// Gives a credit back that was not used.
    pub fn unreserve(&mut self, to: ShardId) {
        self.core.post.unreserve(to.0);
    }

    /// Sends with a credit, which was reserved before and which the receiver gives back. To a shard that has ended it is dropped.
    pub fn send(&mut self, to: ShardId, message: A::Message) {
        self.core.post.send(to.0, crate::mailbox::Letter::Message(message));
    }

    /// Sends without credit: never refused, in order with everything else that this shard sends to `to`. Bounded by
    /// what the application has outstanding.
    pub fn send_control(&mut self, to: ShardId, message: A::Message) {
        self.core.post.send(to.0, crate::mailbox::Letter::Message(message));
    }

    /// The application is done with `n` messages that were sent with credit by `from`.
    pub fn release(&mut self, from: ShardId, n: u32) {
        self.core.post.release(from.0, n);
    }

    /// Calls `timer` with `key` once, at `at_ms` or up to about 32 ms later, never before. Not cancellable.
    pub fn set_timer(&mut self, key: u64, at_ms: u64) {
        self.core.wheel.set(key, at_ms);
    }

    /// No more connections are accepted on this shard, its listeners are closed.
    pub fn stop_accepting(&mut self) {
        self.core.net.stop_accepting();
    }

    /// CPU time that the shard's thread has used, microseconds; renewed about ten times a second.
    #[must_use]
    pub fn thread_cpu_us(&self) -> u64 {
        self.core.net.counts.thread_cpu_us
    }

    /// Turns that took longer than 5 ms, the time in which the thread was not on a CPU included.
    #[must_use]
    pub fn slow_turns(&self) -> u64 {
        self.core.net.counts.slow_turns
    }

    /// Messages of other shards that wait for a later turn.
    #[must_use]
    pub fn mailbox_depth(&self) -> u64 {
        self.core.net.counts.mailbox_depth
    }

    /// Connections that the filter of their listener did not let in.
    #[must_use]
    pub fn filtered(&self) -> u64 {
        self.core.net.counts.filtered
    }

    /// Connections on this shard, closing ones included.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.core.net.live
    }

    /// Ends this shard: stops accepting, closes every connection after what is queued for it has left
    /// (within the flush timeout), then the thread ends. Messages are still handled meanwhile.
    pub fn exit(&mut self) {
        self.core.exit();
    }
}
