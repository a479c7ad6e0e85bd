//! Repetitions on the same connection: `session.retry_interval_s`, for 3.x alone. Never before the interval is over,
//! never long after; 5.0 forbids them [MQTT-4.4.0-1].

use super::Client;
use crate::model::Model;
use crate::model::will::LATE_MS;
use crate::trace::{Check, ensure};
use crate::wire::{Publish, Version};
use crate::world::World;

/// The broker counts whole seconds and looks once an interval.
const ROUNDED_MS: u64 = 2_500;

impl Client {
    /// A PUBLISH with QoS 1 or 2, written by the broker at `written`. Says whether it came on this connection before.
    pub(super) fn check_repetition(
        &mut self,
        model: &mut Model,
        publish: &Publish,
        written: u64,
    ) -> Check<bool> {
        let pid = publish.pid;
        let Some(before) = self.written.insert(pid, written).filter(|_| publish.dup) else {
            ensure(!self.quota.contains(&pid), "repeated-only-on-resume", || {
                format!("client {}: {pid} twice on one connection, without DUP", self.index)
            })?;
            return Ok(false);
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
        })?;
        Ok(true)
    }

    /// What is not acknowledged for long has come again.
    pub(super) fn check_retries(&self, world: &World, model: &Model) -> Check {
        let interval_ms = u64::from(model.settings.last().session.retry_interval_s) * 1000;
        let socket = &world.sockets[self.socket];
        let is_slow = socket.is_readable() || !socket.waiting.is_empty() || self.silent;
        if is_slow || !self.may_be_retried(interval_ms) {
            return Ok(());
        }
        let oldest = self.held.iter().filter(|(_, held)| !held.received);
        let oldest = oldest.filter_map(|(pid, _)| self.written.get(pid)).min();
        let late = oldest.filter(|&&at| at + 2 * interval_ms + ROUNDED_MS + LATE_MS < world.now);
        ensure(late.is_none(), "retry-in-time", || {
            format!("client {}: not repeated since {late:?}, now {}: {:?}", self.index, world.now, self.held)
        })
    }

    fn may_be_retried(&self, interval_ms: u64) -> bool {
        interval_ms > 0 && self.profile.version != Version::V5
    }
}
