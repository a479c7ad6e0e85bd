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
use super::marks::{Clocks, Mark, SIGN_OF_LIFE_MS};
use super::real_disk::RealDisk;
use super::segment::JournalEnd;
use super::writer::{DownReason, JournalWriter, Outcome, StateChange, Statistics, WriterOptions};
use crate::clock::Timestamp;

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
    /// What it stored up to this ticket is written, and not durable: said instead of `Durable` while a checkpoint mends.
    Written {
        /// The ticket.
        ticket: u64,
    },
    /// It is to write images of all that it has, and call [`StorageHandle::imaged`] then. An earlier checkpoint is void.
    Checkpoint {
        /// Which checkpoint.
        generation: u64,
    },
    /// It is to call [`StorageHandle::fenced`] at the end of its turn, after it has stored what that came to.
    Fence {
        /// Of which checkpoint.
        generation: u64,
    },
    /// Nothing becomes durable any more, up to `Up`. What it stores may be thrown away before the next `Checkpoint`. Said again
    /// when images that were to mend it could not be written.
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
    Store { shard: u16, ticket: u64, frame: Vec<u8>, is_awaited: bool },
    Imaged { shard: u16, generation: u64 },
    Fenced { shard: u16, generation: u64 },
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
    /// a shard rise. Unless it `is_awaited` that may take a little longer.
    pub fn store(&self, shard: u16, ticket: u64, frame: Vec<u8>, is_awaited: bool) {
        self.send(Command::Store { shard, ticket, frame, is_awaited });
    }

    /// `shard` has stored images of everything for checkpoint `generation`.
    pub fn imaged(&self, shard: u16, generation: u64) {
        self.send(Command::Imaged { shard, generation });
    }

    /// `shard` has stored what it had when it was told [`Notice::Fence`].
    pub fn fenced(&self, shard: u16, generation: u64) {
        self.send(Command::Fenced { shard, generation });
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
            Command::Store { shard, ticket, frame, is_awaited } => {
                self.clock_due_ms.get_or_insert(0);
                if is_awaited {
                    self.writer.append(shard, ticket, frame);
                } else {
                    self.writer.append_unawaited(shard, ticket, frame);
                }
            }
            Command::Imaged { shard, generation } => self.writer.imaged(shard, generation),
            Command::Fenced { shard, generation } => self.writer.fenced(shard, generation),
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
        self.clock_due_ms = Some(now_ms + SIGN_OF_LIFE_MS);
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
            Some(StateChange::Down { reason, error, is_again: true }) => {
                tracing::debug!(%error, "journal: it can't be written yet");
                self.notify_all(Notice::Down { reason });
            }
            Some(StateChange::Down { reason, error, is_again: false }) => {
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
        for (shard, ticket) in outcome.written {
            (self.notify)(shard, Notice::Written { ticket });
        }
        if let Some(generation) = outcome.checkpoint {
            self.notify_all(Notice::Checkpoint { generation });
        }
        if let Some(generation) = outcome.fence {
            self.notify_all(Notice::Fence { generation });
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::mpsc::RecvError;

    use super::*;
    use crate::storage::Disk;
    use crate::storage::backup::JOURNAL_DIR;
    use crate::storage::marks::{CLOCK_FILE, decode_clock_file};
    use crate::storage::real_disk::test_dir;
    use crate::storage::segment::{Piece, SEGMENT_HEADER_LEN, SegmentHeader, SegmentReader, segment_name};

    const OPTIONS: WriterOptions =
        WriterOptions { shards: 2, segment_bytes: 4096, interval_ms: None, checkpoint_bytes_min: 20_000 };
    /// More than any of this takes.
    const PATIENCE: Duration = Duration::from_secs(30);

    fn start(dir: &Path, end: JournalEnd) -> (StorageHandle, Receiver<(u16, Notice)>) {
        let (sender, notices) = mpsc::channel();
        let disk = RealDisk::open(dir).unwrap();
        let notify = move |shard, notice| sender.send((shard, notice)).unwrap();
        (StorageThread::start(disk, end, OPTIONS, || Timestamp(5), notify).unwrap(), notices)
    }

    fn next(notices: &Receiver<(u16, Notice)>) -> (u16, Notice) {
        notices.recv_timeout(PATIENCE).unwrap()
    }

    /// Waits until `shard` was told of `ticket`.
    fn wait_for(notices: &Receiver<(u16, Notice)>, shard: u16, ticket: u64) {
        while !matches!(next(notices), (told, Notice::Durable { ticket: t }) if told == shard && t >= ticket)
        {
        }
    }

    /// All frames of segments `base` to `last`.
    fn frames(dir: &Path, segments: std::ops::RangeInclusive<u64>) -> Vec<Vec<u8>> {
        let disk = RealDisk::open_existing(dir).unwrap();
        let mut frames = Vec::new();
        for seq in segments {
            let name = segment_name(seq);
            let header = SegmentHeader::decode(&disk.read(&name, 0, SEGMENT_HEADER_LEN).unwrap()).unwrap();
            let end = disk.len(&name).unwrap();
            let mut reader = SegmentReader::new(&disk, &name, header.key(), header.first_frame, end);
            while let Some(piece) = reader.next().unwrap() {
                let Piece::Frame { body, .. } = piece else { panic!("{piece:?}") };
                frames.push(body.to_vec());
            }
        }
        frames
    }

    #[test]
    fn what_many_threads_store_is_durable_when_they_are_told() {
        let dir = test_dir("thread-store");
        let (handle, notices) = start(&dir, JournalEnd::fresh(1, 2));
        let writers: Vec<_> = (0..2_u16)
            .map(|shard| {
                let handle = handle.clone();
                thread::spawn(move || {
                    for ticket in 1..=50 {
                        handle.store(shard, ticket, format!("{shard} {ticket}").into_bytes(), true);
                    }
                })
            })
            .collect();
        let mut told = [0; 2];
        while told != [50, 50] {
            let (shard, Notice::Durable { ticket }) = next(&notices) else { panic!("no checkpoint is due") };
            assert!(ticket > told[usize::from(shard)]);
            told[usize::from(shard)] = ticket;
        }
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        let statistics = handle.statistics();
        handle.stop();
        assert!(matches!(notices.recv(), Err(RecvError)), "the thread has ended");
        let found = frames(&dir, 1..=1);
        assert_eq!(found.len(), 100);
        for shard in 0..2 {
            let own = found.iter().filter(|frame| frame.starts_with(format!("{shard} ").as_bytes()));
            let expected = (1..=50).map(|ticket| format!("{shard} {ticket}").into_bytes());
            assert!(own.cloned().eq(expected), "in order");
        }
        assert!(statistics.syncs <= 100 && statistics.frames <= 100);
        let clock = RealDisk::open_existing(&dir).unwrap().read(CLOCK_FILE, 0, 1000).unwrap();
        let clock = decode_clock_file(1, &clock).unwrap();
        assert_eq!((clock.mark.journal, clock.synced_before), (Timestamp(5), 101));
        assert_eq!(clock.mark.clocks.boot_id, machine_clocks().boot_id);
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_start_asks_for_images_and_puts_the_old_away() {
        let dir = test_dir("thread-images");
        let (handle, notices) = start(&dir, JournalEnd::fresh(1, 2));
        handle.store(0, 1, b"old".to_vec(), true);
        wait_for(&notices, 0, 1);
        handle.stop();
        let last_len = std::fs::metadata(dir.join(segment_name(1))).unwrap().len();
        let end = JournalEnd {
            base: 1,
            last: 1,
            last_len,
            bytes: last_len,
            generation: 1,
            next_frame: 2,
            ..JournalEnd::fresh(1, 2)
        };
        let (handle, notices) = start(&dir, end);
        assert_eq!(next(&notices), (0, Notice::Checkpoint { generation: 2 }));
        assert_eq!(next(&notices), (1, Notice::Checkpoint { generation: 2 }));
        for shard in 0..2 {
            handle.store(shard, 1, b"image".to_vec(), true);
            handle.imaged(shard, 2);
        }
        let begun = std::time::Instant::now();
        while dir.join(segment_name(1)).exists() {
            assert!(begun.elapsed() < PATIENCE, "{:?}", handle.statistics());
            if let Ok((shard, Notice::Fence { generation })) = notices.try_recv() {
                handle.fenced(shard, generation);
            }
            thread::sleep(Duration::from_millis(1));
        }
        handle.stop();
        assert_eq!(frames(&dir, 2..=3), [b"image", b"image"]);
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_backup_has_what_was_durable_when_it_began_while_writing_goes_on() {
        let dir = test_dir("thread-backup");
        let (handle, notices) = start(&dir.join("data"), JournalEnd::fresh(1, 2));
        for ticket in 1..=200 {
            handle.store(0, ticket, vec![b'x'; 100], true);
        }
        wait_for(&notices, 0, 200);
        let to = dir.join("copy");
        let writer = thread::spawn({
            let handle = handle.clone();
            move || (201..=1000).for_each(|ticket| handle.store(0, ticket, vec![b'x'; 100], true))
        });
        let report = handle.backup(&to).unwrap();
        writer.join().unwrap();
        assert!(report.bytes >= 200 * 100, "{report:?}");
        let found = frames(&to.join(JOURNAL_DIR), 1..=report.files);
        assert!(found.len() >= 200, "{}", found.len());
        let again = handle.backup(&to).unwrap_err();
        assert!(again.to_string().contains("copy: exists already"), "{again}");
        handle.stop();
        assert!(handle.backup(&dir.join("late")).unwrap_err().to_string().contains("closed"));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
