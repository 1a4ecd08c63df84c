//! `GET /openapi.json`: the API for machines, put together from what stands at each handler.

use std::sync::OnceLock;

use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};

use super::{events, jobs, metrics, records, submit, views};
use crate::view;

/// The document of a job: keys are the long names of the flags; these are those that are more.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JobDocument {
    /// What is done with the inputs.
    command: Command,
    /// What the job is called.
    #[schema(required = false)]
    name: Option<String>,
    /// Higher goes first.
    #[schema(required = false, minimum = -100, maximum = 100)]
    priority: Option<i32>,
    /// For `fetch`: inputs.
    #[schema(required = false)]
    urls: Option<OneOrMore>,
}

#[expect(dead_code, reason = "only its schema is used")]
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Command {
    Fetch,
    Parse,
    Map,
    Csv,
}

/// What may be given once or several times.
#[expect(dead_code, reason = "only its schema is used")]
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum OneOrMore {
    /// One.
    One(String),
    /// Several.
    More(Vec<String>),
}

/// A job with its files.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JobForm {
    /// The document.
    job: JobDocument,
    /// Files.
    #[schema(required = false, value_type = Vec<String>, format = Binary)]
    input: Option<Vec<String>>,
}

/// On or off.
#[expect(dead_code, reason = "only its schema is used")]
#[derive(Debug, Serialize, ToSchema)]
pub(super) enum Switch {
    #[serde(rename = "0")]
    Off,
    #[serde(rename = "1")]
    On,
    #[serde(rename = "false")]
    False,
    #[serde(rename = "true")]
    True,
}

/// Which records.
#[expect(dead_code, reason = "only its schema is used")]
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Only {
    Failed,
    Quarantined,
}

/// What is to be done with a job that is deleted.
#[expect(dead_code, reason = "only its schema is used")]
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum OnlyDelete {
    Cancel,
    Remove,
}

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
