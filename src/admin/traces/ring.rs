//! The last events of a trace, for who reads them over the API.

use std::collections::VecDeque;

use crate::broker::TraceEvent;
use crate::metrics::rfc3339;

/// Events that are remembered.
const LINES_MAX: usize = 10_000;
/// Bytes of them.
const BYTES_MAX: usize = 2 * 1024 * 1024;

/// An event of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    seq: u64,
    at_ms: u64,
    client_id: Box<str>,
    mountpoint: Box<str>,
    event: &'static str,
    text: Box<str>,
}

impl Line {
    /// The `seq`th event of a trace, at this moment of Unix time. What could end a line or steer a terminal is replaced.
    pub(super) fn new(seq: u64, at_ms: u64, event: &TraceEvent) -> Self {
        let plain = |text: &str| -> Box<str> {
            text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
        };
        Self {
            seq,
            at_ms,
            client_id: plain(&event.client_id),
            mountpoint: plain(&event.mountpoint),
            event: event.event,
            text: plain(&event.text),
        }
    }

    /// Its number within the trace, from 1.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// When, in RFC 3339.
    pub fn at(&self) -> String {
        rfc3339(self.at_ms)
    }

    /// Whose connection.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Within which mountpoint that client lives; empty: none.
    pub fn mountpoint(&self) -> &str {
        &self.mountpoint
    }

    /// In a word.
    pub fn event(&self) -> &'static str {
        self.event
    }

    /// What exactly.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// As it stands in a file.
    pub(super) fn text_line(&self) -> String {
        let line = format!("{} {} {} {}", self.at(), self.client_id, self.event, self.text);
        // At the end: what stands before has its place.
        if self.mountpoint.is_empty() { line } else { format!("{line} mountpoint={}", self.mountpoint) }
    }

    fn len(&self) -> usize {
        size_of::<Self>() + self.client_id.len() + self.mountpoint.len() + self.text.len()
    }
}

/// The last events.
#[derive(Debug, Default)]
pub(super) struct Ring {
    lines: VecDeque<Line>,
    bytes: usize,
}

impl Ring {
    /// One more; older ones go where there is no room.
    pub(super) fn push(&mut self, line: Line) {
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.lines.len() > LINES_MAX || self.bytes > BYTES_MAX {
            let Some(gone) = self.lines.pop_front() else { return };
            self.bytes -= gone.len();
        }
    }

    /// Those with a higher number, oldest first.
    pub(super) fn after(&self, seq: u64, limit: usize) -> Vec<Line> {
        let from = self.lines.partition_point(|line| line.seq <= seq);
        self.lines.range(from..).take(limit).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_events_make_room_for_newer_ones() {
        let mut ring = Ring::default();
        let event = |text: &str| TraceEvent {
            traces: std::iter::empty().collect(),
            client_id: "c".into(),
            mountpoint: "".into(),
            event: "sent",
            text: text.into(),
        };
        (1..=20_000).for_each(|seq| ring.push(Line::new(seq, 0, &event("x"))));
        assert_eq!(ring.after(0, usize::MAX).len(), LINES_MAX);
        assert_eq!(ring.after(19_998, 5).iter().map(Line::seq).collect::<Vec<_>>(), [19_999, 20_000]);
        let long = "x".repeat(1024 * 1024);
        (0..5).for_each(|n| ring.push(Line::new(20_001 + n, 0, &event(&long))));
        assert_eq!(ring.lines.len(), 1);
    }
}
