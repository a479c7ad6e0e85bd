//! Clients are sent away at a pace before a restart, so that they do not all come back, or go elsewhere, in one moment. New ones
//! are refused meanwhile. Unlike at SIGTERM the node goes on, and can be told to let clients in again.

use super::super::Broker;
use super::super::deliver::count_sent;
use super::super::disconnect::End;
use super::super::effects::{Close, Effects, Timer};
use crate::clock::Timestamp;
use crate::connection::Phase;
use crate::packet::{Disconnect, ProtocolVersion, ReasonCode};
use crate::session::ConnectionId;

/// Time between two steps.
const STEP_MS: u64 = 50;
/// A step that comes late makes up for no more than this.
const ARREARS_MS: u64 = 1_000;
/// Clients sent away in one step, and places looked at for them.
const STEP_BUDGET: u64 = 1_024;
const SCAN_BUDGET: u32 = 16_384;

/// How clients are to be sent away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrainOrder {
    /// Clients a second, of the whole node.
    pub rate: u32,
    /// Where they shall go, as MQTT 5.0 section 4.11 has it; `None`: they may come back here later.
    pub server_reference: Option<Box<str>>,
    /// For good: Server moved (0x9D) in place of Use another server (0x9C).
    pub is_permanent: bool,
}

impl DrainOrder {
    /// Reason Code of the DISCONNECTs, and of the CONNACKs for who comes meanwhile.
    const fn reasons(&self) -> (ReasonCode, ReasonCode) {
        match (&self.server_reference, self.is_permanent) {
            (Some(_), true) => (ReasonCode::ServerMoved, ReasonCode::ServerMoved),
            (Some(_), false) => (ReasonCode::UseAnotherServer, ReasonCode::UseAnotherServer),
            (None, _) => (ReasonCode::ServerShuttingDown, ReasonCode::ServerUnavailable),
        }
    }
}

/// How far a shard is.
#[derive(Debug)]
pub(super) struct Draining {
    order: DrainOrder,
    /// Where the search for the next client goes on.
    next: u32,
    pace: Pace,
}

/// When the next client is due: the node's rate, evenly over its shards.
#[derive(Debug)]
struct Pace {
    rate: u64,
    shards: u64,
    /// In thousandths of a client, times shards.
    saved: u64,
    since: Timestamp,
}

impl Pace {
    /// How many clients are due now.
    fn due(&mut self, now: Timestamp) -> u64 {
        let elapsed_ms = now.ms_since(self.since).min(ARREARS_MS);
        self.since = now;
        self.saved = (self.saved + self.rate * elapsed_ms).min(STEP_BUDGET * self.price());
        self.saved / self.price()
    }

    fn spend(&mut self, clients: u64) {
        self.saved = self.saved.saturating_sub(clients * self.price());
    }

    const fn price(&self) -> u64 {
        1_000 * self.shards
    }
}

impl Broker {
    pub(super) fn begin_to_send_away<E: Effects>(&mut self, now: Timestamp, order: DrainOrder, fx: &mut E) {
        let (rate, shards) = (u64::from(order.rate), u64::from(self.shards.max(1)));
        // Shards begin at different places of their first client's time: at a low rate they take turns.
        let saved = u64::from(self.shard.0) * 1_000;
        let pace = Pace { rate, shards, saved, since: now };
        self.modules.drain = Some(Draining { order, next: 0, pace });
        self.want_drain_timer(now, fx);
    }

    fn want_drain_timer<E: Effects>(&mut self, now: Timestamp, fx: &mut E) {
        if !self.modules.drain_timer_is_set {
            self.modules.drain_timer_is_set = true;
            fx.set_timer(Timer::Drain, now.plus_ms(STEP_MS));
        }
    }

