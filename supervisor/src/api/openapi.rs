//! `GET /openapi.json`: a description of the API for programs, collected from the annotations of
//! the handlers.

use std::sync::OnceLock;

use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
use utoipa::OpenApi;

use super::schema::{Only, OnlyDelete, Switch};
use super::{events, jobs, metrics, records, submit, views};
use crate::view;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Muster",
        description = "Fetch and parse in bulk: jobs, their records, and the workers that do them. See docs/API.md."
    ),
    paths(
        jobs::healthz,
        jobs::readyz,
        jobs::service,
        jobs::hosts,
        jobs::workers,
        jobs::scale,
        jobs::list,
        jobs::one,
        jobs::delete,
        jobs::pause,
        jobs::resume,
        jobs::retry_failed,
        submit::submit,
        records::read,
        events::listen,
        metrics::show,
        show,
    ),
    components(schemas(
        Only,
        OnlyDelete,
        Switch,
        view::JobView,
        view::WorkerView,
        view::HostView,
        view::ServiceView,
        views::Pulse
    ))
)]
struct Description;

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "service", responses((status = 200, body = serde_json::Value)))]
pub(super) async fn show() -> Response {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(|| Description::openapi().to_json().unwrap_or_default());
    let mut response = (StatusCode::OK, text.as_str()).into_response();
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
