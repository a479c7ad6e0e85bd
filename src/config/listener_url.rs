//! The URL of a listener: `mqtt://ADDRESS[:PORT]`, `mqtts://…`, `ws://…/PATH`, `wss://…/PATH`, `unix:/PATH`. Names are not
//! looked up, except `localhost`, which is 127.0.0.1: what a broker listens on must not depend on a name server.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where a WebSocket is asked for if the URL does not say: where clients expect it.
const WEBSOCKET_PATH: &str = "/mqtt";
/// Bytes of the longest path of a Unix socket: `sun_path` with its zero.
const UNIX_PATH_LEN_MAX: usize = 107;

/// How MQTT is carried over TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// As it is.
    Mqtt,
    /// In TLS.
    Mqtts,
    /// In WebSocket.
    Ws,
    /// In WebSocket in TLS.
    Wss,
}

impl Scheme {
    const ALL: [Self; 4] = [Self::Mqtt, Self::Mqtts, Self::Ws, Self::Wss];

    /// As in the URL.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Mqtts => "mqtts",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    /// The ports of `mqtt` and `mqtts` are registered with IANA; those of the others are what brokers use.
    const fn port(self) -> u16 {
        match self {
            Self::Mqtt => 1883,
            Self::Mqtts => 8883,
            Self::Ws => 8083,
            Self::Wss => 8084,
        }
    }

    /// Within TLS.
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::Mqtts | Self::Wss)
    }

    /// Within WebSocket.
    pub const fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }
}

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenerUrl {
    /// `scheme://address:port/path`.
    Tcp {
        /// How MQTT is carried.
        scheme: Scheme,
        /// Port 0 lets the kernel choose one.
        address: SocketAddr,
        /// Of a WebSocket, with its `/`; otherwise empty.
        path: String,
    },
    /// `unix:/path`: MQTT over a Unix socket.
    Unix(PathBuf),
}

impl ListenerUrl {
    /// `mqtt://address`.
    pub const fn mqtt(address: SocketAddr) -> Self {
        Self::Tcp { scheme: Scheme::Mqtt, address, path: String::new() }
    }

    /// How MQTT is carried; `None` for a Unix socket.
    pub fn scheme(&self) -> Option<Scheme> {
        match self {
            Self::Tcp { scheme, .. } => Some(*scheme),
            Self::Unix(_) => None,
        }
    }

    /// The address and port; `None` for a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp { address, .. } => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// The same listener at another address, for what was bound in place of port 0.
    pub fn at(&self, bound: SocketAddr) -> Self {
        match self {
            Self::Tcp { scheme, path, .. } => {
                Self::Tcp { scheme: *scheme, address: bound, path: path.clone() }
            }
            Self::Unix(_) => self.clone(),
        }
    }

    /// Only programs of this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        self.address().is_none_or(|address| address.ip().to_canonical().is_loopback())
    }

    /// Both can't be had at the same time.
    pub fn collides_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unix(one), Self::Unix(other)) => one == other,
            _ => self
                .address()
                .filter(|address| address.port() != 0)
                .is_some_and(|address| other.address().is_some_and(|other| other == address)),
        }
    }
}

impl fmt::Display for ListenerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { scheme, address, path } => write!(f, "{}://{address}{path}", scheme.name()),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why a URL is not one that Myriad can listen on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not a scheme of a listener.
    #[error(
        "expected a URL as mqtt://127.0.0.1:1883, mqtts://…:8883, ws://…:8083/mqtt, wss://…:8084/mqtt or \
         unix:/run/myriad.sock, not {0:?}"
    )]
    Scheme(String),
    /// Something stands after the port.
    #[error("expected nothing after the port of {0:?}, as mqtt://127.0.0.1:1883")]
    Path(String),
    /// Not the path of a WebSocket.
    #[error("expected a path without blanks, `?` and `#`, as ws://127.0.0.1:8083/mqtt, not {0:?}")]
    WebSocketPath(String),
    /// Not the path of a Unix socket.
    #[error(
        "expected an absolute path of at most {UNIX_PATH_LEN_MAX} bytes, as unix:/run/myriad.sock, not {0:?}"
    )]
    UnixPath(String),
    /// Not an address.
    #[error(
        "expected an IP address or localhost, as mqtt://127.0.0.1:1883, mqtt://[::1]:1883, mqtt://0.0.0.0:1883 \
         (all IPv4) or mqtt://[::]:1883 (all), not {0:?}"
    )]
    Host(String),
    /// Not a port.
    #[error("expected a port from 0 (the kernel chooses) to 65535, not {0:?}")]
    Port(String),
}

