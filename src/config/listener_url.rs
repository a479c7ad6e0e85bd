//! The URL of a listener: `mqtt://ADDRESS[:PORT]`. Names are not looked up, except `localhost`, which is 127.0.0.1:
//! what a broker listens on must not depend on a name server.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// The port that IANA registered for MQTT.
const MQTT_PORT: u16 = 1883;

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenerUrl {
    /// `mqtt://address:port`: MQTT over TCP. Port 0 lets the kernel choose one.
    Mqtt(SocketAddr),
}

impl ListenerUrl {
    /// The address and port.
    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Mqtt(address) => *address,
        }
    }

    /// Only programs of this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        self.address().ip().to_canonical().is_loopback()
    }
}

impl fmt::Display for ListenerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mqtt(address) => write!(f, "mqtt://{address}"),
        }
    }
}

/// Why a URL is not one that Myriad can listen on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// A transport that this version lacks.
    #[error("{0} is not in this version of Myriad, only mqtt:// (MQTT over TCP) is")]
    Later(String),
    /// Not a scheme of a listener.
    #[error("expected a URL as mqtt://127.0.0.1:1883, not {0:?}")]
    Scheme(String),
    /// Something stands after the port.
    #[error("expected nothing after the port of {0:?}, as mqtt://127.0.0.1:1883")]
    Path(String),
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
        let Some((scheme, rest)) = url.split_once(':') else { return Err(UrlError::Scheme(url.into())) };
        match scheme.to_ascii_lowercase().as_str() {
            "mqtt" => {}
            later @ ("mqtts" | "ws" | "wss" | "unix") => return Err(UrlError::Later(later.into())),
            _ => return Err(UrlError::Scheme(url.into())),
        }
        let authority = rest.strip_prefix("//").ok_or_else(|| UrlError::Scheme(url.into()))?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        if authority.contains(['/', '?', '#', '@']) {
            return Err(UrlError::Path(url.into()));
        }
        let (host, port) = split_port(authority);
        let host = parse_host(host).ok_or_else(|| UrlError::Host(host.into()))?;
        let port = match port {
            None => MQTT_PORT,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map_err(|_| UrlError::Port(digits.into()))?
            }
            Some(other) => return Err(UrlError::Port(other.into())),
        };
        Ok(Self::Mqtt(SocketAddr::new(host, port)))
    }
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
    }

    #[test]
    fn only_addresses_of_this_machine_are_loopback() {
        let is_loopback = |url: &str| url.parse::<ListenerUrl>().unwrap().is_loopback();
        for url in ["mqtt://127.0.0.1", "mqtt://127.9.9.9", "mqtt://[::1]", "mqtt://[::ffff:127.0.0.1]"] {
            assert!(is_loopback(url), "{url}");
        }
        for url in ["mqtt://0.0.0.0", "mqtt://[::]", "mqtt://10.0.0.1", "mqtt://[::ffff:10.0.0.1]"] {
            assert!(!is_loopback(url), "{url}");
        }
    }

    #[test]
    fn later_transports_say_so() {
        for url in
            ["mqtts://127.0.0.1:8883", "ws://127.0.0.1/mqtt", "wss://127.0.0.1", "unix:/run/myriad.sock"]
        {
            let problem = problem(url);
            assert!(problem.contains("not in this version"), "{url}: {problem}");
        }
    }

    #[test]
    fn what_is_not_a_listener_is_refused_with_what_was_expected() {
        for url in ["", "1883", "127.0.0.1:1883", "tcp://127.0.0.1:1883", "mqtt:127.0.0.1"] {
            assert!(problem(url).starts_with("expected a URL"), "{url}: {}", problem(url));
        }
        for url in
            ["mqtt://", "mqtt://:1883", "mqtt://*:1883", "mqtt://example.org", "mqtt://::1", "mqtt://[::1"]
        {
            assert!(problem(url).starts_with("expected an IP address"), "{url}: {}", problem(url));
        }
        for url in ["mqtt://127.0.0.1:65536", "mqtt://127.0.0.1:+1", "mqtt://localhost:x"] {
            assert!(problem(url).starts_with("expected a port"), "{url}: {}", problem(url));
        }
        for url in ["mqtt://127.0.0.1:1883/mqtt", "mqtt://u@127.0.0.1", "mqtt://127.0.0.1?x"] {
            assert!(problem(url).starts_with("expected nothing after"), "{url}: {}", problem(url));
        }
    }
}
