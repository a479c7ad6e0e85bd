//! The routes, a file a subject, and what lies around all of them. A subject has `routes()` and appears here twice: as a module and in
//! the list of `subjects`; its description comes with it.

mod acl;
mod alarms;
mod auto_subscriptions;
mod bans;
mod bridges;
mod clients;
mod configuration;
mod dashboard;
mod delayed;
mod description;
mod dots;
mod drain;
mod early;
mod extract;
mod failure;
mod guard;
mod health;
mod history;
mod latency;
mod listeners;
mod listing;
mod login;
mod metrics;
mod naming;
mod node;
mod observed;
mod page;
mod publish;
mod relay;
mod retained;
mod sessions;
mod shard;
mod slow;
mod stats;
mod store;
mod subscriptions;
mod topic_metrics;
mod topics;
mod traces;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use utoipa_axum::router::OpenApiRouter;

use super::desk::Desk;
use failure::Failure;

pub(super) use dots::restore_dots;
pub(super) use early::Routes;
pub(super) use guard::Caller;

/// Bytes of the largest request.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of a request's text that are logged.
const BRIEF_BYTES: usize = 256;
/// From the headers of a request to its answer's; what streams after that is not bound.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Where a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// Over `admin.listen`: whoever it is has to say and prove it.
    Network,
    /// Over the control socket, which only the broker's user can open.
    Local,
}

/// What everyone may ask who reaches the port.
fn open_subjects() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::new()
        .merge(health::routes())
        .merge(login::open_routes())
        .merge(relay::routes())
        .merge(metrics::routes())
        .merge(description::routes())
        .merge(dashboard::routes())
}

/// What operators may ask.
fn subjects() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::new()
        .merge(login::routes())
        .merge(clients::routes())
        .merge(sessions::routes())
        .merge(subscriptions::routes())
        .merge(topics::routes())
        .merge(retained::routes())
        .merge(auto_subscriptions::routes())
        .merge(bridges::routes())
        .merge(webhooks::routes())
        .merge(delayed::routes())
        .merge(drain::routes())
        .merge(traces::routes())
        .merge(slow::routes())
        .merge(topic_metrics::routes())
        .merge(alarms::routes())
        .merge(latency::routes())
        .merge(node::routes())
        .merge(shard::routes())
        .merge(bans::routes())
        .merge(store::routes())
        .merge(stats::routes())
        .merge(history::routes())
        .merge(listeners::routes())
        .merge(publish::routes())
        .merge(configuration::routes())
        .merge(acl::routes())
}

/// All routes, whatever the door.
pub(super) fn router(desk: Arc<Desk>) -> Router {
    let guard = middleware::from_fn_with_state(Arc::clone(&desk), guard::guard);
    let (router, api) = open_subjects().merge(subjects().layer(guard)).split_for_parts();
    router
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(in_time))
        .layer(Extension(description::Description::new(api)))
        .with_state(desk)
}

/// What a request says, as the log has it: the beginning of a long text, for anyone may send a megabyte of it.
fn brief(text: &str) -> &str {
    let end = (0..=text.len().min(BRIEF_BYTES)).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or("")
}

async fn in_time(request: Request, next: Next) -> Response {
    if request.uri().path() == store::BACKUP {
        // As long as the disk takes: it goes on anyway, and who asked has to learn of it.
        return next.run(request).await;
    }
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            Failure::unavailable(format!("the request took longer than {} s", REQUEST_TIMEOUT.as_secs()))
                .into_response()
        }
    }
}

async fn unknown(request: Request) -> Failure {
    let path = request.uri().path();
    Failure::not_found(format!("there is no {path:?}; /api/v1/openapi.json says what there is"))
}

async fn wrong_method(request: Request) -> Failure {
    let (method, path) = (request.method(), request.uri().path());
    Failure::wrong_method(format!("{path:?} knows no {method}; /api/v1/openapi.json says what it knows"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(brief("abc"), "abc");
        let long = format!("a{}", "ö".repeat(1000));
        assert_eq!(brief(&long).len(), 255);
    }
}
