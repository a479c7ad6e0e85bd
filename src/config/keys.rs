//! The table of every key of the file: the form of its value, where it is kept, and whether a reload can change it.
//! Reading, `--set`, printing, reloading and the check of `myriad.toml` all walk this table, so that a key exists
//! once.

use super::value::{Field, Form, Value};
use super::{
    CertificateField, Config, Delayed, Durability, HttpMethod, Listener, LogFormat, LogTarget, NoMatch,
    OnError, SharedStrategy, TlsVersion, TokenFrom, repeated,
};

/// When a changed value has effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// At a reload.
    Live,
    /// After a restart.
    Restart,
}

/// A key of the structure `S`. A table in a section is written out: the key `cert` of `tls` is the key `tls.cert`.
pub(super) struct Key<S> {
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    pub(super) form: Form,
    pub(super) change: Change,
    pub(super) read: fn(&S) -> Value,
    write: fn(&mut S, Value) -> bool,
}

impl<S> Key<S> {
    /// A key of `section` with that name.
    pub(super) const fn new(
        (section, name): (&'static str, &'static str),
        form: Form,
        change: Change,
        read: fn(&S) -> Value,
        write: fn(&mut S, Value) -> bool,
    ) -> Self {
        Self { section, name, form, change, read, write }
    }

    /// `section.name`, as `--set` takes it.
    pub(super) fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// Stores `value` in `into`, if it has this key's form.
    ///
    /// # Errors
    /// What was expected instead.
    pub(super) fn store(&self, into: &mut S, value: Value) -> Result<(), String> {
        let expected = |problem| match super::redact::may_be_secret(self.name) {
            true => format!("expected {}", self.form),
            false => problem,
        };
        let value = self.form.resolve(value).map_err(expected)?;
        if (self.write)(into, value) { Ok(()) } else { Err(format!("expected {}", self.form)) }
    }
}

macro_rules! key {
    ($section:ident.$name:ident$(.$more:ident)*, $form:expr, $change:ident) => {
        Key {
            section: stringify!($section),
            name: concat!(stringify!($name) $(, ".", stringify!($more))*),
            form: $form,
            change: Change::$change,
            read: |config: &Config| config.$section.$name$(.$more)*.to_value(),
            write: |config: &mut Config, value| {
                Field::from_value(value).map(|value| config.$section.$name$(.$more)* = value).is_some()
            },
        }
    };
    (listener: $name:ident$(.$more:ident)*, $form:expr) => {
        key!(listener: $name$(.$more)*, $form, Restart)
    };
    (listener: $name:ident$(.$more:ident)*, $form:expr, $change:ident) => {
        Key {
            section: LISTENER,
            name: concat!(stringify!($name) $(, ".", stringify!($more))*),
            form: $form,
            change: Change::$change,
            read: |listener: &Listener| listener.$name$(.$more)*.to_value(),
            write: |listener: &mut Listener, value| {
                Field::from_value(value).map(|value| listener.$name$(.$more)* = value).is_some()
            },
        }
    };
}

/// The section that may be there more than once.
pub(super) const LISTENER: &str = "listener";

/// More seconds than a Session Expiry Interval can say (MQTT 5.0, 3.1.2.11.2): "does not expire".
const ANY: u32 = u32::MAX;

/// A record's slot in a ring has 24 bits (`shards`), and one of the values is spare.
const CONNECTIONS_MAX: u32 = (1 << 24) - 1;

/// The fixed header (1 byte and 4 of Remaining Length) and the largest Remaining Length (MQTT 5.0, 1.5.5).
const PACKET_BYTES_MAX: u32 = 5 + 268_435_455;

/// The largest Client Identifier that every server must take has 23 bytes [MQTT-3.1.3-5].
const CLIENT_ID_LEN: (u32, u32) = (23, 65_535);

