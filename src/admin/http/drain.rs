//! Clients are sent away at a pace: begin, look, stop.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::Json;
use super::failure::Failure;
use crate::admin::desk::Desk;
use crate::admin::modules::DrainUnderWay;
use crate::broker::{DrainOrder, ModuleOrder, Question};
use crate::metrics::Metrics;

/// Clients a second where nothing is said.
const RATE: u32 = 500;
const RATE_MAX: u32 = 1_000_000;
/// Bytes of the longest Server Reference.
const REFERENCE_LEN_MAX: usize = 1024;
/// How long shards may take to hear of it.
const PATIENCE: Duration = Duration::from_secs(5);

/// How clients are to be sent away.
#[derive(Debug, Deserialize, ToSchema)]
struct NewDrain {
    /// Clients a second, of the whole node; 500 where it is left out.
    #[schema(minimum = 1, maximum = 1_000_000)]
    rate: Option<u32>,
    /// Where 5.0 clients shall go, as `host:port host2:port2`. Left out: they are told that the server shuts down.
    server_reference: Option<String>,
    /// They shall go there for good: Server moved (0x9D) in place of Use another server (0x9C).
    permanent: Option<bool>,
}

/// How far it is.
#[derive(Debug, Serialize, ToSchema)]
struct Drain {
    /// Whether clients are being sent away and new ones refused.
    draining: bool,
    /// Clients that are connected.
    left: u64,
    /// Clients sent away since it began.
    sent_away: u64,
    /// Clients a second; null: nobody is sent away.
    rate: Option<u32>,
    /// Where they are sent.
    server_reference: Option<String>,
}

pub(super) fn routes() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::new().routes(routes!(show, begin, stop))
}

fn sum(desk: &Desk, number: fn(&Metrics) -> u64) -> u64 {
    desk.shared.metrics.iter().map(|metrics| number(metrics)).sum()
}

fn sent_away(desk: &Desk) -> u64 {
    sum(desk, |metrics| metrics.drain_sent_away.load())
}

fn describe(desk: &Desk) -> Drain {
    let under_way = desk.modules.drain();
    let order = under_way.as_ref().map(|drain| &drain.order);
    Drain {
        draining: desk.is_draining(),
        left: sum(desk, |metrics| metrics.clients.load()),
        sent_away: under_way.as_ref().map_or(0, |drain| sent_away(desk).saturating_sub(drain.sent_before)),
        rate: order.map(|order| order.rate),
        server_reference: order.and_then(|order| order.server_reference.as_deref().map(str::to_owned)),
    }
}

/// How far the drain is
#[utoipa::path(get, path = "/api/v1/drain", tag = "drain", responses((status = 200, body = Drain)))]
async fn show(State(desk): State<Arc<Desk>>) -> Json<Drain> {
    Json(describe(&desk))
}

/// Send clients away
///
/// Evenly, over all shards, until DELETE or the end of the process. Who comes meanwhile is refused. A drain that is under way goes on
/// with what is said now.
#[utoipa::path(
    post, path = "/api/v1/drain", tag = "drain", request_body = NewDrain,
    responses((status = 202, body = Drain, description = "It has begun")),
)]
async fn begin(
    State(desk): State<Arc<Desk>>,
    Json(new): Json<NewDrain>,
) -> Result<(StatusCode, Json<Drain>), Failure> {
    let rate = new.rate.unwrap_or(RATE);
    if !(1..=RATE_MAX).contains(&rate) {
        return Err(Failure::bad_request(format!(
            "rate: expected 1 to {RATE_MAX} clients a second, not {rate}"
        )));
    }
    let reference = new.server_reference.filter(|reference| !reference.is_empty());
    if reference.as_ref().is_some_and(|r| r.len() > REFERENCE_LEN_MAX || r.contains(char::is_control)) {
        let problem = format!(
            "server_reference: expected at most {REFERENCE_LEN_MAX} bytes without control characters"
        );
        return Err(Failure::bad_request(problem));
    }
    let is_permanent = new.permanent.unwrap_or(false);
    if is_permanent && reference.is_none() {
        return Err(Failure::bad_request("permanent: needs a server_reference, to which clients shall go"));
    }
    let order = DrainOrder { rate, server_reference: reference.map(Into::into), is_permanent };
    let sent_before = desk.modules.drain().map_or_else(|| sent_away(&desk), |drain| drain.sent_before);
    tracing::info!(target: "audit", event = "drain", rate, server_reference = order.server_reference.as_deref());
    // Before the shards know: nobody who looks meanwhile is told that there is none.
    desk.modules.set_drain(Some(DrainUnderWay { order: order.clone(), sent_before }));
    desk.ask_all(|| Question::Module(ModuleOrder::Drain(order.clone())), PATIENCE).await?;
    Ok((StatusCode::ACCEPTED, Json(describe(&desk))))
}

/// Let clients in again
#[utoipa::path(
    delete, path = "/api/v1/drain", tag = "drain",
    responses((status = 204, description = "Nobody is sent away any more")),
)]
async fn stop(State(desk): State<Arc<Desk>>) -> Result<StatusCode, Failure> {
    desk.ask_all(|| Question::Module(ModuleOrder::StopDrain), PATIENCE).await?;
    desk.modules.set_drain(None);
    tracing::info!(target: "audit", event = "drain_stopped");
    Ok(StatusCode::NO_CONTENT)
}
