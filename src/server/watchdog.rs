//! systemd's watchdog (`WatchdogSec=`, sd_notify(3)): word goes to it only while every shard answers, so that a shard which
//! hangs ends the process, and `Restart=` starts it again. A thread of its own: the main one waits for signals.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::notify::ServiceManager;
use crate::admin::{Desk, Unavailable};
use crate::broker::Question;
use crate::interest::ShardId;

/// How often a thread that waits for answers looks.
const LOOK: Duration = Duration::from_millis(5);

/// Starts it, if the service manager wants to hear from us.
///
/// # Errors
/// The thread can't be started.
pub(super) fn start(manager: &Arc<ServiceManager>, desk: &Arc<Desk>) -> io::Result<()> {
    let Some(limit) = manager.watchdog() else { return Ok(()) };
    let (manager, desk) = (Arc::clone(manager), Arc::clone(desk));
    // Twice within the limit, as sd_watchdog_enabled(3) has it.
    let pause = limit / 2;
    let watch = move || {
        loop {
            let begin = Instant::now();
            match all_answer(&desk, begin + pause) {
                Ok(()) => manager.alive(),
                // The broker ends by itself.
                Err(Unavailable::Gone(_)) => return,
                Err(error) => {
                    tracing::error!(%error, "the service manager's watchdog is not told that all is well")
                }
            }
            thread::sleep(pause.saturating_sub(begin.elapsed()));
        }
    };
    thread::Builder::new().name("watchdog".into()).spawn(watch).map(drop)
}

/// Asks every shard whether it is there, and waits for the answers.
fn all_answer(desk: &Desk, deadline: Instant) -> Result<(), Unavailable> {
    let shards = (0..desk.shards()).map(ShardId);
    let asked = shards.map(|shard| Ok((shard, desk.send(shard, Question::Ping)?)));
    let asked = asked.collect::<Result<Vec<_>, Unavailable>>()?;
    for (shard, mut answer) in asked {
        loop {
            use tokio::sync::oneshot::error::TryRecvError;
            match answer.try_recv() {
                Ok(_) => break,
                Err(TryRecvError::Closed) => return Err(Unavailable::Gone(shard)),
                Err(TryRecvError::Empty) if Instant::now() < deadline => thread::sleep(LOOK),
                Err(TryRecvError::Empty) => return Err(Unavailable::Silent(shard)),
            }
        }
    }
    Ok(())
}
