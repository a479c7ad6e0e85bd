//! What a run found, as text and as JSON, with the conditions under which it was found.

use std::fmt::{self, Write as _};

use serde::Serialize;

use crate::cli::Options;
use crate::proc::{Machine, Process};
use crate::stats::LatencySummary;
use crate::topology::Scenario;

/// More CPUs than this busy with other work make rates and latencies doubtful.
const OTHER_CPUS_MAX: f64 = 0.3;

/// A run, whole. Fields that were not measured are null.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) tool: &'static str,
    pub(crate) tool_version: &'static str,
    pub(crate) label: Option<String>,
    pub(crate) scenario: Scenario,
    pub(crate) conditions: Conditions,
    pub(crate) connections: Option<Connections>,
    pub(crate) subscriptions: Option<Subscriptions>,
    pub(crate) hold: Option<Hold>,
    pub(crate) load: Option<LoadFigures>,
    /// What weakens the figures.
    pub(crate) notes: Vec<String>,
    /// Why the run failed, or what it lost.
    pub(crate) failure: Option<String>,
}

/// Under which conditions a run was made.
#[derive(Debug, Serialize)]
pub(crate) struct Conditions {
    pub(crate) command: Vec<String>,
    pub(crate) started_unix_s: u64,
    pub(crate) broker_address: String,
    pub(crate) publishers: usize,
    pub(crate) subscribers: usize,
    pub(crate) topics: usize,
    pub(crate) open_loop: bool,
    pub(crate) options: Options,
    pub(crate) machine: Machine,
    pub(crate) broker: Option<Process>,
}

/// The connecting of all clients.
#[derive(Debug, Serialize)]
pub(crate) struct Connections {
    pub(crate) clients: u64,
    pub(crate) seconds: f64,
    pub(crate) per_s: f64,
    /// From the first packet of TCP, or its scheduled moment, to CONNACK.
    pub(crate) latency_us: Option<LatencySummary>,
    pub(crate) broker_cpu_us_per_connection: Option<f64>,
    pub(crate) broker_rss_bytes: Option<u64>,
    pub(crate) broker_rss_bytes_per_connection: Option<f64>,
}

/// The subscribing of all subscribers.
#[derive(Debug, Serialize)]
pub(crate) struct Subscriptions {
    pub(crate) subscriptions: u64,
    pub(crate) seconds: f64,
    pub(crate) per_s: f64,
    pub(crate) broker_cpu_us_per_subscription: Option<f64>,
    /// Growth since before the first connection, by client.
    pub(crate) broker_rss_bytes_per_client: Option<f64>,
}

/// Connections at rest.
#[derive(Debug, Serialize)]
pub(crate) struct Hold {
    pub(crate) seconds: f64,
    /// CPUs that the broker kept busy.
    pub(crate) broker_cpus: Option<f64>,
    pub(crate) broker_rss_bytes_after_close: Option<u64>,
}

/// Messages under load. A message is a delivery; in `pub` one that the broker took.
#[derive(Debug, Serialize)]
pub(crate) struct LoadFigures {
    pub(crate) seconds: f64,
    pub(crate) messages: u64,
    pub(crate) per_s: f64,
    pub(crate) per_s_slices: Slices,
    pub(crate) sent_per_s: f64,
    pub(crate) received_bytes_per_s: f64,
    /// CPU seconds of the broker a million messages.
    pub(crate) broker_cpu_s_per_million: Option<f64>,
    /// CPU seconds of this program a million messages.
    pub(crate) own_cpu_s_per_million: f64,
    /// CPUs that the broker, this program and everything else kept busy.
    pub(crate) broker_cpus: Option<f64>,
    pub(crate) own_cpus: f64,
    pub(crate) other_cpus: Option<f64>,
    /// From the scheduled moment (open loop) or the moment of sending (closed loop) to the subscriber.
    pub(crate) latency_us: Option<LatencySummary>,
    /// The same to PUBACK, or PUBCOMP at QoS 2.
    pub(crate) acknowledge_latency_us: Option<LatencySummary>,
    pub(crate) broker_rss_bytes: Option<u64>,
    /// Over the whole run, warm-up and drain included.
    pub(crate) totals: Totals,
}

