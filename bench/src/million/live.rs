//! What is seen while it runs, on standard error: on a terminal one line that is renewed, else a line every few
//! seconds.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::results::Sample;
use super::size::{bytes, grouped};
use crate::report::duration;

/// Time between two lines where there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// The live view.
#[derive(Debug)]
pub(crate) struct Live {
    bar: Option<ProgressBar>,
    quiet: bool,
    said: Option<(Instant, &'static str)>,
    /// Connections wanted, and the empty broker's memory: what the rest is compared with.
    wanted: u64,
    broker_empty_bytes: u64,
}

impl Live {
    /// Shows nothing if `quiet`.
    pub(crate) fn new(quiet: bool, wanted: u64, broker_empty_bytes: Option<u64>) -> Self {
        let terminal = !quiet && std::io::stderr().is_terminal();
        let bar = terminal.then(|| {
            let bar = ProgressBar::with_draw_target(Some(wanted), ProgressDrawTarget::stderr_with_hz(5));
            // The template is a constant; without it the bar is only plainer.
            if let Ok(style) = ProgressStyle::with_template("{prefix:>8} {bar:20} {wide_msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, quiet, said: None, wanted, broker_empty_bytes: broker_empty_bytes.unwrap_or(0) }
    }

    /// Shows a sample.
    pub(crate) fn show(&mut self, sample: &Sample) {
        if self.quiet {
            return;
        }
        let line = self.line(sample);
        if let Some(bar) = &self.bar {
            bar.set_position(sample.connections);
            bar.set_prefix(sample.stage);
            bar.set_message(line);
            return;
        }
        let fresh = self.said.is_some_and(|(at, stage)| stage == sample.stage && at.elapsed() < PLAIN_EVERY);
        if !fresh {
            self.said = Some((Instant::now(), sample.stage));
            eprintln!("{:>8} {line}", sample.stage);
        }
    }

    /// A line of text that stays, above the live one.
    pub(crate) fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| println!("{line}")),
            None => println!("{line}"),
        }
    }

    /// Removes the live line.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn line(&self, s: &Sample) -> String {
        let mut line = format!("{} of {}", grouped(s.connections), grouped(self.wanted));
        // Writing to a String can't fail.
        if s.connections_per_s >= 1.0 {
            let _ = write!(line, ", {}/s", grouped(s.connections_per_s as u64));
        }
        if s.messages_per_s >= 1.0 {
            let _ = write!(line, ", {} messages/s", grouped(s.messages_per_s as u64));
        }
        if let Some(rss) = s.broker_rss_bytes {
            let each = rss.saturating_sub(self.broker_empty_bytes) / s.connections.max(1);
            let _ = write!(line, "; broker {}", bytes(rss));
            if s.connections > 0 {
                let _ = write!(line, ", {each} B each");
            }
        }
        let cpu = |cpus: f64| format!("{:.0} %", cpus * 100.0);
        let _ = write!(line, "; CPU {} and load {}", s.broker_cpus.map_or("?".into(), cpu), cpu(s.load_cpus));
        if let (Some(p50), Some(p99)) = (s.p50_us, s.p99_us) {
            let _ = write!(line, "; p50 {} p99 {}", duration(p50 as f64), duration(p99 as f64));
        }
        let _ = write!(line, "; {} free", bytes(s.memory_available_bytes));
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_there_is() {
        let live = Live::new(true, 1_000_000, Some(10_000_000));
        let sample = Sample {
            stage: "fill",
            connections: 100_000,
            connections_per_s: 12_345.6,
            broker_rss_bytes: Some(60_000_000),
            broker_cpus: Some(0.98),
            load_cpus: 0.5,
            p50_us: Some(2_000),
            p99_us: Some(18_000),
            memory_available_bytes: 17_000_000_000,
            ..Sample::default()
        };
        assert_eq!(
            live.line(&sample),
            "100,000 of 1,000,000, 12,345/s; broker 60.0 MB, 500 B each; CPU 98 % and load 50 %; p50 2.00 ms p99 18.0 ms; \
             17.00 GB free"
        );
    }
}
