//! Mosquitto's bridges as Myriad's, at the end of the configuration. Passwords are left out, and tables that this version does not
//! know stand there as comments.

use std::fmt::Write;

use super::super::draft::{Draft, Fate, Origin};

/// A bridge and what was said of it.
#[derive(Debug)]
pub(super) struct Bridge {
    name: String,
    origin: Origin,
    addresses: Vec<String>,
    is_tls: bool,
    client_id: Option<String>,
    username: Option<String>,
    has_password: bool,
    clean_start: bool,
    ca: Option<String>,
    forward: Vec<Topic>,
    subscribe: Vec<Topic>,
}

/// `topic PATTERN [[out | in | both] QOS [LOCAL REMOTE]]`
#[derive(Debug, Clone, PartialEq, Eq)]
struct Topic {
    pattern: String,
    qos: u8,
    local: String,
    remote: String,
}

const IN_A_TABLE: &str = "in [[bridge]] at the end of the configuration";

/// Whether an option belongs to the bridge that was begun.
pub(super) fn is_option(key: &str) -> bool {
    const OTHERS: [&str; 24] = [
        "address",
        "addresses",
        "topic",
        "cleansession",
        "local_cleansession",
        "clientid",
        "remote_clientid",
        "local_clientid",
        "username",
        "remote_username",
        "password",
        "remote_password",
        "local_username",
        "local_password",
        "keepalive_interval",
        "notifications",
        "notification_topic",
        "notifications_local_only",
        "idle_timeout",
        "restart_timeout",
        "round_robin",
        "start_type",
        "threshold",
        "try_private",
    ];
    key.starts_with("bridge_") || OTHERS.contains(&key)
}

impl Bridge {
    pub(super) fn new(name: &str, origin: &Origin) -> Self {
        Self {
            name: name.into(),
            origin: origin.clone(),
            addresses: Vec::new(),
            is_tls: false,
            client_id: None,
            username: None,
            has_password: false,
            clean_start: false,
            ca: None,
            forward: Vec::new(),
            subscribe: Vec::new(),
        }
    }

    pub(super) fn set(&mut self, key: &str, value: &str, origin: &Origin, draft: &mut Draft) {
        let text = || Some(value.to_owned());
        match key {
            "address" | "addresses" => self.addresses = value.split_whitespace().map(str::to_owned).collect(),
            "topic" => return self.topic(value, origin, draft),
            "cleansession" => self.clean_start = value == "true",
            "clientid" | "remote_clientid" => self.client_id = text(),
            "username" | "remote_username" => self.username = text(),
            "password" | "remote_password" => self.has_password = true,
            "bridge_cafile" => (self.is_tls, self.ca) = (true, text()),
            "bridge_capath" | "bridge_certfile" | "bridge_keyfile" | "bridge_psk" | "bridge_identity" => {
                self.is_tls = true;
                return draft.note(origin, Fate::Unmapped, "set the bridge's tls by hand");
            }
            "bridge_insecure" if value == "false" => return draft.note(origin, Fate::Needless, "it is so"),
            "bridge_insecure" => {
                return draft.note(origin, Fate::Unmapped, "certificates are always checked");
            }
            "start_type" if value == "automatic" => return draft.note(origin, Fate::Needless, "it is so"),
            _ => {
                return draft.note(
                    origin,
                    Fate::Unmapped,
                    "Myriad's bridges have no such choice (docs/MODULES.md)",
                );
            }
        }
        draft.note(origin, Fate::Changed, IN_A_TABLE);
    }

    fn topic(&mut self, value: &str, origin: &Origin, draft: &mut Draft) {
        let words = words(value);
        let word = |at: usize| words.get(at).map_or("", String::as_str);
        let (direction, qos) = (word(1), word(2).parse::<u8>().unwrap_or(0).min(2));
        let topic = Topic { pattern: word(0).into(), qos, local: word(3).into(), remote: word(4).into() };
        match direction {
            "" | "out" => self.forward.push(topic),
            "in" => self.subscribe.push(topic),
            "both" => {
                self.forward.push(topic.clone());
                self.subscribe.push(topic);
            }
            _ => return draft.note(origin, Fate::Unmapped, "expected out, in or both behind the pattern"),
        }
        draft.note(origin, Fate::Changed, IN_A_TABLE);
    }

