//! A shop of three products, as a page that says in every way what it is, and as JSON.

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Origin;
use super::answers::html;

/// `/shop/`: a list of products; JSON-LD, Open Graph and microdata beside it.
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
}

fn json(content_type: &'static str, body: &'static str) -> Response {
    ([(header::CONTENT_TYPE, content_type)], body).into_response()
}

/// Nobody says what it is.
fn untyped(body: &'static str) -> Response {
    let mut response = body.into_response();
    response.headers_mut().remove(header::CONTENT_TYPE);
    response
}
