//! What a shard counts. Written by the shard alone (at the end of its turns), readable by anyone.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters of one shard, since its start; relaxed, each by itself exact.
        #[derive(Default, Debug)]
        pub struct ShardStats {
            $($(#[$doc])* pub $name: AtomicU64,)*
        }

        /// The shard's own copy.
        #[derive(Default)]
        pub(crate) struct Counts {
            $(pub(crate) $name: u64,)*
        }

        impl Counts {
            /// Makes the counts visible.
            pub(crate) fn publish(&self, stats: &ShardStats) {
                $(stats.$name.store(self.$name, Ordering::Relaxed);)*
            }
        }
    };
}

stats! {
    /// Connections now on the shard, closing ones included.
    connections,
    /// Connections accepted.
    accepted,
    /// Connections closed at once, because the listener's filter does not let their address in.
    filtered,
    /// Connections that this shard has opened.
    connected,
    /// Connections handed over to this shard.
    handed_over,
    /// Connections closed here.
    closed,
    /// Bytes received.
    bytes_in,
    /// Bytes taken by the sockets.
    bytes_out,
    /// Turns of the loop.
    turns,
    /// Turns that took longer than 5 ms, the time in which the thread was not on a CPU included.
    slow_turns,
    /// Waits in the data ring that ended with something to do.
    wakes,
    /// Waits of full length that ended with nothing to do.
    idle_waits,
    /// Messages taken from mailboxes.
    messages,
    /// Messages in taken batches that wait for a later turn.
    mailbox_depth,
    /// Refused reservations of credit.
    credit_waits,
    /// Sends that the socket did not take whole.
    short_sends,
    /// Turns in which connections waited for a receive buffer.
    receive_waits,
    /// CPU time of the shard's thread, microseconds; renewed about ten times a second.
    thread_cpu_us,
}