impl FromStr for ListenerUrl {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Self, UrlError> {
        let wrong_scheme = || UrlError::Scheme(url.into());
        let (name, rest) = url.split_once(':').ok_or_else(wrong_scheme)?;
        if name.eq_ignore_ascii_case("unix") {
            return unix(rest);
        }
        let scheme = Scheme::ALL.into_iter().find(|scheme| name.eq_ignore_ascii_case(scheme.name()));
        let scheme = scheme.ok_or_else(wrong_scheme)?;
        let rest = rest.strip_prefix("//").ok_or_else(wrong_scheme)?;
        let (authority, path) = match rest.find('/') {
            Some(at) if scheme.is_websocket() => rest.split_at(at),
            _ => (rest.strip_suffix('/').unwrap_or(rest), ""),
        };
        if authority.contains(['/', '?', '#', '@']) {
            return Err(UrlError::Path(url.into()));
        }
        let path = if scheme.is_websocket() && path.is_empty() { WEBSOCKET_PATH } else { path };
        if !path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'?' && byte != b'#') {
            return Err(UrlError::WebSocketPath(path.into()));
        }
        let (host, port) = split_port(authority);
        let host = parse_host(host).ok_or_else(|| UrlError::Host(host.into()))?;
        let port = match port {
            None => scheme.port(),
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map_err(|_| UrlError::Port(digits.into()))?
            }
            Some(other) => return Err(UrlError::Port(other.into())),
        };
        Ok(Self::Tcp { scheme, address: SocketAddr::new(host, port), path: path.into() })
    }
}

/// The path of a Unix socket, also as `unix:///path`.
fn unix(rest: &str) -> Result<ListenerUrl, UrlError> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    let is_path = Path::new(path).is_absolute() && !path.ends_with('/') && !path.contains('\0');
    if !is_path || path.len() > UNIX_PATH_LEN_MAX {
        return Err(UrlError::UnixPath(path.into()));
    }
    Ok(ListenerUrl::Unix(path.into()))
}

/// Splits `host:port`. The colons of an IPv6 address belong to it, so it needs its brackets where a port follows.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

