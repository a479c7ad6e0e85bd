//! The plots over time: connections, rates, memory, CPU, with the stages as bands behind them.

use super::area::{self, Layer};
use super::format;
use super::line::line;
use super::palette::Colour;
use super::plot::{Axis, Band, Canvas, Frame, Key, Labels, Plan};
use super::scale::Scale;
use super::svg::Drawing;
use super::thin;
use crate::million::results::{Run, Sample};

/// A drawing, or the sentence that stands in its place.
pub(super) type Drawn = Result<Drawing, String>;

/// Connections held.
pub(super) fn connections(run: &Run, canvas: Canvas<'_>) -> Drawn {
    let values = each(run, |sample| Some(sample.connections as f64));
    let most = run.connections_wanted.max(run.connections_reached) as f64;
    let mut frame = frame(run, canvas, "Connections held over time", &[], (most, format::short))?;
    line(&mut frame, &times(run), &values, Colour::Blue, true);
    if run.connections_wanted > 0 && run.connections_reached < run.connections_wanted {
        frame.reference(run.connections_wanted as f64, "wanted");
    }
    hover(&mut frame, run, |sample| format::counted(sample.connections, "connection", "connections"));
    Ok(frame.finish())
}

/// Handshakes completed a second.
pub(super) fn connect_rate(run: &Run, canvas: Canvas<'_>) -> Drawn {
    rate(run, canvas, "Connections made a second", "connects/s", |sample| sample.connections_per_s)
}

/// Deliveries and PINGRESPs a second.
pub(super) fn message_rate(run: &Run, canvas: Canvas<'_>) -> Drawn {
    rate(run, canvas, "Messages a second", "messages/s", |sample| sample.messages_per_s)
}

fn rate(run: &Run, canvas: Canvas<'_>, label: &str, unit: &str, of: impl Fn(&Sample) -> f64) -> Drawn {
    let values = each(run, |sample| Some(of(sample)));
    let most = largest(&values);
    if most <= 0.0 {
        return Err(format!("{label}: there were none."));
    }
    let mut frame = frame(run, canvas, label, &[], (most, format::short))?;
    line(&mut frame, &times(run), &values, Colour::Blue, true);
    hover(&mut frame, run, |sample| format!("{} {unit}", format::rounded(of(sample))));
    Ok(frame.finish())
}

/// Who had how much memory.
pub(super) fn memory(run: &Run, canvas: Canvas<'_>) -> Drawn {
    let layers = memory_layers(run);
    let most = area::totals(&layers).into_iter().fold(0.0, f64::max);
    let mut frame = frame(run, canvas, "Memory over time", &keys(&layers), (most, format::bytes))?;
    area::stack(&mut frame, &times(run), &layers);
    hover_layers(&mut frame, run, &layers, format::bytes);
    Ok(frame.finish())
}

/// The growth of each part since the first sample, divided by the connections held at that moment. Left out are moments
/// with few of them (under 5 % of the most), which would show the size of the empty programs, and the end of the run.
pub(super) fn memory_each(run: &Run, canvas: Canvas<'_>) -> Drawn {
    let least = (run.connections_reached as f64 * 0.05).max(1.0);
    let mut layers = memory_layers(run);
    let holds = each(run, |sample| {
        Some(sample.connections as f64).filter(|held| *held >= least && sample.stage != "end")
    });
    if holds.iter().all(Option::is_none) {
        return Err("Memory per connection: no connection was held when a sample was taken.".into());
    }
    for layer in &mut layers {
        let empty = layer.values.first().copied().unwrap_or(0.0);
        for (value, held) in layer.values.iter_mut().zip(&holds) {
            *value = held.map_or(0.0, |held| (*value - empty).max(0.0) / held);
        }
    }
    let most = area::totals(&layers).into_iter().fold(0.0, f64::max);
    let label = "Memory per held connection over time";
    let mut frame = frame(run, canvas, label, &keys(&layers), (most, format::bytes))?;
    for stretch in thin::stretches(&holds) {
        let part = |layer: &Layer| Layer { values: layer.values[stretch.clone()].to_vec(), ..*layer };
        let parts: Vec<Layer> = layers.iter().map(part).collect();
        area::stack(&mut frame, &times(run)[stretch.clone()], &parts);
    }
    hover_layers(&mut frame, run, &layers, |v| format!("{} B", format::rounded(v)));
    Ok(frame.finish())
}

