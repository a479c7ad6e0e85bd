//! Messages, drops and bytes of chosen Topic Filters.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Json, Query};
use super::failure::Failure;
use super::observed;
use super::page::Items;
use crate::admin::desk::Desk;
use crate::broker::{ObserveAnswer, ObserveQuestion, TopicMetric};

/// What was counted for a filter since it was chosen.
#[derive(Debug, Serialize, ToSchema)]
struct Counts {
    /// The Topic Filter.
    filter: String,
    /// Messages published to topics that it matches.
    messages_in: u64,
    /// Times that such a message was sent to a client.
    messages_out: u64,
    /// Times that such a message was dropped for a client.
    dropped: u64,
    /// Bytes of the payloads of `messages_in`.
    bytes_in: u64,
    /// Bytes of the payloads of `messages_out`.
    bytes_out: u64,
}

/// A filter.
#[derive(Debug, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
struct Chosen {
    /// The Topic Filter.
    #[schema(example = "sensors/+/temperature")]
    filter: String,
}

pub(super) fn routes() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::new().routes(routes!(list, add, remove))
}

async fn rows(desk: &Desk) -> Result<Vec<TopicMetric>, Failure> {
    let answers = observed::ask_everywhere(desk, || ObserveQuestion::Topics).await?;
    let mut sums: Vec<TopicMetric> = Vec::new();
    for answer in answers {
        let ObserveAnswer::Topics(rows) = answer else { continue };
        for row in rows {
            match sums.iter_mut().find(|sum| sum.filter == row.filter) {
                Some(sum) => {
                    sum.messages_in += row.messages_in;
                    sum.messages_out += row.messages_out;
                    sum.dropped += row.dropped;
                    sum.bytes_in += row.bytes_in;
                    sum.bytes_out += row.bytes_out;
                }
                None => sums.push(row),
            }
        }
    }
    Ok(sums)
}

fn counts_for(answer: &ObserveAnswer, filter: &str) -> bool {
    matches!(answer, ObserveAnswer::Topics(rows) if rows.iter().any(|row| *row.filter == *filter))
}

/// What was counted
#[utoipa::path(
    get, path = "/api/v1/topic-metrics", tag = "observe",
    responses((status = 200, body = Items<Counts>)),
)]
async fn list(State(desk): State<Arc<Desk>>) -> Result<Json<Items<Counts>>, Failure> {
    let counts = |row: TopicMetric| Counts {
        filter: row.filter.into(),
        messages_in: row.messages_in,
        messages_out: row.messages_out,
        dropped: row.dropped,
        bytes_in: row.bytes_in,
        bytes_out: row.bytes_out,
    };
    Ok(Json(Items { items: rows(&desk).await?.into_iter().map(counts).collect() }))
}

/// Count for a filter
///
/// At most 64, until the broker ends. Every message is compared with each of them.
#[utoipa::path(
    post, path = "/api/v1/topic-metrics", tag = "observe", request_body = Chosen,
    responses((status = 201, description = "Messages are counted from now on")),
)]
async fn add(
    State(desk): State<Arc<Desk>>,
    Json(Chosen { filter }): Json<Chosen>,
) -> Result<StatusCode, Failure> {
    observed::check_filter(&desk, "filter", &filter)?;
    let known = observed::ask_everywhere(&desk, || ObserveQuestion::Topics).await?;
    // Where only some shards count for it, one of them did not answer a former request, which this one completes.
    if known.iter().all(|answer| counts_for(answer, &filter)) {
        return Err(Failure::conflict(format!("{filter:?} is counted already")));
    }
    tracing::info!(target: "audit", event = "topic_metric_added", filter);
    let too_many =
        || Failure::conflict("64 filters are counted already; remove one of /api/v1/topic-metrics first");
    match observed::do_everywhere(&desk, || ObserveQuestion::TopicAdd(filter.as_str().into())).await {
        Ok(true) => Ok(StatusCode::CREATED),
        other => {
            // What some shards count is not what was published. One that does not answer has it taken away by the next request.
            let _ = observed::undo_everywhere(&desk, || ObserveQuestion::TopicRemove(filter.as_str().into()))
                .await;
            Err(other.err().unwrap_or_else(too_many))
        }
    }
}

/// Count no more for a filter
#[utoipa::path(
    delete, path = "/api/v1/topic-metrics", tag = "observe", params(Chosen),
    responses((status = 204, description = "It is not counted any more")),
)]
async fn remove(
    State(desk): State<Arc<Desk>>,
    Query(Chosen { filter }): Query<Chosen>,
) -> Result<StatusCode, Failure> {
    tracing::info!(target: "audit", event = "topic_metric_removed", filter);
    if observed::undo_everywhere(&desk, || ObserveQuestion::TopicRemove(filter.as_str().into())).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Failure::not_found(format!("{filter:?} is not counted; /api/v1/topic-metrics has all that are")))
}
