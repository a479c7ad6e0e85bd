//! Crashes: brokers over a journal on a disk that forgets, tears, fails and fills up. `SEED=n`, `SEEDS=…`, `START=…`,
//! `TRACE=…` and `DEFECT=…` as for the other simulation; what is promised is in `model`.

mod client;
mod flip;
mod model;
mod receive;
mod scenario;
#[cfg(test)]
mod stage;
mod store;

use model::Checked;
use scenario::Scenario;

use crate::seeds::{self, Run};

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
    /// A recovery forgets that a subscription was still being given retained messages.
    ForgetCursors,
}

/// Every defect, and the promises of which it must break at least one.
const DEFECTS: [(Defect, &[&str]); 9] = [
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
    (Defect::ForgetCursors, &["crash-snapshot-goes-on"]),
];

/// Runs in which a defect may show.
const TRIES: u64 = 200;

fn run(seed: u64, trace: bool, defect: Option<Defect>) -> Run<Checked> {
    let mut scenario = Scenario::new(seed, trace, defect);
    let outcome = seeds::caught(|| scenario.run());
    (outcome, std::mem::take(&mut scenario.world.trace), scenario.world.step)
}

#[test]
fn every_seed_keeps_what_was_acknowledged_over_crashes() {
    seeds::every_seed("every_seed_keeps_what_was_acknowledged_over_crashes", |seed, trace| {
        run(seed, trace, None)
    });
}

#[test]
fn every_defect_of_the_journal_breaks_the_promise_that_it_should() {
    seeds::every_defect(&DEFECTS, TRIES, |seed, defect| run(seed, false, Some(defect)).0);
}

/// What must hold whatever becomes of the journal.
const ALWAYS: [&str; 6] =
    ["no-panic", "broker-invariants", "credits-come-home", "flip-", "boundary-", "crash-recovers"];

#[test]
fn every_seed_says_what_flipped_bits_have_lost() {
    let one = seeds::only();
    let range = one.map_or(0..seeds::number("SEEDS", 100), |seed| seed..seed + 1);
    let mut lost = 0;
    for seed in range {
        let mut scenario = Scenario::new(seed, one.is_some(), None);
        scenario.flips = true;
        let outcome = seeds::caught(|| scenario.run());
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
