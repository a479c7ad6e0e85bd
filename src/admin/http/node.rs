//! The node as a whole.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::Json;
use crate::admin::desk::Desk;
use crate::admin::process;
use crate::config::Durability;
use crate::metrics::{Totals, rfc3339};

/// The node.
#[derive(Debug, Serialize, ToSchema)]
struct Node {
    /// `node.name`.
    name: String,
    /// Of the program.
    version: &'static str,
    /// When the process began to serve, RFC 3339.
    started_at: String,
    /// Seconds since then.
    uptime_s: u64,
    /// How many shards it has.
    shards: u16,
    /// Clients that are connected.
    connections: u64,
    /// `limits.max_connections`.
    connections_max: u32,
    /// Sessions, with and without a connection.
    sessions: u64,
    /// Subscriptions of all sessions.
    subscriptions: u64,
    /// Retained messages.
    retained: u64,
    /// Memory of the process in RAM.
    memory_bytes: u64,
    /// CPU that the process used since its start, seconds.
    cpu_s: f64,
    /// null: nothing is stored.
    storage: Option<NodeStorage>,
    /// It sends its clients away and ends.
    draining: bool,
}

/// The journal of the node.
#[derive(Debug, Serialize, ToSchema)]
struct NodeStorage {
    /// `storage.durability`: `sync` or `interval`.
    durability: &'static str,
    /// The disk takes nothing.
    is_down: bool,
}

pub(super) fn routes() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::new().routes(routes!(show))
}

/// The node
#[utoipa::path(get, path = "/api/v1/node", tag = "node", responses((status = 200, body = Node)))]
async fn show(State(desk): State<Arc<Desk>>) -> Json<Node> {
    let config = desk.config();
    let mut totals = Totals::default();
    totals.observe(&desk.shared.metrics);
    let sum = |name: &str| totals.value(name).unwrap_or(0);
    let process = process::read();
    let storage = desk.storage.as_ref().map(|storage| NodeStorage {
        durability: match config.storage.durability {
            Durability::Interval => "interval",
            Durability::Sync | Durability::Memory => "sync",
        },
        is_down: storage.statistics().is_down,
    });
    Json(Node {
        name: config.node.name.clone(),
        version: env!("CARGO_PKG_VERSION"),
        started_at: rfc3339(desk.shared.started_unix_ms + desk.shared.origins.now.0),
        uptime_s: desk.uptime().as_secs(),
        shards: desk.shards(),
        connections: sum("clients"),
        connections_max: config.limits.max_connections,
        sessions: sum("sessions"),
        subscriptions: sum("subscriptions"),
        retained: sum("retained"),
        memory_bytes: process.memory_bytes,
        cpu_s: process.cpu_s,
        storage,
        draining: desk.is_draining(),
    })
}
