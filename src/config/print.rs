//! The configuration in effect as a TOML document (`myriad check`). It reads back as itself but for secrets, which are
//! not shown; where there are some it says so.

use std::fmt::Write;

use super::keys::{KEYS, Key, LISTENER, LISTENER_KEYS};
use super::redact::{HIDDEN, shown_value};
use super::value::Value;
use super::{Config, repeated};

impl Config {
    /// The whole configuration as TOML: every key, in the order of `myriad.toml`.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        let hides = |key: &&Key<Self>| shown(key.name, (key.read)(self)) != (key.read)(self);
        if KEYS.iter().any(|key| hides(&key)) {
            line(&mut out, format_args!("# {HIDDEN} stands for what may be a secret and is not shown."));
        }
        let mut section = "";
        for key in KEYS {
            if key.section != section {
                if section == "node" {
                    self.print_listeners(&mut out);
                }
                section = key.section;
                line(&mut out, format_args!("[{section}]"));
            }
            line(&mut out, format_args!("{} = {}", key.name, shown(key.name, (key.read)(self))));
        }
        for section in repeated::ALL {
            for entry in (section.entries)(self) {
                line(&mut out, format_args!("[[{}]]", section.name));
                for (name, value) in entry {
                    line(&mut out, format_args!("{name} = {}", shown(name, value)));
                }
            }
        }
        out
    }

    fn print_listeners(&self, out: &mut String) {
        for listener in self.listeners.iter().filter(|listener| !listener.is_internal) {
            line(out, format_args!("[[{LISTENER}]]"));
            for key in LISTENER_KEYS {
                line(out, format_args!("{} = {}", key.name, (key.read)(listener)));
            }
        }
    }
}

/// What is shown of a value.
fn shown(name: &str, value: Value) -> Value {
    match value {
        Value::Text(text) => Value::Text(shown_value(name, &text)),
        other => other,
    }
}

/// Appends a line; one that opens a section has an empty line before it.
fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    let start = out.len();
    // Writing to a String can't fail.
    let _ = writeln!(out, "{text}");
    if start > 0 && out.get(start..).is_some_and(|added| added.starts_with('[')) {
        out.insert(start, '\n');
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_reads_back_as_itself() {
        let text = "node.name = 'a \"b\" \\ 百万'\nnode.shards = 3\nlimits.keep_alive_factor = 1.1\n\
                    mqtt.shared_strategy = 'hash_topic'\n[[listener]]\nurl = 'mqtt://[::]:1'\nallow_anonymous = true\n\
                    [[listener]]\nurl = 'mqtt://127.0.0.1:1'";
        let config = Config::from_toml(text, "a").unwrap();
        assert_ne!(config, Config::default());
        let printed = config.to_toml();
        assert_eq!(Config::from_toml(&printed, "printed").unwrap(), config, "{printed}");
        assert!(printed.contains("keep_alive_factor = 1.1\n"), "{printed}");
    }
    #[test]
    fn what_may_be_a_secret_is_not_printed() {
        let text = "auth.http.auth_req.url = 'http://user:pw1@h/a?key=pw2'\n\
                    auth.http.super_req.params = 'u=%u,key=pw3'";
        let printed = Config::from_toml(text, "a").unwrap().to_toml();
        assert!(printed.starts_with("# *** stands for"), "{printed}");
        assert!(printed.contains("\"http://***@h/a?key=***\""), "{printed}");
        assert!(printed.contains("\"u=%u,key=***\""), "{printed}");
        assert!(!printed.contains("pw"), "{printed}");
        assert!(!Config::default().to_toml().contains("***"));
    }
}
