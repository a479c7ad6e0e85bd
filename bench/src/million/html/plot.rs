//! The frame of a plot: where it lies, its axes with labels, its legend, the bands behind it.
//!
//! Marks (`line`, `area`, `histogram`) are drawn into a [`Frame`] in the units of its axes.

use super::palette::Colour;
use super::scale::{Scale, time_ticks};
use super::svg::{Drawing, Svg, text_width};

/// What a plot is drawn on. The page has a wide and a narrow version of its large plots, so that text stays readable.
#[derive(Debug, Clone, Copy)]
pub(super) struct Canvas<'a> {
    /// Width of all, height of the part within the axes.
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) font: f64,
    /// Points that a line has at most.
    pub(super) points: usize,
    /// Columns that tell their figures when the pointer rests on them, at most.
    pub(super) columns: usize,
    /// Title and subtitle, where nothing around the plot says them.
    pub(super) heading: Option<(&'a str, &'a str)>,
}

/// On the page, full width of a screen.
pub(super) const WIDE: Canvas<'static> =
    Canvas { width: 960.0, height: 215.0, font: 12.0, points: 320, columns: 100, heading: None };
/// On the page, a telephone.
pub(super) const NARROW: Canvas<'static> =
    Canvas { width: 380.0, height: 180.0, font: 12.0, points: 160, columns: 0, heading: None };
/// On the page, half the width of a screen or all of a telephone.
pub(super) const SMALL: Canvas<'static> =
    Canvas { width: 480.0, height: 150.0, font: 13.0, points: 120, columns: 40, heading: None };

impl Canvas<'_> {
    /// Ticks that the y axis has at most; its scale is made for as many.
    pub(super) fn y_ticks(&self) -> usize {
        (self.height / 36.0) as usize
    }
}

/// An axis: its scale and how its ticks are labelled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis<'a> {
    pub(super) scale: Scale,
    pub(super) labels: Labels<'a>,
}

/// What stands at an axis.
#[derive(Debug, Clone, Copy)]
pub(super) enum Labels<'a> {
    /// Round values, written by the function.
    Values(fn(f64) -> String),
    /// Seconds, as `1:15`.
    Time,
    /// A name for each row, from the top; the scale is `Linear(0, rows)`.
    Rows(&'a [String]),
}

/// An entry of the legend.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key<'a> {
    pub(super) colour: Colour,
    pub(super) name: &'a str,
}

/// A stretch of the x axis with a name.
#[derive(Debug, Clone)]
pub(super) struct Band {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) name: String,
}

/// All that a frame needs.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    /// What is drawn, in a few words.
    pub(super) label: &'a str,
    pub(super) legend: &'a [Key<'a>],
    pub(super) x: Axis<'a>,
    pub(super) y: Axis<'a>,
    pub(super) bands: &'a [Band],
    /// Lines of text that the caller puts between legend and plot.
    pub(super) rows_above: usize,
}

/// A plot under construction.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub(super) svg: Svg,
    pub(super) canvas: Canvas<'a>,
    x: Scale,
    y: Scale,
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
    label: String,
}

impl<'a> Frame<'a> {
    /// Heading, legend, bands, grid and labels.
    pub(super) fn new(canvas: Canvas<'a>, plan: &Plan<'_>) -> Self {
        let padding = if canvas.heading.is_some() { 14.0 } else { 0.0 };
        let mut frame = Frame {
            svg: Svg::default(),
            canvas,
            x: plan.x.scale,
            y: plan.y.scale,
            left: padding,
            right: canvas.width - padding - 2.0 * canvas.font,
            top: padding,
            bottom: 0.0,
            label: plan.label.into(),
        };
        frame.heading();
        frame.legend(plan.legend);
        let y_ticks = frame.y_ticks(plan.y);
        // Plots over time begin at the same place, so that they can be read against each other.
        let least =
            if matches!(plan.x.labels, Labels::Time) { text_width("12.5 kB", canvas.font) } else { 0.0 };
        let label_width = y_ticks.iter().map(|(_, text)| text_width(text, canvas.font)).fold(least, f64::max);
        frame.left += label_width + 0.8 * canvas.font;
        let strip = frame.strip_height(plan.bands);
        frame.top += strip + plan.rows_above as f64 * canvas.font * 1.25 + 0.7 * canvas.font;
        frame.bottom = frame.top + canvas.height;
        frame.bands(plan.bands, strip);
        frame.y_axis(&y_ticks, matches!(plan.y.labels, Labels::Rows(_)));
        frame.x_axis(plan.x);
        frame
    }

