//! How long messages take from their publish to their delivery.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::Json;
use crate::admin::desk::Desk;
use crate::metrics::LatencySnapshot;

/// Times of messages since the start, to 6 %: one in 32 is timed.
#[derive(Debug, Serialize, ToSchema)]
struct Quantiles {
    /// Messages that were timed.
    count: u64,
    /// Half of them took no longer.
    p50_us: u64,
    /// Nine of ten.
    p90_us: u64,
    /// 99 of a hundred.
    p99_us: u64,
    /// 999 of a thousand.
    p999_us: u64,
    /// The longest.
    max_us: u64,
}

impl Quantiles {
    fn of(snapshot: &LatencySnapshot) -> Self {
        Self {
            count: snapshot.count(),
            p50_us: snapshot.quantile_us(0.5),
            p90_us: snapshot.quantile_us(0.9),
            p99_us: snapshot.quantile_us(0.99),
            p999_us: snapshot.quantile_us(0.999),
            max_us: snapshot.max_us(),
        }
    }
}

/// Times of the node and of each shard.
#[derive(Debug, Serialize, ToSchema)]
struct Latencies {
    #[serde(flatten)]
    all: Quantiles,
    /// By the shard that delivered, in order.
    shards: Vec<Quantiles>,
}

pub(super) fn routes() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::new().routes(routes!(read))
}

/// From publish to delivery
///
/// From the moment that a PUBLISH is read to the end of the turn in which a shard has handed it to its subscribers' sockets. What waits in
/// an mqueue is not counted: /api/v1/slow tells of that.
#[utoipa::path(get, path = "/api/v1/latency", tag = "observe", responses((status = 200, body = Latencies)))]
async fn read(State(desk): State<Arc<Desk>>) -> Json<Latencies> {
    let shards = &desk.shared.latency;
    let all = Quantiles::of(&LatencySnapshot::of(shards.iter().map(Arc::as_ref)));
    let each = |shard: &Arc<crate::metrics::Latency>| Quantiles::of(&LatencySnapshot::of([shard.as_ref()]));
    Json(Latencies { all, shards: shards.iter().map(each).collect() })
}
