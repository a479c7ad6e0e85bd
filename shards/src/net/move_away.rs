//! Hand-over: a descriptor leaves for another ring (IORING_MSG_SEND_FD) or comes from one.

use io_uring::types::{DestinationSlot, Fd, Fixed};
use io_uring::{opcode, squeue};

use super::close::cancel_poll;
use super::{Event, Net};
use crate::application::{Accepted, Closed, ConnectionId};
use crate::connection::{NONE, State, flag};
use crate::ring::{Operation, TOKEN_MASK};

impl Net {
    /// Where a connection came from, if it may leave: open, and with no output pending.
    pub(crate) fn may_leave(&mut self, id: ConnectionId) -> Option<Accepted> {
        let connection = self.table.open(id)?;
        let (output, accepted) = (connection.output, connection.accepted());
        (output == NONE || self.outbounds[output].len() == 0).then_some(accepted)
    }

    /// Sends the descriptor to the ring with descriptor number `fd` at the end of the turn. Returns the bytes
    /// that were received and not delivered.
    pub(crate) fn leave(&mut self, id: ConnectionId, fd: i32, token: u64) -> Vec<u8> {
        let unread = self.unstash(id);
        if let Some(connection) = self.table.open(id) {
            connection.state = State::HandingOver;
        }
        self.moving.push((id, fd, token));
        unread
    }

    /// Submits the chains of the connections that leave.
    pub(super) fn push_moves(&mut self) {
        let mut moving = std::mem::take(&mut self.moving);
        moving.retain(|&(id, fd, token)| {
            let Some(connection) = self.table.find(id).filter(|c| c.state == State::HandingOver) else {
                return false;
            };
            if connection.has(flag::RECEIVING) {
                // A RECV that is still under way would steal bytes from the target.
                return true;
            }
            self.push_chain(id, fd, token);
            false
        });
        self.moving = moving;
    }

    fn push_chain(&mut self, id: ConnectionId, fd: i32, token: u64) {
        let (ring, slot) = self.place(id.index);
        let armed = !self.table.find(id).is_some_and(|c| c.has(flag::UNARMED));
        // The cancel may find nothing, hence the hard link. Without the close here the peer would never see
        // a FIN from the target.
        let flags = squeue::Flags::IO_HARDLINK | squeue::Flags::SKIP_SUCCESS;
        let cancel = cancel_poll(Operation::Poll, id, slot).flags(flags);
        let target = Operation::HandedOver.with_token(token);
        let send = opcode::MsgRingSendFd::new(Fd(fd), Fixed(slot), DestinationSlot::auto_target(), target)
            .build()
            .flags(squeue::Flags::IO_LINK | squeue::Flags::SKIP_SUCCESS)
            .user_data(Operation::HandOver.on(id.generation, slot));
        let close =
            opcode::Close::new(Fixed(slot)).build().user_data(Operation::Close.on(id.generation, slot));
        // SAFETY: none names memory.
        unsafe {
            match armed {
                true => self.ring(ring).push_chain(&[cancel, send, close]),
                // Straight from its first RECV: nothing is there to cancel.
                false => self.ring(ring).push_chain(&[send, close]),
            }
        }
    }

    /// The descriptor did not leave: it stays, without a poll, until its parcel has come back.
    pub(super) fn hand_over_failed(&mut self, id: ConnectionId, result: i32) -> Option<Event> {
        if result >= 0 {
            return None;
        }
        tracing::warn!(errno = -result, "a hand-over was refused by the kernel");
        self.table.find(id).filter(|c| c.state == State::HandingOver).map(|_| Event::HandOverBroken(id))
    }

    /// The connection stays on this shard after all.
    pub(crate) fn stay(&mut self, id: ConnectionId, unread: Vec<u8>) -> bool {
        let Some(connection) = self.table.find(id).filter(|c| c.state == State::HandingOver) else {
            return false;
        };
        connection.state = State::Open;
        connection.set(flag::READABLE);
        if !unread.is_empty() {
            self.put_aside(id, &unread);
            self.events.push_back(Event::Unstash(id));
        }
        // A fresh poll speaks at once if something is readable.
        self.arm(id);
        true
    }

    /// The connection can neither leave nor stay: its parcel is lost.
    pub(crate) fn lose(&mut self, id: ConnectionId) {
        self.begin_close(id, Closed::Error(std::io::ErrorKind::NotConnected), false);
    }

    /// A descriptor has come; its slot had been reserved by the sender.
    pub(super) fn arrived(&mut self, ring: u16, result: i32, user_data: u64) -> Option<Event> {
        if result < 0 {
            return None;
        }
        Some(Event::Arrived { token: user_data & TOKEN_MASK, index: self.index(ring, result as u32) })
    }

    /// Descriptor and parcel have met: the connection lives here now.
    pub(crate) fn settle_in(&mut self, index: u32, accepted: &Accepted) -> Option<ConnectionId> {
        let id = self.begin(index, accepted)?;
        self.arm(id);
        if accepted.over_capacity {
            self.acceptor.refused += 1;
        }
        self.counts.handed_over += 1;
        Some(id)
    }

    /// Reserves a slot of the first of `ports` that has one; the descriptor number of its ring.
    pub(crate) fn reserve_port(ports: &[std::sync::Arc<crate::ring::Port>]) -> Option<(i32, usize)> {
        let position = ports.iter().position(|port| port.reserve(0))?;
        Some((ports.get(position)?.fd.load(std::sync::atomic::Ordering::Acquire), position))
    }
}
