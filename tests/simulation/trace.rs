//! What happened, line by line: nothing while a seed passes, everything when it is run again after a failure.
//! Also the word for a failure: `Violation`, which names the invariant.

use std::collections::VecDeque;
use std::sync::LazyLock;

/// Lines kept.
const LINES_MAX: usize = 400_000;

/// The story of a run.
#[derive(Default)]
pub struct Trace {
    on: bool,
    lines: VecDeque<String>,
    prefix: String,
}

impl Trace {
    pub fn new(on: bool) -> Self {
        Self { on, ..Self::default() }
    }

    /// Says when the next lines happen.
    pub fn at(&mut self, step: u64, now: u64) {
        if self.on {
            self.prefix = format!("{step:>6} {now:>7}ms ");
        }
    }

    /// One line, made only if somebody will read it.
    pub fn note(&mut self, line: impl FnOnce() -> String) {
        if self.on {
            if self.lines.len() == LINES_MAX {
                self.lines.pop_front();
            }
            let line = format!("{}{}", self.prefix, line());
            if std::env::var_os("TRACE").is_some_and(|way| way == "live") {
                eprintln!("{line}");
            }
            self.lines.push_back(line);
        }
    }

    /// The last `n` lines, oldest first.
    pub fn last(&self, n: usize) -> impl Iterator<Item = &String> {
        self.lines.iter().skip(self.lines.len().saturating_sub(n))
    }
}

/// A promise of MQTT (or of the boundary) that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which, by name.
    pub invariant: &'static str,
    /// By what.
    pub detail: String,
}

/// The outcome of anything that checks.
pub type Check<T = ()> = Result<T, Violation>;

/// The promise `invariant` is broken.
pub fn broken<T>(invariant: &'static str, detail: impl Into<String>) -> Check<T> {
    Err(Violation { invariant, detail: detail.into() })
}

/// `invariant` holds, or else `detail` says why not.
pub fn ensure(holds: bool, invariant: &'static str, detail: impl FnOnce() -> String) -> Check {
    if holds || is_ignored(invariant) { Ok(()) } else { broken(invariant, detail()) }
}

/// `IGNORE=order,no-duplicate` goes on past failures that are known, to see what lies behind them.
fn is_ignored(invariant: &str) -> bool {
    static IGNORED: LazyLock<String> = LazyLock::new(|| std::env::var("IGNORE").unwrap_or_default());
    !IGNORED.is_empty() && IGNORED.split(',').any(|name| name == invariant)
}
