//! Messages that wait for their time.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Json, Query};
use super::failure::Failure;
use super::page::{Page, Paging};
use crate::admin::desk::Desk;
use crate::broker::{Answer, DelayedShown, ModuleAnswer, ModuleOrder, Question};
use crate::metrics::rfc3339;

/// How long shards may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A message that waits for its time.
#[derive(Debug, Serialize, ToSchema)]
struct Delayed {
    /// To what topic it will be published, a mountpoint before it where its publisher has one.
    topic: String,
    /// At which QoS.
    qos: u8,
    /// Whether it will be retained.
    retain: bool,
    /// Bytes of its payload.
    payload_bytes: usize,
    /// When it will be published.
    #[schema(example = "2026-03-06T10:00:00.000Z")]
    due_at: String,
}

pub(super) fn routes() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Where a page ended: the moment of its last message, and that one's number.
fn place(cursor: &str) -> Option<(u64, u64)> {
    let (due, number) = cursor.split_once('-')?;
    Some((due.parse().ok()?, number.parse().ok()?))
}

/// Messages that wait for their time, the next one first
#[utoipa::path(
    get, path = "/api/v1/delayed", tag = "modules", params(Paging),
    responses((status = 200, body = Page<Delayed>)),
)]
async fn list(
    State(desk): State<Arc<Desk>>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Delayed>>, Failure> {
    let limit = paging.limit()?;
    let after = match &paging.cursor {
        None => None,
        Some(cursor) => Some(
            place(cursor)
                .ok_or_else(|| Failure::bad_request("cursor: expected `next` of the page before"))?,
        ),
    };
    let question = || Question::Module(ModuleOrder::Delayed { after, limit });
    let (mut found, mut has_more) = (Vec::new(), false);
    for answer in desk.ask_all(question, PATIENCE).await? {
        if let Answer::Module(ModuleAnswer::Delayed(page)) = answer {
            has_more |= page.has_more;
            found.extend(page.items);
        }
    }
    found.sort_unstable_by_key(|(place, _)| *place);
    has_more |= found.len() > limit;
    found.truncate(limit);
    let last = found.last().filter(|_| has_more);
    let next = last.map(|((due, number), _)| format!("{due}-{number}"));
    let shown = |(_, shown): (_, DelayedShown)| Delayed {
        topic: shown.topic,
        qos: shown.qos as u8,
        retain: shown.retain,
        payload_bytes: shown.payload_bytes,
        due_at: rfc3339(desk.shared.started_unix_ms + shown.due.0),
    };
    Ok(Json(Page { items: found.into_iter().map(shown).collect(), next }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_a_place_or_nothing() {
        assert_eq!(place("1000-7"), Some((1000, 7)));
        for cursor in ["", "-", "7", "a-b", "1-2-3", "-1-2"] {
            assert_eq!(place(cursor), None, "{cursor}");
        }
    }
}
