//! Hand-overs: a parcel (payload, address, bytes already received) travels with the messages, the
//! descriptor through the kernel; a token marries them at the target in either order of arrival.
//!
//! The sender reserves the slot at the target first, so the kernel refuses only when the target has ended.

use super::{Core, Shard};
use crate::application::{Application, ConnectionId, ShardId};
use crate::io::Io;
use crate::mailbox::{Letter, Parcel, Urgent};
use crate::net::{Event, Net};

/// A connection on its way out.
pub(crate) struct Departure {
    token: u64,
    to: u16,
    /// The target's port at which a slot is reserved.
    port: usize,
}

/// Bits of a token below the sender's number.
const SEQUENCE_BITS: u32 = 40;

impl<A: Application> Core<A> {
    /// Gives a connection away; see `Io::hand_over`.
    pub(crate) fn hand_over(&mut self, id: ConnectionId, to: ShardId, payload: A::HandOver) {
        if self.net.table.open(id).is_none() {
            return;
        }
        let accepted = self.net.may_leave(id);
        let elsewhere = to != self.shard && !self.post.gone(to.0);
        let target = self.ports.get(usize::from(to.0)).filter(|_| elsewhere && accepted.is_some());
        let reserved = target.and_then(|ports| Net::reserve_port(ports));
        let (Some(accepted), Some((fd, port))) = (accepted, reserved) else {
            self.failed.push_back((id, payload));
            return;
        };
        self.next_token += 1;
        let token = u64::from(self.shard.0) << SEQUENCE_BITS | self.next_token & ((1 << SEQUENCE_BITS) - 1);
        let unread = self.net.leave(id, fd, token);
        self.departures.insert(id.index(), Departure { token, to: to.0, port });
        self.post.send(to.0, Letter::HandOver(Box::new(Parcel { token, accepted, unread, payload })));
    }

    /// Bytes came for a connection that is leaving: they follow the parcel.
    pub(super) fn send_late(&mut self, id: ConnectionId, bytes: Vec<u8>) {
        if let Some(departure) = self.departures.get(&id.index()) {
            let (token, to) = (departure.token, departure.to);
            self.post.send_urgent(to, Urgent::Late(token, bytes));
        }
    }

    /// The descriptor could not leave: asks for the parcel.
    pub(super) fn hand_over_broken(&mut self, id: ConnectionId) {
        let Some(departure) = self.departures.get(&id.index()) else { return };
        let (token, to, port) = (departure.token, departure.to, departure.port);
        if let Some(port) = self.ports.get(usize::from(to)).and_then(|ports| ports.get(port)) {
            port.give_back(1);
        }
        if self.post.gone(to) {
            self.departures.remove(&id.index());
            self.net.lose(id);
        } else {
            self.post.send_urgent(to, Urgent::Withdraw(token));
        }
    }

    /// Handles what goes ahead of the lanes.
    pub(super) fn urgent(&mut self, from: u16, urgent: Urgent<A::HandOver>) {
        match urgent {
            Urgent::Late(token, bytes) => self.late.entry(token).or_default().extend_from_slice(&bytes),
            Urgent::Withdraw(token) => {
                let late = self.late.remove(&token).unwrap_or_default();
                let Some(mut parcel) = self.post.inlets[usize::from(from)].withdraw(token) else { return };
                parcel.unread.extend_from_slice(&late);
                self.post.send_urgent(from, Urgent::Returned(token, parcel.unread, parcel.payload));
            }
            Urgent::Returned(token, unread, payload) => {
                let found = self.departures.iter().find(|(_, departure)| departure.token == token);
                let Some((&index, _)) = found else { return };
                self.departures.remove(&index);
                let Some(generation) = self.net.table.slot(index).map(|c| c.generation) else { return };
                let id = ConnectionId { index, generation };
                if self.net.stay(id, unread) {
                    self.failed.push_back((id, payload));
                }
            }
        }
    }
}

impl<A: Application> Shard<A> {
    /// A descriptor has come. It waits for its parcel, which this turn's mail brings at the latest.
    pub(super) fn descriptor_arrived(&mut self, token: u64, index: u32) {
        self.core.arrived.insert(token, index);
        let from = (token >> SEQUENCE_BITS) as usize;
        if let Some(inlet) = self.core.post.inlets.get_mut(from) {
            inlet.active = true;
        }
    }

    /// Lets the waiting parcel from `from` in if its descriptor has come; `false`: it has to wait on.
    pub(super) fn marry(&mut self, from: usize) -> bool {
        let Some(parcel) = self.core.post.inlets[from].waiting.take() else { return true };
        let Some(index) = self.core.arrived.remove(&parcel.token) else {
            self.core.post.inlets[from].waiting = Some(parcel);
            return false;
        };
        let Some(id) = self.core.net.settle_in(index, &parcel.accepted) else { return true };
        let mut unread = parcel.unread;
        if let Some(late) = self.core.late.remove(&parcel.token) {
            unread.extend_from_slice(&late);
        }
        // Put aside first: the callback may pause the connection or give it away again.
        if !unread.is_empty() {
            self.core.net.put_aside(id, &unread);
        }
        let core = &mut self.core;
        self.application.handed_over(&mut Io { core }, id, parcel.accepted, parcel.payload);
        self.event(Event::Unstash(id));
        true
    }
}
