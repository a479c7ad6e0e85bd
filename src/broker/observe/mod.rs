//! What people may see of a shard beyond its counters: presence, alarms, traces, slow subscribers, topic metrics, the latency of
//! some messages. Each costs nothing, or one comparison, where nobody asked for it; each is bounded.

mod alarms;
mod conditions;
mod delay;
mod long_queues;
mod presence;
mod slow;
mod topic_metrics;
mod trace;
mod trace_text;

pub use alarms::Alarm;
pub use conditions::Condition;
pub use long_queues::LongQueues;
pub use slow::SlowClient;
pub use topic_metrics::TopicMetric;
pub use trace::{TRACES_MAX, TraceEvent, TraceSpec, TraceTarget};

pub(super) use delay::Delays;
pub(super) use long_queues::Lengths;
pub(super) use slow::Slow;
pub(super) use topic_metrics::TopicMetrics;
pub(super) use trace::Traces;
pub(super) use trace_text::{PublishText, acknowledgement, of_publish, reasons};

use super::Broker;
use super::effects::{Effects, Timer};
use crate::clock::Timestamp;
use alarms::Alarms;
use conditions::Watched;
use presence::Presence;
pub(super) use presence::reason_of;

/// Between two looks at what may be wrong.
const LOOK_MS: u64 = 2_000;

/// What only the broker itself needs.
#[derive(Debug, Default)]
pub(super) struct Observe {
    pub(super) delays: Delays,
    presence: Presence,
    /// Shard 0's: the node's.
    alarms: Alarms,
    /// Shard 0's: what it has seen so far.
    watched: Watched,
}

/// What every delivery passes by.
#[derive(Debug, Default)]
pub(super) struct Sight {
    pub(super) traces: Traces,
    pub(super) slow: Slow,
    pub(super) topics: TopicMetrics,
    pub(super) lengths: Lengths,
}

impl Broker {
    /// Looks from now on, every other second.
    pub(super) fn want_look<E: Effects>(&mut self, now: Timestamp, fx: &mut E) {
        fx.set_timer(Timer::Look, now.plus_ms(LOOK_MS));
    }

    /// What is to be raised, told or forgotten by now.
    pub(super) fn look<E: Effects>(&mut self, now: Timestamp, fx: &mut E) {
        self.clients.sight.traces.expire(now);
        self.clients.sight.slow.forget(now);
        self.look_at_queues(now, fx);
        if self.shard.0 == 0 {
            self.look_at_conditions(now, fx);
        }
        self.want_look(now, fx);
    }
}
