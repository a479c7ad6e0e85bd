//! The broker's HTTP API from the other end (`docs/API.md`): over the Unix socket in its data directory, or over TCP. An answer
//! that is no success becomes a `Failure` with the broker's own sentence.

mod reach;
mod unix_socket;

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use ureq::http::Response;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::{Agent, Body};
use zeroize::Zeroizing;

use crate::failure::{Failure, Status};
pub(crate) use reach::Reach;
use reach::{Credentials, Place};

/// Bytes of the largest answer that is read: a page of 1,000 items has far less.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// Query parameters; those without a value are left out.
pub(crate) type Query<'q> = &'q [(&'q str, Option<&'q str>)];

/// A broker that can be asked.
pub(crate) struct Api {
    agent: Agent,
    /// What stands before each path.
    base: String,
    /// For messages.
    place: String,
    authorization: Option<Zeroizing<String>>,
}

impl Api {
    /// Finds out where the broker is and who asks. Nothing is sent yet.
    pub(crate) fn open(reach: &Reach) -> Result<Self> {
        let limit = (reach.timeout > 0).then(|| Duration::from_secs(reach.timeout));
        let builder = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None) // the admin side of a broker is near: a proxy for the web has no business there
            .timeout_global(limit)
            .user_agent(concat!("myriadctl/", env!("CARGO_PKG_VERSION")));
        match reach.place()? {
            Place::Socket(path) => {
                let connector = unix_socket::SocketConnector::new(path.clone());
                let agent = Agent::with_parts(builder.build(), connector, DefaultResolver::default());
                let place = path.display().to_string();
                Ok(Self { agent, base: "http://127.0.0.1".into(), place, authorization: None })
            }
            Place::Url(url) => {
                let config = match &reach.ca {
                    Some(path) => builder.tls_config(authorities(path)?).build(),
                    None => builder.build(),
                };
                let authorization = reach.credentials()?.as_ref().map(Credentials::basic);
                if authorization.is_some() && is_in_the_clear(&url) {
                    eprintln!(
                        "myriadctl: {url}: the password goes there in the clear; an https proxy in front is better"
                    );
                }
                Ok(Self { agent: config.new_agent(), place: url.clone(), base: url, authorization })
            }
        }
    }

    pub(crate) fn get(&self, path: &str, query: Query<'_>) -> Result<Value> {
        let request = self.agent.get(self.url(path, query)).header("Accept", "application/json");
        self.json(self.authorized(request).call())
    }

    pub(crate) fn delete(&self, path: &str, query: Query<'_>) -> Result<Value> {
        self.json(self.authorized(self.agent.delete(self.url(path, query))).call())
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.post_with(path, &[], body)
    }

    pub(crate) fn post_with(&self, path: &str, query: Query<'_>, body: &Value) -> Result<Value> {
        let request = self.agent.post(self.url(path, query)).content_type("application/json");
        self.json(self.authorized(request).send(body.to_string().as_bytes()))
    }

    /// The text of a page that is no JSON, whatever its status.
    pub(crate) fn text(&self, path: &str) -> Result<(u16, String)> {
        let answer = self.authorized(self.agent.get(self.url(path, &[]))).call();
        let answer = answer.map_err(|error| self.unreachable(&error))?;
        let status = answer.status().as_u16();
        Ok((status, self.body(answer)?))
    }

    /// Follows the pages of a list, and gives each to `each` until `limit` items have come; `None`: all. What it returns says
    /// whether there are more.
    pub(crate) fn pages(
        &self,
        path: &str,
        query: Query<'_>,
        limit: Option<usize>,
        mut each: impl FnMut(&[Value]) -> Result<()>,
    ) -> Result<bool> {
        let (mut cursor, mut left): (Option<String>, usize) = (None, limit.unwrap_or(usize::MAX));
        loop {
            let size = left.clamp(1, 1000).to_string();
            let mut asked: Vec<(&str, Option<&str>)> = query.to_vec();
            asked.extend([("limit", Some(size.as_str())), ("cursor", cursor.as_deref())]);
            let page = self.get(path, &asked)?;
            let items = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
            let items = items.get(..left.min(items.len())).unwrap_or_default();
            left -= items.len();
            each(items)?;
            let next = page["next"].as_str().map(str::to_owned);
            if next.is_none() || left == 0 {
                return Ok(next.is_some());
            }
            if next == cursor {
                return Err(self.odd("the list does not go on: the same cursor came twice"));
            }
            cursor = next;
        }
    }

    fn url(&self, path: &str, query: Query<'_>) -> String {
        let mut url = format!("{}{path}", self.base);
        let pairs = query.iter().filter_map(|(name, value)| Some((name, (*value)?)));
        for (at, (name, value)) in pairs.enumerate() {
            url.push(if at == 0 { '?' } else { '&' });
            url.push_str(name);
            url.push('=');
            encode(value, &mut url);
        }
        url
    }

    fn authorized<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.authorization {
            Some(text) => request.header("Authorization", text.as_str()),
            None => request,
        }
    }

    fn body(&self, mut answer: Response<Body>) -> Result<String> {
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).lossy_utf8(true);
        body.read_to_string().map_err(|error| self.unreachable(&error))
    }

    fn json(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<Value> {
        let answer = answer.map_err(|error| self.unreachable(&error))?;
        let status = answer.status();
        let text = self.body(answer)?;
        let value: Option<Value> = serde_json::from_str(&text).ok();
        if status.is_success() {
            return match value {
                Some(value) => Ok(value),
                None if text.trim().is_empty() => Ok(Value::Null),
                None => Err(self.odd("answered with what is no JSON: is this the admin port of Myriad?")),
            };
        }
        let said = value.as_ref().and_then(|value| value["error"].as_str());
        Err(self.refusal(status.as_u16(), said))
    }

    fn refusal(&self, status: u16, said: Option<&str>) -> anyhow::Error {
        let code = match status {
            401 | 403 => Status::Refused,
            404 => Status::NotFound,
            _ => Status::Failed,
        };
        let mut line = match said {
            Some(said) => said.to_owned(),
            None => {
                format!("{}: answered with status {status}: is this the admin port of Myriad?", self.place)
            }
        };
        if status == 401 {
            let mend = match &self.authorization {
                None => "give --user NAME:PASSWORD, or --data-dir on the broker's own machine",
                Some(_) => "check --user",
            };
            line = format!("{line} ({mend})");
        }
        Failure::new(code, line).into()
    }

    fn odd(&self, what: &str) -> anyhow::Error {
        Failure::new(Status::Failed, format!("{}: {what}", self.place)).into()
    }

    /// No answer came.
    fn unreachable(&self, error: &ureq::Error) -> anyhow::Error {
        let place = &self.place;
        let is_denied =
            matches!(error, ureq::Error::Io(io) if io.kind() == std::io::ErrorKind::PermissionDenied);
        let (status, line) = match error {
            _ if is_denied => (
                Status::Refused,
                format!(
                    "{place}: permission denied: only the broker's user may use it; become that user, or give --url and --user"
                ),
            ),
            ureq::Error::Timeout(_) => {
                (Status::Unreachable, format!("{place}: no answer in time; --timeout gives it longer"))
            }
            ureq::Error::BodyExceedsLimit(_) => (Status::Failed, format!("{place}: the answer is too large")),
            ureq::Error::Io(io) if io.kind() != std::io::ErrorKind::UnexpectedEof => (
                Status::Unreachable,
                format!("no broker answers at {place}: {io}; is it running there? Give --data-dir or --url"),
            ),
            other => (Status::Unreachable, format!("no broker answers at {place}: {other}")),
        };
        Failure::new(status, line).into()
    }
}

