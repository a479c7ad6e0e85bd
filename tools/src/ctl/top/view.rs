//! One frame of `top`: the node in two lines, what flows with its last minutes, a bar a shard, who falls behind.

use std::collections::VecDeque;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Sparkline};
use serde_json::Value;

use super::sample::{Flow, Rates, Sample};
use crate::print::units::{bytes, seconds, short};
use crate::print::{cut, visible};

/// Points of the plots that are kept: wider than any terminal.
const POINTS_MAX: usize = 512;

/// Shards and slow clients that a frame shows at most.
const LINES_MAX: usize = 64;

/// The last rates.
#[derive(Default)]
pub(super) struct History {
    received: VecDeque<u64>,
    sent: VecDeque<u64>,
}

impl History {
    pub(super) fn add(&mut self, rates: &Rates) {
        for (points, rate) in [(&mut self.received, rates.node.received), (&mut self.sent, rates.node.sent)] {
            points.push_back(rate as u64);
            if points.len() > POINTS_MAX {
                points.pop_front();
            }
        }
    }
}

/// What a frame shows.
pub(super) struct View<'v> {
    pub(super) sample: &'v Sample,
    pub(super) rates: &'v Rates,
    pub(super) history: &'v History,
    /// Why there is nothing newer.
    pub(super) problem: Option<&'v str>,
    /// Which keys there are.
    pub(super) hint: &'static str,
}

const TITLE: Style = Style::new().add_modifier(Modifier::BOLD);
const QUIET: Style = Style::new().fg(Color::DarkGray);
const ALARM: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);

