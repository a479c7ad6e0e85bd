//! The plots of latencies: which stages are drawn, a histogram for each, and all of them beside each other.

use super::format;
use super::histogram::histogram;
use super::plot::{Axis, Canvas, Frame, Labels, Plan};
use super::scale::Scale;
use super::timeline::Drawn;
use crate::million::results::{Latency, Run, Stage};

/// One distribution of a stage.
#[derive(Debug)]
pub(super) struct Measured<'a> {
    pub(super) stage: &'a Stage,
    /// Short name for axes and tables: `ping`, `p2p1 PUBACK`.
    pub(super) name: String,
    /// What was timed, for a heading.
    pub(super) title: String,
    pub(super) latency: &'a Latency,
}

/// Every distribution of every stage, in order.
pub(super) fn all(run: &Run) -> Vec<Measured<'_>> {
    run.stages.iter().flat_map(of_stage).collect()
}

/// As [`all`], but of the stages that were run more than once (`--steps`) only the last.
pub(super) fn shown(run: &Run) -> Vec<Measured<'_>> {
    let later = |n: usize| run.stages[n + 1..].iter().any(|stage| stage.name == run.stages[n].name);
    run.stages.iter().enumerate().filter(|(n, _)| !later(*n)).flat_map(|(_, stage)| of_stage(stage)).collect()
}

fn of_stage(stage: &Stage) -> impl Iterator<Item = Measured<'_>> {
    let first = stage.latency.as_ref().map(|latency| Measured {
        stage,
        name: stage.name.into(),
        title: timed(stage.name).into(),
        latency,
    });
    let second = stage.second_latency.as_ref().map(|latency| Measured {
        stage,
        name: second_name(stage.name),
        title: stage.second_title.unwrap_or("the stage's second latency").into(),
        latency,
    });
    first.into_iter().chain(second).filter(|measured| measured.latency.count > 0)
}

/// What the main latency of a stage is.
fn timed(stage: &str) -> &'static str {
    match stage {
        "fill" => "first packet of TCP to second SUBACK",
        "ping" => "PINGREQ to PINGRESP",
        "storm" => "PINGREQ to PINGRESP of those who were not cut",
        "p2p0" => "PUBLISH QoS 0 to its delivery",
        "p2p1" => "PUBLISH QoS 1 to its delivery",
        "fanout" => "PUBLISH to each of its deliveries",
        "takeover" => "second connection's first packet to its CONNACK and the first one's end",
        _ => "the stage's latency",
    }
}

fn second_name(stage: &str) -> String {
    match stage {
        "p2p1" => "p2p1 PUBACK".into(),
        "storm" => "storm, return".into(),
        "fanout" => "fanout, last".into(),
        stage => format!("{stage}, second"),
    }
}

/// Histogram of one distribution.
pub(super) fn one(measured: &Measured<'_>, canvas: Canvas<'_>) -> Drawn {
    histogram(measured.latency, canvas, &format!("Histogram: {}, {}", measured.name, measured.title))
}

/// p50, p99, p99.9 and maximum of every distribution, a row each, over one axis.
pub(super) fn overview(run: &Run, canvas: Canvas<'_>) -> Drawn {
    let rows = shown(run);
    if rows.is_empty() {
        return Err("No stage with a latency was run.".into());
    }
    let names: Vec<String> = rows.iter().map(|row| row.name.clone()).collect();
    let low = rows.iter().map(|row| row.latency.p50_us).min().unwrap_or(1);
    let high = rows.iter().map(|row| row.latency.max_us).max().unwrap_or(1);
    let plan = Plan {
        label: "Latency of every stage: p50, p99, p99.9 and maximum",
        legend: &[],
        x: Axis { scale: Scale::log_around(low as f64, high as f64), labels: Labels::Values(format::micros) },
        y: Axis { scale: Scale::Linear(0.0, rows.len() as f64), labels: Labels::Rows(&names) },
        bands: &[],
        rows_above: 1,
    };
    let height = rows.len() as f64 * 2.1 * canvas.font;
    let mut frame = Frame::new(Canvas { height, ..canvas }, &plan);
    for (n, row) in rows.iter().enumerate() {
        span(&mut frame, (rows.len() - n) as f64 - 0.5, row);
    }
    legend(&mut frame);
    Ok(frame.finish())
}

/// What the dots of [`span`] are, in the row above.
const DOTS: [(&str, &str); 4] =
    [("p50", "fill blue"), ("p99", "fill orange"), ("p99.9", "fill pink"), ("max", "hollow")];

fn legend(frame: &mut Frame<'_>) {
    let font = frame.canvas.font;
    let (mut x, y) = (frame.left, frame.top - 0.9 * font);
    for (name, class) in DOTS {
        frame.svg.circle((x + 5.0, y), 4.5, class, None);
        frame.svg.text((x + 14.0, y + 0.35 * font), "ink", name);
        x += 5.2 * font;
    }
}

fn span(frame: &mut Frame<'_>, at: f64, row: &Measured<'_>) {
    let latency = row.latency;
    let values = [latency.p50_us, latency.p99_us, latency.p999_us, latency.max_us];
    let y = frame.y(at);
    frame.svg.line((frame.x(values[0] as f64), y), (frame.x(values[3] as f64), y), "span");
    // The largest first: where they coincide, the median lies on top.
    for (value, (name, class)) in values.into_iter().zip(DOTS).rev() {
        let title = format!("{} {name}: {}", row.name, format::micros(value as f64));
        frame.svg.circle((frame.x(value as f64), y), 4.5, class, Some(&title));
    }
}

#[cfg(test)]
mod tests {
    use super::super::plot::WIDE;
    use super::*;

    fn stage(name: &'static str, max_us: u64) -> Stage {
        let latency = Latency { count: 5, p50_us: 10, max_us, ..Latency::default() };
        Stage { name, latency: Some(latency), ..Stage::default() }
    }

    #[test]
    fn of_repeated_stages_the_last_is_drawn_and_all_are_listed() {
        let stages = vec![stage("fill", 1), stage("ping", 2), stage("fill", 3)];
        let run = Run { stages, ..Run::default() };
        let found: Vec<_> = shown(&run).iter().map(|row| (row.name.clone(), row.latency.max_us)).collect();
        assert_eq!(found, [("ping".into(), 2), ("fill".into(), 3)]);
        assert_eq!(all(&run).len(), 3);
    }

    #[test]
    fn a_latency_that_counted_nothing_is_none() {
        let run = Run {
            stages: vec![Stage { latency: Some(Latency::default()), ..Stage::default() }],
            ..Run::default()
        };
        assert!(all(&run).is_empty());
        assert!(overview(&run, WIDE).is_err());
    }
}
