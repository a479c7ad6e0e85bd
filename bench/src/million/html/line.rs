//! Lines: values over time or over a size, with gaps where nothing was measured.

use super::palette::Colour;
use super::plot::Frame;
use super::thin;

/// One line through `values` at `xs`, thinned to the canvas. With `filled` the area below it is tinted.
pub(super) fn line(frame: &mut Frame<'_>, xs: &[f64], values: &[Option<f64>], colour: Colour, filled: bool) {
    let most = frame.canvas.points;
    for stretch in thin::stretches(values) {
        let known: Vec<f64> = values[stretch.clone()].iter().map(|value| value.unwrap_or(0.0)).collect();
        let at = |n: usize| (frame.x(xs[stretch.start + n]), frame.y(known[n]));
        let points: Vec<_> = thin::extremes(&known, most).into_iter().map(at).collect();
        if let (true, Some(first), Some(last)) = (filled, points.first(), points.last()) {
            let mut outline = vec![(first.0, frame.bottom)];
            outline.extend(&points);
            outline.push((last.0, frame.bottom));
            frame.svg.path(&outline, true, &format!("fill faint {}", colour.class()));
        }
        frame.svg.path(&points, false, &format!("line {}", colour.class()));
    }
}

/// A line with a dot at each point, which tells its figure.
pub(super) fn dotted(frame: &mut Frame<'_>, points: &[(f64, f64, String)], colour: Colour) {
    let placed: Vec<_> = points.iter().map(|(x, y, _)| (frame.x(*x), frame.y(*y))).collect();
    frame.svg.path(&placed, false, &format!("line {}", colour.class()));
    for (at, (_, _, title)) in placed.into_iter().zip(points) {
        frame.svg.circle(at, 4.0, &format!("fill {}", colour.class()), Some(title));
    }
}
