//! What becomes of emqttd's options, but for those of listeners.

use myriad::acl::Acl;

use super::super::draft::{ANY, Draft, Fate, count};
use super::conf::{bytes, seconds};
use super::{Emqttd, Entry, in_a_table};

/// How a value is written.
#[derive(Clone, Copy)]
enum Form {
    Flag,
    Count,
    /// 0: the most that 16 bits say.
    Count16OrAny,
    /// `infinity` or 0: no limit.
    CountOrAny,
    Seconds,
    Minutes,
    Bytes,
    Fraction,
    Text,
}

impl Form {
    fn read(self, text: &str) -> Option<toml::Value> {
        let number = || text.parse::<u64>().ok();
        Some(match self {
            Self::Flag => match text {
                "true" | "on" => true.into(),
                "false" | "off" => false.into(),
                _ => return None,
            },
            Self::Count => count(number()?),
            Self::Count16OrAny => {
                count(Some(number()?).filter(|n| (1..65_535).contains(n)).unwrap_or(65_535))
            }
            Self::CountOrAny if text == "infinity" => count(ANY),
            Self::CountOrAny => count(Some(number()?).filter(|n| *n > 0).unwrap_or(ANY)),
            Self::Seconds => count(seconds(text)?.min(ANY)),
            Self::Minutes => count(number()?.saturating_mul(60).min(ANY)),
            Self::Bytes => count(bytes(text)?),
            Self::Fraction => {
                let percent = text.strip_suffix('%').and_then(|n| n.parse::<f64>().ok()).map(|n| n / 100.0);
                percent.or_else(|| text.parse().ok())?.into()
            }
            Self::Text => text.into(),
        })
    }
}

/// Options that have a key like them.
fn simple(key: &str) -> Option<(&'static str, &'static str, Form)> {
    Some(match key {
        "mqtt.packet.max_clientid_len" | "mqtt.max_clientid_len" => {
            ("limits", "client_id_len_max", Form::Count)
        }
        "mqtt.packet.max_packet_size" | "mqtt.max_packet_size" => ("limits", "packet_bytes_max", Form::Bytes),
        "mqtt.client.idle_timeout" => ("limits", "connect_timeout_s", Form::Seconds),
        "mqtt.client.max_publish_rate" => ("limits", "publish_rate", Form::Count),
        "mqtt.session.max_inflight" => ("session", "inflight_max", Form::Count16OrAny),
        "mqtt.session.unack_retry_interval" | "mqtt.session.retry_interval" => {
            ("session", "retry_interval_s", Form::Seconds)
        }
        "mqtt.session.max_awaiting_rel" => ("session", "await_rel_max", Form::Count),
        "mqtt.session.expired_after" => ("session", "expiry_s", Form::Minutes),
        "mqtt.session.expiry_interval" => ("session", "expiry_s", Form::Seconds),
        "mqtt.session.upgrade_qos" => ("mqtt", "upgrade_qos", Form::Flag),
        "mqtt.queue.max_length" | "mqtt.mqueue.max_length" => ("session", "queue_len_max", Form::CountOrAny),
        "mqtt.queue.queue_qos0" | "mqtt.mqueue.store_qos0" => ("session", "queue_qos0", Form::Flag),
        "broker.sys_interval" | "mqtt.broker.sys_interval" => ("sys", "interval_s", Form::Seconds),
        "broker.retained.expired_after" | "retainer.expiry_interval" => {
            ("retained", "expiry_s", Form::Seconds)
        }
        "broker.retained.max_message_num" | "retainer.max_message_num" => {
            ("retained", "count_max", Form::Count)
        }
        "broker.retained.max_playload_size"
        | "broker.retained.max_payload_size"
        | "retainer.max_payload_size" => ("retained", "payload_bytes_max", Form::Bytes),
        "node.name" => ("node", "name", Form::Text),
        "auth.http.auth_req" => ("auth.http.auth_req", "url", Form::Text),
        "auth.http.auth_req.method" => ("auth.http.auth_req", "method", Form::Text),
        "auth.http.auth_req.params" => ("auth.http.auth_req", "params", Form::Text),
        "auth.http.super_req" => ("auth.http.super_req", "url", Form::Text),
        "auth.http.super_req.method" => ("auth.http.super_req", "method", Form::Text),
        "auth.http.super_req.params" => ("auth.http.super_req", "params", Form::Text),
        "auth.http.acl_req" => ("auth.http.acl_req", "url", Form::Text),
        "auth.http.acl_req.method" => ("auth.http.acl_req", "method", Form::Text),
        "auth.http.acl_req.params" => ("auth.http.acl_req", "params", Form::Text),
        _ => return None,
    })
}

