//! The whole report: well-formed, whole without a network, and honest, whatever the run has or lacks.

use super::example::{everything, fell_short, half_an_hour};
use super::results::{CheckRow, Latency, Memory, Run, Sample, Stage, Step, Verdict};
use super::{images, page};

/// The name of the first tag that has no partner, if there is one. Enough for what is written here: quoted attributes,
/// no comments; what stands in `style` is not markup.
fn unbalanced(markup: &str) -> Option<String> {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = markup.strip_prefix("<!doctype html>").unwrap_or(markup);
    while let Some((text, tag)) = rest.split_once('<') {
        if text.contains('>') && open.last() != Some(&"style") {
            return Some(format!("a bare > in {text}"));
        }
        let Some((tag, after)) = tag.split_once('>') else { return Some(tag.into()) };
        rest = after;
        if tag.matches('"').count() % 2 != 0 {
            return Some(format!("quotes of {tag}"));
        }
        let name = tag.trim_start_matches('/').split([' ', '/', '\n']).next().unwrap_or_default();
        if let Some(closed) = tag.strip_prefix('/') {
            if open.pop() != Some(closed) {
                return Some(closed.into());
            }
        } else if !tag.ends_with('/') {
            open.push(name);
        }
    }
    open.pop().map(String::from)
}

/// What holds of every file that is written.
fn check(name: &str, text: &str) {
    assert_eq!(unbalanced(text), None, "{name}");
    // Where an entity begins, one ends soon.
    let is_entity = |after: &str| after.split_once(';').is_some_and(|(name, _)| name.len() <= 4);
    assert!(text.split('&').skip(1).all(is_entity), "{name}: a bare ampersand");
    // As a word: `info` has its `inf` rightly.
    let words = text.split(|c: char| !c.is_alphanumeric());
    for word in words {
        assert!(!["NaN", "inf", "-inf"].contains(&word), "{name} shows {word}");
    }
    let own = text.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    for request in ["http://", "https://", "url(", "@import", "src=", "href=", "<script"] {
        assert!(!own.contains(request), "{name} has {request}");
    }
    if let Some(folder) = std::env::var_os("MYRIAD_BENCH_EXAMPLES") {
        std::fs::write(std::path::Path::new(&folder).join(name), text).unwrap();
    }
}

#[test]
fn the_checker_finds_what_is_broken() {
    assert_eq!(unbalanced("<!doctype html>\n<a b=\"1\"><c/>x</a>"), None);
    for broken in ["<a>", "</a>", "<a><b></a></b>", "<a b=\"1></a>", "a > b <c/>", "<a"] {
        assert!(unbalanced(broken).is_some(), "{broken}");
    }
}

/// With MYRIAD_BENCH_EXAMPLES=FOLDER the files can be looked at.
#[test]
fn a_run_with_everything_shows_everything() {
    let page = page(&everything());
    check("everything.html", &page);
    for part in
        ["1,000,000 of 1,000,000 connections held", "612 bytes each", "0 failures", ">passed<", "falls short"]
    {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("class=\"missing\""), "nothing is missing");
    let plots = page.matches("<svg ").count();
    assert_eq!(plots, 2 * 7 + 10 + 6, "two widths of six and the overview; histograms; steps");
    let images = images(&everything());
    for (name, text) in &images {
        check(name, text);
        assert!(text.starts_with("<svg xmlns=") && text.contains("class=\"ground\""), "{name}");
    }
    assert_eq!(images.len(), 8);
}

#[test]
fn a_run_with_nothing_says_so() {
    let page = page(&Run::default());
    check("nothing.html", &page);
    assert!(page.contains("0 of 0 connections held"));
    assert!(!page.contains("<svg"), "no empty plot");
    assert_eq!(page.matches("class=\"missing\"").count(), 7, "a sentence in place of each part");
    assert_eq!(images(&Run::default()), []);
}

