//! The page: its sections from top to bottom. What the run lacks is one sentence, never an empty plot.

use super::markup::{element, escape, list, text};
use super::plot::{Canvas, NARROW, SMALL, WIDE};
use super::timeline::{self, Drawn};
use super::{conditions, format, growth, latency, palette, summary, table};
use crate::million::results::{Run, Stage};

/// A plot over time: heading, what to know, how it is drawn.
type Plot = (&'static str, &'static str, fn(&Run, Canvas<'_>) -> Drawn);

const OVER_TIME: [Plot; 6] = [
    ("Connections", "Held, with both subscriptions acknowledged.", timeline::connections),
    ("Connect rate", "Handshakes completed a second.", timeline::connect_rate),
    (
        "Memory",
        "Broker and load generator: resident. Slabs and TCP buffers: growth since the first sample, both ends where both \
         are on this machine. Rest: what MemAvailable lost beyond these.",
        timeline::memory,
    ),
    (
        "Memory per connection",
        "The same as growth since the first sample, divided by the connections held at that moment, from 5 % of the most on.",
        timeline::memory_each,
    ),
    ("CPU", "Cores kept busy.", timeline::cpu),
    ("Messages", "Deliveries and PINGRESPs a second.", timeline::message_rate),
];

/// All of it.
pub(super) fn page(run: &Run) -> String {
    let title = format!("{} · myriad-bench million", summary::headline(run));
    let head = format!(
        "<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"/>\n\
         {}<style>\n{}</style>\n",
        text("title", "", &title),
        palette::page_style()
    );
    let sections = [
        header(run),
        troubles(run),
        summary::cards(run),
        section("time", "Over time", &over_time(run)),
        section("memory", "Memory of one connection", &memory(run)),
        section("latency", "Latency", &latencies(run)),
        section("stages", "Stages", &stages(run)),
        section("growth", "How costs grow", &costs(run)),
        section("machine", "The machine check", &machine(run)),
        section("conditions", "Conditions", &conditions::list(run)),
        section("repeat", "Run it again", &conditions::repeat(run)),
    ];
    let body = element("main", "", &sections.concat());
    format!("<!doctype html>\n<html lang=\"en\">\n<head>\n{head}</head>\n<body>\n{body}</body>\n</html>\n")
}

fn section(id: &str, title: &str, inner: &str) -> String {
    format!("<section id=\"{id}\">\n{}{inner}</section>\n", text("h2", "", title))
}

/// One honest sentence in place of what is missing.
fn missing(sentence: &str) -> String {
    text("p", "missing", sentence)
}

fn header(run: &Run) -> String {
    let (class, verdict) = summary::verdict(run);
    let tool = format!("{} {} · {}", run.tool, run.tool_version, run.conditions.started);
    let top = text("span", "tool", &tool) + &text("span", &format!("pill {class}"), verdict);
    let figures: String = summary::figures(run).iter().map(|figure| text("span", "", figure)).collect();
    let reached = run.connections_reached as f64 / run.connections_wanted.max(1) as f64 * 100.0;
    let bar = format!(
        "<div class=\"reached\"><span style=\"width:{:.1}%\"></span></div>\n",
        reached.clamp(0.0, 100.0)
    );
    let inner = element("div", "top", &top)
        + &text("h1", "", &summary::headline(run))
        + &bar
        + &element("p", "figures", &figures)
        + &text("p", "where", &conditions::sentence(run));
    element("header", "", &inner)
}

/// Problems and notes, before any figure.
fn troubles(run: &Run) -> String {
    let mut boxes = String::new();
    if !run.problems.is_empty() {
        let inner = text("h2", "", "Problems: why this run counts as failed") + &list("", &run.problems);
        boxes += &element("div", "trouble bad", &inner);
    }
    let mut notes = run.notes.clone();
    if run.interrupted {
        notes.insert(0, "The run was interrupted before all stages were run.".into());
    }
    if !notes.is_empty() {
        let inner = text("h2", "", "To be known before reading the figures") + &list("", &notes);
        boxes += &element("div", "trouble warn", &inner);
    }
    if !run.failures.is_empty() {
        let inner = text("h2", "", "Failures, most of them tried again") + &table::failures(run);
        boxes += &element("div", "trouble warn", &inner);
    }
    boxes
}

/// A plot twice, for wide and for narrow screens, of which the style shows one.
fn both_widths(run: &Run, draw: fn(&Run, Canvas<'_>) -> Drawn) -> Markup {
    Ok(draw(run, WIDE)?.inline("wide") + &draw(run, NARROW)?.inline("narrow"))
}

/// Markup, or the sentence in its place.
type Markup = Result<String, String>;

fn figure(title: &str, about: &str, drawn: Markup) -> String {
    let heading = text("h3", "", title) + &text("p", "about", about);
    let inner = drawn.unwrap_or_else(|sentence| missing(&sentence));
    element("figure", "", &(element("figcaption", "", &heading) + &inner))
}

fn over_time(run: &Run) -> String {
    if run.samples.len() < 2 {
        return missing("Fewer than two samples were taken, so nothing is drawn over time.");
    }
    let figures = OVER_TIME.iter().map(|(title, about, draw)| figure(title, about, both_widths(run, *draw)));
    let unknown = run.samples.iter().all(|sample| sample.broker_rss_bytes.is_none());
    let unknown = unknown
        .then(|| missing("The broker's process was not known (--pid), so its memory and CPU are not drawn."));
    unknown.into_iter().chain(figures).collect()
}

fn memory(run: &Run) -> String {
    let Some(memory) = run.memory else {
        return missing("This run did not measure the memory of held connections.");
    };
    let lost = memory.available_bytes_per_connection;
    let together = if lost > 0.0 {
        format!("Together they took {} of MemAvailable for each.", table::bytes_each(lost))
    } else {
        "MemAvailable did not shrink: something else on the machine gave memory back meanwhile.".into()
    };
    let held = format::counted(memory.connections, "held connection", "held connections");
    let about = format!("{held} against before the first one. {together}");
    let unknown = match memory.broker_bytes_per_connection {
        Some(_) => String::new(),
        None => missing("The broker's process was not known (--pid), so its memory was not measured."),
    };
    element("div", "panel", &(text("p", "about", &about) + &table::memory(&memory) + &unknown))
}

fn latencies(run: &Run) -> String {
    let shown = latency::shown(run);
    if shown.is_empty() {
        return missing("No stage that measures a latency was run.");
    }
    let about = "Each stage from its median to its longest. Scheduled stages count from the moment when the message was \
                 due, so a stall counts for all that waited.";
    let overview = figure("All stages", about, both_widths(run, latency::overview));
    let histogram = |measured: &latency::Measured<'_>| {
        let about = format!("{}: {} measured", measured.title, format::integer(measured.latency.count));
        figure(&measured.name, &about, latency::one(measured, SMALL).map(|drawing| drawing.inline("")))
    };
    let histograms = element("div", "grid", &shown.iter().map(histogram).collect::<String>());
    let repeated = if latency::all(run).len() > shown.len() {
        text(
            "p",
            "about",
            "Stages that were run at several steps are drawn as of the last one; the table has all.",
        )
    } else {
        String::new()
    };
    overview + &repeated + &histograms + &element("div", "panel", &table::percentiles(run))
}

fn stages(run: &Run) -> String {
    if run.stages.is_empty() {
        return missing("No stage was run.");
    }
    let about: String =
        run.stages.iter().enumerate().filter(|(n, _)| first(run, *n)).map(|(_, s)| told(run, s)).collect();
    element("div", "panel", &(table::stages(&run.stages) + &element("dl", "told", &about)))
}

/// Whether no stage before has the same name.
fn first(run: &Run, n: usize) -> bool {
    run.stages[..n].iter().all(|stage| stage.name != run.stages[n].name)
}

/// What a stage does, and the notes of all that have its name.
fn told(run: &Run, stage: &Stage) -> String {
    let same = run.stages.iter().filter(|other| other.name == stage.name);
    let notes: Vec<String> = same.flat_map(|stage| stage.notes.iter().cloned()).collect();
    let notes = if notes.is_empty() { String::new() } else { list("notes", &notes) };
    format!("<dt>{}</dt><dd>{}{notes}</dd>\n", escape(stage.name), escape(&stage.title))
}

fn costs(run: &Run) -> String {
    if !growth::grows(run) {
        return missing(
            "Measured at one number of connections only. With --steps 1k,10k,100k,1M the costs are measured at each.",
        );
    }
    let panel = |(title, drawing): (&str, super::svg::Drawing)| figure(title, "", Ok(drawing.inline("")));
    let panels: String = growth::drawn(run, SMALL, false).into_iter().map(panel).collect();
    element("div", "panel", &table::steps(&run.steps)) + &element("div", "grid", &panels)
}

fn machine(run: &Run) -> String {
    if run.checks.is_empty() {
        return missing("The machine was not checked.");
    }
    let fit = match run.connections_fit {
        Some(fit) => format!("{} would fit.", format::counted(fit, "connection", "connections")),
        None => "Nothing on this machine limits the number of connections below what was asked for.".into(),
    };
    element("div", "panel", &(text("p", "about", &fit) + &table::checks(run)))
}
