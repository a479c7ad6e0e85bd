//! Stacked areas: the parts of a sum over time.

use super::palette::Colour;
use super::plot::Frame;
use super::thin;

/// One part of the sum.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) colour: Colour,
    pub(super) name: &'static str,
    /// As long as the other layers'.
    pub(super) values: Vec<f64>,
}

/// Sum of all layers at each index.
pub(super) fn totals(layers: &[Layer]) -> Vec<f64> {
    let len = layers.iter().map(|layer| layer.values.len()).min().unwrap_or(0);
    (0..len).map(|n| layers.iter().map(|layer| layer.values[n]).sum()).collect()
}

/// The first layer at the bottom, the others above it; `xs` is as long as the layers.
pub(super) fn stack(frame: &mut Frame<'_>, xs: &[f64], layers: &[Layer]) {
    let sums = totals(layers);
    let kept = thin::peaks(sums.len().min(xs.len()), frame.canvas.points, |n| sums[n]);
    let mut below: Vec<f64> = vec![0.0; kept.len()];
    for layer in layers {
        let above: Vec<f64> = kept.iter().zip(&below).map(|(n, below)| below + layer.values[*n]).collect();
        let place = |frame: &Frame<'_>, at: usize, v: f64| (frame.x(xs[kept[at]]), frame.y(v));
        let upper = above.iter().enumerate().map(|(at, v)| place(frame, at, *v));
        let lower = below.iter().enumerate().rev().map(|(at, v)| place(frame, at, *v));
        let outline: Vec<_> = upper.chain(lower).collect();
        frame.svg.path(&outline, true, &format!("fill layer {}", layer.colour.class()));
        below = above;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_add_up_what_all_layers_have() {
        let layer = |values: &[f64]| Layer { colour: Colour::Blue, name: "", values: values.to_vec() };
        assert_eq!(totals(&[layer(&[1.0, 2.0]), layer(&[10.0, 20.0, 30.0])]), [11.0, 22.0]);
        assert_eq!(totals(&[]), [0.0; 0]);
    }
}
