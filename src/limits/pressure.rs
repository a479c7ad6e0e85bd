//! How near the process is to `limits.memory_max`: measured by one side thread, read by every shard.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

/// What has to be done about it; each does what those before it do, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Level {
    /// Nothing.
    #[default]
    None,
    /// From 85 %: QoS 0 to those who read slowly is dropped.
    Drop,
    /// From 92 %: publishers are paused.
    Pause,
    /// From 97 %: new connections are refused, and what waits for slow clients is thinned out.
    Refuse,
}

impl Level {
    /// All of them, mildest first.
    pub const ALL: [Self; 4] = [Self::None, Self::Drop, Self::Pause, Self::Refuse];

    /// Percent of `limits.memory_max` at which it begins.
    const fn begins(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Drop => 85,
            Self::Pause => 92,
            Self::Refuse => 97,
        }
    }

    /// What it does, for the log.
    pub const fn what(self) -> &'static str {
        match self {
            Self::None => "everything is as usual",
            Self::Drop => "QoS 0 to slow subscribers is dropped",
            Self::Pause => "publishers are paused",
            Self::Refuse => "new connections are refused",
        }
    }
}

/// A level ends only this many percent below where it began, so that it does not flicker.
const HYSTERESIS: u64 = 3;

/// The level in effect, and what it was found from.
#[derive(Debug, Default)]
pub struct Pressure {
    level: AtomicU8,
    used: AtomicU64,
    max: AtomicU64,
}

impl Pressure {
    /// The level now.
    #[inline]
    pub fn level(&self) -> Level {
        match self.level.load(Relaxed) {
            0 => Level::None,
            1 => Level::Drop,
            2 => Level::Pause,
            _ => Level::Refuse,
        }
    }

    /// `limits.memory_max`, in bytes; 0: no limit.
    pub fn max(&self) -> u64 {
        self.max.load(Relaxed)
    }

    /// Another limit is in effect from the next measurement on.
    pub fn set_max(&self, bytes: u64) {
        self.max.store(bytes, Relaxed);
    }

    /// Bytes that the process used when last measured.
    pub fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// The process uses `used` bytes: gives the former level and the new one.
    pub fn measured(&self, used: u64) -> (Level, Level) {
        let (max, before) = (self.max(), self.level());
        self.used.store(used, Relaxed);
        let percent = used.saturating_mul(100).checked_div(max).unwrap_or(0);
        let after = Level::ALL.into_iter().rev().find(|level| {
            let slack = if *level <= before { HYSTERESIS } else { 0 };
            *level == Level::None || percent >= level.begins() - slack
        });
        let after = after.unwrap_or_default();
        self.level.store(after as u8, Relaxed);
        (before, after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_begin_at_their_percentage_and_end_a_little_below() {
        let pressure = Pressure::default();
        assert_eq!(pressure.measured(1 << 40), (Level::None, Level::None));
        pressure.set_max(1000);
        for (used, level) in [
            (849, Level::None),
            (850, Level::Drop),
            (840, Level::Drop),
            (819, Level::None),
            (960, Level::Pause),
            (970, Level::Refuse),
            (940, Level::Refuse),
            (939, Level::Pause),
            (889, Level::Drop),
            (5000, Level::Refuse),
            (0, Level::None),
        ] {
            assert_eq!(pressure.measured(used).1, level, "{used}");
            assert_eq!(pressure.level(), level);
        }
        pressure.measured(990);
        pressure.set_max(0);
        assert_eq!(pressure.measured(990), (Level::Refuse, Level::None));
    }
}
