//! The shard's timers: a hashed wheel of four levels with 256 slots each, 16 bytes a timer, chunked. A timer
//! moves down at most three times, a few per turn (budget), so no tick of a million timers stalls a turn.
//! It never fires early: times are rounded up to ticks, the clock is rounded down.

use crate::chunks::{Chunks, Link, NONE};

/// One tick, milliseconds: the resolution.
pub(crate) const TICK_MS: u64 = 32;
const LEVELS: usize = 4;
const SLOTS: usize = 256;
/// Furthest tick ahead that the levels can hold (4.3 years); later times are looked at again then.
const AHEAD_MAX: u64 = u32::MAX as u64 - 1;

#[derive(Default)]
struct Node {
    key: u64,
    tick: u32,
    next: u32,
}

const _: () = assert!(size_of::<Node>() == 16);

impl Link for Node {
    fn next(&self) -> u32 {
        self.next
    }
    fn set_next(&mut self, next: u32) {
        self.next = next;
    }
}

struct Level {
    heads: [u32; SLOTS],
    occupied: [u64; SLOTS / 64],
}

impl Level {
    /// Distance from `from` to the first occupied slot, 0 to 255, going round.
    fn next_occupied(&self, from: usize) -> Option<u32> {
        for step in 0..=SLOTS / 64 {
            let word = (from / 64 + step) % (SLOTS / 64);
            let mut bits = self.occupied[word];
            if step == 0 {
                bits &= u64::MAX << (from % 64);
            } else if step == SLOTS / 64 {
                bits &= !(u64::MAX << (from % 64));
            }
            if bits != 0 {
                let slot = word * 64 + bits.trailing_zeros() as usize;
                return Some(((slot + SLOTS - from) % SLOTS) as u32);
            }
        }
        None
    }

    fn detach(&mut self, slot: usize) -> u32 {
        self.occupied[slot / 64] &= !(1 << (slot % 64));
        std::mem::replace(&mut self.heads[slot], NONE)
    }
}

/// All timers of one shard.
pub(crate) struct Wheel {
    nodes: Chunks<Node>,
    levels: Box<[Level; LEVELS]>,
    /// The next tick to look at; all before it have been.
    now: u32,
    /// The level that is to be moved down before `now` is looked at; `LEVELS` when that is done.
    cascade: usize,
    moving: u32,
    due: u32,
}

impl Wheel {
    /// A wheel that starts at `now_ms`.
    pub(crate) fn new(now_ms: u64) -> Self {
        let level = || Level { heads: [NONE; SLOTS], occupied: [0; SLOTS / 64] };
        let mut wheel = Self {
            nodes: Chunks::new(),
            levels: Box::new(std::array::from_fn(|_| level())),
            now: (now_ms / TICK_MS) as u32,
            cascade: LEVELS,
            moving: NONE,
            due: NONE,
        };
        wheel.enter_tick();
        wheel
    }

    /// Fires `key` once, at `at_ms` or up to a tick later (a past time: at the next tick).
    pub(crate) fn set(&mut self, key: u64, at_ms: u64) {
        let tick = at_ms.div_ceil(TICK_MS).clamp(u64::from(self.now), u64::from(self.now) + AHEAD_MAX);
        let index = self.nodes.take();
        // The clock would have to run for 4.3 years before a tick passes 32 bits.
        let tick = u32::try_from(tick).unwrap_or(u32::MAX);
        self.nodes[index] = Node { key, tick, next: NONE };
        self.place(index);
    }

    fn place(&mut self, index: u32) {
        let tick = self.nodes[index].tick;
        let ahead = tick.saturating_sub(self.now);
        let level = match ahead {
            0..=0xFF => 0,
            0x100..=0xFFFF => 1,
            0x1_0000..=0xFF_FFFF => 2,
            _ => 3,
        };
        let slot = (tick >> (8 * level)) as usize % SLOTS;
        let level = &mut self.levels[level];
        self.nodes[index].next = level.heads[slot];
        level.heads[slot] = index;
        level.occupied[slot / 64] |= 1 << (slot % 64);
    }

    /// The next due timer, if any. Each step costs one of `budget`; at 0 nothing more happens.
    pub(crate) fn pop(&mut self, now_ms: u64, budget: &mut u32) -> Option<u64> {
        let target = u32::try_from(now_ms / TICK_MS).unwrap_or(u32::MAX);
        while *budget > 0 {
            if self.moving != NONE {
                *budget -= 1;
                let index = self.moving;
                self.moving = self.nodes[index].next;
                self.place(index);
            } else if self.due != NONE {
                *budget -= 1;
                let index = self.due;
                let Node { key, next, .. } = self.nodes[index];
                self.due = next;
                self.nodes.give(index);
                return Some(key);
            } else if self.now > target {
                return None;
            } else if self.cascade < LEVELS {
                self.cascade_level();
            } else {
                self.look_at_tick(target);
            }
        }
        None
    }

