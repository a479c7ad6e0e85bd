//! The loop of a shard: turns while there is work, waits in the data ring while there is traffic, sleeps in
//! glommio when there is none. Connections and timers are no tasks and no futures: no waker of glommio is ever
//! cloned for them (pitfall 6, its counter overflows at 32,768), and none is used between shards.

use std::os::fd::FromRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use glommio::io::BufferedFile;
use io_uring::opcode;
use io_uring::squeue::Flags;
use io_uring::types::{Fd, Timespec};

use super::{Shard, Turn};
use crate::application::Application;
use crate::bell::{ASLEEP, PARKED};
use crate::ring::Operation;
use crate::{ring, sys};

/// Longest wait in the data ring, and how often glommio gets a turn.
const CYCLE: Duration = Duration::from_millis(10);
/// Turns between looks at the clock for glommio's turn.
const CYCLE_TURNS: u32 = 32;
/// Waits without result after which the shard parks.
const EMPTY_WAITS: u32 = 4;
/// Pitfall 1: glommio may lose a runnable task; this timer makes it look again.
const HEARTBEAT: Duration = Duration::from_millis(250);
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

/// What the loop needs beside the shard.
struct Sleeper {
    /// Glommio's way to wait for the bell.
    park: BufferedFile,
    /// The bell's poll in ring 0 is armed.
    bell_armed: bool,
    /// When the timeout in ring 0 fires, milliseconds; read by the kernel from `timespec`.
    timeout_at_ms: Option<u64>,
    timespec: Box<Timespec>,
    empty_waits: u32,
    cycle_at: Instant,
    turns: u32,
}

/// Runs the shard to its end; returns it for its rings.
pub(crate) async fn run<A: Application>(mut shard: Shard<A>) -> Vec<io_uring::IoUring> {
    let number = shard.core.shard.0;
    let _guard = ExitOnPanic(number);
    let heartbeat = glommio::spawn_local(async {
        loop {
            glommio::timer::sleep(HEARTBEAT).await;
        }
    })
    .detach();
    let duplicate = match shard.core.post.door().eventfd.duplicate() {
        Ok(fd) => sys::into_raw(fd),
        Err(error) => die(number, &error.to_string()),
    };
    // SAFETY: the descriptor was just made and is given away.
    let park = unsafe { BufferedFile::from_raw_fd(duplicate) };
    let mut sleeper = Sleeper {
        park,
        bell_armed: false,
        timeout_at_ms: None,
        timespec: Box::new(Timespec::new()),
        empty_waits: 0,
        cycle_at: Instant::now() + CYCLE,
        turns: 0,
    };
    let mut turn = Turn::More;
    while turn != Turn::Ended {
        turn = match catch_unwind(AssertUnwindSafe(|| sleeper.turn(&mut shard, turn))) {
            Ok(Ok(turn)) => turn,
            Ok(Err(error)) => die(number, &format!("its ring: {error}")),
            Err(_) => die(number, "panic on its thread"),
        };
        sleeper.turns += 1;
        if turn == Turn::Idle && sleeper.empty_waits >= EMPTY_WAITS && sleeper.park(&mut shard, number).await
        {
            turn = Turn::More;
        } else if sleeper.turns >= CYCLE_TURNS || sleeper.empty_waits > 0 {
            sleeper.turns = 0;
            if Instant::now() >= sleeper.cycle_at {
                // Glommio's tasks, timers and files get their turn: a cycle that never sleeps, because the
                // eventfd is written first (yields do not reach its reactor, pitfall 1).
                shard.core.post.door().eventfd.ring();
                sleeper.read_bell(number).await;
            }
        }
    }
    heartbeat.cancel();
    let _ = sleeper.park.close().await;
    let door = shard.core.post.door();
    door.gone.store(true, Ordering::Release);
    shard.core.net.rings.into_iter().map(ring::Ring::into_inner).collect()
}

impl Sleeper {
    /// One turn; waits first if the last one found nothing to do.
    fn turn<A: Application>(&mut self, shard: &mut Shard<A>, last: Turn) -> std::io::Result<Turn> {
        self.notice(shard);
        if last == Turn::Idle {
            self.wait(shard)?;
        } else {
            shard.core.net.enter(None)?;
            self.empty_waits = 0;
        }
        Ok(shard.turn())
    }

    /// Takes note of what has fired since the last turn.
    fn notice<A: Application>(&mut self, shard: &mut Shard<A>) {
        if std::mem::take(&mut shard.core.net.bell_rang) {
            shard.core.post.door().eventfd.reset();
            self.bell_armed = false;
        }
        if std::mem::take(&mut shard.core.net.timeout_fired) {
            self.timeout_at_ms = None;
        }
    }

