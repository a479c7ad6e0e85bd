//! Tables of the page: cells, and the tables of stages, percentiles, steps, memory and the machine check.

use super::format;
use super::latency;
use super::markup::{element, escape, text};
use crate::million::results::{Cost, Memory, Run, Stage, Step, Verdict};

/// A cell, not escaped yet.
#[derive(Debug, Clone)]
enum Cell {
    Text(String),
    /// Aligned to the right.
    Number(String),
    /// As a number, with a class that says what to think of it: `good`, `bad`.
    Judged(&'static str, String),
    /// As text, with such a class.
    Verdict(&'static str, &'static str),
}

/// A table that scrolls sideways where the screen is narrower, its first column always in view.
fn table(head: &[&str], rows: &[Vec<Cell>]) -> String {
    let numeric = |column: usize| {
        rows.first().is_some_and(|row| matches!(row.get(column), Some(Cell::Number(_) | Cell::Judged(..))))
    };
    let title = |(n, name): (usize, &&str)| text("th", if numeric(n) { "number" } else { "" }, name);
    let head: String = head.iter().enumerate().map(title).collect();
    let rows: String =
        rows.iter().map(|row| element("tr", "", &row.iter().map(Cell::html).collect::<String>())).collect();
    let inner = element("thead", "", &element("tr", "", &head)) + &element("tbody", "", &rows);
    element("div", "scroll", &element("table", "", &inner))
}

impl Cell {
    fn html(&self) -> String {
        match self {
            Self::Text(words) => text("td", "", words),
            Self::Number(figure) => text("td", "number", figure),
            Self::Verdict(class, word) => element("td", "", &text("span", class, word)),
            Self::Judged(class, figure) => element("td", "number", &text("span", class, figure)),
        }
    }
}

fn number(n: u64) -> Cell {
    Cell::Number(format::integer(n))
}

fn micros(v: u64) -> Cell {
    Cell::Number(format::micros(v as f64))
}

fn known(v: Option<f64>, write: fn(f64) -> String) -> Cell {
    Cell::Number(v.map_or(format::NONE.into(), write))
}

/// A count that should be 0.
fn none_expected(n: u64) -> Cell {
    Cell::Judged(if n == 0 { "good" } else { "bad" }, format::integer(n))
}

/// Bytes of one connection: `612 B`, `3,912 B`.
pub(super) fn bytes_each(v: f64) -> String {
    format!("{} B", format::rounded(v))
}

/// Every stage: what it did, what was lost, what it cost.
pub(super) fn stages(stages: &[Stage]) -> String {
    const HEAD: [&str; 14] = [
        "stage",
        "began",
        "took",
        "asked",
        "done",
        "lost",
        "twice",
        "connections lost",
        "a second",
        "broker CPU",
        "broker CPU each",
        "load CPU",
        "broker peak",
        "connections after",
    ];
    let row = |stage: &Stage| {
        vec![
            Cell::Text(stage.name.into()),
            Cell::Number(format::clock(stage.t_s)),
            Cell::Number(format::seconds(stage.seconds)),
            number(stage.asked),
            number(stage.done),
            none_expected(stage.lost),
            number(stage.duplicates),
            none_expected(stage.connections_lost),
            Cell::Number(format::rounded(stage.per_s)),
            known(stage.broker_cpu_s, format::seconds),
            known(stage.broker_cpu_us_each, format::micros),
            Cell::Number(format::seconds(stage.load_cpu_s)),
            known(stage.broker_rss_peak_bytes.map(|bytes| bytes as f64), format::bytes),
            number(stage.connections_after),
        ]
    };
    table(&HEAD, &stages.iter().map(row).collect::<Vec<_>>())
}

/// Percentiles of every latency.
pub(super) fn percentiles(run: &Run) -> String {
    const HEAD: [&str; 11] =
        ["stage", "connections", "count", "mean", "min", "p50", "p90", "p99", "p99.9", "p99.99", "max"];
    let row = |row: &latency::Measured<'_>| {
        let found = row.latency;
        vec![
            Cell::Text(row.name.clone()),
            number(row.stage.connections_before.max(row.stage.connections_after)),
            number(found.count),
            Cell::Number(format::micros(found.mean_us)),
            micros(found.min_us),
            micros(found.p50_us),
            micros(found.p90_us),
            micros(found.p99_us),
            micros(found.p999_us),
            micros(found.p9999_us),
            micros(found.max_us),
        ]
    };
    table(&HEAD, &latency::all(run).iter().map(row).collect::<Vec<_>>())
}

