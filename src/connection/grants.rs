//! What connections were promised in CONNACK. A reload changes what the next ones get, never what a client may do that
//! goes on: a connection keeps the number of its grant, a byte.

use crate::config::Config;

/// The limits that a client was told, or may take for granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// Maximum Packet Size.
    pub packet_bytes_max: u32,
    /// Receive Maximum.
    pub receive_max: u16,
    /// Topic Alias Maximum.
    pub topic_alias_max: u16,
    /// Maximum QoS.
    pub qos_max: u8,
    /// Retain Available.
    pub retain_available: bool,
}

impl Grant {
    /// What a configuration promises.
    pub const fn of(config: &Config) -> Self {
        Self {
            packet_bytes_max: config.limits.packet_bytes_max,
            receive_max: config.limits.receive_max,
            topic_alias_max: config.limits.topic_alias_max,
            qos_max: config.mqtt.qos_max,
            retain_available: config.mqtt.retain_available,
        }
    }

    /// No less than either.
    fn union(self, other: Self) -> Self {
        Self {
            packet_bytes_max: self.packet_bytes_max.max(other.packet_bytes_max),
            receive_max: self.receive_max.max(other.receive_max),
            topic_alias_max: self.topic_alias_max.max(other.topic_alias_max),
            qos_max: self.qos_max.max(other.qos_max),
            retain_available: self.retain_available || other.retain_available,
        }
    }
}

/// All different grants since the start.
#[derive(Debug)]
pub struct Grants {
    first: Grant,
    later: Vec<Grant>,
    current: u8,
}

impl Grants {
    /// With the first configuration.
    pub const fn new(config: &Config) -> Self {
        Self { first: Grant::of(config), later: Vec::new(), current: 0 }
    }

    /// The number of what is granted now.
    pub const fn current(&self) -> u8 {
        self.current
    }

    /// What a connection was granted.
    pub fn find(&self, number: u8) -> &Grant {
        number.checked_sub(1).and_then(|at| self.later.get(usize::from(at))).unwrap_or(&self.first)
    }

    /// A new configuration is in effect. Past 256 different ones the last number is shared: its connections may do what
    /// any of them was promised.
    pub fn reload(&mut self, config: &Config) {
        let grant = Grant::of(config);
        if grant == self.first {
            self.current = 0;
            return;
        }
        let at = match self.later.iter().position(|known| *known == grant) {
            Some(at) => at,
            None if self.later.len() < usize::from(u8::MAX) => {
                self.later.push(grant);
                self.later.len() - 1
            }
            None => {
                let at = self.later.len() - 1;
                if let Some(last) = self.later.last_mut() {
                    *last = last.union(grant);
                }
                at
            }
        };
        self.current = u8::try_from(at + 1).unwrap_or(u8::MAX);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn config(receive_max: u16) -> Config {
        let mut config = Config::default();
        config.limits.receive_max = receive_max;
        config
    }

    #[test]
    fn a_reload_takes_nothing_from_those_who_are_there() {
        let mut grants = Grants::new(&config(100));
        let old = grants.current();
        grants.reload(&config(1));
        let new = grants.current();
        assert_eq!((grants.find(old).receive_max, grants.find(new).receive_max), (100, 1));
        grants.reload(&config(100));
        assert_eq!(grants.current(), old);
    }

    #[test]
    fn more_reloads_than_numbers_promise_no_less() {
        let mut grants = Grants::new(&config(1));
        let numbers: Vec<(u16, u8)> = (1..=1000)
            .map(|receive_max| {
                grants.reload(&config(receive_max));
                (receive_max, grants.current())
            })
            .collect();
        assert!(numbers.iter().all(|&(receive_max, number)| grants.find(number).receive_max >= receive_max));
        assert!(
            numbers[..255]
                .iter()
                .all(|&(receive_max, number)| grants.find(number).receive_max == receive_max)
        );
    }
}
