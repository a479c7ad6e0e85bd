//! The journal of a running broker: read before anything else starts, then a thread of its own that shards hand their frames to.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use shards::{Handle, ShardId};

use super::application::{Application, ServerMessage};
use crate::admin::Recovery;
use crate::broker::{Origins, RestoredShard, Shared, distribute};
use crate::clock::Timestamp;
use crate::config::{Config, Durability};
use crate::storage::real_disk::{OpenError, RealDisk};
use crate::storage::segment::JournalEnd;
use crate::storage::thread::{Notice, StorageHandle, StorageThread, machine_clocks};
use crate::storage::writer::WriterOptions;
use crate::storage::{Progress, RecoverError, RecoverOptions, Report, Restored, recover};

/// Name of the journal's folder in `node.data_dir`.
const FOLDER: &str = "journal";

/// Why there is no journal.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The folder can't be used.
    #[error("storage: {0}")]
    Open(#[from] OpenError),
    /// The journal can't be read.
    #[error("storage: {dir}: {error}", dir = .dir.display())]
    Recover {
        /// The folder.
        dir: PathBuf,
        /// Why.
        error: RecoverError,
    },
    /// It can't be written.
    #[error("storage: {dir}: {error}; the user that runs the broker must be able to write there", dir = .dir.display())]
    Write {
        /// The folder.
        dir: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

/// A journal that was read and is not written yet.
pub(super) struct Opened {
    disk: RealDisk,
    dir: PathBuf,
    end: JournalEnd,
    origins: Origins,
    restored: Restored,
}

/// What each shard is to begin with; each takes its own.
#[derive(Debug, Clone, Default)]
pub(super) struct Parts(Arc<Mutex<Vec<RestoredShard>>>);

impl Parts {
    /// That of one shard.
    pub(super) fn take(&self, shard: u16) -> RestoredShard {
        let mut parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        parts.get_mut(usize::from(shard)).map(std::mem::take).unwrap_or_default()
    }
}

impl Opened {
    /// Reads the journal, if the configuration asks for one, and tells how far it is. `random` keys a new one.
    pub(super) fn read(
        config: &Config,
        random: impl Fn() -> u64,
        recovery: &Recovery,
    ) -> Result<Option<Self>, StorageError> {
        if config.storage.durability == Durability::Memory {
            return Ok(None);
        }
        let dir = PathBuf::from(&config.node.data_dir).join(FOLDER);
        let disk = RealDisk::open(&dir)?;
        let options = RecoverOptions {
            accept_damage: config.storage.accept_damage,
            store_id: random(),
            user_key: random(),
        };
        let began = Instant::now();
        let mut tell_progress = |progress| show_progress(progress, recovery);
        let recovered = recover(&disk, machine_clocks(), &options, &mut tell_progress);
        let (restored, end, report) = match recovered {
            Ok(recovered) => recovered,
            Err(error) => return Err(StorageError::Recover { dir, error }),
        };
        tell(&report, &restored, began);
        let origins = Origins {
            first_serial: restored.first_serial,
            first_number: restored.first_number,
            user_key: restored.user_key,
            now: restored.now,
        };
        Ok(Some(Self { disk, dir, end, origins, restored }))
    }

    /// Where numbers and time go on.
    pub(super) const fn origins(&self) -> Origins {
        self.origins
    }

    /// Begins to write. What was read is given to `shards` shards. Notices wait until `handle` is set.
    pub(super) fn start(
        self,
        config: &Config,
        shared: &Shared,
        shards: u16,
        started: Instant,
        handle: Arc<OnceLock<Handle<Application>>>,
    ) -> Result<(StorageHandle, Parts), StorageError> {
        let Self { disk, dir, end, origins, restored } = self;
        let parts = distribute(restored, &shared.placement, shards);
        let is_interval = config.storage.durability == Durability::Interval;
        let options = WriterOptions {
            shards,
            segment_bytes: u64::from(config.storage.segment_bytes),
            interval_ms: is_interval.then_some(config.storage.interval_ms),
            checkpoint_bytes_min: WriterOptions::CHECKPOINT_BYTES_MIN,
        };
        let now = move || {
            Timestamp(origins.now.0 + u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX))
        };
        let notify = move |shard: u16, notice: Notice| {
            if let Some(message) = message_of(notice) {
                handle.wait().send(ShardId(shard), message);
            }
        };
        let storage = StorageThread::start(disk, end, options, now, notify)
            .map_err(|error| StorageError::Write { dir, error })?;
        Ok((storage, Parts(Arc::new(Mutex::new(parts)))))
    }
}

/// What a shard is told.
fn message_of(notice: Notice) -> Option<ServerMessage> {
    Some(match notice {
        Notice::Durable { ticket } => ServerMessage::Stored(ticket),
        Notice::Written { ticket } => ServerMessage::Written(ticket),
        Notice::Checkpoint { generation } => {
            ServerMessage::Generation(u32::try_from(generation).unwrap_or(u32::MAX))
        }
        Notice::Fence { generation } => ServerMessage::Fence(u32::try_from(generation).unwrap_or(u32::MAX)),
        Notice::Down { .. } => ServerMessage::StorageDown,
        Notice::Up => return None,
    })
}

fn show_progress(progress: Progress, recovery: &Recovery) {
    let Progress { bytes, total, sessions } = progress;
    let percent = bytes * 100 / total.max(1);
    recovery.tell(percent);
    if std::io::stderr().is_terminal() {
        eprint!("\rreading the journal: {percent} %, {sessions} sessions ");
    } else {
        tracing::info!(percent, sessions, "reading the journal");
    }
}

fn tell(report: &Report, restored: &Restored, began: Instant) {
    if std::io::stderr().is_terminal() && report.bytes > 0 {
        eprint!("\r\x1b[K");
    }
    for finding in &report.findings {
        if finding.is_damage() {
            tracing::error!("journal: {finding}");
        } else {
            tracing::warn!("journal: {finding}");
        }
    }
    if restored.sessions.len() + restored.retained.len() > 0 {
        tracing::info!(
            sessions = restored.sessions.len(),
            retained = restored.retained.len(),
            bytes = report.bytes,
            ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            "the journal was read"
        );
    }
}
