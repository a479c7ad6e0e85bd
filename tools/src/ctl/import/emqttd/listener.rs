//! A listener of emqttd: `listener.tcp.external` of 2.x, or `{mqtt, 1883, […]}` of 1.x under the same names.

use super::super::draft::{Draft, Fate, ListenerDraft, Origin, count};
use super::Entry;

/// A listener and what was said of it.
#[derive(Debug)]
pub(super) struct Listener {
    protocol: String,
    name: String,
    bound: Option<(String, Origin)>,
    certificate: Option<(String, String)>,
    key: Option<(String, String)>,
    ca: Option<(String, Origin)>,
    verifies: bool,
    requires_certificate: bool,
    /// `cn` or `dn`.
    identity: Option<&'static str>,
    access: Vec<String>,
    other: ListenerDraft,
}

impl Listener {
    pub(super) fn new(protocol: &str, name: &str) -> Self {
        Self {
            protocol: protocol.into(),
            name: name.into(),
            bound: None,
            certificate: None,
            key: None,
            ca: None,
            verifies: false,
            requires_certificate: false,
            identity: None,
            access: Vec::new(),
            other: ListenerDraft::default(),
        }
    }

    pub(super) fn is(&self, protocol: &str, name: &str) -> bool {
        self.protocol == protocol && self.name == name
    }

    /// Whether certificates say who a client is.
    pub(super) fn has_identity(&self) -> bool {
        self.identity.is_some()
    }

    fn scheme(&self) -> Option<&'static str> {
        Some(match self.protocol.as_str() {
            "tcp" => "mqtt",
            "ssl" => "mqtts",
            "ws" => "ws",
            "wss" => "wss",
            _ => return None,
        })
    }

    /// Takes an option; the empty one is the place itself. Says what became of it.
    pub(super) fn set(&mut self, option: &str, entry: &Entry, draft: &mut Draft) {
        let (value, origin, line) = (entry.value.as_str(), &entry.origin, entry.origin.line.as_str());
        if self.scheme().is_none() {
            let why = match self.protocol.as_str() {
                "api" | "dashboard" => "Myriad's HTTP API and dashboard are one listener: admin.listen",
                _ => "this protocol is not in Myriad",
            };
            return draft.note(origin, Fate::Unmapped, why);
        }
        let is_on = matches!(value, "on" | "true");
        match option {
            "" => {
                self.bound = Some((value.into(), origin.clone()));
                return;
            }
            "max_clients" | "max_connections" => match value.parse::<u64>() {
                Ok(n @ 1..) => self.other.set("max_connections", count(n), line),
                _ => return draft.note(origin, Fate::Unmapped, "expected a number of connections"),
            },
            "max_conn_rate" => self.other.set("connect_rate", count(value.parse().unwrap_or(0)), line),
            "backlog" => {
                self.other.set("backlog", count(value.parse::<u64>().unwrap_or(1024).clamp(1, 65_535)), line)
            }
            "mount_point" | "mountpoint" => self.other.set("mountpoint", super::placeholders(value), line),
            "rate_limit" => return self.rate_limit(value, origin, draft),
            "certfile" => self.certificate = Some((draft.found(value), line.into())),
            "keyfile" => self.key = Some((draft.found(value), line.into())),
            "cacertfile" => {
                self.ca = Some((draft.found(value), origin.clone()));
                return; // what becomes of it is known when all is read
            }
            "verify" => self.verifies = value == "verify_peer",
            "fail_if_no_peer_cert" => self.requires_certificate = is_on,
            "peer_cert_as_username" if value == "dn" => self.identity = Some("dn"),
            "peer_cert_as_username" => self.identity = Some("cn"),
            _ if option.starts_with("access.") => self.access.push(value.into()),
            _ => return refused(option, is_on, value, origin, draft),
        }
        draft.note(origin, Fate::Mapped, "");
    }

    /// `burst,rate` in KB a second, of each connection.
    fn rate_limit(&mut self, value: &str, origin: &Origin, draft: &mut Draft) {
        let rate = value.split(',').nth(1).and_then(|rate| rate.trim().parse::<u64>().ok());
        match rate {
            Some(rate) => {
                self.other.set("bytes_rate", count((rate * 1024).min(u32::MAX.into())), &origin.line);
                draft.note(origin, Fate::Changed, "the burst is limits.bytes_burst, for all listeners");
            }
            None => draft.note(origin, Fate::Unmapped, "expected burst,rate in KB a second"),
        }
    }

    /// Adds the listener.
    pub(super) fn finish(mut self, anonymous: bool, has_auth: bool, draft: &mut Draft) {
        let Some(scheme) = self.scheme() else { return };
        let Some((bound, origin)) = self.bound.take() else {
            let origin =
                Origin { place: String::new(), line: format!("listener.{}.{}", self.protocol, self.name) };
            return draft.note(&origin, Fate::Unmapped, "it has no port");
        };
        let (mut host, port) = match bound.rsplit_once(':') {
            Some((host, port)) if host.contains(':') => {
                (format!("[{}]", host.trim_matches(['[', ']'])), port)
            }
            Some((host, port)) => (host.to_owned(), port),
            None => ("0.0.0.0".to_owned(), bound.as_str()),
        };
        if port.parse::<u16>().is_err() {
            return draft.note(&origin, Fate::Unmapped, "expected a port, or an address and a port");
        }
        let is_local = host.starts_with("127.") || host == "[::1]";
        if !is_local && !has_auth && !anonymous {
            host = if host.starts_with('[') { "[::1]".into() } else { "127.0.0.1".into() };
            draft.note(&origin, Fate::Changed, "its clients were checked by what Myriad does not have: it listens on loopback until [auth] says who may come in");
        } else {
            draft.note(&origin, Fate::Mapped, "");
        }
        let path = if scheme.starts_with("ws") { "/mqtt" } else { "" };
        let mut listener = ListenerDraft::default();
        listener.set("url", format!("{scheme}://{host}:{port}{path}"), &origin.line);
        if anonymous && (has_auth || !is_local) {
            listener.set("allow_anonymous", true, "");
        }
        // `allow all` alone says nothing.
        if self.access.iter().any(|rule| rule != "allow all") {
            listener.set(
                "access",
                self.access.iter().map(|rule| rule.as_str().into()).collect::<Vec<toml::Value>>(),
                "",
            );
        }
        self.tls(scheme, &origin, &mut listener, draft);
        listener.take(&mut self.other);
        draft.listeners.push(listener);
    }

    fn tls(&mut self, scheme: &str, origin: &Origin, listener: &mut ListenerDraft, draft: &mut Draft) {
        match (self.certificate.take(), self.key.take()) {
            (Some((cert, of_cert)), Some((key, of_key))) => {
                listener.set("tls.cert", vec![cert], &of_cert);
                listener.set("tls.key", vec![key], &of_key);
            }
            _ if matches!(scheme, "mqtts" | "wss") => {
                draft.note(origin, Fate::Changed, "it has no certfile and keyfile: add tls.cert and tls.key");
            }
            _ => {}
        }
        let asks = self.verifies || self.requires_certificate || self.identity.is_some();
        if let Some((ca, origin)) = self.ca.take() {
            if asks {
                listener.set("tls.ca", vec![ca], &origin.line);
                draft.note(&origin, Fate::Mapped, "");
            } else {
                draft.note(
                    &origin,
                    Fate::Needless,
                    "no client is asked for a certificate; a chain belongs into tls.cert",
                );
            }
        }
        if self.requires_certificate {
            listener.set("tls.require_client_cert", true, "fail_if_no_peer_cert");
        }
        if let Some(field) = self.identity {
            listener.set("tls.username_from", field, "peer_cert_as_username");
        }
    }
}

