//! The files of the dashboard, as they are part of the binary. Without a password: they hold no data, what they show comes
//! from the API. Not in the description of the API: they are for browsers.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;

use crate::admin::dashboard::{CONTENT_SECURITY_POLICY, FILES, File};
use crate::admin::desk::Desk;

pub(super) fn routes() -> OpenApiRouter<Arc<Desk>> {
    FILES.iter().fold(OpenApiRouter::new(), |router, file| {
        let path = format!("/{}", file.path);
        router.route(&path, get(move |headers: HeaderMap| async move { serve(file, &headers) }))
    })
}

/// The file, or that what the browser has of it is still right: it asks each time, so a new version shows at once.
fn serve(file: &'static File, headers: &HeaderMap) -> Response {
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|tag| tag.as_bytes() == file.etag);
    let headers = [
        (header::CONTENT_TYPE, file.content_type.as_bytes()),
        (header::ETAG, file.etag.as_slice()),
        (header::CACHE_CONTROL, b"no-cache".as_slice()),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY.as_bytes()),
        (header::X_CONTENT_TYPE_OPTIONS, b"nosniff".as_slice()),
        (header::REFERRER_POLICY, b"no-referrer".as_slice()),
    ];
    if known {
        (StatusCode::NOT_MODIFIED, headers).into_response()
    } else {
        (headers, file.body).into_response()
    }
}
