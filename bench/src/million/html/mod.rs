//! The HTML report of `myriad-bench million`: one file that needs nothing else, drawn from [`results::Run`] alone.
//!
//! [`page`] is the report, [`images`] its main plots as SVG files. There is no script and no request of any kind. Below:
//! `markup` and `svg` write elements, `palette` has the colours, `scale`, `plot`, `line`, `area` and `histogram` draw,
//! `timeline`, `latency` and `growth` say what is drawn, `summary`, `table`, `conditions` and `page` what is written.
//! No chart library: of those that draw SVG none takes its colours from a style sheet (light, dark, print) or shows
//! figures under the pointer without a script.

mod area;
mod conditions;
#[cfg(test)]
mod example;
mod format;
mod growth;
mod histogram;
mod images;
mod latency;
mod line;
mod markup;
mod page;
mod palette;
mod plot;
mod scale;
mod summary;
mod svg;
mod table;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod thin;
mod timeline;

use super::results;

/// The whole report as the text of one HTML file.
pub(crate) fn page(run: &results::Run) -> String {
    page::page(run)
}

/// The main plots, each the name and the text of an SVG file with a ground of its own. Those without data are left out.
pub(crate) fn images(run: &results::Run) -> Vec<(&'static str, String)> {
    images::images(run)
}
