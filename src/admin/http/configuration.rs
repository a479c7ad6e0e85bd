//! The configuration: what is in effect, what would be, and reading it again.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::Json;
use super::failure::Failure;
use crate::admin::desk::Desk;

/// What is in effect.
#[derive(Debug, Serialize, ToSchema)]
struct Effective {
    /// The file that was read; null: none, every key has its default or is an argument.
    file: Option<String>,
    /// All of it as TOML. `***` stands for what may be a secret.
    toml: String,
    /// Every key and its value; those of the first listener begin with `listener[0].`.
    items: BTreeMap<String, serde_json::Value>,
}

/// What a reload came to.
#[derive(Debug, Serialize, ToSchema)]
struct Reload {
    /// Keys that changed.
    changed: Vec<String>,
    /// Keys that differ and wait for a restart.
    needs_restart: Vec<String>,
}

/// A configuration to be checked.
#[derive(Debug, Deserialize, ToSchema)]
struct Draft {
    /// The text of a file.
    toml: String,
}

/// Whether the broker would start with it.
#[derive(Debug, Serialize, ToSchema)]
struct Checked {
    /// It would, as far as the text goes: files that it names are not looked at.
    ok: bool,
    /// The first thing that is wrong, with its line.
    error: Option<String>,
    /// What can be used but is hardly meant.
    warnings: Vec<String>,
}

pub(super) fn routes() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::new().routes(routes!(show)).routes(routes!(reload)).routes(routes!(check))
}

/// Puts the leaves of `value` into `items`, by their paths.
fn flatten(path: &str, value: toml::Value, items: &mut BTreeMap<String, serde_json::Value>) {
    match value {
        toml::Value::Table(table) => {
            for (name, value) in table {
                let path = if path.is_empty() { name } else { format!("{path}.{name}") };
                flatten(&path, value, items);
            }
        }
        toml::Value::Array(tables) if tables.iter().any(toml::Value::is_table) => {
            for (index, table) in tables.into_iter().enumerate() {
                flatten(&format!("{path}[{index}]"), table, items);
            }
        }
        // TOML's other values are JSON's, but for dates, which no key has.
        value => drop(items.insert(path.to_owned(), serde_json::to_value(value).unwrap_or_default())),
    }
}

/// What is in effect
///
/// The arguments of the command line and the defaults included; what may be a secret is not shown.
#[utoipa::path(get, path = "/api/v1/config", tag = "config", responses((status = 200, body = Effective)))]
async fn show(State(desk): State<Arc<Desk>>) -> Json<Effective> {
    let toml = desk.config().to_toml();
    let mut items = BTreeMap::new();
    if let Ok(table) = toml.parse::<toml::Table>() {
        flatten("", toml::Value::Table(table), &mut items);
    }
    let file = desk.arguments.config.as_ref().map(|file| file.display().to_string());
    Json(Effective { file, toml, items })
}

/// Read the configuration again
///
/// As SIGHUP does: no connection is dropped, and keys that need a restart are named. Where it can't be used, the old one stays.
#[utoipa::path(post, path = "/api/v1/config/reload", tag = "config", responses((status = 200, body = Reload)))]
async fn reload(State(desk): State<Arc<Desk>>) -> Result<Json<Reload>, Failure> {
    let outcome = desk.reload().await;
    let done =
        outcome.map_err(|error| Failure::bad_request(format!("the old configuration stays: {error}")))?;
    Ok(Json(Reload { changed: done.changed, needs_restart: done.needs_restart }))
}

/// Check a configuration without using it
///
/// The arguments of the command line lie over it, as they would after a restart.
#[utoipa::path(
    post, path = "/api/v1/config/check", tag = "config", request_body = Draft,
    responses((status = 200, body = Checked)),
)]
async fn check(State(desk): State<Arc<Desk>>, Json(draft): Json<Draft>) -> Json<Checked> {
    let mut warnings = Vec::new();
    let checked =
        desk.arguments.resolve_with(Some(("the text", &draft.toml)), |warning| warnings.push(warning));
    let error = checked.err().map(|error| error.to_string());
    Json(Checked { ok: error.is_none(), error, warnings })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn every_key_has_its_path() {
        let table = Config::default().to_toml().parse::<toml::Table>().unwrap();
        let mut items = BTreeMap::new();
        flatten("", toml::Value::Table(table), &mut items);
        assert_eq!(items["session.expiry_s"], 48 * 3600);
        assert_eq!(items["listener[0].url"], "mqtt://127.0.0.1:1883");
        assert_eq!(items["listener[0].access"], serde_json::json!([]));
        assert!(items.contains_key("auth.http.auth_req.url"));
    }
}