    /// Prepares `now`: where a level's hand has moved on, its slot is to be moved down first.
    fn enter_tick(&mut self) {
        self.cascade = if self.now.is_multiple_of(SLOTS as u32) { 1 } else { LEVELS };
    }

    fn cascade_level(&mut self) {
        let position = self.now >> (8 * self.cascade);
        self.moving = self.levels[self.cascade].detach(position as usize % SLOTS);
        self.cascade = if position.is_multiple_of(SLOTS as u32) { self.cascade + 1 } else { LEVELS };
    }

    fn look_at_tick(&mut self, target: u32) {
        if self.levels[0].occupied == [0; SLOTS / 64] {
            // Nothing before the next boundary: skip to it.
            self.now = (self.now | (SLOTS as u32 - 1)).saturating_add(1).min(target.saturating_add(1));
        } else {
            self.due = self.levels[0].detach(self.now as usize % SLOTS);
            self.now = self.now.saturating_add(1);
        }
        self.enter_tick();
    }

    /// When the wheel wants to be looked at next, milliseconds; `None` without timers.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        if self.nodes.live() == 0 {
            return None;
        }
        if self.moving != NONE || self.due != NONE {
            return Some(0);
        }
        let mut next = u64::MAX;
        for (level, slots) in self.levels.iter().enumerate() {
            let position = u64::from(self.now) >> (8 * level);
            let Some(mut distance) = slots.next_occupied(position as usize % SLOTS) else { continue };
            // The slot under the hand of an upper level has been moved down already unless that is still to
            // be done: what is there now belongs to the next round.
            if distance == 0 && level > 0 && !self.to_be_moved(level) {
                distance = SLOTS as u32;
            }
            next = next.min((position + u64::from(distance)) << (8 * level));
        }
        Some(next.saturating_mul(TICK_MS))
    }

    /// Whether the slot under the hand of an upper level is still to be moved down.
    fn to_be_moved(&self, level: usize) -> bool {
        level >= self.cascade && self.now.trailing_zeros() >= 8 * level as u32
    }

    /// Number of timers.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.nodes.live()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn drain(wheel: &mut Wheel, now_ms: u64) -> Vec<u64> {
        let mut budget = u32::MAX;
        std::iter::from_fn(|| wheel.pop(now_ms, &mut budget)).collect()
    }

    #[test]
    fn never_early_and_at_most_a_tick_late_at_any_distance() {
        let mut wheel = Wheel::new(12_345);
        let mut seed = 7u64;
        let mut timers = Vec::new();
        for key in 0..20_000u64 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let range = [300, 20_000, 3_000_000, 600_000_000][key as usize % 4];
            let at = 12_345 + (seed >> 20) % range;
            timers.push(at);
            wheel.set(key, at);
        }
        let (mut now, mut fired) = (12_345u64, 0);
        while fired < timers.len() {
            let next = wheel.next_ms().unwrap();
            assert!(next > now || fired == 0, "the wheel asks for a time that has passed");
            now = now.max(next);
            for key in drain(&mut wheel, now) {
                let at = timers[key as usize];
                assert!(now >= at, "timer {key} fired {} ms early", at - now);
                assert!(now < at + 2 * TICK_MS, "timer {key} fired {} ms late", now - at);
                fired += 1;
            }
        }
        assert_eq!(wheel.len(), 0);
        assert_eq!(wheel.next_ms(), None);
    }

    #[test]
    fn budget_bounds_each_turn_and_loses_nothing() {
        let mut wheel = Wheel::new(0);
        for key in 0..50_000 {
            wheel.set(key, 60_000);
        }
        let (mut fired, mut turns) = (0, 0);
        while fired < 50_000 {
            let mut budget = 1000;
            while wheel.pop(60_000 + TICK_MS, &mut budget).is_some() {
                fired += 1;
            }
            turns += 1;
            assert!(turns < 200, "stuck at {fired}");
        }
        assert!(turns >= 100, "each timer costs a move and a fire");
    }

    #[test]
    fn set_while_far_behind_and_in_the_past() {
        let mut wheel = Wheel::new(0);
        assert_eq!(drain(&mut wheel, 10_000_000), Vec::<u64>::new());
        wheel.set(1, 5);
        wheel.set(2, 10_000_100);
        assert_eq!(drain(&mut wheel, 10_000_064), vec![1]);
        assert_eq!(drain(&mut wheel, 10_000_200), vec![2]);
    }
}
