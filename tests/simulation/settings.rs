//! The brokers' configurations over a run: the first one, what a reload makes of it, and which may be in effect when.
//! A reload reaches each shard at a moment of its own; until the last one has it, two are in effect.

use std::sync::Arc;

use myriad::config::{Config, Durability, SharedStrategy};

use crate::random::Random;

/// One configuration and the time from its first shard's having it until no shard has it any more.
#[derive(Debug, Clone)]
pub struct Epoch {
    pub config: Arc<Config>,
    pub from: u64,
    pub until: u64,
    /// Shards that have it, or a later one.
    pub reached: usize,
}

/// All configurations of a run, by number.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    epochs: Vec<Epoch>,
}

impl Settings {
    /// The configuration with which all shards begin.
    pub fn new(config: Arc<Config>) -> Self {
        Self { epochs: vec![Epoch { config, from: 0, until: u64::MAX, reached: usize::MAX }] }
    }

    /// A reload is on its way; gives its number.
    pub fn reload(&mut self, config: Arc<Config>, now: u64) -> usize {
        self.epochs.push(Epoch { config, from: now, until: u64::MAX, reached: 0 });
        self.epochs.len() - 1
    }

    /// One of `shards` shards has configuration `number` now.
    pub fn reached(&mut self, number: usize, shards: usize, now: u64) {
        self.epochs[number].reached += 1;
        if self.epochs[number].reached == shards {
            self.epochs[number - 1].until = now;
        }
    }

    pub fn config(&self, number: usize) -> &Config {
        &self.epochs[number].config
    }

    pub fn last(&self) -> &Config {
        &self.epochs[self.epochs.len() - 1].config
    }

    /// What may be in effect on some shard at some time from `from` to `to`.
    pub fn during(&self, from: u64, to: u64) -> impl Iterator<Item = &Config> {
        let overlaps = move |epoch: &&Epoch| epoch.from <= to && epoch.until >= from;
        self.epochs.iter().filter(overlaps).map(|epoch| &*epoch.config)
    }

    /// What was in effect at any time.
    pub fn all(&self) -> impl Iterator<Item = &Config> {
        self.during(0, u64::MAX)
    }
}

/// Clients have to authenticate under some seeds, with chances of their own. Which method does not matter: `guard` is
/// asked.
pub fn authenticate(config: &mut Config, seed: u64) {
    if Random::new(seed ^ 0xa47).percent(40) {
        config.auth.order = vec!["file".into()];
    }
}

/// Some brokers keep their state on a disk; gives how late that is, in ms at most.
pub fn store(config: &mut Config, seed: u64) -> u64 {
    let mut random = Random::new(seed ^ 0xd15c);
    config.storage.durability =
        random.pick(&[Durability::Memory, Durability::Sync, Durability::Sync, Durability::Interval]);
    config.storage.backlog_bytes = random.pick(&[300, 2_000, 1_000_000]);
    random.pick(&[0, 5, 50, 100])
}

/// Memory has a limit under some seeds, with chances of their own: it runs short now and then.
pub fn limit_memory(config: &mut Config, seed: u64) {
    if Random::new(seed ^ 0x3e3).percent(30) {
        config.limits.memory_max = 1_000;
    }
}

/// What a seed chose.
pub fn first(random: &mut Random) -> Config {
    let mut config = Config::default();
    config.session.expiry_s = random.pick(&[3, 8, 3600]);
    config.session.expiry_s_max = random.pick(&[u32::MAX, u32::MAX, u32::MAX, 4]);
    config.session.queue_len_max = random.pick(&[5, 100_000, 100_000, 100_000]);
    config.session.queue_qos0 = random.percent(50);
    config.session.inflight_max = random.pick(&[1, 3, 100]);
    config.session.retry_interval_s = random.pick(&[0, 0, 0, 1, 3]);
    config.limits.receive_max = random.pick(&[1, 4, 100]);
    config.limits.topic_alias_max = random.pick(&[0, 3, 16]);
    config.limits.keep_alive_s_max = random.pick(&[0, 0, 4]);
    config.limits.outbound_bytes = random.pick(&[200, 2_000, 1_000_000]);
    config.limits.connect_timeout_s = 5;
    config.limits.subscriptions_expected = random.pick(&[1, 1_000]);
    config.sys.interval_s = random.pick(&[0, 0, 10]);
    config.mqtt.shared_strategy = strategy(random);
    limit_retained(&mut config, random);
    config.limits.publish_rate = random.pick(&[0, 0, 0, 20]);
    config.limits.bytes_rate = random.pick(&[0, 0, 0, 20_000]);
    config
}

fn strategy(random: &mut Random) -> SharedStrategy {
    random.pick(&[
        SharedStrategy::RoundRobin,
        SharedStrategy::Random,
        SharedStrategy::LeastInflight,
        SharedStrategy::Sticky,
        SharedStrategy::HashPublisher,
        SharedStrategy::HashTopic,
    ])
}

fn limit_retained(config: &mut Config, random: &mut Random) {
    config.retained.count_max = random.pick(&[1_000_000, 1_000_000, 1_000_000, 1_000_000, 4]);
    config.retained.payload_bytes_max = random.pick(&[1024 * 1024, 1024 * 1024, 1024 * 1024, 50]);
    config.retained.expiry_s = random.pick(&[0, 0, 0, 6]);
}

/// A file that was edited: a few keys of those that may change live. `mail_max` says how long messages travel: the
/// `$SYS` tree every second is too much where they are slow.
pub fn edited(config: &Config, random: &mut Random, mail_max: u64) -> Config {
    let mut config = config.clone();
    for _ in 0..random.within(1, 3) {
        match random.below(12) {
            0 => config.session.expiry_s = random.pick(&[3, 8, 3600]),
            1 => config.session.expiry_s_max = random.pick(&[u32::MAX, u32::MAX, 4, 0]),
            2 => config.session.queue_len_max = random.pick(&[5, 20, 100_000, 100_000]),
            3 => config.session.queue_qos0 = random.percent(50),
            4 => config.session.inflight_max = random.pick(&[1, 3, 100]),
            5 => config.limits.receive_max = random.pick(&[1, 4, 100]),
            6 => config.limits.topic_alias_max = random.pick(&[0, 3, 16]),
            7 => config.limits.keep_alive_s_max = random.pick(&[0, 1, 4, 20]),
            8 => config.limits.outbound_bytes = random.pick(&[200, 2_000, 1_000_000]),
            9 => limit_retained(&mut config, random),
            10 => config.mqtt.shared_strategy = strategy(random),
            _ if config.sys.interval_s > 0 => config.sys.interval_s = 0,
            _ => config.sys.interval_s = if mail_max <= 50 { random.pick(&[1, 1, 10]) } else { 10 },
        }
    }
    config
}
