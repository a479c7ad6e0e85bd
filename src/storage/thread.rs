//! The thread that owns the writer: takes what shards send, commits what waits in one go, tells them what is durable. It
//! sleeps while nobody writes, but for a sign of life every ten seconds.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use nix::time::{ClockId, clock_gettime};

use super::backup::{self, BackupReport};
use super::marks::{Clocks, Mark};
use super::real_disk::RealDisk;
use super::segment::JournalEnd;
use super::writer::{DownReason, JournalWriter, Outcome, StateChange, Statistics, WriterOptions};
use crate::clock::Timestamp;

/// Time between two signs of life.
const CLOCK_MS: u64 = 10_000;
/// What is committed at once at most; what comes then is in the next batch.
const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What a shard is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// All that it stored up to this ticket is durable.
    Durable {
        /// The ticket.
        ticket: u64,
    },
    /// It is to write images of all that it has, and call [`StorageHandle::imaged`] then. An earlier checkpoint is void.
    Checkpoint {
        /// Which checkpoint.
        generation: u64,
    },
    /// Nothing becomes durable any more, up to `Up`. What it stores may be thrown away.
    Down {
        /// Why.
        reason: DownReason,
    },
    /// Things become durable again; the notice for all that was stored meanwhile follows.
    Up,
}

/// What the machine's clocks say now.
pub fn machine_clocks() -> Clocks {
    clocks_of(boot_id())
}

/// The same; which start of the machine it is does not change while the process runs.
fn clocks_of(boot_id: u128) -> Clocks {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Clocks { unix_ms: unix.as_millis() as u64, boot_ms: boot_ms(), boot_id }
}

fn boot_ms() -> u64 {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |time| Duration::from(time).as_millis() as u64)
}

/// 0 where the kernel does not say.
fn boot_id() -> u128 {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    u128::from_str_radix(&text.trim().replace('-', ""), 16).unwrap_or(0)
}

enum Command {
    Store { shard: u16, ticket: u64, frame: Vec<u8> },
    Imaged { shard: u16, generation: u64 },
    Pin(Sender<Vec<(String, u64)>>),
    Unpin,
    Stop,
}

/// How shards and operators reach the thread. Calls do not block, but for `backup` and `stop`.
#[derive(Debug, Clone)]
pub struct StorageHandle {
    commands: Sender<Command>,
    statistics: Arc<Mutex<Statistics>>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
    dir: Arc<Path>,
}

impl StorageHandle {
    /// Stores a frame's body that `shard` wrote; `Notice::Durable` names this ticket or a later one when it is done. Tickets of
    /// a shard rise.
    pub fn store(&self, shard: u16, ticket: u64, frame: Vec<u8>) {
        self.send(Command::Store { shard, ticket, frame });
    }

    /// `shard` has stored images of everything for checkpoint `generation`.
    pub fn imaged(&self, shard: u16, generation: u64) {
        self.send(Command::Imaged { shard, generation });
    }

    /// Nobody hears it only after `stop`.
    fn send(&self, command: Command) {
        let _ = self.commands.send(command);
    }

    /// Counts and state as of the last batch.
    pub fn statistics(&self) -> Statistics {
        locked(&self.statistics).clone()
    }

    /// Copies a journal that is whole, up to what is durable now, to the new folder `to`, while the broker goes on. Takes as long
    /// as copying takes: not for a shard's thread.
    ///
    /// # Errors
    /// `to` exists, a file can't be copied, or the thread has ended.
    pub fn backup(&self, to: &Path) -> io::Result<BackupReport> {
        let (reply, pinned) = mpsc::channel();
        self.send(Command::Pin(reply));
        let files = pinned.recv().map_err(|_| io::Error::other("the journal is closed"))?;
        let copied = backup::copy(&self.dir, &files, to);
        self.send(Command::Unpin);
        copied
    }