/// Cores kept busy.
pub(super) fn cpu(run: &Run, canvas: Canvas<'_>) -> Drawn {
    let machine = each(run, |sample| Some(sample.machine_cpus));
    let load = each(run, |sample| Some(sample.load_cpus));
    let broker = each(run, |sample| sample.broker_cpus);
    let known = broker.iter().any(Option::is_some);
    let mut legend = vec![
        Key { colour: Colour::Blue, name: "broker" },
        Key { colour: Colour::Green, name: "load generator" },
        Key { colour: Colour::Grey, name: "whole machine" },
    ];
    legend.retain(|key| known || key.colour != Colour::Blue);
    let most = [&machine, &load, &broker].into_iter().map(|values| largest(values)).fold(0.0, f64::max);
    let all = run.conditions.cores as f64;
    // On a large machine that the run did not fill, the line would press the others to the ground.
    let near = all <= most * 4.0;
    let most = match most {
        // Sampling is not exact: a little more than all is all.
        most if near && most < all * 1.05 => all,
        most => most,
    };
    let mut frame = frame(run, canvas, "Cores kept busy over time", &legend, (most, format::plain))?;
    let xs = times(run);
    line(&mut frame, &xs, &machine, Colour::Grey, true);
    line(&mut frame, &xs, &load, Colour::Green, false);
    line(&mut frame, &xs, &broker, Colour::Blue, false);
    if near {
        frame.reference(all, "all cores");
    }
    hover(&mut frame, run, |sample| {
        let broker = sample.broker_cpus.map_or(format::NONE.into(), cores);
        let (load, machine) = (cores(sample.load_cpus), cores(sample.machine_cpus));
        format!("broker {broker}\nload generator {load}\nwhole machine {machine}\n(cores)")
    });
    Ok(frame.finish())
}

fn cores(v: f64) -> String {
    if v.is_finite() { format!("{v:.2}") } else { format::NONE.into() }
}

/// The parts of memory at each sample: what each program has resident, what the kernel's parts grew since the first
/// sample, and what MemAvailable lost beyond all of these.
fn memory_layers(run: &Run) -> Vec<Layer> {
    let Some(first) = run.samples.first() else { return Vec::new() };
    let grown = |now: u64, then: u64| now.saturating_sub(then) as f64;
    let of = |value: &dyn Fn(&Sample) -> f64| run.samples.iter().map(value).collect::<Vec<f64>>();
    let broker = of(&|sample| sample.broker_rss_bytes.unwrap_or(0) as f64);
    let slabs = of(&|sample| grown(sample.slab_bytes, first.slab_bytes));
    let buffers = of(&|sample| grown(sample.tcp_buffers_bytes, first.tcp_buffers_bytes));
    let load = of(&|sample| sample.load_rss_bytes as f64);
    let lost = of(&|sample| grown(first.memory_available_bytes, sample.memory_available_bytes));
    let rest = (0..lost.len())
        .map(|n| lost[n] - (broker[n] - broker[0]) - slabs[n] - buffers[n] - (load[n] - load[0]))
        .map(|rest| rest.max(0.0))
        .collect();
    let mut layers = vec![
        Layer { colour: Colour::Blue, name: "broker", values: broker },
        Layer { colour: Colour::Orange, name: "kernel slabs (sockets)", values: slabs },
        Layer { colour: Colour::Pink, name: "TCP buffers", values: buffers },
        Layer { colour: Colour::Green, name: "load generator", values: load },
        Layer { colour: Colour::Grey, name: "rest", values: rest },
    ];
    if run.samples.iter().all(|sample| sample.broker_rss_bytes.is_none()) {
        layers.remove(0);
    }
    layers
}

fn keys(layers: &[Layer]) -> Vec<Key<'static>> {
    layers.iter().map(|layer| Key { colour: layer.colour, name: layer.name }).collect()
}

/// A frame with time on the x axis and `y` (largest value, how it is written) from zero.
fn frame<'a>(
    run: &Run,
    canvas: Canvas<'a>,
    label: &str,
    legend: &[Key<'_>],
    y: (f64, fn(f64) -> String),
) -> Result<Frame<'a>, String> {
    if run.samples.len() < 2 {
        return Err(format!("{label}: fewer than two samples were taken, so there is nothing to draw."));
    }
    let plan = Plan {
        label,
        legend,
        x: Axis { scale: Scale::Linear(0.0, end(run)), labels: Labels::Time },
        y: Axis { scale: Scale::from_zero(y.0, canvas.y_ticks()), labels: Labels::Values(y.1) },
        bands: &bands(run),
        rows_above: 0,
    };
    Ok(Frame::new(canvas, &plan))
}

