//! What is wrong, and what was lately.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::Json;
use super::failure::Failure;
use super::page::Items;
use crate::admin::desk::Desk;
use crate::broker::{Answer, ObserveAnswer, ObserveQuestion, Question};
use crate::interest::ShardId;
use crate::metrics::rfc3339;

/// An alarm.
#[derive(Debug, Serialize, ToSchema)]
struct Alarm {
    /// What it is called.
    #[schema(example = "queue_high")]
    id: &'static str,
    /// What is wrong.
    message: String,
    /// RFC 3339.
    raised_at: String,
    /// RFC 3339; null: it is still so.
    cleared_at: Option<String>,
    /// It is still so.
    active: bool,
}

pub(super) fn routes() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Alarms
///
/// Those that are active, then the last 100 that are over, newest first.
#[utoipa::path(get, path = "/api/v1/alarms", tag = "observe", responses((status = 200, body = Items<Alarm>)))]
async fn list(State(desk): State<Arc<Desk>>) -> Result<Json<Items<Alarm>>, Failure> {
    let answer = desk.ask(ShardId(0), Question::Observe(ObserveQuestion::Alarms)).await?;
    let Answer::Observe(ObserveAnswer::Alarms(alarms)) = answer else {
        return Ok(Json(Items { items: Vec::new() }));
    };
    let alarm = |alarm: crate::broker::Alarm| Alarm {
        id: alarm.id,
        message: alarm.message,
        raised_at: rfc3339(alarm.raised_at_ms),
        cleared_at: alarm.cleared_at_ms.map(rfc3339),
        active: alarm.cleared_at_ms.is_none(),
    };
    Ok(Json(Items { items: alarms.into_iter().map(alarm).collect() }))
}
