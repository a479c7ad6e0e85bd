//! What a shard does as the process nears `limits.memory_max`. QoS 0 to slow subscribers is dropped where it is
//! delivered, publishers are paused where they publish; here it looks again and again whether they may go on, and if
//! the memory does not fall by itself, it lets go of what waits for slow and absent clients.

use super::effects::{Close, Effects, Timer};
use super::{Broker, End};
use crate::clock::Timestamp;
use crate::limits::Level;
use crate::session::ConnectionId;

/// Between two looks.
const LOOK_MS: u64 = 100;
/// Looks after which a pause that did not help by itself is not waited for any longer.
const LOOKS_MAX: u32 = 20;
/// Between two times that all free memory is given back.
const GIVE_BACK_LOOKS: u32 = 5;
/// Sessions and connections that one look thins out.
const THINNING_BUDGET: usize = 4096;
/// An mqueue that is left alone.
const MQUEUE_LEN_MIN: usize = 16;
/// Output, or an unfinished packet, that is left alone.
const BUFFER_BYTES_MIN: usize = 64 * 1024;
/// Slow clients that one look sends away.
const SENT_AWAY_MAX: usize = 64;

/// A shard's view of the memory.
#[derive(Debug, Default)]
pub(super) struct MemoryWatch {
    is_looking: bool,
    /// Looks since publishers were paused.
    paused_looks: u32,
    /// Where thinning out goes on.
    next_session: u32,
    next_connection: u32,
}

impl Broker {
    /// A publisher may go on only when there is memory again.
    pub(super) fn pause_for_memory<E: Effects>(&mut self, now: Timestamp, fx: &mut E) {
        self.metrics().memory_waits.inc();
        self.memory.paused_looks = self.memory.paused_looks.max(1);
        self.want_memory_look(now, fx);
    }

    /// Looks from now on, if there is a limit or somebody waits.
    pub(super) fn want_memory_look<E: Effects>(&mut self, now: Timestamp, fx: &mut E) {
        let is_wanted = self.config().limits.memory_max > 0 || self.memory.paused_looks > 0;
        if is_wanted && !self.memory.is_looking {
            self.memory.is_looking = true;
            fx.set_timer(Timer::Memory, now.plus_ms(LOOK_MS));
        }
    }

    pub(super) fn memory_look<E: Effects>(&mut self, now: Timestamp, fx: &mut E) {
        self.memory.is_looking = false;
        let level = self.shared.pressure.level();
        if level < Level::Pause {
            if std::mem::take(&mut self.memory.paused_looks) > 0 {
                self.resume_stalled(now, fx);
            }
        } else {
            self.memory.paused_looks = self.memory.paused_looks.saturating_add(1);
        }
        self.want_memory_look(now, fx);
        if level == Level::None {
            return;
        }
        let is_stuck = self.memory.paused_looks > LOOKS_MAX;
        if level == Level::Refuse || is_stuck {
            self.thin_out_mqueues();
        }
        if is_stuck {
            self.send_slow_ones_away(now, fx);
        }
        fx.give_memory_back(self.memory.paused_looks % GIVE_BACK_LOOKS == 1);
    }

    /// Drops the older half of long mqueues.
    fn thin_out_mqueues(&mut self) {
        let mut key = self.memory.next_session;
        for _ in 0..THINNING_BUDGET {
            let Some(index) = self.clients.sessions.iter_from(key).next().map(|(key, _)| key) else {
                self.memory.next_session = 0;
                return;
            };
            key = index + 1;
            self.memory.next_session = key;
            self.clients.thin_out(index, MQUEUE_LEN_MIN);
        }
    }

    /// Closes connections that hold much memory: output that their clients do not take, packets that they do not finish.
    fn send_slow_ones_away<E: Effects>(&mut self, now: Timestamp, fx: &mut E) {
        let mut sent_away = 0;
        for _ in 0..THINNING_BUDGET {
            let Some(id) = self.clients.connections.next_from(self.memory.next_connection) else {
                self.memory.next_connection = 0;
                return;
            };
            self.memory.next_connection = id.index + 1;
            if self.holds_much(id, fx) {
                self.metrics().memory_sent_away.inc();
                fx.close(id, Close::Abort);
                self.end_connection(now, id, End::Lost, fx);
                sent_away += 1;
                if sent_away == SENT_AWAY_MAX {
                    return;
                }
            }
        }
    }

    fn holds_much<E: Effects>(&self, id: ConnectionId, fx: &mut E) -> bool {
        let partial = self.clients.connections.get(id).and_then(|connection| connection.partial.as_ref());
        partial.is_some_and(|partial| partial.len() > BUFFER_BYTES_MIN)
            || fx.outbound_len(id) > BUFFER_BYTES_MIN
    }
}

impl super::clients::Clients {
    fn thin_out(&mut self, index: u32, len_min: usize) {
        let Some(outbound) = self.sessions.get_mut(index).and_then(|session| session.outbound.as_mut())
        else {
            return;
        };
        let excess = outbound.mqueue.len().saturating_sub(len_min).div_ceil(2);
        for _ in 0..excess {
            let Some(delivery) = outbound.mqueue.pop() else { break };
            self.metrics.dropped_qos2.add(u64::from(delivery.qos == crate::packet::QoS::ExactlyOnce));
        }
        outbound.mqueue.shrink();
        let dropped = excess as u64;
        self.metrics.dropped_memory.add(dropped);
        self.metrics.messages_dropped.add(dropped);
        self.metrics.queues.set(self.metrics.queues.load().wrapping_sub(dropped));
        self.judge_queue(index);
    }

    /// How much may wait for a client before QoS 0 is dropped.
    pub(super) fn outbound_bytes_max(&self) -> usize {
        let configured = self.config.limits.outbound_bytes as usize;
        if self.pressure.level() >= Level::Drop {
            configured.min(OUTBOUND_UNDER_PRESSURE)
        } else {
            configured
        }
    }

    /// Whether QoS 0 that can't be delivered at once is to be dropped, whatever the session would keep.
    pub(super) fn keeps_no_qos0(&self) -> bool {
        self.pressure.level() >= Level::Drop
    }
}

/// What may wait for a client under pressure: what one turn produces for one that keeps up, not more.
const OUTBOUND_UNDER_PRESSURE: usize = 16 * 1024;
