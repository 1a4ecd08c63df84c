//! A web site of N pages, each a pure function of its number and N.
//!
//! Sizes spread evenly on a logarithmic scale from 2 to 60 KB. Some pages have
//! a `<base>`, some no title, some a title with entities or across lines.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use fastrand::Rng;

use super::answers::html;
use super::{Origin, prose};

/// Range of the pages' target sizes, in bytes. The last block may exceed it.
const PAGE_BYTES: (f64, f64) = (2_000.0, 58_000.0);

/// Maximum pages kept in memory. A site of 10,000 takes 170 MB.
const CACHE_BYTES_MAX: usize = 256 << 20;

/// The pages, each made on its first request.
#[derive(Debug)]
pub(super) struct Site {
    pages: Vec<OnceLock<Bytes>>,
    cached_bytes: AtomicUsize,
}

impl Site {
    pub(super) fn new(pages: u32) -> Self {
        let pages = (0..pages).map(|_| OnceLock::new()).collect();
        Self { pages, cached_bytes: AtomicUsize::new(0) }
    }

    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.pages.len()).unwrap_or(u32::MAX)
    }

    /// Returns the page's bytes, if the site has such a page.
    pub(super) fn page(&self, n: u32) -> Option<Bytes> {
        let cached = self.pages.get(usize::try_from(n).ok()?)?;
        if let Some(bytes) = cached.get() {
            return Some(bytes.clone());
        }
        let bytes = Bytes::from(page(n, self.len()));
        if self.cached_bytes.fetch_add(bytes.len(), Ordering::Relaxed) < CACHE_BYTES_MAX {
            // Another request may have made it meanwhile, with the same bytes.
            let _ = cached.set(bytes.clone());
        }
        Some(bytes)
    }
}

pub(super) fn routes() -> Router<Arc<Origin>> {
    Router::new()
        .route("/site/", get(index))
        .route("/site/urls.txt", get(urls))
        .route("/site/page/{n}", get(serve_page))
        // The target of relative links on a page with a `<base>`.
        .route("/site/archive/page/{n}", get(serve_page))
}

async fn serve_page(State(origin): State<Arc<Origin>>, Path(n): Path<u32>) -> Response {
    match origin.site.page(n) {
        Some(page) => html(page),
        None => (StatusCode::NOT_FOUND, "no such page\n").into_response(),
    }
}

/// `/site/`: a link to each page.
async fn index(State(origin): State<Arc<Origin>>) -> Response {
    let mut body =
        String::from("<!DOCTYPE html>\n<html><head><title>Index of the site</title></head><body><ol>\n");
    for n in 0..origin.site.len() {
        // Writing to a `String` cannot fail.
        let _ = writeln!(body, "<li><a href=\"page/{n}\">Page {n}</a></li>");
    }
    body.push_str("</ol></body></html>\n");
    html(body)
}

/// `/site/urls.txt`: the absolute URL of each page, one a line, as input for `fetch -i`.
async fn urls(State(origin): State<Arc<Origin>>, uri: Uri, headers: HeaderMap) -> Response {
    let base = origin.base_url(&headers, &uri);
    let mut body = String::new();
    for n in 0..origin.site.len() {
        let _ = writeln!(body, "{base}/site/page/{n}");
    }
    ([(header::CONTENT_TYPE, "text/plain")], body).into_response()
}

/// Page `n` of a site of `pages` pages.
#[must_use]
pub fn page(n: u32, pages: u32) -> String {
    let mut rng = Rng::with_seed(u64::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let (smallest, largest) = PAGE_BYTES;
    let bytes_aim = smallest * (largest / smallest).powf(rng.f64());
    let mut html = head(n, &mut rng);
    while (html.len() as f64) < bytes_aim {
        let links: Vec<_> = (0..rng.usize(0..6)).map(|_| link(n, pages, &mut rng)).collect();
        html.push_str(&prose::block(&mut rng, &links));
    }
    html.push_str("</main>\n<footer><p>&copy; 2024&ndash;2026 <a href=\"/site/\">The site</a></footer>\n</body></html>\n");
    html
}

fn head(n: u32, rng: &mut Rng) -> String {
    let mut html = String::from("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    html.push_str(
        "<!-- <title>Not this one</title> -->\n<script>var a = \"<title>nor this</title>\";</script>\n",
    );
    if n % 7 == 3 {
        html.push_str("<base href=\"/site/archive/\">\n");
    }
    let words = prose::words(rng, 4);
    let _ = match n % 97 {
        13 => writeln!(html, "<meta name=\"untitled\" content=\"{words}\">"),
        21 => writeln!(html, "<title></title>"),
        34 => writeln!(html, "<TITLE>\n  Page {n}:\n  {words}\n</TITLE>"),
        55 => writeln!(html, "<title>Page {n} &mdash; {words} &amp; &#8220;more&#8221; &lt;b&gt;</title>"),
        _ => writeln!(html, "<title>Page {n}: {words}</title>"),
    };
    let _ = writeln!(
        html,
        "<meta name=\"description\" content=\"{}\">\n<link rel=\"stylesheet\" href=\"/site/style.css?v={n}\">\n</head>\n<body>",
        prose::words(rng, 9)
    );
    html.push_str("<header><nav><a href=\"/site/\">Home</a> | <a href=\"#top\">Top</a> | <a href=\"?print=1&amp;n=2\">Print</a>");
    html.push_str(" | <a name=\"here\">Here</a> | <a href>Nowhere</a></nav></header>\n<main id=\"top\">\n");
    let _ = writeln!(html, "<h1 class=\"headline big\">{words}</h1>");
    html
}

/// Returns a link in one of many styles, mostly to another page of the site.
fn link(n: u32, pages: u32, rng: &mut Rng) -> String {
    let to = rng.u32(0..pages.max(1));
    match rng.u8(..16) {
        0 => format!("/site/page/{to}#{}", rng.u8(..)),
        1 => format!("./{to}"),
        2 => format!("../page/{to}?from={n}&amp;x=%20y"),
        3 => format!("https://example.org/{to}/path"),
        4 => format!("//example.net/{to}"),
        5 => format!("mailto:someone{to}@example.org"),
        6 => format!("page/{to}"),
        7 => format!("http://[broken/{to}"),
        8 => format!("/site/caf\u{e9}/{to}"),
        9 => "javascript:void(0)".to_owned(),
        _ => format!("/site/page/{to}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_a_function_of_its_number() {
        assert_eq!(page(5, 100), page(5, 100));
        assert_ne!(page(5, 100), page(6, 100));
    }

    #[test]
    fn sizes_spread_from_two_to_sixty_kilobytes() {
        let mut sizes: Vec<_> = (0..500).map(|n| page(n, 500).len()).collect();
        sizes.sort_unstable();
        assert!((2_000..4_000).contains(&sizes[25]), "{sizes:?}");
        assert!((8_000..16_000).contains(&sizes[250]), "{sizes:?}");
        assert!((40_000..66_000).contains(&sizes[499]), "{sizes:?}");
    }
}