/// Every key but those of `[[listener]]`, in the order of `myriad.toml`.
pub(super) static KEYS: &[Key<Config>] = &[
    key!(node.name, Form::Text, Restart),
    key!(node.data_dir, Form::Text, Restart),
    key!(node.shards, Form::Shards(1024), Restart),
    key!(node.cpu_pinning, Form::Flag, Restart),
    key!(node.control_socket, Form::Flag, Restart),
    key!(limits.packet_bytes_max, Form::Bytes(128, PACKET_BYTES_MAX), Live),
    key!(limits.client_id_len_max, Form::Count(CLIENT_ID_LEN.0, CLIENT_ID_LEN.1), Live),
    key!(limits.topic_levels_max, Form::Count(1, 65_535), Live),
    key!(limits.topic_len_max, Form::Bytes(1, 65_535), Live),
    key!(limits.connect_timeout_s, Form::Seconds(1, 3600), Live),
    key!(limits.keep_alive_s_max, Form::Seconds(0, 65_535), Live),
    key!(limits.keep_alive_factor, Form::Factor(1.0, 100.0), Live),
    key!(limits.receive_max, Form::Count(1, 65_535), Live),
    key!(limits.topic_alias_max, Form::Count(0, 65_535), Live),
    key!(limits.subscriptions_per_session_max, Form::Count(1, u32::MAX), Live),
    key!(limits.subscriptions_expected, Form::Count(1, 100_000_000), Restart),
    key!(limits.outbound_bytes, Form::Bytes(4096, 1 << 30), Live),
    key!(limits.max_connections, Form::Count(1, CONNECTIONS_MAX), Restart),
    key!(limits.connections_per_address_max, Form::Count(0, u32::MAX), Live),
    key!(limits.publish_rate, Form::Count(0, u32::MAX), Live),
    key!(limits.publish_burst, Form::Count(0, u32::MAX), Live),
    key!(limits.bytes_rate, Form::Bytes(0, u32::MAX), Live),
    key!(limits.bytes_burst, Form::Bytes(0, u32::MAX), Live),
    key!(limits.ban_failures, Form::Count(0, u32::MAX), Live),
    key!(limits.ban_connects, Form::Count(0, u32::MAX), Live),
    key!(limits.ban_window_s, Form::Seconds(1, 86_400), Live),
    key!(limits.ban_s, Form::Seconds(1, ANY), Live),
    key!(limits.memory_max, Form::Size, Live),
    key!(session.expiry_s, Form::Seconds(0, ANY), Live),
    key!(session.expiry_s_max, Form::Seconds(0, ANY), Live),
    key!(session.inflight_max, Form::Count(1, 65_535), Live),
    key!(session.retry_interval_s, Form::Seconds(0, 86_400), Live),
    key!(session.await_rel_max, Form::Count(0, 65_535), Live),
    key!(session.queue_len_max, Form::Count(1, u32::MAX), Live),
    key!(session.queue_qos0, Form::Flag, Live),
    key!(session.queue_high_watermark, Form::Factor(0.0, 1.0), Live),
    key!(session.queue_low_watermark, Form::Factor(0.0, 1.0), Live),
    key!(mqtt.qos_max, Form::Count(0, 2), Live),
    key!(mqtt.retain_available, Form::Flag, Live),
    key!(mqtt.wildcard_available, Form::Flag, Live),
    key!(mqtt.shared_available, Form::Flag, Live),
    key!(mqtt.upgrade_qos, Form::Flag, Live),
    key!(mqtt.shared_strategy, Form::Choice(&SharedStrategy::NAMES), Live),
    key!(retained.count_max, Form::Count(0, u32::MAX), Live),
    key!(retained.payload_bytes_max, Form::Bytes(0, PACKET_BYTES_MAX), Live),
    key!(retained.expiry_s, Form::Seconds(0, ANY), Live),
    key!(delayed.count_max, Form::Count(0, 10_000_000), Live),
    key!(delayed.bytes_max, Form::Size, Live),
    key!(delayed.delay_s_max, Form::Seconds(1, Delayed::DELAY_S_MAX), Live),
    key!(auth.order, Form::Texts, Live),
    key!(auth.threads, Form::Count(1, 64), Restart),
    key!(auth.queue_len_max, Form::Count(1, 1_000_000), Restart),
    key!(auth.timeout_s, Form::Seconds(1, 300), Live),
    key!(auth.cache_len_max, Form::Count(0, 100_000_000), Live),
    key!(auth.cache_s, Form::Seconds(0, 604_800), Live),
    key!(auth.file.path, Form::Text, Live),
    key!(auth.file.rules, Form::Text, Live),
    key!(auth.client_id.path, Form::Text, Live),
    key!(auth.client_id.password_required, Form::Flag, Live),
    key!(auth.jwt.from, Form::Choice(&TokenFrom::NAMES), Live),
    key!(auth.jwt.secret_file, Form::Text, Live),
    key!(auth.jwt.public_key, Form::Text, Live),
    key!(auth.jwt.jwks, Form::Text, Live),
    key!(auth.jwt.issuer, Form::Text, Live),
    key!(auth.jwt.audience, Form::Text, Live),
    key!(auth.jwt.leeway_s, Form::Seconds(0, 3600), Live),
    key!(auth.jwt.expiry_required, Form::Flag, Live),
    key!(auth.jwt.username_claim, Form::Text, Live),
    key!(auth.jwt.client_id_claim, Form::Text, Live),
    key!(auth.jwt.acl_claim, Form::Text, Live),
    key!(auth.jwt.superuser_claim, Form::Text, Live),
    key!(auth.jwt.mountpoint_claim, Form::Text, Live),
    key!(auth.jwt.quota_claim, Form::Text, Live),
    key!(auth.http.auth_req.method, Form::Choice(&HttpMethod::NAMES), Live),
    key!(auth.http.auth_req.url, Form::Text, Live),
    key!(auth.http.auth_req.params, Form::Text, Live),
    key!(auth.http.super_req.method, Form::Choice(&HttpMethod::NAMES), Live),
    key!(auth.http.super_req.url, Form::Text, Live),
    key!(auth.http.super_req.params, Form::Text, Live),
    key!(auth.http.acl_req.method, Form::Choice(&HttpMethod::NAMES), Live),
    key!(auth.http.acl_req.url, Form::Text, Live),
    key!(auth.http.acl_req.params, Form::Text, Live),
    key!(auth.http.on_error, Form::Choice(&OnError::NAMES), Live),
    key!(auth.http.connect_timeout_ms, Form::Count(1, 60_000), Live),
    key!(auth.http.timeout_ms, Form::Count(1, 60_000), Live),
    key!(auth.http.connections_max, Form::Count(1, 256), Restart),
    key!(auth.http.cache_s, Form::Seconds(0, 604_800), Live),
    key!(auth.http.ca, Form::Text, Live),
    key!(auth.scram.path, Form::Text, Live),
    key!(auth.scram.rules, Form::Text, Live),
    key!(storage.durability, Form::Choice(&Durability::NAMES), Restart),
    key!(storage.interval_ms, Form::Count(1, 60_000), Restart),
    key!(storage.segment_bytes, Form::Bytes(65_536, 1 << 30), Restart),
    key!(storage.backlog_bytes, Form::Bytes(65_536, 1 << 30), Restart),
    key!(storage.will_grace_s, Form::Seconds(0, 86_400), Restart),
    key!(storage.will_rate, Form::Count(1, 1_000_000), Restart),
    key!(storage.accept_damage, Form::Flag, Restart),
    key!(sys.interval_s, Form::Seconds(0, 86_400), Live),
    key!(sys.prefix, Form::Text, Live),
    key!(sys.presence, Form::Flag, Live),
    key!(sys.presence_qos, Form::Count(0, 2), Live),
    key!(quota.connections_max, Form::Count(0, u32::MAX), Live),
    key!(quota.sessions_max, Form::Count(0, u32::MAX), Live),
    key!(quota.subscriptions_max, Form::Count(0, u32::MAX), Live),
    key!(quota.retained_max, Form::Count(0, u32::MAX), Live),
    key!(quota.publish_rate, Form::Count(0, u32::MAX), Live),
    key!(acl.file, Form::Text, Live),
    key!(acl.no_match, Form::Choice(&NoMatch::NAMES), Live),
    key!(acl.on_error, Form::Choice(&OnError::NAMES), Live),
    key!(acl.cache_s, Form::Seconds(0, 86_400), Live),
    key!(admin.listen, Form::Text, Restart),
    key!(admin.allow_plain, Form::Flag, Restart),
    key!(admin.users_file, Form::Text, Restart),
    key!(admin.session_s, Form::Seconds(60, 31_536_000), Live),
    key!(admin.metrics_open, Form::Flag, Live),
    key!(log.level, Form::LogLevel, Live),
    key!(log.audit, Form::Flag, Live),
    key!(log.target, Form::Choice(&LogTarget::NAMES), Restart),
    key!(log.file, Form::Text, Restart),
    key!(log.rotate_bytes, Form::Bytes(4096, 1 << 30), Restart),
    key!(log.keep, Form::Count(0, 1000), Restart),
    key!(log.format, Form::Choice(&LogFormat::NAMES), Restart),
];

