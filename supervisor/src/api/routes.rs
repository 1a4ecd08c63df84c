//! Maps paths to handlers.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use http::{StatusCode, Uri};

use super::problem::Problem;
use super::{Api, events, jobs, metrics, openapi, page, records, submit};

/// The complete routing table.
pub(super) fn router(api: Arc<Api>) -> Router {
    let mut router = Router::new();
    for asset in page::ASSETS {
        router = router.route(asset.path, get(async move |headers| page::serve(asset, &headers)));
    }
    router
        .route("/healthz", get(jobs::healthz))
        .route("/readyz", get(jobs::readyz))
        .route("/metrics", get(metrics::show))
        .route("/openapi.json", get(openapi::show))
        .route("/v1/service", get(jobs::service))
        .route("/v1/hosts", get(jobs::hosts))
        .route("/v1/workers", get(jobs::workers).post(jobs::scale))
        .route("/v1/events", get(events::listen))
        .route("/v1/jobs", get(jobs::list).post(submit::submit))
        .route("/v1/jobs/{id}", get(jobs::one).delete(jobs::delete))
        .route("/v1/jobs/{id}/records", get(records::read))
        .route("/v1/jobs/{id}/pause", post(jobs::pause))
        .route("/v1/jobs/{id}/resume", post(jobs::resume))
        .route("/v1/jobs/{id}/retry-failed", post(jobs::retry_failed))
        .fallback(nothing)
        .method_not_allowed_fallback(no_method)
        .layer(DefaultBodyLimit::disable())
        .with_state(api)
}

async fn nothing(uri: Uri) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format_args!("there is no path {}; see /openapi.json", uri.path()))
}

async fn no_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "this path does not support the method; the Allow header lists those it does",
    )
}

/// Returns the route label for metrics: one of a few, whatever clients request.
pub(super) fn label(path: &str) -> &'static str {
    let mut parts = path.trim_start_matches('/').split('/');
    let parts = [parts.next(), parts.next(), parts.next(), parts.next(), parts.next()];
    match parts {
        [Some("healthz"), None, ..] => "/healthz",
        [Some("readyz"), None, ..] => "/readyz",
        [Some("metrics"), None, ..] => "/metrics",
        [Some("openapi.json"), None, ..] => "/openapi.json",
        [Some("v1"), Some("service"), None, ..] => "/v1/service",
        [Some("v1"), Some("hosts"), None, ..] => "/v1/hosts",
        [Some("v1"), Some("workers"), None, ..] => "/v1/workers",
        [Some("v1"), Some("events"), None, ..] => "/v1/events",
        [Some("v1"), Some("jobs"), None, ..] => "/v1/jobs",
        [Some("v1"), Some("jobs"), Some(_), None, _] => "/v1/jobs/{id}",
        [Some("v1"), Some("jobs"), Some(_), Some("records"), None] => "/v1/jobs/{id}/records",
        [Some("v1"), Some("jobs"), Some(_), Some("pause" | "resume" | "retry-failed"), None] => {
            "/v1/jobs/{id}/action"
        }
        _ if page::ASSETS.iter().any(|asset| asset.path == path) => "page",
        _ => "other",
    }
}
