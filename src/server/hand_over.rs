//! Connections on their way to their home shards: what travels with one, and the wait of those with layers, whose handshake
//! may have left output that has to leave from here (`shards` moves no connection with pending output).

use shards::{Close, ConnectionId, Io, ShardId};

use super::application::Application;
use super::wrapped::WrappedConnections;
use crate::broker;
use crate::transport::Transport;

/// How long a client may take to take the end of its handshake.
const WAIT_MS: u64 = 5_000;
/// Timers with this bit are not the broker's.
const TIMER: u64 = 1 << 63;

/// What travels with a connection to its home shard.
#[derive(Debug)]
pub(super) struct HandOver {
    pub(super) broker: broker::HandOver,
    /// The layers, where there are any, and whether they have ended.
    pub(super) layers: Option<Box<(Transport, bool)>>,
}

/// A hand-over that waits for output to leave.
#[derive(Debug)]
pub(super) struct Waiting {
    to: ShardId,
    hand_over: broker::HandOver,
}

/// Sends a connection to `to` as soon as nothing is pending for it.
pub(super) fn send(
    wrapped: &mut WrappedConnections,
    io: &mut Io<'_, Application>,
    connection: ConnectionId,
    to: ShardId,
    hand_over: broker::HandOver,
) {
    wrapped.flush_one(connection, io);
    if let Some(state) = wrapped.find(connection)
        && io.outbound_len(connection) > 0
    {
        state.waiting = Some(Box::new(Waiting { to, hand_over }));
        io.pause(connection);
        // Something is pending, so it will come.
        let _ = io.want_drained(connection);
        io.set_timer(TIMER | connection.to_bits(), io.now_ms() + WAIT_MS);
        return;
    }
    let layers = wrapped.remove(connection).map(|state| Box::new((state.transport, state.is_ended)));
    io.hand_over(connection, to, HandOver { broker: hand_over, layers });
}

/// Everything has left: a connection that waited for this goes on. `false`: it did not wait.
pub(super) fn drained(
    wrapped: &mut WrappedConnections,
    io: &mut Io<'_, Application>,
    connection: ConnectionId,
) -> bool {
    let waiting = wrapped.find(connection).and_then(|state| state.waiting.take());
    let Some(waiting) = waiting else { return false };
    let Waiting { to, hand_over } = *waiting;
    send(wrapped, io, connection, to, hand_over);
    true
}

/// A timer that may be one of this module. `false`: it is the broker's.
pub(super) fn timer(wrapped: &mut WrappedConnections, io: &mut Io<'_, Application>, key: u64) -> bool {
    if key & TIMER == 0 {
        return false;
    }
    let connection = ConnectionId::from_bits(key & !TIMER);
    if wrapped.find(connection).is_some_and(|state| state.waiting.is_some()) {
        tracing::debug!(
            index = connection.index(),
            "closing: the client does not take the end of its handshake"
        );
        wrapped.remove(connection);
        io.close(connection, Close::Abort);
    }
    true
}