    /// Adds the block of comments.
    pub(super) fn finish(self, draft: &mut Draft) {
        let text = |text: &str| toml::Value::from(text).to_string();
        let mut out = format!("# {}: {}\n[[bridge]]\n", self.origin.place, self.origin.line);
        let _ = writeln!(out, "name = {}", text(&self.name));
        let (scheme, port) = if self.is_tls { ("mqtts", 8883) } else { ("mqtt", 1883) };
        let mut urls = self.addresses.iter().map(|address| {
            let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            if has_port { format!("{scheme}://{address}") } else { format!("{scheme}://{address}:{port}") }
        });
        let _ = writeln!(out, "url = {}", text(&urls.next().unwrap_or_default()));
        for other in urls {
            let _ = writeln!(out, "# Mosquitto would also try {other}");
        }
        for (key, value) in [("client_id", &self.client_id), ("username", &self.username)] {
            if let Some(value) = value {
                let _ = writeln!(out, "{key} = {}", text(value));
            }
        }
        if self.has_password {
            let _ =
                writeln!(out, "password_file = \"\"  # a file that has the password; it is not copied here");
        }
        if let Some(ca) = &self.ca {
            let _ = writeln!(out, "tls = {{ ca = {} }}", text(ca));
        }
        let _ = writeln!(out, "clean_start = {}", self.clean_start);
        for (key, topics, is_out) in [("forward", &self.forward, true), ("subscribe", &self.subscribe, false)]
        {
            let entries = topics.iter().map(|topic| topic.entry(is_out));
            let entries: Vec<String> = entries
                .map(|(filter, to, qos)| {
                    let map = if to == filter { String::new() } else { format!(", to = {}", text(&to)) };
                    format!("{{ filter = {}{map}, qos = {qos} }}", text(&filter))
                })
                .collect();
            if !entries.is_empty() {
                let _ = writeln!(out, "{key} = [{}]", entries.join(", "));
            }
        }
        let why = match draft.block(out) {
            true => "[[bridge]] at the end of the configuration: look through it (docs/MODULES.md)",
            false => {
                "kept as comments at the end of the configuration: this version does not have it in this form"
            }
        };
        draft.note(&self.origin, Fate::Changed, why);
    }
}

impl Topic {
    /// What is taken, what it becomes, and its QoS: prefixes stand before the pattern on either side.
    fn entry(&self, is_out: bool) -> (String, String, u8) {
        let (local, remote) =
            (format!("{}{}", self.local, self.pattern), format!("{}{}", self.remote, self.pattern));
        if is_out { (local, remote, self.qos) } else { (remote, local, self.qos) }
    }
}

/// Words; `""` is an empty one.
fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(|word| if word == "\"\"" { String::new() } else { word.to_owned() }).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_bridge_is_kept_without_its_password() {
        let mut draft = Draft::new(Path::new("m.conf"), None);
        let origin = Origin { place: "m.conf:1".into(), line: "connection up".into() };
        let mut bridge = Bridge::new("up", &origin);
        for (key, value) in [
            ("address", "hub.example backup.example:1884"),
            ("remote_username", "u"),
            ("remote_password", "s3cret"),
            ("topic", "temp/# out 1 home/ site/7/"),
            ("topic", "cmd/# in 2 \"\" site/7/"),
            ("topic", "chat both"),
        ] {
            bridge.set(key, value, &origin, &mut draft);
        }
        bridge.finish(&mut draft);
        let text = draft.to_toml();
        for part in [
            "url = \"mqtt://hub.example:1883\"",
            "# Mosquitto would also try mqtt://backup.example:1884",
            "username = \"u\"",
            "{ filter = \"home/temp/#\", to = \"site/7/temp/#\", qos = 1 }",
            "subscribe = [{ filter = \"site/7/cmd/#\", to = \"cmd/#\", qos = 2 }, { filter = \"chat\", qos = 0 }]",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains("s3cret"), "{text}");
    }
}
