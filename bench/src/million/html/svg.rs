//! Elements of SVG, appended to one string. Text is escaped, and no coordinate is ever `NaN` or infinite.

use super::markup::escape;
use super::palette;

/// Elements in the order in which they are painted.
#[derive(Debug, Default)]
pub(super) struct Svg {
    body: String,
}

/// A finished drawing: its elements and its size in its own units.
#[derive(Debug)]
pub(super) struct Drawing {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) font: f64,
    /// Says in a few words what is drawn, for those who can't see it.
    pub(super) label: String,
    pub(super) body: String,
}

impl Svg {
    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.body.push_str(&format!(
            "<line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" class=\"{class}\"/>\n",
            place(x1),
            place(y1),
            place(x2),
            place(y2)
        ));
    }

    /// A rectangle; `title` shows when the pointer rests on it.
    pub(super) fn rect(&mut self, at: (f64, f64), size: (f64, f64), class: &str, title: Option<&str>) {
        let (x, y, width, height) =
            (place(at.0), place(at.1), place(size.0.max(0.0)), place(size.1.max(0.0)));
        self.titled(
            &format!("rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" class=\"{class}\""),
            title,
        );
    }

    pub(super) fn circle(&mut self, at: (f64, f64), radius: f64, class: &str, title: Option<&str>) {
        let (x, y, radius) = (place(at.0), place(at.1), place(radius));
        self.titled(&format!("circle cx=\"{x}\" cy=\"{y}\" r=\"{radius}\" class=\"{class}\""), title);
    }

    /// A line through `points`, or with `closed` an outline. Nothing without points.
    pub(super) fn path(&mut self, points: &[(f64, f64)], closed: bool, class: &str) {
        let mut steps = String::new();
        for (n, (x, y)) in points.iter().enumerate() {
            let command = if n == 0 { 'M' } else { 'L' };
            steps.push_str(&format!("{command}{} {}", place(*x), place(*y)));
        }
        if closed {
            steps.push('Z');
        }
        if !points.is_empty() {
            self.body.push_str(&format!("<path d=\"{steps}\" class=\"{class}\"/>\n"));
        }
    }

    pub(super) fn text(&mut self, at: (f64, f64), class: &str, text: &str) {
        let (x, y) = (place(at.0), place(at.1));
        self.body.push_str(&format!("<text x=\"{x}\" y=\"{y}\" class=\"{class}\">{}</text>\n", escape(text)));
    }

    /// Text that runs upwards from `at`.
    pub(super) fn text_upwards(&mut self, at: (f64, f64), class: &str, text: &str) {
        let (x, y) = (place(at.0), place(at.1));
        let turn = format!("rotate(-90 {x} {y})");
        self.body.push_str(&format!(
            "<text x=\"{x}\" y=\"{y}\" transform=\"{turn}\" class=\"{class}\">{}</text>\n",
            escape(text)
        ));
    }

    /// Another drawing with its corner at `at`.
    pub(super) fn drawing(&mut self, at: (f64, f64), drawing: &Drawing) {
        let (x, y) = (place(at.0), place(at.1));
        self.body.push_str(&format!("<g transform=\"translate({x} {y})\">\n{}</g>\n", drawing.body));
    }

    pub(super) fn finish(self, width: f64, height: f64, font: f64, label: &str) -> Drawing {
        Drawing { width, height, font, label: label.into(), body: self.body }
    }

    fn titled(&mut self, element: &str, title: Option<&str>) {
        match title {
            Some(title) => {
                let name = element.split(' ').next().unwrap_or_default();
                self.body.push_str(&format!("<{element}><title>{}</title></{name}>\n", escape(title)));
            }
            None => self.body.push_str(&format!("<{element}/>\n")),
        }
    }
}

impl Drawing {
    /// As an element of the page, which has the style.
    pub(super) fn inline(&self, class: &str) -> String {
        format!("<svg class=\"plot {class}\" {}>\n{}</svg>\n", self.attributes(), self.body)
    }

    /// As a file of its own, with style and ground.
    pub(super) fn standalone(&self) -> String {
        let (width, height) = (place(self.width), place(self.height));
        let mut ground = Svg::default();
        ground.rect((0.5, 0.5), (self.width - 1.0, self.height - 1.0), "ground", None);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" class=\"plot\" {}>\n\
             <style>\n{}</style>\n{}{}</svg>\n",
            self.attributes(),
            palette::standalone_style(),
            ground.body,
            self.body
        )
    }

    fn attributes(&self) -> String {
        format!(
            "viewBox=\"0 0 {} {}\" font-size=\"{}\" role=\"img\" aria-label=\"{}\"",
            place(self.width),
            place(self.height),
            place(self.font),
            escape(&self.label)
        )
    }
}

/// Width of `text` at font size `font`, estimated high: fonts differ from viewer to viewer.
pub(super) fn text_width(text: &str, font: f64) -> f64 {
    let width = |c: char| match c {
        ' ' | '.' | ',' | ':' | '(' | ')' | 'f' | 'i' | 'j' | 'l' | 'r' | 't' => 0.4,
        c if c.is_uppercase() => 0.7,
        _ => 0.62,
    };
    text.chars().map(width).sum::<f64>() * font
}

/// A coordinate to a tenth of a unit.
fn place(v: f64) -> String {
    if !v.is_finite() {
        return "0".into();
    }
    let tenths = (v * 10.0).round() / 10.0;
    // Adding 0 turns -0 into 0.
    format!("{}", tenths + 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinates_are_short_and_finite() {
        assert_eq!(
            [1.0, 0.25, -0.01, 99.96, f64::NAN, f64::INFINITY].map(place),
            ["1", "0.3", "0", "100", "0", "0"]
        );
    }

    #[test]
    fn wide_letters_take_more_room() {
        assert!((text_width("MM", 10.0) - 14.0).abs() < 1e-9);
        assert!(text_width("illi", 10.0) < text_width("PING", 10.0));
    }

    #[test]
    fn text_and_titles_are_escaped() {
        let mut svg = Svg::default();
        svg.text((1.0, 2.0), "ink", "a<b");
        svg.rect((0.0, 0.0), (-1.0, f64::NAN), "x", Some("\"&"));
        svg.path(&[], false, "line");
        assert_eq!(
            svg.finish(1.0, 1.0, 1.0, "").body,
            "<text x=\"1\" y=\"2\" class=\"ink\">a&lt;b</text>\n\
             <rect x=\"0\" y=\"0\" width=\"0\" height=\"0\" class=\"x\"><title>&quot;&amp;</title></rect>\n"
        );
    }
}
