//! Bridges to other brokers: look, start, stop.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Json, Path};
use super::failure::Failure;
use super::page::Items;
use crate::admin::desk::Desk;

/// A bridge.
#[derive(Debug, Serialize, ToSchema)]
struct Bridge {
    /// Its name.
    name: String,
    /// Where the other broker is.
    url: String,
    /// `connected`, `connecting`, `waiting` (before the next try) or `stopped`.
    #[schema(example = "connected")]
    state: &'static str,
    /// The last trouble; null: it is connected, or there was none.
    error: Option<String>,
    /// Messages that came from the other broker.
    messages_in: u64,
    /// Messages that went there.
    messages_out: u64,
    /// Messages that were not passed on because they had been here.
    looped: u64,
    /// Messages that were not passed on for another reason: no route, too large, refused there.
    dropped: u64,
    /// Connections after the first one.
    reconnects: u64,
}

pub(super) fn routes() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(start)).routes(routes!(stop))
}

/// All bridges
#[utoipa::path(get, path = "/api/v1/bridges", tag = "modules", responses((status = 200, body = Items<Bridge>)))]
async fn list(State(desk): State<Arc<Desk>>) -> Json<Items<Bridge>> {
    let shown = desk.bridges.list().into_iter().map(|bridge| Bridge {
        name: bridge.name,
        url: bridge.url,
        state: bridge.state.name(),
        error: bridge.error,
        messages_in: bridge.messages_in,
        messages_out: bridge.messages_out,
        looped: bridge.looped,
        dropped: bridge.dropped,
        reconnects: bridge.reconnects,
    });
    Json(Items { items: shown.collect() })
}

fn set(desk: &Desk, name: &str, is_wanted: bool) -> Result<StatusCode, Failure> {
    if !desk.bridges.set(name, is_wanted) {
        return Err(Failure::not_found(format!("there is no bridge {name:?}; /api/v1/bridges has all")));
    }
    tracing::info!(target: "audit", event = if is_wanted { "bridge_started" } else { "bridge_stopped" }, name);
    Ok(StatusCode::NO_CONTENT)
}

/// Start a bridge that was stopped, or have one that waits try at once
#[utoipa::path(
    post, path = "/api/v1/bridges/{name}/start", tag = "modules",
    params(("name" = String, Path, description = "Which")),
    responses((status = 204, description = "It connects")),
)]
async fn start(State(desk): State<Arc<Desk>>, Path(name): Path<String>) -> Result<StatusCode, Failure> {
    set(&desk, &name, true)
}

/// Stop a bridge
///
/// Until it is started or the broker is. What is for the other broker waits in its session.
#[utoipa::path(
    post, path = "/api/v1/bridges/{name}/stop", tag = "modules",
    params(("name" = String, Path, description = "Which")),
    responses((status = 204, description = "It is stopped")),
)]
async fn stop(State(desk): State<Arc<Desk>>, Path(name): Path<String>) -> Result<StatusCode, Failure> {
    set(&desk, &name, false)
}
