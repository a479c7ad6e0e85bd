//! Traces over HTTP: begin, list, read, follow (server-sent events), end.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, KeepAliveStream, Sse};
use futures_core::Stream;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use tokio::time::{Interval, MissedTickBehavior, interval};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::brief;
use super::extract::{Json, Path, Query};
use super::failure::Failure;
use super::naming::mountpoint;
use super::observed;
use super::page::Items;
use crate::admin::desk::Desk;
use crate::admin::traces::{Line, TraceDesk, TraceOrder, TraceState, written};
use crate::broker::{ObserveQuestion, TRACES_MAX, TraceSpec, TraceTarget};

/// Longest trace.
const SECONDS_MAX: u32 = 3600;
/// A trace that does not say how long.
const SECONDS: u32 = 600;
/// Bytes of a trace that does not say how many.
const BYTES: u64 = 10 * 1024 * 1024;
const BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Events of one answer.
const EVENTS_MAX: usize = 1_000;
/// How often a follower is told what is new.
const TICK: Duration = Duration::from_millis(200);

/// A trace.
#[derive(Debug, Serialize, ToSchema)]
struct Trace {
    /// Its number.
    id: u32,
    /// `client`, `topic` or `address`.
    kind: &'static str,
    /// The Client Identifier, Topic Filter, address or network.
    name: String,
    /// Of a client: the mountpoint that it has to have, empty for none; null: whichever.
    mountpoint: Option<String>,
    /// It goes on.
    active: bool,
    /// RFC 3339.
    begun_at: String,
    /// RFC 3339.
    ends_at: String,
    /// Events taken so far.
    events: u64,
    /// Events not taken, because the trace has as many bytes as it may.
    dropped: u64,
    /// Bytes of the events.
    bytes: u64,
    /// Bytes after which no more are taken.
    bytes_max: u64,
    /// Where they are written on the broker's machine; null: nowhere.
    file: Option<String>,
}

impl From<TraceState> for Trace {
    fn from(state: TraceState) -> Self {
        Self {
            id: state.id,
            kind: state.order.kind,
            name: state.order.name,
            mountpoint: state.order.mountpoint,
            active: state.is_active,
            begun_at: written(state.begun_at_ms),
            ends_at: written(state.ends_at_ms),
            events: state.events,
            dropped: state.dropped,
            bytes: state.bytes,
            bytes_max: state.order.bytes_max,
            file: state.path.map(|path| path.display().to_string()),
        }
    }
}

/// A trace to be begun.
#[derive(Debug, Deserialize, ToSchema)]
struct NewTrace {
    /// `client`, `topic` or `address`.
    #[schema(example = "client")]
    kind: String,
    /// The Client Identifier, the Topic Filter, the IP address or network.
    #[schema(example = "sensor-17")]
    name: String,
    /// Of a client: only the one within this mountpoint, empty for none; left out: within whichever.
    mountpoint: Option<String>,
    /// How long, at most an hour; left out: ten minutes.
    #[schema(minimum = 1, maximum = 3600)]
    seconds: Option<u32>,
    /// Bytes after which no more events are taken; left out: 10 MiB.
    #[schema(minimum = 1, maximum = 1073741824)]
    bytes_max: Option<u64>,
    /// Write the events into a file below the data directory too.
    file: Option<bool>,
}

/// The trace that was begun.
#[derive(Debug, Serialize, ToSchema)]
struct Begun {
    /// Its number.
    id: u32,
}

/// Something that happened to what is traced.
#[derive(Debug, Serialize, ToSchema)]
struct TraceLine {
    /// Its number within the trace, from 1.
    seq: u64,
    /// RFC 3339.
    at: String,
    /// Whose connection.
    client_id: String,
    /// The prefix of all topics of that client; null: none.
    mountpoint: Option<Box<str>>,
    /// `connected`, `disconnected`, `refused`, `received`, `sent`, `dropped` or `denied`.
    event: &'static str,
    /// What exactly, for people. No password; of a payload the first 64 bytes.
    text: String,
}

