//! The interest table against plain sets of filters, under a seeded generator.

use crate::interest::*;
use crate::topic::matches;
use std::collections::BTreeMap;
use std::sync::Arc;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn name(&mut self, choice: &[&str], multi: bool) -> String {
        let mut levels: Vec<_> =
            (0..1 + self.below(4)).map(|_| choice[self.below(choice.len() as u64) as usize]).collect();
        if multi && self.below(4) == 0 {
            levels.push("#");
        }
        let name = levels.join("/");
        if name.is_empty() { "x".into() } else { name }
    }
}

/// Filters of a shard, with how often each was added and how often as durable.
type Model = BTreeMap<String, (u32, u32)>;

#[test]
fn no_interested_shard_is_ever_missing() {
    for (seed, shards) in [(1, 1), (2, 2), (3, 5), (4, 64), (5, 65), (6, 1024)] {
        // Few slots, so that filters collide all the time.
        let table = Arc::new(InterestTable::new(shards, 4, seed));
        let mut random = Random(seed);
        let mut local: Vec<_> =
            (0..shards).map(|s| LocalInterest::new(ShardId(s), Arc::clone(&table))).collect();
        let mut models = vec![Model::new(); usize::from(shards)];
        let steps = if shards > 100 { 300 } else { 2000 };
        for step in 0..steps {
            let shard = random.below(u64::from(shards)) as usize;
            let filter = random.name(&["", "a", "b", "c", "$SYS", "+"], true);
            let durable = random.below(3) == 0;
            let count = models[shard].entry(filter.clone()).or_default();
            match random.below(if step < steps * 2 / 3 { 5 } else { 12 }) {
                0..4 => {
                    local[shard].add(&filter, durable);
                    *count = (count.0 + 1, count.1 + u32::from(durable));
                }
                4 if count.0 > count.1 => {
                    local[shard].make_durable(&filter);
                    count.1 += 1;
                }
                5 if count.1 > 0 => {
                    local[shard].make_volatile(&filter);
                    count.1 -= 1;
                }
                _ if count.0 > 0 => {
                    let durable = count.1 > 0;
                    local[shard].remove(&filter, durable);
                    *count = (count.0 - 1, count.1 - u32::from(durable));
                }
                _ => {}
            }
            let topic = random.name(&["", "a", "b", "c", "$SYS", "d"], false);
            let (interested, durable) = (table.interested(&topic), local[shard].durable(&topic));
            for (shard, model) in models.iter().enumerate() {
                let shard = ShardId(shard as u16);
                for (filter, count) in model.iter().filter(|(filter, _)| matches(filter, &topic)) {
                    assert!(count.0 == 0 || interested.contains(shard), "{topic} {filter} {shard:?}");
                    assert!(count.1 == 0 || durable.contains(shard), "{topic} {filter} {shard:?}");
                }
            }
        }
        // All withdrawn: nobody is left.
        for (local, model) in local.iter_mut().zip(&models) {
            for (filter, (count, durable)) in model {
                (0..*count).for_each(|time| local.remove(filter, time < *durable));
            }
        }
        for topic in ["a", "a/b", "", "c/c/c"] {
            assert_eq!(table.interested(topic).len(), usize::from(shards == 1));
            assert!(table.durable(topic).is_empty());
        }
    }
}

#[test]
fn few_publishes_hop_needlessly() {
    let filters = 5000;
    let table = Arc::new(InterestTable::new(8, filters, 77));
    let mut local: Vec<_> =
        (0..8).map(|shard| LocalInterest::new(ShardId(shard), Arc::clone(&table))).collect();
    for number in 0..filters {
        let shard = number as usize % 8;
        local[shard].add(&format!("site/{number}/state"), false);
        local[shard].add(&format!("device/{number}/#"), false);
    }
    let mut needless = 0;
    for number in 0..filters {
        for topic in [format!("site/{number}/state"), format!("device/{number}/value")] {
            let set = table.interested(&topic);
            assert!(set.contains(ShardId(number as u16 % 8)));
            needless += set.len() - 1;
        }
    }
    // Exact: 1/8 x 7/8 of a hop for the one slot. Wildcard: the same for each of the three prefixes and the exact slot.
    assert!(needless < filters as usize * 2 / 5, "{needless} needless hops of {} publishes", 2 * filters);
    assert!(local.iter().all(|local| local.collisions() < 5000 / 16));
}
