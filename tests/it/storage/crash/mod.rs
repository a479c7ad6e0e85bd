//! The crash test: publishers and subscribers with persistent sessions, a broker that is killed in the middle of their traffic
//! again and again and comes back with another number of shards. What it acknowledged has to be true at the end.
//!
//! `MYRIAD_CRASH_ROUNDS=50` makes it longer, `MYRIAD_CRASH_SEED` makes its clients do the same again.

mod changer;
mod ledger;
mod link;
mod paho;
mod publisher;
mod random;
mod subscriber;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use changer::Changer;
use ledger::{Ledger, Log, Phase, Retained};
use link::{Heard, Link};
use publisher::Publisher;
use random::Random;
use subscriber::{Manner, Subscriber};

use super::has_no_journal;
use super::injection::Injection;
use crate::broker::{Broker, Options};
use crate::wire::{Ack, AckKind, Connect, Packet, Subscribe, Version};

/// Shards of one start after the other.
pub(super) const SHARDS: [u16; 3] = [2, 5, 1];
/// How long everything that is under way may take to come to its end after the last start.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(40);
/// The same where something was lost already.
const LOST_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a Retained Message that is there may take to arrive.
const RETAINED_TIMEOUT: Duration = Duration::from_secs(2);
/// How long after that nothing more may come.
const SILENCE: Duration = Duration::from_millis(300);
/// Faults that are shown.
const FAULTS_SHOWN: usize = 30;

/// Each gets every message: at QoS 2, at QoS 2 with an old protocol and long absences, and at QoS 1 at most.
const SUBSCRIBERS: [Manner; 3] = [
    Manner {
        name: "s-steady",
        version: Version::V50,
        filter: "c/#",
        qos: 2,
        goes_away: false,
        receive_max: 20,
    },
    Manner { name: "s-away", version: Version::V311, filter: "c/#", qos: 2, goes_away: true, receive_max: 0 },
    Manner {
        name: "s-once",
        version: Version::V50,
        filter: "c/+/+/#",
        qos: 1,
        goes_away: true,
        receive_max: 100,
    },
];

/// Together they get every message once.
const GROUP: [Manner; 2] = [
    Manner {
        name: "g-1",
        version: Version::V50,
        filter: "$share/g/c/#",
        qos: 2,
        goes_away: false,
        receive_max: 30,
    },
    Manner {
        name: "g-2",
        version: Version::V50,
        filter: "$share/g/c/#",
        qos: 2,
        goes_away: true,
        receive_max: 10,
    },
];

