//! Alarms of conditions that a test can't bring about in a real machine within its time, or not at will: memory, slow turns, the
//! clock. Each is raised once, says what is wrong, and is cleared only at its lower watermark.

use std::sync::Arc;

use myriad::broker::inspect::ITEMS_MAX;
use myriad::broker::{Alarm, Answer, ObserveAnswer, ObserveQuestion, Origins, Question, Shared};
use myriad::clock::Timestamp;
use myriad::config::Config;
use serde_json::Value;

use crate::directed::{connect, read, run, subscribe, world_after};
use crate::effects::Order;
use crate::socket::SocketId;
use crate::wire::FromServer;
use crate::world::World;

/// Longer than it takes from one look to the next, and to publish what was seen.
const LOOK_MS: u64 = 2_500;
/// The time over which slow turns are counted, and one look more.
const WINDOW_MS: u64 = 12_500;

/// A node of two shards with a client that is subscribed to its alarms.
struct Node {
    world: World,
    shared: Arc<Shared>,
    config: Config,
    watcher: SocketId,
}

impl Node {
    fn new() -> Self {
        Self::after(Origins::default())
    }

    /// One whose clock goes on from that of a journal.
    fn after(origins: Origins) -> Self {
        let mut config = Config::default();
        config.node.name = "n1".into();
        let (mut world, shared) = world_after(&config, 2, 100, origins);
        world.states.iter_mut().for_each(|state| state.clock_ahead_ms = Some(0));
        let watcher = connect(&mut world, "watcher");
        let mut node = Self { world, shared, config, watcher };
        for filter in ["$SYS/brokers/+/alarms/#", "$SYS/brokers/+/sysmon/#", "other/brokers/+/alarms/#"] {
            subscribe(&mut node.world, watcher, filter);
        }
        node.silent(0);
        node
    }

    /// What is published in the next `ms`: the end of its topic, and its payload.
    fn told(&mut self, ms: u64) -> Vec<(String, String)> {
        let until = self.world.now + ms;
        run(&mut self.world, until);
        let messages = read(&mut self.world, self.watcher).into_iter().filter_map(|packet| match packet {
            FromServer::Publish(message) => {
                let payload = String::from_utf8(message.payload).unwrap();
                let topic = message.topic.strip_prefix("$SYS/brokers/n1/").unwrap_or(&message.topic);
                Some((topic.to_owned(), payload))
            }
            _ => None,
        });
        let mut messages: Vec<_> = messages.collect();
        // Each comes by the shard that keeps what is retained of its topic.
        messages.sort();
        messages
    }

    /// The summary of the one alarm that is raised in the next `ms`.
    fn raised(&mut self, id: &str, ms: u64) -> String {
        let told = self.told(ms);
        let [(topic, payload)] = &told[..] else { panic!("{id}: {told:?}") };
        assert_eq!(*topic, format!("alarms/{id}/alert"));
        let alert: Value = serde_json::from_str(payload).unwrap();
        assert_eq!((&alert["id"], &alert["severity"]), (&id.into(), &"warning".into()), "{alert}");
        alert["summary"].as_str().unwrap().to_owned()
    }

    /// In the next `ms` the alarm ends.
    fn cleared(&mut self, id: &str, ms: u64) {
        let told = self.told(ms);
        let [(alert, empty), (clear, _)] = &told[..] else { panic!("{id}: {told:?}") };
        assert_eq!((alert.as_str(), empty.as_str()), (format!("alarms/{id}/alert").as_str(), ""));
        assert_eq!(*clear, format!("alarms/{id}/clear"));
        assert!(self.alarms().iter().all(|alarm| alarm.cleared_at_ms.is_some()));
    }

    /// Nothing is published in the next `ms`.
    fn silent(&mut self, ms: u64) {
        assert_eq!(self.told(ms), []);
    }

    /// What the API shows.
    fn alarms(&mut self) -> Vec<Alarm> {
        let mut alarms = None;
        let question = Question::Observe(ObserveQuestion::Alarms);
        let ask = self.world.perform(0, |node, now, port| alarms = Some(node.inspect(now, question, port)));
        ask.unwrap();
        let Some(Answer::Observe(ObserveAnswer::Alarms(alarms))) = alarms else { panic!("{alarms:?}") };
        assert!(alarms.len() <= ITEMS_MAX);
        alarms
    }

    fn message(&mut self) -> String {
        self.alarms().remove(0).message
    }

    fn reload(&mut self, change: impl FnOnce(&mut Config)) {
        change(&mut self.config);
        let config = Arc::new(self.config.clone());
        for state in &mut self.world.states {
            state.orders.push_back((self.world.now, Order::Reload(0, Arc::clone(&config))));
        }
    }

    /// The process uses so many MiB.
    fn use_memory(&self, mib: u64) {
        self.shared.pressure.measured(mib << 20);
    }

