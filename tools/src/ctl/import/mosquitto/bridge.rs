//! Mosquitto's bridges as Myriad's, at the end of the configuration. Passwords are left out, and tables that this version does not
//! know stand there as comments.

use std::fmt::Write;

use super::super::draft::{Draft, Fate, Origin};

/// A bridge and what was said of it.
#[derive(Debug)]
pub(super) struct Bridge {
    origin: Origin,
    addresses: Vec<String>,
    /// Keys of `[[bridge]]` with their values, in order.
    settings: Vec<(&'static str, toml::Value)>,
    /// Keys of its `tls`.
    tls: toml::Table,
    has_version: bool,
    has_password: bool,
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
            origin: origin.clone(),
            addresses: Vec::new(),
            settings: vec![("name", name.into())],
            tls: toml::Table::new(),
            has_version: false,
            has_password: false,
            forward: Vec::new(),
            subscribe: Vec::new(),
        }
    }

    pub(super) fn set(&mut self, key: &str, value: &str, origin: &Origin, draft: &mut Draft) {
        let mut put = |key, value: toml::Value| self.settings.push((key, value));
        match key {
            "address" | "addresses" => self.addresses = value.split_whitespace().map(str::to_owned).collect(),
            "topic" => return self.topic(value, origin, draft),
            "cleansession" => put("clean_start", (value == "true").into()),
            "clientid" | "remote_clientid" => put("client_id", value.into()),
            "username" | "remote_username" => put("username", value.into()),
            "password" | "remote_password" => {
                self.has_password = true;
                let why = "passwords are not copied: write it into a file, and its name into password_file of the [[bridge]]";
                return draft.note(origin, Fate::Unmapped, why);
            }
            "keepalive_interval" => match value.parse::<i64>() {
                Ok(seconds) => put("keep_alive_s", seconds.into()),
                Err(_) => return draft.note(origin, Fate::Unmapped, "expected seconds"),
            },
            "bridge_protocol_version" => {
                self.has_version = true;
                put("version", if value == "mqttv50" { "5.0" } else { "3.1.1" }.into());
            }
            "bridge_cafile" => drop(self.tls.insert("ca".into(), draft.found(value).into())),
            "bridge_certfile" => drop(self.tls.insert("cert".into(), draft.found(value).into())),
            "bridge_keyfile" => drop(self.tls.insert("key".into(), draft.found(value).into())),
            "bridge_capath" => {
                return draft.note(
                    origin,
                    Fate::Unmapped,
                    "tls.ca takes a file: name one of the folder there",
                );
            }
            "bridge_psk" | "bridge_identity" => {
                return draft.note(origin, Fate::Unmapped, "TLS with pre-shared keys is not in Myriad");
            }
            "bridge_insecure" if value == "false" => return draft.note(origin, Fate::Needless, "it is so"),
            "bridge_insecure" => {
                return draft.note(origin, Fate::Unmapped, "certificates are always checked");
            }
            "start_type" if value == "automatic" => return draft.note(origin, Fate::Needless, "it is so"),
            "try_private" => return draft.note(origin, Fate::Needless, "loops are seen by other means"),
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
        let why = if qos == 2 {
            "in [[bridge]] at the end of the configuration; QoS 2 is passed on with QoS 1"
        } else {
            IN_A_TABLE
        };
        draft.note(origin, Fate::Changed, why);
    }

    /// Adds the table.
    pub(super) fn finish(mut self, draft: &mut Draft) {
        let mut out = format!("# {}: {}\n[[bridge]]\n", self.origin.place, self.origin.line);
        let (scheme, port) = if self.tls.is_empty() { ("mqtt", 1883) } else { ("mqtts", 8883) };
        let mut urls = self.addresses.iter().map(|address| {
            let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            if has_port { format!("{scheme}://{address}") } else { format!("{scheme}://{address}:{port}") }
        });
        self.settings.push(("url", urls.next().unwrap_or_default().into()));
        for other in urls {
            let _ = writeln!(out, "# Mosquitto would also try {other}");
        }
        if self.has_password {
            let _ =
                writeln!(out, "# Its password is not copied: write it into a file that password_file names.");
        }
        if !self.has_version {
            // Mosquitto's default.
            self.settings.push(("version", "3.1.1".into()));
        }
        if !self.tls.is_empty() {
            self.settings.push(("tls", self.tls.into()));
        }
        for (key, topics, is_out) in [("forward", &self.forward, true), ("subscribe", &self.subscribe, false)]
        {
            if !topics.is_empty() {
                let entries: Vec<toml::Value> =
                    topics.iter().map(|topic| topic.entry(is_out).into()).collect();
                self.settings.push((key, entries.into()));
            }
        }
        for (key, value) in &self.settings {
            let _ = writeln!(out, "{key} = {value}");
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
    /// `FILTER qos N [strip PREFIX] [prefix PREFIX]`: what is taken on one side, and what its topics become on the other.
    fn entry(&self, is_out: bool) -> String {
        let (from, to) = if is_out { (&self.local, &self.remote) } else { (&self.remote, &self.local) };
        let mut entry = format!("{from}{} qos {}", self.pattern, self.qos);
        if from != to {
            for (word, prefix) in [("strip", from), ("prefix", to)] {
                if !prefix.is_empty() {
                    let _ = write!(entry, " {word} {prefix}");
                }
            }
        }
        entry
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
            ("bridge_cafile", "/c/ca.pem"),
        ] {
            bridge.set(key, value, &origin, &mut draft);
        }
        bridge.finish(&mut draft);
        let text = draft.to_toml();
        for part in [
            "name = \"up\"\n",
            "url = \"mqtts://hub.example:8883\"",
            "# Mosquitto would also try mqtts://backup.example:1884",
            "username = \"u\"",
            "\"home/temp/# qos 1 strip home/ prefix site/7/\"",
            "subscribe = [\"site/7/cmd/# qos 2 strip site/7/\", \"chat qos 0\"]",
            "version = \"3.1.1\"",
            "tls = { ca = \"/c/ca.pem\" }",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains("s3cret"), "{text}");
    }
}