impl LoadFigures {
    /// What weakens the figures of a run with `threads` threads of this program.
    pub(crate) fn notes(&self, threads: usize) -> Vec<String> {
        let mut notes = Vec::new();
        if self.own_cpus > 0.9 * threads as f64 {
            notes.push("this program was the limit, not the broker: add --threads".to_owned());
        }
        if let Some(other) = self.other_cpus.filter(|other| *other > OTHER_CPUS_MAX) {
            notes.push(format!(
                "other work kept {other:.1} CPUs busy: trust only CPU figures, and only against others of the same time"
            ));
        }
        if self.totals.unsent > 0 {
            notes.push(format!("{} messages of the schedule could not be sent", self.totals.unsent));
        }
        notes
    }
}

/// The rate in parts of the measured time.
#[derive(Debug, Serialize)]
pub(crate) struct Slices {
    pub(crate) count: usize,
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

/// Counts over a whole load.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Totals {
    pub(crate) sent: u64,
    pub(crate) unsent: u64,
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    pub(crate) expected: u64,
    pub(crate) delivered: u64,
    pub(crate) undelivered: u64,
    pub(crate) duplicate_or_out_of_order: u64,
    pub(crate) gaps: u64,
    pub(crate) foreign: u64,
}

impl Totals {
    /// What must not happen at `qos`, in one line.
    pub(crate) fn failure(&self, qos: u8, publish_only: bool) -> Option<String> {
        let mut lines = Vec::new();
        let mut note = |n: u64, what: &str| {
            if n > 0 {
                lines.push(format!("{n} {what}"));
            }
        };
        if qos > 0 {
            note(self.undelivered, &format!("of {} messages of QoS {qos} undelivered", self.expected));
            note(self.sent.saturating_sub(self.accepted + self.refused), "messages unacknowledged");
        } else if publish_only {
            note(self.sent.saturating_sub(self.accepted), "messages not taken by the broker");
        }
        note(self.refused, "messages refused by the broker");
        if qos == 2 {
            note(self.duplicate_or_out_of_order, "messages of QoS 2 duplicate or out of order");
        }
        (!lines.is_empty()).then(|| lines.join(", "))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = &self.conditions;
        let o = &c.options;
        let version = match o.version {
            3 => "3.1",
            4 => "3.1.1",
            _ => "5.0",
        };
        writeln!(
            f,
            "{}: {} publishers, {} subscribers, {} topics; MQTT {version}, QoS {}, payload {} B, {} threads; {}",
            self.scenario.name(),
            c.publishers,
            c.subscribers,
            c.topics,
            o.qos,
            o.payload,
            o.threads,
            c.broker_address,
        )?;
        if let Some(connections) = &self.connections {
            connections.fmt(f)?;
        }
        if let Some(subscriptions) = &self.subscriptions {
            subscriptions.fmt(f)?;
        }
        if let Some(hold) = &self.hold {
            hold.fmt(f)?;
        }
        if let Some(load) = &self.load {
            // What `sub` receives follows a schedule of others, if any.
            load.fmt(f, c.open_loop || self.scenario == Scenario::Sub)?;
        }
        for note in &self.notes {
            writeln!(f, "note          {note}")?;
        }
        Ok(())
    }
}

impl Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line =
            format!("connected     {} in {:.2} s: {:.0}/s", self.clients, self.seconds, self.per_s);
        optional(&mut line, self.broker_cpu_us_per_connection, "; broker ", " us CPU each", 1);
        optional(&mut line, self.broker_rss_bytes_per_connection, ", ", " B each", 0);
        writeln!(f, "{line}")?;
        latency(f, "  CONNACK", self.latency_us.as_ref())
    }
}

impl Subscriptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (n, seconds) = (self.subscriptions, self.seconds);
        let mut line = format!("subscribed    {n} in {seconds:.2} s: {:.0}/s", self.per_s);
        optional(&mut line, self.broker_cpu_us_per_subscription, "; broker ", " us CPU each", 1);
        optional(&mut line, self.broker_rss_bytes_per_client, ", now ", " B a client", 0);
        writeln!(f, "{line}")
    }
}

