//! Where clients come in: list, stop, start.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Json, Path};
use super::failure::Failure;
use super::page::Items;
use crate::admin::desk::Desk;
use crate::config::Scheme;

/// A listener.
#[derive(Debug, Serialize, ToSchema)]
struct Listening {
    /// Its place in the configuration, from 0.
    index: usize,
    /// As it is configured.
    #[schema(example = "mqtt://127.0.0.1:1883")]
    url: String,
    /// As it is bound: a port that the kernel chose is here.
    bound: String,
    /// `running`, or `stopped`: nobody is let in.
    #[schema(example = "running")]
    state: &'static str,
    /// Connections now.
    connections: u32,
    /// Connections at most.
    max_connections: u32,
    /// mqtts:// or wss://.
    tls: bool,
    /// A PROXY header comes first.
    proxy_protocol: bool,
    /// Prefix of its clients' topics; empty: none.
    mountpoint: String,
}

pub(super) fn routes() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(stop)).routes(routes!(start))
}

fn describe(desk: &Desk, index: usize) -> Option<Listening> {
    let config = desk.config();
    let listener = config.listeners.get(index)?;
    Some(Listening {
        index,
        url: listener.url.to_string(),
        bound: desk.listeners.bound().get(index).unwrap_or(&listener.url).to_string(),
        state: if desk.listeners.is_stopped(index) { "stopped" } else { "running" },
        connections: desk.listeners.connections(index),
        max_connections: listener.max_connections,
        tls: listener.url.scheme().is_some_and(Scheme::is_tls),
        proxy_protocol: listener.proxy_protocol,
        mountpoint: listener.mountpoint.clone(),
    })
}

/// All listeners
#[utoipa::path(get, path = "/api/v1/listeners", tag = "listeners", responses((status = 200, body = Items<Listening>)))]
async fn list(State(desk): State<Arc<Desk>>) -> Json<Items<Listening>> {
    let count = desk.config().listeners.len();
    Json(Items { items: (0..count).filter_map(|index| describe(&desk, index)).collect() })
}

fn change(desk: &Desk, index: usize, is_stopped: bool) -> Result<Json<Listening>, Failure> {
    let unknown =
        || Failure::not_found(format!("there is no listener {index}; GET /api/v1/listeners lists them"));
    if !desk.listeners.stop(index, is_stopped) {
        return Err(unknown());
    }
    describe(desk, index).map(Json).ok_or_else(unknown)
}

/// Let nobody in any more
///
/// Connections stay. Whoever connects is refused by the system, or closed at once on a Unix socket; the port stays taken. A
/// restart forgets it.
#[utoipa::path(
    post, path = "/api/v1/listeners/{index}/stop", tag = "listeners",
    params(("index" = usize, Path, description = "Its place in the configuration, from 0")),
    responses((status = 200, body = Listening)),
)]
async fn stop(State(desk): State<Arc<Desk>>, Path(index): Path<usize>) -> Result<Json<Listening>, Failure> {
    change(&desk, index, true)
}

/// Let clients in again
#[utoipa::path(
    post, path = "/api/v1/listeners/{index}/start", tag = "listeners",
    params(("index" = usize, Path, description = "Its place in the configuration, from 0")),
    responses((status = 200, body = Listening)),
)]
async fn start(State(desk): State<Arc<Desk>>, Path(index): Path<usize>) -> Result<Json<Listening>, Failure> {
    change(&desk, index, false)
}
