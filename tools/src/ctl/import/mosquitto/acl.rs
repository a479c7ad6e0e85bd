//! Mosquitto's acl_file as emqttd's `acl.conf`. Mosquitto: what is not allowed is denied, a `deny` wins wherever it stands, lines before
//! the first `user` are for clients without a name, `pattern` is for all. Here the first rule that speaks of a topic decides, so
//! denials come first, then what users may, then that users may nothing else, then what the nameless may.

use std::fmt::Write;

use myriad::acl::Acl;

use super::super::draft::{Draft, Fate, Origin};

/// For whom a line is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Who {
    Nameless,
    User(String),
    All,
}

#[derive(Debug)]
struct Rule {
    who: Who,
    is_allowed: bool,
    access: &'static str,
    topic: String,
}

/// Reads the file and adds `acl.conf`.
pub(super) fn import(origin: &Origin, path: &str, has_auth: bool, draft: &mut Draft) {
    draft.put("acl", "no_match", "deny", &origin.line);
    let found = draft.find(path);
    let text = match super::super::read(&found) {
        Ok(text) => text,
        Err(error) => {
            let why = format!(
                "{error:#}: nobody may publish or subscribe until acl.file is there; import where the file is"
            );
            return draft.note(origin, Fate::Unmapped, why);
        }
    };
    let rules = read(&text, &found.to_string_lossy(), draft);
    if !has_auth && rules.iter().any(|rule| matches!(rule.who, Who::User(_))) {
        draft.note(
            origin,
            Fate::Changed,
            "rules of users hold for User Names that were verified: without password_file nobody has one",
        );
    }
    let conf = render(&rules, path);
    if let Err(error) = Acl::parse(&conf) {
        return draft.note(
            origin,
            Fate::Unmapped,
            format!("its rules can't be written as acl.conf: {error}"),
        );
    }
    let file = draft.file("acl.conf", conf);
    draft.put("acl", "file", file, &origin.line);
    draft.note(
        origin,
        Fate::Changed,
        "as acl.conf: a SUBSCRIBE to a filter that reaches further than a rule is refused; Mosquitto grants it and delivers what is allowed",
    );
}

fn read(text: &str, name: &str, draft: &mut Draft) -> Vec<Rule> {
    let (mut who, mut rules) = (Who::Nameless, Vec::new());
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let origin = Origin { place: format!("{name}:{}", number + 1), line: line.into() };
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        let whose = match word {
            "user" if !rest.is_empty() => {
                who = Who::User(rest.into());
                draft.note(&origin, Fate::Mapped, "");
                continue;
            }
            "topic" => who.clone(),
            "pattern" => Who::All,
            _ => {
                draft.note(&origin, Fate::Unmapped, "expected user, topic or pattern");
                continue;
            }
        };
        match rule(whose, word == "pattern", rest) {
            Ok(rule) => {
                rules.push(rule);
                draft.note(&origin, Fate::Mapped, "");
            }
            Err(why) => draft.note(&origin, Fate::Unmapped, why),
        }
    }
    rules
}

fn rule(who: Who, is_pattern: bool, rest: &str) -> Result<Rule, &'static str> {
    let (kind, topic) = rest.split_once(char::is_whitespace).unwrap_or(("", rest));
    let (is_allowed, access, topic) = match kind {
        "read" => (true, "subscribe", topic),
        "write" => (true, "publish", topic),
        "readwrite" => (true, "pubsub", topic),
        "deny" => (false, "pubsub", topic),
        // A topic may have blanks.
        _ => (true, "pubsub", rest),
    };
    let topic = topic.trim();
    if topic.is_empty() {
        return Err("the topic is missing");
    }
    let is_variable = |level: &str| matches!(level, "%c" | "%u");
    let mut levels = topic.split('/');
    if is_pattern
        && topic.split('/').any(|level| !is_variable(level) && (level.contains("%c") || level.contains("%u")))
    {
        return Err("%c and %u have to be whole levels");
    }
    if !is_pattern && levels.any(|level| is_variable(level) || matches!(level, "$c" | "$u")) {
        return Err(
            "%c, %u, $c and $u stand for the client in acl.conf: this topic can't be meant literally",
        );
    }
    Ok(Rule { who, is_allowed, access, topic: topic.into() })
}

