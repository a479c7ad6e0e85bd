//! Myriad: an MQTT broker, thread per core.
//!
//! The modules below are the layers, lowest first: a module names only what stands above it in this list.
//! `tests/it/tidy.rs` checks that.

/// Monotonic time as an argument.
pub mod clock;

/// Topic Names, Topic Filters, levels, matching, `$share`.
pub mod topic;

/// The wire format of MQTT 3.1, 3.1.1 and 5.0, one file a Control Packet.
pub mod packet;

/// The configuration file and its limits.
pub mod config;
/// Counters of a shard.
pub mod metrics;
