//! A delivery as the journal has it.

use super::EntryError;
use super::bytes::{byte, flag, narrow, numbers, put_bytes, put_varint, qos, string, text, varint};
use super::kind;
use crate::packet::QoS;

/// A message comes to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredDelivery<'a> {
    /// To whom.
    pub serial: u64,
    /// Which message: its `Message` entry may come later in the journal.
    pub number: u64,
    /// QoS of the delivery, 1 or 2.
    pub qos: QoS,
    /// RETAIN of the delivery.
    pub retain: bool,
    /// Counts only if a `Commit` or `Confirm` of the message is somewhere in the journal.
    pub is_conditional: bool,
    /// Its Packet Identifier if it is inflight; `None`: it waits in the mqueue.
    pub packet_id: Option<u16>,
    /// Subscription Identifiers.
    pub subscription_ids: SubscriptionIds<'a>,
    /// Share Name and Topic Filter of the Shared Subscription that chose the session.
    pub share: Option<(&'a str, &'a str)>,
}

/// Subscription Identifiers, in memory or as varints on disk.
#[derive(Debug, Clone, Copy)]
pub enum SubscriptionIds<'a> {
    /// As numbers.
    Numbers(&'a [u32]),
    /// As they lie in the journal, checked.
    Encoded(&'a [u8]),
}

impl SubscriptionIds<'_> {
    /// Them as numbers.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let (numbers, mut encoded): (&[u32], &[u8]) = match self {
            Self::Numbers(numbers) => (numbers, &[]),
            Self::Encoded(bytes) => (&[], bytes),
        };
        let decoded = std::iter::from_fn(move || {
            (!encoded.is_empty()).then(|| varint(&mut encoded).map_or(0, |id| id as u32))
        });
        numbers.iter().copied().chain(decoded)
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        match self {
            Self::Numbers(numbers) => numbers.is_empty(),
            Self::Encoded(bytes) => bytes.is_empty(),
        }
    }
}

impl PartialEq for SubscriptionIds<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for SubscriptionIds<'_> {}

impl<'a> StoredDelivery<'a> {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let flags = self.qos as u8
            | if self.retain { flag::RETAIN } else { 0 }
            | if self.is_conditional { flag::CONDITIONAL } else { 0 }
            | if self.packet_id.is_some() { flag::PACKET_ID } else { 0 }
            | if self.subscription_ids.is_empty() { 0 } else { flag::IDS }
            | if self.share.is_some() { flag::SHARE } else { 0 };
        numbers(out, kind::DELIVER, [self.serial, self.number]);
        out.push(flags);
        if let Some(packet_id) = self.packet_id {
            put_varint(out, u64::from(packet_id));
        }
        if !self.subscription_ids.is_empty() {
            let mut ids = Vec::new();
            self.subscription_ids.iter().for_each(|id| put_varint(&mut ids, u64::from(id)));
            put_bytes(out, &ids);
        }
        if let Some((name, filter)) = self.share {
            put_bytes(out, name.as_bytes());
            put_bytes(out, filter.as_bytes());
        }
    }

    pub(super) fn decode(bytes: &mut &'a [u8]) -> Result<Self, EntryError> {
        let (serial, number) = (varint(bytes)?, varint(bytes)?);
        let flags = byte(bytes)?;
        let packet_id =
            if flags & flag::PACKET_ID != 0 { Some(narrow(bytes, "packet identifier")?) } else { None };
        let ids = if flags & flag::IDS != 0 { string(bytes)? } else { &[] };
        let mut rest = ids;
        while !rest.is_empty() {
            narrow::<u32>(&mut rest, "Subscription Identifier")?;
        }
        Ok(Self {
            serial,
            number,
            qos: qos(flags)?,
            retain: flags & flag::RETAIN != 0,
            is_conditional: flags & flag::CONDITIONAL != 0,
            packet_id,
            subscription_ids: SubscriptionIds::Encoded(ids),
            share: if flags & flag::SHARE != 0 { Some((text(bytes)?, text(bytes)?)) } else { None },
        })
    }
}