    /// Waits in ring 0, at most for a cycle.
    fn wait<A: Application>(&mut self, shard: &mut Shard<A>) -> std::io::Result<()> {
        self.arm_bell(shard);
        let now_ms = shard.now_ms();
        let due = shard.next_ms().map(|at| Duration::from_millis(at.saturating_sub(now_ms)));
        let wait = due.map_or(CYCLE, |due| due.min(CYCLE));
        let net = &mut shard.core.net;
        let door = shard.core.post.door();
        net.enter_others()?;
        if wait.is_zero() || !net.completions.is_empty() || !door.bell.prepare(ASLEEP) {
            self.empty_waits = 0;
            return net.enter(None);
        }
        // The other rings write to the eventfd that ring 0 polls: enabled first, then the fence, then the
        // look, so a completion is either seen here or writes (pitfall 4). Polling their descriptors would
        // not do (pitfall 3).
        let others = net.active > 1;
        let mut timeout = Some(wait);
        if others {
            net.notify(1, true);
            fence(Ordering::SeqCst);
            if net.others_have_work() {
                timeout = None;
            }
        }
        let result = net.enter(timeout);
        door.bell.woken();
        if others {
            net.notify(1, false);
        }
        result?;
        if net.completions.iter().any(|(_, entry)| Operation::of(entry.user_data()) != Some(Operation::Bell))
        {
            net.counts.wakes += 1;
            self.empty_waits = 0;
        } else if net.completions.is_empty() && timeout.is_some() {
            self.empty_waits += 1;
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

    /// Sleeps in glommio until the eventfd is written: by a sender, by a completion of any ring, or by the
    /// timeout of the next timer (a completion of ring 0). `false`: something came up before.
    ///
    /// One eventfd serves all of that, asleep or parked. Pitfall 2 (an eventfd that is written from within
    /// another's wake loses signals) cannot bite: every signal that matters while parked is written directly
    /// to the very eventfd that glommio reads. Only ring 0's poll of it may nest, and nothing relies on that.
    async fn park<A: Application>(&mut self, shard: &mut Shard<A>, number: u16) -> bool {
        let now_ms = shard.now_ms();
        let due = shard.next_ms();
        if due.is_some_and(|at| at <= now_ms + 2 * CYCLE.as_millis() as u64) {
            return false;
        }
        shard.core.net.trim();
        if let Some(at) = due {
            self.arm_timeout(shard, now_ms, at);
        }
        if let Err(error) = shard.core.net.enter(None) {
            die(number, &format!("its ring: {error}"));
        }
        if shard.core.net.has_work() || !shard.core.post.door().bell.prepare(PARKED) {
            return false;
        }
        // Pitfall 4: enabled, then the fence, then the look at every ring; the enter before has brought no
        // completion, so no deferred work is left that would not announce itself.
        shard.core.net.notify(0, true);
        fence(Ordering::SeqCst);
        let sleep = !shard.core.net.has_work();
        if sleep {
            shard.core.net.counts.parks += 1;
            shard.publish();
            self.read_bell(number).await;
        }
        shard.core.post.door().bell.woken();
        shard.core.net.notify(0, false);
        self.empty_waits = 0;
        sleep
    }

    /// Makes ring 0 complete something at `at_ms`.
    fn arm_timeout<A: Application>(&mut self, shard: &mut Shard<A>, now_ms: u64, at_ms: u64) {
        if self.timeout_at_ms.is_some_and(|armed| armed <= at_ms) {
            return;
        }
        *self.timespec = Timespec::from(Duration::from_millis(at_ms - now_ms + 1));
        let target = Operation::Timeout.on(0, 0);
        let entry = if self.timeout_at_ms.is_some() {
            // If it has just fired there is nothing to update, and its completion keeps the shard awake.
            opcode::TimeoutUpdate::new(target, &raw const *self.timespec)
                .build()
                .flags(Flags::SKIP_SUCCESS)
                .user_data(Operation::Cancel.on(0, 0))
        } else {
            opcode::Timeout::new(&raw const *self.timespec).build().user_data(target)
        };
        self.timeout_at_ms = Some(at_ms);
        // SAFETY: the time is read while the entry is submitted; the box lives until then.
        unsafe { shard.core.net.rings[0].push(&entry) };
    }

    /// Waits in glommio for the eventfd, and resets it.
    async fn read_bell(&mut self, number: u16) {
        if let Err(error) = self.park.read_at(0, 8).await {
            die(number, &format!("its eventfd: {error}"));
        }
        self.cycle_at = Instant::now() + CYCLE;
        self.turns = 0;
    }
}
