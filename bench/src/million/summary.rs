//! What a run found, for people: a line a stage, the table of steps, and the last lines.

use std::fmt::Write as _;

use super::results::{Cost, Latency, Run, Stage};
use super::rig::what;
use super::size::{bytes, grouped};
use crate::report::duration;

/// One stage in one line.
pub(crate) fn line(stage: &Stage) -> String {
    let mut line = format!("{:<9}", stage.name);
    // Writing to a String can't fail, here and below.
    let _ = match stage.name {
        "hold" => write!(line, "{} connections for {:.1} s", grouped(stage.connections_after), stage.seconds),
        "fill" | "storm" | "takeover" | "end" => {
            let (done, asked) = (grouped(stage.done), grouped(stage.asked));
            let per_s = grouped(stage.per_s as u64);
            write!(line, "{done} of {asked} {} in {:.2} s: {per_s}/s", what(stage.name), stage.seconds)
        }
        _ => write!(line, "{} of {} {}", grouped(stage.done), grouped(stage.asked), what(stage.name)),
    };
    if stage.duplicates > 0 {
        let _ = write!(line, ", {} twice", grouped(stage.duplicates));
    }
    if let Some(latency) = &stage.latency {
        let _ = write!(line, "; {}", latencies(latency));
    }
    if let (Some(second), Some(title)) = (&stage.second_latency, stage.second_title) {
        let (p50, p99) = (duration(second.p50_us as f64), duration(second.p99_us as f64));
        let _ = write!(line, "; {title}: p50 {p50} p99 {p99} max {}", duration(second.max_us as f64));
    }
    match (stage.broker_cpu_us_each, stage.broker_cpu_s) {
        (Some(us), _) => {
            let _ = write!(line, "; broker {us:.1} us CPU each");
        }
        (None, Some(s)) => {
            let _ = write!(line, "; broker {:.2} % of a core", s / stage.seconds.max(1e-3) * 100.0);
        }
        (None, None) => {}
    }
    if let Some(rss) = stage.after.broker_rss_bytes {
        let _ = write!(line, "; {}", bytes(rss));
    }
    if stage.keep_alive_pings > 0 {
        let _ = write!(line, "; {} due PINGREQs", grouped(stage.keep_alive_pings));
    }
    if stage.connections_lost > 0 {
        let _ = write!(line, "; {} CONNECTIONS LOST", grouped(stage.connections_lost));
    }
    line
}

fn latencies(l: &Latency) -> String {
    let d = |us: u64| duration(us as f64);
    format!("p50 {} p99 {} p99.9 {} max {}", d(l.p50_us), d(l.p99_us), d(l.p999_us), d(l.max_us))
}

/// How the costs grow: a row a step.
pub(crate) fn steps(run: &Run) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{:>12} {:>8} {:>8} {:>8} | {:^19} | {:^19} | {:^19} | {:^19}",
        "", "bytes", "slope", "kernel", "connect", "PINGREQ", "PUBLISH QoS 0", "PUBLISH QoS 1"
    );
    let head = format!("{:>8} {:>10}", "CPU us", "p99");
    let _ = writeln!(
        text,
        "{:>12} {:>8} {:>8} {:>8} | {head} | {head} | {head} | {head}",
        "connections", "each", "each", "each"
    );
    for step in &run.steps {
        let figure = |n: Option<f64>| n.map_or("-".to_owned(), |n| format!("{n:.0}"));
        let cost = |cost: Option<&Cost>| match cost {
            None => format!("{:>8} {:>10}", "-", "-"),
            Some(c) => {
                let cpu = c.cpu_us.map_or("-".to_owned(), |us| format!("{us:.1}"));
                format!("{cpu:>8} {:>10}", duration(c.p99_us as f64))
            }
        };
        let _ = writeln!(
            text,
            "{:>12} {:>8} {:>8} {:>8.0} | {} | {} | {} | {}",
            grouped(step.connections),
            figure(step.bytes_per_connection),
            figure(step.bytes_per_connection_slope),
            step.kernel_bytes_per_connection,
            cost(Some(&step.connect)),
            cost(step.ping.as_ref()),
            cost(step.publish_qos0.as_ref()),
            cost(step.publish_qos1.as_ref()),
        );
    }
    text
}

