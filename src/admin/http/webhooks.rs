//! Webhooks, and how they do.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::Json;
use super::page::Items;
use crate::admin::desk::Desk;

/// A webhook.
#[derive(Debug, Serialize, ToSchema)]
struct Webhook {
    /// Where to, without what may be a secret.
    url: String,
    /// Which events.
    events: Vec<String>,
    /// Events that wait.
    queued: u64,
    /// Events that the server has taken.
    delivered: u64,
    /// Events that found the queue full.
    dropped: u64,
    /// Events that the server did not take, however often it was asked.
    failed: u64,
    /// The last trouble; null: the last request went well.
    error: Option<String>,
}

pub(super) fn routes() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::new().routes(routes!(list))
}

/// All webhooks
#[utoipa::path(get, path = "/api/v1/webhooks", tag = "modules", responses((status = 200, body = Items<Webhook>)))]
async fn list(State(desk): State<Arc<Desk>>) -> Json<Items<Webhook>> {
    let shown = desk.webhooks.list().into_iter().map(|hook| Webhook {
        url: hook.url,
        events: hook.events,
        queued: hook.queued,
        delivered: hook.delivered,
        dropped: hook.dropped,
        failed: hook.failed,
        error: hook.error,
    });
    Json(Items { items: shown.collect() })
}
