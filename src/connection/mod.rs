//! One Network Connection: what the protocol remembers between two packets. Handshake state, Keep Alive,
//! Topic Aliases, the client's limits, and the acknowledgements that it is owed.

mod aliases;
mod allowance;
mod error;
mod grants;
mod owed;
mod table;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

pub use aliases::{AliasUse, Aliases};
pub use allowance::{AclAnswer, Allowance};
pub use error::Error;
pub use grants::{Grant, Grants};
pub use owed::{Owed, OwedAck, OwedKind};
pub use table::ConnectionTable;

use crate::auth::Identity;
use crate::clock::Timestamp;
use crate::packet::{ProtocolVersion, ReasonCode};

/// Where in its life a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Accepted, CONNECT not complete.
    Opening,
    /// CONNECT has come; its credentials are being looked at.
    Authenticating,
    /// It may come in, with or without an identity: its CONNECT is to be handled.
    Admitted,
    /// CONNECT accepted, it has a session; CONNACK waits for the disk.
    Committing,
    /// CONNECT accepted: it has a session.
    Connected,
}

/// Address of the other end in 18 bytes (a `SocketAddr` has 32).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remote {
    address: [u8; 16],
    port: [u8; 2],
}

impl From<SocketAddr> for Remote {
    fn from(remote: SocketAddr) -> Self {
        let address = match remote.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        Self { address: address.octets(), port: remote.port().to_be_bytes() }
    }
}

impl From<Remote> for SocketAddr {
    fn from(remote: Remote) -> Self {
        let address = IpAddr::V6(Ipv6Addr::from(remote.address)).to_canonical();
        Self::new(address, u16::from_be_bytes(remote.port))
    }
}

/// A Network Connection.
#[derive(Debug)]
pub struct Connection {
    /// Tells it from the former holders of its index.
    pub generation: u32,
    /// Place of its session; meaningless before `Phase::Connected`.
    pub session: u32,
    /// Bytes of packets that are not complete or may not be handled yet.
    pub partial: Option<Box<Vec<u8>>>,
    /// Topic Aliases of both directions; `None` while there are none.
    pub aliases: Option<Box<Aliases>>,
    /// Acknowledgements that wait for other shards; `None` while there are none.
    pub owed: Option<Box<Owed>>,
    /// What was decided on its rights and rates; `None` where nothing limits them.
    pub allowance: Option<Box<Allowance>>,
    /// Who the client is; `None`: it is anonymous, or not authenticated yet.
    pub identity: Option<Arc<Identity>>,
    /// When it was accepted; once it is connected, when bytes came last.
    pub heard_at: Timestamp,
    /// Keep Alive granted, in milliseconds with the factor applied; 0: none.
    pub silence_max_ms: u32,
    /// Largest packet that the client takes.
    pub packet_bytes_max: u32,
    /// QoS 1 and 2 messages that the client takes at a time.
    pub receive_max: u16,
    /// Topic Aliases that the client takes.
    pub topic_alias_max: u16,
    /// Index of its listener.
    pub listener: u16,
    /// Address of the client.
    pub remote: Remote,
    /// Where in its life it is.
    pub phase: Phase,
    /// Version, known after CONNECT.
    pub version: ProtocolVersion,
    /// Number of its limits among `Grants`.
    pub grant: u8,
    /// Its next packet may not be handled yet; reading is paused, Keep Alive does not count.
    pub stalled: bool,
    /// It is in the shard's list of stalled connections (and may have gone on since).
    pub queued: bool,
    /// It may be refused only, for this reason.
    pub refusal: Option<ReasonCode>,
    /// Reason Strings and User Properties are welcome [MQTT-3.1.2-29].
    pub problem_information: bool,
    /// CONNECT asked for a Session Expiry Interval above 0, or its version has none.
    pub may_extend_expiry: bool,
}

impl Connection {
    /// As accepted.
    pub fn new(generation: u32, listener: u16, remote: SocketAddr, now: Timestamp) -> Self {
        Self {
            generation,
            session: u32::MAX,
            partial: None,
            aliases: None,
            owed: None,
            allowance: None,
            identity: None,
            heard_at: now,
            silence_max_ms: 0,
            packet_bytes_max: u32::MAX,
            receive_max: u16::MAX,
            topic_alias_max: 0,
            listener,
            remote: remote.into(),
            phase: Phase::Opening,
            version: ProtocolVersion::V311,
            grant: 0,
            stalled: false,
            queued: false,
            refusal: None,
            problem_information: true,
            may_extend_expiry: false,
        }
    }

    /// Bytes of its mountpoint; 0: it has none.
    #[inline]
    pub fn mount_len(&self) -> u16 {
        self.allowance.as_ref().map_or(0, |allowance| allowance.mount_len)
    }

    /// Whether it speaks 5.0.
    pub fn is_v5(&self) -> bool {
        self.version == ProtocolVersion::V5
    }
}

// One for each client: see `Session`.
const _: () = assert!(size_of::<Connection>() <= 96);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn remote_addresses_come_back_as_they_were() {
        for text in ["127.0.0.1:1883", "[::1]:80", "[2001:db8::7]:65535"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(SocketAddr::from(Remote::from(address)), address);
        }
    }
}
