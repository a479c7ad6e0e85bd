//! What belongs to the whole of Mosquitto: one arm an option, in the order of its manual page.

use super::super::draft::{ANY, Draft, Fate, Origin, count};
use super::Mosquitto;

/// Bytes that a packet has besides its payload: the longest topic, some properties.
const BESIDE_PAYLOAD: u64 = 128 * 1024;

/// The largest packet that MQTT has.
const PACKET_MAX: u64 = 268_435_460;

/// Says what becomes of an option.
pub(super) fn map(state: &mut Mosquitto, key: &str, value: &str, origin: &Origin, draft: &mut Draft) {
    let yes = value == "true" || value == "1";
    let number = value.parse::<u64>().ok();
    if let Some((section, name, form)) = simple(key) {
        return match form.read(value) {
            Some(value) => draft.map(origin, section, name, value),
            None => {
                draft.note(origin, Fate::Unmapped, format!("{value:?} is not what {section}.{name} takes"))
            }
        };
    }
    match key {
        "allow_anonymous" => {
            match state.listeners.last_mut().filter(|_| state.per_listener) {
                Some(listener) => listener.allow_anonymous = Some(yes),
                None => state.allow_anonymous = Some(yes),
            }
            draft.note(origin, Fate::Mapped, "");
        }
        "per_listener_settings" if yes => {
            state.per_listener = true;
            draft.note(
                origin,
                Fate::Changed,
                "[auth] and [acl] hold for all listeners: the last password_file and acl_file are taken",
            );
        }
        "per_listener_settings" => draft.note(origin, Fate::Needless, "that is so"),
        "password_file" => state.password_file = Some((origin.clone(), value.into())),
        "acl_file" => state.acl_file = Some((origin.clone(), value.into())),
        "persistence" => {
            state.persistence = Some(yes);
            draft.note(origin, Fate::Mapped, "");
        }
        "message_size_limit" => match number {
            Some(0) => draft.map(origin, "limits", "packet_bytes_max", count(PACKET_MAX)),
            Some(n) => {
                draft.put(
                    "limits",
                    "packet_bytes_max",
                    count((n + BESIDE_PAYLOAD).min(PACKET_MAX)),
                    &origin.line,
                );
                draft.note(
                    origin,
                    Fate::Changed,
                    "Myriad limits whole packets: 128 KiB are added for topic and properties",
                );
            }
            None => draft.note(origin, Fate::Unmapped, "expected a number of bytes"),
        },
        "max_qos" => {
            draft.put("mqtt", "qos_max", count(number.unwrap_or(2).min(2)), &origin.line);
            draft.note(origin, Fate::Changed, "it holds for the whole broker, not for one listener");
        }
        "log_type" => log_type(value, origin, draft),
        _ => nothing_like_it(state, key, value, origin, draft),
    }
}

/// How a value is written.
#[derive(Clone, Copy)]
enum Form {
    Flag,
    Count,
    /// 0: no limit.
    CountOrAny,
    /// 0: the most that 16 bits say.
    Count16OrAny,
    /// 0: the largest that there is.
    PacketOrAny,
    /// `14d`, `1m` is a month.
    Period,
}

impl Form {
    fn read(self, value: &str) -> Option<toml::Value> {
        let number = || value.parse::<u64>().ok();
        Some(match self {
            Self::Flag => toml::Value::Boolean(matches!(value, "true" | "1")),
            Self::Count => count(number()?),
            Self::CountOrAny => count(Some(number()?).filter(|n| *n > 0).unwrap_or(ANY)),
            Self::Count16OrAny => {
                count(Some(number()?).filter(|n| (1..65_535).contains(n)).unwrap_or(65_535))
            }
            Self::PacketOrAny => count(Some(number()?).filter(|n| *n > 0).unwrap_or(PACKET_MAX)),
            Self::Period => count(period(value)?),
        })
    }
}

/// Options that have a key like them.
fn simple(key: &str) -> Option<(&'static str, &'static str, Form)> {
    Some(match key {
        "max_inflight_messages" => ("session", "inflight_max", Form::Count16OrAny),
        "max_keepalive" => ("limits", "keep_alive_s_max", Form::Count),
        "max_packet_size" => ("limits", "packet_bytes_max", Form::PacketOrAny),
        "max_queued_messages" => ("session", "queue_len_max", Form::CountOrAny),
        "max_topic_alias" => ("limits", "topic_alias_max", Form::Count),
        "memory_limit" => ("limits", "memory_max", Form::Count),
        "global_max_connections" | "global_max_clients" => ("limits", "max_connections", Form::Count),
        "persistent_client_expiration" => ("session", "expiry_s", Form::Period),
        "queue_qos0_messages" => ("session", "queue_qos0", Form::Flag),
        "retain_available" => ("mqtt", "retain_available", Form::Flag),
        "sys_interval" => ("sys", "interval_s", Form::Count),
        "upgrade_outgoing_qos" => ("mqtt", "upgrade_qos", Form::Flag),
        "connection_messages" => ("log", "audit", Form::Flag),
        _ => return None,
    })
}

