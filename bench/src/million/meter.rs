//! What is measured of the machine: memory and CPU of broker and load at a moment, and a sample once a second.

use std::time::{Duration, Instant};

use super::broker::{Broker, BrokerUsage};
use super::load::Totals;
use super::machine::{MemoryInfo, tcp_buffers_bytes};
use super::results::{MemoryNow, Sample};
use crate::proc::{Usage, machine_busy_s};

/// Between two samples is at least so much.
const SAMPLE_EVERY_MIN: Duration = Duration::from_millis(500);

/// CPU and memory at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) at: Instant,
    pub(crate) memory: MemoryNow,
    pub(crate) broker_cpu_s: Option<f64>,
    pub(crate) load_cpu_s: f64,
    machine_cpu_s: f64,
}

impl Reading {
    /// Now.
    pub(crate) fn now(broker: &Broker) -> Self {
        let broker: Option<BrokerUsage> = broker.usage();
        let (load, machine) = (Usage::own(), MemoryInfo::now());
        Self {
            at: Instant::now(),
            memory: MemoryNow {
                broker_rss_bytes: broker.map(|b| b.rss_bytes),
                broker_anon_bytes: broker.map(|b| b.anon_bytes),
                load_rss_bytes: load.rss_bytes,
                slab_bytes: machine.slab_bytes,
                tcp_buffers_bytes: tcp_buffers_bytes(),
                memory_available_bytes: machine.available_bytes,
            },
            broker_cpu_s: broker.map(|b| b.cpu_s),
            load_cpu_s: load.cpu_s,
            machine_cpu_s: machine_busy_s(),
        }
    }

    /// CPUs that others than broker and load kept busy since `before`.
    pub(crate) fn other_cpus_since(&self, before: &Self) -> Option<f64> {
        let seconds = self.at.duration_since(before.at).as_secs_f64().max(1e-3);
        let ours_s = self.broker_cpu_since(before)? + self.load_cpu_s - before.load_cpu_s;
        Some(((self.machine_cpu_s - before.machine_cpu_s - ours_s) / seconds).max(0.0))
    }

    /// CPU seconds of the broker since `before`.
    pub(crate) fn broker_cpu_since(&self, before: &Self) -> Option<f64> {
        Some((self.broker_cpu_s? - before.broker_cpu_s?).max(0.0))
    }
}

/// The time series.
#[derive(Debug)]
pub(crate) struct Meter {
    start: Instant,
    last: Option<(Reading, Totals)>,
    pub(crate) samples: Vec<Sample>,
}

impl Meter {
    /// Begins now.
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), last: None, samples: Vec::new() }
    }

    /// Seconds of the run until `at`.
    pub(crate) fn t_s(&self, at: Instant) -> f64 {
        at.duration_since(self.start).as_secs_f64()
    }

    /// Takes a sample, unless the last one is so young that rates would mean nothing; `middle` is the median and 99th percentile of the stage until now.
    pub(crate) fn sample(
        &mut self,
        stage: &'static str,
        broker: &Broker,
        totals: &Totals,
        middle: Option<(u64, u64)>,
    ) -> Option<Sample> {
        if self.last.is_some_and(|(last, _)| last.at.elapsed() < SAMPLE_EVERY_MIN) {
            return None;
        }
        let now = Reading::now(broker);
        let before = self.last.replace((now, *totals));
        let (was, then) = before.unwrap_or((now, *totals));
        let seconds = now.at.duration_since(was.at).as_secs_f64().max(1e-3);
        let m = now.memory;
        let sample = Sample {
            t_s: self.t_s(now.at),
            stage,
            connections: totals.held,
            connections_per_s: totals.handshakes.saturating_sub(then.handshakes) as f64 / seconds,
            messages_per_s: totals.messages.saturating_sub(then.messages) as f64 / seconds,
            broker_rss_bytes: m.broker_rss_bytes,
            broker_anon_bytes: m.broker_anon_bytes,
            slab_bytes: m.slab_bytes,
            tcp_buffers_bytes: m.tcp_buffers_bytes,
            memory_available_bytes: m.memory_available_bytes,
            load_rss_bytes: m.load_rss_bytes,
            broker_cpus: now.broker_cpu_since(&was).map(|s| s / seconds),
            load_cpus: (now.load_cpu_s - was.load_cpu_s) / seconds,
            machine_cpus: (now.machine_cpu_s - was.machine_cpu_s) / seconds,
            p50_us: middle.map(|m| m.0),
            p99_us: middle.map(|m| m.1),
        };
        self.samples.push(sample.clone());
        Some(sample)
    }

    /// The largest of the broker's memory in samples since `t_s`, and of `ends`.
    pub(crate) fn broker_peak(&self, t_s: f64, ends: [Option<u64>; 2]) -> Option<u64> {
        let sampled =
            self.samples.iter().rev().take_while(|s| s.t_s >= t_s).filter_map(|s| s.broker_rss_bytes);
        sampled.chain(ends.into_iter().flatten()).max()
    }
}
