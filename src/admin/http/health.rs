//! What load balancers, service managers and people ask first, as plain text and without a password.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admin::desk::Desk;

pub(super) fn routes() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::new().routes(routes!(status)).routes(routes!(healthz)).routes(routes!(readyz))
}

/// Whether the node runs
///
/// The two lines that emqttd answers.
#[utoipa::path(
    get, path = "/status", tag = "health", security(()),
    responses((status = 200, body = String, content_type = "text/plain", description = "It does")),
)]
async fn status(State(desk): State<Arc<Desk>>) -> String {
    format!("Node {} is started\nmyriad {} is running\n", desk.config().node.name, env!("CARGO_PKG_VERSION"))
}

/// Whether every shard answers within a second
#[utoipa::path(
    get, path = "/healthz", tag = "health", security(()),
    responses(
        (status = 200, body = String, content_type = "text/plain", description = "All do"),
        (status = 503, body = String, content_type = "text/plain", description = "One does not: which"),
    ),
)]
async fn healthz(State(desk): State<Arc<Desk>>) -> impl IntoResponse {
    match desk.pulse().await {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
    }
}

/// Whether new clients are welcome
///
/// Until the journal is read it says `recovering`, and how far it is.
#[utoipa::path(
    get, path = "/readyz", tag = "health", security(()),
    responses(
        (status = 200, body = String, content_type = "text/plain", description = "They are"),
        (status = 503, body = String, content_type = "text/plain", description = "They are not: why"),
    ),
)]
async fn readyz(State(desk): State<Arc<Desk>>) -> impl IntoResponse {
    let is_down = desk.storage.as_ref().is_some_and(|storage| storage.statistics().is_down);
    match (desk.is_draining(), is_down) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        (false, true) => (StatusCode::SERVICE_UNAVAILABLE, "storage is down\n"),
        (false, false) => (StatusCode::OK, "ready\n"),
    }
}
