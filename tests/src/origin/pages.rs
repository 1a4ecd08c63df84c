//! `/list/{name}/{page}`: the pages of a list, each with a link to the next one. In the query:
//!
//! - `of`: how many pages there are (1);
//! - `end`: what the last page links to: nothing, `script`, `long` (a link of 100 KB), `broken` (a page that fails
//!   until the list is mended with `/mend-list/{name}`) or the number of an earlier page;
//! - `json`: the pages are JSON, with the link under `next`;
//! - `delay`: seconds before each answer.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde::Deserialize;

use super::Origin;

/// The lists whose broken pages were mended.
#[derive(Debug, Default)]
pub(super) struct Mended(Mutex<HashSet<String>>);

impl Mended {
    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Deserialize)]
struct Shape {
    #[serde(default = "one")]
    of: u32,
    end: Option<String>,
    json: Option<String>,
    #[serde(default)]
    delay: f64,
}

const fn one() -> u32 {
    1
}

pub(super) fn routes() -> Router<Arc<Origin>> {
    Router::new().route("/list/{name}/{page}", get(page)).route("/mend-list/{name}", get(mend))
}

async fn mend(State(origin): State<Arc<Origin>>, Path(name): Path<String>) {
    origin.mended.lock().insert(name);
}

async fn page(
    State(origin): State<Arc<Origin>>,
    Path((name, page)): Path<(String, u32)>,
    Query(shape): Query<Shape>,
    RawQuery(query): RawQuery,
) -> Response {
    tokio::time::sleep(Duration::from_secs_f64(shape.delay)).await;
    let query = query.unwrap_or_default();
    let link_to = |page: &dyn std::fmt::Display| format!("{page}?{query}");
    if page > shape.of && !origin.mended.lock().contains(&name) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let next = match shape.end.as_deref() {
        _ if page < shape.of => Some(link_to(&(page + 1))),
        Some("broken") if page == shape.of => Some(link_to(&(page + 1))),
        None | Some("broken") => None,
        Some("script") => Some("javascript:next()".to_owned()),
        Some("long") => Some(format!("2?{}", "x".repeat(100_000))),
        Some(earlier) => Some(link_to(&earlier)),
    };
    if shape.json.is_some() {
        let body = serde_json::json!({"page": page, "next": next}).to_string();
        return ([(header::CONTENT_TYPE, "application/json")], body).into_response();
    }
    let link = next.map(|next| format!("<a rel=next href=\"{}\">on</a>", next.replace('&', "&amp;")));
    let items = format!("<li>{page}a<li>{page}b");
    let body = format!("<title>{name}, page {page}</title><ul>{items}</ul>{}", link.unwrap_or_default());
    ([(header::CONTENT_TYPE, "text/html")], body).into_response()
}
