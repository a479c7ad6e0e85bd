//! Erlang terms of emqttd.config as options with dotted names.

use anyhow::{Result, bail};

use super::super::draft::Origin;
use super::Entry;

/// Deepest nesting.
const DEPTH_MAX: usize = 64;

/// A term and the line on which it begins.
#[derive(Debug, Clone, PartialEq)]
struct Term {
    line: u32,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    /// An atom or a number, as it is written.
    Word(String),
    /// A string or a binary.
    Text(String),
    Tuple(Vec<Term>),
    List(Vec<Term>),
}

/// The options of an emqttd.config, in order.
///
/// # Errors
/// The line, and what was expected there.
pub(super) fn entries(text: &str, name: &str) -> Result<Vec<Entry>> {
    let mut reader = Reader { rest: text.trim_start_matches('\u{feff}'), line: 1 };
    reader.skip();
    let config = reader.term(0)?;
    reader.skip();
    reader.expect('.')?;
    reader.skip();
    if !reader.rest.is_empty() {
        bail!("line {}: something follows the full stop", reader.line);
    }
    let Kind::List(applications) = &config.kind else {
        bail!("line {}: expected the list of applications, [{{emqttd, […]}}]", config.line);
    };
    let mut flat = Flat { name, entries: Vec::new() };
    for application in applications {
        match pair(application) {
            Some(("emqttd", Term { kind: Kind::List(options), .. })) => flat.options("", options),
            Some((other, value)) => {
                flat.push(&format!("application.{other}"), String::new(), application.line, value)
            }
            None => flat.push("application.?", application.shown(), application.line, application),
        }
    }
    Ok(flat.entries)
}

/// `{name, Value}`
fn pair(term: &Term) -> Option<(&str, &Term)> {
    match &term.kind {
        Kind::Tuple(parts) => match parts.as_slice() {
            [Term { kind: Kind::Word(name), .. }, value] => Some((name, value)),
            _ => None,
        },
        _ => None,
    }
}

struct Flat<'n> {
    name: &'n str,
    entries: Vec<Entry>,
}

impl Flat<'_> {
    fn push(&mut self, key: &str, value: String, line: u32, term: &Term) {
        let shown = format!("{{{}, {}}}", key.rsplit('.').next().unwrap_or(key), cut(&term.shown()));
        let shown = if key.contains("password") || key.contains("cookie") {
            format!("{{{key}, ***}}")
        } else {
            shown
        };
        let origin = Origin { place: format!("{}:{line}", self.name), line: shown };
        self.entries.push(Entry { key: key.into(), value, origin });
    }

    fn options(&mut self, path: &str, options: &[Term]) {
        for option in options {
            match (path, pair(option)) {
                ("", Some(("listeners", Term { kind: Kind::List(listeners), .. }))) => {
                    listeners
                        .iter()
                        .enumerate()
                        .for_each(|(number, listener)| self.listener(number, listener));
                }
                // Their values are no lists of options.
                ("access.auth" | "modules", Some((name, value))) => {
                    self.push(&format!("{path}.{name}"), value.shown(), option.line, value);
                    if let Kind::List(options) = &value.kind {
                        self.options(&format!("{path}.{name}"), options);
                    }
                }
                (_, Some((name, value))) => {
                    let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                    match &value.kind {
                        Kind::List(inner) if inner.iter().any(|term| pair(term).is_some()) => {
                            self.options(&path, inner)
                        }
                        _ => self.push(&path, value.value(), option.line, value),
                    }
                }
                (_, None) => self.push(&format!("{path}.entry"), option.shown(), option.line, option),
            }
        }
    }

    /// `{mqtt, 1883, [Option, …]}` as `listener.tcp.N = 1883` and `listener.tcp.N.…`
    fn listener(&mut self, number: usize, term: &Term) {
        let Kind::Tuple(parts) = &term.kind else {
            return self.push("listeners.entry", term.shown(), term.line, term);
        };
        let [Term { kind: Kind::Word(protocol), .. }, place, Term { kind: Kind::List(options), .. }] =
            parts.as_slice()
        else {
            return self.push("listeners.entry", term.shown(), term.line, term);
        };
        let protocol = match protocol.as_str() {
            "mqtt" => "tcp",
            "mqtts" => "ssl",
            "http" => "ws",
            "https" => "wss",
            other => other,
        };
        let base = format!("listener.{protocol}.{number}");
        let bound = match &place.kind {
            Kind::Tuple(parts) => parts.iter().map(Term::value).collect::<Vec<_>>().join(":"),
            _ => place.value(),
        };
        let shown = Term { line: term.line, kind: Kind::Word(format!("{protocol} {bound}")) };
        self.push(&base, bound, term.line, &shown);
        for option in options {
            match pair(option) {
                Some(("access", Term { kind: Kind::List(rules), .. })) => {
                    for (at, rule) in rules.iter().enumerate() {
                        let words = match &rule.kind {
                            Kind::Tuple(parts) => parts.iter().map(Term::value).collect::<Vec<_>>().join(" "),
                            _ => rule.value(),
                        };
                        self.push(&format!("{base}.access.{}", at + 1), words, rule.line, rule);
                    }
                }
                Some(("connopts" | "sockopts" | "ssl", Term { kind: Kind::List(inner), .. })) => {
                    for option in inner {
                        match pair(option) {
                            Some((name, value)) => {
                                self.push(&format!("{base}.{name}"), value.value(), option.line, value)
                            }
                            None => self.push(
                                &format!("{base}.{}", option.shown()),
                                String::new(),
                                option.line,
                                option,
                            ),
                        }
                    }
                }
                Some((name, value)) => {
                    self.push(&format!("{base}.{name}"), value.value(), option.line, value)
                }
                None => self.push(&format!("{base}.{}", option.shown()), String::new(), option.line, option),
            }
        }
    }
}

