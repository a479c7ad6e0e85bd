//! Sessions, with and without a connection: list, show, discard.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::clients::{Will, glob};
use super::extract::{Json, Path, Query};
use super::failure::Failure;
use super::listing::{self, Kind};
use super::naming::{Named, Within, change, moment, mountpoint};
use super::page::{Page, Paging};
use super::subscriptions::Subscription;
use crate::admin::desk::Desk;
use crate::broker::inspect::{InflightRow, Listing, QueueRow, SessionRow, SessionSelection};
use crate::broker::{Answer, Question};
use crate::interest::ShardId;

/// Whether a session outlives its connection.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Lifetime {
    /// It does.
    Persistent,
    /// It ends with its connection.
    Transient,
}

/// A session.
#[derive(Debug, Serialize, ToSchema)]
struct Session {
    /// Client Identifier.
    client_id: Box<str>,
    /// The prefix of all its topics; null: none.
    mountpoint: Option<Box<str>>,
    /// Whether it outlives its connection.
    #[schema(value_type = String, example = "persistent")]
    kind: Lifetime,
    /// Whether it has a connection.
    connected: bool,
    /// Number of its subscriptions.
    subscriptions: usize,
    /// Messages that wait.
    queued: usize,
    /// Messages sent and not acknowledged.
    inflight: usize,
    /// QoS 2 messages of its client that are not released.
    awaiting_rel: usize,
    /// Session Expiry Interval; null: it never ends.
    expiry_s: Option<u32>,
    /// When it ends, RFC 3339; null: it has a connection, or never.
    expires_at: Option<String>,
    /// The shard where it is.
    shard: u16,
}

/// A session with all it has.
#[derive(Debug, Serialize, ToSchema)]
struct SessionDetail {
    #[serde(flatten)]
    session: Session,
    /// Its subscriptions: the first 1,000; /api/v1/subscriptions has all.
    subscriptions_list: Vec<Subscription>,
    /// Messages that wait, the oldest 100.
    queue: Vec<Queued>,
    /// Messages that are not acknowledged, the oldest 100.
    inflight_list: Vec<Inflight>,
    /// Its Will; null: none.
    will: Option<Will>,
}

/// A message that waits.
#[derive(Debug, Serialize, ToSchema)]
struct Queued {
    /// Topic Name.
    topic: Box<str>,
    /// QoS of the delivery.
    qos: u8,
    /// Bytes of the payload.
    payload_bytes: usize,
    /// When it expires, RFC 3339; null: never.
    expires_at: Option<String>,
}

/// A message that is not acknowledged.
#[derive(Debug, Serialize, ToSchema)]
struct Inflight {
    /// Packet Identifier.
    packet_id: u16,
    /// Topic Name; null: only PUBCOMP is awaited, the message itself is gone.
    topic: Option<Box<str>>,
    /// QoS of the delivery.
    qos: u8,
    /// `publish`: PUBACK or PUBREC is awaited. `pubrel`: PUBCOMP is.
    state: &'static str,
}

impl Session {
    fn new(desk: &Desk, shard: ShardId, row: SessionRow) -> Self {
        Self {
            client_id: row.client_id,
            mountpoint: mountpoint(row.mountpoint),
            kind: if row.is_persistent { Lifetime::Persistent } else { Lifetime::Transient },
            connected: row.is_connected,
            subscriptions: row.subscriptions,
            queued: row.queued,
            inflight: row.inflight,
            awaiting_rel: row.awaiting_rel,
            expiry_s: row.expiry_s,
            expires_at: row.expires_at.map(|at| moment(desk, at)),
            shard: shard.0,
        }
    }
}

impl Queued {
    fn new(desk: &Desk, row: QueueRow) -> Self {
        Self {
            topic: row.topic,
            qos: row.qos as u8,
            payload_bytes: row.payload_bytes,
            expires_at: row.expires_at.map(|at| moment(desk, at)),
        }
    }
}

impl From<InflightRow> for Inflight {
    fn from(row: InflightRow) -> Self {
        match row.message {
            Some(message) => Self {
                packet_id: row.packet_id,
                topic: Some(message.topic),
                qos: message.qos as u8,
                state: "publish",
            },
            None => Self { packet_id: row.packet_id, topic: None, qos: 2, state: "pubrel" },
        }
    }
}

/// Which sessions.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Whether they outlive their connections.
    #[param(inline)]
    kind: Option<Lifetime>,
    /// Pattern of the Client Identifier: `*` any text, `?` one character.
    client_id: Option<String>,
    /// Whether they have a connection.
    connected: Option<bool>,
}

pub(super) fn routes() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show, discard))
}

/// Sessions
///
/// One that stays while the pages are asked for is listed once, whatever its client does.
#[utoipa::path(
    get, path = "/api/v1/sessions", tag = "sessions", params(Wanted, Paging),
    responses((status = 200, body = Page<Session>)),
)]
async fn list(
    State(desk): State<Arc<Desk>>,
    Query(wanted): Query<Wanted>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Session>>, Failure> {
    let selection = SessionSelection {
        client_id: glob("client_id", wanted.client_id.as_deref())?,
        is_persistent: wanted.kind.map(|kind| matches!(kind, Lifetime::Persistent)),
        is_connected: wanted.connected,
    };
    let question = |from, limit| Question::Sessions(Listing { selection: selection.clone(), from, limit });
    let answer = |answer| match answer {
        Answer::Sessions(page) => Some(page),
        _ => None,
    };
    let (items, next) = listing::list(&desk, Kind::Sessions, &paging, question, answer).await?;
    let session = |(shard, row): (ShardId, SessionRow)| Session::new(&desk, shard, row);
    Ok(Json(Page { items: items.into_iter().map(session).collect(), next }))
}

/// A session
#[utoipa::path(
    get, path = "/api/v1/sessions/{client_id}", tag = "sessions",
    params(("client_id" = String, Path, description = "Client Identifier"), Within),
    responses((status = 200, body = SessionDetail)),
)]
async fn show(
    State(desk): State<Arc<Desk>>,
    Path(client_id): Path<String>,
    Query(within): Query<Within>,
) -> Result<Json<SessionDetail>, Failure> {
    let named = Named::new(&desk, client_id, &within);
    let detail = *named.describe(&desk).await?.ok_or_else(|| named.no_session())?;
    let subscription = |row| Subscription::new(named.home, row);
    Ok(Json(SessionDetail {
        session: Session::new(&desk, named.home, detail.session),
        subscriptions_list: detail.subscriptions.into_iter().map(subscription).collect(),
        queue: detail.queue.into_iter().map(|row| Queued::new(&desk, row)).collect(),
        inflight_list: detail.inflight.into_iter().map(Into::into).collect(),
        will: detail.will.map(Into::into),
    }))
}

/// End a session
///
/// Its subscriptions and messages are gone, its client is disconnected if it is connected, its Will is published.
#[utoipa::path(
    delete, path = "/api/v1/sessions/{client_id}", tag = "sessions",
    params(("client_id" = String, Path, description = "Client Identifier"), Within),
    responses((status = 204, description = "The session is gone, on the disk too")),
)]
async fn discard(
    State(desk): State<Arc<Desk>>,
    Path(client_id): Path<String>,
    Query(within): Query<Within>,
) -> Result<StatusCode, Failure> {
    let named = Named::new(&desk, client_id, &within);
    let discarded = change(&desk, named.home, Question::Discard(named.name.clone())).await?;
    discarded.ok_or_else(|| named.no_session())?;
    tracing::info!(target: "audit", event = "session_discarded", session = ?named.name);
    Ok(StatusCode::NO_CONTENT)
}
