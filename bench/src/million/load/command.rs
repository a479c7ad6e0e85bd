//! What the leader and the load shards say to each other: the plan at the start, commands, the board on which a
//! shard shows how far it is, and the figures of a stage.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::million::histogram::Latencies;
use crate::wire::ProtocolVersion;

/// What all load shards know from the start.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The broker.
    pub(crate) to: SocketAddr,
    /// Source addresses, used in turn; empty: the kernel's choice.
    pub(crate) sources: Vec<IpAddr>,
    pub(crate) version: ProtocolVersion,
    /// Start of Client Identifiers and topics.
    pub(crate) prefix: String,
    pub(crate) keep_alive_s: u16,
    /// Each client logs in, with its Client Identifier as User Name and this.
    pub(crate) password: Option<String>,
    /// Clean Session (Clean Start) in CONNECT.
    pub(crate) clean: bool,
    pub(crate) subscriptions: Subscriptions,
    /// Clients that there may be, over all shards: client `n` belongs to shard `n % shards`.
    pub(crate) clients_max: u32,
    /// Subscribers of one group topic.
    pub(crate) group_len: u32,
    /// Handshakes outstanding at most, a shard.
    pub(crate) handshakes: usize,
    pub(crate) payload_len: usize,
}

/// What a client subscribes to after its CONNACK, each with a SUBSCRIBE of its own, at QoS 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subscriptions {
    /// Nothing.
    None,
    /// A topic of its own.
    Own,
    /// That, and the topic of its group.
    OwnAndGroup,
}

impl Subscriptions {
    /// How many SUBSCRIBEs.
    pub(crate) fn count(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Own => 1,
            Self::OwnAndGroup => 2,
        }
    }
}

/// A regular part of the clients: of a shard's clients each whose local number leaves `rest` when divided by `of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) of: u32,
    pub(crate) rest: u32,
}

impl Part {
    /// Whether the client with this local number belongs to it.
    pub(crate) fn has(self, local: u32) -> bool {
        local % self.of == self.rest
    }
}

/// What flows at a fixed rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// PINGREQ of a random client.
    Ping,
    /// PUBLISH at this QoS (0 or 1) from a random client to a random client's own topic.
    Publish(u8),
    /// PUBLISH at QoS 1 from a random client to a topic that nobody has subscribed to, to PUBACK.
    Nowhere,
}

/// An open loop: message `k` of a shard is due at `first_us + k * interval_us`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    pub(crate) kind: Kind,
    pub(crate) first_us: f64,
    pub(crate) interval_us: f64,
    /// Nothing is due from here on.
    pub(crate) until_us: f64,
    /// Clients that may be published to: all numbers below.
    pub(crate) clients: u32,
    /// Clients that send nothing.
    pub(crate) spare: Option<Part>,
    /// Clients that send: all numbers below.
    pub(crate) senders: u32,
}

/// From the leader to a shard. Each is followed by [`Board::handled`].
#[derive(Clone, Debug)]
pub(crate) enum Command {
    /// Connect all clients below this number; `interval_us` between two of this shard, 0: as fast as answers come.
    /// With `leave` each sends DISCONNECT as soon as it is subscribed.
    Fill { clients: u32, interval_us: f64, leave: bool },
    /// Connect and disconnect those from `from` on, which are connected, again and again, one each `interval_us`.
    Churn { from: u32, interval_us: f64 },
    /// Stop that; those that are connected disconnect.
    StopChurn,
    /// Publish retained messages to the topics `0..topics` (this shard's share), each held client one at a time.
    Retain { topics: u32 },
    /// Subscribe `client` to all retained topics at this QoS.
    SubscribeRetained { client: u32, qos: u8 },
    /// Begin no more of them; those under way are completed.
    StopFill,
    /// A new stage with this number begins: latencies and counts start afresh.
    Stage(u16),
    /// Send messages.
    Flow(Flow),
    /// Stop sending them.
    StopFlow,
    /// One message at QoS 1 from `client`, by its own shard, to the topic of `group`. All shards are told.
    FanOut { client: u32, group: u32, sequence: u32 },
    /// Close these at once; they reconnect as soon as they are closed.
    Storm(Part),
    /// Connect these again while they are connected.
    Takeover(Part),
    /// DISCONNECT all.
    Leave,
    /// Send the stage's figures; what is unanswered counts as lost.
    Collect,
    /// End the shard.
    Exit,
}

