//! Retained messages: many clients publish them, each one at a time; one client subscribes to all of them.

use shards::{ConnectionId, Io};

use super::Load;
use super::clients::Phase;
use crate::scanner::PayloadHeader;
use crate::wire;

/// Marks the payload of a retained message; no stage has this number.
pub(super) const RETAINED: u32 = u32::MAX;
/// The Packet Identifier of the SUBSCRIBE is one above; the clients' own have 1 and 2.
const SUBSCRIBE_NUMBER: u16 = 2;

/// Which topics are still to be published; this shard's are every `shards`-th.
#[derive(Debug, Default)]
pub(super) struct Retain {
    next: u32,
    end: u32,
}

impl Load {
    /// Publishes to the topics below `topics` that are this shard's, one under way for each held client.
    pub(super) fn retain(&mut self, io: &mut Io<'_, Self>, topics: u32) {
        self.retain = Retain { next: self.shard.into(), end: topics };
        for local in 0..self.handshakes.begun() {
            if self.clients[local].phase == Phase::Held {
                self.retain_next(io, local);
            }
        }
    }

    fn retain_next(&mut self, io: &mut Io<'_, Self>, local: u32) {
        let topic = self.retain.next;
        if topic >= self.retain.end {
            return;
        }
        self.retain.next = topic.saturating_add(self.shards.into());
        self.traffic.write_retained(&self.plan.prefix, topic);
        let header = PayloadHeader { stamp_ns: 0, publisher: RETAINED, sequence: topic };
        self.clients[local].sent_s = Self::second(io);
        self.publish(io, local, 1, true, header);
    }

    /// One has been acknowledged: the next.
    pub(super) fn retained(&mut self, io: &mut Io<'_, Self>, local: u32) {
        self.totals.retained += 1;
        self.retain_next(io, local);
    }

    /// One has been delivered.
    pub(super) fn retained_delivered(&mut self, header: &PayloadHeader) {
        if self.traffic.first_time(0, header.sequence) {
            self.totals.retained_delivered += 1;
        } else {
            self.figures.duplicates += 1;
        }
    }

    /// Subscribes `client`, if it is this shard's, to all of them.
    pub(super) fn subscribe_retained(&mut self, io: &mut Io<'_, Self>, client: u32, qos: u8) {
        if client % u32::from(self.shards) != u32::from(self.shard) {
            return;
        }
        let local = client / u32::from(self.shards);
        let Some(connection) = self.clients.find(local).map(|c| ConnectionId::from_bits(c.connection)) else {
            return;
        };
        let filter = format!("{}/r/#", self.plan.prefix);
        wire::subscribe(io.output(connection), self.plan.version, SUBSCRIBE_NUMBER, &filter, qos);
    }
}
