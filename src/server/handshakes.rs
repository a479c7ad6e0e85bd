//! TLS handshakes cost a signature each, 0.1 to 1 ms: a shard spends a part of a turn on them, and what is left waits in
//! order, so that a storm of new clients does not delay those that are connected.

use std::collections::VecDeque;

/// Microseconds of one turn that handshakes may take. Clients that are connected wait at most so long, and one handshake
/// more, for storms.
const TURN_BUDGET_US: u64 = 4_000;

/// The handshakes of one shard. A connection has one place in the queue, since it is not read while it waits, and keeps its
/// bytes itself: who leaves takes them along, and his place of 8 bytes is passed over when it comes up.
#[derive(Debug)]
pub(super) struct Handshakes<C> {
    /// Microseconds left of this turn.
    left_us: u64,
    waiting: VecDeque<C>,
}

impl<C> Handshakes<C> {
    /// None waits.
    pub(super) fn new() -> Self {
        Self { left_us: TURN_BUDGET_US, waiting: VecDeque::new() }
    }

    /// Whether a handshake may go on now: nobody waits and there is time left.
    pub(super) fn may_go_on(&self) -> bool {
        self.waiting.is_empty() && self.left_us > 0
    }

    /// Lets a connection wait; its reading has to be paused.
    pub(super) fn wait(&mut self, connection: C) {
        self.waiting.push_back(connection);
    }

    /// A handshake has taken this long.
    pub(super) fn spend(&mut self, us: u64) {
        self.left_us = self.left_us.saturating_sub(us);
    }

    /// The next that waits, if there is time left.
    pub(super) fn next(&mut self) -> Option<C> {
        if self.left_us == 0 {
            return None;
        }
        self.waiting.pop_front()
    }

    /// Ends a turn. Whether some wait for the next one.
    pub(super) fn end_turn(&mut self) -> bool {
        self.left_us = TURN_BUDGET_US;
        if self.waiting.is_empty() && self.waiting.capacity() > 0 {
            self.waiting = VecDeque::new();
        }
        !self.waiting.is_empty()
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spends `cost_us` on each that comes up until the turn is over.
    fn turn(handshakes: &mut Handshakes<u32>, cost_us: u64) -> Vec<u32> {
        let mut served = Vec::new();
        while let Some(connection) = handshakes.next() {
            served.push(connection);
            handshakes.spend(cost_us);
        }
        handshakes.end_turn();
        served
    }

    #[test]
    fn a_turn_serves_what_fits_into_its_time_and_in_order() {
        let mut handshakes = Handshakes::new();
        for connection in 0..10 {
            handshakes.wait(connection);
        }
        assert_eq!(turn(&mut handshakes, 1500), [0, 1, 2]);
        assert_eq!(turn(&mut handshakes, TURN_BUDGET_US * 3), [3], "at least one a turn");
        assert_eq!(turn(&mut handshakes, 1), [4, 5, 6, 7, 8, 9]);
        assert_eq!(turn(&mut handshakes, 1), [0; 0]);
    }

    #[test]
    fn who_comes_later_waits_behind() {
        let mut handshakes = Handshakes::new();
        assert!(handshakes.may_go_on());
        handshakes.spend(TURN_BUDGET_US);
        assert!(!handshakes.may_go_on(), "the time of this turn is over");
        handshakes.wait(1);
        assert!(handshakes.end_turn());
        assert!(!handshakes.may_go_on(), "somebody waits");
        assert_eq!(turn(&mut handshakes, 1), [1]);
        assert!(handshakes.may_go_on());
        assert_eq!(handshakes.waiting.capacity(), 0, "no memory is kept");
    }
}
