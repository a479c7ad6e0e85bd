//! The HTTP server that knows the clients is asked: one pool of connections, time limits, bodies ignored. Only from the
//! threads of `auth_pool`. emqttd's auth_http: 200 lets in, 4xx refuses, all else is no answer.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::auth::{Credentials, Identity, Method, Refusal, Request, Requests, Verdict};
use crate::config::{Http, HttpMethod, OnError, shown_url};

/// Bytes of an answer's body that are read, and thrown away, so that its connection can be used again.
const BODY_BYTES_MAX: u64 = 64 * 1024;

/// Longest URL of a GET: no server takes longer ones, and a client makes it as long as its password.
const URL_LEN_MAX: usize = 32 * 1024;

/// Between two warnings.
const WARNING_INTERVAL: Duration = Duration::from_secs(1);

/// The status that a server would say to a longer one.
const URI_TOO_LONG: u16 = 414;

/// Warnings about a server that does not answer: one a second, with how many were left out since the last one.
#[derive(Debug, Default)]
pub(super) struct Outage(Mutex<Silence>);

#[derive(Debug, Default)]
struct Silence {
    warned_at: Option<Instant>,
    left_out: u64,
}

impl Outage {
    /// There was no answer. Some: it is to be told, and that of so many others nothing was said.
    pub(super) fn failed(&self, now: Instant) -> Option<u64> {
        let mut silence = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if silence.warned_at.is_some_and(|at| now.duration_since(at) < WARNING_INTERVAL) {
            silence.left_out += 1;
            return None;
        }
        silence.warned_at = Some(now);
        Some(std::mem::take(&mut silence.left_out))
    }
}

/// Asks HTTP servers.
#[derive(Debug, Clone)]
pub(super) struct HttpClient {
    agent: ureq::Agent,
    outage: Arc<Outage>,
}

impl HttpClient {
    /// With the limits of the configuration. `read` gives the bytes of a file.
    ///
    /// # Errors
    /// The file of authorities has no certificate.
    pub(super) fn new(
        config: &Http,
        read: impl Fn(&Path) -> Result<Vec<u8>, String>,
    ) -> Result<Self, String> {
        let mut tls = TlsConfig::builder();
        if !config.ca.as_os_str().is_empty() {
            let pem = read(&config.ca)?;
            let authorities: Vec<Certificate<'static>> = parse_pem(&pem)
                .filter_map(|item| match item {
                    Ok(PemItem::Certificate(certificate)) => Some(certificate),
                    _ => None,
                })
                .collect();
            if authorities.is_empty() {
                return Err("no CERTIFICATE in PEM form in it".into());
            }
            tls = tls.root_certs(RootCerts::Specific(Arc::new(authorities)));
        }
        let connections_max = usize::from(config.connections_max);
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("myriad/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls.build())
            .timeout_connect(Some(Duration::from_millis(config.connect_timeout_ms.into())))
            .timeout_global(Some(Duration::from_millis(config.timeout_ms.into())))
            .max_idle_connections(connections_max)
            .max_idle_connections_per_host(connections_max)
            .build()
            .new_agent();
        Ok(Self { agent, outage: Arc::default() })
    }

    /// Asks about a client.
    pub(super) fn ask(&self, requests: &Requests, client: &Credentials<'_>) -> Verdict {
        match self.status(&requests.auth, client) {
            Ok(200) => {}
            Ok(status @ 400..=499) => {
                return Verdict::Deny(Refusal::bad_credentials(format!("http: status {status}")));
            }
            other => {
                let problem = match other {
                    Ok(status) => format!("http: status {status}"),
                    Err(error) => format!("http: {}", described(&error)),
                };
                if let Some(left_out) = self.outage.failed(Instant::now()) {
                    let url = shown_url(&requests.auth.to.url);
                    tracing::warn!(url, problem, left_out, "authentication: no answer");
                }
                return match requests.on_error {
                    OnError::Ignore => Verdict::Ignore,
                    OnError::Deny => Verdict::Deny(Refusal::unavailable(problem)),
                };
            }
        }
        let mut identity = Identity::new(Method::Http);
        identity.username = client.username.map(Into::into);
        identity.is_superuser = requests
            .superuser
            .as_ref()
            .is_some_and(|request| self.status(request, client).is_ok_and(|status| status == 200));
        Verdict::Allow(Arc::new(identity))
    }

    /// What was left out of the log of failures.
    pub(super) fn outage(&self) -> &Outage {
        &self.outage
    }

    /// The status of the answer to a request.
    ///
    /// # Errors
    /// There was none in time.
    pub(super) fn status(&self, request: &Request, client: &Credentials<'_>) -> Result<u16, ureq::Error> {
        self.status_for(request, client, "", "")
    }

    /// The same about a topic.
    ///
    /// # Errors
    /// There was none in time.
    pub(super) fn status_for(
        &self,
        request: &Request,
        client: &Credentials<'_>,
        topic: &str,
        access: &str,
    ) -> Result<u16, ureq::Error> {
        let params = request.params.encode_for(client, topic, access);
        let mut answer = match request.to.method {
            HttpMethod::Post => self
                .agent
                .post(&request.to.url)
                .content_type("application/x-www-form-urlencoded")
                .send(params.as_str())?,
            HttpMethod::Get => {
                let separator = if request.to.url.contains('?') { '&' } else { '?' };
                let url = zeroize::Zeroizing::new(format!("{}{separator}{}", request.to.url, *params));
                if url.len() > URL_LEN_MAX {
                    return Ok(URI_TOO_LONG);
                }
                self.agent.get(url.as_str()).call()?
            }
        };
        let status = answer.status().as_u16();
        // A body that is too long, or cut short, costs the connection and nothing else.
        let _ = answer.body_mut().with_config().limit(BODY_BYTES_MAX).read_to_vec();
        Ok(status)
    }
}

/// An error as it may stand in a log: a URL has the password in it where the request is a GET.
pub(super) fn described(error: &ureq::Error) -> String {
    match error {
        ureq::Error::BadUri(_) => "not a URL that can be asked".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_once_a_second_with_how_much_was_left_out() {
        let (outage, start) = (Outage::default(), Instant::now());
        let failed = |ms| outage.failed(start + Duration::from_millis(ms));
        assert_eq!([failed(0), failed(1), failed(999), failed(1000)], [Some(0), None, None, Some(2)]);
        assert_eq!([failed(1500), failed(9000), failed(10_000)], [None, Some(1), Some(0)]);
    }
}
