//! The end by SIGTERM, in the middle of the wild time: every shard hears of it at a moment of its own, clients go on
//! as if nothing were.

use crate::client::Mood;
use crate::effects::{Delays, Order};
use crate::scenario::Scenario;
use crate::socket::Place;
use crate::trace::{Check, broken, ensure};

/// Virtual time within which everyone is away, connections that were on their way home included.
const DRAIN_MS: u64 = 20_000;
/// Time in which clients read what they were told.
const AFTERWARDS_MS: u64 = 6_000;

impl Scenario {
    /// From the signal to the moment at which the process would end.
    pub(super) fn drain(&mut self) -> Check {
        let from = self.world.now;
        self.world.trace.note(|| "drain".to_owned());
        self.model.drain_from = Some(from);
        for state in &mut self.world.states {
            let at = from + Delays::some(&mut self.world.random, 500);
            state.orders.push_back((at, Order::Drain));
        }
        while !self.is_drained() {
            if self.world.now > from + DRAIN_MS {
                return broken("drain-comes-to-rest", self.world.unsettled());
            }
            self.step()?;
        }
        self.mood = Mood::Calm;
        let drained_at = self.world.now;
        while self.world.now < drained_at + AFTERWARDS_MS {
            self.step()?;
        }
        ensure(self.is_drained(), "drain-comes-to-rest", || self.world.unsettled())?;
        let accepting = self.world.states.iter().position(|state| state.accepting);
        ensure(accepting.is_none(), "drain-accepts-nobody", || format!("shard {accepting:?}"))?;
        let clients = self.gauge("clients");
        ensure(clients == 0, "gauges-back-to-zero", || format!("{clients} clients after the drain"))?;
        let held = self.gauge("inflight") + self.gauge("queues");
        self.model.drained(self.world.now, self.gauge("sessions_persistent"), held)
    }

    /// Every broker says so, and nobody is on the way to one.
    fn is_drained(&self) -> bool {
        let left = |place: Place| matches!(place, Place::At(..) | Place::Moving { .. });
        self.world.nodes.iter().all(|node| node.is_drained())
            && !self.world.sockets.iter().any(|socket| left(socket.place))
    }
}
