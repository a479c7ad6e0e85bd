//! Topic Filters in use: list, show. A filter may be in use on several shards: it is listed with the first of them.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Json, Path, Query};
use super::failure::Failure;
use super::listing::{self, Kind, unexpected};
use super::page::{Page, Paging};
use crate::admin::desk::Desk;
use crate::broker::inspect::{ITEMS_MAX, Listing, TopicRow, TopicWanted};
use crate::broker::{Answer, Question, SessionToken, client_id_of};
use crate::interest::ShardId;
use crate::topic::{self, TopicLimits};

/// Subscribers of a filter that are named.
const NAMED_MAX: usize = 100;

/// A filter in use.
#[derive(Debug, Serialize, ToSchema)]
struct Topic {
    /// The Topic Filter, with the mountpoint of those who use it; of Shared Subscriptions the part behind the name.
    filter: Box<str>,
    /// Who subscribes to it, members of Shared Subscriptions included.
    subscribers: usize,
    /// The shards where it is in use.
    shards: Vec<u16>,
}

/// A filter in use and who uses it.
#[derive(Debug, Serialize, ToSchema)]
struct TopicUse {
    /// The Topic Filter.
    filter: String,
    /// How many subscribe to it.
    count: usize,
    /// Client Identifiers of at most 100 of them.
    subscribers: Vec<Box<str>>,
    /// The shards where it is in use.
    shards: Vec<u16>,
}

/// Which filters.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Only those that this Topic Filter would match if they were Topic Names.
    r#match: Option<String>,
}

/// A filter to choose by.
///
/// # Errors
/// It is no Topic Filter, or a shared one.
pub(super) fn chosen(filter: &str) -> Result<Box<str>, Failure> {
    topic::check_filter(filter, &TopicLimits::default())
        .map_err(|error| Failure::bad_request(format!("match: the filter {error}")))?;
    if filter.starts_with("$share/") {
        return Err(Failure::bad_request("match: leave `$share/{ShareName}/` out"));
    }
    Ok(filter.into())
}

pub(super) fn routes() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show))
}

/// Topic Filters in use
#[utoipa::path(
    get, path = "/api/v1/topics", tag = "topics", params(Wanted, Paging),
    responses((status = 200, body = Page<Topic>)),
)]
async fn list(
    State(desk): State<Arc<Desk>>,
    Query(wanted): Query<Wanted>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Topic>>, Failure> {
    let selection = wanted.r#match.as_deref().map(chosen).transpose()?;
    let question = |from, limit| Question::Topics(Listing { selection: selection.clone(), from, limit });
    let answer = |answer| match answer {
        Answer::Topics(page) => Some(page),
        _ => None,
    };
    let (rows, next) = listing::list(&desk, Kind::Topics, &paging, question, answer).await?;
    Ok(Json(Page { items: gather(&desk, rows).await?, next }))
}

/// Asks the other shards about the filters of a page. Those of earlier shards are listed there, and left out here.
async fn gather(desk: &Desk, rows: Vec<(ShardId, TopicRow)>) -> Result<Vec<Topic>, Failure> {
    let mut topics: Vec<Option<Topic>> = rows
        .iter()
        .map(|(shard, row)| {
            Some(Topic { filter: row.filter.clone(), subscribers: row.subscribers, shards: vec![shard.0] })
        })
        .collect();
    for asked in (0..desk.shards()).map(ShardId) {
        let others: Vec<usize> =
            (0..rows.len()).filter(|at| rows.get(*at).is_some_and(|row| row.0 != asked)).collect();
        for part in others.chunks(ITEMS_MAX) {
            let filters = part.iter().filter_map(|at| Some(rows.get(*at)?.1.filter.clone())).collect();
            let Answer::FilterCounts(counts) = desk.ask(asked, Question::FilterCounts(filters)).await? else {
                return Err(unexpected());
            };
            for (at, count) in part.iter().zip(counts) {
                let (Some(count), Some(topic)) = (count, topics.get_mut(*at)) else { continue };
                let is_listed_there = rows.get(*at).is_some_and(|row| asked < row.0);
                match topic {
                    Some(_) if is_listed_there => *topic = None,
                    Some(topic) => {
                        topic.subscribers += count;
                        topic.shards.push(asked.0);
                    }
                    None => {}
                }
            }
        }
    }
    Ok(topics.into_iter().flatten().collect())
}

/// A Topic Filter in use
///
/// `$share/{ShareName}/{filter}` shows the members of that Shared Subscription alone.
#[utoipa::path(
    get, path = "/api/v1/topics/{filter}", tag = "topics",
    params(("filter" = String, Path, description = "The Topic Filter, percent-encoded")),
    responses((status = 200, body = TopicUse)),
)]
async fn show(State(desk): State<Arc<Desk>>, Path(filter): Path<String>) -> Result<Json<TopicUse>, Failure> {
    let share = topic::parse_share(&filter).ok().flatten();
    let wanted = TopicWanted {
        filter: share.map_or(filter.as_str(), |share| share.filter).into(),
        share: share.map(|share| share.name.into()),
        limit: NAMED_MAX,
    };
    let mut found = TopicUse { filter, count: 0, subscribers: Vec::new(), shards: Vec::new() };
    let mut members: HashMap<ShardId, Vec<SessionToken>> = HashMap::new();
    for shard in (0..desk.shards()).map(ShardId) {
        let Answer::Topic(detail) = desk.ask(shard, Question::Topic(wanted.clone())).await? else {
            return Err(unexpected());
        };
        let Some(detail) = detail.filter(|detail| detail.subscribers > 0) else { continue };
        found.count += detail.subscribers;
        found.shards.push(shard.0);
        found.subscribers.extend(detail.sessions.iter().map(|name| client_id_of(name).into()));
        for member in detail.members {
            members.entry(member.shard).or_default().push(member.session);
        }
    }
    if found.count == 0 {
        let filter = &found.filter;
        return Err(Failure::not_found(format!(
            "nobody subscribes to {filter:?}; /api/v1/topics has all filters in use"
        )));
    }
    for (shard, tokens) in members {
        if found.subscribers.len() >= NAMED_MAX {
            break;
        }
        let Answer::Names(names) = desk.ask(shard, Question::Names(tokens)).await? else {
            return Err(unexpected());
        };
        found.subscribers.extend(names.iter().flatten().map(|name| client_id_of(name).into()));
    }
    found.subscribers.truncate(NAMED_MAX);
    Ok(Json(found))
}