/// Keys that this version may not have yet.
fn newer(key: &str) -> Option<(&'static str, &'static str, Form)> {
    Some(match key {
        "mqtt.queue.low_watermark" | "mqtt.mqueue.low_watermark" => {
            ("session", "queue_low_watermark", Form::Fraction)
        }
        "mqtt.queue.high_watermark" | "mqtt.mqueue.high_watermark" => {
            ("session", "queue_high_watermark", Form::Fraction)
        }
        "modules.presence.qos" | "module.presence.qos" => ("sys", "presence_qos", Form::Count),
        _ => return None,
    })
}

/// Of both formats: whether it was one.
fn both(state: &mut Emqttd, entry: &Entry, draft: &mut Draft) -> bool {
    let Entry { key, value, origin } = entry;
    let wrong = |draft: &mut Draft, section: &str, name: &str| {
        draft.note(origin, Fate::Unmapped, format!("{value:?} is not what {section}.{name} takes"));
    };
    if let Some((section, name, form)) = simple(key) {
        match form.read(value) {
            Some(value) => draft.map(origin, section, name, value),
            None => wrong(draft, section, name),
        }
        if key == "auth.http.auth_req" && !state.order.contains(&"http") {
            state.order.push("http");
        }
        return true;
    }
    if let Some((section, name, form)) = newer(key) {
        match form.read(value) {
            Some(value) => draft.map_if_known(origin, section, name, value),
            None => wrong(draft, section, name),
        }
        return true;
    }
    match key.as_str() {
        "access.acl.internal.file" | "mqtt.acl_file" => acl_file(entry, draft),
        "access.acl.internal.nomatch" | "mqtt.acl_nomatch" if matches!(value.as_str(), "allow" | "deny") => {
            draft.map(origin, "acl", "no_match", value.as_str());
        }
        "mqtt.session.max_subscriptions" => match value.parse::<u64>() {
            Ok(0) => draft.map(origin, "limits", "subscriptions_per_session_max", count(ANY)),
            Ok(n) => draft.map(origin, "limits", "subscriptions_per_session_max", count(n)),
            Err(_) => wrong(draft, "limits", "subscriptions_per_session_max"),
        },
        "mqtt.keepalive_backoff" => match value.parse::<f64>() {
            Ok(backoff) => {
                draft.map(origin, "limits", "keep_alive_factor", (backoff * 2.0).clamp(1.0, 100.0))
            }
            Err(_) => wrong(draft, "limits", "keep_alive_factor"),
        },
        _ => return false,
    }
    true
}

/// emqttd's syntax is Myriad's: the file is taken as it is, if it can be read.
fn acl_file(entry: &Entry, draft: &mut Draft) {
    let found = draft.find(&entry.value);
    draft.put("acl", "file", found.to_string_lossy().into_owned(), &entry.origin.line);
    match super::super::read(&found) {
        Err(_) => draft.note(
            &entry.origin,
            Fate::Changed,
            "it is not there: Myriad does not start until acl.file can be read",
        ),
        Ok(text) => match Acl::parse(&text) {
            Ok(_) => draft.note(&entry.origin, Fate::Mapped, ""),
            Err(error) => draft.note(
                &entry.origin,
                Fate::Changed,
                format!("Myriad can't use it as it is: {}:{error}", found.display()),
            ),
        },
    }
}

/// An option of emqttd.config.
pub(super) fn of_terms(state: &mut Emqttd, entry: &Entry, draft: &mut Draft) {
    if both(state, entry, draft) {
        return;
    }
    let Entry { key, value, origin } = entry;
    match key.as_str() {
        "access.auth.anonymous" => {
            state.allow_anonymous = true;
            draft.note(origin, Fate::Mapped, "");
        }
        "access.auth.clientid" => {
            state.order.push("client_id");
            draft.note(origin, Fate::Mapped, "");
        }
        "access.auth.clientid.file" => {
            let found = draft.found(value);
            draft.map(origin, "auth.client_id", "path", found);
        }
        "access.auth.clientid.password" => {
            draft.map(origin, "auth.client_id", "password_required", value == "yes")
        }
        "access.auth.username" => {
            state.has_other_auth = true;
            draft.note(origin, Fate::Unmapped, "its users are in emqttd's database: add them with `myriadctl passwd FILE USER`, then auth.order = [\"file\"]");
        }
        "modules.presence" => draft.note(origin, Fate::Needless, "see sys.presence"),
        "modules.rewrite" => {}
        "modules.rewrite.file" => rewrite_file(entry, draft),
        "modules.subscription" => {}
        "modules.subscription.entry" => subscription(state, entry, draft),
        _ => unlike(state, entry, draft),
    }
}

