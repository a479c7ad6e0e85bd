//! The simulator: N brokers in one thread under a seed, random clients, virtual time, and a model that checks what
//! MQTT promises. `SEED=n` runs one seed, `SEEDS=256 START=0` a range; a seed that fails is run again with a trace,
//! and must fail again in the same way. `TRACE=n` prints more of it, `TRACE=live` all; `IGNORE=order,…` goes on past
//! invariants that are known to be broken; `DEFECT=Overtake` tries one of the defects alone.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a test")]

mod client;
mod crash;
mod defect;
#[cfg(test)]
mod directed;
mod drain;
mod effects;
mod guard;
mod inspect;
mod link;
mod mail;
mod model;
mod power;
mod random;
mod scenario;
mod settings;
mod socket;
mod stream;
mod trace;
mod wire;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use defect::{DEFECTS, Defect, Saboteur};
use model::Checked;
use scenario::Scenario;
use trace::{Trace, Violation};

/// Seeds of the test command.
const SEEDS: u64 = 256;
/// Lines of the trace that a failure prints; `TRACE=n` for more, `TRACE=live` for all as they come.
const LINES: usize = 60;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// One run. A panic of a broker is a violation like any other.
fn run(seed: u64, trace: bool, defect: Option<Defect>) -> (Result<Checked, Violation>, Trace, u64) {
    let mut scenario = Scenario::new(seed, trace);
    scenario.world.saboteur = Saboteur::new(defect, seed);
    scenario.is_cut_short |= defect.is_some_and(Defect::is_of_drain);
    let outcome = catch_unwind(AssertUnwindSafe(|| scenario.run())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        Err(Violation { invariant: "no-panic", detail: text.unwrap_or_default() })
    });
    (outcome, std::mem::take(&mut scenario.world.trace), scenario.world.step)
}

/// Runs a failed seed again and tells what happened.
fn report(seed: u64, first: &Violation) -> String {
    let (again, trace, step) = run(seed, true, None);
    let same = again.as_ref().err() == Some(first);
    let lines = number("TRACE", LINES as u64) as usize;
    let story: Vec<&str> = trace.last(lines).map(String::as_str).collect();
    format!(
        "\n{}\nseed {seed} broke {} at step {step}: {}\n{}replay: SEED={seed} cargo test --test simulation\n",
        story.join("\n"),
        first.invariant,
        first.detail,
        if same { String::new() } else { format!("NOT REPEATED: the second run gave {again:?}\n") },
    )
}

#[test]
fn every_seed_keeps_what_mqtt_promises() {
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
        println!(
            "  seed {seed}: {} ({})",
            violation.invariant,
            violation.detail.lines().next().unwrap_or_default()
        );
    }
    if let Some((seed, violation)) = failures.first() {
        panic!("{}", report(*seed, violation));
    }
    assert!(
        seeds < SEEDS || checked.all_were_put_to_the_test(),
        "some promise was never tested: {checked:?}"
    );
}

/// Runs in which a defect may show; what seldom has an occasion takes some hundred.
const TRIES: u64 = 400;

#[test]
fn every_defect_breaks_the_promise_that_it_should() {
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
        let noticed = broken.last().is_some_and(|last| expected.contains(last));
        println!("{defect:?}: {broken:?}");
        if !noticed {
            unnoticed.push(defect);
        }
    }
    assert!(unnoticed.is_empty(), "not noticed: {unnoticed:?}");
}
