//! Storage: a journal of what must outlast the process. Shards write entries; one thread appends what all of them wrote
//! and syncs it in one go; a start reads it back. Layout, guarantees and what happens to damage: `docs/STORAGE.md`.

pub mod backup;
pub mod disk;
pub mod entry;
pub mod frame;
pub mod lock;
pub mod marks;
pub mod real_disk;
mod recover;
mod replay;
mod report;
mod restored;
pub mod segment;
pub mod simulated_disk;
mod survey;
#[cfg(feature = "server")]
pub mod thread;
pub mod writer;

pub use disk::Disk;
pub use entry::{
    Entry, EntryError, RETAINED_UNDER_WAY, StoredDelivery, StoredMessage, StoredSession, StoredWill,
    SubscriptionIds,
};
pub use recover::{Progress, RecoverError, RecoverOptions, recover};
pub use replay::{Replay, ReplayOutcome};
pub use report::{Finding, Report};
pub use restored::{Restored, RestoredReturn, RestoredSession, RestoredSlot, RestoredSubscription};