fn render(rules: &[Rule], path: &str) -> String {
    let mut out = format!(
        "%% Made by `myriadctl import` from {path}. The first rule that speaks of a topic decides.\n"
    );
    let mut part = |title: &str, chosen: &dyn Fn(&Rule) -> bool| {
        let mut chosen = rules.iter().filter(|rule| chosen(rule)).peekable();
        if chosen.peek().is_some() {
            let _ = writeln!(out, "\n%% {title}");
        }
        for rule in chosen {
            let who = match &rule.who {
                Who::User(name) => format!("{{user, {}}}", quoted(name)),
                Who::Nameless | Who::All => "all".into(),
            };
            let permission = if rule.is_allowed { "allow" } else { "deny" };
            let _ = writeln!(out, "{{{permission}, {who}, {}, [{}]}}.", rule.access, quoted(&rule.topic));
        }
    };
    let is_named = |rule: &Rule| rule.who != Who::Nameless;
    part("What users, and everybody, may not.", &|rule| is_named(rule) && !rule.is_allowed);
    part("What they may.", &|rule| is_named(rule) && rule.is_allowed);
    if rules.iter().any(|rule| rule.who == Who::Nameless) {
        // Two filters: wildcards do not reach topics that begin with $.
        let _ = writeln!(
            out,
            "\n%% Who has a name may nothing else.\n{{deny, {{user, all}}, pubsub, [\"#\", \"$SYS/#\"]}}."
        );
    }
    for (title, wanted) in [("What clients without a name may not.", false), ("What they may.", true)] {
        let mut chosen =
            rules.iter().filter(|rule| rule.who == Who::Nameless && rule.is_allowed == wanted).peekable();
        if chosen.peek().is_some() {
            let _ = writeln!(out, "\n%% {title}");
        }
        for rule in chosen {
            let permission = if wanted { "allow" } else { "deny" };
            let _ = writeln!(out, "{{{permission}, all, {}, [{}]}}.", rule.access, quoted(&rule.topic));
        }
    }
    let _ = writeln!(out, "\n%% The rest nobody may.\n{{deny, all}}.");
    out
}

/// As an Erlang string.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use myriad::acl::{Acl, Action, Client, Permission};

    use super::*;

    const FILE: &str = "\
topic read public/#
topic deny public/secret

user alice
topic readwrite homes/alice/#
topic deny homes/alice/safe
topic write a \"b\"\\c

user bob
topic read $SYS/#

pattern write devices/%c/up
pattern read devices/%u/down/#
";

    fn decided() -> Acl {
        let mut draft = Draft::new(Path::new("m.conf"), None);
        let rules = read(FILE, "acl", &mut draft);
        assert!(draft.notes.iter().all(|note| note.fate == Fate::Mapped), "{:?}", draft.notes);
        Acl::parse(&render(&rules, "acl")).unwrap()
    }

    fn may(acl: &Acl, user: Option<&str>, action: Action, topic: &str) -> bool {
        let client = Client { client_id: "dev", username: user, address: [10, 0, 0, 1].into() };
        acl.check(&client, action, topic) == Some(Permission::Allow)
    }

    #[test]
    fn the_rules_mean_what_mosquitto_means() {
        let (acl, read, write) = (decided(), Action::Subscribe, Action::Publish);
        for (user, action, topic, expected) in [
            (None, read, "public/news", true),
            (None, write, "public/news", false),
            (None, read, "public/secret", false),
            (None, read, "homes/alice/tv", false),
            // Lines before the first user are for nobody who has a name.
            (Some("alice"), read, "public/news", false),
            (Some("alice"), write, "homes/alice/tv", true),
            (Some("alice"), write, "homes/alice/safe", false),
            (Some("alice"), write, "a \"b\"\\c", true),
            (Some("alice"), read, "a \"b\"\\c", false),
            (Some("alice"), read, "$SYS/brokers", false),
            (Some("bob"), read, "$SYS/brokers", true),
            (Some("bob"), write, "homes/alice/tv", false),
            (Some("bob"), write, "devices/dev/up", true),
            (None, write, "devices/dev/up", true),
            (Some("bob"), write, "devices/other/up", false),
            (Some("bob"), read, "devices/bob/down/1", true),
            (Some("eve"), read, "devices/bob/down/1", false),
        ] {
            assert_eq!(may(&acl, user, action, topic), expected, "{user:?} {action:?} {topic}");
        }
    }

    #[test]
    fn what_has_no_meaning_is_named() {
        let mut draft = Draft::new(Path::new("m.conf"), None);
        let rules = read("topic\ntopic read x/%c\npattern read x%c\nuser\nfoo bar\n", "acl", &mut draft);
        assert!(rules.is_empty());
        let places: Vec<_> = draft.notes.iter().map(|note| (note.place.as_str(), note.fate)).collect();
        assert_eq!(
            places,
            (1..=5)
                .map(|n| format!("acl:{n}"))
                .collect::<Vec<_>>()
                .iter()
                .map(|p| (p.as_str(), Fate::Unmapped))
                .collect::<Vec<_>>()
        );
    }
}
