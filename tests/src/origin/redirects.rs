//! Redirects that end, that never end, and that lead where a client must not follow.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use serde::Deserialize;

use super::Origin;
use super::answers::small_page;

pub(super) fn routes() -> Router<Arc<Origin>> {
    Router::new()
        .route("/redirect/{n}", get(chain))
        .route("/redirect/loop", get(|| async { to("/redirect/loop", 302) }))
        .route("/redirect/ping", get(|| async { to("/redirect/pong", 302) }))
        .route("/redirect/pong", get(|| async { to("/redirect/ping", 302) }))
        .route("/redirect/to", any(elsewhere))
        .route("/redirect/nowhere", get(|| async { StatusCode::FOUND }))
        .route("/redirect/endless/{n}", get(endless))
}

pub(super) fn to(location: &str, code: u16) -> Response {
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::FOUND);
    // Bytes above ASCII are allowed on purpose, because servers send them.
    match HeaderValue::from_bytes(location.as_bytes()) {
        Ok(location) => (code, [(header::LOCATION, location)], "moved\n").into_response(),
        Err(_) => (StatusCode::BAD_REQUEST, "not a header value\n").into_response(),
    }
}

const fn found() -> u16 {
    302
}

#[derive(Debug, Deserialize)]
struct ChainQuery {
    /// Form of `Location`: `absolute`, `path` (the default) or `relative`.
    #[serde(default)]
    location: Form,
    #[serde(default = "found")]
    code: u16,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Form {
    Absolute,
    #[default]
    Path,
    Relative,
}

/// `n` redirects, then a page.
async fn chain(
    State(origin): State<Arc<Origin>>,
    Path(n): Path<u32>,
    Query(query): Query<ChainQuery>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let Some(next) = n.checked_sub(1) else {
        return small_page("The end of the redirects");
    };
    let rest = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let location = match query.location {
        Form::Absolute => {
            format!("{}/redirect/{next}{rest}", origin.base_url(&headers, &uri))
        }
        Form::Path => format!("/redirect/{next}{rest}"),
        Form::Relative => format!("{next}{rest}"),
    };
    to(&location, query.code)
}

#[derive(Debug, Deserialize)]
struct ElsewhereQuery {
    url: String,
    #[serde(default = "found")]
    code: u16,
}

/// Redirects to any URL: another scheme, another host, or nonsense.
async fn elsewhere(Query(query): Query<ElsewhereQuery>) -> Response {
    to(&query.url, query.code)
}

/// Redirects to a new URL each time, so that only a limit ends it.
async fn endless(Path(n): Path<u64>) -> Response {
    to(&format!("/redirect/endless/{}", n.wrapping_add(1)), 302)
}
