//! The main plots as files of their own, for documentation.

use super::plot::{Canvas, SMALL, WIDE, grid};
use super::timeline::{self, Drawn};
use super::{conditions, growth, latency};
use crate::million::results::Run;

/// File name, title, how it is drawn.
type Image = (&'static str, &'static str, fn(&Run, Canvas<'_>) -> Drawn);

const IMAGES: [Image; 6] = [
    ("connections.svg", "Connections held", timeline::connections),
    ("connect-rate.svg", "Connections made a second", timeline::connect_rate),
    ("memory.svg", "Memory", timeline::memory),
    ("memory-per-connection.svg", "Memory per connection", timeline::memory_each),
    ("cpu.svg", "CPU: cores kept busy", timeline::cpu),
    ("latency.svg", "Latency of each stage", latency::overview),
];

/// Name and text of each image that the run has data for.
pub(super) fn images(run: &Run) -> Vec<(&'static str, String)> {
    let about = conditions::sentence(run);
    let draw = |(name, title, draw): &Image| {
        let canvas = Canvas { columns: 0, heading: Some((title, &about)), ..WIDE };
        draw(run, canvas).ok().map(|drawing| (*name, drawing.standalone()))
    };
    let mut images: Vec<_> = IMAGES.iter().filter_map(draw).collect();
    images.extend(histograms(run, &about).map(|text| ("latency-histograms.svg", text)));
    images.extend(steps(run, &about).map(|text| ("growth.svg", text)));
    images
}

fn histograms(run: &Run, about: &str) -> Option<String> {
    let draw = |measured: &latency::Measured<'_>| {
        latency::one(measured, Canvas { heading: Some((&measured.name, &measured.title)), ..SMALL }).ok()
    };
    let drawn: Vec<_> = latency::shown(run).iter().filter_map(draw).collect();
    grid(&drawn, 2, ("Latency histograms", about)).map(|drawing| drawing.standalone())
}

fn steps(run: &Run, about: &str) -> Option<String> {
    if !growth::grows(run) {
        return None;
    }
    let drawn: Vec<_> = growth::drawn(run, SMALL, true).into_iter().map(|(_, drawing)| drawing).collect();
    grid(&drawn, 2, ("How costs grow with the number of connections", about))
        .map(|drawing| drawing.standalone())
}
