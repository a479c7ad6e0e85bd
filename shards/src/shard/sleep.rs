//! The loop of a shard: turns while there is work, a wait in data ring 0 while there is none.
//!
//! A shard never waits in glommio, which gives the thread and its placement: its reactor loses a runnable task now
//! and then (pitfall 1), heartbeat or not, and then nothing wakes the shard any more. The loop is glommio's only task
//! and never yields. Connections and timers are no tasks and no futures either: no waker of glommio is ever cloned
//! for them (pitfall 6, its counter overflows at 32,768), and none is used between shards.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use io_uring::opcode;
use io_uring::types::Fd;

use super::{Shard, Turn};
use crate::application::Application;
use crate::ring;
use crate::ring::Operation;

/// Longest wait: an idle shard looks around twice a second, at microseconds a time, whatever should have woken it.
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
pub(crate) fn run<A: Application>(mut shard: Shard<A>) -> Vec<io_uring::IoUring> {
    let number = shard.core.shard.0;
    let _guard = ExitOnPanic(number);
    let mut sleeper = Sleeper { bell_armed: false };
    let mut turn = Turn::More;
    while turn != Turn::Ended {
        turn = match catch_unwind(AssertUnwindSafe(|| sleeper.turn(&mut shard, turn))) {
            Ok(Ok(turn)) => turn,
            Ok(Err(error)) => die(number, &format!("its ring: {error}")),
            Err(_) => die(number, "panic on its thread"),
        };
    }
    shard.core.post.door().gone.store(true, Ordering::Release);
    shard.core.net.rings.into_iter().map(ring::Ring::into_inner).collect()
}

/// What the loop needs beside the shard.
struct Sleeper {
    /// The bell's poll in ring 0 is armed.
    bell_armed: bool,
}

impl Sleeper {
    /// One turn; waits first if the last one found nothing to do.
    fn turn<A: Application>(&mut self, shard: &mut Shard<A>, last: Turn) -> std::io::Result<Turn> {
        if std::mem::take(&mut shard.core.net.bell_rang) {
            shard.core.post.door().eventfd.reset();
            self.bell_armed = false;
        }
        if last == Turn::Idle {
            self.wait(shard)?;
        } else {
            shard.core.net.enter(None)?;
        }
        Ok(shard.turn())
    }

    /// Waits in ring 0 until something is there or the next timer is due.
    fn wait<A: Application>(&mut self, shard: &mut Shard<A>) -> std::io::Result<()> {
        self.arm_bell(shard);
        let wait = shard.next_in().map_or(WAIT_MAX, |due| due.min(WAIT_MAX));
        let net = &mut shard.core.net;
        let door = shard.core.post.door();
        if wait.is_zero() || net.has_news() || !door.bell.prepare() {
            return net.enter(None);
        }
        // The other rings write to the eventfd that ring 0 polls: enabled first, then the fence, then the
        // look, so a completion is either seen here or writes (pitfall 4). Polling their descriptors would
        // not do (pitfall 3). Ring 0's own eventfd stays disabled, so nothing nests (pitfall 2).
        let others = net.look_for_opened() > 1;
        let mut timeout = Some(wait);
        if others {
            net.notify(1, true);
            fence(Ordering::SeqCst);
            if !net.enter_others()? || net.has_news() {
                timeout = None;
            }
        }
        let result = net.enter(timeout);
        door.bell.woken();
        if others {
            net.notify(1, false);
        }
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

    /// Arms the poll of the eventfd in ring 0. One shot: a wake by a ring's eventfd would end a multishot.
    fn arm_bell<A: Application>(&mut self, shard: &mut Shard<A>) {
        if self.bell_armed {
            return;
        }
        self.bell_armed = true;
        let entry =
            opcode::PollAdd::new(Fd(shard.core.post.door().eventfd.fd()), libc::POLLIN as u32).build();
        // SAFETY: names no memory.
        unsafe { shard.core.net.rings[0].push(&entry.user_data(Operation::Bell.on(0, 0))) };
    }
}
