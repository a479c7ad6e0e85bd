//! What shard 0 looks at every other second, and when it is wrong: memory, connections, long mqueues, the disk, slow turns, the
//! clock; and what the machine's side tells it. Each ends only well below where it begins.

use super::super::Broker;
use super::super::effects::Effects;
use super::LongQueues;
use crate::clock::Timestamp;
use crate::interest::ShardId;
use crate::limits::Level;

/// Connections, in percent of those that there may be: begins and ends.
const CONNECTIONS_HIGH: u64 = 90;
const CONNECTIONS_LOW: u64 = 80;
/// Time over which slow turns are counted.
const TURNS_WINDOW_MS: u64 = 10_000;
/// Slow turns in that time, over all shards: begins and ends.
const TURNS_HIGH: u64 = 50;
const TURNS_LOW: u64 = 5;
/// By how much the system's clock may be off what went by, between two looks.
const CLOCK_SLACK_MS: i64 = 5_000;
/// How long a jump of the clock stays an alarm.
const CLOCK_ALARM_MS: u64 = 300_000;

/// Something that the machine's side has found: only it can see that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// A certificate of a listener expires soon, or has.
    CertificateExpiry,
}

/// What was seen at the last look.
#[derive(Debug, Default)]
pub(super) struct Watched {
    queues: Vec<LongQueues>,
    /// When the time began over which slow turns are counted, and how many there had been; not before the first look: what the
    /// start takes is no alarm.
    turns: Option<(Timestamp, u64)>,
    /// By how much the system's clock is ahead of what it should be.
    clock_ahead_ms: Option<i64>,
    clock_jumped_at: Option<Timestamp>,
}

impl Broker {
    pub(super) fn look_at_conditions<E: Effects>(&mut self, now: Timestamp, fx: &mut E) {
        self.look_at_memory(now, fx);
        self.look_at_connections(now, fx);
        self.look_at_storage(now, fx);
        self.look_at_turns(now, fx);
        self.look_at_clock(now, fx);
    }

    fn look_at_memory<E: Effects>(&mut self, now: Timestamp, fx: &mut E) {
        let pressure = &self.shared.pressure;
        let level = pressure.level();
        let message = (level > Level::None).then(|| {
            let (used, max) = (pressure.used() >> 20, pressure.max() >> 20);
            format!("memory: {used} of {max} MiB (limits.memory_max) are used: {}", level.what())
        });
        self.alarm(now, "memory_high", message, fx);
    }

    fn look_at_connections<E: Effects>(&mut self, now: Timestamp, fx: &mut E) {
        let clients: u64 = self.sum(|metrics| metrics.clients.load());
        let max = u64::from(self.config().limits.max_connections);
        let percent = clients * 100 / max.max(1);
        let bound = if self.observe.alarms.is_active("connections_high") {
            CONNECTIONS_LOW
        } else {
            CONNECTIONS_HIGH
        };
        let message = (percent >= bound)
            .then(|| format!("{clients} clients are connected, {max} fit (limits.max_connections)"));
        self.alarm(now, "connections_high", message, fx);
    }

    fn look_at_storage<E: Effects>(&mut self, now: Timestamp, fx: &mut E) {
        let message = self.clients.journal.is_down().then(|| {
            "the disk takes nothing: what needs it is refused; the log names the file and the cause"
                .to_owned()
        });
        self.alarm(now, "storage_down", message, fx);
    }

    fn look_at_turns<E: Effects>(&mut self, now: Timestamp, fx: &mut E) {
        let window = self.observe.watched.turns;
        if window.is_some_and(|(since, _)| now.ms_since(since) < TURNS_WINDOW_MS) {
            return;
        }
        let all = self.sum(|metrics| metrics.slow_turns.load());
        self.observe.watched.turns = Some((now, all));
        let Some((since, before)) = window else { return };
        let slow = all.saturating_sub(before);
        let bound = if self.observe.alarms.is_active("slow_turns") { TURNS_LOW } else { TURNS_HIGH };
        let message = (slow >= bound).then(|| {
            let seconds = now.ms_since(since) / 1000;
            format!("{slow} turns of shards took longer than 5 ms within {seconds} s: too much work, or too little CPU")
        });
        if let Some(message) = &message {
            // Where emqttd had its own word for it.
            let config = &self.clients.config;
            let topic = format!("{}/{}/sysmon/long_schedule", config.sys.prefix, config.node.name);
            if config.sys.interval_s > 0 {
                let payload = message.clone().into_bytes();
                self.publish_of_node(now, &topic, &payload, false, crate::packet::QoS::AtMostOnce, fx);
            }
        }
        self.alarm(now, "slow_turns", message, fx);
    }

    fn look_at_clock<E: Effects>(&mut self, now: Timestamp, fx: &mut E) {
        let Some(unix_ms) = fx.unix_ms() else { return };
        let ahead_ms = unix_ms as i64 - (self.shared.started_unix_ms + now.0) as i64;
        let watched = &mut self.observe.watched;
        let jump_ms = ahead_ms - watched.clock_ahead_ms.unwrap_or(ahead_ms);
        watched.clock_ahead_ms = Some(ahead_ms);
        if jump_ms.abs() > CLOCK_SLACK_MS {
            watched.clock_jumped_at = Some(now);
            let message = format!(
                "the system's clock jumped by {} s: times in $SYS, tokens and certificates are judged by it",
                jump_ms / 1000
            );
            return self.alarm(now, "clock_jump", Some(message), fx);
        }
        if watched.clock_jumped_at.is_some_and(|at| now.ms_since(at) >= CLOCK_ALARM_MS) {
            watched.clock_jumped_at = None;
            self.alarm(now, "clock_jump", None, fx);
        }
    }

    /// A shard has told of its long mqueues.
    pub(in crate::broker) fn queues_told<E: Effects>(
        &mut self,
        now: Timestamp,
        from: ShardId,
        long: LongQueues,
        fx: &mut E,
    ) {
        let queues = &mut self.observe.watched.queues;
        queues.resize_with(usize::from(self.shards).max(queues.len()), LongQueues::default);
        if let Some(of_shard) = queues.get_mut(usize::from(from.0)) {
            *of_shard = long;
        }
        let count: u64 = queues.iter().map(|of_shard| of_shard.count).sum();
        let longest =
            queues.iter().filter_map(|of_shard| of_shard.longest.as_ref()).max_by_key(|(_, len)| *len);
        let whose = longest
            .map_or(String::new(), |(name, len)| format!("; the longest is that of {name:?} with {len}"));
        let high = self.config().session.queue_high_watermark * 100.0;
        let message = (count > 0).then(|| {
            let len_max = self.config().session.queue_len_max;
            format!("{count} mqueues went beyond {high:.0} % of session.queue_len_max ({len_max}){whose}")
        });
        self.alarm(now, "queue_high", message, fx);
    }

    /// The machine's side has found something, or found it over (`None`). Shard 0 is told.
    pub(in crate::broker) fn condition_told<E: Effects>(
        &mut self,
        now: Timestamp,
        condition: Condition,
        message: Option<String>,
        fx: &mut E,
    ) {
        let id = match condition {
            Condition::CertificateExpiry => "certificate_expiry",
        };
        self.alarm(now, id, message, fx);
    }

    fn sum(&self, number: impl Fn(&crate::metrics::Metrics) -> u64) -> u64 {
        let sum = self.shared.metrics.iter().fold(0_u64, |sum, metrics| sum.wrapping_add(number(metrics)));
        // Gauges are read one after the other: a sum may be briefly below zero.
        if sum > u64::MAX / 2 { 0 } else { sum }
    }
}
