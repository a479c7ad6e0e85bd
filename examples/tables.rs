//! Measures the tables of a shard: bytes an entry (as the process grows, with the broker's allocator) and nanoseconds
//! a call, also of the longest one. `cargo run --release --example tables [ENTRIES]`

use myriad::interest::{Interest, InterestTable, LocalInterest, ShardId};
use myriad::retained::{RetainedStore, Stored};
use myriad::router::{Merge, Router, SessionIndex, SubscriptionOptions};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Resident bytes of the process.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

/// Numbers in an order without order.
fn scatter(number: u32) -> u32 {
    number.wrapping_mul(0x9e37_79b1)
}

/// Time that this thread spent on a CPU: others may use the machine too.
fn on_cpu() -> Duration {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(schedstat.split(' ').next().and_then(|spent| spent.parse().ok()).unwrap_or(0))
}

/// Fills a table; the first bytes that a process takes for it are the table's.
fn report(what: &str, entries: u32, mut fill: impl FnMut(u32)) {
    let (before, start) = (resident(), on_cpu());
    let mut longest = Duration::ZERO;
    for number in 0..entries {
        let start = Instant::now();
        fill(number);
        longest = longest.max(start.elapsed());
    }
    let spent = on_cpu() - start;
    let bytes = resident().saturating_sub(before) as f64 / f64::from(entries);
    let each = spent.as_nanos() / u128::from(entries);
    println!("{what:<58} {bytes:>6.1} B each {each:>6} ns each, longest {longest:?}");
}

fn time(what: &str, times: u32, mut call: impl FnMut(u32)) {
    let start = on_cpu();
    (0..times).for_each(&mut call);
    let each = (on_cpu() - start).as_nanos() as f64 / f64::from(times);
    println!("{what:<58} {each:>22.1} ns each");
}

fn exact_filters(entries: u32) {
    let mut router = Router::new(1);
    let options = SubscriptionOptions::new(1, false, false, false);
    // 20 bytes a filter.
    let filter = |number: u32| format!("device/{number:08x}/down");
    report(&format!("{entries} exact filters, one subscriber each"), entries, |number| {
        black_box(router.subscribe(&filter(scatter(number)), SessionIndex(number), options));
    });
    let names: Vec<_> = (0..100_000).map(|number| filter(scatter(scatter(number) % entries))).collect();
    let mut found = Vec::new();
    time("  matching an exact filter, no wildcards known", 2_000_000, |number| {
        found.clear();
        router.matching(&names[number as usize % names.len()], &mut found);
        black_box(&found);
    });
    time("  matching nothing", 2_000_000, |_| {
        found.clear();
        router.matching("device/nobody/is/here", &mut found);
        black_box(&found);
    });
    for wildcard in ["device/+/up", "site/#", "$SYS/#"] {
        router.subscribe(wildcard, SessionIndex(0), options);
    }
    time("  matching an exact filter beside three wildcards", 2_000_000, |number| {
        found.clear();
        router.matching(&names[number as usize % names.len()], &mut found);
        black_box(&found);
    });
}

fn wildcard_filters(entries: u32) {
    let mut router = Router::new(1);
    report(&format!("{entries} filters device/…/#, one subscriber each"), entries, |number| {
        let name = format!("device/{:08x}/#", scatter(number));
        black_box(router.subscribe(&name, SessionIndex(number), SubscriptionOptions::default()));
    });
    let topics: Vec<_> = (0..100_000)
        .map(|number| format!("device/{:08x}/up/temperature", scatter(scatter(number) % entries)))
        .collect();
    let mut found = Vec::new();
    time("  matching device/…/up/temperature", 1_000_000, |number| {
        found.clear();
        router.matching(&topics[number as usize % topics.len()], &mut found);
        black_box(&found);
    });
}

fn subscribers(entries: u32, scattered: bool) {
    let session = |number| SessionIndex(if scattered { scatter(number) >> 6 } else { number });
    let mut router = Router::new(1);
    let order = if scattered { "scattered" } else { "ascending" };
    report(&format!("{entries} subscribers of one filter, {order}"), entries, |number| {
        black_box(router.subscribe("t", session(number), SubscriptionOptions::default()));
    });
    let filter = router.find("t").into_iter().collect::<Vec<_>>();
    let mut sum = 0;
    time("  iterating over all of them, ten times", 10 * entries, {
        let mut subscribers = router.subscribers_after(filter[0], None);
        let router = &router;
        let filter = &filter;
        let sum = &mut sum;
        move |_| match subscribers.next() {
            Some((session, options)) => *sum += session.0 as usize + usize::from(options.qos()),
            None => subscribers = router.subscribers_after(filter[0], None),
        }
    });
    black_box(sum);
    time("  unsubscribing all of them, scattered", entries, |number| {
        let session = session(if scattered { number } else { scatter(number) % entries });
        black_box(router.unsubscribe_id(filter[0], session));
    });
}

