//! Pages that set cookies, and show those that they get.

use std::sync::Arc;

use axum::Router;
use axum::extract::Query;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;

use super::Origin;
use super::answers::{html, small_page};
use super::redirects::to;

pub(super) fn routes() -> Router<Arc<Origin>> {
    Router::new()
        .route("/session/set", get(set))
        .route("/session/seen", get(seen))
        .route("/session/seen/{*rest}", get(seen))
}

#[derive(Debug, Deserialize)]
struct SetQuery {
    /// The whole header.
    cookie: String,
    /// Where it leads; without it, it is a page.
    to: Option<String>,
}

/// Sets a cookie.
async fn set(Query(query): Query<SetQuery>) -> Response {
    let Ok(cookie) = HeaderValue::from_str(&query.cookie) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let mut response = query.to.map_or_else(|| small_page("A cookie"), |location| to(&location, 302));
    response.headers_mut().append(header::SET_COOKIE, cookie);
    response
}

/// Shows the cookies of the request.
async fn seen(headers: HeaderMap) -> Response {
    let cookies: Vec<_> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    html(format!("<!DOCTYPE html>\n<title>Cookies</title><pre>{}</pre>\n", cookies.join("|")))
}
