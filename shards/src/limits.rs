//! What the operator sets, and the sizes that follow from it.

use crate::listener::{Address, Filter, ListenerSocket};
use crate::net::{Acceptor, OUTSTANDING_MAX};
use crate::ring::RingSize;

/// Most slots that a ring may have: closing a connection costs the kernel a walk through a 128th of its ring's polls.
const RING_SLOTS_MAX: u32 = 16 * 1024;
/// Locked memory that the rings of all shards are to fit in: the usual RLIMIT_MEMLOCK less a little. Of a shard (what
/// glommio sets up) and of a ring beside its queues, as measured.
const LOCKED_BYTES: u32 = 7_500_000;
const SHARD_LOCKED_BYTES: u32 = 216 * 1024;
const RING_LOCKED_BYTES: u32 = 12 * 1024;
const SUBMISSION_LEN: u32 = 64;
const COMPLETION_LEN: u32 = 16;
/// Receive buffers of a shard: 1 MiB in all.
const RECEIVE_BUFFERS: u16 = 64;
/// Bytes of idle output buffers that a shard keeps while it is busy.
const POOL_BYTES: usize = 2 * 1024 * 1024;

/// Where clients come in.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Where.
    pub address: Address,
    /// Connections that may wait to be accepted, per shard.
    pub backlog: u32,
    /// Most connections of this listener in the whole process; beyond it they are over capacity.
    pub connections_max: u32,
    /// Which addresses are let in; the others are closed before a byte is read and are not told to the application.
    pub filter: Option<Filter>,
}

impl Listener {
    /// A listener at `address` that lets everybody in.
    #[must_use]
    pub fn at(address: impl Into<Address>) -> Self {
        Self { address: address.into(), backlog: 1024, connections_max: u32::MAX, filter: None }
    }
}

/// How many shards, how large.
#[derive(Clone, Debug)]
pub struct Config {
    /// Number of shards, at least 1.
    pub shards: u16,
    /// Binds each shard to one CPU.
    pub pin: bool,
    /// CPUs to use in order (round robin); empty: all that the process may use.
    pub cpus: Vec<usize>,
    /// Most connections of the whole process; beyond it they are over capacity.
    pub connections_max: u32,
    /// Connections over capacity that may exist at a time, in the whole process (at least one per shard).
    pub refusals: u32,
    /// The listeners.
    pub listeners: Vec<Listener>,
    /// Messages that one shard may have outstanding towards another with credit.
    pub mailbox_credits: u32,
    /// How long a flush before a close may take, milliseconds.
    pub flush_timeout_ms: u64,
    /// For tests: most slots per ring, so that a shard needs several.
    pub ring_slots_max: Option<u32>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            shards: 1,
            pin: false,
            cpus: Vec::new(),
            connections_max: 10_000,
            refusals: 64,
            listeners: Vec::new(),
            mailbox_credits: 1024,
            flush_timeout_ms: 5000,
            ring_slots_max: None,
        }
    }
}

/// Sizes of one shard, derived from [`Config`] and the limit of descriptors.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) rings: u16,
    pub(crate) ring: RingSize,
    /// Slots of each ring that only hand-overs may take.
    pub(crate) leave: i32,
    pub(crate) accepts: u32,
    pub(crate) refusals: u32,
    pub(crate) receive_buffers: u16,
    pub(crate) pool_bytes: usize,
    pub(crate) flush_timeout_ms: u64,
}

/// Length of each ring's completion queue, a power of two. The kernel finds a poll to cancel in a table of as many buckets
/// as a 32nd of it: a long queue is a short walk, as far as locked memory allows.
fn completions(rings: u32, shards: u32, submissions: u32) -> u32 {
    let each = RING_LOCKED_BYTES + submissions * SUBMISSION_LEN;
    let left = LOCKED_BYTES.saturating_sub(shards.saturating_mul(SHARD_LOCKED_BYTES));
    let affordable = (left / rings.max(1)).saturating_sub(each) / COMPLETION_LEN;
    1 << affordable.clamp(1024, 4096).ilog2()
}

impl Layout {
    /// Sizes for `config` where a ring may have as many slots as `descriptors_max`.
    ///
    /// A shard has room for its share of the connections, a sixteenth and 1,024 more (client identifiers do
    /// not hash evenly), for refusals and for outstanding accepts.
    pub(crate) fn new(config: &Config, descriptors_max: u64) -> Self {
        let shards = u32::from(config.shards.max(1));
        let share = config.connections_max.div_ceil(shards);
        let refusals = config.refusals.div_ceil(shards).max(1);
        let ring_max = u32::try_from(descriptors_max).unwrap_or(u32::MAX).min(RING_SLOTS_MAX);
        let ring_max = ring_max.min(config.ring_slots_max.unwrap_or(u32::MAX)).max(1);
        let accepts = OUTSTANDING_MAX.min(ring_max / 4).max(1);
        let slots = (u64::from(share) + u64::from(share / 16) + 1024 + u64::from(refusals + accepts))
            .min(u64::from(u32::MAX / 2)) as u32;
        let rings = slots.div_ceil(ring_max).min(u32::from(u16::MAX));
        let slots = slots.div_ceil(rings);
        // Where there are many rings each sees less traffic, and their memory is charged to RLIMIT_MEMLOCK.
        let submissions = match rings * shards {
            0..=8 => 512,
            9..=16 => 256,
            _ => 128,
        };
        let completions = completions(rings * shards, shards, submissions);
        Self {
            rings: rings as u16,
            ring: RingSize { submissions, completions, slots },
            leave: if shards == 1 { 0 } else { (slots / 32) as i32 },
            accepts,
            refusals,
            receive_buffers: RECEIVE_BUFFERS,
            pool_bytes: POOL_BYTES,
            flush_timeout_ms: config.flush_timeout_ms,
        }
    }

    /// The acceptor of one shard.
    pub(crate) fn acceptor(&self, sockets: Vec<ListenerSocket>) -> Acceptor {
        Acceptor::new(sockets, self.accepts, self.refusals, self.leave)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(shards: u16, descriptors_max: u64) -> Layout {
        Layout::new(&Config { shards, connections_max: 1_000_000, ..Config::default() }, descriptors_max)
    }

    #[test]
    fn a_million_fits_the_usual_locked_memory_up_to_16_shards() {
        for shards in [1, 2, 4, 8, 16] {
            for descriptors_max in [20_000, 1 << 20] {
                let layout = layout(shards, descriptors_max);
                let ring = RING_LOCKED_BYTES
                    + layout.ring.submissions * SUBMISSION_LEN
                    + layout.ring.completions * COMPLETION_LEN;
                let rings = u32::from(layout.rings) * u32::from(shards);
                let bytes = rings * ring + u32::from(shards) * SHARD_LOCKED_BYTES;
                assert!(bytes <= 8 << 20, "{shards} shards, {layout:?}: {bytes} bytes");
                assert!(layout.ring.completions >= 1024 && layout.ring.slots <= RING_SLOTS_MAX);
            }
        }
        assert_eq!(layout(2, 1 << 20).ring.completions, 4096);
    }

    #[test]
    fn every_share_has_a_slot_whatever_the_limit_of_descriptors() {
        for shards in [1, 3, 64] {
            for descriptors_max in [256, 20_000, 1 << 20] {
                let layout = layout(shards, descriptors_max);
                let slots = u64::from(layout.rings) * u64::from(layout.ring.slots);
                assert!(slots > 1_000_000_u64.div_ceil(u64::from(shards)), "{layout:?}");
                assert!(u64::from(layout.ring.slots) <= descriptors_max);
            }
        }
    }
}