/// The last lines: memory, how the broker ended, failures, notes, and whether all went well.
pub(crate) fn last_lines(run: &Run) -> String {
    let mut text = String::new();
    if let Some(m) = &run.memory {
        let mut line = format!("memory   {} connections:", grouped(m.connections));
        if let Some(each) = m.broker_bytes_per_connection {
            let _ = write!(line, " broker {each:.0} B each,");
        }
        let _ = write!(
            line,
            " kernel {:.0} B an end, load {:.0} B,",
            m.kernel_bytes_per_connection, m.load_bytes_per_connection
        );
        let _ = write!(line, " all together {:.0} B of MemAvailable", m.available_bytes_per_connection);
        if let Some(peak) = m.broker_peak_over_held {
            let _ = write!(line, "; peak {peak:.2} of held");
        }
        let _ = writeln!(text, "{line}");
    }
    if let Some(exit) = &run.broker_exit {
        let status = exit.status.map_or("a signal".to_owned(), |s| format!("exit status {s}"));
        let _ = writeln!(text, "broker   ended with {status} in {:.2} s after SIGTERM", exit.seconds);
    }
    for (reason, n) in &run.failures {
        let _ = writeln!(text, "failure  {} x {reason}", grouped(*n));
    }
    for note in &run.notes {
        let _ = writeln!(text, "note     {note}");
    }
    for problem in &run.problems {
        let _ = writeln!(text, "PROBLEM  {problem}");
    }
    if run.problems.is_empty() {
        let (n, s) = (grouped(run.connections_reached), run.seconds);
        let _ = writeln!(text, "ok       {n} connections, nothing lost, {s:.1} s");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::million::results::{BrokerExit, MemoryNow, Step};

    fn fill() -> Stage {
        Stage {
            name: "fill",
            asked: 1_000,
            done: 999,
            seconds: 2.0,
            per_s: 499.5,
            latency: Some(Latency {
                p50_us: 900,
                p99_us: 2_000,
                p999_us: 3_000,
                max_us: 40_000,
                ..Latency::default()
            }),
            broker_cpu_us_each: Some(30.04),
            after: MemoryNow { broker_rss_bytes: Some(50_000_000), ..MemoryNow::default() },
            ..Stage::default()
        }
    }

    #[test]
    fn a_stage_is_one_line() {
        assert_eq!(
            line(&fill()),
            "fill     999 of 1,000 connections in 2.00 s: 499/s; p50 900 us p99 2.00 ms p99.9 3.00 ms max 40.0 ms; \
             broker 30.0 us CPU each; 50.0 MB"
        );
        let hold = Stage { name: "hold", broker_cpu_s: Some(0.05), seconds: 10.0, ..Stage::default() };
        assert_eq!(line(&hold), "hold     0 connections for 10.0 s; broker 0.50 % of a core");
    }

    #[test]
    fn the_end_names_what_went_wrong() {
        let mut run = Run { connections_reached: 10, ..Run::default() };
        assert!(last_lines(&run).starts_with("ok "));
        run.problems.push("ping: 1 of 2 PINGRESPs missing".into());
        run.broker_exit = Some(BrokerExit { status: Some(0), seconds: 0.25, killed: false });
        let text = last_lines(&run);
        assert!(text.contains("PROBLEM  ping") && text.contains("exit status 0") && !text.contains("ok "));
    }

    #[test]
    fn steps_are_a_table() {
        let cost = Cost { cpu_us: Some(12.34), p50_us: 1, p99_us: 1_500, per_s: 1.0 };
        let step = Step { connections: 100_000, connect: cost, ping: Some(cost), ..Step::default() };
        let text = steps(&Run { steps: vec![step], ..Run::default() });
        let row = text.lines().next_back().unwrap_or_default();
        assert!(
            row.contains("100,000") && row.contains("12.3") && row.contains("1.50 ms") && row.contains('-')
        );
        assert_eq!(text.lines().count(), 3);
    }
}
