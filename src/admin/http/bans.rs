//! Who is kept out: list, ban, lift.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Json, Path};
use super::failure::Failure;
use super::page::Items;
use crate::admin::desk::Desk;
use crate::clock::Timestamp;
use crate::limits::{Ban, BanCause, BanError, Subject};

/// A ban in effect.
#[derive(Debug, Serialize, ToSchema)]
struct Banned {
    /// `client`, `user` or `address`.
    #[schema(example = "client")]
    kind: &'static str,
    /// A Client Identifier, a User Name, or an IP address; an IPv6 address stands for its /64.
    name: String,
    /// What it is for: `operator`, or what the broker noticed.
    cause: &'static str,
    /// null: until it is lifted.
    seconds_left: Option<u64>,
}

impl Banned {
    fn of(ban: &Ban, now: Timestamp) -> Self {
        let (kind, name) = ban.subject.parts();
        let seconds_left = ban.until.map(|until| until.ms_since(now).div_ceil(1000));
        Self { kind, name, cause: ban.cause.name(), seconds_left }
    }
}

/// A ban to be made.
#[derive(Debug, Deserialize, ToSchema)]
struct NewBan {
    /// `client`, `user` or `address`.
    #[schema(example = "client")]
    kind: String,
    /// Who.
    name: String,
    /// How long; left out or null: until it is lifted.
    seconds: Option<u32>,
}

pub(super) fn routes() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::new().routes(routes!(list, add)).routes(routes!(lift))
}

fn subject(kind: &str, name: &str) -> Result<Subject, Failure> {
    Subject::parse(kind, name).map_err(|error| Failure::bad_request(error.to_string()))
}

/// All bans
#[utoipa::path(get, path = "/api/v1/bans", tag = "bans", responses((status = 200, body = Items<Banned>)))]
async fn list(State(desk): State<Arc<Desk>>) -> Json<Items<Banned>> {
    let now = desk.now();
    Json(Items { items: desk.shared.bans.list(now).iter().map(|ban| Banned::of(ban, now)).collect() })
}

/// Keep somebody out
///
/// A ban that is there already is replaced. Those who are connected stay: kick them too.
#[utoipa::path(
    post, path = "/api/v1/bans", tag = "bans", request_body = NewBan,
    responses((status = 201, body = Banned, description = "The ban is in effect")),
)]
async fn add(
    State(desk): State<Arc<Desk>>,
    Json(new): Json<NewBan>,
) -> Result<(StatusCode, Json<Banned>), Failure> {
    let now = desk.now();
    let until = new.seconds.map(|seconds| now.plus_s(u64::from(seconds)));
    let ban = Ban { subject: subject(&new.kind, &new.name)?, until, cause: BanCause::Operator };
    let made = Banned::of(&ban, now);
    tracing::info!(target: "audit", event = "banned", subject = ban.subject.to_string(), cause = "operator");
    desk.shared.bans.add(now, ban).map_err(|error| match error {
        BanError::Full => Failure::unavailable(error.to_string()),
        BanError::Kind(_) | BanError::Address(_) => Failure::bad_request(error.to_string()),
    })?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// Let somebody in again
#[utoipa::path(
    delete, path = "/api/v1/bans/{kind}/{name}", tag = "bans",
    params(
        ("kind" = String, Path, description = "`client`, `user` or `address`"),
        ("name" = String, Path, description = "Who"),
    ),
    responses((status = 204, description = "The ban is lifted")),
)]
async fn lift(
    State(desk): State<Arc<Desk>>,
    Path((kind, name)): Path<(String, String)>,
) -> Result<StatusCode, Failure> {
    let subject = subject(&kind, &name)?;
    match desk.shared.bans.lift(desk.now(), &subject) {
        true => {
            tracing::info!(target: "audit", event = "ban_lifted", subject = subject.to_string());
            Ok(StatusCode::NO_CONTENT)
        }
        false => Err(Failure::not_found(format!("{subject} is not banned; /api/v1/bans has all who are"))),
    }
}
