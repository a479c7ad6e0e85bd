//! What is printed: the table of the check, its JSON, the file for sysctl.d and the drop-in for the unit.

use std::fmt::Write;

use serde::Serialize;

use crate::count::grouped;

use super::check::{Report, Row, Verdict};
use super::settings::{Bound, Concern, Effect, FILES_PER_PROCESS, LEFT_OUT, Place, Setting};

/// Columns of a line, as far as its words allow.
const WIDTH: usize = 100;
/// Where the drop-in for the unit belongs.
pub(super) const DROP_IN: &str = "/etc/systemd/system/myriad.service.d/limits.conf";

/// `numbers` as the setting's file has them.
pub(super) fn value(numbers: &[u64]) -> String {
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")
}

/// `numbers` for people: the release with its dot, no limit by name.
fn shown(setting: &Setting, numbers: &[u64]) -> String {
    let one = |number: &u64| match (setting.place, *number) {
        (Place::Kernel, release) => format!("{}.{}", release / 100, release % 100),
        (_, number) if number >= i64::MAX as u64 => "unlimited".into(),
        (_, number) => number.to_string(),
    };
    numbers.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn wanted(setting: &Setting) -> String {
    let numbers: Vec<u64> = setting.wanted.iter().map(|bound| bound.number()).collect();
    let numbers = shown(setting, &numbers);
    match setting.wanted[..] {
        [Bound::AtMost(0)] => "= 0".into(),
        [Bound::AtMost(_)] => format!("<= {numbers}"),
        [Bound::AtMost(_), Bound::AtLeast(_)] => numbers.replace(' ', " to "),
        _ => format!(">= {numbers}"),
    }
}

fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::Now => "at once",
        Effect::BrokerRestart => "restart the broker",
        Effect::Reboot => "reboot",
    }
}

fn verdict(report: &Report, row: &Row) -> String {
    match &row.verdict {
        Verdict::Enough => "ok".into(),
        Verdict::Short(how) if !report.concerns(&row.setting) => format!("{how}, for clients only"),
        Verdict::Short(how) if !row.setting.matters => format!("{how}, but works"),
        Verdict::Short(how) => (*how).into(),
        Verdict::Unreadable(why) => format!("not readable: {why}"),
        Verdict::NotApplicable(why) => format!("not applicable: {why}"),
    }
}

/// The words of `text` in lines, with `first` before the first one and `indent` before the others.
fn wrapped(text: &str, first: &str, indent: &str) -> String {
    let mut lines = String::new();
    let mut line = first.to_owned();
    let mut is_empty = true;
    for word in text.split_whitespace() {
        if !is_empty && line.len() + 1 + word.len() > WIDTH {
            let _ = writeln!(lines, "{line}");
            line = indent.to_owned();
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    let _ = writeln!(lines, "{line}");
    lines
}

/// The check for people.
pub(super) fn table(report: &Report) -> String {
    let mut text = format!(
        "What {} connections need of Linux {} with {} CPUs{}\n\n",
        grouped(report.connections),
        report.release.as_deref().unwrap_or("(release unknown)"),
        report.cpus,
        if report.load_generator { ", their clients here too" } else { "" },
    );
    let name_width = report.rows.iter().map(|row| row.setting.name.len()).max().unwrap_or(0);
    let _ = writeln!(text, "  {:name_width$}  {:25}  {:22}  verdict", "setting", "wanted", "now");
    for row in &report.rows {
        let (wanted, now) = (wanted(&row.setting), shown(&row.setting, &row.now));
        let now = if now.is_empty() { "-".into() } else { now };
        let verdict = verdict(report, row);
        let _ = writeln!(text, "  {:name_width$}  {wanted:25}  {now:22}  {verdict}", row.setting.name);
    }
    text += &shortcomings(report);
    text += &room(report);
    text + &conclusion(report)
}

fn shortcomings(report: &Report) -> String {
    let short = |row: &&Row| {
        report.concerns(&row.setting) && matches!(row.verdict, Verdict::Short(_) | Verdict::Unreadable(_))
    };
    let mut text = String::new();
    for row in report.rows.iter().filter(short) {
        let setting = &row.setting;
        let _ = writeln!(
            text,
            "\n  {} {}; takes effect: {}",
            setting.name,
            wanted(setting),
            effect(setting.effect)
        );
        text += &wrapped(&setting.reason, "      ", "      ");
    }
    text
}

fn room(report: &Report) -> String {
    let mut text = String::from("\nConnections that fit\n");
    for limit in &report.limits {
        let fits = if limit.fits > 1_000_000_000 { "no limit".into() } else { grouped(limit.fits) };
        let _ = writeln!(text, "  {:17} {fits:>13}  {}", limit.name, limit.because);
    }
    if report.is_filtered {
        text +=
            "  A seccomp filter is in force here: the broker says at start whether it forbids io_uring.\n";
    }
    text
}

fn conclusion(report: &Report) -> String {
    let mut text = String::from("\n");
    if report.is_enough() {
        let _ = writeln!(text, "{} connections: ok", grouped(report.connections));
        return text;
    }
    let failing = report.rows.iter().filter(|row| report.fails(row)).count();
    let _ = write!(text, "{} connections: falls short", grouped(report.connections));
    if failing > 0 {
        let _ = write!(text, ", {failing} of {} settings", report.rows.len());
    }
    if let Some(limit) = report.tightest().filter(|limit| limit.fits < report.connections) {
        let _ = write!(text, ", {} fit ({})", grouped(limit.fits), limit.name);
    }
    text.push('\n');
    let flags = flags(report);
    if report.is_short(|place| place == Place::Sysctl) {
        let _ = writeln!(text, "  as root: myriadctl tune{flags} --apply");
    }
    if report.is_short(|place| matches!(place, Place::SoftLimit(_) | Place::HardLimit(_))) {
        let _ = writeln!(text, "  limits of a systemd unit: myriadctl tune{flags} --print=systemd");
    }
    text
}

/// The flags that say the same again.
fn flags(report: &Report) -> String {
    let load = if report.load_generator { " --load-generator" } else { "" };
    format!(" --connections {}{load}", report.connections)
}

#[derive(Serialize)]
struct JsonReport<'a> {
    connections: u64,
    ok: bool,
    kernel: Option<&'a str>,
    cpus: u64,
    memory_bytes: Option<u64>,
    memory_available_bytes: Option<u64>,
    seccomp_filter: bool,
    settings: Vec<JsonSetting<'a>>,
    connections_that_fit: Vec<JsonLimit<'a>>,
}

#[derive(Serialize)]
struct JsonSetting<'a> {
    name: &'a str,
    wanted: String,
    now: Option<String>,
    verdict: &'static str,
    why: Option<&'a str>,
    matters: bool,
    concern: &'static str,
    takes_effect: &'static str,
    reason: &'a str,
}

