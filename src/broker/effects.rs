//! What goes into a `Broker` and what comes out: the boundary between the pure core and the machine.
//! The server performs effects on rings and mailboxes, the simulator on queues in one thread.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::ask::AclQuestion;
use super::message::{HandOver, ShardMessage};
use super::modules::ModuleOrder;
use super::observe::{Condition, TraceEvent};
use crate::acl::Policy;
use crate::auth::{Answer, Credentials, ExchangeStep, PeerCertificate, Step, Verdict};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::interest::ShardId;
use crate::session::ConnectionId;

/// Where a connection came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Index into `Config::listeners`.
    pub listener: u16,
    /// Address of the client.
    pub remote: SocketAddr,
    /// Accepted into a reserved slot: to be refused after its CONNECT.
    pub over_capacity: bool,
}

/// Something that happened to a shard.
#[derive(Debug)]
pub enum Input<'a> {
    /// A Network Connection was accepted here.
    Accepted {
        /// Its name from now on.
        connection: ConnectionId,
        /// Where it came in.
        origin: Origin,
    },
    /// A Network Connection was handed over to this shard, its home. Bytes of it follow only after this.
    HandedOver {
        /// Its name from now on.
        connection: ConnectionId,
        /// Where it came in.
        origin: Origin,
        /// What the accepting shard has read of it.
        hand_over: HandOver,
    },
    /// The home shard could not take the connection: it is still here.
    HandOverFailed {
        /// Its name, unchanged.
        connection: ConnectionId,
        /// What was to be handed over.
        hand_over: HandOver,
    },
    /// The client's address is another one than its socket's: a load balancer in front has told. Before any `Received`; not for
    /// what the load balancer sends for itself.
    Peer {
        /// Whose.
        connection: ConnectionId,
        /// Its address.
        remote: SocketAddr,
    },
    /// Bytes came in.
    Received {
        /// From whom.
        connection: ConnectionId,
        /// Any part of the stream.
        bytes: &'a [u8],
    },
    /// Output that had to wait for the client, or that `Effects::want_drained` asked for, has all left.
    Drained {
        /// Whose.
        connection: ConnectionId,
    },
    /// The connection is gone; its name means nothing from now on. Not for the end of the stream of a paused
    /// connection, whose last packets may not have been handled yet: that is seen after `Effects::resume`.
    Closed {
        /// Which.
        connection: ConnectionId,
    },
    /// What a connection's TLS says of its client: after `Accepted`, before its first bytes.
    Certified {
        /// Whose.
        connection: ConnectionId,
        /// Facts of the verified certificate.
        certificate: Box<PeerCertificate>,
    },
    /// The client of a paused connection has closed its side, and all that it sent has been handed in.
    PeerFinished {
        /// Which.
        connection: ConnectionId,
    },
    /// What `Effects::authenticate` put off. The connection may be gone.
    Authenticated {
        /// Whose.
        connection: ConnectionId,
        /// What; `None`: what was found out is no longer worth anything, it is to be asked again.
        verdict: Option<Verdict>,
    },
    /// A message from another shard. Per sender, messages and hand-overs arrive in the order of their sending.
    Message {
        /// Who sent it.
        from: ShardId,
        /// What.
        message: ShardMessage,
    },
    /// After a refused `Effects::reserve`: there is credit again towards some shard.
    CreditsAvailable,
    /// A timer set by `Effects::set_timer` fired; never early, perhaps late.
    Timer(Timer),
    /// SIGHUP: what may change live has changed.
    Reload(Arc<Config>),
    /// The answer to a question of `Effects::authorize`.
    Authorized {
        /// Of whom.
        connection: ConnectionId,
        /// Which question.
        key: u64,
        /// Yes or no; `None`: there was no answer.
        answer: Option<bool>,
    },
    /// All frames up to this ticket are on disk.
    Stored(u64),
    /// All frames up to this ticket are written, and not yet for good: the disk mends, and there is place for more.
    Written(u64),
    /// The journal begins a generation: this shard's state is to be written whole.
    Generation(u32),
    /// All shards' images of a generation are handed over: what this shard has written up to now is to follow, and then
    /// `Effects::fenced`, for the images may name it.
    Fence(u32),
    /// The disk takes nothing any more, until the next `Generation`.
    StorageDown,
    /// Shard 0: the machine's side has found that something is wrong, or (`None`) is no longer.
    Condition(Condition, Option<String>),
    /// The rules of the ACL were read, at the start or by SIGHUP.
    Policy(Arc<Policy>),
    /// What a module is told; nobody waits for the answer.
    Module(ModuleOrder),
    /// SIGTERM: send everyone away. `Broker::is_drained` says when all are gone.
    Drain,
    /// The end of a turn, after all other inputs of it: deferred work goes on within its budget.
    /// `Broker::has_work` says whether another turn is wanted without waiting.
    TurnEnd,
}

/// A timer's name. There is no cancellation: the broker looks at the state when it fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Timer {
    /// Connect timeout, Keep Alive and retry of the connection with this index.
    Connection(u32),
    /// Expiry and Will Delay of the session with this index.
    Session(u32),
    /// Next publication of the `$SYS` tree (shard 0).
    Sys,
    /// Next look for expired retained messages.
    RetainedSweep,
    /// The connection with this index, paused by a rate, may go on.
    Resume(u32),
    /// Next look at the memory.
    Memory,
    /// What sessions left that had ended before a crash goes out: Wills, messages for other members of a Shared Subscription.
    Legacies,
    /// Next look at what may be wrong, and at what is to be forgotten.
    Look,
    /// Next step of sending clients away.
    Drain,
    /// The next delayed message is due.
    Delayed,
}

