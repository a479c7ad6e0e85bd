//! Connected clients: list, show, kick.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Json, Path, Query};
use super::failure::Failure;
use super::listing::{self, Kind};
use super::naming::{Named, Within, change, moment, mountpoint};
use super::page::{Page, Paging};
use super::subscriptions::Subscription;
use crate::admin::desk::Desk;
use crate::broker::inspect::{ClientRow, ClientSelection, ConnectionRow, Glob, Listing, SessionRow, WillRow};
use crate::broker::{Answer, Question};
use crate::interest::ShardId;
use crate::packet::ProtocolVersion;

/// A connected client.
#[derive(Debug, Serialize, ToSchema)]
struct Client {
    /// Client Identifier.
    client_id: Box<str>,
    /// The prefix of all its topics; null: none.
    mountpoint: Option<Box<str>>,
    /// User Name, if somebody verified it.
    username: Option<Box<str>>,
    /// Address and port.
    #[schema(example = "192.0.2.7:51234")]
    address: String,
    /// Index of its listener, as in /api/v1/listeners.
    listener: u16,
    /// `3.1`, `3.1.1` or `5.0`.
    protocol: &'static str,
    /// Whether it asked for a clean session.
    clean_start: bool,
    /// Keep Alive granted; 0: none.
    keep_alive_s: u32,
    /// When it was connected, RFC 3339.
    connected_at: String,
    /// The shard where its session is.
    shard: u16,
    /// Session Expiry Interval; null: the session never ends.
    session_expiry_s: Option<u32>,
    /// Number of its subscriptions.
    subscriptions: usize,
    /// Messages sent and not acknowledged.
    inflight: usize,
    /// Messages that wait.
    queued: usize,
}

/// A connected client with all it has.
#[derive(Debug, Serialize, ToSchema)]
struct ClientDetail {
    #[serde(flatten)]
    client: Client,
    /// Its subscriptions: the first 1,000; /api/v1/subscriptions has all.
    subscriptions_list: Vec<Subscription>,
    /// Its Will; null: none.
    will: Option<Will>,
    /// Bytes that it has not taken yet.
    outbound_bytes: usize,
    /// QoS 2 messages of its that it has not released.
    inbound_qos2: usize,
    /// Whether its next packet has to wait: for a rate, other shards or the disk.
    paused: bool,
}

/// A Will.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Will {
    /// Topic Name.
    topic: Box<str>,
    /// QoS.
    qos: u8,
    /// Whether it is to be retained.
    retain: bool,
    /// Seconds between the connection's end and its publication.
    delay_s: u32,
}

impl From<WillRow> for Will {
    fn from(row: WillRow) -> Self {
        Self { topic: row.topic, qos: row.qos as u8, retain: row.retain, delay_s: row.delay_s }
    }
}

/// Which clients.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Pattern of the Client Identifier: `*` any text, `?` one character.
    client_id: Option<String>,
    /// Pattern of the verified User Name.
    user: Option<String>,
    /// An address or a network as `192.0.2.0/24`.
    address: Option<String>,
    /// Index of the listener.
    listener: Option<u16>,
}

impl Wanted {
    fn selection(&self) -> Result<ClientSelection, Failure> {
        Ok(ClientSelection {
            client_id: glob("client_id", self.client_id.as_deref())?,
            user: glob("user", self.user.as_deref())?,
            address: self.address.as_deref().map(network).transpose()?,
            listener: self.listener,
        })
    }
}

/// A pattern.
///
/// # Errors
/// It is too long.
pub(super) fn glob(parameter: &str, text: Option<&str>) -> Result<Option<Glob>, Failure> {
    let too_long = || Failure::bad_request(format!("{parameter}: a pattern has at most 128 characters"));
    text.map(|text| Glob::new(text).ok_or_else(too_long)).transpose()
}

fn network(text: &str) -> Result<IpNet, Failure> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse().or_else(|_| address()).map_err(|_| {
        Failure::bad_request(format!("address: {text:?} is neither an address nor a network as 192.0.2.0/24"))
    })
}

