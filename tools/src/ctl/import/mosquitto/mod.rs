//! mosquitto.conf, versions 1.4 to 2.1: `lines` reads it, `listener` and `option` say what each line becomes, `acl` and `bridge` have
//! their own files. Here it is put together, with what Mosquitto does where nothing is said.

mod acl;
mod bridge;
mod lines;
mod listener;
mod option;

use std::path::Path;

use anyhow::Result;
use myriad::auth::PasswordFile;

use super::draft::{ANY, Draft, Fate, Origin, count};
use bridge::Bridge;
use listener::Listener;

/// What is known so far.
#[derive(Default)]
struct Mosquitto {
    listeners: Vec<Listener>,
    /// The listener that `port` and `bind_address` make, and options before the first `listener`.
    default: Listener,
    bridges: Vec<Bridge>,
    /// A line that ended what a listener or bridge is.
    allow_anonymous: Option<bool>,
    password_file: Option<(Origin, String)>,
    acl_file: Option<(Origin, String)>,
    per_listener: bool,
    persistence: Option<bool>,
    has_plugin: bool,
}

/// Fills `draft` from the text of a mosquitto.conf.
pub(super) fn import(text: &str, file: &Path, draft: &mut Draft) -> Result<()> {
    let mut state = Mosquitto::default();
    for line in lines::read(text, file, draft)? {
        let origin = line.origin();
        let (key, value) = (line.key.as_str(), line.value.as_str());
        if key == "connection" {
            state.bridges.push(Bridge::new(value, &origin));
        } else if key == "listener" {
            state.listeners.push(Listener::parse(value, &origin, draft));
        } else if let Some(bridge) = state.bridges.last_mut().filter(|_| bridge::is_option(key)) {
            bridge.set(key, value, &origin, draft);
        } else if !state.listener_option(key, value, &origin, draft) {
            option::map(&mut state, key, value, &origin, draft);
        }
    }
    state.finish(draft);
    Ok(())
}

impl Mosquitto {
    /// Whether it was an option of a listener.
    fn listener_option(&mut self, key: &str, value: &str, origin: &Origin, draft: &mut Draft) -> bool {
        let own = self.listeners.last_mut().unwrap_or(&mut self.default);
        own.set(key, value, origin, draft)
    }

    fn finish(mut self, draft: &mut Draft) {
        let has_own = !self.listeners.is_empty();
        if self.default.is_used() {
            self.listeners.insert(0, std::mem::take(&mut self.default));
        }
        self.defaults(draft);
        let order = self.auth(draft);
        let has_auth = !order.is_empty();
        if has_auth {
            let names: Vec<toml::Value> = order.iter().map(|name| (*name).into()).collect();
            draft.put("auth", "order", names, "");
        }
        if self.listeners.is_empty() {
            // Mosquitto 2 then listens on loopback only and admits everybody.
            let mut local = Listener::local();
            local.allow_anonymous = self.allow_anonymous.or(Some(!has_auth));
            self.listeners.push(local);
        }
        for listener in std::mem::take(&mut self.listeners) {
            // Who had to pass a plugin must not come in without it.
            let is_open = has_auth || !self.has_plugin;
            let said = listener.allow_anonymous.or(self.allow_anonymous);
            let anonymous = is_open && said.unwrap_or(!has_own && !has_auth);
            draft.listeners.push(listener.draft(anonymous, has_auth, self.has_plugin, &mut draft.notes));
        }
        if let Some((origin, path)) = self.acl_file.take() {
            acl::import(&origin, &path, has_auth, draft);
        }
        for bridge in self.bridges {
            bridge.finish(draft);
        }
    }

    /// What Mosquitto does where nothing is said, and Myriad does not.
    fn defaults(&self, draft: &mut Draft) {
        if self.persistence != Some(true) {
            draft.put(
                "storage",
                "durability",
                "memory",
                "Mosquitto keeps nothing on disk without persistence true",
            );
        }
        if draft.value("session", "expiry_s").is_none() {
            draft.put(
                "session",
                "expiry_s",
                count(ANY),
                "Mosquitto's sessions never expire without persistent_client_expiration",
            );
        }
        if draft.value("session", "queue_qos0").is_none() {
            draft.put("session", "queue_qos0", false, "Mosquitto's default of queue_qos0_messages");
        }
        draft.remark("Differs by default: packets have at most 1 MiB (limits.packet_bytes_max; Mosquitto: 256 MB), 100 messages are");
        draft.remark("inflight (session.inflight_max; 20), $SYS is below $SYS/brokers/NODE/ every 60 s (sys.interval_s; 10 s).");
    }

    /// The methods of authentication, in their order.
    fn auth(&mut self, draft: &mut Draft) -> Vec<&'static str> {
        let mut order = Vec::new();
        if self.listeners.iter().any(Listener::has_identity) {
            order.push("certificate");
        }
        if let Some((origin, path)) = self.password_file.take() {
            order.push("file");
            let found = draft.find(&path);
            draft.put("auth.file", "path", found.to_string_lossy().into_owned(), &origin.line);
            match std::fs::read_to_string(&found) {
                Err(error) => draft.note(
                    &origin,
                    Fate::Changed,
                    format!("it can't be read here ({error}): put it where auth.file.path says"),
                ),
                Ok(text) => match PasswordFile::parse(&text) {
                    // Hashes of mosquitto_passwd, $6$ and $7$, are read as they are.
                    Ok(_) => draft.note(&origin, Fate::Mapped, ""),
                    Err(error) => draft.note(
                        &origin,
                        Fate::Changed,
                        format!("{}; set that user's password with `myriadctl passwd`", error.of(&path)),
                    ),
                },
            }
        }
        order
    }
}