    /// A step of it, if it goes on.
    pub(in crate::broker) fn send_away<E: Effects>(&mut self, now: Timestamp, fx: &mut E) {
        self.modules.drain_timer_is_set = false;
        let Some(mut draining) = self.modules.drain.take() else { return };
        let due = draining.pace.due(now);
        let mut sent = 0;
        let mut places = SCAN_BUDGET;
        while sent < due && !self.clients.connections.is_empty() {
            let found = self.clients.connections.next_within(draining.next, &mut places);
            let id = match found {
                Ok(id) => id,
                // The budget is spent, or the table ends here.
                Err(next) => {
                    draining.next = next.unwrap_or(0);
                    break;
                }
            };
            draining.next = id.index + 1;
            sent += u64::from(self.send_one_away(now, id, &draining.order, fx));
        }
        draining.pace.spend(sent);
        self.modules.drain = Some(draining);
        self.want_drain_timer(now, fx);
    }

    /// Whether the connection was that of a client; one before its CONNECT is refused when that comes.
    fn send_one_away<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        order: &DrainOrder,
        fx: &mut E,
    ) -> bool {
        let Some(connection) = self.clients.connections.get(id) else { return false };
        if connection.phase != Phase::Connected || self.is_bridge(id) {
            return false;
        }
        let (reason, _) = order.reasons();
        if connection.is_v5() {
            let reference = order.server_reference.as_deref();
            let fits = |reference: &&str| reference.len() + 16 <= connection.packet_bytes_max as usize;
            let server_reference = reference.filter(fits);
            let output = fx.output(id);
            let before = output.len();
            Disconnect { server_reference, ..Disconnect::new(reason) }.encode(ProtocolVersion::V5, output);
            let metrics = self.metrics();
            count_sent(metrics, &metrics.packets_disconnect_sent, output.len() - before);
        }
        self.metrics().drain_sent_away.inc();
        fx.close(id, Close::Flush);
        // The node goes on, so this is no end of it: the Will of each is published as the specification has it [MQTT-3.1.2-8].
        self.failure = Some(reason);
        self.end_connection(now, id, End::Lost, fx);
        self.failure = None;
        true
    }

    /// Why nobody may come in now, if that is so.
    pub(in crate::broker) fn drain_refusal(&self) -> Option<ReasonCode> {
        if self.draining.is_some() {
            return Some(ReasonCode::ServerUnavailable);
        }
        self.modules.drain.as_ref().map(|draining| draining.order.reasons().1)
    }

    /// What a CONNACK with this Reason Code says of where to go.
    pub(in crate::broker) fn server_reference(&self, reason: ReasonCode) -> Option<&str> {
        let is_elsewhere = matches!(reason, ReasonCode::UseAnotherServer | ReasonCode::ServerMoved);
        self.modules.drain.as_ref().filter(|_| is_elsewhere)?.order.server_reference.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clients that are due in a time, in steps of so many milliseconds.
    fn due_in(ms: u64, step: u64, rate: u64, shards: u64) -> u64 {
        let mut pace = Pace { rate, shards, saved: 0, since: Timestamp(0) };
        let mut sum = 0;
        for at in (0..=ms).step_by(step as usize) {
            let due = pace.due(Timestamp(at));
            pace.spend(due);
            sum += due;
        }
        sum
    }

    #[test]
    fn a_shard_sends_its_part_of_the_rate_away_whatever_the_steps_are() {
        for step in [1, 50, 500] {
            assert_eq!(due_in(10_000, step, 500, 1), 5_000, "{step}");
            assert_eq!(due_in(10_000, step, 500, 4), 1_250, "{step}");
            assert_eq!(due_in(10_000, step, 1, 5), 2, "{step}");
        }
    }

    #[test]
    fn what_could_not_be_sent_away_is_not_made_up_for_in_one_moment() {
        let mut pace = Pace { rate: 100, shards: 1, saved: 0, since: Timestamp(0) };
        assert_eq!(pace.due(Timestamp(60_000)), 100);
        let mut pace = Pace { rate: 1_000_000, shards: 1, saved: 0, since: Timestamp(0) };
        assert_eq!(pace.due(Timestamp(60_000)), STEP_BUDGET);
    }
}