    /// Where `v` is on the x axis.
    pub(super) fn x(&self, v: f64) -> f64 {
        self.left + self.x.fraction(v) * (self.right - self.left)
    }

    /// Where `v` is on the y axis.
    pub(super) fn y(&self, v: f64) -> f64 {
        self.bottom - self.y.fraction(v) * (self.bottom - self.top)
    }

    /// A dashed line across at `v`: what was asked for, what there is.
    pub(super) fn reference(&mut self, v: f64, name: &str) {
        let y = self.y(v);
        self.svg.path(&[(self.left, y), (self.right, y)], false, "wanted");
        let at = (self.right - 4.0, y + 1.2 * self.canvas.font);
        self.svg.text(at, "end halo", name);
    }

    /// Columns from one value of x to the next that show a text when the pointer rests on them.
    pub(super) fn columns(&mut self, columns: impl Iterator<Item = (f64, f64, String)>) {
        for (from, to, text) in columns {
            let (from, to) = (self.x(from), self.x(to));
            let size = (to - from, self.bottom - self.top);
            self.svg.rect((from, self.top), size, "column", Some(&text));
        }
    }

    pub(super) fn finish(mut self) -> Drawing {
        self.svg.line((self.left, self.bottom), (self.right, self.bottom), "axis");
        let padding = if self.canvas.heading.is_some() { 14.0 } else { 2.0 };
        let height = self.bottom + 1.9 * self.canvas.font + padding;
        self.svg.finish(self.canvas.width, height.ceil(), self.canvas.font, &self.label)
    }

    fn heading(&mut self) {
        let Some((title, subtitle)) = self.canvas.heading else { return };
        let font = self.canvas.font;
        self.svg.text((self.left, self.top + 1.2 * font), "title", title);
        self.top += 1.9 * font;
        if !subtitle.is_empty() {
            self.svg.text((self.left, self.top + font), "", subtitle);
            self.top += 1.5 * font;
        }
        self.top += 0.4 * font;
    }

