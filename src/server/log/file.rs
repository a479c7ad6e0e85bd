//! A log file that is rotated by its size, written by a thread of its own: no shard waits for the disk to log. The queue before
//! that thread is bounded; a line that finds it full is lost, and counted in the file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait for the thread.
const LINES_MAX: usize = 8_192;
/// Bytes of those lines.
const WAITING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long the end of the process waits for the last lines.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two attempts to write to a disk that takes nothing.
const RETRY: Duration = Duration::from_secs(1);

/// What the thread is told.
enum Order {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

/// Of the queue.
#[derive(Debug, Default)]
struct Count {
    waiting_bytes: AtomicUsize,
    lost: AtomicU64,
}

/// The log file of the process.
#[derive(Debug)]
pub(super) struct LogFile {
    lines: LogWriter,
}

/// Hands lines to the thread.
#[derive(Debug, Clone)]
pub(super) struct LogWriter {
    orders: SyncSender<Order>,
    count: Arc<Count>,
}

impl LogFile {
    /// Opens `path`, appending, and starts the thread. Beyond `rotate_bytes` it becomes `path.1`, that `path.2`, up to `keep`.
    ///
    /// # Errors
    /// The file can't be opened, or there is no thread.
    pub(super) fn start(path: &Path, rotate_bytes: u64, keep: u16) -> io::Result<Self> {
        let rotating = Rotating::open(path, rotate_bytes, keep)?;
        let (orders, received) = sync_channel(LINES_MAX);
        let count = Arc::<Count>::default();
        let counted = Arc::clone(&count);
        thread::Builder::new().name("log".into()).spawn(move || write_down(rotating, &received, &counted))?;
        Ok(Self { lines: LogWriter { orders, count } })
    }

    /// For the subscriber.
    pub(super) fn writer(&self) -> LogWriter {
        self.lines.clone()
    }

