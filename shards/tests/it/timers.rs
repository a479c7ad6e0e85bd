//! Timers: never early, not much late, awake or asleep.

use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use shards::{ShardId, Shards};

use crate::script::*;

struct Clock {
    fired: Sender<(u64, u64)>,
}

impl Script for Clock {
    fn timer(&mut self, io: &mut Port<'_, Self>, key: u64) {
        self.fired.send((key, io.now_ms())).unwrap();
    }
}

#[test]
fn never_early_and_soon_after() {
    let (fired, firings) = channel();
    let shards = Shards::start(config(1), move |_: ShardId, io: &mut Port<'_, Clock>| {
        // The key is the time at which it is due.
        for i in 0..200u64 {
            let at = io.now_ms() + 1 + i * i % 1999;
            io.set_timer(at, at);
        }
        io.set_timer(io.now_ms(), io.now_ms());
        Run(Clock { fired: fired.clone() })
    })
    .unwrap();
    for _ in 0..201 {
        let (at, now) = firings.recv_timeout(Duration::from_secs(10)).expect("a timer is missing");
        assert!(now >= at, "{} ms early", at - now);
        assert!(now < at + 1000, "{} ms late", now - at);
    }
    assert!(firings.try_recv().is_err());
    stop(shards);
}
