//! One request of the control socket and its answer. A request is a JSON object in one line:
//!
//! ```json
//! {"request": "bans.list"}
//! {"request": "bans.add", "kind": "address", "name": "10.0.0.1", "seconds": 300}
//! {"request": "bans.lift", "kind": "client", "name": "c1"}
//! {"request": "store.stats"}
//! {"request": "store.backup", "to": "/srv/backups/monday"}
//! ```
//!
//! `kind` is address, client or user; without `seconds` a ban stays until it is lifted. `to` is a new folder. The answer: an object a line for
//! each thing that is listed, then one line with `"ok": true`, or `"ok": false` and an `"error"`.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::broker::Shared;
use crate::clock::Timestamp;
use crate::limits::{Ban, BanCause, Subject};
use crate::storage::thread::StorageHandle;

/// What operators may ask about.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) shared: Arc<Shared>,
    /// `None`: nothing is stored.
    pub(super) storage: Option<StorageHandle>,
}

/// Answers `line`; each value is a line of the answer.
pub(super) fn answer(desk: &Desk, now: Timestamp, line: &str) -> Vec<Value> {
    let result = match serde_json::from_str(line) {
        Ok(Value::Object(request)) => perform(desk, now, &request),
        Ok(_) => Err("expected a JSON object".into()),
        Err(error) => Err(format!("expected a JSON object in one line: {error}")),
    };
    result.unwrap_or_else(|error| vec![json!({ "ok": false, "error": error })])
}

fn perform(desk: &Desk, now: Timestamp, request: &Map<String, Value>) -> Result<Vec<Value>, String> {
    let shared = &desk.shared;
    match text(request, "request")? {
        "bans.list" => {
            let mut lines: Vec<Value> = shared.bans.list(now).iter().map(|ban| describe(ban, now)).collect();
            lines.push(json!({ "ok": true }));
            Ok(lines)
        }
        "bans.add" => {
            let subject = subject(request)?;
            let until = match request.get("seconds") {
                None | Some(Value::Null) => None,
                Some(seconds) => {
                    let seconds = seconds.as_u64().ok_or("`seconds` is no whole number")?;
                    Some(now.plus_s(seconds))
                }
            };
            tracing::info!(target: "audit", event = "banned", subject = subject.to_string(), cause = "operator");
            let ban = Ban { subject, until, cause: BanCause::Operator };
            shared.bans.add(now, ban).map_err(|error| error.to_string())?;
            Ok(vec![json!({ "ok": true })])
        }
        "bans.lift" => {
            let subject = subject(request)?;
            let was_banned = shared.bans.lift(now, &subject);
            tracing::info!(target: "audit", event = "ban_lifted", subject = subject.to_string(), was_banned);
            Ok(vec![json!({ "ok": true, "was_banned": was_banned })])
        }
        "store.stats" => Ok(vec![statistics(storage(desk)?), json!({ "ok": true })]),
        "store.backup" => {
            let to = Path::new(text(request, "to")?);
            if !to.is_absolute() {
                return Err("`to` is no absolute path".into());
            }
            let copied = storage(desk)?.backup(to).map_err(|error| error.to_string())?;
            tracing::info!(target: "audit", event = "backup", to = %to.display(), bytes = copied.bytes);
            Ok(vec![json!({ "ok": true, "files": copied.files, "bytes": copied.bytes })])
        }
        other => Err(format!(
            "unknown request {other:?}; known are bans.list, bans.add, bans.lift, store.stats and store.backup"
        )),
    }
}

fn storage(desk: &Desk) -> Result<&StorageHandle, String> {
    desk.storage.as_ref().ok_or_else(|| "this broker stores nothing: storage.durability is \"memory\"".into())
}

fn statistics(storage: &StorageHandle) -> Value {
    let of = storage.statistics();
    json!({
        "is_down": of.is_down,
        "disk_bytes": of.disk_bytes,
        "segments": of.segments,
        "base": of.base,
        "newest": of.newest,
        "image_bytes": of.image_bytes,
        "since_bytes": of.since_bytes,
        "generation": of.generation,
        "is_checkpointing": of.is_checkpointing,
        "checkpoints": of.checkpoints,
        "frames": of.frames,
        "bytes": of.bytes,
        "syncs": of.syncs,
        "sync_us": of.sync_us,
        "sync_us_max": of.sync_us_max,
        "refused_frames": of.refused_frames,
        "failures": of.failures,
        "left_files": of.left_files,
    })
}

fn describe(ban: &Ban, now: Timestamp) -> Value {
    let (kind, name) = ban.subject.parts();
    let seconds_left = ban.until.map(|until| until.ms_since(now).div_ceil(1000));
    json!({ "kind": kind, "name": name, "cause": ban.cause.name(), "seconds_left": seconds_left })
}

fn subject(request: &Map<String, Value>) -> Result<Subject, String> {
    Subject::parse(text(request, "kind")?, text(request, "name")?).map_err(|error| error.to_string())
}

fn text<'r>(request: &'r Map<String, Value>, key: &str) -> Result<&'r str, String> {
    request.get(key).and_then(Value::as_str).ok_or_else(|| format!("the text `{key}` is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn desk() -> Desk {
        Desk { shared: Shared::new(&Config::default(), 1, 1, 0), storage: None }
    }

    #[test]
    fn bans_are_added_listed_and_lifted() {
        let desk = desk();
        let ask = |line: &str| answer(&desk, Timestamp(5_000), line);
        assert_eq!(ask(r#"{"request": "bans.list"}"#), [json!({ "ok": true })]);
        let add = r#"{"request": "bans.add", "kind": "client", "name": "a b", "seconds": 60}"#;
        assert_eq!(ask(add), [json!({ "ok": true })]);
        let listed = json!({ "kind": "client", "name": "a b", "cause": "operator", "seconds_left": 60 });
        assert_eq!(ask(r#"{"request": "bans.list"}"#), [listed, json!({ "ok": true })]);
        let lift = r#"{"request": "bans.lift", "kind": "client", "name": "a b"}"#;
        assert_eq!(ask(lift), [json!({ "ok": true, "was_banned": true })]);
        assert_eq!(ask(lift), [json!({ "ok": true, "was_banned": false })]);
    }

    #[test]
    fn what_is_no_request_is_told_so() {
        let desk = desk();
        for line in [
            "",
            "bans list",
            "[]",
            "{}",
            r#"{"request": "stop"}"#,
            r#"{"request": "store.stats"}"#,
            r#"{"request": "store.backup"}"#,
            r#"{"request": "store.backup", "to": "here"}"#,
            r#"{"request": "store.backup", "to": "/tmp/there"}"#,
            r#"{"request": "bans.add", "kind": "host", "name": "x"}"#,
            r#"{"request": "bans.add", "kind": "address", "name": "x"}"#,
            r#"{"request": "bans.add", "kind": "user", "name": "x", "seconds": -1}"#,
        ] {
            let lines = answer(&desk, Timestamp(0), line);
            assert!(lines.len() == 1 && lines.iter().all(|line| line["ok"] == false), "{line}: {lines:?}");
        }
        assert!(desk.shared.bans.list(Timestamp(0)).is_empty());
    }
}
