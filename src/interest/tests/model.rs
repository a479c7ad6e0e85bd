//! The loom model of the interest table: every interleaving of its atomic steps, and every value that the memory
//! model allows a load to return. `RUSTFLAGS="--cfg loom" cargo test -p myriad --lib interest::tests::model`

use crate::interest::*;
use loom::sync::atomic::{AtomicBool, Ordering::Relaxed};
use loom::thread;
use std::sync::Arc;

/// Stands for the way of a SUBACK or PUBACK through kernel and network. Relaxed, which is weaker than any of it: the
/// table must need no more order than its own fences and the load that saw the flag.
#[derive(Default)]
struct Wire(AtomicBool);

impl Wire {
    fn send(&self) {
        self.0.store(true, Relaxed);
    }

    fn has_arrived(&self) -> bool {
        let arrived = self.0.load(Relaxed);
        // The receiver read it from the kernel: an acquire at the least.
        loom::sync::atomic::fence(loom::sync::atomic::Ordering::Acquire);
        arrived
    }
}

fn table() -> Arc<InterestTable> {
    Arc::new(InterestTable::new(2, 1, 7))
}

fn a_publish_after_the_suback_is_seen(filter: &'static str, topic: &'static str) {
    loom::model(move || {
        let table = table();
        let suback = Arc::new(Wire::default());
        let subscriber = {
            let (table, suback) = (Arc::clone(&table), Arc::clone(&suback));
            thread::spawn(move || {
                LocalInterest::new(ShardId(0), table).add(filter, true);
                suback.send();
            })
        };
        if suback.has_arrived() {
            assert!(table.interested(topic).contains(ShardId(0)));
            assert!(table.durable(topic).contains(ShardId(0)));
        }
        assert!(subscriber.join().is_ok());
    });
}

#[test]
fn a_publish_after_the_suback_is_seen_by_its_exact_filter() {
    a_publish_after_the_suback_is_seen("a", "a");
}

#[test]
fn a_publish_after_the_suback_is_seen_by_its_wildcard_filter() {
    a_publish_after_the_suback_is_seen("a/#", "a");
}

/// Two shards set and clear their bits of one word; neither loses the other's.
#[test]
fn a_shard_that_leaves_takes_no_other_with_it() {
    loom::model(|| {
        let table = table();
        let leaving = {
            let table = Arc::clone(&table);
            thread::spawn(move || {
                let mut local = LocalInterest::new(ShardId(0), table);
                local.add("a/#", false);
                local.remove("a/#", false);
            })
        };
        LocalInterest::new(ShardId(1), Arc::clone(&table)).add("a/+", false);
        // Both filters have the same slot; a publish of this very thread sees its own shard at any moment.
        assert!(table.interested("a").contains(ShardId(1)));
        assert!(leaving.join().is_ok());
        let interested = table.interested("a");
        assert!(interested.contains(ShardId(1)) && !interested.contains(ShardId(0)));
    });
}

/// One of two subscriptions of a shard in one slot ends, then a third comes, while another shard publishes: the one that
/// stays is seen throughout.
#[test]
fn a_subscription_that_stays_is_seen_while_others_come_and_go() {
    loom::model(|| {
        let table = table();
        let mut local = LocalInterest::new(ShardId(0), Arc::clone(&table));
        local.add("a", false);
        let shard = thread::spawn(move || {
            local.add("a", false);
            local.remove("a", false);
            local.add("a", true);
        });
        assert!(table.interested("a").contains(ShardId(0)));
        assert!(shard.join().is_ok());
    });
}

/// The bit is cleared by the last one to leave and set again by the next: a publish after that one's SUBACK sees it.
#[test]
fn a_bit_set_again_is_seen_after_the_second_suback() {
    loom::model(|| {
        let table = table();
        let suback = Arc::new(Wire::default());
        let subscriber = {
            let (table, suback) = (Arc::clone(&table), Arc::clone(&suback));
            thread::spawn(move || {
                let mut local = LocalInterest::new(ShardId(0), table);
                local.add("+", false);
                local.remove("+", false);
                local.add("#", false);
                suback.send();
            })
        };
        if suback.has_arrived() {
            assert!(table.interested("a").contains(ShardId(0)));
        }
        assert!(subscriber.join().is_ok());
    });
}

/// The second filter finds its shard's bit set by the first one, which has a shorter prefix: how far publishes must
/// look has to be visible with its SUBACK all the same.
#[test]
fn a_longer_prefix_in_an_announced_slot_is_seen_after_the_suback() {
    loom::model(|| {
        let table = table();
        // A topic with `$`, for which the slot of `#` is not read for the sake of `#` itself.
        let probe = InterestTable::new(2, 1, 7);
        let shares_slot = |topic: &String| probe.slot(&format!("{topic}/#")) == probe.slot("#");
        let topic = (0..1000).map(|number| format!("${number}")).find(shares_slot).unwrap_or_default();
        assert!(!topic.is_empty());
        let suback = Arc::new(Wire::default());
        let subscriber = {
            let (table, suback, filter) = (Arc::clone(&table), Arc::clone(&suback), format!("{topic}/#"));
            thread::spawn(move || {
                let mut local = LocalInterest::new(ShardId(0), table);
                local.add("#", false);
                local.add(&filter, false);
                suback.send();
            })
        };
        if suback.has_arrived() {
            assert!(table.interested(&topic).contains(ShardId(0)));
        }
        assert!(subscriber.join().is_ok());
    });
}