#[test]
fn a_run_that_fell_short_says_it_first() {
    let page = page(&fell_short());
    check("fell-short.html", &page);
    assert!(page.contains("1,000,000 of 2,000,000 connections held") && page.contains(">failed<"));
    for part in [
        "1,314 failures",
        "12 messages lost",
        "3 connections lost",
        "5 clients not back",
        "closed before CONNACK",
    ] {
        assert!(page.contains(part), "{part}");
    }
    let (problems, cards) = (page.find("Problems:"), page.find("class=\"cards\""));
    assert!(problems.is_some() && problems < cards, "before any figure");
    for (name, text) in images(&fell_short()) {
        check(&format!("fell-short-{name}"), &text);
    }
}

#[test]
fn half_an_hour_stays_small() {
    let page = page(&half_an_hour());
    check("half-an-hour.html", &page);
    assert!(page.len() < 500_000, "{} bytes", page.len());
}

#[test]
fn what_is_not_a_number_never_shows() {
    let mut run = everything();
    let not = f64::NAN;
    for sample in &mut run.samples[40..50] {
        (sample.connections_per_s, sample.machine_cpus, sample.load_cpus) = (not, f64::INFINITY, not);
        (sample.messages_per_s, sample.broker_cpus) = (f64::NEG_INFINITY, Some(not));
    }
    for stage in &mut run.stages {
        (stage.per_s, stage.broker_cpu_us_each, stage.broker_cpu_s) = (not, Some(not), Some(f64::INFINITY));
        stage.seconds = 0.0;
    }
    for step in &mut run.steps {
        (step.bytes_per_connection, step.kernel_bytes_per_connection) = (Some(not), not);
    }
    run.memory = Some(Memory {
        broker_bytes_per_connection: Some(not),
        kernel_bytes_per_connection: f64::INFINITY,
        available_bytes_per_connection: not,
        ..Memory::default()
    });
    (run.conditions.message_rate, run.conditions.connect_rate, run.seconds) = (not, not, not);
    check("not-a-number.html", &page(&run));
    for (name, text) in images(&run) {
        check(&format!("not-a-number-{name}"), &text);
    }
}

/// Samples, stages and steps that hold only zeros, one of each.
#[test]
fn zeros_break_no_plot() {
    let empty = Some(Latency { count: 1, ..Latency::default() });
    let run = Run {
        samples: vec![Sample::default(); 3],
        stages: vec![Stage {
            name: "ping",
            latency: empty.clone(),
            second_latency: empty,
            ..Stage::default()
        }],
        steps: vec![Step::default(); 2],
        memory: Some(Memory::default()),
        ..Run::default()
    };
    check("zeros.html", &page(&run));
    for (name, text) in images(&run) {
        check(&format!("zeros-{name}"), &text);
    }
}

#[test]
fn what_comes_from_the_run_is_escaped() {
    let hostile = || "<script>alert('1')</script> & \"x\" \u{1b}".to_owned();
    let mut run = everything();
    (run.tool, run.tool_version) = (hostile(), hostile());
    (run.notes, run.problems) = (vec![hostile()], vec![hostile()]);
    run.failures.insert(hostile(), 1);
    run.checks = vec![CheckRow {
        name: hostile(),
        has: hostile(),
        needs: hostile(),
        verdict: Verdict::Fatal,
        fits: None,
        mend: Some(hostile()),
    }];
    let conditions = &mut run.conditions;
    (conditions.kernel, conditions.cpu_model, conditions.started) = (hostile(), hostile(), hostile());
    (conditions.command, conditions.broker_command) = (vec![hostile()], vec![hostile()]);
    (conditions.broker_address, conditions.broker_version) = (hostile(), Some(hostile()));
    for stage in &mut run.stages {
        (stage.name, stage.title, stage.notes) = ("<b>&\"'", hostile(), vec![hostile()]);
        stage.second_title = Some("</title><i>");
    }
    for sample in &mut run.samples {
        sample.stage = "<u>&\"";
    }
    check("hostile.html", &page(&run));
    for tag in ["<script", "<b>", "<u>", "<i>", "\u{1b}"] {
        assert!(!page(&run).contains(tag), "{tag:?}");
        assert!(images(&run).iter().all(|(_, text)| !text.contains(tag)), "{tag:?}");
    }
}
