//! Who may: every request to a guarded route says who sends it. And what is changed is written to the audit log, with the name.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::failure::Failure;
use super::{Door, brief};
use crate::admin::admission::{Admission, Refusal};
use crate::admin::desk::Desk;
use crate::admin::guests::Known;

/// Where a request comes from.
#[derive(Debug, Clone)]
pub(in crate::admin) struct Caller {
    /// Which way.
    pub(in crate::admin) door: Door,
    /// The other end, where it has an address.
    pub(in crate::admin) address: Option<IpAddr>,
    /// Whether somebody has shown who he is, on this connection.
    pub(in crate::admin) known: Known,
}

/// The operator who sends a request; handlers of guarded routes find it among the extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::admin) struct Operator(pub(in crate::admin) Arc<str>);

/// What an operator on the broker's own machine is called.
const LOCAL: &str = "(control socket)";

/// Lets those in who may.
pub(super) async fn guard(State(desk): State<Arc<Desk>>, mut request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Caller>().cloned();
    let name = match authorize(&desk, caller.as_ref(), request.headers()).await {
        Ok(name) => name,
        Err(failure) => return failure.into_response(),
    };
    let method = request.method().clone();
    let changes = method != Method::GET && method != Method::HEAD;
    let path = request.uri().path().to_owned();
    request.extensions_mut().insert(Operator(Arc::clone(&name)));
    let response = next.run(request).await;
    if changes {
        let (status, remote) = (response.status().as_u16(), caller.and_then(|caller| caller.address));
        let path = brief(&path);
        tracing::info!(target: "audit", event = "admin", operator = ?name, %method, path, status, ?remote);
    }
    response
}

/// Who sends a request with these headers.
///
/// # Errors
/// Nobody who may.
pub(super) async fn authorize(
    desk: &Desk,
    caller: Option<&Caller>,
    headers: &HeaderMap,
) -> Result<Arc<str>, Failure> {
    let name = if caller.is_some_and(|caller| caller.door == Door::Local) {
        same_origin(headers)?;
        LOCAL.into()
    } else {
        let address = caller.and_then(|caller| caller.address);
        identify(&desk.admission, headers, address).await?.into()
    };
    if let Some(caller) = caller {
        caller.known.set();
    }
    Ok(name)
}

/// By `Authorization`: a token, or a name and a password.
async fn identify(
    admission: &Arc<Admission>,
    headers: &HeaderMap,
    address: Option<IpAddr>,
) -> Result<String, Failure> {
    let how = "log in: POST /api/v1/login gives a token for `Authorization: Bearer`; `Authorization: Basic` will do too";
    let value = headers.get(header::AUTHORIZATION).ok_or_else(|| Failure::unauthorized(how))?;
    let value = value.to_str().map_err(|_| Failure::unauthorized(how))?;
    let (scheme, credentials) = value.split_once(' ').ok_or_else(|| Failure::unauthorized(how))?;
    let credentials = credentials.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return admission.owner(credentials).map_err(refused);
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(Failure::unauthorized(how));
    }
    same_origin(headers)?;
    let decoded = STANDARD.decode(credentials).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let decoded = decoded.ok_or_else(|| Failure::unauthorized("Basic: expected base64 of NAME:PASSWORD"))?;
    let (name, password) = decoded
        .split_once(':')
        .ok_or_else(|| Failure::unauthorized("Basic: expected base64 of NAME:PASSWORD"))?;
    admission.check(name, password, address).await.map_err(refused)?;
    Ok(name.to_owned())
}

/// What is told to who is not let in.
pub(super) fn refused(refusal: Refusal) -> Failure {
    let why = refusal.to_string();
    match refusal {
        Refusal::Wrong | Refusal::Token => Failure::unauthorized(why),
        Refusal::Guesses => Failure::too_many(why),
        Refusal::Operators(_) | Refusal::Machine => Failure::unavailable(why),
    }
}

/// A browser says which page sends a request. A token is with a request only if that page has it, whatever proxies make of the names:
/// this is not asked then. But a browser that was told a password would send it for any page, and so would a proxy before the control
/// socket.
fn same_origin(headers: &HeaderMap) -> Result<(), Failure> {
    let text = |name| headers.get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    if origin.is_some() && origin == text(header::HOST) {
        return Ok(());
    }
    Err(Failure::forbidden(
        "a page of another origin needs a token (POST /api/v1/login, `Authorization: Bearer`); or a proxy has changed Host",
    ))
}
