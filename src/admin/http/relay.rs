//! MQTT over WebSocket on the port of the admin side, for the dashboard's console: bytes go to and fro between a browser and the first
//! plain listener of this broker, which asks for credentials as it does of any client.

use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::failure::Failure;
use super::guard::{Caller, authorize, refused};
use crate::admin::desk::Desk;
use crate::config::{ListenerUrl, Scheme};

/// Consoles at the same time.
const CONSOLES_MAX: usize = 16;
/// Bytes of one message of a browser.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Bytes that are read from the broker at once.
const BUFFER_LEN: usize = 16 * 1024;

/// What a token is offered as: a browser can send no header of its own with a WebSocket but for the subprotocols, and what is in the
/// address stands in the logs of proxies and in its history.
const OFFER: &str = "bearer.";

pub(super) fn routes() -> OpenApiRouter<Arc<Desk>> {
    let places = Arc::new(Semaphore::new(CONSOLES_MAX));
    OpenApiRouter::new().routes(routes!(console)).layer(Extension(places))
}

/// MQTT over WebSocket
///
/// Subprotocol `mqtt`. A browser offers `bearer.TOKEN` beside it, in place of the header `Authorization`. What is sent goes to the first
/// plain listener, and comes from it.
#[utoipa::path(
    get, path = "/mqtt", tag = "console", security((), ("token" = []), ("password" = [])),
    responses((status = 101, description = "From here on it is MQTT")),
)]
async fn console(
    State(desk): State<Arc<Desk>>,
    Extension(places): Extension<Arc<Semaphore>>,
    caller: Option<Extension<Caller>>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Failure> {
    match offered_token(&headers) {
        Some(token) => drop(desk.admission.owner(token).map_err(refused)?),
        None => drop(authorize(&desk, caller.as_deref(), &headers).await?),
    }
    let upgrade = upgrade.map_err(|why| {
        Failure::bad_request(format!("expected a WebSocket with the subprotocol mqtt: {why}"))
    })?;
    let place = places
        .try_acquire_owned()
        .map_err(|_| Failure::unavailable(format!("{CONSOLES_MAX} consoles are open already; close one")))?;
    let address = plain_listener(&desk).ok_or_else(|| {
        Failure::unavailable(
            "no listener is plain MQTT over TCP without PROXY headers: add mqtt://127.0.0.1:1883",
        )
    })?;
    let broker = TcpStream::connect(address).await.map_err(|error| {
        Failure::unavailable(format!("the listener at {address} does not answer: {error}"))
    })?;
    let upgrade =
        upgrade.protocols(["mqtt"]).max_message_size(MESSAGE_BYTES_MAX).max_frame_size(MESSAGE_BYTES_MAX);
    Ok(upgrade.on_upgrade(move |browser| relay(browser, broker, place)))
}

/// The token among the subprotocols that are offered.
fn offered_token(headers: &HeaderMap) -> Option<&str> {
    let offers =
        headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    offers.flat_map(|value| value.split(',')).find_map(|offer| offer.trim().strip_prefix(OFFER))
}

/// Where the first plain listener is reached from this machine.
fn plain_listener(desk: &Desk) -> Option<SocketAddr> {
    let config = desk.config();
    let mut listeners = desk.listeners.bound().iter().zip(&config.listeners);
    listeners.find_map(|(bound, listener)| match bound {
        ListenerUrl::Tcp { scheme: Scheme::Mqtt, address, .. } if !listener.proxy_protocol => {
            let ip = match address.ip() {
                IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
                ip => ip,
            };
            Some(SocketAddr::new(ip, address.port()))
        }
        _ => None,
    })
}

/// What came.
enum Came {
    FromBrowser(Option<Result<Message, axum::Error>>),
    FromBroker(std::io::Result<usize>),
}

/// Until one of them ends. A side that takes nothing holds the other up: nothing piles up here.
async fn relay(mut browser: WebSocket, mut broker: TcpStream, _place: OwnedSemaphorePermit) {
    let mut buffer = vec![0; BUFFER_LEN];
    loop {
        let came = {
            let mut from_browser = pin!(browser.recv());
            let mut from_broker = pin!(broker.read(&mut buffer));
            // Both may be given up and begun anew without losing a byte.
            poll_fn(|context| {
                if let Poll::Ready(message) = from_browser.as_mut().poll(context) {
                    return Poll::Ready(Came::FromBrowser(message));
                }
                from_broker.as_mut().poll(context).map(Came::FromBroker)
            })
            .await
        };
        let is_passed = match came {
            Came::FromBrowser(Some(Ok(Message::Binary(bytes)))) => broker.write_all(&bytes).await.is_ok(),
            Came::FromBrowser(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => true,
            Came::FromBrowser(_) | Came::FromBroker(Err(_) | Ok(0)) => false,
            Came::FromBroker(Ok(len)) => {
                let bytes = Bytes::copy_from_slice(buffer.get(..len).unwrap_or_default());
                browser.send(Message::Binary(bytes)).await.is_ok()
            }
        };
        if !is_passed {
            let _ = browser.send(Message::Close(None)).await;
            return;
        }
    }
}