/// A duration of `persistent_client_expiration`: a number and h, d, w, m (month) or y.
fn period(text: &str) -> Option<u64> {
    let unit = text.chars().next_back()?;
    let hours = match unit {
        'h' => 1,
        'd' => 24,
        'w' => 24 * 7,
        'm' => 24 * 30,
        'y' => 24 * 365,
        _ => return None,
    };
    let n: u64 = text.get(..text.len() - 1)?.trim().parse().ok()?;
    Some(n.saturating_mul(hours).saturating_mul(3600).min(ANY))
}

fn log_type(value: &str, origin: &Origin, draft: &mut Draft) {
    let level = match value {
        "debug" | "all" => "debug",
        "information" | "notice" => "info",
        "warning" => "warn",
        "error" => "error",
        "none" => "off",
        _ => {
            return draft.note(
                origin,
                Fate::Unmapped,
                "a kind of its own: log.level takes modules, as \"info,myriad::broker=debug\"",
            );
        }
    };
    // Mosquitto adds kinds up; the most talkative one decides.
    let order = ["off", "error", "warn", "info", "debug"];
    let place = |level: &str| order.iter().position(|known| *known == level);
    let old = draft.value("log", "level").and_then(toml::Value::as_str).and_then(place);
    if place(level) > old {
        draft.put("log", "level", level, &origin.line);
    }
    draft.note(origin, Fate::Mapped, "");
}

/// Options without a key like them: not needed, or not there.
fn nothing_like_it(state: &mut Mosquitto, key: &str, value: &str, origin: &Origin, draft: &mut Draft) {
    let (fate, why) = match key {
        "pid_file" => (Fate::Needless, "systemd knows the process (packaging/systemd/myriad.service)"),
        "user" => (Fate::Needless, "the systemd unit says as which user it runs"),
        "set_tcp_nodelay" => (Fate::Needless, "it is always so"),
        "log_timestamp" | "log_timestamp_format" | "log_facility" => {
            (Fate::Needless, "the journal of systemd has the time and the facility")
        }
        "log_dest" if matches!(value, "stderr" | "stdout") => {
            (Fate::Needless, "the log goes to standard error, and systemd keeps it")
        }
        "log_dest" if value == "syslog" => return draft.map_if_known(origin, "log", "target", "journald"),
        "log_dest" => (
            Fate::Unmapped,
            "the log goes to standard error, which systemd keeps; log.target = \"file\" with log.file writes one of Myriad's own",
        ),
        "autosave_interval" | "autosave_on_changes" => (
            Fate::Needless,
            "what is acknowledged is on disk at once (storage.durability = \"sync\"; \"interval\" syncs every interval_ms)",
        ),
        "persistence_file" | "persistence_location" => (
            Fate::Unmapped,
            "node.data_dir says where Myriad keeps its journal; mosquitto.db is not read: let retained messages be published anew, or bridge once",
        ),
        "retained_persistence" => (Fate::Needless, "retained messages are stored as all else is"),
        "auto_id_prefix" => {
            (Fate::Unmapped, "Client Identifiers that the broker makes have a form of their own")
        }
        "allow_zero_length_clientid" if value == "true" => (Fate::Needless, "it is so"),
        "allow_zero_length_clientid" => (
            Fate::Unmapped,
            "clients may leave the identifier to the broker; auth.client_id admits only those of a list",
        ),
        "clientid_prefixes" => (
            Fate::Unmapped,
            "auth.client_id.path lists the Client Identifiers that may come in, but no prefixes",
        ),
        "check_retain_source" => {
            (Fate::Unmapped, "the ACL is asked when a message is published, not again when it is delivered")
        }
        "allow_duplicate_messages" => (
            Fate::Unmapped,
            "overlapping subscriptions give one message each, as the specification lets 5.0 clients tell apart",
        ),
        "max_inflight_bytes" | "max_queued_bytes" => (
            Fate::Unmapped,
            "bounds are in messages (session.inflight_max, session.queue_len_max) and for the whole process (limits.memory_max)",
        ),
        "max_topic_alias_broker" => {
            (Fate::Needless, "the broker's own aliases are within what the client allows")
        }
        "plugin" | "auth_plugin" | "global_plugin" | "plugin_load" | "plugin_use" => {
            state.has_plugin = true;
            (
                Fate::Unmapped,
                "Myriad has no plugins; auth.order knows \"file\", \"jwt\", \"http\", \"scram\", \"certificate\", \"client_id\"",
            )
        }
        _ if key.starts_with("plugin_opt_")
            || key.starts_with("auth_opt_")
            || key.starts_with("auth_plugin_") =>
        {
            (
                Fate::Unmapped,
                "it belongs to a plugin; auth.http asks a server of your own with the same answers",
            )
        }
        "websockets_log_level" | "store_clean_interval" | "retry_interval" | "enable_control_api" => {
            (Fate::Needless, "Myriad needs no such thing")
        }
        _ => (Fate::Unmapped, "Mosquitto's manual does not know it, or it is newer than 2.0"),
    };
    draft.note(origin, fate, why);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_those_of_the_manual() {
        for (text, seconds) in
            [("1h", 3600), ("14d", 1_209_600), ("2w", 1_209_600), ("1m", 2_592_000), ("9999y", ANY)]
        {
            assert_eq!(period(text), Some(seconds), "{text}");
        }
        for text in ["", "d", "5", "x d", "5é"] {
            assert_eq!(period(text), None, "{text}");
        }
    }
}
