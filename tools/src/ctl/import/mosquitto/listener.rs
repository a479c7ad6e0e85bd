//! What belongs to a listener of Mosquitto.

use super::super::draft::{Draft, Fate, ListenerDraft, Note, Origin, count};

/// A listener and what was said of it.
#[derive(Debug, Default)]
pub(super) struct Listener {
    origin: Option<Origin>,
    port: Option<u16>,
    address: Option<String>,
    unix: Option<String>,
    is_websocket: bool,
    is_ipv6: bool,
    pub(super) allow_anonymous: Option<bool>,
    /// `cn` or `dn`.
    identity: Option<&'static str>,
    requires_certificate: bool,
    ca: Option<(String, Origin)>,
    certificate: Option<(String, String)>,
    key: Option<(String, String)>,
    other: ListenerDraft,
}

const RUSTLS: &str =
    "Myriad's TLS has no such choice: its cipher suites and groups are all modern (docs/SECURITY.md)";

impl Listener {
    /// `listener PORT [ADDRESS | /PATH]`
    pub(super) fn parse(value: &str, origin: &Origin, draft: &mut Draft) -> Self {
        let (port, rest) = value.split_once(char::is_whitespace).unwrap_or((value, ""));
        let rest = rest.trim();
        let mut listener = Self { origin: Some(origin.clone()), ..Self::default() };
        match port.parse::<u16>() {
            Ok(0) if rest.starts_with('/') => listener.unix = Some(rest.into()),
            Ok(port) => {
                listener.port = Some(port);
                listener.address = (!rest.is_empty()).then(|| rest.into());
            }
            Err(_) => {
                draft.note(origin, Fate::Unmapped, "the port is no number from 0 to 65535");
                return listener;
            }
        }
        draft.note(origin, Fate::Mapped, "");
        listener
    }

    /// What Mosquitto 2 does without any listener.
    pub(super) fn local() -> Self {
        Self { port: Some(1883), address: Some("127.0.0.1".into()), ..Self::default() }
    }

    /// Whether anything was said that makes it one.
    pub(super) fn is_used(&self) -> bool {
        self.port.is_some() || self.address.is_some() || self.certificate.is_some() || self.is_websocket
    }

    /// Whether certificates say who a client is.
    pub(super) fn has_identity(&self) -> bool {
        self.identity.is_some()
    }

    /// Whether it was an option of a listener; says what became of it.
    pub(super) fn set(&mut self, key: &str, value: &str, origin: &Origin, draft: &mut Draft) -> bool {
        let yes = value == "true" || value == "1";
        let text = value.to_owned();
        let line = origin.line.clone();
        match key {
            "port" => self.port = value.parse().ok(),
            "bind_address" => self.address = Some(text),
            "socket_domain" => self.is_ipv6 = value == "ipv6",
            "protocol" if value == "websockets" => self.is_websocket = true,
            "protocol" if value == "mqtt" => {}
            "protocol" => return unmapped(draft, origin, "this protocol is not in Myriad"),
            "certfile" => self.certificate = Some((draft.found(value), line)),
            "keyfile" => self.key = Some((draft.found(value), line)),
            "cafile" => {
                self.ca = Some((draft.found(value), origin.clone()));
                return true; // what becomes of it is known when all is read
            }
            "require_certificate" => self.requires_certificate = yes,
            "use_identity_as_username" => self.identity = yes.then_some("cn"),
            "use_subject_as_username" => self.identity = yes.then_some("dn"),
            "crlfile" => self.other.set("tls.crl", vec![draft.found(value)], &line),
            "mount_point" => self.other.set("mountpoint", text, &line),
            "max_connections" if value.starts_with('-') => {
                return needless(draft, origin, "any number, up to limits.max_connections");
            }
            "max_connections" => return self.max_connections(value, origin, draft),
            "websockets_origin" => self.other.set("origins", vec![text], &line),
            "tls_version" => return self.tls_version(value, origin, draft),
            "enable_proxy_protocol" | "proxy_protocol" => {
                return unmapped(
                    draft,
                    origin,
                    "set listener.proxy_protocol = true, and listener.trusted to the load balancer's address",
                );
            }
            _ => return refused(key, origin, draft),
        }
        draft.note(origin, Fate::Mapped, "");
        true
    }

    fn max_connections(&mut self, value: &str, origin: &Origin, draft: &mut Draft) -> bool {
        match value.parse::<u32>() {
            Ok(n @ 1..) => {
                self.other.set("max_connections", count(n.into()), &origin.line);
                draft.note(origin, Fate::Mapped, "");
            }
            _ => draft.note(origin, Fate::Unmapped, "expected a number of connections"),
        }
        true
    }

    fn tls_version(&mut self, value: &str, origin: &Origin, draft: &mut Draft) -> bool {
        match value {
            "tlsv1.3" => self.other.set("tls.min_version", "1.3", &origin.line),
            "tlsv1.2" => self.other.set("tls.min_version", "1.2", &origin.line),
            _ => return unmapped(draft, origin, "versions before TLS 1.2 are broken and not in Myriad"),
        }
        draft.note(origin, Fate::Mapped, "");
        true
    }

