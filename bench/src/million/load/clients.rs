//! The table of a shard's clients, 16 bytes each, and the way back from a connection to its client, 4 bytes.

use std::ops::{Index, IndexMut};

use shards::ConnectionId;

/// Where a client is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Phase {
    /// Not connected; a fill, a retry or a storm may be about to.
    #[default]
    Away,
    /// Waits for TCP.
    Connecting,
    /// Waits for CONNACK.
    Connack,
    /// Waits for SUBACKs.
    Suback,
    /// Connected and subscribed.
    Held,
    /// Cut by us, to come back.
    Cut,
    /// Sent away by us, not to come back.
    Leaving,
    /// Cut off by the broker, or given up.
    Lost,
}

/// What one client needs. Two of these fit a quarter of a cache line: random choice touches one line a client.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Client {
    /// Its connection as bits; 0: none.
    pub(super) connection: u64,
    /// Second of the run, wrapping, in which it sent last.
    pub(super) sent_s: u16,
    pub(super) phase: Phase,
    /// Attempts that failed since it was last held.
    pub(super) tries: u8,
    /// SUBACKs that have come.
    pub(super) subacks: u8,
    /// A PINGREQ for its Keep Alive is unanswered.
    pub(super) pinged: bool,
}

const _: () = assert!(size_of::<Client>() == 16);

/// What a connection is to its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The one.
    First,
    /// A second one that is to take over.
    Second,
    /// One that was taken over and is to be closed by the broker.
    Old,
}

const NONE: u32 = u32::MAX;
const SECOND: u32 = 1 << 30;
const OLD: u32 = 1 << 31;

/// All clients of a shard, by local number.
#[derive(Debug)]
pub(super) struct Clients {
    clients: Vec<Client>,
    by_index: Vec<u32>,
}

impl Clients {
    /// `len` clients, and room for connections with an index below `indices`.
    pub(super) fn new(len: usize, indices: usize) -> Self {
        Self { clients: vec![Client::default(); len], by_index: vec![NONE; indices] }
    }

    /// How many there may be.
    pub(super) fn len(&self) -> u32 {
        self.clients.len() as u32
    }

    /// The client if there may be one with this local number.
    pub(super) fn find(&self, local: u32) -> Option<&Client> {
        self.clients.get(local as usize)
    }

    /// Whose connection it is.
    pub(super) fn owner(&self, connection: ConnectionId) -> Option<(u32, Role)> {
        let word = *self.by_index.get(connection.index() as usize)?;
        match word {
            NONE => None,
            word if word & OLD != 0 => Some((word & !OLD, Role::Old)),
            word if word & SECOND != 0 => Some((word & !SECOND, Role::Second)),
            word => Some((word, Role::First)),
        }
    }

    /// Notes whose connection it is.
    pub(super) fn own(&mut self, connection: ConnectionId, local: u32, role: Role) {
        let bits = match role {
            Role::First => 0,
            Role::Second => SECOND,
            Role::Old => OLD,
        };
        if let Some(word) = self.by_index.get_mut(connection.index() as usize) {
            *word = local | bits;
        }
    }

    /// The connection is gone.
    pub(super) fn disown(&mut self, connection: ConnectionId) {
        if let Some(word) = self.by_index.get_mut(connection.index() as usize) {
            *word = NONE;
        }
    }
}

impl Index<u32> for Clients {
    type Output = Client;
    fn index(&self, local: u32) -> &Client {
        &self.clients[local as usize]
    }
}

impl IndexMut<u32> for Clients {
    fn index_mut(&mut self, local: u32) -> &mut Client {
        &mut self.clients[local as usize]
    }
}

/// Clients below `total` that belong to shard `shard` of `shards`.
pub(crate) fn share(total: u32, shard: u16, shards: u16) -> u32 {
    let (shard, shards) = (u32::from(shard), u32::from(shards));
    total.saturating_sub(shard).div_ceil(shards)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_survive_the_table() {
        let mut clients = Clients::new(10, 4);
        let id = |index: u64| ConnectionId::from_bits(1 << 32 | index);
        assert_eq!(clients.owner(id(2)), None);
        for role in [Role::First, Role::Second, Role::Old] {
            clients.own(id(2), 9, role);
            assert_eq!(clients.owner(id(2)), Some((9, role)));
        }
        clients.disown(id(2));
        assert_eq!(clients.owner(id(2)), None);
        assert_eq!(clients.owner(id(4_000)), None);
    }

    #[test]
    fn shares_add_up() {
        for total in [0, 1, 2, 3, 1_000_001] {
            assert_eq!((0..3).map(|s| share(total, s, 3)).sum::<u32>(), total);
        }
        assert_eq!((share(3, 0, 2), share(3, 1, 2)), (2, 1));
    }
}