/// An IPv4 address, an IPv6 address in brackets, or `localhost`.
fn parse_host(host: &str) -> Option<IpAddr> {
    if host.eq_ignore_ascii_case("localhost") {
        return Some(Ipv4Addr::LOCALHOST.into());
    }
    match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(v6) => v6.parse().ok().map(IpAddr::V6),
        None => host.parse().ok().map(IpAddr::V4),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn address(url: &str) -> String {
        url.parse::<ListenerUrl>().unwrap().to_string()
    }

    fn problem(url: &str) -> String {
        url.parse::<ListenerUrl>().unwrap_err().to_string()
    }

    #[test]
    fn addresses_and_the_default_port() {
        assert_eq!(address("mqtt://127.0.0.1:1883"), "mqtt://127.0.0.1:1883");
        assert_eq!(address("mqtt://127.0.0.1"), "mqtt://127.0.0.1:1883");
        assert_eq!(address("MQTT://localhost:0/"), "mqtt://127.0.0.1:0");
        assert_eq!(address("mqtt://Localhost"), "mqtt://127.0.0.1:1883");
        assert_eq!(address("mqtt://[::1]:1884"), "mqtt://[::1]:1884");
        assert_eq!(address("mqtt://[::1]"), "mqtt://[::1]:1883");
        assert_eq!(address("mqtt://[::]:65535"), "mqtt://[::]:65535");
        assert_eq!(address("mqtt://0.0.0.0"), "mqtt://0.0.0.0:1883");
        assert_eq!(address("mqtts://0.0.0.0"), "mqtts://0.0.0.0:8883");
        assert_eq!(address("mqtts://[::1]:1/"), "mqtts://[::1]:1");
    }

    #[test]
    fn websockets_have_a_path() {
        assert_eq!(address("ws://127.0.0.1"), "ws://127.0.0.1:8083/mqtt");
        assert_eq!(address("WSS://[::]"), "wss://[::]:8084/mqtt");
        assert_eq!(address("ws://127.0.0.1:80/"), "ws://127.0.0.1:80/");
        assert_eq!(address("ws://127.0.0.1/a/b"), "ws://127.0.0.1:8083/a/b");
        for url in ["ws://127.0.0.1/mqtt?x", "ws://127.0.0.1/mq tt", "wss://127.0.0.1/#", "ws://127.0.0.1/ä"]
        {
            assert!(problem(url).starts_with("expected a path"), "{url}: {}", problem(url));
        }
    }

    #[test]
    fn unix_sockets_have_an_absolute_path() {
        assert_eq!(address("unix:/run/myriad.sock"), "unix:/run/myriad.sock");
        assert_eq!(address("UNIX:///run/百万.sock"), "unix:/run/百万.sock");
        let longest = format!("unix:/{}", "x".repeat(UNIX_PATH_LEN_MAX - 1));
        assert_eq!(address(&longest), longest);
        for url in
            ["unix:", "unix:run/myriad.sock", "unix://run/myriad.sock", "unix:/run/", &format!("{longest}x")]
        {
            assert!(problem(url).starts_with("expected an absolute path"), "{url}: {}", problem(url));
        }
    }

    #[test]
    fn only_addresses_of_this_machine_are_loopback() {
        let is_loopback = |url: &str| url.parse::<ListenerUrl>().unwrap().is_loopback();
        for url in
            ["mqtt://127.0.0.1", "ws://127.9.9.9", "wss://[::1]", "mqtt://[::ffff:127.0.0.1]", "unix:/run/m"]
        {
            assert!(is_loopback(url), "{url}");
        }
        for url in ["mqtt://0.0.0.0", "mqtts://[::]", "ws://10.0.0.1", "mqtt://[::ffff:10.0.0.1]"] {
            assert!(!is_loopback(url), "{url}");
        }
    }

    #[test]
    fn listeners_collide_where_they_want_the_same_place() {
        let collide = |one: &str, other: &str| {
            one.parse::<ListenerUrl>().unwrap().collides_with(&other.parse().unwrap())
        };
        assert!(collide("mqtt://127.0.0.1:1883", "ws://127.0.0.1:1883/x"));
        assert!(collide("unix:/run/m", "unix:/run/m"));
        assert!(!collide("mqtt://127.0.0.1:1883", "mqtt://127.0.0.2:1883"));
        assert!(!collide("mqtt://127.0.0.1:0", "ws://127.0.0.1:0"));
        assert!(!collide("mqtt://0.0.0.0:1883", "mqtt://[::]:1883"), "[::] then leaves IPv4 to the other");
        assert!(!collide("unix:/run/m", "mqtt://127.0.0.1:1883"));
    }

    #[test]
    fn what_is_not_a_listener_is_refused_with_what_was_expected() {
        for url in ["", "1883", "127.0.0.1:1883", "tcp://127.0.0.1:1883", "mqtt:127.0.0.1", "ws:/127.0.0.1"] {
            assert!(problem(url).starts_with("expected a URL"), "{url}: {}", problem(url));
        }
        for url in
            ["mqtt://", "mqtt://:1883", "mqtt://*:1883", "ws://example.org/mqtt", "mqtt://::1", "mqtt://[::1"]
        {
            assert!(problem(url).starts_with("expected an IP address"), "{url}: {}", problem(url));
        }
        for url in ["mqtt://127.0.0.1:65536", "mqtt://127.0.0.1:+1", "ws://localhost:x/mqtt"] {
            assert!(problem(url).starts_with("expected a port"), "{url}: {}", problem(url));
        }
        for url in ["mqtt://127.0.0.1:1883/mqtt", "ws://u@127.0.0.1", "mqtts://127.0.0.1?x"] {
            assert!(problem(url).starts_with("expected nothing after"), "{url}: {}", problem(url));
        }
    }
}
