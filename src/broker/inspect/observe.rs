//! Questions about traces, slow clients, topic metrics and alarms. What there is of each is bounded, so each is one answer.

use super::super::Broker;
use super::super::observe::{Alarm, SlowClient, TopicMetric, TraceSpec};
use crate::clock::Timestamp;

/// What is asked or wanted.
#[derive(Debug, Clone)]
pub enum ObserveQuestion {
    /// A trace begins; every shard is told. Answered by `Done`.
    TraceStart(TraceSpec),
    /// It ends.
    TraceStop(u32),
    /// Which clients are slow: `Slow`.
    Slow,
    /// What was counted for topics: `Topics`.
    Topics,
    /// Counts for a filter; every shard is told. Answered by `Done`.
    TopicAdd(Box<str>),
    /// No more.
    TopicRemove(Box<str>),
    /// What is wrong, and was lately: `Alarms`. Shard 0 knows.
    Alarms,
}

/// What is answered.
#[derive(Debug)]
pub enum ObserveAnswer {
    /// Whether it was done: false where there is no room, or no such thing.
    Done(bool),
    /// The slowest first.
    Slow(Vec<SlowClient>),
    /// In the order in which they were added.
    Topics(Vec<TopicMetric>),
    /// Active ones first.
    Alarms(Vec<Alarm>),
}

impl Broker {
    /// Answers.
    pub(super) fn inspect_observed(&mut self, now: Timestamp, question: ObserveQuestion) -> ObserveAnswer {
        let sight = &mut self.clients.sight;
        match question {
            ObserveQuestion::TraceStart(spec) => ObserveAnswer::Done(sight.traces.start(now, spec)),
            ObserveQuestion::TraceStop(id) => ObserveAnswer::Done(sight.traces.stop(id)),
            ObserveQuestion::Slow => ObserveAnswer::Slow(self.slow_clients(now)),
            ObserveQuestion::Topics => ObserveAnswer::Topics(sight.topics.rows()),
            ObserveQuestion::TopicAdd(filter) => ObserveAnswer::Done(sight.topics.add(&filter)),
            ObserveQuestion::TopicRemove(filter) => ObserveAnswer::Done(sight.topics.remove(&filter)),
            ObserveQuestion::Alarms => ObserveAnswer::Alarms(self.alarms()),
        }
    }
}
