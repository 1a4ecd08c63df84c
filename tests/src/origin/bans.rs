//! A host that has enough of its visitor, and answers with one page from then on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use super::Origin;
use super::answers::{html, small_page};

/// Number of requests so far of each `/ban/{key}`.
pub(super) type Visits = Mutex<HashMap<String, u32>>;

pub(super) fn routes() -> Router<Arc<Origin>> {
    Router::new().route("/ban/{key}/{page}", get(ban))
}

/// What a visitor gets who has had enough.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Page {
    /// A page with a captcha.
    Captcha,
    /// The same, with another token in each answer.
    Token,
    /// A page that says nothing about robots.
    Login,
    /// A page with status 403.
    Forbidden,
    /// A page with the header of a known vendor.
    Vendor,
}

#[derive(Debug, Deserialize)]
struct BanQuery {
    /// Requests that get their own page first.
    after: u32,
    /// Requests that get the same page then; all others get their own again.
    #[serde(default = "for_ever")]
    lasts: u32,
    page: Page,
}

const fn for_ever() -> u32 {
    u32::MAX
}

async fn ban(
    State(origin): State<Arc<Origin>>,
    Path((key, page)): Path<(String, String)>,
    Query(query): Query<BanQuery>,
) -> Response {
    let visit = {
        let mut visits = origin.visits.lock().unwrap_or_else(PoisonError::into_inner);
        let visits = visits.entry(key).or_default();
        *visits += 1;
        *visits - 1
    };
    if visit < query.after || visit >= query.after.saturating_add(query.lasts) {
        return small_page(&format!("Page {page}"));
    }
    match query.page {
        Page::Captcha => challenge(""),
        // No two are alike, and they look random.
        Page::Token => challenge(&format!("{:x}", u64::from(visit + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))),
        Page::Login => small_page("Please log in"),
        Page::Forbidden => {
            let mut response = challenge("");
            *response.status_mut() = StatusCode::FORBIDDEN;
            response
        }
        Page::Vendor => {
            let mut response = small_page("Just a moment...");
            response.headers_mut().insert("cf-mitigated", axum::http::HeaderValue::from_static("challenge"));
            response
        }
    }
}

fn challenge(token: &str) -> Response {
    html(format!(
        "<!DOCTYPE html>\n<html><head><title>One more step</title></head><body><form id=\"captcha\">\
         <p>Please complete the captcha to go on.</p><input type=\"hidden\" name=\"token\" value=\"{token}\">\
         </form></body></html>\n"
    ))
}
