//! What is answered before there is a desk: whoever watches learns that the process is alive and takes no clients yet, everybody else
//! to come again. Nobody waits in the kernel's queue for as long as a journal takes.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

use super::failure::Failure;
use crate::admin::recovery::Recovery;

/// Seconds until who was sent away may come again.
const RETRY_AFTER: [(header::HeaderName, &str); 1] = [(header::RETRY_AFTER, "1")];

/// What a request meets: the few early routes, and all of them as soon as there is a desk, also on a connection of before.
#[derive(Debug, Clone)]
pub(in crate::admin) struct Routes {
    early: Router,
    all: Arc<OnceLock<Router>>,
}

impl Routes {
    /// Of a broker that starts.
    pub(in crate::admin) fn early(recovery: Arc<Recovery>) -> Self {
        let routes = Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz));
        let early = routes.fallback(not_yet).method_not_allowed_fallback(not_yet).with_state(recovery);
        Self { early, all: Arc::default() }
    }

    /// The broker has started: from here on requests meet these.
    pub(in crate::admin) fn replace(&self, all: Router) {
        // Nobody sets it before.
        let _ = self.all.set(all);
    }

    /// Those of now.
    pub(in crate::admin) fn now(&self) -> Router {
        self.all.get().unwrap_or(&self.early).clone()
    }
}

async fn healthz() -> &'static str {
    "recovering\n"
}

async fn readyz(State(recovery): State<Arc<Recovery>>) -> impl IntoResponse {
    (StatusCode::SERVICE_UNAVAILABLE, RETRY_AFTER, format!("{recovery}\n"))
}

async fn not_yet(State(recovery): State<Arc<Recovery>>) -> impl IntoResponse {
    let why = format!("the broker starts ({recovery}); try again when GET /readyz answers 200");
    (RETRY_AFTER, Failure::unavailable(why))
}
