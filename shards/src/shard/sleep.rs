//! The loop of a shard: turns while there is work, a wait in data ring 0 while there is none.
//!
//! A shard never waits in glommio, which gives the thread and its placement: its reactor loses a runnable task now
//! and then (pitfall 1), heartbeat or not, and then nothing wakes the shard any more. The loop is glommio's only task
//! and never yields. Connections and timers are no tasks and no futures either: no waker of glommio is ever cloned
//! for them (pitfall 6, its counter overflows at 32,768), and none is used between shards.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Shard, Turn};
use crate::application::Application;
use crate::ring::Remains;

/// Longest wait: an idle shard looks at all its rings twice a second, at microseconds a time, whatever should have woken it.
const WAIT_MAX: Duration = Duration::from_millis(500);
/// Exit status after a failure on a shard's thread.
const EXIT_SOFTWARE: i32 = 70;

/// Ends the process: half a set of shards must not go on (pitfall 12).
fn die(shard: u16, what: &str) -> ! {
    eprintln!("shard {shard} failed: {what}; the process ends");
    std::process::exit(EXIT_SOFTWARE);
}

/// Ends the process when a panic unwinds through the shard's task, wherever in glommio it came from.
struct ExitOnPanic(u16);

impl Drop for ExitOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            die(self.0, "panic on its thread");
        }
    }
}

/// Runs the shard to its end; returns its rings.
pub(crate) fn run<A: Application>(mut shard: Shard<A>) -> Vec<Remains> {
    let number = shard.core.shard.0;
    let _guard = ExitOnPanic(number);
    let mut turn = Turn::More;
    while turn != Turn::Ended {
        turn = match catch_unwind(AssertUnwindSafe(|| one_turn(&mut shard, turn))) {
            Ok(Ok(turn)) => turn,
            Ok(Err(error)) => die(number, &format!("its ring: {error}")),
            Err(_) => die(number, "panic on its thread"),
        };
    }
    shard.core.post.door().gone.store(true, Ordering::Release);
    shard.core.net.into_remains()
}

/// One turn; waits first if the last one found nothing to do.
fn one_turn<A: Application>(shard: &mut Shard<A>, last: Turn) -> std::io::Result<Turn> {
    if last == Turn::Idle {
        wait(shard)?;
    } else {
        shard.core.net.enter(None)?;
    }
    Ok(shard.turn())
}

/// Waits in ring 0 until something is there or the next timer is due.
fn wait<A: Application>(shard: &mut Shard<A>) -> std::io::Result<()> {
    let wait = shard.next_in().map_or(WAIT_MAX, |due| due.min(WAIT_MAX));
    let net = &mut shard.core.net;
    let door = shard.core.post.door();
    if wait.is_zero() || net.has_news() || !door.bell.prepare() {
        return net.enter(None);
    }
    net.bell_rang = false;
    let is_quiet = net.listen()? && !net.has_leftovers();
    let result = net.enter(is_quiet.then_some(wait));
    door.bell.woken();
    result?;
    if net.has_news() {
        net.counts.wakes += 1;
    } else if !net.bell_rang && wait == WAIT_MAX {
        // Idle for long: memory of a busy time goes back.
        net.counts.idle_waits += 1;
        net.trim();
    }
    Ok(())
}
