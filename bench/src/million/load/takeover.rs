//! Takeovers: a client connects a second time under its Client Identifier while it is connected. The broker accepts
//! the second connection and closes the first, in whatever order they are seen here; a takeover is done with both.

use std::collections::HashMap;

use shards::{ConnectionId, Io};

use super::Load;
use super::clients::{Phase, Role};
use super::handshake::{ANSWER_MAX_US, SECOND_KEY};

/// A second connection under way.
#[derive(Debug)]
struct Takeover {
    since_us: u64,
    /// The second connection, as bits; 0: not connected yet.
    second: u64,
    /// CONNACK on the second one has come.
    accepted: bool,
    /// The broker has closed the first one.
    first_closed: bool,
}

/// All of them, by client.
#[derive(Debug, Default)]
pub(super) struct Takeovers(HashMap<u32, Takeover>);

impl Takeovers {
    /// How many are under way.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The second connection as bits, 0 until there is one; `None`: the client is not being taken over.
    pub(super) fn second(&self, local: u32) -> Option<u64> {
        self.0.get(&local).map(|t| t.second)
    }

    /// The first connection has ended; `false`: the client is not being taken over.
    pub(super) fn first_closed(&mut self, local: u32) -> bool {
        self.0.get_mut(&local).map(|t| t.first_closed = true).is_some()
    }
}

impl Load {
    /// Whether the client's first connection is to be ended by the broker now.
    pub(super) fn is_taken_over(&self, local: u32) -> bool {
        self.takeovers.0.contains_key(&local)
    }

    /// Begins one.
    pub(super) fn dial_again(&mut self, io: &mut Io<'_, Self>, local: u32) {
        let since_us = io.now_us();
        self.handshakes.under_way.insert(local, since_us);
        let takeover = Takeover { since_us, second: 0, accepted: false, first_closed: false };
        self.takeovers.0.insert(local, takeover);
        self.connect(io, local, u64::from(local) | SECOND_KEY);
    }

    /// TCP of the second connection is there; `false`: nobody waits for it.
    pub(super) fn dialled_again(&mut self, connection: ConnectionId, local: u32) -> bool {
        let Some(takeover) = self.takeovers.0.get_mut(&local) else { return false };
        takeover.second = connection.to_bits();
        self.clients.own(connection, local, Role::Second);
        true
    }

    /// The second connection did not come; the first may be there still.
    pub(super) fn takeover_failed(&mut self, local: u32, reason: String) {
        self.failed(reason);
        self.handshakes.under_way.remove(&local);
        self.totals.given_up += 1;
        if self.takeovers.0.remove(&local).is_some_and(|t| t.first_closed) {
            self.clients[local].phase = Phase::Lost;
        }
    }

    /// CONNACK on the second connection: it is the client's from now on.
    pub(super) fn accepted_second(&mut self, io: &Io<'_, Self>, connection: ConnectionId, local: u32) {
        let Some(takeover) = self.takeovers.0.get_mut(&local) else { return };
        takeover.accepted = true;
        if !takeover.first_closed {
            let first = ConnectionId::from_bits(self.clients[local].connection);
            self.clients.own(first, local, Role::Old);
            self.totals.held -= 1;
        }
        self.clients.own(connection, local, Role::First);
        self.clients[local].connection = connection.to_bits();
        self.clients[local].pinged = false;
        self.check_taken_over(io, local);
    }

    /// Both ends of a takeover are there: it is done.
    fn check_taken_over(&mut self, io: &Io<'_, Self>, local: u32) {
        let done = |t: &&Takeover| t.accepted && t.first_closed;
        let Some(since_us) = self.takeovers.0.get(&local).filter(done).map(|t| t.since_us) else {
            return;
        };
        self.takeovers.0.remove(&local);
        self.figures.latency.record(io.now_us().saturating_sub(since_us));
        self.totals.done += 1;
    }

    /// The broker has closed the first one after it accepted the second.
    pub(super) fn old_ended(&mut self, io: &Io<'_, Self>, local: u32) {
        if self.takeovers.first_closed(local) {
            self.check_taken_over(io, local);
        }
    }

    /// Counts what the broker does not bring to an end.
    pub(super) fn look_after_takeovers(&mut self, now_us: u64) {
        let late = |t: &Takeover| t.accepted && now_us.saturating_sub(t.since_us) > ANSWER_MAX_US;
        let clinging: Vec<u32> = self.takeovers.0.iter().filter(|(_, t)| late(t)).map(|(l, _)| *l).collect();
        for local in clinging {
            self.takeovers.0.remove(&local);
            self.totals.given_up += 1;
            self.failed("takeover: the first connection was not closed within 30 s".into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_client_that_is_taken_over_has_a_first_connection_to_lose() {
        let mut takeovers = Takeovers::default();
        assert!(!takeovers.first_closed(3) && takeovers.second(3).is_none());
        let takeover = Takeover { since_us: 0, second: 0, accepted: false, first_closed: false };
        takeovers.0.insert(3, takeover);
        assert!(takeovers.first_closed(3));
        assert_eq!((takeovers.second(3), takeovers.len()), (Some(0), 1));
    }
}
