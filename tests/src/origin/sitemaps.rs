//! Sitemaps: an index of all their forms, and faulty ones.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;

use super::Origin;

/// Pages in each of the three sitemaps in the index.
const PAGES_EACH: u32 = 10;

pub(super) fn routes() -> Router<Arc<Origin>> {
    Router::new()
        .route("/sitemap.xml", get(index))
        .route("/sitemaps/{name}", get(one))
        .route("/sitemaps/deep/{levels}", get(deep))
        .route("/sitemap-of", get(given))
}

/// `/sitemap.xml`: an index of three sitemaps: XML, compressed XML, and text.
async fn index(State(origin): State<Arc<Origin>>, uri: Uri, headers: HeaderMap) -> Response {
    let base = origin.base_url(&headers, &uri);
    let named = ["pages.xml", "pages.xml.gz", "pages.txt"].map(|name| format!("{base}/sitemaps/{name}"));
    indexing(&named).into_response()
}

fn indexing(urls: &[String]) -> String {
    let mut body = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<sitemapindex>\n");
    for url in urls {
        // Writing to a `String` cannot fail.
        let _ = writeln!(body, "<sitemap><loc>{url}</loc></sitemap>");
    }
    body.push_str("</sitemapindex>\n");
    body
}

fn listing(base: &str, pages: std::ops::Range<u32>) -> String {
    let mut body = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\" xmlns:image=\"http://example.org/image\">\n",
    );
    for n in pages {
        let _ = writeln!(
            body,
            "<url><loc>{base}/site/page/{n}?a=1&amp;b=2</loc><lastmod>2024-01-{:02}</lastmod>\
             <image:image><image:loc>{base}/no/such/image</image:loc></image:image></url>",
            n + 1
        );
    }
    body.push_str("</urlset>\n");
    body
}

/// `/sitemaps/{name}`: a valid sitemap, or one with the fault that its name states.
async fn one(
    State(origin): State<Arc<Origin>>,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let base = origin.base_url(&headers, &uri);
    let here = |name: &str| format!("{base}/sitemaps/{name}");
    let text = match name.as_str() {
        "pages.xml" => listing(&base, 0..PAGES_EACH),
        "pages.xml.gz" => return packed(listing(&base, PAGES_EACH..2 * PAGES_EACH).as_bytes()),
        "pages.txt" => (2 * PAGES_EACH..3 * PAGES_EACH).fold(String::new(), |mut text, n| {
            let _ = writeln!(text, "{base}/site/page/{n}");
            text
        }),
        "utf16.xml" => {
            let text = listing(&base, 0..2);
            return [0xfeff]
                .into_iter()
                .chain(text.encode_utf16())
                .flat_map(u16::to_le_bytes)
                .collect::<Vec<u8>>()
                .into_response();
        }
        "mixed.xml" => format!(
            "<urlset><url><loc>/relative</loc></url><url><loc>ftp://a/</loc></url><url/>\
             <url><loc><![CDATA[{base}/site/page/1]]></loc></url></urlset>"
        ),
        "circle.xml" => indexing(&[here("circle.xml"), here("pages.txt"), here("circle.xml")]),
        "partly-gone.xml" => indexing(&[here("pages.txt"), here("gone.xml"), format!("{base}/status/500")]),
        "partly-broken.xml" => indexing(&[here("malformed.xml"), here("pages.txt"), here("html")]),
        "partly-slow.xml" => indexing(&[format!("{base}/delay/30"), here("pages.txt")]),
        "partly-deep.xml" => indexing(&[here("pages.txt"), here("deep/1"), here("deep/5")]),
        "html" => "<!DOCTYPE html><html><body>not found</body></html>".to_owned(),
        "malformed.xml" => "<urlset><url><loc>http://a/</url></urlset>".to_owned(),
        "entities.xml" => format!(
            "<!DOCTYPE u [<!ENTITY a \"{base}\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\"><!ENTITY c \"&b;&b;&b;&b;&b;&b;\">]>\
             <urlset><url><loc>&c;</loc></url></urlset>"
        ),
        "bomb.xml.gz" => return packed(&vec![b' '; 100 << 20]),
        "hollow.xml.gz" => return packed_members(100_000),
        "huge.xml" => " ".repeat(100 << 20),
        "many.txt" => (0..50_001).fold(String::new(), |mut text, n| {
            let _ = writeln!(text, "{base}/site/page/{n}");
            text
        }),
        _ => return (StatusCode::NOT_FOUND, "no such sitemap\n").into_response(),
    };
    text.into_response()
}

/// `/sitemaps/deep/{levels}`: that many nested indexes, and a page in the innermost.
async fn deep(
    State(origin): State<Arc<Origin>>,
    Path(levels): Path<u32>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let base = origin.base_url(&headers, &uri);
    match levels.checked_sub(1) {
        Some(below) => indexing(&[format!("{base}/sitemaps/deep/{below}")]).into_response(),
        None => listing(&base, 0..1).into_response(),
    }
}

#[derive(Debug, Deserialize)]
struct GivenQuery {
    /// URLs of pages, separated by semicolons; or of sitemaps, separated by commas.
    #[serde(default)]
    pages: String,
    #[serde(default)]
    sitemaps: String,
}

/// `/sitemap-of`: a sitemap of any pages, or an index of any sitemaps. It also lists a page that says how many of the
/// request's headers begin with `x-`.
async fn given(
    State(origin): State<Arc<Origin>>,
    Query(query): Query<GivenQuery>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let urls = |text: &str, by: char| {
        text.split(by).filter(|url| !url.is_empty()).map(ToOwned::to_owned).collect::<Vec<String>>()
    };
    let sitemaps = urls(&query.sitemaps, ',');
    if !sitemaps.is_empty() {
        return indexing(&sitemaps).into_response();
    }
    let own = headers.keys().filter(|name| name.as_str().starts_with("x-")).count();
    let saw = format!("{}/echo/sitemap-saw-{own}", origin.base_url(&headers, &uri));
    let mut pages = urls(&query.pages, ';');
    pages.push(saw);
    pages.join("\n").into_response()
}

/// Members of gzip data without anything in them.
fn packed_members(count: usize) -> Response {
    match flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()).finish() {
        Ok(member) => member.repeat(count).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn packed(bytes: &[u8]) -> Response {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    match encoder.write_all(bytes).and_then(|()| encoder.finish()) {
        Ok(packed) => packed.into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
