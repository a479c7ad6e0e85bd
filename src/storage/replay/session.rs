//! A session while the journal is read.

use std::collections::VecDeque;
use std::sync::Arc;

use super::ordered::{Keyed, Ordered};
use crate::clock::Timestamp;
use crate::packet::{ProtocolVersion, QoS};
use crate::session::{ShareName, Will};
use crate::storage::RestoredSubscription;

/// Identifiers in the circle: 1 to 65,535.
const CIRCLE: u32 = 65_535;

/// What is known of a session.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) client_id: Box<str>,
    pub(super) will: Option<Box<Will>>,
    /// `None`: it is connected.
    pub(super) disconnected_at: Option<Timestamp>,
    pub(super) subscriptions: Ordered<RestoredSubscription>,
    pub(super) inflight: Ordered<Slot>,
    pub(super) mqueue: VecDeque<Queued>,
    /// Sorted.
    pub(super) inbound: Vec<u16>,
    pub(super) expiry_s: u32,
    pub(super) user: u32,
    pub(super) last_packet_id: u16,
    pub(super) version: ProtocolVersion,
}

/// An outbound Packet Identifier.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) packet_id: u16,
    /// `None`: PUBREL was sent.
    pub(super) publish: Option<Queued>,
}

/// A delivery.
#[derive(Debug)]
pub(super) struct Queued {
    /// Subscription Identifiers and Shared Subscription, if it has any.
    pub(super) rare: Option<Box<Rare>>,
    /// Place in `Replay::messages`.
    pub(super) message: u32,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) is_conditional: bool,
}

/// What few deliveries have.
#[derive(Debug)]
pub(super) struct Rare {
    pub(super) subscription_ids: Vec<u32>,
    pub(super) share: Option<Arc<ShareName>>,
}

// A million of them with a message each is a usual journal.
const _: () = assert!(size_of::<Live>() <= 192 && size_of::<Queued>() <= 16 && size_of::<Slot>() <= 24);

impl Keyed for RestoredSubscription {
    type Key = str;

    fn key(&self) -> &str {
        &self.filter
    }
}

impl Keyed for Slot {
    type Key = u16;

    fn key(&self) -> &u16 {
        &self.packet_id
    }
}

impl Live {
    /// The identifier was given: the next ones follow it. An image names older ones after the last one; in the circle they are
    /// behind it.
    pub(super) fn gave(&mut self, packet_id: u16) {
        let distance = (u32::from(packet_id) + CIRCLE - u32::from(self.last_packet_id)) % CIRCLE;
        if self.last_packet_id == 0 || distance <= CIRCLE / 2 {
            self.last_packet_id = packet_id;
        }
    }

    /// Takes the first delivery of the message out of the mqueue; nearly always it is the very first.
    pub(super) fn take_queued(&mut self, message: u32) -> Option<Queued> {
        let at = self.mqueue.iter().position(|queued| queued.message == message)?;
        self.mqueue.remove(at)
    }

    pub(super) fn insert_inbound(&mut self, packet_id: u16) {
        if let Err(at) = self.inbound.binary_search(&packet_id) {
            self.inbound.insert(at, packet_id);
        }
    }

    pub(super) fn remove_inbound(&mut self, packet_id: u16) {
        if let Ok(at) = self.inbound.binary_search(&packet_id) {
            self.inbound.remove(at);
        }
    }
}
