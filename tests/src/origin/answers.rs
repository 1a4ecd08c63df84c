//! Complete responses: pages, statuses, delays, and responses that change between requests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::Origin;

/// Maximum delay of one request, so that a mistyped one ends.
const DELAY_MAX: Duration = Duration::from_secs(3600);

/// Number of failures so far of each `/flaky/{key}`.
pub(super) type Flaky = Mutex<HashMap<String, u32>>;

pub(super) fn routes() -> Router<Arc<Origin>> {
    Router::new()
        .route("/delay/{seconds}", get(delay))
        .route("/status/{code}", any(status))
        .route("/flaky/{key}", get(flaky))
        .route("/counted/{key}", get(counted))
        .route("/echo", get(echo))
        .route("/echo/{*rest}", get(echo))
        .route("/empty", get(|| async { html(Bytes::new()) }))
}

/// A page in UTF-8, declared as such.
pub(super) fn html(body: impl Into<Bytes>) -> Response {
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], body.into()).into_response()
}

/// Returns a small page with this title.
pub(super) fn small_page(title: &str) -> Response {
    html(format!(
        "<!DOCTYPE html>\n<html><head><title>{title}</title></head><body><h1>{title}</h1>\
         <p>See <a href=\"/site/\">the site</a>.</p></body></html>\n"
    ))
}

/// `/`: lists the endpoints.
pub(super) async fn index() -> Response {
    small_page("Origin")
}

pub(super) async fn sleep_s(seconds: f64) {
    let delay = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO);
    tokio::time::sleep(delay.min(DELAY_MAX)).await;
}

async fn delay(Path(seconds): Path<f64>) -> Response {
    sleep_s(seconds).await;
    small_page(&format!("Delayed by {seconds} s"))
}

#[derive(Debug, Deserialize)]
struct StatusQuery {
    /// Copied into `Retry-After`: seconds or a date.
    retry_after: Option<String>,
}

async fn status(Path(code): Path<u16>, Query(query): Query<StatusQuery>) -> Response {
    let Ok(code) = StatusCode::from_u16(code) else {
        return (StatusCode::BAD_REQUEST, "not a status code\n").into_response();
    };
    with_status(code, query.retry_after)
}

pub(super) fn with_status(code: StatusCode, retry_after: Option<String>) -> Response {
    let mut response = small_page(&format!("Status {}", code.as_u16()));
    *response.status_mut() = code;
    if let Some(value) = retry_after.and_then(|value| value.parse().ok()) {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}

#[derive(Debug, Deserialize)]
struct FlakyQuery {
    failures: u32,
    #[serde(default = "service_unavailable")]
    status: u16,
    retry_after: Option<String>,
}

const fn service_unavailable() -> u16 {
    503
}

/// Fails `failures` times for this key, then always succeeds.
async fn flaky(
    State(origin): State<Arc<Origin>>,
    Path(key): Path<String>,
    Query(query): Query<FlakyQuery>,
) -> Response {
    let fails = {
        let mut failed = origin.flaky.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = failed.entry(key).or_default();
        let fails = *failed < query.failures;
        *failed += u32::from(fails);
        fails
    };
    if fails {
        let code = StatusCode::from_u16(query.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        return with_status(code, query.retry_after);
    }
    small_page("Up again")
}

#[derive(Debug, Deserialize)]
struct CountedQuery {
    #[serde(default)]
    delay: f64,
}

/// A page with its own entry in `/stats`, after a delay if requested.
async fn counted(Path(key): Path<String>, Query(query): Query<CountedQuery>) -> Response {
    sleep_s(query.delay).await;
    small_page(&format!("Counted {key}"))
}

/// Returns the request as JSON inside a page, so that `--select` can read it.
async fn echo(request: Request) -> Response {
    let headers: Vec<_> = request
        .headers()
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect();
    let seen = json!({
        "method": request.method().as_str(),
        "target": request.uri().to_string(),
        "version": format!("{:?}", request.version()),
        "headers": headers,
    });
    if request.uri().query() == Some("json") {
        return Json(seen).into_response();
    }
    let escaped = seen.to_string().replace('&', "&amp;").replace('<', "&lt;");
    html(format!("<!DOCTYPE html>\n<title>Echo</title><pre>{escaped}</pre>\n"))
}
