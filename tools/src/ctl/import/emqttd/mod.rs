//! emqttd: 0.x and 1.x in Erlang terms (`terms`), 2.x as `key = value` (`conf`). Both become options with dotted names, values as text and
//! places; `option` and `listener` say what each becomes.

mod conf;
mod listener;
mod option;
mod terms;

use std::path::Path;

use anyhow::{Context, Result};

use super::draft::{Draft, Fate, Origin};
use listener::Listener;

/// An option of emqttd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Dotted: `mqtt.session.max_inflight`.
    key: String,
    value: String,
    origin: Origin,
}

/// What is known so far.
#[derive(Debug, Default)]
struct Emqttd {
    listeners: Vec<Listener>,
    /// Clients without credentials come in.
    allow_anonymous: bool,
    /// Methods of authentication, in their order.
    order: Vec<&'static str>,
    /// A method that Myriad does not have.
    has_other_auth: bool,
    /// Static subscriptions: number, topic, QoS.
    subscriptions: Vec<(String, Option<String>, u8, Origin)>,
}

/// Fills `draft` from the text of an emqttd.config.
pub(super) fn import_terms(text: &str, file: &Path, draft: &mut Draft) -> Result<()> {
    let name = file.display().to_string();
    let entries = terms::entries(text, &name).with_context(|| name.clone())?;
    let mut state = Emqttd::default();
    for entry in &entries {
        state.take(entry, draft, option::of_terms);
    }
    state.finish(draft);
    Ok(())
}

/// Fills `draft` from the text of an emq.conf.
pub(super) fn import_conf(text: &str, file: &Path, draft: &mut Draft) {
    // It is emqttd's default.
    let mut state = Emqttd { allow_anonymous: true, ..Emqttd::default() };
    for entry in &conf::entries(text, &file.display().to_string(), draft) {
        state.take(entry, draft, option::of_conf);
    }
    state.finish(draft);
}

impl Emqttd {
    fn take(&mut self, entry: &Entry, draft: &mut Draft, map: fn(&mut Self, &Entry, &mut Draft)) {
        match entry.key.strip_prefix("listener.") {
            Some(rest) => {
                let mut parts = rest.splitn(3, '.');
                let (protocol, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
                let place = self.listeners.iter().position(|known| known.is(protocol, name));
                let place = place.unwrap_or_else(|| {
                    self.listeners.push(Listener::new(protocol, name));
                    self.listeners.len() - 1
                });
                if let Some(listener) = self.listeners.get_mut(place) {
                    listener.set(parts.next().unwrap_or_default(), entry, draft);
                }
            }
            None => map(self, entry, draft),
        }
    }

    fn finish(mut self, draft: &mut Draft) {
        if self.listeners.iter().any(Listener::has_identity) {
            self.order.insert(0, "certificate");
        }
        let has_auth = !self.order.is_empty();
        if has_auth {
            let names: Vec<toml::Value> = self.order.iter().map(|name| (*name).into()).collect();
            draft.put("auth", "order", names, "");
        }
        // Who had to show credentials to a plugin must not come in without any.
        let anonymous = self.allow_anonymous && !self.has_other_auth;
        for listener in std::mem::take(&mut self.listeners) {
            listener.finish(anonymous, has_auth, draft);
        }
        for (_, topic, qos, origin) in std::mem::take(&mut self.subscriptions) {
            let Some(topic) = topic else {
                draft.note(&origin, Fate::Unmapped, "the topic of this subscription is missing");
                continue;
            };
            let filter = toml::Value::from(placeholders(&topic));
            let is_known =
                draft.block(format!("# {}\n[[subscription]]\nfilter = {filter}\nqos = {qos}\n", origin.line));
            in_a_table(draft, &origin, is_known, "subscription");
        }
        draft.remark("Differs: a client is silent for 1.5 times its Keep Alive before it is closed (emqttd 1.x: 1.25), a taken-over");
        draft.remark("connection's Will is published, SUBACK answers each filter by itself, and sessions outlive a restart.");
    }
}

/// Older files write `$c` and `$u`; levels such as `$client` are no placeholders.
fn placeholders(topic: &str) -> String {
    let level = |level: &str| match level {
        "$c" => "%c".to_owned(),
        "$u" => "%u".to_owned(),
        other => other.to_owned(),
    };
    topic.split('/').map(level).collect::<Vec<_>>().join("/")
}

/// Says that an option stands in a table at the end.
fn in_a_table(draft: &mut Draft, origin: &Origin, is_known: bool, table: &str) {
    match is_known {
        true => draft.note(origin, Fate::Mapped, ""),
        false => draft.note(
            origin,
            Fate::Unmapped,
            format!("kept as comments at the end of the configuration: this version has no [[{table}]] in this form"),
        ),
    }
}
