//! The shards, one by one: what each has and does. Nobody is asked, their numbers are read.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::Json;
use super::page::Items;
use crate::admin::desk::Desk;
use crate::metrics::Metrics;

/// A shard.
#[derive(Debug, Serialize, ToSchema)]
struct Shard {
    /// Its number, from 0.
    shard: u16,
    /// Clients that are connected.
    clients: i64,
    /// Sessions, with and without a connection.
    sessions: i64,
    /// Subscriptions of its sessions.
    subscriptions: i64,
    /// Messages in mqueues.
    queued: i64,
    /// Messages sent and not yet acknowledged.
    inflight: i64,
    /// Retained messages of its slice.
    retained: i64,
    /// Messages received since the start.
    messages_received: u64,
    /// Messages sent since the start.
    messages_sent: u64,
    /// Messages let go since the start, all reasons together.
    messages_dropped: u64,
    /// Bytes received since the start.
    bytes_received: u64,
    /// Bytes sent since the start.
    bytes_sent: u64,
    /// Messages of other shards that wait for a later turn.
    mailbox: i64,
    /// CPU that its thread used, microseconds.
    cpu_us: u64,
    /// Turns that took longer than 5 ms.
    slow_turns: u64,
}

/// A gauge may count up on one shard and down on another: a share can be below zero, the sum can't.
#[allow(clippy::cast_possible_wrap)]
fn share(value: u64) -> i64 {
    value as i64
}

impl Shard {
    fn of(shard: u16, metrics: &Metrics) -> Self {
        Self {
            shard,
            clients: share(metrics.clients.load()),
            sessions: share(metrics.sessions.load()),
            subscriptions: share(metrics.subscriptions.load()),
            queued: share(metrics.queues.load()),
            inflight: share(metrics.inflight.load()),
            retained: share(metrics.retained.load()),
            messages_received: metrics.messages_received.load(),
            messages_sent: metrics.messages_sent.load(),
            messages_dropped: metrics.messages_dropped.load(),
            bytes_received: metrics.bytes_received.load(),
            bytes_sent: metrics.bytes_sent.load(),
            mailbox: share(metrics.mailbox_depth.load()),
            cpu_us: metrics.cpu_us.load(),
            slow_turns: metrics.slow_turns.load(),
        }
    }
}

pub(super) fn routes() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::new().routes(routes!(list))
}

/// All shards
#[utoipa::path(get, path = "/api/v1/shards", tag = "node", responses((status = 200, body = Items<Shard>)))]
async fn list(State(desk): State<Arc<Desk>>) -> Json<Items<Shard>> {
    let shard = |(number, metrics): (u16, &Arc<Metrics>)| Shard::of(number, metrics);
    Json(Items { items: (0..).zip(&desk.shared.metrics).map(shard).collect() })
}
