//! What was reached, at one glance: the headline, the verdict and the cards.

use super::format;
use super::markup::{element, text};
use super::table::bytes_each;
use crate::million::results::{Latency, Run, Stage};

/// `1,000,000 of 1,000,000 connections held`.
pub(super) fn headline(run: &Run) -> String {
    format!(
        "{} of {} connections held",
        format::integer(run.connections_reached),
        format::integer(run.connections_wanted)
    )
}

/// The figures that follow the headline, those that were measured: `0 failures`, `612 bytes each`.
pub(super) fn figures(run: &Run) -> Vec<String> {
    let mut figures = vec![format::counted(run.failures.values().sum(), "failure", "failures")];
    let Losses { messages, connections, clients } = losses(run);
    if messages > 0 {
        figures.push(format::counted(messages, "message lost", "messages lost"));
    }
    if connections > 0 {
        figures.push(format::counted(connections, "connection lost", "connections lost"));
    }
    if clients > 0 {
        figures.push(format::counted(
            clients,
            "client not back or not ended",
            "clients not back or not ended",
        ));
    }
    let bytes = run.memory.and_then(|memory| memory.broker_bytes_per_connection);
    figures.extend(bytes.map(|bytes| format!("{} bytes each", format::rounded(bytes))));
    figures.extend(cpu_us_per_connect(run).map(|us| format!("{} CPU per connect", format::micros(us))));
    figures
}

/// Whether the run succeeded: class and word.
pub(super) fn verdict(run: &Run) -> (&'static str, &'static str) {
    if !run.problems.is_empty() {
        ("bad", "failed")
    } else if run.interrupted {
        ("warn", "interrupted")
    } else if run.stages.is_empty() {
        ("warn", "nothing measured")
    } else if run.connections_reached < run.connections_wanted {
        ("warn", "fell short")
    } else {
        ("good", "passed")
    }
}

/// What was lost in all stages.
#[derive(Debug, Default, PartialEq, Eq)]
struct Losses {
    /// Deliveries and PINGRESPs.
    messages: u64,
    connections: u64,
    /// Clients that did not do what the stage asked of them: come back, take over, end.
    clients: u64,
}

/// Connections that `fill` did not make are not lost: the headline and the failures have them.
fn losses(run: &Run) -> Losses {
    let mut losses = Losses::default();
    for stage in &run.stages {
        losses.connections = losses.connections.saturating_add(stage.connections_lost);
        match stage.name {
            "fill" => {}
            "storm" | "takeover" | "end" => losses.clients = losses.clients.saturating_add(stage.lost),
            _ => losses.messages = losses.messages.saturating_add(stage.lost),
        }
    }
    losses
}

/// The last stage of that name.
fn last<'a>(run: &'a Run, name: &str) -> Option<&'a Stage> {
    run.stages.iter().rfind(|stage| stage.name == name)
}

/// The broker's CPU per client over all stages `fill` that know it, weighted by their clients.
fn cpu_us_per_connect(run: &Run) -> Option<f64> {
    let known = run.stages.iter().filter(|stage| stage.name == "fill");
    let fills: Vec<_> =
        known.filter_map(|stage| Some((stage.done as f64, stage.broker_cpu_us_each?))).collect();
    let clients: f64 = fills.iter().map(|(done, _)| done).sum();
    let us = fills.iter().map(|(done, us)| done * us).sum::<f64>() / clients;
    us.is_finite().then_some(us)
}

/// A key figure.
#[derive(Debug)]
struct Card {
    name: &'static str,
    value: String,
    detail: String,
    class: &'static str,
}

impl Card {
    fn new(name: &'static str, value: String, detail: String) -> Self {
        Self { name, value, detail, class: "" }
    }
}

/// The key figures, as a row of cards. What was not measured has none.
pub(super) fn cards(run: &Run) -> String {
    let mut cards = vec![held(run)];
    cards.extend(fill(run));
    cards.extend(memory(run));
    cards.extend(cpu_us_per_connect(run).map(|us| {
        Card::new(
            "CPU per connect",
            format::micros(us),
            "of the broker: CONNECT, hand-over, two SUBSCRIBEs".into(),
        )
    }));
    cards.extend(idle(run));
    cards.extend(latency(run, "ping", "PINGREQ, p99"));
    cards.extend(latency(run, "p2p0", "QoS 0 to delivery, p99"));
    cards.extend(latency(run, "p2p1", "QoS 1 to delivery, p99"));
    cards.extend(fanout(run));
    cards.extend(storm(run));
    cards.extend(latency(run, "takeover", "Takeover, p99"));
    cards.push(lost(run));
    let card = |card: &Card| {
        let inner = text("div", "name", card.name)
            + &text("div", &format!("value {}", card.class), &card.value)
            + &text("div", "detail", &card.detail);
        element("div", "card", &inner)
    };
    element("div", "cards", &cards.iter().map(card).collect::<String>())
}

fn held(run: &Run) -> Card {
    let fit =
        run.connections_fit.map(|fit| format!("; {} would fit by the machine check", format::integer(fit)));
    let detail = format!("of {} wanted{}", format::integer(run.connections_wanted), fit.unwrap_or_default());
    let class = if run.connections_reached >= run.connections_wanted { "good" } else { "bad" };
    Card { class, ..Card::new("Connections held", format::integer(run.connections_reached), detail) }
}

fn fill(run: &Run) -> Option<Card> {
    let fills = || run.stages.iter().filter(|stage| stage.name == "fill");
    let seconds: f64 = fills().map(|stage| stage.seconds).sum();
    let done: f64 = fills().map(|stage| stage.done as f64).sum();
    fills().next()?;
    let detail = format!("{} connections a second", format::rounded(done / seconds));
    Some(Card::new("Time to connect all", format::seconds(seconds), detail))
}

