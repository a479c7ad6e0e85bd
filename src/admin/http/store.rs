//! The journal: its figures, and a backup while the broker goes on.

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::Json;
use super::failure::Failure;
use crate::admin::desk::Desk;
use crate::storage::thread::StorageHandle;

/// Takes as long as it takes.
pub(super) const BACKUP: &str = "/api/v1/store/backup";

/// Figures of the journal, since the start and of now.
#[derive(Debug, Serialize, ToSchema)]
struct Store {
    /// The disk is full or failed: nothing is acknowledged that has to be durable.
    is_down: bool,
    /// Bytes on disk.
    disk_bytes: u64,
    /// Files of them.
    segments: u64,
    /// Recovery would begin with this file.
    base: u64,
    /// The newest file.
    newest: u64,
    /// What the last complete checkpoint came to: about the size of the live state.
    image_bytes: u64,
    /// Bytes that came since.
    since_bytes: u64,
    /// Number of the last checkpoint that was begun.
    generation: u64,
    /// It is not complete.
    is_checkpointing: bool,
    /// Checkpoints that were completed.
    checkpoints: u64,
    /// Frames that were appended.
    frames: u64,
    /// Bytes that were appended.
    bytes: u64,
    /// Appends that were synced.
    syncs: u64,
    /// Time that syncs took together, microseconds.
    sync_us: u64,
    /// Time that the slowest took, microseconds.
    sync_us_max: u64,
    /// Frames that came while the disk was full or failed.
    refused_frames: u64,
    /// How often the disk was full or failed.
    failures: u64,
    /// Files that could not be removed or renamed.
    left_files: u64,
}

/// Where a backup goes.
#[derive(Debug, Deserialize, ToSchema)]
struct BackupTo {
    /// An absolute path on the broker's machine; a folder that is not there yet.
    #[schema(value_type = String, example = "/srv/backups/monday")]
    to: PathBuf,
}

/// What was copied.
#[derive(Debug, Serialize, ToSchema)]
struct Copied {
    /// Files.
    files: u64,
    /// Bytes of them.
    bytes: u64,
}

pub(super) fn routes() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::new().routes(routes!(show)).routes(routes!(backup))
}

fn storage(desk: &Desk) -> Result<&StorageHandle, Failure> {
    let nothing = || {
        Failure::conflict(
            "this broker stores nothing: storage.durability is \"memory\"; set it to \"sync\" and restart",
        )
    };
    desk.storage.as_ref().ok_or_else(nothing)
}

/// Figures of the journal
#[utoipa::path(get, path = "/api/v1/store", tag = "store", responses((status = 200, body = Store)))]
async fn show(State(desk): State<Arc<Desk>>) -> Result<Json<Store>, Failure> {
    let of = storage(&desk)?.statistics();
    Ok(Json(Store {
        is_down: of.is_down,
        disk_bytes: of.disk_bytes,
        segments: of.segments,
        base: of.base,
        newest: of.newest,
        image_bytes: of.image_bytes,
        since_bytes: of.since_bytes,
        generation: of.generation,
        is_checkpointing: of.is_checkpointing,
        checkpoints: of.checkpoints,
        frames: of.frames,
        bytes: of.bytes,
        syncs: of.syncs,
        sync_us: of.sync_us,
        sync_us_max: of.sync_us_max,
        refused_frames: of.refused_frames,
        failures: of.failures,
        left_files: of.left_files,
    }))
}

/// Copy the journal while the broker goes on
///
/// What is in the copy is durable and whole: a broker can start on it. It takes as long as the disk does; a second one meanwhile is
/// refused.
#[utoipa::path(
    post, path = "/api/v1/store/backup", tag = "store", request_body = BackupTo,
    responses((status = 200, body = Copied)),
)]
async fn backup(
    State(desk): State<Arc<Desk>>,
    Json(BackupTo { to }): Json<BackupTo>,
) -> Result<Json<Copied>, Failure> {
    if !to.is_absolute() {
        return Err(Failure::bad_request("to: expected an absolute path on the broker's machine"));
    }
    let storage = storage(&desk)?.clone();
    let turn = Arc::clone(&desk.backup_turn).try_acquire_owned();
    let turn = turn.map_err(|_| Failure::conflict("another backup is under way; wait until it is done"))?;
    let copy = move || {
        let copied = storage.backup(&to)?;
        // Here, for who asked may have gone.
        tracing::info!(target: "audit", event = "backup", to = ?to, bytes = copied.bytes);
        drop(turn);
        Ok::<_, std::io::Error>(copied)
    };
    let copied = tokio::task::spawn_blocking(copy).await;
    let copied = copied.map_err(|_| Failure::unavailable("the copy was given up: the broker shuts down"))?;
    let copied = copied.map_err(|error| Failure::conflict(error.to_string()))?;
    Ok(Json(Copied { files: copied.files, bytes: copied.bytes }))
}
