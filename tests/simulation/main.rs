//! The simulator: N brokers in one thread under a seed, random clients, virtual time, and a model that checks what
//! MQTT promises. `SEED=n` runs one seed, `SEEDS=256 START=0` a range; a seed that fails is run again with a trace,
//! and must fail again in the same way. `TRACE=n` prints more of it, `TRACE=live` all; `IGNORE=order,…` goes on past
//! invariants that are known to be broken; `DEFECT=Overtake` tries one of the defects alone.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a test")]

#[cfg(test)]
mod alarms;
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
mod seeds;
mod settings;
mod socket;
mod stream;
mod trace;
mod wire;
mod world;

use defect::{DEFECTS, Defect, Saboteur};
use model::Checked;
use scenario::Scenario;
use seeds::Run;

/// Runs in which a defect may show; what seldom has an occasion takes some hundred.
const TRIES: u64 = 400;

fn run(seed: u64, trace: bool, defect: Option<Defect>) -> Run<Checked> {
    let mut scenario = Scenario::new(seed, trace);
    scenario.world.saboteur = Saboteur::new(defect, seed);
    scenario.is_cut_short |= defect.is_some_and(Defect::is_of_drain);
    let outcome = seeds::caught(|| scenario.run());
    (outcome, std::mem::take(&mut scenario.world.trace), scenario.world.step)
}

#[test]
fn every_seed_keeps_what_mqtt_promises() {
    seeds::every_seed("every_seed_keeps_what_mqtt_promises", |seed, trace| run(seed, trace, None));
}

#[test]
fn every_defect_breaks_the_promise_that_it_should() {
    seeds::every_defect(&DEFECTS, TRIES, |seed, defect| run(seed, false, Some(defect)).0);
}
