//! One client's state: what may outlive its Network Connection. Subscriptions, inflight, mqueue, the QoS 2
//! identifiers received, the Will and the expiry. An idle session is this struct and its Client Identifier.

mod inbound;
mod inflight;
pub mod message;
mod mqueue;
mod subscriptions;

use std::sync::Arc;

pub use inbound::Inbound;
pub use inflight::{Acked, HELD, Inflight, READY, Slot, UNCOMMITTED, UNSENT};
pub use message::{Delivery, Message, MessageHead, SessionSerial, ShareName};
pub use mqueue::Mqueue;
pub use subscriptions::{Subscription, Subscriptions};

use crate::clock::Timestamp;
use crate::packet::ProtocolVersion;

/// Names one Network Connection of a shard: a place in its tables and the generation that tells it from those
/// which had the place before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId {
    /// Dense and small.
    pub index: u32,
    /// Differs from the index's former holders.
    pub generation: u32,
}

/// `expiry_s` of a session that never expires.
pub const NEVER: u32 = u32::MAX;

/// The Will of a connection [MQTT-3.1.2-7].
#[derive(Debug, Clone)]
pub struct Will {
    /// What is published.
    pub message: Arc<Message>,
    /// Message Expiry Interval: counts from the publication, not from CONNECT.
    pub expiry_s: Option<u32>,
    /// Seconds between the connection's end and the publication.
    pub delay_s: u32,
}

/// Messages on their way to the client.
#[derive(Debug, Default)]
pub struct Outbound {
    /// Sent, not acknowledged.
    pub inflight: Inflight,
    /// Waiting.
    pub mqueue: Mqueue,
}

/// A session.
#[derive(Debug)]
pub struct Session {
    /// Client Identifier.
    pub client_id: Box<str>,
    /// Unique over shards and time.
    pub serial: SessionSerial,
    /// The connection that uses it now.
    pub connection: Option<ConnectionId>,
    /// Topic Filters and their options, sorted by filter.
    pub subscriptions: Subscriptions,
    /// Inflight and mqueue; `None` while both are empty.
    pub outbound: Option<Box<Outbound>>,
    /// QoS 2 identifiers received and not released; `None` while there are none.
    pub inbound: Option<Box<Inbound>>,
    /// Published when the connection ends otherwise than by DISCONNECT.
    pub will: Option<Box<Will>>,
    /// When its connection began, or the last one ended.
    pub since: Timestamp,
    /// When its earliest timer fires; `None`: it has none.
    pub timer_at: Option<Timestamp>,
    /// Session Expiry Interval in seconds; `NEVER`: does not expire.
    pub expiry_s: u32,
    /// Keyed hash of the verified User Name whose it is; 0: nobody's in particular.
    pub user: u32,
    /// The Packet Identifier given last, kept while `outbound` is `None`.
    pub last_packet_id: u16,
    /// Version of the connection that used it last.
    pub version: ProtocolVersion,
    /// Whether that one asked for a clean start.
    pub clean_start: bool,
}

impl Session {
    /// A new session without a connection.
    pub fn new(client_id: &str, serial: SessionSerial, version: ProtocolVersion) -> Self {
        Self {
            client_id: client_id.into(),
            serial,
            connection: None,
            subscriptions: Subscriptions::default(),
            outbound: None,
            inbound: None,
            will: None,
            since: Timestamp::default(),
            timer_at: None,
            expiry_s: 0,
            user: 0,
            last_packet_id: 0,
            version,
            clean_start: false,
        }
    }

    /// Whether it outlives its connection.
    pub fn is_persistent(&self) -> bool {
        self.expiry_s > 0
    }

    /// When it ends, if it has no connection and may expire.
    pub fn expires_at(&self) -> Option<Timestamp> {
        (self.connection.is_none() && self.expiry_s != NEVER)
            .then(|| self.since.plus_s(u64::from(self.expiry_s)))
    }

    /// When its Will is due, if it has no connection and a Will is left.
    pub fn will_at(&self) -> Option<Timestamp> {
        match (&self.will, self.connection) {
            (Some(will), None) => Some(self.since.plus_s(u64::from(will.delay_s))),
            _ => None,
        }
    }

    /// Inflight and mqueue, made when first needed.
    pub fn outbound_mut(&mut self) -> &mut Outbound {
        let last = self.last_packet_id;
        self.outbound.get_or_insert_with(|| {
            Box::new(Outbound { inflight: Inflight::starting_after(last), mqueue: Mqueue::default() })
        })
    }

    /// Gives the memory of an empty `outbound` back.
    pub fn shrink_outbound(&mut self) {
        if let Some(outbound) = &self.outbound
            && outbound.inflight.is_empty()
            && outbound.mqueue.is_empty()
        {
            self.last_packet_id = outbound.inflight.last_given();
            self.outbound = None;
        }
    }

    /// Messages sent and not acknowledged.
    pub fn inflight_len(&self) -> usize {
        self.outbound.as_ref().map_or(0, |outbound| outbound.inflight.len())
    }

    /// Messages waiting.
    pub fn mqueue_len(&self) -> usize {
        self.outbound.as_ref().map_or(0, |outbound| outbound.mqueue.len())
    }
}

// The headline is bytes per idle client: this struct is the largest part of them.
const _: () = assert!(size_of::<Session>() <= 120);