/// Every key of a `[[listener]]`.
pub(super) static LISTENER_KEYS: &[Key<Listener>] = &[
    key!(listener: url, Form::Url),
    key!(listener: max_connections, Form::Count(1, CONNECTIONS_MAX)),
    key!(listener: allow_anonymous, Form::Flag),
    key!(listener: backlog, Form::Count(1, 65_535)),
    key!(listener: connect_rate, Form::Count(0, u32::MAX)),
    key!(listener: bytes_rate, Form::Bytes(0, u32::MAX)),
    key!(listener: mountpoint, Form::Text),
    key!(listener: access, Form::Access, Live),
    key!(listener: proxy_protocol, Form::Flag),
    key!(listener: trusted, Form::Networks, Live),
    key!(listener: origins, Form::Texts, Live),
    key!(listener: unix_mode, Form::Mode),
    key!(listener: tls.cert, Form::Texts),
    key!(listener: tls.key, Form::Texts),
    key!(listener: tls.ca, Form::Texts),
    key!(listener: tls.crl, Form::Texts),
    key!(listener: tls.require_client_cert, Form::Flag),
    key!(listener: tls.username_from, Form::Choice(&CertificateField::NAMES)),
    key!(listener: tls.client_id_from, Form::Choice(&CertificateField::NAMES)),
    key!(listener: tls.min_version, Form::Choice(&TlsVersion::NAMES)),
    key!(listener: tls.reload_s, Form::Seconds(0, 86_400)),
];

