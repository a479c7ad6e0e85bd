//! Who lives where: the shard of a session, of a topic's Retained Message, of a Shared Subscription.

use super::ShardId;
use ahash::RandomState;

/// The placement of everything on shards: hashes keyed by one random seed a process, so that no client can choose
/// names that all fall on one shard. Nothing on disk names a shard: another count or seed re-homes everything.
#[derive(Clone, Debug)]
pub struct Placement {
    shards: u16,
    sessions: RandomState,
    topics: RandomState,
    shares: RandomState,
}

impl Placement {
    /// The placement on `shards` shards (1 to [`ShardId::SHARDS_MAX`]; beyond counts as the nearest).
    pub fn new(seed: u64, shards: u16) -> Self {
        let keyed = |domain: u64| {
            let seed = seed ^ domain.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            RandomState::with_seeds(seed, seed.rotate_left(17), !seed, domain)
        };
        Self {
            shards: shards.clamp(1, ShardId::SHARDS_MAX),
            sessions: keyed(1),
            topics: keyed(2),
            shares: keyed(3),
        }
    }

    /// Number of shards.
    pub const fn shards(&self) -> u16 {
        self.shards
    }

    /// All shards.
    pub fn iter(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.shards).map(ShardId)
    }

    /// The shard that owns the session of a Client Identifier.
    pub fn home_of(&self, client_id: &str) -> ShardId {
        self.place(&self.sessions, client_id)
    }

    /// The shard whose slice holds the Retained Message of a Topic Name.
    pub fn slice_of(&self, topic: &str) -> ShardId {
        self.place(&self.topics, topic)
    }

    /// The shard that knows the members of the Shared Subscription `$share/{share_name}/{filter}`.
    pub fn home_of_share(&self, share_name: &str, filter: &str) -> ShardId {
        self.place(&self.shares, (share_name, filter))
    }

    fn place(&self, hasher: &RandomState, name: impl std::hash::Hash) -> ShardId {
        if self.shards == 1 {
            return ShardId(0);
        }
        ShardId((hasher.hash_one(name) % u64::from(self.shards)) as u16)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn names_spread_evenly_and_stay_where_they_are() {
        for shards in [1, 2, 5, 64] {
            let placement = Placement::new(42, shards);
            let again = Placement::new(42, shards);
            let mut counts = vec![[0_u32; 3]; usize::from(shards)];
            for number in 0..20_000 {
                let name = format!("client/{number}");
                let homes = [
                    placement.home_of(&name),
                    placement.slice_of(&name),
                    placement.home_of_share(&name, "a/#"),
                ];
                assert_eq!(homes[0], again.home_of(&name));
                for (kind, home) in homes.into_iter().enumerate() {
                    counts[usize::from(home.0)][kind] += 1;
                }
            }
            let mean = 20_000 / u32::from(shards);
            assert!(counts.iter().flatten().all(|count| count.abs_diff(mean) < mean / 2 + 1));
        }
    }
}