#[derive(Serialize)]
struct JsonLimit<'a> {
    name: &'a str,
    connections: u64,
    because: &'a str,
}

/// The check for programs, one object.
pub(super) fn json(report: &Report) -> serde_json::Result<String> {
    let settings = report.rows.iter().map(|row| {
        let (verdict, why) = match &row.verdict {
            Verdict::Enough => ("ok", None),
            Verdict::Short(how) => (*how, None),
            Verdict::Unreadable(why) => ("not readable", Some(why.as_str())),
            Verdict::NotApplicable(why) => ("not applicable", Some(*why)),
        };
        JsonSetting {
            name: row.setting.name,
            wanted: wanted(&row.setting),
            now: (!row.now.is_empty()).then(|| shown(&row.setting, &row.now)),
            verdict,
            why,
            matters: row.setting.matters && report.concerns(&row.setting),
            concern: match row.setting.concern {
                Concern::Broker => "broker",
                Concern::LoadGenerator => "load generator",
            },
            takes_effect: effect(row.setting.effect),
            reason: &row.setting.reason,
        }
    });
    let limits = report.limits.iter();
    let report = JsonReport {
        connections: report.connections,
        ok: report.is_enough(),
        kernel: report.release.as_deref(),
        cpus: report.cpus,
        memory_bytes: report.memory.map(|memory| memory.total),
        memory_available_bytes: report.memory.map(|memory| memory.available),
        seccomp_filter: report.is_filtered,
        settings: settings.collect(),
        connections_that_fit: limits
            .map(|limit| JsonLimit { name: limit.name, connections: limit.fits, because: &limit.because })
            .collect(),
    };
    Ok(serde_json::to_string_pretty(&report)? + "\n")
}

/// The file for sysctl.d. `refused`: settings that the kernel did not take, each with its words.
pub(super) fn sysctl_file(report: &Report, refused: &[(&str, String)]) -> String {
    let mut text = format!(
        "# Kernel settings of this machine for {} connections of Myriad, by `myriadctl tune{}`.\n\
         # Install as /etc/sysctl.d/60-myriad.conf and run `sysctl --system`; `--apply` in place of `--print` does both.\n\
         # No number is lower than what this machine had.\n",
        grouped(report.connections),
        flags(report)
    );
    for row in report.rows.iter().filter(|row| row.setting.place == Place::Sysctl) {
        let setting = &row.setting;
        text.push('\n');
        text += &wrapped(&setting.reason, "# ", "# ");
        if setting.effect != Effect::Now {
            let _ = writeln!(text, "# Takes effect: {}.", effect(setting.effect));
        }
        let why_not = match &row.verdict {
            _ if !report.concerns(setting) => Some("for a machine that runs clients".to_owned()),
            Verdict::NotApplicable(why) => Some((*why).to_owned()),
            Verdict::Unreadable(why) => Some(format!("not readable here: {why}")),
            _ => refused
                .iter()
                .find(|(name, _)| *name == setting.name)
                .map(|(_, why)| format!("refused: {why}")),
        };
        let numbers =
            if row.now.len() == setting.wanted.len() { row.mended() } else { bounds(&setting.wanted) };
        let line = format!("{} = {}", setting.name, value(&numbers));
        let _ = match why_not {
            None => writeln!(text, "{line}"),
            Some(why) => writeln!(text, "# ({why})\n# {line}"),
        };
    }
    text += "\n# Left out, though often seen in such lists:\n";
    for (name, why) in LEFT_OUT {
        text += &wrapped(&format!("{name}: {why}"), "# - ", "#   ");
    }
    let _ = writeln!(
        text,
        "\n# Limits of the service are not here: `myriadctl tune{} --print=systemd`.",
        flags(report)
    );
    text
}

fn bounds(wanted: &[Bound]) -> Vec<u64> {
    wanted.iter().map(|bound| bound.number()).collect()
}

/// The drop-in for the unit.
pub(super) fn drop_in(connections: u64) -> String {
    format!(
        "# Limits of Myriad's unit for {} connections. Install as\n\
         # {DROP_IN}, then\n\
         # `systemctl daemon-reload` and `systemctl restart myriad`.\n\
         \n\
         [Service]\n\
         # The size of a ring's table, not the number of connections: with less a shard opens more rings.\n\
         LimitNOFILE={}\n\
         # Rings are charged to it, because the service has no CAP_IPC_LOCK.\n\
         LimitMEMLOCK=infinity\n",
        grouped(connections),
        FILES_PER_PROCESS
    )
}