/// Rounds: as many as the environment says.
pub(super) fn rounds(default: u32) -> u32 {
    std::env::var("MYRIAD_CRASH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = std::env::var("MYRIAD_CRASH_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(now);
    println!("MYRIAD_CRASH_SEED={seed}");
    seed
}

#[test]
fn nothing_acknowledged_is_lost_over_crashes() {
    let Some(found) = run(&Options::durable(SHARDS[0]), rounds(10), 1) else { return };
    let shown = found.faults.iter().take(FAULTS_SHOWN).cloned().collect::<Vec<_>>().join("\n");
    assert!(found.faults.is_empty(), "{} faults:\n{shown}", found.faults.len());
    assert!(found.repeated > 0 || rounds(1) == 0, "no crash came in the middle of anything");
}

/// A test that finds nothing when everything is lost would prove nothing.
#[test]
fn the_crash_test_sees_what_memory_loses() {
    let Some(found) = run(&Options::shards(SHARDS[0]), 2, usize::MAX) else { return };
    // Not that Retained Messages are lost: as a rule they were published again before anyone looks.
    for part in ["subscriber's session is gone", "publisher's session is gone", "lost"] {
        assert!(found.faults.iter().any(|fault| fault.contains(part)), "nothing with {part:?} was found");
    }
}

/// The same, and one of some syncs fails.
#[test]
fn nothing_acknowledged_is_lost_over_crashes_and_failing_syncs() {
    if has_no_journal() {
        return;
    }
    let options = Options::durable(SHARDS[0]);
    let Some(found) = run_on(&options, rounds(5), 1, Some("fdatasync:error=EIO:when=40+120")) else { return };
    let shown = found.faults.iter().take(FAULTS_SHOWN).cloned().collect::<Vec<_>>().join("\n");
    assert!(found.faults.is_empty(), "{} faults:\n{shown}", found.faults.len());
}

/// What a run came to.
struct Found {
    faults: Vec<String>,
    /// PUBLISHes sent again.
    repeated: usize,
}

fn run(options: &Options, rounds: u32, faults_max: usize) -> Option<Found> {
    run_on(options, rounds, faults_max, None)
}

/// Ends before its time when `faults_max` were found: then the rest is noise. `inject`: what fails of the disk.
fn run_on(options: &Options, rounds: u32, faults_max: usize, inject: Option<&str>) -> Option<Found> {
    let seed = seed();
    let mut random = Random::new(seed);
    // Small segments make room for checkpoints between the crashes.
    let options = options.clone().set("session.queue_len_max=1000000").set("storage.segment_bytes=65536");
    let options = options.set("sys.interval_s=0");
    let mut broker = Broker::start(&options)?;
    let ledger = Arc::new(Ledger::new(inject.is_some()));
    let clients = start_clients(&broker, &ledger, seed);
    for round in 1..=rounds {
        let injection = inject.map(|inject| Injection::new(broker.pid(), inject));
        if matches!(injection, Some(None)) {
            break;
        }
        thread::sleep(random.pause(150, 900) * if inject.is_some() { 3 } else { 1 });
        end(&mut broker, &mut random);
        drop(injection);
        ledger.begin_round(round);
        let options = options.with_shards(SHARDS[round as usize % 3]);
        if random.chance(20) {
            // It dies once more, before it is ready.
            broker.relaunch(&options);
            thread::sleep(random.pause(0, 80));
            broker.kill();
        }
        broker.restart(&options);
        check_retained(&broker, &ledger);
        if ledger.faults().len() >= faults_max {
            break;
        }
    }
    thread::sleep(random.pause(200, 600));
    drain(&ledger);
    check_retained(&broker, &ledger);
    ledger.enter(Phase::End);
    clients.into_iter().for_each(|client| client.join().unwrap());
    check_messages(&ledger);
    let (acknowledged, repeated) = ledger.counts();
    let refused = ledger.refusals();
    println!("{acknowledged} messages acknowledged, {repeated} PUBLISHes repeated, {refused} refused");
    assert_eq!(broker.terminate().code(), Some(0), "{}", broker.output());
    Some(Found { faults: ledger.faults(), repeated })
}

fn start_clients(broker: &Broker, ledger: &Arc<Ledger>, seed: u64) -> Vec<JoinHandle<()>> {
    let mut clients = Vec::new();
    for (number, manner) in SUBSCRIBERS.into_iter().chain(GROUP).enumerate() {
        let subscriber = Subscriber::subscribed(manner, broker.address, ledger, seed + number as u64);
        clients.push(thread::spawn(move || subscriber.run()));
    }
    for (number, version) in [Version::V50, Version::V311, Version::V50].into_iter().enumerate() {
        let name = format!("p{number}");
        let publisher = Publisher::new(&name, version, broker.address, ledger, seed + 100 + number as u64);
        clients.push(thread::spawn(move || publisher.run()));
    }
    for number in 0..2 {
        let changer = Changer::new(&format!("x{number}"), broker.address, ledger, seed + 200 + number);
        clients.push(thread::spawn(move || changer.run()));
    }
    clients
}

/// Ends the broker: by SIGKILL, at times by SIGTERM, and at times by SIGKILL while it still obeys SIGTERM.
fn end(broker: &mut Broker, random: &mut Random) {
    if random.chance(70) {
        return broker.kill();
    }
    if random.chance(50) {
        assert_eq!(broker.terminate().code(), Some(0), "{}", broker.output());
    } else {
        broker.signal("TERM");
        thread::sleep(random.pause(1, 60));
        broker.kill();
    }
}

/// Lets all clients finish what is under way.
fn drain(ledger: &Ledger) {
    ledger.enter(Phase::Drain);
    let timeout = if ledger.faults().is_empty() { DRAIN_TIMEOUT } else { LOST_TIMEOUT };
    let deadline = Instant::now() + timeout;
    while ledger.busy() > 0 || !has_all(ledger) {
        if Instant::now() > deadline {
            ledger.fault("all", format!("{} clients still wait for something", ledger.busy()));
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    thread::sleep(SILENCE);
}

/// Whether the last message of each topic has come to everybody.
fn has_all(ledger: &Ledger) -> bool {
    let logs: Vec<_> = SUBSCRIBERS.iter().map(|manner| ledger.log(manner.name)).collect();
    let group = together(&GROUP.map(|manner| ledger.log(manner.name)));
    let has_last = |log: &Log, topic: &str, count: u32| {
        let last = (0..count).rev().find(|number| !ledger.is_refused(topic, *number));
        last.is_none_or(|last| log.get(topic).is_some_and(|numbers| numbers.contains(&last)))
    };
    ledger.sent().iter().all(|(topic, count)| {
        logs.iter().all(|log| has_last(log, topic, *count)) && has_last(&group, topic, *count)
    })
}

fn together(logs: &[Log]) -> Log {
    let mut all = Log::new();
    for (topic, numbers) in logs.iter().flatten() {
        all.entry(topic.clone()).or_default().extend(numbers);
    }
    all
}

/// All was acknowledged in the end: QoS 1 came at least once, QoS 2 once, both in order.
fn check_messages(ledger: &Ledger) {
    for (topic, count) in ledger.sent() {
        let is_exactly_once = topic.split('/').nth(2) == Some("2");
        for manner in SUBSCRIBERS {
            let numbers = ledger.log(manner.name).remove(&topic).unwrap_or_default();
            let once = is_exactly_once && manner.qos == 2;
            check_numbers(ledger, manner.name, &topic, numbers, count, once);
        }
        let group = together(&GROUP.map(|manner| ledger.log(manner.name)));
        let mut numbers = group.get(&topic).cloned().unwrap_or_default();
        // Which member gets what is the broker's choice, so there is no order between them.
        numbers.sort_unstable();
        check_numbers(ledger, "g", &topic, numbers, count, is_exactly_once);
    }
}

fn check_numbers(ledger: &Ledger, who: &str, topic: &str, numbers: Vec<u32>, count: u32, once: bool) {
    let mut seen = BTreeSet::new();
    let is_first = |number: &u32| seen.insert(*number);
    let first: Vec<u32> = numbers.iter().copied().filter(is_first).collect();
    let is_missing = |number: &u32| !first.contains(number) && !ledger.is_refused(topic, *number);
    let missing: Vec<u32> = (0..count).filter(is_missing).collect();
    if !missing.is_empty() {
        ledger.fault(who, format!("{topic} lost {missing:?} of {count}"));
    } else if !first.is_sorted() {
        let at = first.windows(2).find(|pair| pair[0] > pair[1]).unwrap();
        ledger.fault(who, format!("{topic} has {} before {}", at[0], at[1]));
    }
    if once && first.len() < numbers.len() {
        ledger.fault(who, format!("{topic} came {} times too often", numbers.len() - first.len()));
    }
}

/// Each Retained Message is the last acknowledged or one that was sent after it.
fn check_retained(broker: &Broker, ledger: &Ledger) {
    let before = ledger.retained();
    let connect = Connect::v5("looks-at-retained");
    let Some((mut link, _)) = Link::open(broker.address, connect) else {
        return ledger.fault("retained", "no connection");
    };
    link.send(Subscribe::new(1, "r/#", 1));
    let mut found = std::collections::HashMap::new();
    let must: Vec<_> =
        before.iter().filter(|(_, retained)| has_to_be(retained)).map(|(topic, _)| topic).collect();
    let mut deadline = Instant::now() + RETAINED_TIMEOUT;
    let mut is_complete = false;
    while Instant::now() < deadline {
        match link.hear(Duration::from_millis(20)) {
            Heard::Packet(Packet::Publish(publish)) => {
                link.send(Ack::new(AckKind::Puback, publish.id));
                // A later one that arrives live may take the place of the one that is retained.
                match publish.text().parse::<u32>() {
                    Ok(version) => drop(found.insert(publish.topic.clone(), version)),
                    Err(_) => drop(found.remove(&publish.topic)),
                }
            }
            Heard::Closed => return ledger.fault("retained", "closed"),
            _ => {}
        }
        if !is_complete && must.iter().all(|topic| found.contains_key(*topic)) {
            is_complete = true;
            deadline = Instant::now() + Duration::from_millis(100);
        }
    }
    let after = ledger.retained();
    for (topic, was) in &before {
        let fits = fits(was, &after[topic], found.get(topic).copied());
        if !fits {
            let sent = after[topic].deletes.len();
            let acknowledged = was.acknowledged;
            let found = found.get(topic);
            ledger.fault(
                "retained",
                format!("{topic} is {found:?}, {acknowledged:?} acknowledged, {sent} sent"),
            );
        }
    }
}

/// Whether no deletion was sent since the last acknowledged version.
fn has_to_be(retained: &Retained) -> bool {
    let from = retained.acknowledged.unwrap_or(0) as usize;
    retained.acknowledged.is_some() && retained.deletes[from..].iter().all(|deletes| !deletes)
}

/// `was` is what was known before looking, `is` after it.
fn fits(was: &Retained, is: &Retained, found: Option<u32>) -> bool {
    let from = was.acknowledged.unwrap_or(0);
    match found {
        Some(version) => version >= from && is.deletes.get(version as usize) == Some(&false),
        None => was.acknowledged.is_none() || is.deletes[from as usize..].contains(&true),
    }
}