/// `{"filter", 1}` of module subscription; the atoms `backend` and `stored` have no filter.
fn subscription(state: &mut Emqttd, entry: &Entry, draft: &mut Draft) {
    let inner = entry.value.trim_start_matches('{').trim_end_matches('}');
    match inner.rsplit_once(',') {
        Some((filter, qos)) if filter.trim().starts_with('"') => {
            let filter = filter.trim().trim_matches('"').to_owned();
            let qos = qos.trim().parse::<u8>().unwrap_or(0).min(2);
            state.subscriptions.push((String::new(), Some(filter), qos, entry.origin.clone()));
        }
        _ => draft.note(
            &entry.origin,
            Fate::Unmapped,
            "stored subscriptions: `myriadctl auto-subscriptions add`",
        ),
    }
}

/// `{topic, "x/#", [{rewrite, "^x/y/(.+)$", "z/y/$1"}]}.` of rewrite.config.
fn rewrite_file(entry: &Entry, draft: &mut Draft) {
    let found = draft.find(&entry.value);
    let Ok(text) = super::super::read(&found) else {
        return draft.note(
            &entry.origin,
            Fate::Unmapped,
            "it is not there; its rules are [[rewrite]] of Myriad (docs/MODULES.md)",
        );
    };
    let mut topic = String::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        let texts: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
        if line.starts_with('%') {
            continue;
        }
        if let Some(name) = texts.first().filter(|_| line.starts_with("{topic")) {
            topic = (*name).to_owned();
        }
        let (Some(at), [.., pattern, to]) = (line.find("{rewrite"), texts.as_slice()) else { continue };
        let mut origin = entry.origin.clone();
        origin.place = format!("{}:{}", found.display(), number + 1);
        origin.line = line.get(at..).unwrap_or_default().to_owned();
        rewrite(&topic, &pattern.replace("\\\\", "\\"), to, &origin, draft);
    }
    draft.note(&entry.origin, Fate::Needless, "its rules are listed by themselves");
}

fn rewrite(topic: &str, pattern: &str, to: &str, origin: &super::super::draft::Origin, draft: &mut Draft) {
    let text = |text: &str| toml::Value::from(text).to_string();
    let table =
        format!("[[rewrite]]\ntopic = {}\npattern = {}\nto = {}\n", text(topic), text(pattern), text(to));
    let is_known = draft.block(table);
    in_a_table(draft, origin, is_known, "rewrite");
}

/// An option of emq.conf or of a plugin's file.
pub(super) fn of_conf(state: &mut Emqttd, entry: &Entry, draft: &mut Draft) {
    if both(state, entry, draft) {
        return;
    }
    let Entry { key, value, origin } = entry;
    let is_on = matches!(value.as_str(), "on" | "true");
    match key.as_str() {
        "mqtt.allow_anonymous" => {
            state.allow_anonymous = is_on;
            draft.note(origin, Fate::Mapped, "");
        }
        "mqtt.cache_acl" => draft.note(
            origin,
            Fate::Needless,
            "a connection remembers its last decisions until the rules change",
        ),
        "module.presence" => draft.map_if_known(origin, "sys", "presence", is_on),
        "log.console.level" | "log.level" => match value.as_str() {
            "debug" | "info" | "error" => draft.map(origin, "log", "level", value.as_str()),
            "notice" => draft.map(origin, "log", "level", "info"),
            "warning" => draft.map(origin, "log", "level", "warn"),
            _ => draft.map(origin, "log", "level", "error"),
        },
        "module.subscription" | "module.rewrite" => {
            draft.note(origin, Fate::Needless, "its rules are listed by themselves")
        }
        _ if key.starts_with("module.subscription.") => numbered_subscription(state, entry),
        _ if key.starts_with("module.rewrite.rule.") => {
            let words: Vec<&str> = value.split_whitespace().collect();
            match words.as_slice() {
                [topic, pattern, to] => rewrite(topic, pattern, to, origin, draft),
                _ => draft.note(origin, Fate::Unmapped, "expected FILTER PATTERN TOPIC"),
            }
        }
        _ => unlike(state, entry, draft),
    }
}

