//! systemd's watchdog (`WatchdogSec=`, sd_notify(3)): word goes to it only while every shard answers, so that a shard which
//! hangs ends the process, and `Restart=` starts it again. A thread of its own: the main one waits for signals.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot::Receiver;
use tokio::sync::oneshot::error::TryRecvError;

use super::notify::ServiceManager;
use crate::admin::{Desk, Unavailable};
use crate::broker::Answer;
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
    // Oftener than sd_watchdog_enabled(3) advises: an answer that comes late is heard of at the next look, and not past the limit.
    let pause = limit / 4;
    let watch = move || {
        let mut pending = Vec::new();
        pending.resize_with(usize::from(desk.shards()), || None);
        loop {
            let begin = Instant::now();
            match all_answer(&desk, &mut pending, begin + pause) {
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

/// Asks every shard whether it is there, but those that owe an answer since the last time, and waits for the answers. Those that
/// do not come stay in `pending`.
fn all_answer(
    desk: &Desk,
    pending: &mut [Option<Receiver<Answer>>],
    deadline: Instant,
) -> Result<(), Unavailable> {
    for (shard, answer) in (0..).map(ShardId).zip(pending.iter_mut()) {
        if answer.is_none() {
            *answer = Some(desk.ping(shard)?);
        }
    }
    let mut outcome = Ok(());
    for (shard, answer) in (0..).map(ShardId).zip(pending) {
        while let Some(awaited) = answer {
            match awaited.try_recv() {
                Ok(_) => *answer = None,
                Err(TryRecvError::Closed) => return Err(Unavailable::Gone(shard)),
                Err(TryRecvError::Empty) if Instant::now() < deadline => thread::sleep(LOOK),
                Err(TryRecvError::Empty) => {
                    outcome = Err(Unavailable::Silent(shard));
                    break;
                }
            }
        }
    }
    outcome
}