fn memory(run: &Run) -> Vec<Card> {
    let Some(memory) = run.memory else { return Vec::new() };
    let mut details = vec!["user space, per connection".to_owned()];
    details
        .extend(memory.broker_empty_bytes.map(|empty| format!("{} when empty", format::bytes(empty as f64))));
    details.extend(
        memory.broker_peak_over_held.map(|peak| format!("peak {} times the held", format::plain(peak))),
    );
    let broker = memory.broker_bytes_per_connection;
    let mut cards: Vec<Card> = broker
        .map(|bytes| Card::new("Broker's memory", bytes_each(bytes), details.join("; ")))
        .into_iter()
        .collect();
    let end =
        if memory.both_ends_here { "slabs per connection, one of both ends" } else { "slabs per connection" };
    cards.push(Card::new("Kernel's memory", bytes_each(memory.kernel_bytes_per_connection), end.into()));
    cards
}

fn idle(run: &Run) -> Option<Card> {
    let hold = last(run, "hold")?;
    let share = hold.broker_cpu_s? / hold.seconds;
    let pings = format::counted(hold.keep_alive_pings, "keep-alive PINGREQ", "keep-alive PINGREQs");
    let detail = format!("of a core, {pings} answered in {}", format::seconds(hold.seconds));
    Some(Card::new("Broker's CPU, idle", format::percent(share), detail))
}

fn measured(latency: Option<&Latency>) -> Option<&Latency> {
    latency.filter(|latency| latency.count > 0)
}

fn latency(run: &Run, stage: &str, name: &'static str) -> Option<Card> {
    let stage = last(run, stage)?;
    let latency = measured(stage.latency.as_ref())?;
    let mut details = vec![
        format!("p50 {}", format::micros(latency.p50_us as f64)),
        format!("max {}", format::micros(latency.max_us as f64)),
        format!("{} a second", format::rounded(stage.per_s)),
    ];
    details.extend(stage.broker_cpu_us_each.map(|us| format!("CPU {} each", format::micros(us))));
    Some(Card::new(name, format::micros(latency.p99_us as f64), details.join(" · ")))
}

fn fanout(run: &Run) -> Option<Card> {
    let stage = last(run, "fanout")?;
    let until_last = measured(stage.second_latency.as_ref())?;
    let name = "Fan-out until the last, p50";
    let (max, len) = (format::micros(until_last.max_us as f64), format::integer(run.conditions.group_len));
    Some(Card::new(name, format::micros(until_last.p50_us as f64), format!("max {max} · {len} subscribers")))
}

fn storm(run: &Run) -> Option<Card> {
    let stage = last(run, "storm")?;
    let mut detail = format!("until {} were back", format::counted(stage.done, "client", "clients"));
    if let Some(others) = measured(stage.latency.as_ref()) {
        detail += &format!("; the others' longest PINGRESP {}", format::micros(others.max_us as f64));
    }
    Some(Card::new("Reconnect storm", format::seconds(stage.seconds), detail))
}

fn lost(run: &Run) -> Card {
    let losses = losses(run);
    let class = if losses == Losses::default() { "good" } else { "bad" };
    let connections = format::counted(losses.connections, "connection", "connections");
    let clients = format::counted(losses.clients, "client", "clients");
    let detail = format!("and {connections}; {clients} not back or not ended");
    Card { class, ..Card::new("Lost", format::counted(losses.messages, "message", "messages"), detail) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill_of(done: u64, us: Option<f64>) -> Stage {
        Stage { name: "fill", done, seconds: 1.0, broker_cpu_us_each: us, ..Stage::default() }
    }

    #[test]
    fn the_headline_says_what_was_reached() {
        let mut run = Run { connections_wanted: 1_000_000, connections_reached: 999_000, ..Run::default() };
        assert_eq!(headline(&run), "999,000 of 1,000,000 connections held");
        assert_eq!(figures(&run), ["0 failures"]);
        run.failures.insert("closed".into(), 1);
        let of = |name, lost, connections_lost| Stage { name, lost, connections_lost, ..Stage::default() };
        run.stages = vec![of("fill", 1000, 0), of("p2p1", 2, 0), of("storm", 1, 3)];
        let lost = ["2 messages lost", "3 connections lost", "1 client not back or not ended"];
        assert_eq!(figures(&run)[1..], lost, "what fill did not reach is in the headline");
        assert_eq!(figures(&run)[0], "1 failure");
    }

    #[test]
    fn cpu_per_connect_is_weighted_by_clients() {
        let mut run =
            Run { stages: vec![fill_of(100, Some(60.0)), fill_of(900, Some(30.0))], ..Run::default() };
        assert_eq!(cpu_us_per_connect(&run), Some(33.0));
        run.stages = vec![fill_of(100, None)];
        assert_eq!(cpu_us_per_connect(&run), None);
        run.stages = vec![fill_of(0, Some(1.0))];
        assert_eq!(cpu_us_per_connect(&run), None);
    }

    #[test]
    fn only_a_run_that_reached_all_has_passed() {
        let mut run = Run { connections_wanted: 5, ..Run::default() };
        assert_eq!(verdict(&run).1, "nothing measured");
        run.stages = vec![fill_of(5, None)];
        assert_eq!(verdict(&run).1, "fell short");
        run.connections_reached = 5;
        assert_eq!(verdict(&run).1, "passed");
        run.interrupted = true;
        assert_eq!(verdict(&run).1, "interrupted");
        run.problems.push("lost".into());
        assert_eq!(verdict(&run).1, "failed");
    }
}
