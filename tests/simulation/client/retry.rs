//! Repetitions on the same connection: `session.retry_interval_s`, for 3.x alone. Never before the interval is over,
//! never long after; 5.0 forbids them [MQTT-4.4.0-1].

use super::Client;
use crate::model::Model;
use crate::trace::{Check, ensure};
use crate::wire::{Publish, Version};
use crate::world::World;

/// The broker counts whole seconds, and looks once an interval; and a turn takes its time.
const ROUNDED_MS: u64 = 1_300;

impl Client {
    /// Whether a PUBLISH came on this connection before.
    pub(super) fn is_retried(&self, publish: &Publish) -> bool {
        publish.dup && publish.qos > 0 && self.written.contains_key(&publish.pid)
    }

    /// A PUBLISH with QoS 1 or 2, written by the broker at `written`.
    pub(super) fn check_repetition(&mut self, model: &mut Model, publish: &Publish, written: u64) -> Check {
        let pid = publish.pid;
        let Some(before) = self.written.insert(pid, written).filter(|_| publish.dup) else {
            return ensure(!self.quota.contains(&pid), "repeated-only-on-resume", || {
                format!("client {}: {pid} twice on one connection, without DUP", self.index)
            });
        };
        let interval_ms = u64::from(model.settings.last().session.retry_interval_s) * 1000;
        ensure(self.may_be_retried(interval_ms), "repeated-only-on-resume", || {
            format!("client {}: {pid} twice on one connection", self.index)
        })?;
        model.checked.retried += 1;
        ensure(written >= before + interval_ms, "retry-in-time", || {
            format!(
                "client {}: {pid} of {before} again at {written}, the interval is {interval_ms}",
                self.index
            )
        })
    }

    /// What is not acknowledged for long has come again.
    pub(super) fn check_retries(&self, world: &World, model: &Model) -> Check {
        let interval_ms = u64::from(model.settings.last().session.retry_interval_s) * 1000;
        let socket = &world.sockets[self.socket];
        let is_slow = socket.is_readable() || !socket.waiting.is_empty() || self.silent;
        // A reload may have made the window smaller than what is unacknowledged.
        let window = model.settings.all().map(|config| config.session.inflight_max).min();
        let is_slow = is_slow || window.is_none_or(|window| self.held.len() > window.into());
        if is_slow || !self.may_be_retried(interval_ms) {
            return Ok(());
        }
        let oldest = self.held.iter().filter(|(_, held)| !held.received);
        let oldest = oldest.filter_map(|(pid, _)| self.written.get(pid)).min();
        let due_ms = 2 * interval_ms + ROUNDED_MS + world.weather.delays.timer_max;
        let late = oldest.filter(|&&at| at + due_ms < world.now);
        ensure(late.is_none(), "retry-in-time", || {
            format!("client {}: not repeated since {late:?}, now {}: {:?}", self.index, world.now, self.held)
        })
    }

    fn may_be_retried(&self, interval_ms: u64) -> bool {
        interval_ms > 0 && self.profile.version != Version::V5
    }
}
