//! What operators ask of a running broker: the HTTP API, the metrics and the dashboard, on a thread of its own that no shard waits
//! for. `Doors` are where it listens, the `Desk` is what is behind them, `http` has the routes, a file a subject.

mod admission;
mod dashboard;
mod desk;
mod doors;
mod guests;
mod history;
mod http;
mod modules;
mod operators;
mod process;
mod recovery;
mod serve;
mod socket;
mod traces;

pub use desk::{Asked, Desk, DeskParts, Listeners, Order, Reloaded, ShardLine, Unavailable};
pub use doors::{AdminError, Doors, Serving};
pub use modules::{StoredFile, StoredFileError};
pub use operators::OperatorsError;
pub use recovery::Recovery;
pub use traces::{TraceDesk, TraceWriter};
