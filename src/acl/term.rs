//! Erlang terms as `acl.conf` has them: tuples, lists, atoms, strings, binaries of one string; `%` begins a comment.
//! Each term keeps where it stands, so that whoever reads it on can say so.

use super::error::{AclError, Position};

/// Deepest nesting: rules have four levels, `and` and `or` a few more.
const DEPTH_MAX: usize = 32;

/// A term and where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) at: Position,
    pub(super) kind: Kind,
}

/// What a term is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// `allow`, `'and'`
    Atom(String),
    /// `"text"` or `<<"text">>`
    Text(String),
    /// `{…}`
    Tuple(Vec<Term>),
    /// `[…]`
    List(Vec<Term>),
}

/// All terms of a file, each ended by a full stop.
///
/// # Errors
/// Line and column of what is no term.
pub(super) fn read(text: &str) -> Result<Vec<Term>, AclError> {
    let mut reader = Reader { rest: text, at: Position { line: 1, column: 1 } };
    let mut terms = Vec::new();
    reader.skip_blank();
    while !reader.rest.is_empty() {
        terms.push(reader.term(0)?);
        reader.skip_blank();
        reader.expect('.', "a full stop after each rule")?;
        reader.skip_blank();
    }
    Ok(terms)
}

struct Reader<'t> {
    rest: &'t str,
    at: Position,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next()?;
        self.rest = chars.as_str();
        if next == '\n' {
            self.at = Position { line: self.at.line + 1, column: 1 };
        } else {
            self.at.column += 1;
        }
        Some(next)
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let mut taken = String::new();
        while self.peek().is_some_and(&wanted) {
            taken.extend(self.next());
        }
        taken
    }

    fn skip_blank(&mut self) {
        loop {
            self.take_while(char::is_whitespace);
            if self.peek() != Some('%') {
                return;
            }
            self.take_while(|c| c != '\n');
        }
    }

    fn expect(&mut self, wanted: char, what: &str) -> Result<(), AclError> {
        let at = self.at;
        match self.next() {
            Some(found) if found == wanted => Ok(()),
            Some(found) => Err(AclError::new(at, format!("found `{found}`, expected {what}"))),
            None => Err(AclError::new(at, format!("the file ends, expected {what}"))),
        }
    }

    fn term(&mut self, depth: usize) -> Result<Term, AclError> {
        self.skip_blank();
        let at = self.at;
        if depth > DEPTH_MAX {
            return Err(AclError::new(at, format!("nested more than {DEPTH_MAX} deep")));
        }
        let kind = match self.peek() {
            Some('{') => Kind::Tuple(self.sequence('}', depth)?),
            Some('[') => Kind::List(self.sequence(']', depth)?),
            Some('"') => Kind::Text(self.quoted('"')?),
            Some('\'') => Kind::Atom(self.quoted('\'')?),
            Some('<') => Kind::Text(self.binary()?),
            Some(first) if first.is_ascii_lowercase() => {
                Kind::Atom(self.take_while(|c| c.is_alphanumeric() || c == '_' || c == '@'))
            }
            Some(found) => {
                return Err(AclError::new(
                    at,
                    format!("found `{found}`, expected `{{`, `[`, an atom or a \"text\""),
                ));
            }
            None => return Err(AclError::new(at, "the file ends within a rule".into())),
        };
        Ok(Term { at, kind })
    }

    fn sequence(&mut self, end: char, depth: usize) -> Result<Vec<Term>, AclError> {
        self.next();
        let mut terms = Vec::new();
        self.skip_blank();
        if self.peek() == Some(end) {
            self.next();
            return Ok(terms);
        }
        loop {
            terms.push(self.term(depth + 1)?);
            self.skip_blank();
            if self.peek() == Some(',') {
                self.next();
                continue;
            }
            self.expect(end, &format!("`,` or `{end}`"))?;
            return Ok(terms);
        }
    }

    fn binary(&mut self) -> Result<String, AclError> {
        self.next();
        self.expect('<', "`<<\"text\">>`")?;
        self.skip_blank();
        if self.peek() != Some('"') {
            return Err(AclError::new(self.at, "a binary is written <<\"text\">>".into()));
        }
        let text = self.quoted('"')?;
        self.skip_blank();
        // `/utf8` is what a text is in any case.
        if self.rest.starts_with("/utf8") {
            self.take_while(|c| c != '>');
        }
        self.expect('>', "`>>`")?;
        self.expect('>', "`>>`")?;
        Ok(text)
    }

    /// Text up to the next `quote` that no `\` stands before.
    fn quoted(&mut self, quote: char) -> Result<String, AclError> {
        let begin = self.at;
        self.next();
        let mut text = String::new();
        loop {
            let at = self.at;
            match self.next() {
                Some(end) if end == quote => return Ok(text),
                Some('\\') => text.push(match self.next() {
                    Some('n') => '\n',
                    Some('t') => '\t',
                    Some('r') => '\r',
                    Some(same @ ('\\' | '"' | '\'')) => same,
                    _ => {
                        return Err(AclError::new(
                            at,
                            "an unknown escape; write \\\\ for a backslash".into(),
                        ));
                    }
                }),
                Some('\n') | None => {
                    return Err(AclError::new(begin, format!("no closing {quote} on this line")));
                }
                Some(other) => text.push(other),
            }
        }
    }
}
