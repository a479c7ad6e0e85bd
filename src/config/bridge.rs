//! `[[bridge]]`: another broker with which this node exchanges messages. What a bridge does is in `bridge`.

use std::path::PathBuf;

use crate::topic::{self, TopicLimits};

/// What the Client Identifiers of bridges on this node begin with. No other client may have such a name.
pub const BRIDGE_CLIENT_PREFIX: &str = "$bridge:";

/// The User Property that says which nodes' bridges a message has passed.
pub const BRIDGE_MARK: &str = "myriad-via";

/// Port of MQTT and of MQTT over TLS where the URL names none.
const PORTS: (u16, u16) = (1883, 8883);

/// `[[bridge]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// Its name: one word, for people, for the API and for the Client Identifier on this side.
    pub name: String,
    /// Where the other broker is: `mqtt://host:port` or `mqtts://host:port`.
    pub url: String,
    /// Client Identifier there; empty: `myriad-` and the name.
    pub client_id: String,
    /// User Name there; empty: none.
    pub username: String,
    /// File whose first line is the password.
    pub password_file: PathBuf,
    /// Version of MQTT to speak there: `5.0` or `3.1.1`.
    pub version: String,
    /// The session there begins anew with each connection: what came meanwhile is lost.
    pub clean_start: bool,
    /// Keep Alive on both sides, in seconds.
    pub keep_alive_s: u16,
    /// Messages under way each way that are not acknowledged yet.
    pub inflight_max: u16,
    /// How long both sides keep messages while there is no connection, in seconds.
    pub expiry_s: u32,
    /// What goes there: `"FILTER [qos N] [strip PREFIX] [prefix PREFIX]"`.
    pub forward: Vec<String>,
    /// What comes from there, in the same words.
    pub subscribe: Vec<String>,
    /// `tls.ca`, `tls.cert`, `tls.key`
    pub tls: BridgeTls,
}

/// `tls` of a bridge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BridgeTls {
    /// Authorities that may vouch for the other broker, PEM; empty: those of the system.
    pub ca: PathBuf,
    /// The bridge's own certificate, PEM; empty: none.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Default for Bridge {
    fn default() -> Self {
        Self {
            name: String::new(),
            url: String::new(),
            client_id: String::new(),
            username: String::new(),
            password_file: PathBuf::new(),
            version: Self::VERSIONS[0].into(),
            clean_start: false,
            keep_alive_s: 60,
            inflight_max: 100,
            expiry_s: 48 * 3600,
            forward: Vec::new(),
            subscribe: Vec::new(),
            tls: BridgeTls::default(),
        }
    }
}

/// Highest QoS that a bridge passes on.
const QOS_MAX: u8 = 1;

/// One way of messages: a filter, and what becomes of their topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeRoute {
    /// Topics, as the side has them from which the messages come.
    pub filter: String,
    /// Highest QoS: 0 or 1.
    pub qos: u8,
    /// Taken off the begin of a topic, where it stands there.
    pub strip: String,
    /// Put before what is left.
    pub prefix: String,
}

impl BridgeRoute {
    /// Reads `"FILTER [qos N] [strip PREFIX] [prefix PREFIX]"` or `"FILTER [qos N] to FILTER"`; QoS 2 becomes 1.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let filter = words.next().unwrap_or_default().to_owned();
        if let Err(error) = topic::check_filter(&filter, &TopicLimits::default()) {
            return Err(format!("{filter:?} {error}"));
        }
        if topic::canonical(&filter) != filter || matches!(topic::parse_share(&filter), Err(_) | Ok(Some(_)))
        {
            return Err(format!(
                "{filter:?}: a bridge can't share a subscription, nor use emqttd's prefixes"
            ));
        }
        let mut route = Self { filter, qos: 1, strip: String::new(), prefix: String::new() };
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("{word:?} is the last word of {text:?}"))?;
            match word {
                "qos" => {
                    let qos = value.parse::<u8>().ok().filter(|qos| *qos <= 2);
                    route.qos =
                        qos.ok_or_else(|| format!("qos: expected 0 or 1, not {value:?}"))?.min(QOS_MAX);
                }
                "to" => (route.strip, route.prefix) = route.lead_to(value)?,
                "strip" | "prefix" => {
                    if value.contains(['+', '#', '\0']) {
                        return Err(format!("{word}: expected the begin of a topic, not {value:?}"));
                    }
                    if word == "strip" { route.strip = value.into() } else { route.prefix = value.into() }
                }
                _ => return Err(format!("expected `qos`, `to`, `strip` or `prefix`, not {word:?}")),
            }
        }
        Ok(route)
    }

    /// What has to be taken off and put before topics of the filter, so that they are those of `to`.
    fn lead_to(&self, to: &str) -> Result<(String, String), String> {
        let same = self.filter.bytes().rev().zip(to.bytes().rev()).take_while(|(a, b)| a == b).count();
        let part = |filter: &str| filter.get(..filter.len() - same).map(str::to_owned);
        // A character that the two share in part only is none that they share.
        let parts = part(&self.filter)
            .zip(part(to))
            .filter(|(a, b)| !topic::has_wildcard(a) && !topic::has_wildcard(b));
        parts.ok_or_else(|| {
            format!(
                "to: {to:?} has to end as {:?} does, from its first wildcard on at the latest",
                self.filter
            )
        })
    }

    /// The topic on the other side; `None`: it would be none.
    pub fn map(&self, topic: &str) -> Option<String> {
        let rest = topic.strip_prefix(&self.strip).unwrap_or(topic);
        let mapped = format!("{}{rest}", self.prefix);
        topic::check_name(&mapped, &TopicLimits::default()).ok().map(|()| mapped)
    }
}

