//! A shop with three products, as JSON and as a page with every kind of structured data.

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;

use super::Origin;
use super::answers::html;

/// `/shop/`: a list of products with JSON-LD, Open Graph and microdata.
pub const PAGE: &str = r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Kettles - The Shop</title>
<meta name="description" content="Three kettles &amp; nothing else">
<meta property="og:title" content="Kettles">
<meta property="og:image" content="/img/1.jpg">
<meta property="og:image" content="/img/2.jpg">
<script type="application/ld+json">
{"@context": "https://schema.org", "@type": "ItemList", "numberOfItems": 3, "name": "Kettles"}
</script>
<script type="application/ld+json">{"@type": "Broken", </script>
</head>
<body>
<h1>Kettles <small>(3)</small></h1>
<div class="product" id="k1"><h2>Copper</h2> <b class="price">&pound;1,249.50</b> <a href="copper?ref=list">More</a>
<ul><li>2 l</li><li>whistles</li></ul></div>
<div class="product" id="k2"><h2> Steel </h2> <b class="price">&pound;39</b> <a href="/shop/steel">More</a></div>
<div class="product" id="k3"><h2>Glass</h2> <b class="price">sold out</b></div>
<div itemscope itemtype="https://schema.org/Organization"><span itemprop="name">The Shop</span>
<a itemprop="url" href="/">Home</a></div>
</body>
</html>
"#;

/// `/shop/items.json`: the same products.
pub const ITEMS: &str = r#"{"total": 3, "items": [
  {"id": "k1", "name": "Copper", "price": 1249.5, "tags": ["2 l", "whistles"]},
  {"id": "k2", "name": "Steel", "price": 39, "tags": []},
  {"id": "k3", "name": "Glass", "price": null, "tags": ["new"]}
]}
"#;

/// `/shop/plain` as text, `/shop/page` as a page: JSON with a wrong media type, numbers that no double can hold,
/// and half a character.
pub const NUMBERS: &str = r#"
  {"id": 1712345678901234567890, "price": 0.36995516654807925, "far": 1e400, "note": "x\ud83d"}"#;

/// `/shop/twice`: a page in windows-1251. Its second `Content-Type` line does not remove the charset of the first.
/// Its JSON-LD is wrapped, has a line end in a text, and has parameters in its type.
pub const TWICE: &[u8] = b"<title>\xef\xf0\xe8\xe2\xe5\xf2</title>\
    <script type=\"application/ld+json;profile='a;b'\"><!--\n{\"a\": \"b\nc\", \"price\": 12.50};\n--></script>";

pub(super) fn routes() -> Router<Arc<Origin>> {
    Router::new()
        .route("/shop/", get(|| async { html(PAGE) }))
        .route("/shop/items.json", get(|| async { json("application/json", ITEMS) }))
        .route("/shop/problem", get(|| async { json("application/problem+json; charset=utf-8", ITEMS) }))
        .route(
            "/shop/cut.json",
            get(|| async { json("application/json", ITEMS.get(..60).unwrap_or_default()) }),
        )
        .route("/shop/untyped", get(|| async { untyped(ITEMS) }))
        .route("/shop/plain", get(|| async { json("text/plain", NUMBERS) }))
        .route("/shop/page", get(|| async { json("text/html; charset=utf-8", NUMBERS) }))
        .route("/shop/twice", get(|| async { twice() }))
}

fn json(content_type: &'static str, body: &'static str) -> Response {
    ([(header::CONTENT_TYPE, content_type)], body).into_response()
}

/// A page with two `Content-Type` lines.
fn twice() -> Response {
    let kinds = ["text/html; boundary=\"; charset=gbk\"; charset=windows-1251", "text/html"];
    (AppendHeaders(kinds.map(|kind| (header::CONTENT_TYPE, kind))), Bytes::from_static(TWICE)).into_response()
}

/// A response without `Content-Type`.
fn untyped(body: &'static str) -> Response {
    let mut response = body.into_response();
    response.headers_mut().remove(header::CONTENT_TYPE);
    response
}