impl From<&Line> for TraceLine {
    fn from(line: &Line) -> Self {
        Self {
            seq: line.seq(),
            at: line.at(),
            client_id: line.client_id().into(),
            mountpoint: mountpoint(line.mountpoint().into()),
            event: line.event(),
            text: line.text().into(),
        }
    }
}

/// Events of a trace.
#[derive(Debug, Serialize, ToSchema)]
struct TraceLines {
    /// Oldest first, at most 1000.
    items: Vec<TraceLine>,
    /// Events that are not here: not taken, or let go since.
    dropped: u64,
}

/// From where on.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct After {
    /// `seq` of the last event that is known already; left out: from the first.
    after: Option<u64>,
}

pub(super) fn routes() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::new()
        .routes(routes!(list, begin))
        .routes(routes!(end))
        .routes(routes!(events))
        .routes(routes!(follow))
}

/// All traces
///
/// Those that are over too, until they are deleted or a newer one needs their place.
#[utoipa::path(get, path = "/api/v1/traces", tag = "traces", responses((status = 200, body = Items<Trace>)))]
async fn list(State(desk): State<Arc<Desk>>) -> Json<Items<Trace>> {
    Json(Items { items: desk.traces.list().into_iter().map(Trace::from).collect() })
}

/// Begin a trace
///
/// What happens to one client, to one topic or from one address, for some time. At most ten at a time.
#[utoipa::path(
    post, path = "/api/v1/traces", tag = "traces", request_body = NewTrace,
    responses((status = 201, body = Begun, description = "The trace has begun")),
)]
async fn begin(
    State(desk): State<Arc<Desk>>,
    Json(new): Json<NewTrace>,
) -> Result<(StatusCode, Json<Begun>), Failure> {
    let (kind, target) = target_of(&desk, &new)?;
    let seconds = within("seconds", new.seconds.unwrap_or(SECONDS).into(), SECONDS_MAX.into())? as u32;
    let bytes_max = within("bytes_max", new.bytes_max.unwrap_or(BYTES), BYTES_MAX)?;
    let file = new.file.unwrap_or(false);
    tracing::info!(target: "audit", event = "trace_begun", kind, name = brief(&new.name), seconds);
    let order = TraceOrder { kind, name: new.name, mountpoint: new.mountpoint, seconds, bytes_max, file };
    let too_many =
        || Failure::conflict(format!("{TRACES_MAX} traces are active; end one of /api/v1/traces first"));
    let begun = desk.traces.begin(order).map_err(|error| {
        Failure::unavailable(format!("the trace's file can't be made in node.data_dir: {error}"))
    })?;
    let id = begun.ok_or_else(too_many)?;
    let spec = TraceSpec { id, target, until: desk.now().plus_s(u64::from(seconds)) };
    match observed::do_everywhere(&desk, || ObserveQuestion::TraceStart(spec.clone())).await {
        Ok(true) => Ok((StatusCode::CREATED, Json(Begun { id }))),
        other => {
            desk.traces.end(id);
            // Those that have begun; who does not answer has a trace that ends by itself.
            let _ = observed::do_everywhere(&desk, || ObserveQuestion::TraceStop(id)).await;
            Err(other.err().unwrap_or_else(too_many))
        }
    }
}

fn target_of(desk: &Desk, new: &NewTrace) -> Result<(&'static str, TraceTarget), Failure> {
    let name = &new.name;
    if new.mountpoint.is_some() && new.kind != "client" {
        return Err(Failure::bad_request("mountpoint: only a client has one; leave it out"));
    }
    match new.kind.as_str() {
        "client" if name.is_empty() => Err(Failure::bad_request("name: expected a Client Identifier")),
        "client" => Ok((
            "client",
            TraceTarget::Client(name.as_str().into(), new.mountpoint.as_deref().map(Into::into)),
        )),
        "topic" => {
            observed::check_filter(desk, "name", name)?;
            Ok(("topic", TraceTarget::Topic(name.as_str().into())))
        }
        "address" => {
            let network = name.parse::<IpNet>().or_else(|_| name.parse::<IpAddr>().map(IpNet::from));
            let network = network.map_err(|_| {
                Failure::bad_request(format!(
                    "name: expected an IP address or network, as 10.0.0.0/8, not {name:?}"
                ))
            })?;
            Ok(("address", TraceTarget::Address(network)))
        }
        other => Err(Failure::bad_request(format!("kind: expected client, topic or address, not {other:?}"))),
    }
}