    /// Entries from the left, in as many lines as they need.
    fn legend(&mut self, keys: &[Key<'_>]) {
        let (font, mut x) = (self.canvas.font, self.left);
        for (n, key) in keys.iter().enumerate() {
            let width = 1.3 * font + text_width(key.name, font);
            if n > 0 && x + width > self.right + 2.0 * font {
                (x, self.top) = (self.left, self.top + 1.5 * font);
            }
            let class = format!("fill {}", key.colour.class());
            self.svg.rect((x, self.top + 0.2 * font), (0.85 * font, 0.85 * font), &class, None);
            self.svg.text((x + 1.3 * font, self.top + font), "ink", key.name);
            x += width + 0.9 * font;
        }
        if !keys.is_empty() {
            self.top += 1.9 * font;
        }
    }

    fn y_ticks(&self, axis: Axis<'_>) -> Vec<(f64, String)> {
        match axis.labels {
            Labels::Rows(names) => {
                let middle = |n: usize| (names.len() - n) as f64 - 0.5;
                names.iter().enumerate().map(|(n, name)| (middle(n), name.clone())).collect()
            }
            labels => labelled(axis.scale, labels, self.canvas.y_ticks()),
        }
    }

    fn y_axis(&mut self, ticks: &[(f64, String)], rows: bool) {
        for (value, text) in ticks {
            let y = self.y(*value);
            if !rows {
                self.svg.line((self.left, y), (self.right, y), "grid");
            }
            self.svg.text((self.left - 0.6 * self.canvas.font, y + 0.35 * self.canvas.font), "end", text);
        }
    }

    fn x_axis(&mut self, axis: Axis<'_>) {
        let font = self.canvas.font;
        let most = ((self.right - self.left) / (4.6 * font)) as usize;
        for (value, text) in labelled(axis.scale, axis.labels, most) {
            let x = self.x(value);
            if matches!(axis.scale, Scale::Log(..)) {
                self.svg.line((x, self.top), (x, self.bottom), "grid");
            }
            self.svg.line((x, self.bottom), (x, self.bottom + 0.35 * font), "axis");
            self.svg.text((x, self.bottom + 1.5 * font), "middle", &text);
        }
    }

    /// Names of bands stand above the plot: along it where they fit over their band, else upwards, or not at all.
    fn strip_height(&self, bands: &[Band]) -> f64 {
        let font = self.canvas.font;
        let upwards = bands.iter().filter(|band| !self.fits(band) && self.width_of(band) >= font);
        let longest =
            upwards.map(|band| text_width(&band.name, font) + 0.5 * font).fold(1.5 * font, f64::max);
        if bands.is_empty() { 0.0 } else { longest }
    }

    fn width_of(&self, band: &Band) -> f64 {
        self.x(band.to) - self.x(band.from)
    }

    fn fits(&self, band: &Band) -> bool {
        text_width(&band.name, self.canvas.font) <= self.width_of(band)
    }

    fn bands(&mut self, bands: &[Band], strip: f64) {
        let font = self.canvas.font;
        for (n, band) in bands.iter().enumerate() {
            let (from, to) = (self.x(band.from), self.x(band.to));
            if n % 2 == 0 {
                let height = self.bottom - self.top + strip;
                self.svg.rect((from, self.top - strip), (to - from, height), "band", Some(&band.name));
            }
            let middle = f64::midpoint(from, to);
            if self.fits(band) {
                self.svg.text((middle, self.top - 0.45 * font), "middle", &band.name);
            } else if to - from >= font {
                self.svg.text_upwards((middle + 0.35 * font, self.top - 0.4 * font), "", &band.name);
            }
        }
    }
}

fn labelled(scale: Scale, labels: Labels<'_>, most: usize) -> Vec<(f64, String)> {
    match (labels, scale) {
        (Labels::Values(write), scale) => scale.ticks(most).into_iter().map(|v| (v, write(v))).collect(),
        (Labels::Time, Scale::Linear(_, high)) => {
            time_ticks(high, most).into_iter().map(|v| (v, super::format::clock(v))).collect()
        }
        (Labels::Time | Labels::Rows(_), _) => Vec::new(),
    }
}

/// Several drawings of the same size in `columns` columns under one heading.
pub(super) fn grid(drawings: &[Drawing], columns: usize, heading: (&str, &str)) -> Option<Drawing> {
    let first = drawings.first()?;
    let (columns, gap, font) = (columns.clamp(1, drawings.len()), 14.0, first.font);
    let width = columns as f64 * (first.width + gap) + gap;
    let mut svg = Svg::default();
    svg.text((2.0 * gap, gap + font), "title", heading.0);
    svg.text((2.0 * gap, gap + 2.8 * font), "", heading.1);
    let mut y = gap + 3.6 * font;
    for row in drawings.chunks(columns) {
        for (n, drawing) in row.iter().enumerate() {
            svg.drawing((gap + n as f64 * (first.width + gap), y), drawing);
        }
        y += row.iter().map(|drawing| drawing.height).fold(0.0, f64::max);
    }
    Some(svg.finish(width, (y + gap).ceil(), font, heading.0))
}
