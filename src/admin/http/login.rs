//! Tokens for passwords, and the operators themselves.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::brief;
use super::extract::{Json, Path};
use super::failure::Failure;
use super::guard::{Caller, refused};
use super::page::Items;
use crate::admin::desk::Desk;
use crate::admin::operators::{LEN_MAX, OperatorsError};

/// Who somebody says to be.
#[derive(Deserialize, ToSchema)]
struct Credentials {
    /// An operator's name.
    #[schema(example = "admin")]
    username: String,
    /// His password.
    password: String,
}

/// What a login gives.
#[derive(Serialize, ToSchema)]
struct Login {
    /// For the header `Authorization: Bearer TOKEN`.
    token: String,
    /// Seconds that it is good for.
    expires_s: u32,
}

/// An operator.
#[derive(Debug, Serialize, ToSchema)]
struct User {
    /// His name.
    username: String,
}

/// Open to anyone.
pub(super) fn open_routes() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::new().routes(routes!(login))
}

pub(super) fn routes() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::new().routes(routes!(logout)).routes(routes!(list, put)).routes(routes!(delete))
}

/// A token for a password
///
/// After five wrong passwords an address has to wait for half a minute.
#[utoipa::path(
    post, path = "/api/v1/login", tag = "users", security(()), request_body = Credentials,
    responses((status = 200, body = Login)),
)]
async fn login(
    State(desk): State<Arc<Desk>>,
    caller: Option<Extension<Caller>>,
    Json(Credentials { username, password }): Json<Credentials>,
) -> Result<Json<Login>, Failure> {
    if username.len() > LEN_MAX {
        return Err(Failure::bad_request(format!("username: expected at most {LEN_MAX} bytes")));
    }
    let remote = caller.and_then(|Extension(caller)| caller.address);
    let checked = desk.admission.check(&username, &password, remote).await;
    tracing::info!(target: "audit", event = "admin_login", operator = ?brief(&username), is_let_in = checked.is_ok(), ?remote);
    checked.map_err(refused)?;
    let expires_s = desk.config().admin.session_s;
    let token =
        desk.admission.issue(&username, Duration::from_secs(u64::from(expires_s))).map_err(refused)?;
    Ok(Json(Login { token, expires_s }))
}

/// End the token that the request comes with
#[utoipa::path(post, path = "/api/v1/logout", tag = "users", responses((status = 204, description = "It has ended")))]
async fn logout(State(desk): State<Arc<Desk>>, headers: HeaderMap) -> StatusCode {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if let Some((_, token)) = value.and_then(|value| value.split_once(' ')) {
        desk.admission.revoke(token.trim());
    }
    StatusCode::NO_CONTENT
}

fn failed(error: OperatorsError) -> Failure {
    match error {
        OperatorsError::Unfit(_) => Failure::bad_request(error.to_string()),
        OperatorsError::Last(_) => Failure::conflict(error.to_string()),
        OperatorsError::Io { .. } | OperatorsError::File(_) | OperatorsError::Random => {
            Failure::unavailable(error.to_string())
        }
    }
}

/// The operators
#[utoipa::path(get, path = "/api/v1/users", tag = "users", responses((status = 200, body = Items<User>)))]
async fn list(State(desk): State<Arc<Desk>>) -> Result<Json<Items<User>>, Failure> {
    let names = desk.admission.operators.names().map_err(failed)?;
    Ok(Json(Items { items: names.into_iter().map(|username| User { username }).collect() }))
}

/// Add an operator, or give him a new password
///
/// A new password ends his tokens.
#[utoipa::path(
    post, path = "/api/v1/users", tag = "users", request_body = Credentials,
    responses(
        (status = 200, body = User, description = "He has a new password"),
        (status = 201, body = User, description = "He is new"),
    ),
)]
async fn put(
    State(desk): State<Arc<Desk>>,
    Json(Credentials { username, password }): Json<Credentials>,
) -> Result<(StatusCode, Json<User>), Failure> {
    let admission = Arc::clone(&desk.admission);
    let put = move || admission.operators.put(&username, &password).map(|is_new| (is_new, username));
    let done = tokio::task::spawn_blocking(put).await;
    let (is_new, username) =
        done.map_err(|_| Failure::unavailable("the broker shuts down"))?.map_err(failed)?;
    Ok((if is_new { StatusCode::CREATED } else { StatusCode::OK }, Json(User { username })))
}

/// Delete an operator
#[utoipa::path(
    delete, path = "/api/v1/users/{username}", tag = "users",
    params(("username" = String, Path, description = "His name")),
    responses((status = 204, description = "He is gone, and so are his tokens")),
)]
async fn delete(State(desk): State<Arc<Desk>>, Path(username): Path<String>) -> Result<StatusCode, Failure> {
    match desk.admission.operators.delete(&username).map_err(failed)? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Failure::not_found(format!(
            "there is no operator {username:?}; GET /api/v1/users lists them"
        ))),
    }
}
