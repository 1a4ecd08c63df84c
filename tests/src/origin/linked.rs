//! `/linked/`: pages that link to each other in all the ways that a crawler must know, and traps.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;

use super::Origin;
use super::answers::{html, sleep_s};
use super::redirects::to;

/// Pages of the tree.
pub const TREE: u64 = 400;

/// The pages, by their paths below `/linked/`.
const PAGES: [(&str, &str); 12] = [
    (
        "",
        r##"<a href="a">a</a> <a href="./b#part">b</a> <a href="b">b again</a> <a rel="nofollow" href="hidden">no</a>
        <a href="javascript:void(0)">script</a> <a href="mailto:a@example.com">mail</a> <a href="#top">top</a>
        <map><area href="map"></map> <iframe src="frame"></iframe> <link rel="next" href="two">
        <link rel="stylesheet" href="style.css"> <img src="image.png"> <a href="http://elsewhere.invalid/">out</a>"##,
    ),
    ("a", r#"<a href="deep/1">deep</a> <a href="/linked/">home</a>"#),
    ("b", r#"<base href="/linked/based/"><a href="x">x</a>"#),
    ("based/x", r#"<meta name="Robots" content="noarchive, NOFOLLOW"><a href="/linked/hidden">no</a>"#),
    ("map", r#"<a href="jump">jump</a> <a href="round/1">round</a> <a href="missing">missing</a>"#),
    ("frame", r#"<link rel="canonical" href="/linked/copy-of-frame">"#),
    ("two", r#"<meta http-equiv="refresh" content="3; URL='refreshed'">"#),
    ("refreshed", r#"<a href="copy-of-frame">copy</a>"#),
    ("deep/1", r#"<meta name="robots" content="noindex"><a href="2">2</a>"#),
    ("landed", r#"<a href="end">end</a>"#),
    ("end", r#"<a href="landed">back</a> <a href="jump">again</a>"#),
    ("copy-of-frame", ""),
];

pub(super) fn routes() -> Router<Arc<Origin>> {
    let fixed = PAGES.iter().fold(Router::new(), |router, (path, body)| {
        router.route(&format!("/linked/{path}"), get(move || async { page(path, body) }))
    });
    fixed
        .route("/linked/deep/2", get(|| async { tagged("nofollow", r#"<a href="/linked/hidden">no</a>"#) }))
        .route("/linked/jump", get(|| async { to("landed", 302) }))
        .route(
            "/linked/round/{n}",
            get(|Path(n): Path<u64>| async move { to(if n == 1 { "2" } else { "1" }, 301) }),
        )
        .route("/linked/tree/{n}", get(tree))
        .route("/linked/links", get(links))
        .route("/linked/leaf/{n}", get(|Path(n): Path<u64>| async move { page(&n.to_string(), "") }))
        .route("/linked/calendar/{year}/{month}", get(calendar))
        .route("/linked/again/{*path}", get(again))
}

fn page(title: &str, body: &str) -> Response {
    html(format!("<!DOCTYPE html><title>{title}</title><p>{body}</p>"))
}

/// A page whose head speaks to robots.
fn tagged(tag: &'static str, body: &str) -> Response {
    ([(HeaderName::from_static("x-robots-tag"), tag)], page("tagged", body)).into_response()
}

#[derive(Deserialize)]
struct Slow {
    #[serde(default)]
    delay: f64,
}

/// `/linked/tree/{n}?delay=S`: a page of a tree, with links back and across.
async fn tree(Path(n): Path<u64>, Query(Slow { delay }): Query<Slow>) -> Response {
    if n >= TREE {
        return StatusCode::NOT_FOUND.into_response();
    }
    sleep_s(delay).await;
    let mut body = String::new();
    for to in [3 * n + 1, 3 * n + 2, 3 * n + 3, n / 3, n * 7 % TREE, (n + 1) % TREE] {
        let _ = write!(body, "<a href=\"{}?delay={delay}\">{to}</a> ", to.min(TREE - 1));
    }
    page(&n.to_string(), &body)
}

#[derive(Deserialize)]
struct Many {
    count: u64,
    /// Port of many hosts; without it, the links lead to pages of this one.
    port: Option<u16>,
}

/// `/linked/links?count=N`: a page with that many links.
async fn links(Query(Many { count, port }): Query<Many>) -> Response {
    let mut body = String::new();
    for n in 0..count {
        let _ = match port {
            None => writeln!(body, "<a href=\"/linked/leaf/{n}\">{n}</a>"),
            Some(port) => {
                writeln!(body, "<a href=\"http://127.1.{}.{}:{port}/\">{n}</a>", n / 250, n % 250 + 1)
            }
        };
    }
    page("many", &body)
}

/// `/linked/calendar/{year}/{month}`: an endless calendar, without any event.
async fn calendar(Path((year, month)): Path<(u64, u64)>) -> Response {
    let (next, last) = (year * 12 + month, (year * 12 + month).saturating_sub(2));
    let link = |at: u64| format!("<a href=\"/linked/calendar/{}/{}\">{at}</a>", at / 12, at % 12 + 1);
    let days: String = (1..=30).map(|day| format!("<td>{day}</td>")).collect();
    page(
        "Calendar",
        &format!(
            "{} {} <table>{days}</table> <p>There is no event in this month.</p>",
            link(next),
            link(last)
        ),
    )
}

/// `/linked/again/…`: a page with a relative link to itself, which grows.
async fn again(Path(path): Path<String>) -> Response {
    page("again", &format!("<a href=\"again/{path}\">more</a>"))
}