/// What the design names and this version lacks: whole sections, then keys.
const LATER: [&str; 2] = ["cluster", "session.queue_priorities"];

/// The key `section.name`, other than a listener's.
pub(super) fn find(section: &str, name: &str) -> Option<&'static Key<Config>> {
    KEYS.iter().find(|key| key.section == section && key.name == name)
}

/// The key `name` of a listener.
pub(super) fn find_of_listener(name: &str) -> Option<&'static Key<Listener>> {
    LISTENER_KEYS.iter().find(|key| key.name == name)
}

/// `name` is a section, those that may be there more than once among them.
pub(super) fn is_section(name: &str) -> bool {
    all_names().any(|(section, _)| section == name)
}

/// Section and name of every key.
fn all_names() -> impl Iterator<Item = (&'static str, &'static str)> {
    let listener = LISTENER_KEYS.iter().map(|key| (key.section, key.name));
    let repeated = repeated::ALL
        .iter()
        .flat_map(|section| (section.keys)().into_iter().map(|name| (section.name, name)));
    KEYS.iter().map(|key| (key.section, key.name)).chain(listener).chain(repeated)
}

/// What to say of an unknown section.
pub(super) fn unknown_section(section: &str) -> String {
    if LATER.contains(&section) {
        return format!("section `{section}` is not in this version of Myriad");
    }
    let nearest = all_names().map(|(s, _)| s).min_by_key(|s| strsim::damerau_levenshtein(section, s));
    format!("unknown section `{section}`; the nearest known one is `{}`", nearest.unwrap_or_default())
}