/// `module.subscription.1.topic` and `.qos`.
fn numbered_subscription(state: &mut Emqttd, entry: &Entry) {
    let rest = entry.key.strip_prefix("module.subscription.").unwrap_or_default();
    let (number, field) = rest.split_once('.').unwrap_or((rest, ""));
    let place = state.subscriptions.iter().position(|(known, ..)| known == number);
    let place = place.unwrap_or_else(|| {
        state.subscriptions.push((number.into(), None, 0, entry.origin.clone()));
        state.subscriptions.len() - 1
    });
    if let Some((_, topic, qos, _)) = state.subscriptions.get_mut(place) {
        match field {
            "topic" => *topic = Some(entry.value.clone()),
            _ => *qos = entry.value.parse().unwrap_or(0).min(2),
        }
    }
}

/// Options without a key like them: not needed, or not there.
fn unlike(state: &mut Emqttd, entry: &Entry, draft: &mut Draft) {
    let key = entry.key.as_str();
    let is = |prefixes: &[&str]| prefixes.iter().any(|prefix| key.starts_with(prefix));
    let (fate, why) = match key {
        _ if is(&["mqtt.session.await_rel_timeout"]) => (
            Fate::Unmapped,
            "a QoS 2 message waits for its release as long as its session lives; session.await_rel_max bounds how many",
        ),
        _ if is(&[
            "mqtt.session.collect_interval",
            "mqtt.session.enable_stats",
            "mqtt.client.enable_stats",
            "mqtt.conn.force_gc_count",
            "mqtt.session.force_gc_count",
        ]) =>
        {
            (Fate::Needless, "statistics are always there, and there is no garbage to collect")
        }
        _ if is(&["mqtt.session.ignore_loop_deliver"]) => {
            (Fate::Unmapped, "MQTT 5.0 clients say it themselves: No Local")
        }
        "mqtt.queue.type" | "mqtt.mqueue.type" if entry.value == "simple" => (Fate::Needless, "it is so"),
        _ if is(&["mqtt.queue.type", "mqtt.queue.priority", "mqtt.mqueue."]) => {
            (Fate::Unmapped, "queues have no priorities in this version")
        }
        _ if is(&["broker.pubsub", "mqtt.pubsub", "mqtt.broker.", "mqtt.websocket"]) => {
            (Fate::Needless, "shards need no pools and no ageing of routes")
        }
        _ if is(&["broker.bridge", "mqtt.bridge", "bridge."]) => {
            (Fate::Unmapped, "bridges are [[bridge]] of Myriad, to any MQTT broker (docs/MODULES.md)")
        }
        _ if is(&["plugins", "mqtt.plugins"]) => (
            Fate::Unmapped,
            "Myriad has no plugins: what the common ones do is built in; import their files too",
        ),
        _ if is(&["cluster.", "node.", "application.kernel"]) => {
            (Fate::Needless, "it belongs to Erlang's nodes; Myriad's shards are threads of one process")
        }
        _ if is(&["sysmon", "application.os_mon", "vm."]) => {
            (Fate::Needless, "see slow_turns and the other metrics of $SYS, and `myriadctl alarms`")
        }
        _ if is(&["log.", "application.lager", "application.sasl"]) => {
            (Fate::Needless, "see [log]; systemd's journal keeps and rotates")
        }
        _ if is(&["application."]) => (Fate::Needless, "it belongs to Erlang"),
        _ if is(&["auth.user.", "auth.username."]) => {
            state.has_other_auth = true;
            (
                Fate::Unmapped,
                "add each user with `myriadctl passwd FILE USER`, then auth.order = [\"file\"] and auth.file.path",
            )
        }
        _ if is(&["auth.client."]) => {
            state.has_other_auth = true;
            (Fate::Unmapped, "write the Client Identifiers into a file, a line each: auth.client_id.path")
        }
        _ if is(&["auth.jwt."]) => {
            state.has_other_auth = true;
            (Fate::Unmapped, "auth.order = [\"jwt\"]; the secret belongs into a file: auth.jwt.secret_file")
        }
        _ if is(&["auth.", "access.auth."]) => {
            state.has_other_auth = true;
            (Fate::Unmapped, "Myriad asks no database: auth.http asks a small server of your own that does")
        }
        _ => (Fate::Unmapped, "Myriad has nothing of this name"),
    };
    draft.note(&entry.origin, fate, why);
}