fn cut(text: &str) -> String {
    crate::print::cut(text, 60)
}

impl Term {
    /// A single value as text; `shown` of others.
    fn value(&self) -> String {
        match &self.kind {
            Kind::Word(text) | Kind::Text(text) => text.clone(),
            _ => self.shown(),
        }
    }

    /// As it is written.
    fn shown(&self) -> String {
        let list = |terms: &[Self]| terms.iter().map(Self::shown).collect::<Vec<_>>().join(", ");
        match &self.kind {
            Kind::Word(text) => text.clone(),
            Kind::Text(text) => format!("{text:?}"),
            Kind::Tuple(terms) => format!("{{{}}}", list(terms)),
            Kind::List(terms) => format!("[{}]", list(terms)),
        }
    }
}

struct Reader<'t> {
    rest: &'t str,
    line: u32,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next()?;
        self.rest = chars.as_str();
        self.line += u32::from(c == '\n');
        Some(c)
    }

    fn skip(&mut self) {
        while let Some(c) = self.rest.chars().next() {
            if c == '%' {
                self.rest = self.rest.trim_start_matches(|c| c != '\n');
            } else if c.is_whitespace() {
                self.next();
            } else {
                return;
            }
        }
    }

    fn expect(&mut self, wanted: char) -> Result<()> {
        let line = self.line;
        match self.next() {
            Some(c) if c == wanted => Ok(()),
            Some(c) => bail!("line {line}: expected {wanted:?}, not {c:?}"),
            None => bail!("line {line}: expected {wanted:?}, and there the text ends"),
        }
    }

    fn term(&mut self, depth: usize) -> Result<Term> {
        let line = self.line;
        if depth > DEPTH_MAX {
            bail!("line {line}: nested too deeply");
        }
        let kind = match self.rest.chars().next() {
            Some('[') => Kind::List(self.terms(']', depth)?),
            Some('{') => Kind::Tuple(self.terms('}', depth)?),
            Some('"') => Kind::Text(self.quoted('"')?),
            Some('\'') => Kind::Word(self.quoted('\'')?),
            Some('<') => {
                self.expect('<')?;
                self.expect('<')?;
                self.skip();
                let text = if self.rest.starts_with('"') { self.quoted('"')? } else { String::new() };
                self.skip();
                self.expect('>')?;
                self.expect('>')?;
                Kind::Text(text)
            }
            Some(c) if c.is_alphanumeric() || matches!(c, '_' | '-' | '+') => Kind::Word(self.word()),
            Some(c) => bail!("line {line}: expected an Erlang term, not {c:?}"),
            None => bail!("line {line}: expected a term, and there the text ends"),
        };
        Ok(Term { line, kind })
    }

    /// A word or number; `.` only within a number, for elsewhere it ends the file.
    fn word(&mut self) -> String {
        let mut len = 0;
        let mut chars = self.rest.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            let is_point = c == '.' && chars.peek().is_some_and(|(_, next)| next.is_ascii_digit());
            if !(c.is_alphanumeric()
                || matches!(c, '_' | '@' | '#')
                || is_point
                || (at == 0 && matches!(c, '-' | '+')))
            {
                break;
            }
            len = at + c.len_utf8();
        }
        let (word, rest) = self.rest.split_at(len);
        let word = word.to_owned();
        self.rest = rest;
        word
    }

    fn quoted(&mut self, quote: char) -> Result<String> {
        let line = self.line;
        self.expect(quote)?;
        let mut text = String::new();
        loop {
            match self.next() {
                Some('\\') => match self.next() {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some(c) => text.push(c),
                    None => break,
                },
                Some(c) if c == quote => return Ok(text),
                Some(c) => text.push(c),
                None => break,
            }
        }
        bail!("line {line}: the text that begins here has no end")
    }

    fn terms(&mut self, end: char, depth: usize) -> Result<Vec<Term>> {
        let line = self.line;
        self.next();
        let mut terms = Vec::new();
        loop {
            self.skip();
            if self.rest.starts_with(end) {
                self.next();
                return Ok(terms);
            }
            if !terms.is_empty() {
                self.expect(',').map_err(|error| error.context(format!("in what begins on line {line}")))?;
                self.skip();
            }
            terms.push(self.term(depth + 1)?);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn terms_become_dotted_names_with_lines() {
        let text = "%% x\n[{kernel, [{a, 1}]},\n {emqttd, [{mqtt, [{queue, [\n  {low_watermark, 0.2},\n  {max_length, infinity}]}]},\n\
                    {listeners, [{mqtts, {\"::1\", 8883}, [{access, [{allow, \"10.0.0.0/8\"}, {deny, all}]},\n\
                    {ssl, [{certfile, <<\"c\">>}]}]}]}]}].\n";
        let entries = entries(text, "e").unwrap();
        let flat: Vec<_> =
            entries.iter().map(|e| (e.key.as_str(), e.value.as_str(), e.origin.place.as_str())).collect();
        assert_eq!(
            flat,
            [
                ("application.kernel", "", "e:2"),
                ("mqtt.queue.low_watermark", "0.2", "e:4"),
                ("mqtt.queue.max_length", "infinity", "e:5"),
                ("listener.ssl.0", "::1:8883", "e:6"),
                ("listener.ssl.0.access.1", "allow 10.0.0.0/8", "e:6"),
                ("listener.ssl.0.access.2", "deny all", "e:6"),
                ("listener.ssl.0.certfile", "c", "e:7"),
            ]
        );
    }

    #[test]
    fn what_is_no_term_names_its_line() {
        for (text, words) in [
            ("[{a, 1}\n {b, 2}].", "line 2: expected ','"),
            ("[{a, \"x]}].", "line 1: the text that begins here has no end"),
            ("[{a, 1}]", "expected '.'"),
            ("{a, 1}.", "expected the list of applications"),
            ("[{emqttd, #{}}].", "expected an Erlang term"),
            ("", "there the text ends"),
            ("[].x", "something follows"),
        ] {
            let error = format!("{:#}", entries(text, "e").unwrap_err());
            assert!(error.contains(words), "{text}: {error}");
        }
        assert!(entries(&"[".repeat(100_000), "e").is_err());
    }
}
