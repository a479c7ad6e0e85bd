//! The `$SYS` tree in time: its `datetime` says when it was published. One chain of publications, `sys.interval_s`
//! apart, that a reload begins, ends or sets to another pace.

use super::Model;
use super::receive::Reception;
use super::will::LATE_MS;
use crate::trace::{Check, ensure};

/// The topic that tells the time of publication.
pub const SYS_FILTER: &str = "$SYS/brokers/+/datetime";

/// Time that a publication may need through a rough world.
const SLACK_MS: u64 = 8_000;

/// What is known of the tree.
#[derive(Debug, Default)]
pub struct Sys {
    /// When shard 0 got which interval (s).
    paces: Vec<(u64, u32)>,
    /// When the last one that was seen was published: the second.
    last_s: Option<u64>,
    /// None of them is dropped for a slow watcher.
    pub is_complete: bool,
}

impl Sys {
    /// Shards begin with this interval.
    pub fn new(interval_s: u32, is_complete: bool) -> Self {
        Self { paces: vec![(0, interval_s)], last_s: None, is_complete }
    }

    /// Shard 0 has a configuration with this interval.
    pub fn paced(&mut self, now: u64, interval_s: u32) {
        if self.paces.last().is_none_or(|last| last.1 != interval_s) {
            self.paces.push((now, interval_s));
        }
    }

    /// From when on the interval that counts at `now` counts.
    fn pace(&self, now: u64) -> (u64, u32) {
        self.paces.iter().rfind(|pace| pace.0 <= now).copied().unwrap_or_default()
    }
}

/// Seconds since the start, by a `datetime` of the first day of 1970.
fn seconds(payload: &[u8]) -> Option<u64> {
    let (_, time) = std::str::from_utf8(payload).ok()?.split_once(' ')?;
    let parts: Vec<u64> = time.split(':').map_while(|part| part.parse().ok()).collect();
    let [hours, minutes, seconds] = parts[..] else { return None };
    Some(hours * 3600 + minutes * 60 + seconds)
}

impl Model {
    /// A message of the tree came to some session.
    pub(super) fn sys_received(&mut self, reception: &Reception<'_>) -> Check {
        if self.sessions[reception.session].client != self.watcher {
            return Ok(());
        }
        let payload = &reception.publish.payload;
        let told = || format!("{:?} at {}", String::from_utf8_lossy(payload), reception.now);
        let Some(now_s) = seconds(payload) else {
            return ensure(false, "sys-in-time", told);
        };
        let (since, interval_s) = self.sys.pace(now_s * 1000 + 999);
        let before = self.sys.pace((now_s * 1000).saturating_sub(1)).1;
        ensure(interval_s.max(before) > 0, "sys-in-time", || format!("{} though it is off", told()))?;
        let interval_ms = u64::from(interval_s) * 1000;
        let last_s = self.sys.last_s.replace(now_s);
        if interval_s == 0 || interval_s != before {
            return Ok(());
        }
        self.checked.sys += 1;
        let begun = since.max(last_s.unwrap_or(0) * 1000);
        let is_first = since == 0 && last_s.is_none();
        ensure(is_first || now_s * 1000 + 999 >= begun + interval_ms, "sys-in-time", || {
            format!("{}: {interval_s} s apart since {since}, the last one was in second {last_s:?}", told())
        })?;
        // The first that is seen may be a later one: the watcher's first connection may have been refused.
        let in_time = is_first || now_s * 1000 <= begun + 999 + interval_ms + LATE_MS;
        ensure(in_time || !self.sys.is_complete, "sys-in-time", || {
            format!("{}: {interval_s} s apart since {since}, the last one was in second {last_s:?}", told())
        })
    }

    /// At the end the last one is not long ago.
    pub(super) fn sys_at_rest(&self, now: u64) -> Check {
        let (since, interval_s) = self.sys.pace(now);
        let begun = since.max(self.sys.last_s.unwrap_or(0) * 1000);
        let due = begun + u64::from(interval_s) * 1000 + LATE_MS + SLACK_MS;
        ensure(interval_s == 0 || now <= due || !self.sys.is_complete, "sys-in-time", || {
            format!(
                "every {interval_s} s since {since}, but none after second {:?} by {now}",
                self.sys.last_s
            )
        })
    }
}
