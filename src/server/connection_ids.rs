//! A connection has one name in two types: the broker knows no `shards`.

use crate::session::ConnectionId;

/// The broker's name of a connection.
#[inline]
pub(super) fn ours(connection: shards::ConnectionId) -> ConnectionId {
    ConnectionId { index: connection.index(), generation: connection.generation() }
}

/// The machine's name of a connection.
#[inline]
pub(super) fn theirs(connection: ConnectionId) -> shards::ConnectionId {
    shards::ConnectionId::from_bits(u64::from(connection.generation) << 32 | u64::from(connection.index))
}
