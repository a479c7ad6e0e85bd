//! Stored automatic subscriptions: what clients are subscribed to when they connect, by Client Identifier.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Json, Query};
use super::failure::Failure;
use super::page::{Page, Paging};
use crate::admin::desk::Desk;
use crate::broker::{
    ModuleOrder, Question, StoredSubscription, StoredSubscriptions, StoredSubscriptionsError,
};
use crate::config::AutoSubscription;

/// How long shards may take to hear of it.
const PATIENCE: Duration = Duration::from_secs(5);

/// One stored automatic subscription.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
struct Stored {
    /// Of which client.
    client_id: String,
    /// Topic Filter; `%c`, `%u`, and `$c` and `$u` as whole levels, stand for the client's names.
    #[schema(example = "clients/%c/in")]
    filter: String,
    /// QoS granted.
    #[serde(default)]
    #[schema(maximum = 2)]
    qos: u8,
    /// Not what the client publishes itself.
    #[serde(default)]
    no_local: bool,
    /// RETAIN as it was published.
    #[serde(default)]
    retain_as_published: bool,
    /// 0 or 1: retained messages are sent when the subscription is made, 2: they are not.
    #[serde(default)]
    #[schema(maximum = 2)]
    retain_handling: u8,
}

impl Stored {
    fn of(client_id: &str, subscription: &AutoSubscription) -> Self {
        let AutoSubscription { filter, qos, no_local, retain_as_published, retain_handling } =
            subscription.clone();
        Self { client_id: client_id.into(), filter, qos, no_local, retain_as_published, retain_handling }
    }

    fn to_stored(&self) -> StoredSubscription {
        let Self { client_id, filter, qos, no_local, retain_as_published, retain_handling } = self.clone();
        let subscription = AutoSubscription { filter, qos, no_local, retain_as_published, retain_handling };
        StoredSubscription { client_id, subscription }
    }
}

/// Whose.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Of {
    /// Those of this client only.
    client_id: Option<String>,
}

/// Which.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Of which client.
    client_id: String,
    /// The filter as it was stored; left out: all of the client.
    filter: Option<String>,
}

pub(super) fn routes() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::new().routes(routes!(list, add, remove))
}

fn cursor_of(last: &Stored) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(format!("{}\0{}", last.client_id, last.filter))
}

fn place(cursor: &str) -> Option<(String, String)> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    text.split_once('\0').map(|(client_id, filter)| (client_id.into(), filter.into()))
}

/// Stored automatic subscriptions, by Client Identifier and filter
#[utoipa::path(
    get, path = "/api/v1/auto-subscriptions", tag = "modules", params(Of, Paging),
    responses((status = 200, body = Page<Stored>)),
)]
async fn list(
    State(desk): State<Arc<Desk>>,
    Query(of): Query<Of>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Stored>>, Failure> {
    let limit = paging.limit()?;
    let after = match &paging.cursor {
        None => of.client_id.clone().map(|client_id| (client_id, String::new())),
        Some(cursor) => Some(
            place(cursor)
                .ok_or_else(|| Failure::bad_request("cursor: expected `next` of the page before"))?,
        ),
    };
    let all = desk.modules.stored.lock().await.all();
    let after = after.as_ref().map(|(client_id, filter)| (client_id.as_str(), filter.as_str()));
    let is_wanted = |client: &str| of.client_id.as_deref().is_none_or(|wanted| wanted == client);
    let mut rest = all.after(after).take_while(|(client, _)| is_wanted(client));
    let items: Vec<Stored> =
        rest.by_ref().take(limit).map(|(client, entry)| Stored::of(client, entry)).collect();
    let next = if rest.next().is_some() { items.last().map(cursor_of) } else { None };
    Ok(Json(Page { items, next }))
}

/// Store one
///
/// It takes effect when the client connects next; who is connected keeps what it has. One with the same filter is replaced.
#[utoipa::path(
    post, path = "/api/v1/auto-subscriptions", tag = "modules", request_body = Stored,
    responses((status = 201, body = Stored, description = "It is stored")),
)]
async fn add(
    State(desk): State<Arc<Desk>>,
    Json(new): Json<Stored>,
) -> Result<(StatusCode, Json<Stored>), Failure> {
    change(&desk, |all| {
        all.add(new.to_stored()).map(|_| ()).map_err(|error| match error {
            StoredSubscriptionsError::Invalid(_) => Failure::bad_request(error.to_string()),
            StoredSubscriptionsError::TooMany(_) => Failure::conflict(error.to_string()),
        })
    })
    .await?;
    tracing::info!(target: "audit", event = "auto_subscription_stored", client_id = new.client_id, filter = new.filter);
    Ok((StatusCode::CREATED, Json(new)))
}

/// Forget one, or all of a client
///
/// The client's session keeps the subscription until it ends or the client unsubscribes.
#[utoipa::path(
    delete, path = "/api/v1/auto-subscriptions", tag = "modules", params(Which),
    responses((status = 204, description = "It is forgotten")),
)]
async fn remove(State(desk): State<Arc<Desk>>, Query(which): Query<Which>) -> Result<StatusCode, Failure> {
    let Which { client_id, filter } = &which;
    change(&desk, |all| match all.remove(client_id, filter.as_deref()) {
        0 => Err(Failure::not_found(match filter {
            Some(filter) => format!("no automatic subscription of {client_id:?} to {filter:?} is stored"),
            None => format!("no automatic subscription of {client_id:?} is stored"),
        })),
        _ => Ok(()),
    })
    .await?;
    tracing::info!(target: "audit", event = "auto_subscription_forgotten", client_id, filter);
    Ok(StatusCode::NO_CONTENT)
}

/// Changes what is stored: on disk, then with all shards.
async fn change(
    desk: &Desk,
    make: impl FnOnce(&mut StoredSubscriptions) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut stored = desk.modules.stored.lock().await;
    let mut all = StoredSubscriptions::clone(&stored.all());
    make(&mut all)?;
    stored.replace(all).map_err(|error| Failure::unavailable(error.to_string()))?;
    let all = stored.all();
    let question = || Question::Module(ModuleOrder::AutoSubscriptions(Arc::clone(&all)));
    let replaced = desk.ask_all(question, PATIENCE).await?;
    // What was stored before comes back here, to be freed: many entries take a while, and this thread has others to answer.
    tokio::task::spawn_blocking(move || drop(replaced));
    Ok(())
}
