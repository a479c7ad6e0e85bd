//! The order in which a session's PUBLISHes are committed: that in which they came, whichever shard answers first. What a crash
//! leaves is then a beginning of what the client has published, and what it repeats comes behind that [MQTT-4.6.0-6].
//! Only what waits for other shards (or comes behind that) has a place here.

use std::collections::VecDeque;

use hashbrown::HashMap;

use super::journal::{CommitKey, Reach};
use crate::session::{ConnectionId, SessionSerial};

/// A place in the line of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    session: SessionSerial,
    number: u32,
}

/// A publisher's PUBLISH on its way.
#[derive(Debug)]
pub(super) struct Publisher {
    /// Who waits for the acknowledgement.
    pub(super) connection: ConnectionId,
    /// Its place among those that the connection is owed.
    pub(super) number: u32,
    /// What its `Commit` says.
    pub(super) key: CommitKey,
    /// Its place in the line; `None`: no older one is under way.
    pub(super) place: Option<Place>,
}

/// The PUBLISHes of one session, oldest first; `None`: its answers are still awaited.
#[derive(Debug, Default)]
struct Line {
    first: u32,
    ring: VecDeque<Option<(Publisher, Reach)>>,
}

/// All lines. Bounded by the operations under way and what connections are owed behind them.
#[derive(Debug, Default)]
pub(super) struct CommitOrder {
    lines: HashMap<SessionSerial, Line, ahash::RandomState>,
}

impl CommitOrder {
    /// A place for a PUBLISH that waits for other shards.
    pub(super) fn join(&mut self, session: SessionSerial) -> Place {
        let line = self.lines.entry(session).or_default();
        line.ring.push_back(None);
        Place { session, number: line.first.wrapping_add(line.ring.len() as u32 - 1) }
    }

    /// Whether PUBLISHes of a session wait for their answers.
    pub(super) fn has_line(&self, session: SessionSerial) -> bool {
        self.lines.contains_key(&session)
    }

    /// A place for a PUBLISH that waits for nobody, if older ones of its session do.
    pub(super) fn follow(&mut self, session: SessionSerial) -> Option<Place> {
        (!self.lines.is_empty() && self.lines.contains_key(&session)).then(|| self.join(session))
    }

    /// Everyone who wants the PUBLISH at `place` has it.
    pub(super) fn arrived(&mut self, place: Place, publisher: Publisher, reach: Reach) {
        let Some(line) = self.lines.get_mut(&place.session) else { return };
        if let Some(waiting) = line.ring.get_mut(place.number.wrapping_sub(line.first) as usize) {
            *waiting = Some((publisher, reach));
        }
    }

    /// The oldest of the session of `place`, if it may be committed. One at a time: what is committed may bring its client's next one.
    pub(super) fn next_ready(&mut self, place: Place) -> Option<(Publisher, Reach)> {
        let line = self.lines.get_mut(&place.session)?;
        let ready = line.ring.front_mut()?.take()?;
        line.ring.pop_front();
        line.first = line.first.wrapping_add(1);
        if line.ring.is_empty() {
            self.lines.remove(&place.session);
        }
        Some(ready)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn publisher(number: u32, place: Place) -> Publisher {
        let connection = ConnectionId { index: 1, generation: 1 };
        Publisher { connection, number, key: CommitKey::default(), place: Some(place) }
    }

    #[test]
    fn mqtt_4_6_0_6_a_later_publish_is_not_committed_before_an_earlier_one() {
        let mut order = CommitOrder::default();
        let (one, other) = (SessionSerial(1), SessionSerial(2));
        assert!(order.follow(one).is_none());
        let places = [order.join(one), order.join(one), order.follow(one).unwrap()];
        assert!(order.has_line(one) && !order.has_line(other));
        let alone = order.join(other);
        for at in [2, 1] {
            order.arrived(places[at], publisher(at as u32, places[at]), Reach::default());
            assert!(order.next_ready(places[at]).is_none());
        }
        order.arrived(alone, publisher(9, alone), Reach::default());
        assert_eq!(order.next_ready(alone).unwrap().0.number, 9);
        order.arrived(places[0], publisher(0, places[0]), Reach::matched(true));
        let (first, reach) = order.next_ready(places[0]).unwrap();
        assert_eq!((first.number, reach.matched), (0, true));
        // One that comes while the others are on their way out is behind them.
        let last = order.follow(one).unwrap();
        order.arrived(last, publisher(3, last), Reach::default());
        let rest = std::iter::from_fn(|| order.next_ready(last)).map(|(publisher, _)| publisher.number);
        assert_eq!(rest.collect::<Vec<_>>(), [1, 2, 3]);
        assert!(order.lines.is_empty());
    }
}
