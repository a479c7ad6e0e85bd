//! Retained messages: list, show, delete.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Json, Query};
use super::failure::Failure;
use super::listing::{self, Kind, unexpected};
use super::naming::{change, moment};
use super::page::{Page, Paging};
use super::topics::chosen;
use crate::admin::desk::Desk;
use crate::broker::inspect::Listing;
use crate::broker::{Answer, Question};
use crate::packet::Forwarded;
use crate::session::Message;

/// A retained message.
#[derive(Debug, Serialize, ToSchema)]
struct Retained {
    /// Topic Name, with the mountpoint of its publisher.
    topic: String,
    /// Bytes of the payload.
    payload_bytes: usize,
    /// QoS with which it was published.
    qos: u8,
    /// When it expires, RFC 3339; null: never.
    expires_at: Option<String>,
}

/// A retained message with what it says.
#[derive(Debug, Serialize, ToSchema)]
struct RetainedMessage {
    #[serde(flatten)]
    message: Retained,
    /// The payload.
    payload_base64: String,
    /// The same as text; null: it is not UTF-8.
    payload_text: Option<String>,
    /// Content Type; null: none.
    content_type: Option<String>,
    /// User Properties, name and value each.
    user_properties: Vec<[String; 2]>,
}

impl Retained {
    fn new(desk: &Desk, message: &Message) -> Self {
        let head = message.head();
        Self {
            topic: message.topic().to_owned(),
            payload_bytes: message.payload().len(),
            qos: head.qos as u8,
            expires_at: head.expires_at.map(|at| moment(desk, at)),
        }
    }
}

/// Which messages.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Those whose topics this Topic Filter matches; left out: `#`, that is all but those that begin with `$`.
    r#match: Option<String>,
}

/// Which message.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Of {
    /// Topic Name.
    topic: String,
}

pub(super) fn routes() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show, delete))
}

fn nothing(topic: &str) -> Failure {
    Failure::not_found(format!("the topic {topic:?} has no retained message; /api/v1/retained has all"))
}

/// Retained messages
#[utoipa::path(
    get, path = "/api/v1/retained", tag = "retained", params(Wanted, Paging),
    responses((status = 200, body = Page<Retained>)),
)]
async fn list(
    State(desk): State<Arc<Desk>>,
    Query(wanted): Query<Wanted>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Retained>>, Failure> {
    let selection = chosen(wanted.r#match.as_deref().unwrap_or("#"))?;
    let question = |from, limit| Question::Retained(Listing { selection: selection.clone(), from, limit });
    let answer = |answer| match answer {
        Answer::Retained(page) => Some(page),
        _ => None,
    };
    let (items, next) = listing::list(&desk, Kind::Retained, &paging, question, answer).await?;
    let items = items.iter().map(|(_, message)| Retained::new(&desk, message)).collect();
    Ok(Json(Page { items, next }))
}

/// A retained message
#[utoipa::path(
    get, path = "/api/v1/retained/message", tag = "retained", params(Of),
    responses((status = 200, body = RetainedMessage)),
)]
async fn show(
    State(desk): State<Arc<Desk>>,
    Query(Of { topic }): Query<Of>,
) -> Result<Json<RetainedMessage>, Failure> {
    let slice = desk.shared.placement.slice_of(&topic);
    let asked = desk.ask(slice, Question::RetainedMessage(topic.as_str().into())).await?;
    let Answer::RetainedMessage(message) = asked else { return Err(unexpected()) };
    let message = message.ok_or_else(|| nothing(&topic))?;
    let properties = Forwarded::parse(message.forwarded()).unwrap_or(Forwarded::EMPTY);
    Ok(Json(RetainedMessage {
        message: Retained::new(&desk, &message),
        payload_base64: STANDARD.encode(message.payload()),
        payload_text: std::str::from_utf8(message.payload()).ok().map(Into::into),
        content_type: properties.content_type().map(Into::into),
        user_properties: properties
            .user_properties()
            .iter()
            .map(|(name, value)| [name.to_owned(), value.to_owned()])
            .collect(),
    }))
}

/// Forget a retained message
///
/// No subscriber is told: nobody published. A PUBLISH with RETAIN and without payload would reach them.
#[utoipa::path(
    delete, path = "/api/v1/retained/message", tag = "retained", params(Of),
    responses((status = 204, description = "It is gone, on the disk too")),
)]
async fn delete(
    State(desk): State<Arc<Desk>>,
    Query(Of { topic }): Query<Of>,
) -> Result<StatusCode, Failure> {
    let slice = desk.shared.placement.slice_of(&topic);
    let deleted = change(&desk, slice, Question::DeleteRetained(topic.as_str().into())).await?;
    deleted.ok_or_else(|| nothing(&topic))?;
    tracing::info!(target: "audit", event = "retained_deleted", topic);
    Ok(StatusCode::NO_CONTENT)
}