/// What to say of an unknown key; `section` is empty where none was given.
pub(super) fn unknown_key(section: &str, name: &str) -> String {
    let path = if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") };
    if LATER.contains(&path.as_str()) || LATER.contains(&section) {
        return format!("`{path}` is not in this version of Myriad");
    }
    // A right name in a wrong section is nearer than a wrong name in the right one.
    let distance = |&(s, n): &(&str, &str)| {
        let of_section = if section.is_empty() { 0 } else { strsim::damerau_levenshtein(section, s) };
        3 * strsim::damerau_levenshtein(name, n) + of_section
    };
    let (s, n) = all_names().min_by_key(distance).unwrap_or_default();
    format!("unknown key `{path}`; the nearest known one is `{s}.{n}`")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The ends of a form's range.
    fn ends(form: Form) -> Vec<Value> {
        match form {
            Form::Count(a, b) | Form::Seconds(a, b) | Form::Bytes(a, b) => {
                vec![Value::Integer(i64::from(a)), Value::Integer(i64::from(b))]
            }
            Form::Factor(a, b) => vec![Value::Float(a), Value::Float(b)],
            Form::Shards(max) => {
                vec![Value::Text("auto".into()), Value::Integer(1), Value::Integer(i64::from(max))]
            }
            Form::Choice(names) => names.iter().map(|name| Value::Text((*name).into())).collect(),
            Form::Flag => vec![Value::Flag(true), Value::Flag(false)],
            Form::Size => vec![Value::Integer(0), Value::Integer(i64::MAX)],
            Form::Texts => vec![Value::Texts(Vec::new()), Value::Texts(vec!["a".into(), "b".into()])],
            Form::Access => vec![Value::Texts(vec!["deny all".into()]), Value::Texts(Vec::new())],
            Form::Networks => vec![Value::Texts(vec!["10.0.0.0/8".into()]), Value::Texts(Vec::new())],
            Form::Mode => vec![Value::Text("0600".into())],
            Form::Text | Form::Url | Form::LogLevel => Vec::new(),
        }
    }

    #[test]
    fn every_value_of_a_form_fits_its_field_and_comes_back() {
        let mut config = Config::default();
        for key in KEYS {
            for value in ends(key.form) {
                key.store(&mut config, value.clone()).unwrap();
                assert_eq!((key.read)(&config), value, "{}", key.path());
            }
        }
        let mut listener = Listener::default();
        for key in LISTENER_KEYS {
            for value in ends(key.form) {
                key.store(&mut listener, value.clone()).unwrap();
                assert_eq!((key.read)(&listener), value, "{}", key.path());
            }
        }
    }

    #[test]
    fn every_default_is_within_its_own_range() {
        let mut config = Config::default();
        for key in KEYS {
            let value = (key.read)(&config);
            key.store(&mut config, value).unwrap();
        }
        assert_eq!(config, Config::default());
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let nearest =
            |section, name| unknown_key(section, name).split('`').nth(3).unwrap_or_default().to_owned();
        assert_eq!(nearest("session", "queue_len"), "session.queue_len_max");
        assert_eq!(nearest("limits", "queue_qos"), "session.queue_qos0");
        assert_eq!(nearest("limit", "recieve_max"), "limits.receive_max");
        assert_eq!(nearest("", "shard"), "node.shards");
        assert_eq!(nearest("listener", "max_conections"), "listener.max_connections");
        assert_eq!(nearest("limits", "max_conections"), "limits.max_connections");
        assert!(unknown_section("limit").ends_with("`limits`"));
    }

    #[test]
    fn what_comes_later_is_not_called_unknown() {
        for (section, name) in [("cluster", "nats"), ("session", "queue_priorities")] {
            assert!(
                unknown_key(section, name).ends_with("not in this version of Myriad"),
                "{section}.{name}"
            );
        }
        assert!(unknown_section("cluster").ends_with("not in this version of Myriad"));
    }
}
