//! Connections as `shards` names them and as the broker does, and where one came in.

use shards::Accepted;

use crate::broker::Origin;
use crate::session::ConnectionId;

#[inline]
pub(super) fn ours(connection: shards::ConnectionId) -> ConnectionId {
    ConnectionId { index: connection.index(), generation: connection.generation() }
}

#[inline]
pub(super) fn theirs(connection: ConnectionId) -> shards::ConnectionId {
    shards::ConnectionId::from_bits(u64::from(connection.generation) << 32 | u64::from(connection.index))
}

pub(super) fn origin(accepted: Accepted) -> Origin {
    Origin { listener: accepted.listener, remote: accepted.remote, over_capacity: accepted.over_capacity }
}