impl View<'_> {
    pub(super) fn draw(&self, frame: &mut Frame<'_>) {
        let shards = u16::try_from(self.sample.shards.len().min(LINES_MAX)).unwrap_or(1);
        let warnings = self.warnings();
        let [head, warned, flow, balance, slow] = Layout::vertical([
            Constraint::Length(3),
            Constraint::Length(u16::try_from(warnings.len()).unwrap_or(0)),
            Constraint::Length(5),
            Constraint::Length(shards + 2),
            Constraint::Min(0),
        ])
        .areas(frame.area());
        frame.render_widget(Paragraph::new(self.head()), head);
        frame.render_widget(Paragraph::new(warnings), warned);
        self.draw_flow(frame, flow);
        frame.render_widget(Paragraph::new(self.balance(balance.width)), balance);
        frame.render_widget(Paragraph::new(self.slow(slow.width)), slow);
    }

    fn head(&self) -> Vec<Line<'static>> {
        let node = &self.sample.node;
        let text = |key: &str| visible(node[key].as_str().unwrap_or("?"));
        let count = |key: &str| node[key].as_u64().unwrap_or(0);
        let mut title = vec![
            Span::styled(text("name"), TITLE),
            Span::raw(format!("  myriad {}, up for {}", text("version"), seconds(count("uptime_s")))),
        ];
        title.push(Span::styled(self.hint, QUIET));
        let storage = node["storage"]["durability"].as_str().map_or("memory".into(), visible);
        vec![
            Line::from(title),
            Line::from(format!(
                "{} of {} connections, {} sessions, {} subscriptions, {} retained",
                short(count("connections") as f64),
                short(count("connections_max") as f64),
                short(count("sessions") as f64),
                short(count("subscriptions") as f64),
                short(count("retained") as f64),
            )),
            Line::from(format!(
                "memory {}, CPU of shards {:.0} %, storage {storage}, {} queued, {} inflight",
                bytes(count("memory_bytes")),
                self.rates.node.cpu_percent,
                short(self.sample.sum("queued") as f64),
                short(self.sample.sum("inflight") as f64),
            )),
        ]
    }

    fn warnings(&self) -> Vec<Line<'static>> {
        let node = &self.sample.node;
        let mut warnings: Vec<String> = self.problem.map(visible).into_iter().collect();
        if node["storage"]["is_down"] == true {
            warnings.push("the disk is full or failed: nothing is stored".into());
        }
        if node["draining"] == true {
            warnings.push("the broker drains: clients are sent away".into());
        }
        let message = |alarm: &Value| alarm["message"].as_str().or(alarm["id"].as_str()).map(visible);
        warnings.extend(self.sample.alarms.iter().filter_map(message).take(5));
        warnings.into_iter().map(|text| Line::styled(format!("! {text}"), ALARM)).collect()
    }

    fn draw_flow(&self, frame: &mut Frame<'_>, area: Rect) {
        let [_, received, sent, dropped] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(1),
            Constraint::Length(1),
            Constraint::Min(0),
        ])
        .areas(area);
        let flow = &self.rates.node;
        let lines = [
            (received, "received", flow.received, flow.bytes_received, &self.history.received),
            (sent, "sent", flow.sent, flow.bytes_sent, &self.history.sent),
        ];
        for (area, name, messages, octets, points) in lines {
            let [text, plot] = Layout::horizontal([Constraint::Length(44), Constraint::Min(0)]).areas(area);
            let figures =
                format!("{name:<9} {:>8} messages/s {:>12}/s", short(messages), bytes(octets as u64));
            frame.render_widget(Paragraph::new(figures), text);
            let shown = points.len().min(usize::from(plot.width));
            let recent = points.iter().skip(points.len() - shown).copied();
            frame.render_widget(Sparkline::default().data(recent.collect::<Vec<_>>()), plot);
        }
        let text = format!("dropped   {:>8} messages/s", short(flow.dropped));
        let style = if flow.dropped > 0.0 { ALARM } else { Style::new() };
        frame.render_widget(Paragraph::new(Line::styled(text, style)), dropped);
    }

    /// A line a shard: its share of the messages as a bar.
    fn balance(&self, width: u16) -> Vec<Line<'static>> {
        let busy = |flow: &Flow| flow.received + flow.sent;
        let most = self.rates.shards.iter().map(busy).fold(0.0, f64::max);
        let room = usize::from(width).saturating_sub(58).max(4);
        let mut lines =
            vec![Line::styled("SHARD   CLIENTS   IN/s      OUT/s     QUEUED    MAILBOX   CPU", QUIET)];
        for (shard, flow) in self.sample.shards.iter().zip(&self.rates.shards).take(LINES_MAX) {
            let count = |key: &str| short(shard[key].as_u64().unwrap_or(0) as f64);
            let filled = if most > 0.0 { (busy(flow) / most * room as f64).round() as usize } else { 0 };
            lines.push(Line::from(format!(
                "{:<7} {:<9} {:<9} {:<9} {:<9} {:<9} {:>3.0} % {}",
                shard["shard"].as_u64().unwrap_or(0),
                count("clients"),
                short(flow.received),
                short(flow.sent),
                count("queued"),
                count("mailbox"),
                flow.cpu_percent,
                "█".repeat(filled.min(room)),
            )));
        }
        lines
    }

    fn slow(&self, width: u16) -> Vec<Line<'static>> {
        if self.sample.slow.is_empty() {
            return Vec::new();
        }
        let mut lines = vec![Line::styled("WAITING       QUEUED    DROPPED   SLOWEST CLIENTS", QUIET)];
        for client in self.sample.slow.iter().take(LINES_MAX) {
            let count = |key: &str| client[key].as_u64().unwrap_or(0);
            let name = visible(client["client_id"].as_str().unwrap_or("?"));
            lines.push(Line::from(format!(
                "{:<13} {:<9} {:<9} {}",
                bytes(count("outbound_bytes")),
                short(count("queued") as f64),
                short(count("dropped") as f64),
                cut(&name, usize::from(width).saturating_sub(35).max(8)),
            )));
        }
        lines
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Instant;

    use super::super::frame;
    use super::super::sample::tests::sample;
    use super::*;

    #[test]
    fn a_frame_has_the_node_its_flow_its_shards_and_what_is_wrong() {
        let start = Instant::now();
        let (before, now) = (sample(start, 0, 0), sample(start, 1000, 20_000));
        let rates = Rates::between(&before, &now);
        let mut history = History::default();
        history.add(&rates);
        let view = View { sample: &now, rates: &rates, history: &history, problem: None, hint: "" };
        let text = frame(&view, 100, 40).unwrap();
        for part in [
            "myriad@host  myriad 0.1.0, up for 1 h 1 m",
            "12.3 k of 1.00 M connections, 20.0 k sessions",
            "! memory is high",
            "received    20.0 k messages/s",
            "slow\\u{1b}[2J",
            "██",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        // The busy shard has the long bar, the other none.
        let bar =
            |shard: &str| text.lines().find(|line| line.starts_with(shard)).unwrap().matches('█').count();
        assert!(bar("0  ") > 10 && bar("1  ") == 0, "{text}");
        // A window too small for anything does not end the program.
        for (width, height) in [(1, 1), (10, 3), (300, 100)] {
            frame(&view, width, height).unwrap();
        }
    }
}
