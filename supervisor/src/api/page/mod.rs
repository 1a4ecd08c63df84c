//! The dashboard: its files, and how they are served.

mod assets;

use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use xxhash_rust::xxh3::xxh3_64;

use super::views::acceptable;

pub(super) use assets::{ASSETS, Asset};

/// Returns a file, or 304 if the client has it already.
pub(super) fn serve(asset: &Asset, headers: &HeaderMap) -> Response {
    let kind = asset.content_type.split(';').next().unwrap_or_default();
    if let Err(problem) = acceptable(headers, kind) {
        return problem.into_response();
    }
    let tag = format!("\"{:016x}\"", xxh3_64(asset.bytes));
    let known = headers.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    let is_known = known.is_some_and(|tags| tags.split(',').any(|known| known.trim() == tag));
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        (StatusCode::OK, asset.bytes).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    // The browser asks each time, but the file is sent only when the program has changed.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}