    /// The listener as Myriad has it.
    pub(super) fn draft(
        mut self,
        anonymous: bool,
        has_auth: bool,
        has_plugin: bool,
        notes: &mut Vec<Note>,
    ) -> ListenerDraft {
        let from = self.origin.as_ref().map(|origin| origin.line.clone()).unwrap_or_default();
        let is_tls = self.certificate.is_some();
        let port = self.port.unwrap_or(1883);
        let mut host = match (self.address.as_deref(), self.is_ipv6) {
            (None, true) => "[::]".to_owned(),
            (None, false) => "0.0.0.0".to_owned(),
            (Some("localhost"), _) => "127.0.0.1".to_owned(),
            (Some(address), _) if address.contains(':') => format!("[{}]", address.trim_matches(['[', ']'])),
            (Some(address), _) => address.to_owned(),
        };
        let is_local = self.unix.is_some() || host.starts_with("127.") || host == "[::1]";
        let mut note = |origin: &Option<Origin>, fate, why: &str| {
            if let Some(Origin { place, line }) = origin.clone() {
                notes.push(Note { place, line, fate, why: why.into() });
            }
        };
        if !is_local && !has_auth && !anonymous {
            host = if host.starts_with('[') { "[::1]".into() } else { "127.0.0.1".into() };
            let why = if has_plugin {
                "its clients were checked by a plugin: it listens on loopback until [auth] says who may come in"
            } else {
                "Mosquitto admits nobody here (no password file, no allow_anonymous true): it listens on loopback until [auth] says who may come in"
            };
            note(&self.origin, Fate::Changed, why);
        }
        if host.parse::<std::net::IpAddr>().is_err() && !host.starts_with('[') && self.unix.is_none() {
            note(
                &self.origin,
                Fate::Changed,
                "Myriad wants an address, not a name: write the address that it stands for",
            );
        }
        let scheme = match (self.is_websocket, is_tls) {
            (false, false) => "mqtt",
            (false, true) => "mqtts",
            (true, false) => "ws",
            (true, true) => "wss",
        };
        let path = if self.is_websocket { "/mqtt" } else { "" };
        let url = self
            .unix
            .map_or_else(|| format!("{scheme}://{host}:{port}{path}"), |path| format!("unix:{path}"));
        let mut listener = ListenerDraft::default();
        listener.set("url", url, &from);
        // What is refused on loopback without [auth] would be a surprise elsewhere: written only where it says something.
        if anonymous && (has_auth || !is_local) {
            listener.set("allow_anonymous", true, "");
        }
        if let (Some((cert, of_cert)), Some((key, of_key))) = (self.certificate, self.key) {
            listener.set("tls.cert", vec![cert], &of_cert);
            listener.set("tls.key", vec![key], &of_key);
        } else if is_tls {
            note(&self.origin, Fate::Changed, "certfile without keyfile: add tls.key");
        }
        if let Some((ca, origin)) = self.ca {
            if self.requires_certificate || self.identity.is_some() {
                listener.set("tls.ca", vec![ca], &origin.line);
                note(&Some(origin), Fate::Mapped, "");
            } else {
                note(
                    &Some(origin),
                    Fate::Needless,
                    "without require_certificate no client is asked for a certificate; a chain belongs into tls.cert",
                );
            }
        }
        if self.requires_certificate {
            listener.set("tls.require_client_cert", true, "require_certificate true");
        }
        if let Some(field) = self.identity {
            listener.set("tls.username_from", field, "");
        }
        listener.take(&mut self.other);
        listener
    }
}

fn unmapped(draft: &mut Draft, origin: &Origin, why: &str) -> bool {
    draft.note(origin, Fate::Unmapped, why);
    true
}

fn needless(draft: &mut Draft, origin: &Origin, why: &str) -> bool {
    draft.note(origin, Fate::Needless, why);
    true
}

/// Options of listeners that have nothing like them; false: it is none.
fn refused(key: &str, origin: &Origin, draft: &mut Draft) -> bool {
    match key {
        "http_dir" => unmapped(draft, origin, "Myriad serves no files; a web server in front does"),
        "websockets_headers_size" | "websockets_log_level" | "packet_buffer_size" => {
            needless(draft, origin, "Myriad needs no such size")
        }
        "bind_interface" => unmapped(draft, origin, "listen on the interface's address instead"),
        "capath" => unmapped(draft, origin, "tls.ca takes files: name those of the folder there"),
        "ciphers"
        | "ciphers_tls1.3"
        | "dhparamfile"
        | "tls_engine"
        | "tls_engine_kpass_sha1"
        | "tls_keyform" => unmapped(draft, origin, RUSTLS),
        "psk_hint" | "psk_file" => unmapped(
            draft,
            origin,
            "TLS with pre-shared keys is not in Myriad; give clients certificates (tls.ca)",
        ),
        "use_username_as_clientid" => unmapped(
            draft,
            origin,
            "a Client Identifier can be bound to a certificate (tls.client_id_from) or to a token (auth.jwt.client_id_claim)",
        ),
        "accept_protocol_versions" => {
            unmapped(draft, origin, "Myriad takes 3.1, 3.1.1 and 5.0 at every listener")
        }
        _ => false,
    }
}
