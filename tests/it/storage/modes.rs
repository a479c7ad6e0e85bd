//! What is written when: nothing in memory mode, nothing for what ends with its connection; and modes that change between starts.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::{Durable, has_no_journal};
use crate::broker::{Broker, Options, wait_until};
use crate::wire::{Connect, Publish, Version};

/// Files of the journal and their sizes; the file that is rewritten as time passes is left out.
pub(super) fn sizes(journal: &Path) -> BTreeMap<String, u64> {
    let entries = std::fs::read_dir(journal).unwrap().map(Result::unwrap);
    let files = entries.map(|entry| {
        (entry.file_name().into_string().unwrap(), entry.metadata().map_or(0, |metadata| metadata.len()))
    });
    files.filter(|(name, _)| name.ends_with(".myj")).collect()
}

/// Waits until the journal has rested for a moment, the checkpoint of the start behind it.
fn settled_sizes(journal: &Path) -> BTreeMap<String, u64> {
    let mut last = sizes(journal);
    wait_until("the journal is at rest", || {
        std::thread::sleep(Duration::from_millis(300));
        let now = sizes(journal);
        std::mem::replace(&mut last, now.clone()) == now
    });
    last
}

fn queue_for(broker: &Broker, id: &str, texts: &[&str]) {
    let mut client = broker.connect(Connect::v5(id).persistent());
    client.subscribe(&format!("{id}/#"), 1);
    client.disconnect();
    let mut publisher = broker.connect(Connect::v5("p"));
    texts.iter().for_each(|text| publisher.publish(Publish::new(&format!("{id}/t"), *text).qos(1)));
}

#[test]
fn memory_writes_no_file() {
    if has_no_journal() {
        return;
    }
    let mut broker = Broker::start(&Options::shards(2)).unwrap();
    queue_for(&broker, "c", &["1", "2"]);
    broker.connect(Connect::v5("p")).publish(Publish::new("r", "x").qos(1).retain());
    let files = || -> Vec<_> {
        let entries = std::fs::read_dir(broker.dir()).unwrap().map(Result::unwrap);
        entries.map(|entry| entry.file_name()).filter(|name| name != "control.sock").collect()
    };
    assert_eq!(files(), Vec::<std::ffi::OsString>::new());
    broker.signal("TERM");
    let dir = broker.dir().to_owned();
    assert_eq!(broker.wait().code(), Some(0));
    assert!(!dir.join("journal").exists());
}

#[test]
fn what_ends_with_its_connection_and_qos_0_never_touch_the_disk() {
    if has_no_journal() {
        return;
    }
    let broker = Durable::start(&[]).unwrap();
    queue_for(&broker, "durable", &["1"]);
    let mut durable = broker.connect(Connect::v5("durable-p").persistent());
    let before = settled_sizes(&broker.journal());
    for version in [Version::V311, Version::V50] {
        let mut client = broker.connect(Connect::new(version, "clean"));
        client.subscribe("own/#", 2);
        let mut publisher = broker.connect(Connect::new(version, "clean-p"));
        for number in 0..200_u32 {
            publisher.publish(Publish::new("own/t", number.to_string()).qos((number % 3) as u8));
            client.recv_message();
        }
        // What nobody wants, and QoS 0 from and for durable sessions.
        publisher.publish(Publish::new("nobody", "x").qos(1));
        publisher.publish(Publish::new("nobody", "x").qos(2));
        publisher.publish(Publish::new("durable/t", "x"));
        durable.publish(Publish::new("own/t", "x"));
        client.recv_message();
        client.unsubscribe(&["own/#"]);
        publisher.disconnect();
        client.abort();
    }
    assert_eq!(settled_sizes(&broker.journal()), before);
}

#[test]
fn modes_change_between_starts() {
    if has_no_journal() {
        return;
    }
    let mut broker = Durable::start(&[]).unwrap();
    queue_for(&broker, "sync", &["1"]);
    broker.broker.kill();
    let interval = broker.options.with_shards(5).set("storage.durability=interval");
    let interval = interval.set("storage.interval_ms=50");
    broker.broker.restart(&interval);
    broker.resume(Connect::v5("sync").persistent()).disconnect();
    queue_for(&broker, "interval", &["2"]);
    assert_eq!(broker.broker.terminate().code(), Some(0));
    let sync = broker.options.with_shards(2);
    broker.broker.restart(&sync);
    queue_for(&broker, "sync-2", &["3"]);
    broker.broker.kill();
    broker.broker.restart(&Options::shards(1));
    // What is in memory mode is in memory only, and what was on disk stays there untouched.
    let files = sizes(&broker.journal());
    queue_for(&broker, "memory", &["4"]);
    assert_eq!(broker.broker.terminate().code(), Some(0));
    assert_eq!(sizes(&broker.journal()), files);
    broker.broker.restart(&sync.with_shards(5));
    for (id, text) in [("interval", "2"), ("sync-2", "3")] {
        broker.resume(Connect::v5(id).persistent()).expect_message(&format!("{id}/t"), text);
    }
    broker.resume_nothing(Connect::v5("memory").persistent()).expect_nothing();
}

#[test]
fn interval_keeps_all_but_the_last_moments() {
    if has_no_journal() {
        return;
    }
    let settings = ["storage.durability=interval", "storage.interval_ms=50"];
    let mut broker = Durable::start(&settings).unwrap();
    queue_for(&broker, "c", &["1", "2", "3"]);
    // More than an interval and what a sync takes.
    std::thread::sleep(Duration::from_millis(500));
    broker.crash();
    let mut client = broker.resume(Connect::v5("c").persistent());
    client.expect_payloads(["1", "2", "3"]);
    client.expect_nothing();
    broker.stop_and_start();
    broker.resume(Connect::v5("c").persistent()).expect_nothing();
}

#[test]
fn an_idle_broker_with_durable_sessions_uses_no_cpu_and_writes_nothing() {
    if has_no_journal() {
        return;
    }
    let broker = Durable::start(&[]).unwrap();
    let mut clients: Vec<_> =
        (0..100).map(|number| broker.connect(Connect::v5(&format!("c-{number}")).persistent())).collect();
    clients.iter_mut().for_each(|client| client.subscribe("t", 1));
    let before = settled_sizes(&broker.journal());
    let ticks = crate::process::cpu_ticks(broker.pid());
    std::thread::sleep(Duration::from_secs(3));
    let used = crate::process::cpu_ticks(broker.pid()) - ticks;
    assert!(used <= 3, "{used} ticks of 300");
    assert_eq!(sizes(&broker.journal()), before);
}
