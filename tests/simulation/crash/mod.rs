//! Crashes: brokers over a journal on a disk that forgets, tears, fails and fills up. `SEED=n`, `SEEDS=…`, `START=…`,
//! `TRACE=…` and `DEFECT=…` as for the other simulation; what is promised is in `model`.

mod client;
mod flip;
mod model;
mod receive;
mod scenario;
mod store;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use model::Checked;
use scenario::Scenario;

use crate::trace::{Trace, Violation};
use crate::{LINES, SEEDS, number};

/// One way in which a broker over a journal could be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// A ticket is reported before its sync.
    ReportBeforeSync,
    /// Some `Commit`s are not written.
    NoCommit,
    /// Some `Deliver`s are not written.
    NoDeliver,
    /// A recovery forgets the QoS 2 identifiers that clients have published with.
    ForgetInbound,
    /// A recovery forgets subscriptions.
    ForgetSubscriptions,
    /// A recovery forgets what was sent and not acknowledged.
    ForgetInflight,
    /// A recovery forgets Wills.
    ForgetWill,
    /// A recovery forgets the Retained Messages.
    ForgetRetained,
}

/// Every defect, and the promises of which it must break at least one.
const DEFECTS: [(Defect, &[&str]); 8] = [
    (Defect::ReportBeforeSync, &["crash-no-message-lost", "crash-session-present", "crash-exactly-once"]),
    (Defect::NoCommit, &["crash-no-message-lost", "crash-exactly-once"]),
    (Defect::NoDeliver, &["crash-no-message-lost"]),
    (Defect::ForgetInbound, &["crash-exactly-once"]),
    (Defect::ForgetSubscriptions, &["crash-no-message-lost"]),
    (
        Defect::ForgetInflight,
        &["crash-no-message-lost", "crash-packet-identifier-in-use", "crash-comes-to-rest"],
    ),
    (Defect::ForgetWill, &["crash-will-once"]),
    (Defect::ForgetRetained, &["crash-retained-is-the-last"]),
];

/// Runs in which a defect may show.
const TRIES: u64 = 200;

fn run(seed: u64, trace: bool, defect: Option<Defect>) -> (Result<Checked, Violation>, Trace, u64) {
    let mut scenario = Scenario::new(seed, trace, defect);
    let outcome = catch_unwind(AssertUnwindSafe(|| scenario.run())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        Err(Violation { invariant: "no-panic", detail: text.unwrap_or_default() })
    });
    (outcome, std::mem::take(&mut scenario.world.trace), scenario.world.step)
}

fn report(seed: u64, first: &Violation) -> String {
    let (again, trace, step) = run(seed, true, None);
    let lines = number("TRACE", LINES as u64) as usize;
    let story: Vec<&str> = trace.last(lines).map(String::as_str).collect();
    let again = if again.as_ref().err() == Some(first) {
        String::new()
    } else {
        format!("NOT REPEATED: the second run gave {again:?}\n")
    };
    format!(
        "\n{}\nseed {seed} broke {} at step {step}: {}\n{again}replay: SEED={seed} cargo test --test simulation crash\n",
        story.join("\n"),
        first.invariant,
        first.detail,
    )
}

#[test]
fn every_seed_keeps_what_was_acknowledged_over_crashes() {
    let one = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let start = one.unwrap_or_else(|| number("START", 0));
    let seeds = if one.is_some() { 1 } else { number("SEEDS", SEEDS) };
    let next = AtomicU64::new(start);
    let failures = Mutex::new(Vec::new());
    let checked = Mutex::new(Checked::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(seeds as usize);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= start + seeds {
                        return;
                    }
                    match run(seed, false, None).0 {
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
        panic!("{}", report(*seed, violation));
    }
    assert!(
        seeds < SEEDS || checked.all_were_put_to_the_test(),
        "some promise was never tested: {checked:?}"
    );
}

#[test]
fn every_defect_of_the_journal_breaks_the_promise_that_it_should() {
    let only = std::env::var("DEFECT").ok();
    let mut unnoticed = Vec::new();
    for (defect, expected) in DEFECTS {
        if only.as_ref().is_some_and(|only| *only != format!("{defect:?}")) {
            continue;
        }
        let mut broken = Vec::new();
        for seed in 0..TRIES {
            if let (Err(violation), ..) = run(seed, false, Some(defect)) {
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

/// What must hold whatever becomes of the journal.
const ALWAYS: [&str; 6] =
    ["no-panic", "broker-invariants", "credits-come-home", "flip-", "boundary-", "crash-recovers"];

#[test]
fn every_seed_says_what_flipped_bits_have_lost() {
    let one = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = one.map_or(0..number("SEEDS", 100), |seed: u64| seed..seed + 1);
    let mut lost = 0;
    for seed in seeds {
        let mut scenario = Scenario::new(seed, one.is_some(), None);
        scenario.flips = true;
        let outcome = catch_unwind(AssertUnwindSafe(|| scenario.run())).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            Err(Violation { invariant: "no-panic", detail: text })
        });
        lost += scenario.lost;
        if let Err(violation) = outcome
            && ALWAYS.iter().any(|name| violation.invariant.starts_with(name))
        {
            panic!("SEED={seed}: {}: {}", violation.invariant, violation.detail);
        }
    }
    println!("{lost} sessions and Retained Messages changed");
    assert!(lost > 0 || one.is_some(), "no flip has changed anything");
}
