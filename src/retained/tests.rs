//! The slice against a plain map, under a seeded generator.

use super::*;
use crate::topic::matches;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq)]
struct Message {
    topic: String,
    version: u32,
}

impl Stored for Message {
    fn topic(&self) -> &str {
        &self.topic
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len() as u64) as usize]
    }

    /// Levels whose order is unlike the order of topics: bytes below and above `/`, empty ones, prefixes of each other.
    fn topic(&mut self) -> String {
        let levels = ["", "a", "a-b", "a.", "a0", "aa", "b", "!", "~", "$", "$SYS", "ä"];
        let count = 1 + self.below(4);
        let topic = (0..count).map(|_| self.pick(&levels)).collect::<Vec<_>>().join("/");
        if topic.is_empty() { "x".into() } else { topic }
    }

    fn filter(&mut self) -> String {
        let levels = ["", "a", "a-b", "a0", "aa", "b", "!", "$SYS", "+", "+", "+"];
        let mut levels: Vec<_> = (0..1 + self.below(4)).map(|_| self.pick(&levels)).collect();
        if self.below(3) == 0 {
            levels.push("#");
        }
        let filter = levels.join("/");
        if filter.is_empty() { "#".into() } else { filter }
    }
}

#[test]
fn scans_find_what_matches_in_any_portions() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let mut store = RetainedStore::new();
        let mut model = BTreeMap::new();
        for version in 0..300 {
            let topic = random.topic();
            if random.below(4) == 0 {
                assert_eq!(
                    store.remove(&topic).map(|message: Arc<Message>| message.version),
                    model.remove(&topic)
                );
            } else {
                let old = store.insert(Arc::new(Message { topic: topic.clone(), version }));
                assert_eq!(old.map(|message| message.version), model.insert(topic.clone(), version));
            }
            assert_eq!(store.get(&topic).map(|message| message.version), model.get(&topic).copied());
            assert_eq!(store.bytes(), model.keys().map(String::len).sum::<usize>());
        }
        for _ in 0..300 {
            let filter = random.filter();
            let (budget, limit) = (1 + random.below(9) as usize, 1 + random.below(5) as usize);
            let mut found = Vec::new();
            let mut cursor: Option<Box<str>> = None;
            loop {
                let before = found.len();
                let scan =
                    store.scan(&filter, cursor.as_deref(), budget, limit, &mut found, |m| m.version % 5 != 0);
                assert!(scan.visited <= budget && found.len() - before <= limit);
                cursor = scan.next;
                if cursor.is_none() {
                    break;
                }
            }
            let expected: Vec<_> = model
                .iter()
                .filter(|(topic, version)| matches(&filter, topic) && *version % 5 != 0)
                .collect();
            assert!(
                found.iter().map(|message| (&message.topic, &message.version)).eq(expected),
                "seed {seed}, filter {filter}"
            );
        }
    }
}

#[test]
fn scans_skip_what_cannot_match() {
    let mut store = RetainedStore::new();
    for device in 0..1000 {
        for value in 0..50 {
            store.insert(Message { topic: format!("site/{device}/v{value:02}/now"), version: 0 });
        }
    }
    let visits = |filter: &str| {
        let mut found = Vec::new();
        let scan = store.scan(filter, None, usize::MAX, usize::MAX, &mut found, |_| true);
        assert!(scan.is_done());
        (found.len(), scan.visited)
    };
    assert_eq!(visits("site/7/#"), (50, 51));
    assert_eq!(visits("site/7/v07/now"), (1, 1));
    assert_eq!(visits("nowhere/#").0, 0);
    let (found, visited) = visits("site/+/v07/now");
    assert!(found == 1000 && visited <= 3100, "{visited} visits for {found} messages");
    let (found, visited) = visits("+/+/v07/+");
    assert!(found == 1000 && visited <= 3100, "{visited} visits for {found} messages");
    assert_eq!(visits("site/+"), (0, 1001.min(visits("site/+").1)));
}

#[test]
fn a_cursor_survives_changes() {
    let mut store = RetainedStore::new();
    for number in 0..100 {
        store.insert(Message { topic: format!("a/{number:03}"), version: number });
    }
    let (mut found, mut cursor) = (Vec::new(), None::<Box<str>>);
    for round in 0.. {
        let scan = store.scan("a/+", cursor.as_deref(), 10, 10, &mut found, |_| true);
        // The message at the cursor goes, one before it and one after it come.
        if let Some(at) = &scan.next {
            store.remove(at);
            store.insert(Message { topic: "a/".into(), version: round });
            store.insert(Message { topic: format!("{at}-"), version: 1000 });
        }
        cursor = scan.next;
        if cursor.is_none() {
            break;
        }
    }
    let numbers: Vec<_> =
        found.iter().map(|message| message.version).filter(|version| *version < 1000).collect();
    assert_eq!(numbers, (0..100).collect::<Vec<_>>(), "each that stayed once, in order");
}

#[test]
fn a_sweep_removes_the_dead_in_portions() {
    let mut store = RetainedStore::new();
    for number in 0..1000 {
        store.insert(Message { topic: format!("t/{number}"), version: number });
    }
    let (mut dead, mut cursor) = (Vec::new(), None::<Box<str>>);
    loop {
        let before = dead.len();
        let scan = store.sweep(cursor.as_deref(), 64, |message| message.version % 3 != 0, &mut dead);
        assert!(scan.visited <= 64 && dead.len() - before <= 64);
        cursor = scan.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((dead.len(), store.len()), (334, 666));
    assert!(dead.iter().all(|message| message.version % 3 == 0));
    assert!(store.iter_after(None).all(|message| message.version % 3 != 0));
    assert_eq!(store.bytes(), store.iter_after(None).map(|message| message.topic.len()).sum::<usize>());
}