fn within(key: &str, value: u64, max: u64) -> Result<u64, Failure> {
    if (1..=max).contains(&value) {
        return Ok(value);
    }
    Err(Failure::bad_request(format!("{key}: expected 1 to {max}, not {value}")))
}

fn unknown(id: u32) -> Failure {
    Failure::not_found(format!("there is no trace {id}; /api/v1/traces has all there are"))
}

/// End a trace
///
/// It is forgotten, and its file deleted.
#[utoipa::path(
    delete, path = "/api/v1/traces/{id}", tag = "traces",
    params(("id" = u32, Path, description = "Its number")),
    responses((status = 204, description = "It has ended")),
)]
async fn end(State(desk): State<Arc<Desk>>, Path(id): Path<u32>) -> Result<StatusCode, Failure> {
    if !desk.traces.end(id) {
        return Err(unknown(id));
    }
    tracing::info!(target: "audit", event = "trace_ended", id);
    observed::do_everywhere(&desk, || ObserveQuestion::TraceStop(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Events of a trace
#[utoipa::path(
    get, path = "/api/v1/traces/{id}/events", tag = "traces",
    params(("id" = u32, Path, description = "Its number"), After),
    responses((status = 200, body = TraceLines)),
)]
async fn events(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<u32>,
    Query(After { after }): Query<After>,
) -> Result<Json<TraceLines>, Failure> {
    let found = desk.traces.events(id, after.unwrap_or(0), EVENTS_MAX);
    let (lines, dropped) = found.ok_or_else(|| unknown(id))?;
    Ok(Json(TraceLines { items: lines.iter().map(TraceLine::from).collect(), dropped }))
}

/// Follow a trace
///
/// Server-sent events, each an event of the trace as JSON, until the trace is deleted.
#[utoipa::path(
    get, path = "/api/v1/traces/{id}/stream", tag = "traces",
    params(("id" = u32, Path, description = "Its number"), After),
    responses((status = 200, body = String, content_type = "text/event-stream")),
)]
async fn follow(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<u32>,
    Query(After { after }): Query<After>,
) -> Result<Sse<KeepAliveStream<Follower>>, Failure> {
    let after = after.unwrap_or(0);
    desk.traces.events(id, after, 0).ok_or_else(|| unknown(id))?;
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let follower = Follower { traces: desk.traces.clone(), id, after, tick, lines: VecDeque::new() };
    // Whoever has gone is noticed by what is sent.
    Ok(Sse::new(follower).keep_alive(KeepAlive::default()))
}

/// What one follower is sent: it looks for news five times a second, so a slow one costs no more than a fast one.
struct Follower {
    traces: TraceDesk,
    id: u32,
    after: u64,
    tick: Interval,
    lines: VecDeque<Line>,
}

impl Stream for Follower {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                self.after = line.seq();
                let event = Event::default().id(line.seq().to_string());
                // Texts and numbers are always JSON.
                let event = event.json_data(TraceLine::from(&line)).unwrap_or_default();
                return Poll::Ready(Some(Ok(event)));
            }
            if self.tick.poll_tick(context).is_pending() {
                return Poll::Pending;
            }
            match self.traces.events(self.id, self.after, EVENTS_MAX) {
                Some((lines, _)) => self.lines = lines.into(),
                None => return Poll::Ready(None),
            }
        }
    }
}