/// Whether others on the way can read what is sent.
fn is_in_the_clear(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host != "localhost" && !host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The authorities of a PEM file, in place of the public ones.
fn authorities(path: &std::path::Path) -> Result<TlsConfig> {
    let named = || path.display().to_string();
    let pem = std::fs::read(path).with_context(named)?;
    let mut roots: Vec<Certificate<'static>> = Vec::new();
    for item in ureq::tls::parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.with_context(named)? {
            roots.push(certificate);
        }
    }
    if roots.is_empty() {
        anyhow::bail!("{}: there is no certificate", named());
    }
    Ok(TlsConfig::builder().root_certs(RootCerts::new_with_certs(&roots)).build())
}

/// `/api/v1/…` of segments that are encoded. One that HTTP clients and proxies would read as a step up the path has a tilde before it,
/// and so has what looks like that.
pub(crate) fn route(segments: &[&str]) -> String {
    let mut path = String::from("/api/v1");
    for segment in segments {
        path.push('/');
        if matches!(segment.trim_start_matches('~'), "." | "..") {
            path.push('~');
        }
        encode(segment, &mut path);
    }
    path
}

/// Appends `text` percent-encoded (RFC 3986, 2.1): all but unreserved characters.
fn encode(text: &str, into: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            into.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_stay_one_segment() {
        assert_eq!(
            route(&["clients", "a/b ?#%é+", "subscriptions"]),
            "/api/v1/clients/a%2Fb%20%3F%23%25%C3%A9%2B/subscriptions"
        );
        assert_eq!(route(&["clients", ".."]), "/api/v1/clients/~..");
        assert_eq!(route(&["sessions", "~.", "..."]), "/api/v1/sessions/~~./...");
    }

    #[test]
    fn a_password_in_the_clear_is_warned_of() {
        for url in [
            "http://10.0.0.1:18083",
            "http://broker.example/x",
            "http://[fd00::1]:1",
            "http://127.0.0.1.example",
        ] {
            assert!(is_in_the_clear(url), "{url}");
        }
        for url in ["https://10.0.0.1", "http://127.9.9.9:1", "http://localhost:1", "http://[::1]:1/x"] {
            assert!(!is_in_the_clear(url), "{url}");
        }
    }
}
