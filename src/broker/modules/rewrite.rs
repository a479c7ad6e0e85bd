//! Topics that mean other topics (`[[rewrite]]`). The first rule that matches counts and its result is not rewritten again; a
//! result that is no topic, or one that a client may not name, leaves the original and is counted. Within a mountpoint rules
//! see topics as the client names them.

use regex::{Captures, Regex};

use super::super::Broker;
use super::super::publish::is_brokers_own;
use super::Names;
use crate::config::{Config, Rewrite};
use crate::session::ConnectionId;
use crate::topic::{self, TopicLimits};

/// In which packet a topic stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::broker) enum PacketKind {
    /// PUBLISH, and the Will of a CONNECT.
    Publish,
    Subscribe,
    Unsubscribe,
}

impl PacketKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
        }
    }
}

/// A part of a rule's result.
#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Group(usize),
    ClientId,
    Username,
}

#[derive(Debug)]
struct Rule {
    topic: String,
    pattern: Regex,
    to: Vec<Piece>,
    on: Vec<String>,
}

/// All rules, ready to use.
#[derive(Debug, Default)]
pub(super) struct Rewrites(Vec<Rule>);

/// Prefixes that a result may not have: they would make something else of it than a plain topic or filter.
const RESERVED: [&str; 4] = ["$share/", "$queue/", "$local/", "$delayed/"];

impl Rewrites {
    pub(super) fn new(config: &Config) -> Self {
        let rule = |rule: &Rewrite| {
            // The configuration was checked: a pattern that is none is not here, and this one is compiled. A copy shares the
            // program, and has memory of its own to match in: shards do not wait for each other's.
            let pattern = rule.compile().ok()?.clone();
            Some(Rule { topic: rule.topic.clone(), pattern, to: pieces(&rule.to), on: rule.on.clone() })
        };
        Self(config.rewrites.iter().filter_map(rule).collect())
    }

    /// What a topic becomes. `None`: no rule is for it; `Some(None)`: a rule is, and its result can't be made.
    fn apply(&self, kind: PacketKind, topic: &str, names: Names<'_>) -> Option<Option<String>> {
        self.0.iter().find_map(|rule| {
            if !rule.on.iter().any(|packet| packet == kind.name()) || !topic::matches(&rule.topic, topic) {
                return None;
            }
            let captures = rule.pattern.captures(topic)?;
            Some(join(&rule.to, &captures, names))
        })
    }
}

fn join(to: &[Piece], captures: &Captures<'_>, names: Names<'_>) -> Option<String> {
    let mut joined = String::new();
    for piece in to {
        joined.push_str(match piece {
            Piece::Text(text) => text,
            Piece::Group(group) => captures.get(*group).map_or("", |found| found.as_str()),
            Piece::ClientId => names.client_id()?,
            Piece::Username => names.username()?,
        });
    }
    Some(joined)
}

/// Takes the result of a rule apart.
fn pieces(to: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = to;
    while let Some(at) = rest.find(['$', '%']) {
        let (before, variable) = rest.split_at(at);
        let piece = match variable.as_bytes() {
            [b'$', digit @ b'1'..=b'9', ..] => Some(Piece::Group(usize::from(digit - b'0'))),
            [b'%', b'c', ..] => Some(Piece::ClientId),
            [b'%', b'u', ..] => Some(Piece::Username),
            _ => None,
        };
        let len = if piece.is_some() { 2 } else { 1 };
        let (name, after) = variable.split_at(len);
        push_text(&mut pieces, before);
        match piece {
            Some(piece) => pieces.push(piece),
            None => push_text(&mut pieces, name),
        }
        rest = after;
    }
    push_text(&mut pieces, rest);
    pieces
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        Some(Piece::Text(before)) => before.push_str(text),
        _ if text.is_empty() => {}
        _ => pieces.push(Piece::Text(text.to_owned())),
    }
}