impl Client {
    fn new(desk: &Desk, shard: ShardId, session: SessionRow, connection: ConnectionRow) -> Self {
        Self {
            client_id: session.client_id,
            mountpoint: mountpoint(session.mountpoint),
            username: connection.username,
            address: connection.address.to_string(),
            listener: connection.listener,
            protocol: match connection.version {
                ProtocolVersion::V31 => "3.1",
                ProtocolVersion::V311 => "3.1.1",
                ProtocolVersion::V5 => "5.0",
            },
            clean_start: connection.clean_start,
            keep_alive_s: connection.keep_alive_s,
            connected_at: moment(desk, connection.connected_at),
            shard: shard.0,
            session_expiry_s: session.expiry_s,
            subscriptions: session.subscriptions,
            inflight: session.inflight,
            queued: session.queued,
        }
    }
}

pub(super) fn routes() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show, kick))
}

/// Connected clients
///
/// One that stays connected, or keeps its session, while the pages are asked for is listed once.
#[utoipa::path(
    get, path = "/api/v1/clients", tag = "clients", params(Wanted, Paging),
    responses((status = 200, body = Page<Client>)),
)]
async fn list(
    State(desk): State<Arc<Desk>>,
    Query(wanted): Query<Wanted>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Client>>, Failure> {
    let selection = wanted.selection()?;
    let question = |from, limit| Question::Clients(Listing { selection: selection.clone(), from, limit });
    let answer = |answer| match answer {
        Answer::Clients(page) => Some(page),
        _ => None,
    };
    let (items, next) = listing::list(&desk, Kind::Clients, &paging, question, answer).await?;
    let client = |(shard, row): (ShardId, ClientRow)| Client::new(&desk, shard, row.session, row.connection);
    Ok(Json(Page { items: items.into_iter().map(client).collect(), next }))
}

/// A connected client
#[utoipa::path(
    get, path = "/api/v1/clients/{client_id}", tag = "clients",
    params(("client_id" = String, Path, description = "Client Identifier"), Within),
    responses((status = 200, body = ClientDetail)),
)]
async fn show(
    State(desk): State<Arc<Desk>>,
    Path(client_id): Path<String>,
    Query(within): Query<Within>,
) -> Result<Json<ClientDetail>, Failure> {
    let named = Named::new(&desk, client_id, &within);
    let detail = named.describe(&desk).await?.ok_or_else(|| named.no_client())?;
    let detail = *detail;
    let connection = detail.connection.ok_or_else(|| named.no_client())?;
    let inbound_qos2 = detail.session.awaiting_rel;
    let paused = connection.is_paused;
    let subscription = |row| Subscription::new(named.home, row);
    Ok(Json(ClientDetail {
        client: Client::new(&desk, named.home, detail.session, connection),
        subscriptions_list: detail.subscriptions.into_iter().map(subscription).collect(),
        will: detail.will.map(Into::into),
        outbound_bytes: detail.outbound_bytes,
        inbound_qos2,
        paused,
    }))
}

/// Disconnect a client
///
/// 5.0 is told so by Reason Code 0x98. Its Will is published; its session stays if it outlives the connection. It may come back: a ban
/// keeps it out.
#[utoipa::path(
    delete, path = "/api/v1/clients/{client_id}", tag = "clients",
    params(("client_id" = String, Path, description = "Client Identifier"), Within),
    responses((status = 204, description = "It is disconnected")),
)]
async fn kick(
    State(desk): State<Arc<Desk>>,
    Path(client_id): Path<String>,
    Query(within): Query<Within>,
) -> Result<StatusCode, Failure> {
    let named = Named::new(&desk, client_id, &within);
    change(&desk, named.home, Question::Kick(named.name.clone())).await?.ok_or_else(|| named.no_client())?;
    tracing::info!(target: "audit", event = "kicked", session = ?named.name);
    Ok(StatusCode::NO_CONTENT)
}
