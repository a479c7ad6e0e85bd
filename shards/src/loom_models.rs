//! Loom models of the two lock-free protocols: no wake-up is lost, no credit is lost. The eventfd is a
//! `Notify` (a write is remembered until it is read); a lost wake-up is a deadlock, which loom reports.
//!
//! `RUSTFLAGS="--cfg loom" CARGO_PROFILE_RELEASE_LTO=off cargo test -p shards --lib --release loom_`

use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Arc, Notify};
use loom::thread;

use crate::bell::Bell;
use crate::credit::Credit;

/// A shard's door, and a counter that stands for its queues.
struct Shard {
    bell: Bell,
    eventfd: Notify,
    pushed: AtomicU32,
}

impl Shard {
    fn new(bits: usize) -> Arc<Self> {
        Arc::new(Self { bell: Bell::new(bits), eventfd: Notify::new(), pushed: AtomicU32::new(0) })
    }

    /// What a sender does.
    fn send(&self, bit: usize) {
        self.pushed.fetch_add(1, Ordering::Relaxed);
        self.post(bit);
    }

    fn post(&self, bit: usize) {
        if self.bell.post(bit) {
            self.eventfd.notify();
        }
    }

    /// What the shard does until it has seen `wanted` messages: looks, sleeps, looks.
    fn serve(&self, wanted: u32) {
        let mut seen = 0;
        loop {
            if self.bell.take(0) != 0 {
                // Everything pushed before the bit is visible with the bit.
                seen = self.pushed.load(Ordering::Relaxed);
            }
            if seen == wanted {
                return;
            }
            if self.bell.prepare() {
                self.eventfd.wait();
                self.bell.woken();
            }
        }
    }
}

#[test]
fn loom_a_message_to_a_shard_that_falls_asleep_wakes_it() {
    loom::model(|| {
        let shard = Shard::new(2);
        let sender = shard.clone();
        let thread = thread::spawn(move || sender.send(0));
        shard.serve(1);
        thread.join().unwrap();
    });
}

#[test]
fn loom_two_senders_and_a_shard_that_sleeps_in_between() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let shard = Shard::new(2);
        let threads: Vec<_> = (0..2)
            .map(|bit| {
                let sender = shard.clone();
                thread::spawn(move || sender.send(bit))
            })
            .collect();
        shard.serve(2);
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn loom_one_sender_twice_with_a_late_write_to_the_eventfd() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let shard = Shard::new(1);
        let sender = shard.clone();
        let thread = thread::spawn(move || {
            sender.send(0);
            sender.send(0);
        });
        shard.serve(2);
        thread.join().unwrap();
    });
}

#[test]
fn loom_a_starved_sender_is_told_of_the_next_release() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let credit = Arc::new(Credit::new());
        let sender = Shard::new(1);
        let (given, told) = (credit.clone(), sender.clone());
        let receiver = thread::spawn(move || {
            for _ in 0..2 {
                if given.release(1) {
                    told.post(0);
                }
            }
        });
        // One credit was taken; two more are wanted.
        for wanted in 1..=2 {
            while credit.released() < wanted {
                if credit.starve() >= wanted {
                    credit.fed();
                    break;
                }
                while sender.bell.take(0) == 0 {
                    if sender.bell.prepare() {
                        sender.eventfd.wait();
                        sender.bell.woken();
                    }
                }
            }
        }
        receiver.join().unwrap();
    });
}
