//! How the costs grow with the number of connections (`--steps`): small plots over a logarithmic axis.

use super::format;
use super::line::dotted;
use super::palette::Colour;
use super::plot::{Axis, Canvas, Frame, Key, Labels, Plan};
use super::scale::Scale;
use super::svg::Drawing;
use crate::million::results::{Cost, Run, Step};

/// The largest value over the smallest from which on the y axis is logarithmic.
const SPREAD: f64 = 30.0;

/// One quantity at each step that measured it.
struct Series {
    colour: Colour,
    name: &'static str,
    of: fn(&Step) -> Option<f64>,
}

/// Quantities of one kind in one plot.
pub(super) struct Panel {
    pub(super) title: &'static str,
    write: fn(f64) -> String,
    series: &'static [Series],
}

/// All plots; those without data are left out by [`drawn`].
const PANELS: [Panel; 6] = [
    Panel {
        title: "Memory per connection",
        write: format::bytes,
        series: &[
            Series { colour: Colour::Blue, name: "broker", of: |step| step.bytes_per_connection },
            Series {
                colour: Colour::Orange,
                name: "kernel",
                of: |step| Some(step.kernel_bytes_per_connection),
            },
        ],
    },
    Panel {
        title: "Broker's CPU per connect",
        write: format::micros,
        series: &[Series { colour: Colour::Blue, name: "connect", of: |step| step.connect.cpu_us }],
    },
    Panel {
        title: "Broker's CPU per PINGREQ",
        write: format::micros,
        series: &[Series { colour: Colour::Blue, name: "PINGREQ", of: |step| step.ping?.cpu_us }],
    },
    Panel {
        title: "Broker's CPU per publish and its delivery",
        write: format::micros,
        series: &[
            Series { colour: Colour::Blue, name: "QoS 0", of: |step| step.publish_qos0?.cpu_us },
            Series { colour: Colour::Orange, name: "QoS 1", of: |step| step.publish_qos1?.cpu_us },
        ],
    },
    Panel {
        title: "Latency, p99",
        write: format::micros,
        series: &[
            Series { colour: Colour::Blue, name: "PINGREQ", of: |step| p99(step.ping) },
            Series { colour: Colour::Orange, name: "QoS 0", of: |step| p99(step.publish_qos0) },
            Series { colour: Colour::Green, name: "QoS 1", of: |step| p99(step.publish_qos1) },
        ],
    },
    Panel {
        title: "Connect: p99 of the handshake",
        write: format::micros,
        series: &[Series { colour: Colour::Blue, name: "connect", of: |step| p99(Some(step.connect)) }],
    },
];

fn p99(cost: Option<Cost>) -> Option<f64> {
    cost.map(|cost| cost.p99_us as f64)
}

/// Whether there is growth to show.
pub(super) fn grows(run: &Run) -> bool {
    run.steps.len() > 1
}

/// Title and plot of each panel that has data. With `titled` the title is in the drawing too.
pub(super) fn drawn(run: &Run, canvas: Canvas<'_>, titled: bool) -> Vec<(&'static str, Drawing)> {
    let draw = |panel: &Panel| panel.draw(&run.steps, canvas, titled).map(|drawing| (panel.title, drawing));
    PANELS.iter().filter_map(draw).collect()
}

impl Panel {
    fn draw(&self, steps: &[Step], canvas: Canvas<'_>, titled: bool) -> Option<Drawing> {
        let found: Vec<(&Series, Vec<(f64, f64)>)> = self
            .series
            .iter()
            .map(|series| (series, series.points(steps)))
            .filter(|(_, p)| !p.is_empty())
            .collect();
        let points = || found.iter().flat_map(|(_, points)| points);
        let most = points().map(|(_, y)| *y).fold(0.0, f64::max);
        let low = points().map(|(x, _)| *x).fold(f64::INFINITY, f64::min);
        let high = points().map(|(x, _)| *x).fold(0.0, f64::max);
        if most <= 0.0 {
            return None;
        }
        let least = points().map(|(_, y)| *y).fold(most, f64::min);
        // Where one value dwarfs the others, from zero on these would lie on the axis.
        let scale = match least {
            least if least > 0.0 && most / least > SPREAD => Scale::log_around(least, most),
            _ => Scale::from_zero(most, canvas.y_ticks()),
        };
        let key = |(series, _): &(&Series, _)| Key { colour: series.colour, name: series.name };
        let legend: Vec<Key<'_>> = found.iter().map(key).filter(|_| self.series.len() > 1).collect();
        let plan = Plan {
            label: self.title,
            legend: &legend,
            x: Axis { scale: Scale::log_around(low, high), labels: Labels::Values(format::short) },
            y: Axis { scale, labels: Labels::Values(self.write) },
            bands: &[],
            rows_above: 0,
        };
        let heading = titled.then_some((self.title, ""));
        let mut frame = Frame::new(Canvas { heading, ..canvas }, &plan);
        for (series, points) in &found {
            let tell = |(x, y): &(f64, f64)| {
                let at = format!("{} at {} connections: ", series.name, format::rounded(*x));
                (*x, *y, at + &(self.write)(*y))
            };
            dotted(&mut frame, &points.iter().map(tell).collect::<Vec<_>>(), series.colour);
        }
        Some(frame.finish())
    }
}

impl Series {
    fn points(&self, steps: &[Step]) -> Vec<(f64, f64)> {
        let point = |step: &Step| Some((step.connections as f64, (self.of)(step)?));
        steps.iter().filter_map(point).filter(|(x, y)| *x > 0.0 && y.is_finite()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::plot::SMALL;
    use super::*;

    #[test]
    fn values_far_apart_have_a_logarithmic_axis() {
        let step = |connections, p99_us| Step {
            connections,
            connect: Cost { p99_us, ..Cost::default() },
            ..Step::default()
        };
        let labels = |last| {
            let run = Run { steps: vec![step(1000, 400), step(10_000, last)], ..Run::default() };
            drawn(&run, SMALL, false).remove(0).1.body
        };
        assert!(labels(800).contains(">0 µs<"), "from zero: {}", labels(800));
        assert!(!labels(800_000).contains(">0 µs<"), "{}", labels(800_000));
    }

    #[test]
    fn panels_without_data_are_left_out() {
        let step = |connections| Step { connections, kernel_bytes_per_connection: 3900.0, ..Step::default() };
        let run = Run { steps: vec![step(1000), step(10_000)], ..Run::default() };
        let drawn = drawn(&run, SMALL, false);
        assert_eq!(drawn.iter().map(|(title, _)| *title).collect::<Vec<_>>(), ["Memory per connection"]);
        assert!(drawn[0].1.body.contains("kernel at 10,000 connections: 3.9 kB"), "{}", drawn[0].1.body);
        assert!(!drawn[0].1.body.contains("broker"), "what was not measured is not in the legend");
    }
}