fn overlap(entries: u32) {
    let mut router = Router::new(1);
    for number in 0..entries {
        for filter in ["a/b", "a/+"] {
            router.subscribe(filter, SessionIndex(number), SubscriptionOptions::default());
        }
    }
    let (mut found, mut merge) = (Vec::new(), Merge::new());
    router.matching("a/b", &mut found);
    let mut merged = merge.start(&router, &found, None);
    time("merging two filters that all sessions have", entries, |_| {
        black_box(merged.next());
    });
}

fn rooms(entries: u32) {
    let mut router = Router::new(1);
    let filters = entries / 1000;
    report("filters with 1000 subscribers each, by subscriber", filters * 1000, |number| {
        let name = format!("room/{}", number % filters);
        black_box(router.subscribe(&name, SessionIndex(number), SubscriptionOptions::default()));
    });
}

fn interest(entries: u32, shards: u16) {
    let table = Arc::new(InterestTable::new(shards, entries, 1));
    let mut local: Vec<_> =
        (0..shards).map(|shard| LocalInterest::new(ShardId(shard), Arc::clone(&table))).collect();
    let name = |number| format!("device/{:08x}/down", scatter(number));
    report(&format!("{entries} exact filters of {shards} shards in the interest table"), entries, |number| {
        local[number as usize % usize::from(shards)].add(&name(number), false);
    });
    let names: Vec<_> = (0..100_000).map(|number| name(scatter(number) % entries)).collect();
    let name = |number: u32| &names[number as usize % names.len()];
    time("  interested, no wildcards known", 2_000_000, |number| {
        black_box(table.interested(name(number)));
    });
    time("  durable, none known", 2_000_000, |number| {
        black_box(table.durable(name(number)));
    });
    local[0].add("device/+/up", false);
    time("  interested, wildcard prefixes of one level known", 2_000_000, |number| {
        black_box(table.interested(name(number)));
    });
    local[0].add("device/1/2/#", false);
    time("  interested, wildcard prefixes of three levels known", 2_000_000, |number| {
        black_box(table.interested(name(number)));
    });
}

struct Message {
    topic: Box<str>,
}

impl Stored for Message {
    fn topic(&self) -> &str {
        &self.topic
    }
}

fn retained(entries: u32) {
    let message =
        |number: u32| Message { topic: format!("site/{}/{:06x}", number % 100, scatter(number) >> 8).into() };
    let messages: Vec<_> = (0..entries).map(|number| Arc::new(message(number))).collect();
    let mut store = RetainedStore::new();
    report(&format!("{entries} retained messages, beyond the messages"), entries, |number| {
        drop(store.insert(Arc::clone(&messages[number as usize])));
    });
    time("  one by its topic", 1_000_000, |number| {
        black_box(store.get(messages[(scatter(number) % entries) as usize].topic()));
    });
    let mut out = Vec::new();
    for filter in ["#", "site/7/#", "site/+/00ff00", "+/99/+"] {
        out.clear();
        let start = on_cpu();
        let scan = store.scan(filter, None, usize::MAX, usize::MAX, &mut out, |_| true);
        let spent = on_cpu() - start;
        println!("  scan of {filter}: {} found, {} visited, {spent:?}", out.len(), scan.visited);
    }
}

/// Each table in a process of its own, because memory that one gave back would hide what the next one takes.
fn main() {
    let mut arguments = std::env::args().skip(1);
    let entries = arguments.next().and_then(|entries| entries.parse().ok()).unwrap_or(1_000_000);
    let Some(table) = arguments.next() else {
        for table in 0..10 {
            let program = std::env::current_exe().unwrap_or_default();
            let arguments = [entries.to_string(), table.to_string()];
            if let Err(error) = std::process::Command::new(program).args(arguments).status() {
                println!("{error}");
            }
        }
        return;
    };
    match table.parse().unwrap_or(0) {
        0 => exact_filters(100_000.min(entries)),
        1 => exact_filters(entries),
        2 => wildcard_filters(entries),
        3 => subscribers(entries, false),
        4 => subscribers(entries, true),
        5 => overlap(entries),
        6 => rooms(entries),
        7 => interest(entries, 2),
        8 => interest(entries, 8),
        _ => retained(entries),
    }
}
