//! Runs seeds on all cores, counts what they have checked, and tells the story of the first that fails; tries defects one by one.
//! What a simulation is made of is its caller's.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::trace::{Check, Trace, Violation};

/// Seeds of the test command.
pub const SEEDS: u64 = 256;
/// Lines of the trace that a failure prints; `TRACE=n` for more, `TRACE=live` for all as they come.
const LINES: usize = 60;

/// What one run came to, its trace, and its last step.
pub type Run<C> = (Check<C>, Trace, u64);

/// How often each promise was put to the test.
pub trait Counts: Debug + Default + Copy + Send {
    fn add(&mut self, other: Self);

    /// Whether each promise met a case at least once.
    fn all_were_put_to_the_test(&self) -> bool;
}

/// A struct of counters with [`Counts`].
macro_rules! counts {
    ($(#[$about:meta])* $name:ident { $($field:ident),* $(,)? }) => {
        $(#[$about])*
        #[derive(Debug, Default, Clone, Copy)]
        pub struct $name {
            $(pub $field: u64,)*
        }

        impl $crate::seeds::Counts for $name {
            fn add(&mut self, other: Self) {
                $(self.$field += other.$field;)*
            }

            fn all_were_put_to_the_test(&self) -> bool {
                true $(&& self.$field > 0)*
            }
        }
    };
}

pub(crate) use counts;

/// A number from the environment.
pub fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// The one seed that is asked for.
pub fn only() -> Option<u64> {
    std::env::var("SEED").ok().and_then(|seed| seed.parse().ok())
}

/// A panic of a broker is a violation like any other.
pub fn caught<C>(run: impl FnOnce() -> Check<C>) -> Check<C> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        Err(Violation { invariant: "no-panic", detail: text.unwrap_or_default() })
    })
}

/// Runs the seeds that the environment asks for; `run` is given whether to trace. `filter`: what picks this test.
pub fn every_seed<C: Counts>(filter: &str, run: impl Fn(u64, bool) -> Run<C> + Sync) {
    let one = only();
    let start = one.unwrap_or_else(|| number("START", 0));
    let seeds = if one.is_some() { 1 } else { number("SEEDS", SEEDS) };
    let next = AtomicU64::new(start);
    let failures = Mutex::new(Vec::new());
    let checked = Mutex::new(C::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(seeds as usize);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= start + seeds {
                        return;
                    }
                    match run(seed, false).0 {
                        Ok(counts) => checked.lock().unwrap().add(counts),
                        Err(violation) => failures.lock().unwrap().push((seed, violation)),
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort_by_key(|f| f.0);
    let checked = checked.into_inner().unwrap();
    println!("{seeds} seeds from {start}: {} failed; {checked:?}", failures.len());
    for (seed, violation) in &failures {
        let line = violation.detail.lines().next().unwrap_or_default();
        println!("  seed {seed}: {} ({line:.300})", violation.invariant);
    }
    if let Some((seed, violation)) = failures.first() {
        panic!("{}", report(filter, *seed, violation, run(*seed, true)));
    }
    assert!(
        seeds < SEEDS || checked.all_were_put_to_the_test(),
        "some promise was never tested: {checked:?}"
    );
}

/// A failed seed was run again: what happened.
fn report<C: Counts>(filter: &str, seed: u64, first: &Violation, (again, trace, step): Run<C>) -> String {
    let lines = number("TRACE", LINES as u64) as usize;
    let story: Vec<&str> = trace.last(lines).map(String::as_str).collect();
    let is_same = again.as_ref().err() == Some(first);
    let again =
        if is_same { String::new() } else { format!("NOT REPEATED: the second run gave {again:?}\n") };
    format!(
        "\n{}\nseed {seed} broke {} at step {step}: {}\n{again}replay: SEED={seed} cargo test --test simulation {filter}\n",
        story.join("\n"),
        first.invariant,
        first.detail,
    )
}

/// Tries each defect under up to `tries` seeds, or the one that `DEFECT` names: it must break one of the promises beside it.
pub fn every_defect<D: Debug + Copy, C>(
    defects: &[(D, &[&str])],
    tries: u64,
    run: impl Fn(u64, D) -> Check<C>,
) {
    let only = std::env::var("DEFECT").ok();
    let mut unnoticed = Vec::new();
    for (defect, expected) in defects {
        if only.as_ref().is_some_and(|only| *only != format!("{defect:?}")) {
            continue;
        }
        let mut broken = Vec::new();
        for seed in 0..tries {
            if let Err(violation) = run(seed, *defect) {
                broken.push(violation.invariant);
                if expected.contains(&violation.invariant) {
                    break;
                }
            }
        }
        println!("{defect:?}: {broken:?}");
        if broken.last().is_none_or(|last| !expected.contains(last)) {
            unnoticed.push(defect);
        }
    }
    assert!(unnoticed.is_empty(), "not noticed: {unnoticed:?}");
}
