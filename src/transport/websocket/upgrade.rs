//! The opening handshake (RFC 6455 section 4): one HTTP/1.1 GET, read within bounds, and its answer. Everything else gets an answer
//! that tells a person with a browser or curl what this port is and how to use it.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use httparse::{Header, Request, Status};
use sha1::{Digest, Sha1};

use super::Service;

/// Bytes of the longest request.
const REQUEST_LEN_MAX: usize = 8 * 1024;
/// Fields of the longest request.
const HEADERS_MAX: usize = 64;
/// RFC 6455, section 4.2.2.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The only version there is (RFC 6455).
const VERSION: &str = "13";
/// Registered for MQTT: 3.1.1 and 5.0 are `mqtt` [MQTT-6.0.0-3, 6.0.0-4], the others are from before.
const SUBPROTOCOLS: [&str; 3] = ["mqtt", "mqttv3.1", "mqttv3.1.1"];

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Of the answer; 0: there is none, the peer does not speak HTTP.
    pub status: u16,
    why: &'static str,
}

impl Refusal {
    const fn new(status: u16, why: &'static str) -> Self {
        Self { status, why }
    }

    /// The whole HTTP answer, empty where HTTP is not spoken.
    pub(super) fn answer(&self, service: &Service) -> String {
        let (reason, fields) = match self.status {
            0 => return String::new(),
            400 => ("Bad Request", ""),
            403 => ("Forbidden", ""),
            404 => ("Not Found", ""),
            405 => ("Method Not Allowed", "Allow: GET\r\n"),
            426 => ("Upgrade Required", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"),
            _ => ("Request Header Fields Too Large", ""),
        };
        let Service { path, scheme, .. } = service;
        let text = format!(
            "This is an MQTT broker (Myriad) that listens for MQTT over WebSocket: {}.\n\
             Connect an MQTT client to {scheme}://HOST:PORT{path} with the subprotocol mqtt.\n",
            self.why
        );
        let status = self.status;
        let connection = if status == 426 { "Upgrade, close" } else { "close" };
        format!(
            "HTTP/1.1 {status} {reason}\r\n{fields}Connection: {connection}\r\nContent-Type: text/plain; charset=utf-8\r\n\
             X-Content-Type-Options: nosniff\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        )
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            0 => f.write_str(self.why),
            status => write!(f, "{status}: {}", self.why),
        }
    }
}

/// A request that has not come whole. Keeps at most `REQUEST_LEN_MAX` and one piece.
#[derive(Debug)]
pub(super) struct Upgrade {
    service: Arc<Service>,
    have: Vec<u8>,
    /// No end of the request begins before it.
    searched: usize,
}

impl Upgrade {
    pub(super) fn new(service: Arc<Service>) -> Self {
        Self { service, have: Vec::new(), searched: 0 }
    }

    pub(super) fn service(&self) -> &Service {
        &self.service
    }

    /// Takes bytes; `Some`, the answer, once the request is whole: `bytes` are then what comes after it. Empty otherwise.
    pub(super) fn receive(&mut self, bytes: &mut Vec<u8>) -> Result<Option<String>, Refusal> {
        self.have.append(bytes);
        if self.have.first().is_some_and(|first| !first.is_ascii_alphabetic()) {
            return Err(not_http(&self.have));
        }
        let Some(end) = self.end() else {
            return if self.have.len() > REQUEST_LEN_MAX { Err(TOO_LARGE) } else { Ok(None) };
        };
        if end > REQUEST_LEN_MAX {
            return Err(TOO_LARGE);
        }
        bytes.extend(self.have.drain(end..));
        accept(&self.have, &self.service).map(Some)
    }

    /// Where the request ends: after its first empty line.
    fn end(&mut self) -> Option<usize> {
        let rest = self.have.get(self.searched..)?;
        for (at, _) in rest.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
            let len = match rest.get(at + 1..)? {
                [b'\n', ..] => 2,
                [b'\r', b'\n', ..] => 3,
                _ => continue,
            };
            return Some(self.searched + at + len);
        }
        self.searched = self.have.len().saturating_sub(2);
        None
    }
}

const TOO_LARGE: Refusal = Refusal::new(431, "the request has more than 8 KiB or 64 fields");

/// Somebody else's protocol: no answer would be understood, but the log can tell.
fn not_http(bytes: &[u8]) -> Refusal {
    Refusal::new(
        0,
        match bytes.first() {
            Some(0x10) => "MQTT without WebSocket came to a WebSocket listener",
            Some(0x16) => "TLS came to a listener without TLS",
            _ => "what came is no HTTP request",
        },
    )
}