impl Timer {
    /// As one word, for a timer wheel.
    pub const fn to_bits(self) -> u64 {
        match self {
            Self::Connection(index) => index as u64,
            Self::Session(index) => 1 << 32 | index as u64,
            Self::Sys => 2 << 32,
            Self::RetainedSweep => 3 << 32,
            Self::Resume(index) => 4 << 32 | index as u64,
            Self::Memory => 5 << 32,
            Self::Legacies => 6 << 32,
            Self::Look => 7 << 32,
            Self::Drain => 16 << 32,
            Self::Delayed => 17 << 32,
        }
    }

    /// Back from `to_bits`; `None` for anything else.
    pub const fn from_bits(bits: u64) -> Option<Self> {
        match bits >> 32 {
            0 => Some(Self::Connection(bits as u32)),
            1 => Some(Self::Session(bits as u32)),
            2 => Some(Self::Sys),
            3 => Some(Self::RetainedSweep),
            4 => Some(Self::Resume(bits as u32)),
            5 => Some(Self::Memory),
            6 => Some(Self::Legacies),
            7 => Some(Self::Look),
            16 => Some(Self::Drain),
            17 => Some(Self::Delayed),
            _ => None,
        }
    }
}

/// How a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// After its output has left, within a time limit.
    Flush,
    /// At once.
    Abort,
}

/// What a `Broker` may do to the world. All of it is asynchronous and none of it calls back.
pub trait Effects {
    /// Bytes appended here leave in one piece at the end of the turn. For a connection that is gone it is a
    /// buffer that nobody reads.
    fn output(&mut self, connection: ConnectionId) -> &mut Vec<u8>;
    /// `output`, unless the client has taken so little that more than `bytes_max` wait.
    fn output_below(&mut self, connection: ConnectionId, bytes_max: usize) -> Option<&mut Vec<u8>> {
        (self.outbound_len(connection) <= bytes_max).then(|| self.output(connection))
    }
    /// A large payload by reference, in order with `output`.
    fn output_shared(&mut self, connection: ConnectionId, bytes: Bytes);
    /// Bytes that the client has not taken yet, this turn's included.
    fn outbound_len(&mut self, connection: ConnectionId) -> usize;
    /// Asks for `Input::Drained` once all output of the connection has left, also if the socket takes it at once.
    fn want_drained(&mut self, connection: ConnectionId);
    /// Stop reading. `Received` may not come for it until `resume`.
    fn pause(&mut self, connection: ConnectionId);
    /// Go on reading.
    fn resume(&mut self, connection: ConnectionId);
    /// Close it. No input names it any more, but perhaps one `Closed`.
    fn close(&mut self, connection: ConnectionId, how: Close);
    /// Move it to its home shard. Inputs name it again only by `HandOverFailed` or `Closed`.
    fn hand_over(&mut self, connection: ConnectionId, to: ShardId, hand_over: HandOver);
    /// Takes one credit for one `send`; false: there is none, `CreditsAvailable` will tell.
    fn reserve(&mut self, to: ShardId) -> bool;
    /// Gives a credit back that was not used.
    fn unreserve(&mut self, to: ShardId);
    /// Sends with a credit. The receiver gives it back by `release`.
    fn send(&mut self, to: ShardId, message: ShardMessage);
    /// Sends without a credit: replies, Wills, hand-overs and what is bounded by credits elsewhere.
    fn send_control(&mut self, to: ShardId, message: ShardMessage);
    /// The broker is done with `n` messages that `from` sent with credit.
    fn release(&mut self, from: ShardId, n: u32);
    /// One-shot timer, not before `at`.
    fn set_timer(&mut self, timer: Timer, at: Timestamp);
    /// Asks whether a client may do something; false: nobody can be asked now. `Input::Authorized` brings the answer.
    fn authorize(&mut self, connection: ConnectionId, question: AclQuestion) -> bool {
        let _ = (connection, question);
        false
    }
    /// Gives memory that nobody uses back to the system; `all` of it, or what costs little.
    fn give_memory_back(&mut self, all: bool) {
        let _ = all;
    }
    /// Asks who a client is. `Answer::Later`: the connection is paused until `Input::Authenticated`.
    fn authenticate(&mut self, connection: ConnectionId, client: &Credentials<'_>) -> Answer;
    /// A step of enhanced authentication by SCRAM-SHA-256.
    fn exchange(&mut self, client: &Credentials<'_>, step: ExchangeStep<'_>) -> Step;
    /// A frame of the journal, under a ticket that rises: to be written before any message sent in this turn arrives.
    /// `Input::Stored` brings the ticket back, soon if it `is_awaited`. Only if the configuration asks for storage.
    fn store(&mut self, ticket: u64, frame: Vec<u8>, is_awaited: bool) {
        let _ = (ticket, frame, is_awaited);
    }
    /// This shard's images of a generation of the journal are all handed over.
    fn imaged(&mut self, generation: u32) {
        let _ = generation;
    }
    /// What this shard had written at `Input::Fence` is handed over.
    fn fenced(&mut self, generation: u32) {
        let _ = generation;
    }
    /// Microseconds of a clock that all shards share; 0: there is none.
    fn now_us(&mut self) -> u64 {
        0
    }
    /// Milliseconds of Unix time by the system's clock, which people may change; `None`: there is none.
    fn unix_ms(&mut self) -> Option<u64> {
        None
    }
    /// Something happened to what is traced. May be left out, and is counted then.
    fn trace(&mut self, event: TraceEvent) {
        let _ = event;
    }
    /// Accept no one any more.
    fn stop_accepting(&mut self);
}