/// Costs at each step.
pub(super) fn steps(steps: &[Step]) -> String {
    const HEAD: [&str; 12] = [
        "connections",
        "broker, each",
        "slope",
        "kernel, each",
        "connects/s",
        "CPU a connect",
        "CPU a PINGREQ",
        "p99",
        "CPU a QoS 0",
        "p99",
        "CPU a QoS 1",
        "p99",
    ];
    let cpu = |cost: Option<Cost>| known(cost.and_then(|cost| cost.cpu_us), format::micros);
    let p99 = |cost: Option<Cost>| known(cost.map(|cost| cost.p99_us as f64), format::micros);
    let row = |step: &Step| {
        vec![
            number(step.connections),
            known(step.bytes_per_connection, bytes_each),
            known(step.bytes_per_connection_slope, bytes_each),
            Cell::Number(bytes_each(step.kernel_bytes_per_connection)),
            Cell::Number(format::rounded(step.connect.per_s)),
            cpu(Some(step.connect)),
            cpu(step.ping),
            p99(step.ping),
            cpu(step.publish_qos0),
            p99(step.publish_qos0),
            cpu(step.publish_qos1),
            p99(step.publish_qos1),
        ]
    };
    table(&HEAD, &steps.iter().map(row).collect::<Vec<_>>())
}

/// The machine check.
pub(super) fn checks(run: &Run) -> String {
    let row = |check: &crate::million::results::CheckRow| {
        let (class, verdict) = match check.verdict {
            Verdict::Ok => ("good", "ok"),
            Verdict::FallsShort => ("warn", "falls short"),
            Verdict::Fatal => ("bad", "can't work"),
        };
        vec![
            Cell::Text(check.name.clone()),
            Cell::Verdict(class, verdict),
            Cell::Number(check.fits.map_or("any number".into(), format::integer)),
            Cell::Text(check.has.clone()),
            Cell::Text(check.needs.clone()),
            Cell::Text(check.mend.clone().unwrap_or_default()),
        ]
    };
    let rows: Vec<_> = run.checks.iter().map(row).collect();
    table(&["what", "verdict", "suffices for", "this machine", "needed", "mend"], &rows)
}

/// Failures by reason.
pub(super) fn failures(run: &Run) -> String {
    let row = |(reason, count): (&String, &u64)| vec![Cell::Text(reason.clone()), number(*count)];
    table(&["reason", "times"], &run.failures.iter().map(row).collect::<Vec<_>>())
}

/// Where the memory of one held connection went, as bars.
pub(super) fn memory(memory: &Memory) -> String {
    let kernel = memory.kernel_bytes_per_connection;
    let broker = memory.broker_bytes_per_connection;
    let ends = if memory.both_ends_here { 2.0 } else { 1.0 };
    let claimed = broker.unwrap_or(0.0) + memory.load_bytes_per_connection + kernel * ends;
    let rest = (memory.available_bytes_per_connection - claimed).max(0.0);
    let mut parts = vec![
        ("broker, user space", "blue", broker),
        ("kernel slabs, the broker's end", "orange", Some(kernel)),
    ];
    if memory.both_ends_here {
        parts.push(("kernel slabs, the load generator's end", "orange", Some(kernel)));
    }
    parts.push(("load generator, user space", "green", Some(memory.load_bytes_per_connection)));
    parts.push(("rest of what MemAvailable lost", "grey", Some(rest)));
    let most = parts.iter().filter_map(|(_, _, bytes)| *bytes).filter(|v| v.is_finite()).fold(1.0, f64::max);
    let row = |(name, colour, bytes): &(&str, &str, Option<f64>)| {
        let share = bytes.filter(|v| v.is_finite()).map_or(0.0, |v| (v / most * 100.0).clamp(0.0, 100.0));
        let bar = format!("<span class=\"bar {colour}\" style=\"width:{share:.1}%\"></span>");
        let figure = bytes.map_or(format::NONE.into(), bytes_each);
        format!("<dt>{}</dt><dd class=\"number\">{}</dd><dd>{bar}</dd>\n", escape(name), escape(&figure))
    };
    element("dl", "shares", &parts.iter().map(row).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_escaped_and_aligned() {
        let rows = [vec![Cell::Text("<a>".into()), Cell::Number("1".into()), none_expected(2)]];
        let html = table(&["name", "n", "lost"], &rows);
        assert!(
            html.contains("<td>&lt;a&gt;</td>") && html.contains("<td class=\"number\">1</td>"),
            "{html}"
        );
        assert!(html.contains("<span class=\"bad\">2</span>"), "{html}");
        assert!(html.contains("<th class=\"number\">n</th>") && html.contains("<th>name</th>"), "{html}");
    }

    #[test]
    fn the_shares_of_a_connection_take_the_kernel_twice_if_both_ends_are_here() {
        let of = Memory {
            broker_bytes_per_connection: Some(600.0),
            kernel_bytes_per_connection: 3900.0,
            load_bytes_per_connection: 100.0,
            available_bytes_per_connection: 9000.0,
            both_ends_here: true,
            ..Memory::default()
        };
        assert!(memory(&of).contains(">500 B<"), "{}", memory(&of));
        let one_end = memory(&Memory { both_ends_here: false, ..of });
        assert!(one_end.contains(">4,400 B<") && !one_end.contains("generator's end"), "{one_end}");
    }
}
