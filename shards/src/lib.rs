//! Thread-per-core shards over io_uring: pinned threads, data rings, sockets, mailboxes, timers.
//!
//! One **shard** is one OS thread, one glommio executor and one or more io_uring data rings. A program gives
//! an [`Application`] for each shard; the shard tells it what happened (accepted, received, closed, message,
//! timer) and does what it asks through [`Io`]. This package knows no protocol. It is the only place of
//! `unsafe` code: `sys`, the ring and what the kernel reads from memory (receive buffers, send segments).

#[cfg(feature = "mimalloc")]
pub mod allocator;
#[cfg(not(loom))]
mod application;
pub(crate) mod bell;
#[cfg(not(loom))]
mod chunks;
#[cfg(not(loom))]
mod connection;
pub(crate) mod credit;
#[cfg(not(loom))]
mod io;
#[cfg(not(loom))]
mod limits;
#[cfg(not(loom))]
mod listener;
#[cfg(all(loom, test))]
mod loom_models;
#[cfg(not(loom))]
mod mailbox;
#[cfg(not(loom))]
mod net;
#[cfg(not(loom))]
mod output;
#[cfg(not(loom))]
pub mod probe;
#[cfg(not(loom))]
mod receive;
#[cfg(not(loom))]
mod ring;
#[cfg(not(loom))]
mod shard;
#[cfg(not(loom))]
mod start;
#[cfg(not(loom))]
mod stats;
#[cfg(not(loom))]
mod sys;
#[cfg(not(loom))]
mod wheel;

#[cfg(not(loom))]
pub use application::{Accepted, Application, Close, Closed, ConnectionId, ShardId};
#[cfg(not(loom))]
pub use io::Io;
#[cfg(not(loom))]
pub use limits::{Config, Listener};
#[cfg(not(loom))]
pub use listener::{Address, Filter};
#[cfg(not(loom))]
pub use start::{Handle, JoinError, Shards, StartError};
#[cfg(not(loom))]
pub use stats::ShardStats;
#[cfg(not(loom))]
pub use sys::lower_priority;
