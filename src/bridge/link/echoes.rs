//! What was published to a 3.1.1 broker and may come back by the bridge's own subscription: known again by topic and payload, for some
//! seconds. A broker that did not send it back, or not to the bridge, must not make the next equal message of somebody else vanish.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};

/// Messages whose echo is awaited.
const ECHOES_MAX: usize = 4_096;
/// How long an echo is awaited.
const ECHO_MS: u64 = 10_000;

/// Echoes that are awaited, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Echoes {
    awaited: VecDeque<(u64, u64)>,
    hasher: RandomState,
}

impl Echoes {
    /// A message is sent now.
    pub(super) fn expect(&mut self, topic: &str, payload: &[u8], now_ms: u64) {
        if self.awaited.len() >= ECHOES_MAX {
            self.awaited.pop_front();
        }
        self.awaited.push_back((self.hasher.hash_one((topic, payload)), now_ms));
    }

    /// Whether a message that comes now is an echo; of each there is one.
    pub(super) fn take(&mut self, topic: &str, payload: &[u8], now_ms: u64) -> bool {
        while self.awaited.front().is_some_and(|(_, sent_ms)| now_ms.saturating_sub(*sent_ms) > ECHO_MS) {
            self.awaited.pop_front();
        }
        let hash = self.hasher.hash_one((topic, payload));
        let at = self.awaited.iter().position(|(awaited, _)| *awaited == hash);
        at.and_then(|at| self.awaited.remove(at)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_is_awaited_once_and_for_some_seconds() {
        let mut echoes = Echoes::default();
        echoes.expect("t", b"ON", 1_000);
        assert!(!echoes.take("t", b"OFF", 1_000) && !echoes.take("u", b"ON", 1_000));
        assert!(echoes.take("t", b"ON", 1_000 + ECHO_MS));
        assert!(!echoes.take("t", b"ON", 1_000 + ECHO_MS));
        echoes.expect("t", b"ON", 2_000);
        assert!(!echoes.take("t", b"ON", 2_001 + ECHO_MS));
    }
}