/// What a stage has found on one shard, or on all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    /// The stage's latency: handshakes in a fill, else messages, takeovers.
    pub(crate) latency: Latencies,
    /// PUBACKs, and handshakes during a storm.
    pub(crate) second: Latencies,
    /// Messages sent (PINGREQ, PUBLISH).
    pub(crate) sent: u64,
    /// Due messages for which no free client was found.
    pub(crate) skipped: u64,
    /// PINGRESPs, first deliveries, completed takeovers.
    pub(crate) done: u64,
    pub(crate) duplicates: u64,
    /// Deliveries of an earlier stage, or of other programs.
    pub(crate) foreign: u64,
    /// PINGREQs and QoS 1 PUBLISHes without an answer.
    pub(crate) unanswered: u64,
    pub(crate) keep_alive_pings: u64,
    pub(crate) failures: BTreeMap<String, u64>,
}

impl Figures {
    /// Adds those of another shard.
    pub(crate) fn add(&mut self, other: &Self) {
        self.latency.add(&other.latency);
        self.second.add(&other.second);
        self.sent += other.sent;
        self.skipped += other.skipped;
        self.done += other.done;
        self.duplicates += other.duplicates;
        self.foreign += other.foreign;
        self.unanswered += other.unanswered;
        self.keep_alive_pings += other.keep_alive_pings;
        for (reason, n) in &other.failures {
            *self.failures.entry(reason.clone()).or_default() += n;
        }
    }
}

macro_rules! board {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a shard shows of itself, renewed each turn.
        #[derive(Debug, Default)]
        pub(crate) struct Board {
            $($(#[$doc])* $name: AtomicU64,)*
            /// Commands handled; written last.
            handled: AtomicU64,
            /// A copy of the stage's latencies, renewed about once a second.
            pub(crate) live: Mutex<Latencies>,
        }

        /// The boards of all shards, added up (`slowest_us`: the largest).
        #[derive(Clone, Copy, Debug, Default)]
        pub(crate) struct Totals {
            $($(#[$doc])* pub(crate) $name: u64,)*
        }

        impl Board {
            /// Shows `totals`, after which `handled` commands count as handled.
            pub(crate) fn show(&self, totals: &Totals, handled: u64) {
                $(self.$name.store(totals.$name, Ordering::Relaxed);)*
                self.handled.store(handled, Ordering::Release);
            }

            /// What was shown last, and how many commands had been handled then.
            pub(crate) fn read(&self) -> (Totals, u64) {
                let handled = self.handled.load(Ordering::Acquire);
                (Totals { $($name: self.$name.load(Ordering::Relaxed),)* }, handled)
            }
        }

        impl Totals {
            /// Adds those of another shard.
            pub(crate) fn add(&mut self, other: &Self) {
                let slowest_us = self.slowest_us.max(other.slowest_us);
                $(self.$name += other.$name;)*
                self.slowest_us = slowest_us;
            }
        }
    };
}

board! {
    /// Clients with all their SUBACKs.
    held,
    /// Clients that the task under way (fill, storm, takeover, leave) has not brought to an end.
    task_left,
    /// Clients that the fill has begun with.
    begun,
    /// Clients given up after several tries.
    given_up,
    /// Connections that ended though they should not have.
    lost,
    /// Failures, tried again or not.
    failures,
    /// Messages of the flow that have come due.
    due,
    /// Clients that a storm or a takeover has chosen in this stage.
    chosen,
    /// Messages sent in this stage.
    sent,
    /// First deliveries, PINGRESPs or takeovers of this stage.
    done,
    /// Measured messages under way that this shard knows of: PINGREQs and QoS 1 PUBLISHes.
    pending,
    /// Largest latency of the fan-out under way.
    slowest_us,
    /// Handshakes completed since the start.
    handshakes,
    /// Messages received since the start: deliveries and PINGRESPs.
    messages,
    /// Retained messages that have been acknowledged, and that have been delivered.
    retained,
    retained_delivered,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_read_and_added_up() {
        let board = Board::default();
        let shown = Totals { held: 3, slowest_us: 9, ..Totals::default() };
        board.show(&shown, 7);
        let (mut totals, handled) = board.read();
        assert_eq!((totals.held, handled), (3, 7));
        totals.add(&Totals { held: 4, slowest_us: 5, ..Totals::default() });
        assert_eq!((totals.held, totals.slowest_us), (7, 9));
    }

    #[test]
    fn a_part_is_regular() {
        let part = Part { of: 10, rest: 3 };
        assert_eq!((0..100).filter(|n| part.has(*n)).count(), 10);
    }
}