    /// Waits until all that was logged before is written, if the disk takes it.
    pub(super) fn flush(&self) {
        let (done, is_done) = sync_channel(1);
        if self.lines.orders.send(Order::Flush(done)).is_ok() {
            let _ = is_done.recv_timeout(FLUSH_TIMEOUT);
        }
    }
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let waiting = self.count.waiting_bytes.fetch_add(line.len(), Relaxed);
        if waiting.saturating_add(line.len()) > WAITING_BYTES_MAX
            || self.orders.try_send(Order::Line(line.to_vec())).is_err()
        {
            self.count.waiting_bytes.fetch_sub(line.len(), Relaxed);
            self.count.lost.fetch_add(1, Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for LogWriter {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

/// The thread: for as long as somebody may log.
fn write_down(mut file: Rotating, orders: &Receiver<Order>, count: &Count) {
    let mut is_failing = false;
    loop {
        let order = match orders.recv_timeout(RETRY) {
            Ok(order) => order,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let written = match order {
            Order::Line(line) => {
                count.waiting_bytes.fetch_sub(line.len(), Relaxed);
                let missing = count.lost.swap(0, Relaxed);
                let told = match missing {
                    0 => Ok(()),
                    _ => file.append(
                        format!("{missing} lines are missing here: the disk was too slow\n").as_bytes(),
                    ),
                };
                told.and_then(|()| file.append(&line))
            }
            Order::Flush(done) => {
                let _ = done.send(());
                continue;
            }
        };
        let was_failing = is_failing;
        is_failing = written.is_err();
        if let Err(error) = written {
            if !was_failing {
                // The log itself can't say it.
                eprintln!(
                    "myriad: log.file {}: {error}; lines are lost until it can be written",
                    file.path.display()
                );
            }
            count.lost.fetch_add(1, Relaxed);
            thread::sleep(RETRY);
            file.reopen();
        }
    }
}

/// A file that begins anew when it is full.
struct Rotating {
    path: PathBuf,
    file: File,
    len: u64,
    len_max: u64,
    /// The length at which it is full: more than `len_max` after a rotation that failed.
    full_at: u64,
    keep: u16,
}

impl Rotating {
    fn open(path: &Path, len_max: u64, keep: u16) -> io::Result<Self> {
        let file = open(path)?;
        let len = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, len, len_max, full_at: len_max, keep })
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.len > 0 && self.len + line.len() as u64 > self.full_at {
            match self.rotate() {
                Ok(()) => self.full_at = self.len_max,
                Err(error) => self.go_on(&error),
            }
        }
        self.file.write_all(line)?;
        self.len += line.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let older = |number: u16| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        for number in (1..self.keep).rev() {
            // It may not be there.
            let _ = std::fs::rename(older(number), older(number + 1));
        }
        if self.keep > 0 {
            std::fs::rename(&self.path, older(1))?;
        } else {
            std::fs::remove_file(&self.path)?;
        }
        self.file = open(&self.path)?;
        self.len = 0;
        Ok(())
    }

    /// After a rotation that failed: a file that grows is better than no log. It is tried again after as many bytes.
    fn go_on(&mut self, error: &io::Error) {
        // The directory may have been moved.
        self.reopen();
        if self.full_at == self.len_max {
            // The log itself goes on, but nobody would look for it there.
            eprintln!(
                "myriad: log.file {}: can't be rotated: {error}; it grows. Let the broker's user write to its directory",
                self.path.display()
            );
        }
        self.full_at = self.len.saturating_add(self.len_max);
    }

    /// After a failure: the file may have been moved, or its disk been mounted anew.
    fn reopen(&mut self) {
        if let Ok(file) = open(&self.path) {
            self.len = file.metadata().map_or(0, |metadata| metadata.len());
            self.file = file;
        }
    }
}

/// Names of clients are in it: not for everyone.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn files_are_rotated_by_size_and_so_many_are_kept() {
        let dir = std::env::temp_dir().join(format!("myriad-log-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("log");
        let log = LogFile::start(&path, 100, 2).unwrap();
        for number in 0..10 {
            let line = format!("{number:049}\n");
            log.writer().write_all(line.as_bytes()).unwrap();
        }
        log.flush();
        let numbers = |name: &str| {
            let text = std::fs::read_to_string(dir.join(name)).unwrap();
            text.lines().map(|line| line.parse::<u32>().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!([numbers("log"), numbers("log.1"), numbers("log.2")], [[8, 9], [6, 7], [4, 5]]);
        assert!(!dir.join("log.3").exists());
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_file_that_cannot_be_rotated_goes_on_and_is_tried_again() {
        let dir = std::env::temp_dir().join(format!("myriad-log-stays-{}", std::process::id()));
        // A folder that is not empty is in the way.
        std::fs::create_dir_all(dir.join("log.1/full")).unwrap();
        let mut file = Rotating::open(&dir.join("log"), 100, 1).unwrap();
        for number in 0..10 {
            file.append(format!("{number:049}\n").as_bytes()).unwrap();
        }
        assert_eq!(std::fs::read(dir.join("log")).unwrap().len(), 500);
        std::fs::remove_dir_all(dir.join("log.1")).unwrap();
        for number in 10..12 {
            file.append(format!("{number:049}\n").as_bytes()).unwrap();
        }
        assert_eq!(std::fs::read(dir.join("log.1")).unwrap().len(), 500);
        assert_eq!(std::fs::read(dir.join("log")).unwrap().len(), 100);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_queue_that_is_full_of_bytes_takes_no_line() {
        let (orders, received) = sync_channel(LINES_MAX);
        let mut writer = LogWriter { orders, count: Arc::default() };
        let line = vec![b'a'; 1024 * 1024];
        for _ in 0..20 {
            writer.write_all(&line).unwrap();
        }
        assert_eq!(received.try_iter().count(), 8);
        assert_eq!(writer.count.lost.load(Relaxed), 12);
        assert_eq!(writer.count.waiting_bytes.load(Relaxed), WAITING_BYTES_MAX);
    }
}
