//! Myriad: an MQTT broker, thread per core.
//!
//! The modules below are the layers, lowest first: a module names only what stands above it in this list.
//! `tests/it/tidy.rs` checks that.

/// Monotonic time as an argument.
pub mod clock;

/// Entries at stable 32-bit keys; maps of such keys that grow in small steps.
pub mod slab;

/// Topic Names, Topic Filters, levels, matching, `$share`.
pub mod topic;

/// The wire format of MQTT 3.1, 3.1.1 and 5.0, one file a Control Packet.
pub mod packet;

/// The configuration file and its limits.
pub mod config;
/// Counters of a shard.
pub mod metrics;

/// Rates, counts, bans and memory: what keeps anyone from using the node up.
pub mod limits;

/// Who may publish and subscribe to what: the rules of `acl.conf`.
pub mod acl;
/// Authentication: who a client is.
pub mod auth;

/// One client's state: what may outlive its connection.
pub mod session;

/// Which shards may want a topic: lock-free tables that all shards share; the placement of everything on shards.
pub mod interest;
/// A shard's own subscriptions: Topic Filters, their subscribers, and what matches a Topic Name.
pub mod router;

/// A shard's slice of the Retained Messages.
pub mod retained;

/// One Network Connection's protocol state.
pub mod connection;

/// The journal: what outlasts the process, written by shards, synced by one thread, read at the start.
pub mod storage;

/// One broker a shard: inputs in, effects out.
pub mod broker;

/// What lies between sockets and MQTT: TLS, WebSocket, PROXY protocol.
pub mod transport;

/// Exchanges messages with other brokers, on a thread of its own.
#[cfg(all(feature = "server", not(loom)))]
pub mod bridge;

/// What operators ask of a running broker, on a thread of its own.
#[cfg(all(feature = "server", not(loom)))]
pub mod admin;

/// The broker on the real machine; the only module that names `shards`.
#[cfg(all(feature = "server", not(loom)))]
pub mod server;