fn bands(run: &Run) -> Vec<Band> {
    let band = |stage: &crate::million::results::Stage| Band {
        from: stage.t_s,
        to: stage.t_s + stage.seconds,
        name: stage.name.into(),
    };
    run.stages.iter().map(band).collect()
}

/// When the last sample was taken or the last stage ended.
fn end(run: &Run) -> f64 {
    let samples = run.samples.iter().map(|sample| sample.t_s);
    let stages = run.stages.iter().map(|stage| stage.t_s + stage.seconds);
    samples.chain(stages).filter(|t| t.is_finite()).fold(1.0, f64::max)
}

fn times(run: &Run) -> Vec<f64> {
    run.samples.iter().map(|sample| sample.t_s).collect()
}

/// A value of each sample; what is not a number was not measured.
fn each(run: &Run, of: impl Fn(&Sample) -> Option<f64>) -> Vec<Option<f64>> {
    run.samples.iter().map(|sample| of(sample).filter(|v| v.is_finite())).collect()
}

fn largest(values: &[Option<f64>]) -> f64 {
    values.iter().flatten().copied().fold(0.0, f64::max)
}

/// Columns with the moment, the stage and what `tell` says of a sample.
fn hover(frame: &mut Frame<'_>, run: &Run, tell: impl Fn(&Sample) -> String) {
    hover_at(frame, run, |n| tell(&run.samples[n]));
}

fn hover_layers(frame: &mut Frame<'_>, run: &Run, layers: &[Layer], write: impl Fn(f64) -> String) {
    hover_at(frame, run, |n| {
        let line = |layer: &Layer| format!("{} {}", layer.name, write(layer.values[n]));
        layers.iter().rev().map(line).collect::<Vec<_>>().join("\n")
    });
}

fn hover_at(frame: &mut Frame<'_>, run: &Run, tell: impl Fn(usize) -> String) {
    let (samples, columns) = (&run.samples, frame.canvas.columns);
    let column = |slice: std::ops::Range<usize>| {
        let last = &samples[slice.end - 1];
        let head = format!("{} {}", format::clock(last.t_s), last.stage);
        (
            samples[slice.start.saturating_sub(1)].t_s,
            last.t_s,
            format!("{}\n{}", head.trim_end(), tell(slice.end - 1)),
        )
    };
    frame.columns(thin::slices(0..samples.len(), columns).map(column));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::plot::WIDE;
    use super::*;

    fn sample(t_s: f64, broker: Option<u64>, available: u64) -> Sample {
        Sample {
            t_s,
            broker_rss_bytes: broker,
            memory_available_bytes: available,
            connections: 10,
            ..Sample::default()
        }
    }

    #[test]
    fn the_end_has_no_memory_per_connection() {
        let mut run = Run { samples: vec![sample(0.0, None, 9), sample(1.0, None, 2)], ..Run::default() };
        assert!(memory_each(&run, WIDE).is_ok());
        (run.samples[0].stage, run.samples[1].stage) = ("end", "end");
        assert!(memory_each(&run, WIDE).unwrap_err().contains("no connection was held"));
    }

    #[test]
    fn the_layers_add_up_to_what_the_machine_lost() {
        let mut run = Run {
            samples: vec![sample(0.0, Some(100), 9000), sample(1.0, Some(300), 8000)],
            ..Run::default()
        };
        run.samples[1].slab_bytes = 500;
        run.samples[1].load_rss_bytes = 50;
        let layers = memory_layers(&run);
        let last: Vec<f64> = layers.iter().map(|layer| layer.values[1]).collect();
        assert_eq!(last, [300.0, 500.0, 0.0, 50.0, 250.0]);
        assert_eq!(area::totals(&layers), [100.0, 1100.0], "1000 lost, above the 100 of the empty broker");
    }

    #[test]
    fn an_unknown_broker_has_no_layer() {
        let run = Run { samples: vec![sample(0.0, None, 2), sample(1.0, None, 2)], ..Run::default() };
        assert!(memory_layers(&run).iter().all(|layer| layer.name != "broker"));
        assert!(!cpu(&run, WIDE).unwrap().body.contains(">broker<"));
    }

    #[test]
    fn without_samples_a_sentence_stands_in_place_of_each_plot() {
        for plot in [connections, connect_rate, message_rate, memory, memory_each, cpu] {
            let sentence = plot(&Run::default(), WIDE).unwrap_err();
            assert!(sentence.ends_with('.'), "{sentence}");
        }
    }
}
