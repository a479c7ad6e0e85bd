//! The description of all routes (OpenAPI), made of the handlers. What holds for every route is added here, once.

use std::sync::Arc;

use axum::Extension;
use axum::http::header;
use axum::response::IntoResponse;
use utoipa::PartialSchema;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApi, Ref, RefOr};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::failure::Problem;
use crate::admin::desk::Desk;

/// The description as it is sent.
#[derive(Debug, Clone)]
pub(super) struct Description(Arc<str>);

impl Description {
    /// Of these routes.
    pub(super) fn new(api: OpenApi) -> Self {
        Self(complete(api).to_json().unwrap_or_default().into())
    }
}

/// Adds the title, how to log in, and what any route may answer.
fn complete(mut api: OpenApi) -> OpenApi {
    api.info = InfoBuilder::new()
        .title("Myriad")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("What operators ask of a running broker. docs/API.md tells the rest."))
        .build();
    let components = api.components.take().unwrap_or_else(|| ComponentsBuilder::new().build());
    let mut components = components;
    components.schemas.insert("Problem".into(), Problem::schema());
    for (name, scheme) in [("token", HttpAuthScheme::Bearer), ("password", HttpAuthScheme::Basic)] {
        components.security_schemes.insert(name.into(), SecurityScheme::Http(Http::new(scheme)).into());
    }
    api.components = Some(components);
    let either = |name| SecurityRequirement::new::<_, _, String>(name, []);
    api.security = Some(vec![either("token"), either("password")]);
    let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let problem = ResponseBuilder::new()
        .description("It can't be done: why")
        .content("application/json", problem)
        .build();
    for item in api.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.post, &mut item.put, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            operation.responses.responses.insert("default".into(), RefOr::T(problem.clone()));
        }
    }
    api
}

pub(super) fn routes() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::new().routes(routes!(show))
}

/// This description
#[utoipa::path(
    get, path = "/api/v1/openapi.json", tag = "health", security(()),
    responses((status = 200, body = Object, description = "OpenAPI 3.1")),
)]
async fn show(Extension(Description(text)): Extension<Description>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], text.to_string())
}
