//! What a request is told that can't be served: a status, a sentence that names the thing and the mend, and a word for programs.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::admin::desk::Unavailable;

/// The body of an answer with a status of 400 or more.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::admin) struct Problem {
    /// What is wrong and what to do, for people.
    pub(in crate::admin) error: String,
    /// The same for programs.
    #[schema(value_type = String, example = "not_found")]
    pub(in crate::admin) code: Code,
}

/// Kinds of failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::admin) enum Code {
    /// There is no such thing.
    NotFound,
    /// The request can't be understood.
    BadRequest,
    /// Who asks has to say who it is.
    Unauthorized,
    /// It is there already, or changed meanwhile.
    Conflict,
    /// Not now.
    Unavailable,
    /// The request is too large.
    TooLarge,
    /// Not for who asks.
    Forbidden,
}

/// Ends a handler with a failure.
#[derive(Debug, Clone)]
pub(in crate::admin) struct Failure {
    status: StatusCode,
    problem: Problem,
}

impl Failure {
    fn new(status: StatusCode, code: Code, error: impl Into<String>) -> Self {
        Self { status, problem: Problem { error: error.into(), code } }
    }

    /// 404.
    pub(in crate::admin) fn not_found(error: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, Code::NotFound, error)
    }

    /// 400.
    pub(in crate::admin) fn bad_request(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Code::BadRequest, error)
    }

    /// 405.
    pub(in crate::admin) fn wrong_method(error: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, Code::BadRequest, error)
    }

    /// 415.
    pub(in crate::admin) fn wrong_media(error: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::BadRequest, error)
    }

    /// 401.
    pub(in crate::admin) fn unauthorized(error: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, Code::Unauthorized, error)
    }

    /// 403.
    pub(in crate::admin) fn forbidden(error: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, Code::Forbidden, error)
    }

    /// 429.
    pub(in crate::admin) fn too_many(error: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, Code::Unavailable, error)
    }

    /// 409.
    pub(in crate::admin) fn conflict(error: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, Code::Conflict, error)
    }

    /// 413.
    pub(in crate::admin) fn too_large(error: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, Code::TooLarge, error)
    }

    /// Whether it may be another time.
    pub(in crate::admin) fn is_unavailable(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE
    }

    /// 503.
    pub(in crate::admin) fn unavailable(error: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, error)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.problem.error)
    }
}

impl From<Unavailable> for Failure {
    fn from(why: Unavailable) -> Self {
        Self::unavailable(why.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(self.problem)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            // Not Basic: a browser would ask for a password, and then send it along with what other pages make it send.
            let how = HeaderValue::from_static("Bearer realm=\"myriad\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, how);
        }
        response
    }
}