    /// So many more turns of shards were slow.
    fn be_slow(&self, shard: usize, turns: u64) {
        let counter = &self.shared.metrics[shard].slow_turns;
        counter.set(counter.load() + turns);
    }

    /// Somebody sets the system's clock.
    fn set_clock(&mut self, by_ms: i64) {
        for state in &mut self.world.states {
            state.clock_ahead_ms = state.clock_ahead_ms.map(|ahead_ms| ahead_ms + by_ms);
        }
    }
}

#[test]
fn memory_high_begins_at_85_percent_and_ends_3_below() {
    let mut node = Node::new();
    node.shared.pressure.set_max(1000 << 20);
    node.use_memory(849);
    node.silent(LOOK_MS);
    node.use_memory(850);
    let summary = node.raised("memory_high", LOOK_MS);
    assert_eq!(
        summary,
        "memory: 850 of 1000 MiB (limits.memory_max) are used: QoS 0 to slow subscribers is dropped"
    );
    node.use_memory(975);
    node.silent(LOOK_MS);
    let message = node.message();
    assert!(message.contains("975 of 1000 MiB") && message.contains("connections are refused"), "{message}");
    node.use_memory(820);
    node.silent(3 * LOOK_MS);
    node.use_memory(819);
    node.cleared("memory_high", LOOK_MS);
    node.silent(3 * LOOK_MS);
    node.use_memory(850);
    node.raised("memory_high", LOOK_MS);
}

#[test]
fn slow_turns_are_counted_over_all_shards_and_ten_seconds() {
    let mut node = Node::new();
    node.silent(LOOK_MS);
    node.be_slow(0, 49);
    node.silent(WINDOW_MS);
    node.be_slow(0, 20);
    node.be_slow(1, 30);
    let told = node.told(WINDOW_MS);
    let topics: Vec<_> = told.iter().map(|(topic, _)| topic.as_str()).collect();
    assert_eq!(topics, ["alarms/slow_turns/alert", "sysmon/long_schedule"]);
    let text = &told[1].1;
    assert!(text.starts_with("50 turns of shards took longer than 5 ms within 10 s"), "{text}");
    assert_eq!(node.message(), *text);
    // Few, and not few enough: that is still the same.
    node.be_slow(1, 5);
    let told = node.told(10_000);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0, "sysmon/long_schedule");
    assert!(node.message().starts_with("5 turns"), "{}", node.message());
    node.be_slow(0, 4);
    node.cleared("slow_turns", 10_000);
    node.be_slow(0, 49);
    node.silent(WINDOW_MS);
}

/// The clock goes on from the journal's: a day before the start is in no window, nor is what the start itself takes.
#[test]
fn slow_turns_after_a_restart_are_those_of_ten_seconds() {
    let mut node = Node::after(Origins { now: Timestamp(86_400_000), ..Origins::default() });
    node.be_slow(0, 60);
    node.silent(WINDOW_MS);
    node.be_slow(0, 60);
    let told = node.told(WINDOW_MS);
    assert!(told[0].1.contains("60 turns of shards took longer than 5 ms within 10 s"), "{told:?}");
}

#[test]
fn a_clock_that_jumps_is_an_alarm_for_five_minutes() {
    let mut node = Node::new();
    node.set_clock(4_999);
    node.silent(LOOK_MS);
    node.set_clock(-5_000);
    node.silent(LOOK_MS);
    node.set_clock(7_500);
    let summary = node.raised("clock_jump", LOOK_MS);
    assert!(summary.starts_with("the system's clock jumped by 7 s"), "{summary}");
    node.silent(200_000);
    // Another one while it lasts makes it last.
    node.set_clock(-60_000);
    node.silent(295_000);
    assert!(node.message().starts_with("the system's clock jumped by -60 s"), "{}", node.message());
    node.cleared("clock_jump", 10_000);
    node.silent(10_000);
}

#[test]
fn alarms_follow_the_prefix_of_the_sys_tree() {
    let mut node = Node::new();
    node.shared.pressure.set_max(1000 << 20);
    node.use_memory(850);
    node.raised("memory_high", LOOK_MS);
    node.reload(|config| config.sys.prefix = "other/brokers".into());
    let told = node.told(LOOK_MS);
    let [(former, empty), (new, alert)] = &told[..] else { panic!("{told:?}") };
    assert_eq!((former.as_str(), empty.as_str()), ("alarms/memory_high/alert", ""));
    assert_eq!(new, "other/brokers/n1/alarms/memory_high/alert");
    assert!(alert.contains("850 of 1000 MiB"), "{alert}");
    // Nobody would say that it is over.
    node.reload(|config| config.sys.interval_s = 0);
    assert_eq!(node.told(LOOK_MS), [("other/brokers/n1/alarms/memory_high/alert".to_owned(), String::new())]);
    node.reload(|config| config.sys.interval_s = 60);
    let told = node.told(LOOK_MS);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].1.contains("850 of 1000 MiB"), "{told:?}");
}