    /// Syncs what was stored and ends the thread. What is stored later is lost.
    pub fn stop(&self) {
        self.send(Command::Stop);
        let thread = locked(&self.thread).take();
        // It has nothing to return, and a panic was reported when it happened.
        let _ = thread.map(JoinHandle::join);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread's own.
pub struct StorageThread<N> {
    writer: JournalWriter<RealDisk>,
    commands: Receiver<Command>,
    notify: N,
    shards: u16,
    now: Box<dyn Fn() -> Timestamp + Send>,
    boot_id: u128,
    /// When the next sign of life is due, by CLOCK_BOOTTIME; `None`: nobody would miss it.
    clock_due_ms: Option<u64>,
    statistics: Arc<Mutex<Statistics>>,
}

impl<N: Fn(u16, Notice) + Send + 'static> StorageThread<N> {
    /// Opens the journal for writing and starts the thread. `now`: the journal's time. `notify(shard, notice)` is called on the
    /// thread; it must not block for long.
    ///
    /// # Errors
    /// The folder can't be read or written to, or there can't be a thread.
    pub fn start(
        disk: RealDisk,
        end: JournalEnd,
        options: WriterOptions,
        now: impl Fn() -> Timestamp + Send + 'static,
        notify: N,
    ) -> io::Result<StorageHandle> {
        let dir: PathBuf = disk.dir().to_owned();
        let (shards, is_fresh) = (options.shards, end.last == 0);
        let boot_id = boot_id();
        let (writer, outcome) = JournalWriter::open(disk, end, options, mark(&now, boot_id))?;
        let (sender, commands) = mpsc::channel();
        let statistics = Arc::new(Mutex::new(writer.statistics()));
        let thread = Self {
            writer,
            commands,
            notify,
            shards,
            now: Box::new(now),
            boot_id,
            clock_due_ms: (!is_fresh).then_some(0),
            statistics: Arc::clone(&statistics),
        };
        let thread = thread::Builder::new().name("journal".into()).spawn(move || thread.run(outcome))?;
        let thread = Arc::new(Mutex::new(Some(thread)));
        Ok(StorageHandle { commands: sender, statistics, thread, dir: dir.into() })
    }

    fn run(mut self, opened: Outcome) {
        self.publish(opened);
        loop {
            let mut is_stopping = false;
            let mut command = self.wait();
            let mut bytes = 0;
            while let Some(next) = command {
                bytes += if let Command::Store { frame, .. } = &next { frame.len() } else { 0 };
                is_stopping |= self.take(next);
                command = if bytes < BATCH_BYTES_MAX { self.commands.try_recv().ok() } else { None };
            }
            let mark = mark(&self.now, self.boot_id);
            let committed = self.writer.commit(mark);
            self.publish(committed);
            if is_stopping {
                let closed = self.writer.close(mark);
                self.publish(closed);
                return;
            }
            let maintained = self.writer.maintain(mark);
            self.publish(maintained);
            self.leave_a_sign(mark);
            *locked(&self.statistics) = self.writer.statistics();
        }
    }

    /// The next command; `None` when something else is due.
    fn wait(&self) -> Option<Command> {
        let due_ms = self.writer.wake_at().into_iter().chain(self.clock_due_ms).min();
        let left_ms = due_ms.map(|due_ms| due_ms.saturating_sub(boot_ms()));
        // Without any handle nobody will ever stop it.
        match left_ms {
            None => Some(self.commands.recv().unwrap_or(Command::Stop)),
            Some(0) => match self.commands.try_recv() {
                Err(TryRecvError::Disconnected) => Some(Command::Stop),
                received => received.ok(),
            },
            Some(ms) => match self.commands.recv_timeout(Duration::from_millis(ms)) {
                Err(RecvTimeoutError::Disconnected) => Some(Command::Stop),
                received => received.ok(),
            },
        }
    }

    /// Whether it was the last command.
    fn take(&mut self, command: Command) -> bool {
        match command {
            Command::Store { shard, ticket, frame } => {
                self.clock_due_ms.get_or_insert(0);
                self.writer.append(shard, ticket, frame);
            }
            Command::Imaged { shard, generation } => self.writer.imaged(shard, generation),
            Command::Pin(reply) => {
                let files = self.writer.pin();
                if reply.send(files).is_err() {
                    self.writer.unpin();
                }
            }
            Command::Unpin => self.writer.unpin(),
            Command::Stop => return true,
        }
        false
    }

    fn leave_a_sign(&mut self, mark: Mark) {
        let now_ms = mark.clocks.boot_ms;
        if self.clock_due_ms.is_none_or(|due_ms| now_ms < due_ms) {
            return;
        }
        self.clock_due_ms = Some(now_ms + CLOCK_MS);
        if let Err(error) = self.writer.write_clock(mark) {
            // On a full disk, as a rule, of which the log knows already.
            tracing::debug!(%error, "the journal's clock file can't be written");
        }
    }

    fn publish(&self, outcome: Outcome) {
        if outcome.is_empty() {
            return;
        }
        match outcome.state {
            None => {}
            Some(StateChange::Up) => {
                tracing::warn!("the journal is written again: what is acknowledged from now on is durable");
                self.notify_all(Notice::Up);
            }
            Some(StateChange::Down { reason, error }) => {
                let what = match reason {
                    DownReason::Full => "the disk is full: durable publishes are refused until space is free",
                    DownReason::Failed => {
                        "the disk fails: durable publishes are refused until it can be written again"
                    }
                };
                tracing::error!(%error, "journal: {what}");
                self.notify_all(Notice::Down { reason });
            }
        }
        for (shard, ticket) in outcome.durable {
            (self.notify)(shard, Notice::Durable { ticket });
        }
        if let Some(generation) = outcome.checkpoint {
            self.notify_all(Notice::Checkpoint { generation });
        }
        if let Some(warning) = outcome.warning {
            tracing::warn!("journal: {warning}");
        }
    }

    fn notify_all(&self, notice: Notice) {
        (0..self.shards).for_each(|shard| (self.notify)(shard, notice));
    }
}

fn mark(now: &dyn Fn() -> Timestamp, boot_id: u128) -> Mark {
    Mark { journal: now(), clocks: clocks_of(boot_id) }
}
