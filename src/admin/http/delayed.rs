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
use crate::admin::desk::{Desk, Unavailable};
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

/// The first messages after a place, of all shards together, and whether others follow. A shard tells of so many at a time; what it
/// has not told of may come before what another one told of, and is asked for.
async fn first(
    desk: &Desk,
    mut after: Option<(u64, u64)>,
    limit: usize,
) -> Result<(Vec<((u64, u64), DelayedShown)>, bool), Unavailable> {
    let mut found = Vec::new();
    loop {
        let question = || Question::Module(ModuleOrder::Delayed { after, limit: limit - found.len() });
        let (mut items, mut known_to) = (Vec::new(), None);
        for answer in desk.ask_all(question, PATIENCE).await? {
            if let Answer::Module(ModuleAnswer::Delayed(page)) = answer {
                if let Some((last, _)) = page.items.last().filter(|_| page.has_more) {
                    known_to = Some(known_to.map_or(*last, |known: (u64, u64)| known.min(*last)));
                }
                items.extend(page.items);
            }
        }
        items.retain(|(place, _)| known_to.is_none_or(|known| *place <= known));
        items.sort_unstable_by_key(|(place, _)| *place);
        found.extend(items);
        let has_more = known_to.is_some() || found.len() > limit;
        if known_to.is_none() || found.len() >= limit {
            found.truncate(limit);
            return Ok((found, has_more));
        }
        after = known_to;
    }
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
    let (found, has_more) = first(&desk, after, limit).await?;
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
