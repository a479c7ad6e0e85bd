//! Token buckets of one client: past its rate nothing more is read from it until the bucket has something again. Its
//! packets wait in the socket, its Keep Alive does not count meanwhile.

use super::Broker;
use super::effects::{Effects, Timer};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::limits::{Level, Rate};
use crate::session::ConnectionId;

/// While publishers are paused for want of memory, one with more than this of an unfinished packet is not read on.
const PARTIAL_BYTES_UNDER_PRESSURE: usize = 4096;
/// When it is looked at again.
const PRESSURE_PAUSE_MS: u64 = 200;

/// Whether any listener or client has a byte rate.
pub(super) fn paces_bytes(config: &Config) -> bool {
    config.limits.bytes_rate > 0 || config.listeners.iter().any(|listener| listener.bytes_rate > 0)
}

impl Broker {
    fn message_rate(&self) -> Option<Rate> {
        Rate::new(self.config().limits.publish_rate, self.config().limits.publish_burst)
    }

    fn bytes_rate(&self, listener: u16) -> Option<Rate> {
        let of_listener = self.config().listeners.get(usize::from(listener)).map_or(0, |l| l.bytes_rate);
        let per_s = if of_listener > 0 { of_listener } else { self.config().limits.bytes_rate };
        Rate::new(per_s, self.config().limits.bytes_burst)
    }

    /// When the client may publish next; `None`: now.
    #[inline]
    pub(super) fn publish_pause(&self, now: Timestamp, id: ConnectionId) -> Option<Timestamp> {
        let rate = self.message_rate()?;
        let allowance = self.clients.connections.get(id)?.allowance.as_ref()?;
        let at = allowance.messages.empty_until(now, rate)?;
        self.metrics().publish_rate_waits.inc();
        Some(at)
    }

    /// The client has published.
    #[inline]
    pub(super) fn take_message(&mut self, now: Timestamp, id: ConnectionId) {
        let Some(rate) = self.message_rate() else { return };
        if let Some(connection) = self.clients.connections.get_mut(id) {
            connection.allowance.get_or_insert_default().messages.take(now, 1, rate);
        }
    }

    /// Bytes have come from the client: is it to be read on? Large packets too grow by what is allowed only.
    pub(super) fn pace_bytes<E: Effects>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        bytes: usize,
        fx: &mut E,
    ) {
        let Some(connection) = self.clients.connections.get(id) else { return };
        if let Some(rate) = self.bytes_rate(connection.listener)
            && let Some(connection) = self.clients.connections.get_mut(id)
        {
            connection.allowance.get_or_insert_default().bytes.take(now, bytes as u64, rate);
        }
        if let Some(at) = self.bytes_pause(now, id) {
            self.metrics().bytes_rate_waits.inc();
            self.hold(id, at, fx);
        }
    }

    /// When the client is read on; `None`: now.
    pub(super) fn bytes_pause(&self, now: Timestamp, id: ConnectionId) -> Option<Timestamp> {
        let connection = self.clients.connections.get(id)?;
        if self.shared.pressure.level() >= Level::Pause
            && connection.partial.as_ref().is_some_and(|partial| partial.len() > PARTIAL_BYTES_UNDER_PRESSURE)
        {
            return Some(now.plus_ms(PRESSURE_PAUSE_MS));
        }
        let rate = self.bytes_rate(connection.listener)?;
        connection.allowance.as_ref()?.bytes.empty_until(now, rate)
    }

    /// Reads nothing from the client until `at`.
    pub(super) fn hold<E: Effects>(&mut self, id: ConnectionId, at: Timestamp, fx: &mut E) {
        let Some(connection) = self.clients.connections.get_mut(id) else { return };
        connection.stalled = true;
        connection.partial.get_or_insert_default();
        fx.pause(id);
        let resume_at = &mut connection.allowance.get_or_insert_default().resume_at;
        if resume_at.is_none_or(|set| at < set) {
            *resume_at = Some(at);
            fx.set_timer(Timer::Resume(id.index), at);
        }
    }

    /// The timer of `hold`, perhaps for a former connection with this index: then nothing has to be done.
    pub(super) fn resume_timer<E: Effects>(&mut self, now: Timestamp, index: u32, fx: &mut E) {
        let Some(id) = self.clients.connections.id_at(index) else { return };
        let Some(connection) = self.clients.connections.get_mut(id) else { return };
        let Some(allowance) = connection.allowance.as_mut() else { return };
        if allowance.resume_at.is_none_or(|at| at > now) {
            return;
        }
        allowance.resume_at = None;
        if self.is_busy() {
            // Goes on with the others when the fan-out is through.
            return self.stall(id, fx);
        }
        self.resume(now, id, fx);
    }
}
