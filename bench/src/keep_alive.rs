//! PINGREQs for idle connections, spread evenly over time.

use crate::clock::SECOND_NS;

/// Part of the Keep Alive after which connections are pinged, and over which one pass is spread: the last
/// connection of the first pass is pinged after 0.8 of its Keep Alive.
const PART: f64 = 0.4;

/// Whose turn it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeepAlive {
    period_ns: u64,
    start_ns: u64,
    /// Connections pinged since the start, in turn.
    done: u64,
}

impl KeepAlive {
    /// For connections made from `now_ns` on with `keep_alive_s` seconds; 0 never pings.
    pub(crate) fn new(now_ns: u64, keep_alive_s: u16) -> Self {
        let period_ns = (f64::from(keep_alive_s) * PART * SECOND_NS as f64) as u64;
        Self { period_ns, start_ns: now_ns + period_ns, done: 0 }
    }

    /// The next of `len` connections to ping at `now_ns`, if one is due.
    pub(crate) fn next(&mut self, now_ns: u64, len: usize) -> Option<usize> {
        if self.period_ns == 0 || len == 0 {
            return None;
        }
        let elapsed = now_ns.checked_sub(self.start_ns)?;
        let due = u128::from(elapsed) * len as u128 / u128::from(self.period_ns);
        if u128::from(self.done) >= due {
            return None;
        }
        self.done += 1;
        Some(((self.done - 1) % len as u64) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connection_is_pinged_in_time_and_in_turn() {
        let mut k = KeepAlive::new(0, 10);
        assert_eq!(k.next(3 * SECOND_NS, 4), None);
        let mut all = Vec::new();
        while let Some(index) = k.next(8 * SECOND_NS, 4) {
            all.push(index);
        }
        assert_eq!(all, [0, 1, 2, 3]);
        assert_eq!(k.next(9 * SECOND_NS, 4), Some(0));
        assert_eq!(k.next(9 * SECOND_NS, 4), None);
    }

    #[test]
    fn zero_means_none() {
        assert_eq!(KeepAlive::new(0, 0).next(u64::MAX, 4), None);
    }
}