impl Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = format!("held          {:.1} s", self.seconds);
        optional(&mut line, self.broker_cpus.map(|c| c * 100.0), "; broker ", " % of a CPU", 2);
        let after = self.broker_rss_bytes_after_close.map(|b| b as f64 / 1e6);
        optional(&mut line, after, "; after closing ", " MB", 1);
        writeln!(f, "{line}")
    }
}

impl LoadFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>, open_loop: bool) -> fmt::Result {
        let s = &self.per_s_slices;
        writeln!(
            f,
            "messages      {} in {:.2} s: {:.0}/s (min {:.0}, median {:.0}, max {:.0} of {} slices)",
            self.messages, self.seconds, self.per_s, s.min, s.median, s.max, s.count
        )?;
        let mut line = "CPU/million  ".to_owned();
        optional(&mut line, self.broker_cpu_s_per_million, " broker ", " s,", 3);
        optional(&mut line, Some(self.own_cpu_s_per_million), " own ", " s; CPUs busy:", 3);
        optional(&mut line, self.broker_cpus, " broker ", ",", 2);
        optional(&mut line, Some(self.own_cpus), " own ", "", 2);
        optional(&mut line, self.other_cpus, ", others ", "", 2);
        writeln!(f, "{line}")?;
        let name = if open_loop { "latency" } else { "queueing" };
        latency(f, name, self.latency_us.as_ref())?;
        latency(f, "acknowledged", self.acknowledge_latency_us.as_ref())?;
        let t = &self.totals;
        let mut line = format!("whole run     {} sent", t.sent);
        for (n, what) in [
            (t.expected, "deliveries expected"),
            (t.delivered, "delivered"),
            (t.undelivered, "undelivered"),
            (t.unsent, "due but not sent"),
            (t.refused, "refused"),
            (t.duplicate_or_out_of_order, "duplicate or out of order"),
            (t.foreign, "of others"),
        ] {
            if n > 0 {
                let _ = write!(line, ", {n} {what}");
            }
        }
        writeln!(f, "{line}")
    }
}

fn optional(line: &mut String, value: Option<f64>, before: &str, after: &str, digits: usize) {
    if let Some(value) = value {
        let _ = write!(line, "{before}{value:.digits$}{after}");
    }
}

fn latency(f: &mut fmt::Formatter<'_>, name: &str, summary: Option<&LatencySummary>) -> fmt::Result {
    let Some(s) = summary else { return Ok(()) };
    writeln!(
        f,
        "{name:<13} p50 {} p90 {} p99 {} p99.9 {} p99.99 {} max {}",
        duration(s.p50),
        duration(s.p90),
        duration(s.p99),
        duration(s.p999),
        duration(s.p9999),
        duration(s.max)
    )
}

/// Microseconds with three significant digits and a unit.
pub(crate) fn duration(us: f64) -> String {
    let (value, unit) = match us {
        us if us < 1e3 => (us, "us"),
        us if us < 1e6 => (us / 1e3, "ms"),
        us => (us / 1e6, "s"),
    };
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits() {
        let all = [0.25, 12.34, 456.7, 1_234.0, 99_900.0, 2_500_000.0].map(duration);
        assert_eq!(all, ["0.25 us", "12.3 us", "457 us", "1.23 ms", "99.9 ms", "2.50 s"]);
    }

    #[test]
    fn a_loss_fails_only_where_it_was_ruled_out() {
        let lost = Totals { sent: 10, accepted: 10, expected: 10, undelivered: 1, ..Totals::default() };
        assert_eq!(lost.failure(0, false), None);
        assert_eq!(lost.failure(1, false).as_deref(), Some("1 of 10 messages of QoS 1 undelivered"));
        let twice = Totals { duplicate_or_out_of_order: 2, ..Totals::default() };
        assert_eq!(twice.failure(1, false), None);
        assert!(twice.failure(2, false).is_some());
        let ignored = Totals { sent: 10, accepted: 9, ..Totals::default() };
        assert_eq!(ignored.failure(1, true).as_deref(), Some("1 messages unacknowledged"));
        assert!(ignored.failure(0, true).is_some());
        let refused = Totals { sent: 10, accepted: 9, refused: 1, ..Totals::default() };
        assert_eq!(refused.failure(1, true).as_deref(), Some("1 messages refused by the broker"));
    }
}
