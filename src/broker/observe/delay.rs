//! How long messages take from their PUBLISH to the outputs of their receivers, of some of them: each 32nd is timed. The time of
//! its arrival travels with it; it has arrived when the turn ends in which a shard's sessions got it. What waits in an mqueue is
//! not counted: how slow a client is, is another question (`slow`).

use super::super::Broker;
use super::super::effects::Effects;
use super::super::publication::Publication;

/// One message in so many is timed. Two looks at the clock are 50 ns: 2 ns a message.
const ONE_IN: u64 = 32;

/// Arrivals of messages that were delivered in this turn, in microseconds of the machine's clock.
#[derive(Debug, Default)]
pub(in crate::broker) struct Delays {
    delivered: Vec<u32>,
}

impl Broker {
    /// When the message that is read now has arrived, if it is one of those that are timed; 0: it is not.
    #[inline]
    pub(in crate::broker) fn sample<E: Effects>(&self, fx: &mut E) -> u32 {
        if !self.metrics().messages_received.load().is_multiple_of(ONE_IN) {
            return 0;
        }
        fx.now_us() as u32
    }

    /// A message was given to sessions of this shard.
    #[inline]
    pub(in crate::broker) fn note_delivered(&mut self, publication: &Publication<'_>) {
        if publication.arrived_us != 0 {
            self.observe.delays.delivered.push(publication.arrived_us);
        }
    }

    /// What was delivered in this turn leaves now.
    #[inline]
    pub(in crate::broker) fn record_delays<E: Effects>(&mut self, fx: &mut E) {
        if self.observe.delays.delivered.is_empty() {
            return;
        }
        let now_us = fx.now_us() as u32;
        let Some(latency) = self.shared.latency.get(usize::from(self.shard.0)) else { return };
        for arrived_us in self.observe.delays.delivered.drain(..) {
            // The words wrap after 71 minutes: no message takes that long without waiting in an mqueue.
            latency.record(u64::from(now_us.wrapping_sub(arrived_us)));
        }
    }
}
