//! Every number of `Metrics`, summed or by shard.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Json, Query};
use crate::admin::desk::Desk;
use crate::metrics::{Metrics, Totals};

/// In how much detail.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Detail {
    /// The numbers of each shard too.
    #[serde(default)]
    per_shard: bool,
}

/// Numbers by name. A gauge may count up on one shard and down on another: a shard's share can be below zero.
#[derive(Debug, Serialize, ToSchema)]
struct Stats {
    /// Of the node.
    items: BTreeMap<&'static str, u64>,
    /// Of each shard, in their order.
    #[serde(skip_serializing_if = "Option::is_none")]
    shards: Option<Vec<BTreeMap<&'static str, i64>>>,
}

pub(super) fn routes() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::new().routes(routes!(show))
}

#[allow(clippy::cast_possible_wrap)]
fn of_shard(metrics: &Metrics) -> BTreeMap<&'static str, i64> {
    let mut numbers = BTreeMap::new();
    metrics.each(|metric, value| {
        numbers.insert(metric.name, value as i64);
    });
    numbers
}

/// Every number
#[utoipa::path(get, path = "/api/v1/stats", tag = "node", params(Detail), responses((status = 200, body = Stats)))]
async fn show(State(desk): State<Arc<Desk>>, Query(detail): Query<Detail>) -> Json<Stats> {
    let mut totals = Totals::default();
    totals.observe(&desk.shared.metrics);
    let items = totals.each().map(|(metric, now, _)| (metric.name, now)).collect();
    let shards = detail.per_shard.then(|| desk.shared.metrics.iter().map(|shard| of_shard(shard)).collect());
    Json(Stats { items, shards })
}
