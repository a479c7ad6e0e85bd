//! What handlers take and give: axum's extractors, whose refusals are our failures. Handlers use these, never axum's own.

use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::BODY_BYTES_MAX;
use super::failure::Failure;

/// A body of JSON, both ways.
#[derive(Debug, Clone, Copy)]
pub(in crate::admin) struct Json<T>(pub(in crate::admin) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        match axum::Json::from_request(request, state).await {
            Ok(axum::Json(value)) => Ok(Self(value)),
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(too_large()),
            Err(JsonRejection::MissingJsonContentType(_)) => {
                Err(Failure::wrong_media("expected JSON: send the header Content-Type: application/json"))
            }
            Err(rejection) => Err(Failure::bad_request(rejection.body_text())),
        }
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// The fields of a form.
#[derive(Debug, Clone, Copy)]
pub(in crate::admin) struct Form<T>(pub(in crate::admin) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Form<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        match axum::Form::from_request(request, state).await {
            Ok(axum::Form(value)) => Ok(Self(value)),
            Err(rejection) => Err(match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => too_large(),
                StatusCode::UNSUPPORTED_MEDIA_TYPE => Failure::wrong_media(
                    "expected a form: send the header Content-Type: application/x-www-form-urlencoded, or JSON",
                ),
                _ => Failure::bad_request(rejection.body_text()),
            }),
        }
    }
}

fn too_large() -> Failure {
    Failure::too_large(format!("a request has at most {BODY_BYTES_MAX} bytes"))
}

/// The parameters behind the question mark.
#[derive(Debug, Clone, Copy)]
pub(in crate::admin) struct Query<T>(pub(in crate::admin) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match axum::extract::Query::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(Failure::bad_request(rejection.body_text())),
        }
    }
}

/// The parts of the path that stand for something, percent-encoding taken off.
#[derive(Debug, Clone, Copy)]
pub(in crate::admin) struct Path<T>(pub(in crate::admin) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(Failure::bad_request(rejection.body_text())),
        }
    }
}
