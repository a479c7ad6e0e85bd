//! The last hour, for plots.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Json, Query};
use super::failure::Failure;
use crate::admin::desk::Desk;
use crate::admin::history::{NAMES, STEP};
use crate::metrics::rfc3339;

/// What to plot.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Names of series with commas between them; left out: all.
    #[param(example = "connections,messages_sent_per_s")]
    metrics: Option<String>,
}

/// Series of values, one each `step_s`, the oldest first.
#[derive(Debug, Serialize, ToSchema)]
struct Series {
    /// Seconds between two values.
    step_s: u64,
    /// When the first value was taken, RFC 3339; null: there is none yet.
    from: Option<String>,
    /// By name; null: there was nothing to measure (latency without messages).
    series: BTreeMap<&'static str, Vec<Option<f64>>>,
}

pub(super) fn routes() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::new().routes(routes!(show))
}

/// The last hour
///
/// Rates, gauges, memory, CPU and latency as they were, 720 values at most.
#[utoipa::path(get, path = "/api/v1/history", tag = "node", params(Wanted), responses((status = 200, body = Series)))]
async fn show(State(desk): State<Arc<Desk>>, Query(wanted): Query<Wanted>) -> Result<Json<Series>, Failure> {
    let mut places = Vec::new();
    match wanted.metrics.as_deref() {
        None | Some("") => places.extend(0..NAMES.len()),
        Some(names) => {
            for name in names.split(',') {
                let place = NAMES.iter().position(|known| *known == name.trim()).ok_or_else(|| {
                    Failure::bad_request(format!(
                        "metrics: there is no {name:?}; known are {}",
                        NAMES.join(", ")
                    ))
                })?;
                places.push(place);
            }
        }
    }
    Ok(Json(desk.history.with(|points| {
        let before_ms = (points.points.len() as u64).saturating_sub(1) * STEP.as_millis() as u64;
        let from = points.newest_unix_ms.map(|newest| rfc3339(newest.saturating_sub(before_ms)));
        let series = |place: usize| {
            let name = NAMES.get(place).copied().unwrap_or_default();
            (name, points.points.iter().map(|point| point.get(place).copied().flatten()).collect())
        };
        Series { step_s: STEP.as_secs(), from, series: places.into_iter().map(series).collect() }
    })))
}