impl Broker {
    /// What a topic or filter of a client (but of no bridge) means by the rules; `None`: itself. `client_id`: of a client whose session is not there
    /// yet. The filter of a Shared Subscription is given without its `$share/{ShareName}/`.
    pub(in crate::broker) fn rewritten(
        &self,
        id: ConnectionId,
        client_id: Option<&str>,
        kind: PacketKind,
        topic: &str,
    ) -> Option<String> {
        let rules = &self.modules.rewrites;
        if rules.0.is_empty() || self.is_bridge(id) || !is_valid(kind, topic, &TopicLimits::default()) {
            return None;
        }
        let result = rules.apply(kind, topic, self.names_of(id, client_id)?)?;
        let config = self.config();
        let limits =
            TopicLimits { len_max: config.limits.topic_len_max, levels_max: config.limits.topic_levels_max };
        let usable = result.filter(|result| {
            is_valid(kind, result, &limits)
                && !RESERVED.iter().any(|prefix| result.starts_with(prefix))
                && !(kind == PacketKind::Publish && is_brokers_own(result))
        });
        match &usable {
            Some(_) => self.metrics().topics_rewritten.inc(),
            None => self.metrics().topics_not_rewritten.inc(),
        }
        usable
    }
}

fn is_valid(kind: PacketKind, topic: &str, limits: &TopicLimits) -> bool {
    match kind {
        PacketKind::Publish => topic::check_name(topic, limits).is_ok(),
        PacketKind::Subscribe | PacketKind::Unsubscribe => topic::check_filter(topic, limits).is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: Names<'static> = Names { client_id: "c1", username: Some("bob") };

    fn rules(rules: &[(&str, &str, &str, &[&str])]) -> Rewrites {
        let rewrites = rules.iter().map(|(topic, pattern, to, on)| Rewrite {
            topic: (*topic).into(),
            pattern: (*pattern).into(),
            to: (*to).into(),
            on: on.iter().map(ToString::to_string).collect(),
            ..Rewrite::default()
        });
        Rewrites::new(&Config { rewrites: rewrites.collect(), ..Config::default() })
    }

    fn applied(to: &str, names: Names<'_>) -> Option<Option<String>> {
        rules(&[("#", "^x/(.+)/(.*)$", to, &["publish"])]).apply(PacketKind::Publish, "x/a%cb/$1", names)
    }

    #[test]
    fn the_first_rule_that_matches_counts() {
        let all = &Rewrite::PACKETS;
        let rules = rules(&[
            ("x/#", "^x/y/(.+)$", "z/y/$1", all),
            ("x/#", "^x/(.+)$", "w/$1", &["subscribe"]),
            ("#", ".", "never/$1", &[]),
        ]);
        let apply = |kind, topic| rules.apply(kind, topic, NAMES).flatten();
        assert_eq!(apply(PacketKind::Publish, "x/y/1").as_deref(), Some("z/y/1"));
        assert_eq!(apply(PacketKind::Publish, "x/1"), None);
        assert_eq!(apply(PacketKind::Subscribe, "x/+/#").as_deref(), Some("w/+/#"));
        assert_eq!(apply(PacketKind::Unsubscribe, "y"), None);
    }

    #[test]
    fn what_clients_say_is_not_taken_for_a_variable() {
        assert_eq!(applied("%u/%c/$2/$1", NAMES).flatten().as_deref(), Some("bob/c1/$1/a%cb"));
        assert_eq!(applied("100%/$/$x%", NAMES).flatten().as_deref(), Some("100%/$/$x%"));
    }

    #[test]
    fn names_are_one_level_or_nothing_is_made_of_them() {
        for names in [Names { username: None, ..NAMES }, Names { username: Some("a/b"), ..NAMES }] {
            assert_eq!(applied("%u/t", names), Some(None));
        }
        assert_eq!(applied("%c", Names { client_id: "#", ..NAMES }), Some(None));
    }
}
