//! `myriadctl trace`: what the broker and one client, topic or address say to each other, as it happens.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::api::{Api, route};
use crate::failure::{Status, status_of};
use crate::print::{Column, Console, Form, column, say, visible};

/// Of `myriadctl trace`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Traces a Client Identifier.
    Client {
        #[command(flatten)]
        subject: Subject,
        /// Only the one below this prefix of topics ("" is none), where several tenants have such a client.
        #[arg(long)]
        mountpoint: Option<String>,
    },
    /// Traces what is published to a Topic Filter.
    Topic(Subject),
    /// Traces whoever comes from an address.
    Address(Subject),
    /// The traces under way, and those that are over and kept.
    List,
    /// Ends a trace and forgets it.
    Off {
        /// Its id, as `list` has it.
        #[arg(required_unless_present = "all")]
        id: Option<String>,
        /// All of them.
        #[arg(long, conflicts_with = "id")]
        all: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Subject {
    /// What is traced.
    name: String,
    /// How long, as 90s, 5m or 1h; an hour at most.
    #[arg(long = "for", value_name = "TIME", default_value = "60s", value_parser = duration)]
    seconds: u64,
    /// Write it to a file in the broker's data directory instead of here, and do not wait.
    #[arg(long)]
    file: bool,
}

const TRACES: [Column; 9] = [
    column("id", "id", Form::Text),
    column("kind", "kind", Form::Text),
    column("name", "name", Form::Text),
    column("mountpoint", "mountpoint", Form::Text),
    column("active", "active", Form::Text),
    column("ends at", "ends_at", Form::Text),
    column("events", "events", Form::Count),
    column("dropped", "dropped", Form::Count),
    column("file", "file", Form::Text),
];

/// Between two looks at what has happened.
const PAUSE: Duration = Duration::from_millis(300);

fn duration(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        unit => return Err(format!("unknown unit {unit:?}; expected a time as 90s, 5m or 1h")),
    };
    let seconds = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(factor));
    match seconds {
        Some(seconds @ 1..=3600) => Ok(seconds),
        _ => Err("expected a time from 1s to 1h".into()),
    }
}

/// Does it.
pub(crate) fn run(arguments: &Arguments, console: &Console<'_>) -> Result<ExitCode> {
    let api = console.api()?;
    match &arguments.command {
        Command::Client { subject, mountpoint } => {
            trace(&api, ("client", mountpoint.as_deref()), subject, console)
        }
        Command::Topic(subject) => trace(&api, ("topic", None), subject, console),
        Command::Address(subject) => trace(&api, ("address", None), subject, console),
        Command::List => console.items(&api.get(&route(&["traces"]), &[])?, &TRACES),
        Command::Off { id: Some(id), .. } => {
            console.done(&api.delete(&route(&["traces", id]), &[])?, format_args!("trace {id} is ended"))
        }
        Command::Off { id: None, .. } => {
            let traces = api.get(&route(&["traces"]), &[])?;
            let mut ended = 0;
            for id in traces["items"].as_array().into_iter().flatten().filter_map(|trace| id_of(&trace["id"]))
            {
                api.delete(&route(&["traces", &id]), &[])?;
                ended += 1;
            }
            console.done(&json!({ "ended": ended }), format_args!("{ended} traces are ended"))
        }
    }
}

/// An identifier is a number or a text.
fn id_of(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned).or_else(|| value.as_u64().map(|n| n.to_string()))
}

/// `of`: the kind of the subject, and its mountpoint.
fn trace(api: &Api, of: (&str, Option<&str>), subject: &Subject, console: &Console<'_>) -> Result<ExitCode> {
    let (kind, mountpoint) = of;
    let mut body =
        json!({ "kind": kind, "name": subject.name, "seconds": subject.seconds, "file": subject.file });
    if let Some(mountpoint) = mountpoint {
        body["mountpoint"] = mountpoint.into();
    }
    let started = api.post(&route(&["traces"]), &body)?;
    let id = id_of(&started["id"]).context("the broker gave the trace no id")?;
    if subject.file {
        let seconds = subject.seconds;
        return console.done(
            &started,
            format_args!("trace {id} is written for {seconds} s; `myriadctl trace off {id}` ends it"),
        );
    }
    eprintln!(
        "myriadctl: trace {id} of {kind} {:?} for {} s; Ctrl-C leaves it to its end",
        subject.name, subject.seconds
    );
    let followed = follow(api, &id, subject.seconds, console.json);
    match api.delete(&route(&["traces", &id]), &[]) {
        Err(error) if status_of(&error) != Status::NotFound => followed.and(Err(error)),
        _ => followed,
    }
}

/// Prints events, a line each, until the time is over or the trace is ended elsewhere.
fn follow(api: &Api, id: &str, seconds: u64, json: bool) -> Result<ExitCode> {
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut after, mut dropped) = (0, 0);
    loop {
        let is_last = Instant::now() >= end;
        let text = after.to_string();
        let page = match api.get(&route(&["traces", id, "events"]), &[("after", Some(&text))]) {
            Err(error) if status_of(&error) == Status::NotFound => return Ok(ExitCode::SUCCESS),
            other => other?,
        };
        let events = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        for event in events {
            after = after.max(event["seq"].as_u64().unwrap_or(after));
            if json { say(event)? } else { say(line(event))? }
        }
        let lost = page["dropped"].as_u64().unwrap_or(0);
        if lost > dropped {
            eprintln!("myriadctl: {} events came too fast and are left out", lost - dropped);
            dropped = lost;
        }
        if is_last && events.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        if events.is_empty() {
            std::thread::sleep(PAUSE.min(end.saturating_duration_since(Instant::now())));
        }
    }
}

fn line(event: &Value) -> String {
    let text = |key: &str| visible(event[key].as_str().unwrap_or_default());
    let below = match text("mountpoint") {
        mountpoint if mountpoint.is_empty() => String::new(),
        mountpoint => format!(" below {mountpoint}"),
    };
    format!("{} {}{below} {} {}", text("at"), text("client_id"), text("event"), text("text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("5m", 300), ("1h", 3600)] {
            assert_eq!(duration(text), Ok(seconds), "{text}");
        }
        for text in ["0s", "2h", "", "m", "5d", "-1s", "99999999999999999999s", "é"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_event_is_a_line() {
        let event = json!({ "seq": 1, "at": "T", "client_id": "c\n", "event": "PUBLISH", "text": "a/b" });
        assert_eq!(line(&event), "T c\\n PUBLISH a/b");
        let event =
            json!({ "at": "T", "client_id": "c", "mountpoint": "t/", "event": "PUBLISH", "text": "a" });
        assert_eq!(line(&event), "T c below t/ PUBLISH a");
    }
}