/// Reads a whole request; the answer that accepts it.
fn accept(request: &[u8], service: &Service) -> Result<String, Refusal> {
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = Request::new(&mut fields);
    match parsed.parse(request) {
        Ok(Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(TOO_LARGE),
        Ok(Status::Partial) | Err(_) => return Err(Refusal::new(400, "the request can't be read")),
    }
    if parsed.method != Some("GET") {
        return Err(Refusal::new(405, "only GET requests are of use here"));
    }
    let path = parsed.path.unwrap_or_default().split('?').next();
    if path != Some(service.path.as_str()) {
        return Err(Refusal::new(404, "there is nothing at that path"));
    }
    let fields = Fields(parsed.headers);
    if !fields.has_token("Upgrade", "websocket") {
        return Err(Refusal::new(426, "the request does not ask for a WebSocket"));
    }
    check(&fields, parsed.version)?;
    check_origin(&fields, &service.origins)?;
    let key = fields.only("Sec-WebSocket-Key").filter(|key| is_key(key));
    let key = key.ok_or(Refusal::new(400, "the request lacks a Sec-WebSocket-Key of 16 bytes"))?;
    let subprotocol = match subprotocol(&fields)? {
        Some(name) => format!("Sec-WebSocket-Protocol: {name}\r\n"),
        None => String::new(),
    };
    Ok(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n{subprotocol}\r\n",
        accept_of(key)
    ))
}

/// What the handshake needs besides its key (section 4.2.1).
fn check(fields: &Fields<'_>, http_minor: Option<u8>) -> Result<(), Refusal> {
    if http_minor != Some(1) {
        return Err(Refusal::new(400, "a WebSocket needs HTTP/1.1"));
    }
    if !fields.has_token("Connection", "upgrade") {
        return Err(Refusal::new(400, "the request lacks Connection: Upgrade"));
    }
    if fields.only("Host").is_none() {
        return Err(Refusal::new(400, "the request lacks its one Host"));
    }
    if fields.only("Sec-WebSocket-Version") != Some(VERSION) {
        return Err(Refusal::new(426, "only version 13 of WebSocket is spoken"));
    }
    let length_is_zero = fields.all("Content-Length").all(|length| length == "0");
    if !length_is_zero || fields.all("Transfer-Encoding").next().is_some() {
        return Err(Refusal::new(400, "the request has a body"));
    }
    Ok(())
}

/// Section 10.2: what a page of another site does in its visitor's browser is not what its visitor wants.
fn check_origin(fields: &Fields<'_>, allowed: &[String]) -> Result<(), Refusal> {
    let is_allowed = |origin: &str| allowed.iter().any(|one| one.eq_ignore_ascii_case(origin));
    if allowed.is_empty() || fields.all("Origin").all(is_allowed) {
        return Ok(());
    }
    Err(Refusal::new(403, "pages of that origin may not connect (the listener's `origins`)"))
}

/// The first of those that the client offers, in its order, that is one of MQTT. A client that offers none is admitted
/// without one, as elsewhere: [MQTT-6.0.0-3] binds the client, and old ones do not keep to it.
fn subprotocol(fields: &Fields<'_>) -> Result<Option<&'static str>, Refusal> {
    let mut offered = fields.tokens("Sec-WebSocket-Protocol").peekable();
    if offered.peek().is_none() {
        return Ok(None);
    }
    let known = offered.find_map(|offer| SUBPROTOCOLS.into_iter().find(|known| *known == offer));
    known.map(Some).ok_or(Refusal::new(
        400,
        "the subprotocols are mqtt, mqttv3.1 and mqttv3.1.1, and the client offers others",
    ))
}

/// 16 bytes in base64.
fn is_key(key: &str) -> bool {
    STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16)
}

/// Section 4.2.2: proves that the request was understood.
fn accept_of(key: &str) -> String {
    STANDARD.encode(Sha1::new().chain_update(key.as_bytes()).chain_update(GUID).finalize())
}

/// The fields of a request.
struct Fields<'r>(&'r [Header<'r>]);

impl<'r> Fields<'r> {
    /// The values of every field `name`. One that is no text has none.
    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'r str> + 'a {
        let of_name = self.0.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
        of_name.map(|field| std::str::from_utf8(field.value).unwrap_or_default().trim_ascii())
    }

    /// The value of the field `name`, which must be there once.
    fn only<'a>(&'a self, name: &'a str) -> Option<&'r str> {
        let mut all = self.all(name);
        all.next().filter(|value| !value.is_empty() && all.next().is_none())
    }

    /// The words of the lists in all fields `name`.
    fn tokens<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'r str> + 'a {
        let words = self.all(name).flat_map(|list| list.split(','));
        words.map(str::trim_ascii).filter(|word| !word.is_empty())
    }

    fn has_token(&self, name: &str, token: &str) -> bool {
        self.tokens(name).any(|word| word.eq_ignore_ascii_case(token))
    }
}
