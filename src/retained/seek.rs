//! Where, after a topic that does not match a filter, the next one can be: the skip scan of the Retained Messages.
//!
//! Topics are ordered by their bytes, and `/` is not the lowest byte: `a`, `a-b`, `a/c`, `a0` is an ordered list. So
//! what is below a level `a` is `a` itself and, apart from it, all from `a/` up to (not including) `a0`, because `0`
//! follows `/`. All targets below are built from such borders.

/// The byte after `/`.
const AFTER_SEPARATOR: char = '0';
/// The first text after all that begins with `$`.
const AFTER_DOLLAR: &str = "%";

/// A filter with wildcards that walks an ordered list of topics.
#[derive(Debug)]
pub(super) struct Seek<'f> {
    filter: &'f str,
    /// The target of the last skip, kept for its memory.
    target: String,
}

/// What a topic is to the filter, and where to look next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// It matches. Look at the following one.
    Matches,
    /// It does not; the following one may.
    Following,
    /// It does not, and nothing after it does that is below this text, which is after it.
    From(&'a str),
    /// Neither it nor anything after it matches.
    Nowhere,
}

/// A level of the topic: where it begins and ends.
#[derive(Clone, Copy)]
struct Span {
    begin: usize,
    end: usize,
}

impl<'f> Seek<'f> {
    pub(super) const fn new(filter: &'f str) -> Self {
        Self { filter, target: String::new() }
    }

    /// What `topic` is to the filter. Allocates only while the kept text grows.
    pub(super) fn next(&mut self, topic: &str) -> Next<'_> {
        if topic.starts_with('$') && self.filter.starts_with(['+', '#']) {
            return Next::From(AFTER_DOLLAR);
        }
        let mut wanted = self.filter.split('/');
        // The last level of the topic that stands for a `+`: the only place where something greater can match, once
        // all literal levels behind it are used up.
        let mut last_plus: Option<Span> = None;
        let mut begin = 0;
        let mut previous = "";
        loop {
            let Some(level) = wanted.next() else {
                // The topic has more levels than the filter.
                return self.after_subtree(topic, last_plus);
            };
            if level == "#" {
                return Next::Matches;
            }
            let Some(rest) = topic.get(begin..) else {
                // The topic is too short: it has matched so far, what is below it may match.
                return self.below(topic, level, previous == "+");
            };
            let end = begin + rest.find('/').unwrap_or(rest.len());
            let here = Span { begin, end };
            if level == "+" {
                last_plus = Some(here);
            } else if topic.get(begin..end) != Some(level) {
                return self.on_mismatch(topic, here, level, wanted.next().is_some(), last_plus);
            }
            previous = level;
            begin = end + 1;
            if begin > topic.len() && wanted.clone().next().is_none() {
                return Next::Matches;
            }
        }
    }

    /// The topic ends where the filter goes on with `level`.
    fn below(&mut self, topic: &str, level: &str, after_plus: bool) -> Next<'_> {
        if after_plus {
            // Between `a` and `a/` there may be `a-b/…`, which the `+` matches as well.
            return Next::Following;
        }
        let level = if level == "+" { "" } else { level };
        self.from(&[topic, "/", level])
    }

    /// A level of the topic differs from the literal `level` of the filter, which `goes_on` behind it.
    fn on_mismatch(
        &mut self,
        topic: &str,
        here: Span,
        level: &str,
        goes_on: bool,
        last_plus: Option<Span>,
    ) -> Next<'_> {
        let (Some(before), Some(found)) = (topic.get(..here.begin), topic.get(here.begin..)) else {
            return Next::Following;
        };
        if found < level {
            return self.from(&[before, level]);
        }
        // `found` is not below `level`, but may still stand before `level/`, as `a-b` before `a/`.
        let before_subtree = found.strip_prefix(level).is_some_and(|rest| rest < "/");
        if goes_on && before_subtree {
            return self.from(&[before, level, "/"]);
        }
        self.after_subtree(topic, last_plus)
    }

    /// Nothing more can match below the level that stands for the last `+`: on to the next one.
    fn after_subtree(&mut self, topic: &str, last_plus: Option<Span>) -> Next<'_> {
        let Some(through_plus) = last_plus.and_then(|plus| topic.get(..plus.end)) else {
            return Next::Nowhere;
        };
        self.target.clear();
        self.target.push_str(through_plus);
        self.target.push(AFTER_SEPARATOR);
        Next::From(&self.target)
    }

    fn from(&mut self, parts: &[&str]) -> Next<'_> {
        self.target.clear();
        self.target.extend(parts.iter().copied());
        Next::From(&self.target)
    }
}
