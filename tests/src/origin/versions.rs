//! Pages that change when they are told to, with the validators of servers of several kinds.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Deserialize;

use super::Origin;
use super::answers::html;
use super::redirects::to;

/// How often each page has changed.
#[derive(Debug, Default)]
pub(super) struct Versions(Mutex<BTreeMap<String, u64>>);

impl Versions {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn routes() -> Router<Arc<Origin>> {
    Router::new().route("/version/{kind}/{page}", get(page)).route("/change/{page}", get(change))
}

#[derive(Debug, Deserialize)]
struct PageQuery {
    /// Seconds before the answer.
    #[serde(default)]
    delay: f64,
}

fn gzip(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut writer = GzEncoder::new(Vec::new(), Compression::fast());
    writer.write_all(plain)?;
    writer.finish()
}

async fn change(State(origin): State<Arc<Origin>>, Path(page): Path<String>) -> StatusCode {
    *origin.versions.lock().entry(page).or_default() += 1;
    StatusCode::NO_CONTENT
}

async fn page(
    State(origin): State<Arc<Origin>>,
    Path((kind, page)): Path<(String, String)>,
    Query(query): Query<PageQuery>,
    headers: HeaderMap,
) -> Response {
    if query.delay > 0.0 {
        tokio::time::sleep(Duration::from_secs_f64(query.delay)).await;
    }
    let version = origin.versions.lock().get(&page).copied().unwrap_or_default();
    let asked =
        |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let tag = format!("\"{page}-{version}\"");
    let date = format!("Wed, 21 Oct 2015 07:28:{version:02} GMT");
    // Weakly compared, as the standard says.
    let asks_for = |tag: &str| {
        let mut tags = asked(header::IF_NONE_MATCH).split(", ");
        tags.any(|asked| asked.trim_start_matches("W/") == tag)
    };
    let (shown, unchanged) = match kind.as_str() {
        "moved" => return to(&format!("/version/tag/{page}"), 302),
        "gone" if version > 0 => return StatusCode::NOT_FOUND.into_response(),
        "untouched" => return StatusCode::NOT_MODIFIED.into_response(),
        "tag" | "gone" => (Some((header::ETAG, tag.clone())), asks_for(&tag)),
        "weak" => (Some((header::ETAG, format!("W/{tag}"))), asks_for(&tag)),
        // Recognizes the tag only without the suffix that its compression appends.
        "suffix" => (Some((header::ETAG, format!("\"{page}-{version}-gzip\""))), asks_for(&tag)),
        "date" => (Some((header::LAST_MODIFIED, date.clone())), asked(header::IF_MODIFIED_SINCE) == date),
        _ => (None, false),
    };
    let is_compressed = kind == "suffix" && !unchanged;
    let mut response = if unchanged {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let text = "and what is the same in all versions ".repeat(50);
        let text = format!("<!DOCTYPE html>\n<title>{page}, version {version}</title><p>{text}</p>\n");
        if is_compressed { html(gzip(text.as_bytes()).unwrap_or_default()) } else { html(text) }
    };
    if is_compressed {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if let Some((name, value)) =
        shown.and_then(|(name, value)| Some((name, HeaderValue::from_str(&value).ok()?)))
    {
        response.headers_mut().insert(name, value);
    }
    response
}
