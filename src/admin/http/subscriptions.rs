//! Subscriptions of all sessions: list; and those of one session: add, end.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::brief;
use super::clients::glob;
use super::extract::{Json, Path, Query};
use super::failure::Failure;
use super::listing::{self, Kind};
use super::naming::{Named, Within, change, mountpoint};
use super::page::{Page, Paging};
use crate::admin::desk::Desk;
use crate::broker::inspect::{Listing, Subscribing, SubscriptionRow, SubscriptionSelection};
use crate::broker::{Answer, Question};
use crate::interest::ShardId;
use crate::packet::{QoS, RetainHandling, SubscriptionOptions};
use crate::topic;

/// A subscription.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Subscription {
    /// Client Identifier.
    client_id: Box<str>,
    /// The prefix of all its topics; null: none.
    mountpoint: Option<Box<str>>,
    /// The Topic Filter as the client says it; of a Shared Subscription with `$share/{ShareName}/`.
    filter: String,
    /// Maximum QoS.
    qos: u8,
    /// Its own messages do not come back to it.
    no_local: bool,
    /// RETAIN comes as it was published.
    retain_as_published: bool,
    /// Subscription Identifier; null: none.
    subscription_id: Option<u32>,
    /// Share Name; null: it is not shared.
    share: Option<Box<str>>,
    /// The shard where its session is.
    shard: u16,
}

impl Subscription {
    /// As a shard has it.
    pub(super) fn new(shard: ShardId, row: SubscriptionRow) -> Self {
        Self {
            client_id: row.client_id,
            mountpoint: mountpoint(row.mountpoint),
            filter: match &row.share {
                Some(share) => format!("$share/{share}/{}", row.filter),
                None => row.filter.into(),
            },
            qos: row.qos,
            no_local: row.no_local,
            retain_as_published: row.retain_as_published,
            subscription_id: (row.subscription_id > 0).then_some(row.subscription_id),
            share: row.share,
            shard: shard.0,
        }
    }
}

/// Which subscriptions.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Pattern of the Client Identifier: `*` any text, `?` one character.
    client_id: Option<String>,
    /// Exactly this filter, with the client's mountpoint before it; `$share/{ShareName}/` is optional.
    topic: Option<String>,
    /// Share Name.
    share: Option<String>,
}

impl Wanted {
    fn selection(&self) -> Result<SubscriptionSelection, Failure> {
        let mut selection = SubscriptionSelection {
            client_id: glob("client_id", self.client_id.as_deref())?,
            filter: self.topic.as_deref().map(Into::into),
            share: self.share.as_deref().map(Into::into),
        };
        if let Some(Ok(Some(share))) = self.topic.as_deref().map(topic::parse_share) {
            selection.filter = Some(share.filter.into());
            selection.share.get_or_insert_with(|| share.name.into());
        }
        Ok(selection)
    }
}

/// A subscription to be made.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
struct NewSubscription {
    /// The Topic Filter as the client would say it; `$share/{ShareName}/{filter}` for a Shared Subscription.
    #[schema(example = "sensors/#")]
    filter: String,
    /// Maximum QoS.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 2)]
    qos: u8,
    /// Its own messages do not come back to it.
    #[serde(default)]
    no_local: bool,
    /// RETAIN comes as it was published.
    #[serde(default)]
    retain_as_published: bool,
    /// Retained messages: 0 now, 1 if the subscription is new, 2 none.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 2)]
    retain_handling: u8,
}

impl NewSubscription {
    fn options(&self) -> Result<SubscriptionOptions, Failure> {
        let range = |name: &str| Failure::bad_request(format!("{name}: expected 0, 1 or 2"));
        Ok(SubscriptionOptions {
            qos: QoS::from_bits(self.qos).ok_or_else(|| range("qos"))?,
            no_local: self.no_local,
            retain_as_published: self.retain_as_published,
            retain_handling: match self.retain_handling {
                0 => RetainHandling::Send,
                1 => RetainHandling::SendIfNew,
                2 => RetainHandling::DoNotSend,
                _ => return Err(range("retain_handling")),
            },
        })
    }
}

/// Which of a session's subscriptions.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Ended {
    /// The filter as the client would say it.
    filter: String,
}

pub(super) fn routes() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(add, end))
}

/// Subscriptions
///
/// One that stays while the pages are asked for is listed once.
#[utoipa::path(
    get, path = "/api/v1/subscriptions", tag = "subscriptions", params(Wanted, Paging),
    responses((status = 200, body = Page<Subscription>)),
)]
async fn list(
    State(desk): State<Arc<Desk>>,
    Query(wanted): Query<Wanted>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Subscription>>, Failure> {
    let selection = wanted.selection()?;
    let question =
        |from, limit| Question::Subscriptions(Listing { selection: selection.clone(), from, limit });
    let answer = |answer| match answer {
        Answer::Subscriptions(page) => Some(page),
        _ => None,
    };
    let (items, next) = listing::list(&desk, Kind::Subscriptions, &paging, question, answer).await?;
    Ok(Json(Page {
        items: items.into_iter().map(|(shard, row)| Subscription::new(shard, row)).collect(),
        next,
    }))
}

/// Subscribe a client
///
/// As if its client had sent SUBSCRIBE, whether it is connected or not; the ACL is not asked. One with the same filter is replaced.
#[utoipa::path(
    post, path = "/api/v1/clients/{client_id}/subscriptions", tag = "subscriptions", request_body = NewSubscription,
    params(("client_id" = String, Path, description = "Client Identifier"), Within),
    responses((status = 201, body = NewSubscription, description = "It is in effect")),
)]
async fn add(
    State(desk): State<Arc<Desk>>,
    Path(client_id): Path<String>,
    Query(within): Query<Within>,
    Json(mut new): Json<NewSubscription>,
) -> Result<(StatusCode, Json<NewSubscription>), Failure> {
    let named = Named::new(&desk, client_id, &within);
    let question = Question::Subscribe(Box::new(Subscribing {
        session: named.name.clone(),
        filter: new.filter.as_str().into(),
        options: new.options()?,
        subscription_id: 0,
    }));
    change(&desk, named.home, question).await?.ok_or_else(|| named.no_session())?;
    tracing::info!(target: "audit", event = "subscribed", session = ?named.name, filter = brief(&new.filter));
    new.qos = new.qos.min(desk.config().mqtt.qos_max);
    Ok((StatusCode::CREATED, Json(new)))
}

/// End a client's subscription
///
/// As if its client had sent UNSUBSCRIBE.
#[utoipa::path(
    delete, path = "/api/v1/clients/{client_id}/subscriptions", tag = "subscriptions",
    params(("client_id" = String, Path, description = "Client Identifier"), Ended, Within),
    responses((status = 204, description = "It is ended")),
)]
async fn end(
    State(desk): State<Arc<Desk>>,
    Path(client_id): Path<String>,
    Query(Ended { filter }): Query<Ended>,
    Query(within): Query<Within>,
) -> Result<StatusCode, Failure> {
    let named = Named::new(&desk, client_id, &within);
    let question = Question::Unsubscribe(named.name.clone(), filter.as_str().into());
    let ended = change(&desk, named.home, question).await?;
    let not_found = || {
        Failure::not_found(format!(
            "nothing is subscribed to with {filter:?} there; /api/v1/subscriptions has all"
        ))
    };
    ended.ok_or_else(not_found)?;
    tracing::info!(target: "audit", event = "unsubscribed", session = ?named.name, filter = brief(&filter));
    Ok(StatusCode::NO_CONTENT)
}