fn refused(option: &str, is_on: bool, value: &str, origin: &Origin, draft: &mut Draft) {
    let (fate, why) = match option {
        "acceptors" => (Fate::Needless, "every shard accepts"),
        "proxy_protocol" if !is_on => (Fate::Needless, "it is off"),
        "proxy_protocol" => (
            Fate::Unmapped,
            "set listener.proxy_protocol = true, and listener.trusted to the load balancer's address",
        ),
        "proxy_protocol_timeout" | "handshake_timeout" | "send_timeout" | "send_timeout_close" => (
            Fate::Needless,
            "limits.connect_timeout_s holds from accept to CONNECT; slow readers are bounded by limits.outbound_bytes",
        ),
        "recbuf"
        | "sndbuf"
        | "buffer"
        | "nodelay"
        | "tune_buffer"
        | "reuseaddr"
        | "high_watermark"
        | "high_msgq_watermark" => (Fate::Needless, "the kernel's own tuning is better: `myriadctl tune`"),
        "tls_versions" if value.split(',').all(|v| matches!(v.trim(), "tlsv1.2" | "tlsv1.3")) => {
            (Fate::Needless, "TLS 1.2 and 1.3 are on; tls.min_version")
        }
        "tls_versions" => (Fate::Unmapped, "versions before TLS 1.2 are broken and not in Myriad"),
        "ciphers" | "dhfile" | "secure_renegotiate" | "reuse_sessions" | "honor_cipher_order"
        | "psk_ciphers" | "depth" | "password" => (
            Fate::Unmapped,
            "Myriad's TLS has no such choice: its cipher suites are all modern, and keys are not encrypted (docs/SECURITY.md)",
        ),
        "zone" => (
            Fate::Needless,
            "there are no zones: [limits] hold for all, and some keys of a listener for it alone",
        ),
        "verify_peer" | "check_origin" | "proxy_address_header" | "proxy_port_header" => {
            (Fate::Unmapped, "see listener.origins; addresses behind a proxy come by listener.proxy_protocol")
        }
        _ => (Fate::Unmapped, "listeners of Myriad have no such option"),
    };
    draft.note(origin, fate, why);
}
