//! Who may do what: read the rules again, and ask them.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::Json;
use super::failure::Failure;
use crate::acl::{Action, Client, Permission};
use crate::admin::desk::Desk;

/// What a client might want.
#[derive(Debug, Deserialize, ToSchema)]
struct Wanted {
    /// Client Identifier.
    client_id: String,
    /// User Name; left out or null: none.
    username: Option<String>,
    /// Where it connects from; left out: 127.0.0.1.
    #[schema(value_type = Option<String>, example = "10.0.0.7")]
    address: Option<String>,
    /// `publish` or `subscribe`.
    #[schema(value_type = String, example = "publish")]
    access: Access,
    /// A Topic Name to publish to, or a Topic Filter to subscribe with.
    topic: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Access {
    Publish,
    Subscribe,
}

/// What the rules say.
#[derive(Debug, Serialize, ToSchema)]
struct Judged {
    /// It may.
    allowed: bool,
    /// Which rule of `acl.file` says so; null: none does, and acl.no_match holds.
    rule: Option<String>,
}

/// The rules that are in effect.
#[derive(Debug, Serialize, ToSchema)]
struct Rules {
    /// How many there are for publishing and for subscribing, together.
    rules: usize,
}

pub(super) fn routes() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::new().routes(routes!(reload)).routes(routes!(check))
}

/// Read the rules again
///
/// Connected clients are held to them from their next packet on.
#[utoipa::path(post, path = "/api/v1/acl/reload", tag = "acl", responses((status = 200, body = Rules)))]
async fn reload(State(desk): State<Arc<Desk>>) -> Result<Json<Rules>, Failure> {
    let outcome = desk.reload_acl().await;
    outcome.map_err(|error| Failure::bad_request(format!("the old rules stay: {error}")))?;
    Ok(Json(Rules { rules: desk.policy().file.len() }))
}

/// Ask the rules
///
/// Rules that come with a client's own credentials, and the server of auth.http.acl_req, are not asked.
#[utoipa::path(
    post, path = "/api/v1/acl/check", tag = "acl", request_body = Wanted,
    responses((status = 200, body = Judged)),
)]
async fn check(State(desk): State<Arc<Desk>>, Json(wanted): Json<Wanted>) -> Result<Json<Judged>, Failure> {
    let address = wanted.address.as_deref().unwrap_or("127.0.0.1");
    let address: IpAddr = address
        .parse()
        .map_err(|_| Failure::bad_request(format!("address: expected an IP address, not {address:?}")))?;
    let client = Client { client_id: &wanted.client_id, username: wanted.username.as_deref(), address };
    let (action, name) = match wanted.access {
        Access::Publish => (Action::Publish, "publish"),
        Access::Subscribe => (Action::Subscribe, "subscribe"),
    };
    let policy = desk.policy();
    let found = policy.file.find(&client, action, &wanted.topic);
    let permission = found.map_or(policy.no_match, |(_, permission)| permission);
    let rule = found.map(|(number, _)| format!("rule {number} of those of acl.file that speak of {name}"));
    Ok(Json(Judged { allowed: permission == Permission::Allow, rule }))
}
