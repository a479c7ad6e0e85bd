//! Which clients do not take what is for them as fast as it comes.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::Json;
use super::failure::Failure;
use super::naming::mountpoint;
use super::observed;
use super::page::Items;
use crate::admin::desk::Desk;
use crate::broker::{ObserveAnswer, ObserveQuestion, SlowClient};

/// Clients that are listed.
const LISTED_MAX: usize = 100;

/// A client that was slow in the last five minutes.
#[derive(Debug, Serialize, ToSchema)]
struct Slow {
    /// Who.
    client_id: String,
    /// The prefix of all its topics; null: none.
    mountpoint: Option<Box<str>>,
    /// Bytes that waited for it, at most.
    outbound_bytes: usize,
    /// Messages that waited in its mqueue, at most.
    queued: usize,
    /// Messages dropped for it because they could not wait.
    dropped: u64,
    /// The longest that it took until nothing had to wait any more, or has taken so far.
    worst_delay_ms: u64,
    /// Where it is.
    shard: usize,
}

impl Slow {
    fn of((shard, client): (usize, SlowClient)) -> Self {
        Self {
            client_id: client.client_id.into(),
            mountpoint: mountpoint(client.mountpoint),
            outbound_bytes: client.outbound_bytes,
            queued: client.queued,
            dropped: client.dropped,
            worst_delay_ms: client.worst_delay_ms,
            shard,
        }
    }
}

pub(super) fn routes() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Slow subscribers
///
/// At most 100, the slowest first: those for whom something had to wait or was dropped in the last five minutes.
#[utoipa::path(get, path = "/api/v1/slow", tag = "observe", responses((status = 200, body = Items<Slow>)))]
async fn list(State(desk): State<Arc<Desk>>) -> Result<Json<Items<Slow>>, Failure> {
    let answers = observed::ask_everywhere(&desk, || ObserveQuestion::Slow).await?;
    let mut all = Vec::new();
    for (shard, answer) in answers.into_iter().enumerate() {
        if let ObserveAnswer::Slow(clients) = answer {
            all.extend(clients.into_iter().map(|client| (shard, client)));
        }
    }
    all.sort_by_key(|(_, client)| client.rank());
    all.truncate(LISTED_MAX);
    Ok(Json(Items { items: all.into_iter().map(Slow::of).collect() }))
}