impl Bridge {
    /// What `version` may be.
    pub const VERSIONS: [&'static str; 2] = ["5.0", "3.1.1"];

    /// Whether it speaks TLS, and with which host and port; `None`: the URL is none.
    pub fn address(&self) -> Option<(bool, &str, u16)> {
        let (is_tls, rest) = match self.url.split_once("://")? {
            ("mqtt", rest) => (false, rest),
            ("mqtts", rest) => (true, rest),
            _ => return None,
        };
        let port_of_scheme = if is_tls { PORTS.1 } else { PORTS.0 };
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, behind) = rest.split_once(']')?;
                (host, behind.strip_prefix(':'))
            }
            None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map_or(Some(port_of_scheme), |port| port.parse().ok().filter(|port| *port > 0))?;
        let is_host = !host.is_empty() && !host.contains(['/', '@', '?', ' ']);
        is_host.then_some((is_tls, host, port))
    }

    /// The Client Identifier on the other side.
    pub fn remote_client_id(&self) -> String {
        if self.client_id.is_empty() { format!("myriad-{}", self.name) } else { self.client_id.clone() }
    }

    /// The routes of `forward` or `subscribe`, which were checked.
    pub fn routes(texts: &[String]) -> Vec<BridgeRoute> {
        texts.iter().filter_map(|text| BridgeRoute::parse(text).ok()).collect()
    }

    /// Whether it can be used.
    ///
    /// # Errors
    /// The key at fault and what is wrong with it.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let blame = |key, problem: String| Err((key, format!("bridge.{key}: {problem}")));
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if self.name.is_empty() || self.name.len() > 64 || !self.name.chars().all(is_word) {
            return blame("name", "expected 1 to 64 letters, digits, '-', '_' and '.'".into());
        }
        let Some((is_tls, ..)) = self.address() else {
            // Not the URL itself: it may hold a password.
            let expected = "expected \"mqtt://host:1883\" or \"mqtts://host:8883\"; username and password_file have their own keys";
            return blame("url", expected.into());
        };
        let tls = [&self.tls.ca, &self.tls.cert, &self.tls.key];
        if !is_tls && tls.iter().any(|path| !path.as_os_str().is_empty()) {
            return blame("url", "tls has no meaning for mqtt://; write mqtts://".into());
        }
        if self.tls.cert.as_os_str().is_empty() != self.tls.key.as_os_str().is_empty() {
            return blame("tls.cert", "tls.cert and tls.key belong together".into());
        }
        if self.username.is_empty() && !self.password_file.as_os_str().is_empty() {
            return blame("password_file", "needs a username".into());
        }
        for (key, texts) in [("forward", &self.forward), ("subscribe", &self.subscribe)] {
            if let Some(problem) = texts.iter().find_map(|text| BridgeRoute::parse(text).err()) {
                return blame(key, problem);
            }
        }
        if self.forward.is_empty() && self.subscribe.is_empty() {
            return blame(
                "forward",
                "nothing is forwarded and nothing subscribed to; add one of them".into(),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_route_maps_topics() {
        let route = BridgeRoute::parse("site/+/# qos 0 strip site/ prefix all/s/").unwrap();
        assert_eq!((route.filter.as_str(), route.qos), ("site/+/#", 0));
        assert_eq!(route.map("site/1/t").as_deref(), Some("all/s/1/t"));
        assert_eq!(route.map("other").as_deref(), Some("all/s/other"));
        let renamed = BridgeRoute::parse("site/+/# qos 2 to all/s/+/#").unwrap();
        assert_eq!((renamed.qos, renamed.map("site/1/t").as_deref()), (1, Some("all/s/1/t")));
        assert_eq!(BridgeRoute::parse("a/b to c").unwrap().map("a/b").as_deref(), Some("c"));
        assert!(BridgeRoute::parse("a/+/b/# to c/b/#").is_err());
        let bare = BridgeRoute::parse("a strip a").unwrap();
        assert_eq!((bare.qos, bare.map("a"), bare.map("b").as_deref()), (1, None, Some("b")));
        for wrong in
            ["", "a/#/b", "$share/g/a", "$queue/a", "a qos", "a qos 3", "a qos x", "a strip +", "a into b"]
        {
            assert!(BridgeRoute::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn routes_may_be_tables() {
        let text = "[[bridge]]\nname = 'b'\nurl = 'mqtt://h'\nforward = [{ filter = 'a/#', to = 'b/a/#', qos = 0 }, 'c']";
        let config = Config::from_toml(text, "m.toml").unwrap();
        let routes = Bridge::routes(&config.bridges[0].forward);
        assert_eq!((routes[0].qos, routes[0].map("a/1").as_deref()), (0, Some("b/a/1")));
        assert_eq!((routes[1].filter.as_str(), routes.len()), ("c", 2));
        let wrong = text.replace("qos = 0", "qos = []");
        assert!(Config::from_toml(&wrong, "m.toml").is_err());
    }

    #[test]
    fn urls_name_a_host_and_a_port() {
        let address = |url: &str| {
            let bridge = Bridge { url: url.into(), ..Bridge::default() };
            bridge.address().map(|(is_tls, host, port)| (is_tls, host.to_owned(), port))
        };
        assert_eq!(address("mqtt://h"), Some((false, "h".into(), 1883)));
        assert_eq!(address("mqtts://h.example:8884"), Some((true, "h.example".into(), 8884)));
        assert_eq!(address("mqtts://[::1]"), Some((true, "::1".into(), 8883)));
        for wrong in ["h", "http://h", "mqtt://", "mqtt://u:pw@h", "mqtt://h:0", "mqtt://h:x", "mqtt://h/x"] {
            assert_eq!(address(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_bridge_that_can_not_be_used_is_named_with_its_line_and_shows_no_password() {
        let problem = |keys: &str| {
            let text = format!("[[bridge]]\nname = 'b'\n{keys}");
            Config::from_toml(&text, "m.toml").unwrap_err().to_string()
        };
        let url = problem("url = 'mqtt://u:s3cret@h'\nforward = ['a']");
        assert!(url.starts_with("m.toml:3: bridge.url") && !url.contains("s3cret"), "{url}");
        assert!(problem("url = 'mqtt://h'").contains("nothing is forwarded"));
        assert!(problem("url = 'mqtt://h'\nforward = ['a/#/b']").starts_with("m.toml:4: bridge.forward"));
        assert!(problem("url = 'mqtt://h'\nforward = ['a']\ntls = { ca = 'x' }").contains("mqtts://"));
        assert!(
            problem("url = 'mqtts://h'\nforward = ['a']\ntls = { cert = 'x' }").contains("belong together")
        );
        let twice =
            "url = 'mqtt://h'\nforward = ['a']\n[[bridge]]\nname = 'b'\nurl = 'mqtt://h'\nforward = ['a']";
        assert!(problem(twice).contains("two bridges"), "{}", problem(twice));
    }

    #[test]
    fn bridges_bring_a_door_of_their_own_that_nobody_sees() {
        let text = "[[bridge]]\nname = 'b'\nurl = 'mqtt://h'\nforward = ['a']";
        let config = Config::from_toml(text, "m.toml").unwrap();
        assert_eq!(config.listeners.iter().filter(|listener| listener.is_internal).count(), 1);
        let printed = config.to_toml();
        assert!(!printed.contains("bridge.sock"), "{printed}");
        assert_eq!(Config::from_toml(&printed, "printed").unwrap(), config);
        let reload = Config::default().diff_live(&config);
        assert_eq!((reload.changed.len(), reload.needs_restart), (0, vec!["bridge".into()]));
    }
}
