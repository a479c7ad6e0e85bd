//! All about one session: its connection, subscriptions, queues and Will. Topics and filters are named as its client names them,
//! without the mountpoint.

use super::super::Broker;
use super::super::effects::Effects;
use super::super::mount::{mount_of, unmounted};
use super::sessions::{ConnectionRow, SessionRow, session_row};
use super::subscriptions::SubscriptionRow;
use crate::clock::Timestamp;
use crate::packet::QoS;
use crate::session::{Delivery, Session, Slot};

/// Subscriptions, messages waiting and messages inflight that are told, of each.
const SUBSCRIPTIONS_MAX: usize = 1000;
const QUEUE_MAX: usize = 100;
const INFLIGHT_MAX: usize = 100;

/// A session and everything of it.
#[derive(Debug)]
pub struct SessionDetail {
    /// The session.
    pub session: SessionRow,
    /// Its connection, if it has one.
    pub connection: Option<ConnectionRow>,
    /// Bytes that its client has not taken yet.
    pub outbound_bytes: usize,
    /// Its subscriptions: the first 1,000.
    pub subscriptions: Vec<SubscriptionRow>,
    /// What waits, oldest first: the first 100.
    pub queue: Vec<QueueRow>,
    /// What is not acknowledged, oldest first: the first 100.
    pub inflight: Vec<InflightRow>,
    /// Its Will.
    pub will: Option<WillRow>,
}

/// A message that waits.
#[derive(Debug)]
pub struct QueueRow {
    /// Topic Name.
    pub topic: Box<str>,
    /// QoS of the delivery.
    pub qos: QoS,
    /// Bytes of the payload.
    pub payload_bytes: usize,
    /// When its Message Expiry Interval ends.
    pub expires_at: Option<Timestamp>,
}

/// A message that is not acknowledged.
#[derive(Debug)]
pub struct InflightRow {
    /// Packet Identifier.
    pub packet_id: u16,
    /// The message; `None`: PUBREL is sent, the message is delivered.
    pub message: Option<QueueRow>,
}

/// A Will.
#[derive(Debug)]
pub struct WillRow {
    /// Topic Name.
    pub topic: Box<str>,
    /// QoS.
    pub qos: QoS,
    /// Whether it is retained.
    pub retain: bool,
    /// Seconds between the connection's end and its publication.
    pub delay_s: u32,
}

impl Broker {
    pub(super) fn describe_session<E: Effects>(&self, name: &str, fx: &mut E) -> Option<Box<SessionDetail>> {
        let place = self.clients.find(name)?;
        let session = self.clients.sessions.get(place)?;
        let mount_len = mount_of(&session.client_id).len() as u16;
        let connection = session.connection.and_then(|id| self.clients.connections.get(id));
        Some(Box::new(SessionDetail {
            session: session_row(session),
            connection: connection.map(|connection| self.connection_row(session, connection)),
            outbound_bytes: session.connection.map_or(0, |id| fx.outbound_len(id)),
            subscriptions: session
                .subscriptions
                .iter()
                .take(SUBSCRIPTIONS_MAX)
                .filter_map(|subscription| self.subscription_row(place, session, subscription))
                .collect(),
            queue: queue_rows(session, mount_len),
            inflight: inflight_rows(session, mount_len),
            will: session.will.as_ref().map(|will| WillRow {
                topic: unmounted(will.message.topic(), mount_len).into(),
                qos: will.message.head().qos,
                retain: will.message.head().retain,
                delay_s: will.delay_s,
            }),
        }))
    }
}

fn queue_rows(session: &Session, mount_len: u16) -> Vec<QueueRow> {
    let Some(outbound) = &session.outbound else { return Vec::new() };
    outbound.mqueue.iter().take(QUEUE_MAX).map(|delivery| queue_row(delivery, mount_len)).collect()
}

fn inflight_rows(session: &Session, mount_len: u16) -> Vec<InflightRow> {
    let Some(outbound) = &session.outbound else { return Vec::new() };
    let row = |(id, slot): (crate::packet::PacketId, &Slot)| {
        let message = match slot {
            Slot::Done => return None,
            Slot::Publish(delivery) => Some(queue_row(delivery, mount_len)),
            Slot::Release { .. } => None,
        };
        Some(InflightRow { packet_id: id.value(), message })
    };
    outbound.inflight.iter().filter_map(row).take(INFLIGHT_MAX).collect()
}

fn queue_row(delivery: &Delivery, mount_len: u16) -> QueueRow {
    QueueRow {
        topic: unmounted(delivery.message.topic(), mount_len).into(),
        qos: delivery.qos,
        payload_bytes: delivery.message.payload().len(),
        expires_at: delivery.message.head().expires_at,
    }
}
