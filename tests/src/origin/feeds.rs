//! Pages in XML, by their media types.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Origin;

const RSS: &str = "<?xml version=\"1.0\"?>\n<rss version=\"2.0\" xmlns:dc=\"http://purl.org/dc/elements/1.1/\"><channel>\
    <title>News</title><link>http://a.example/</link>\
    <item><title><![CDATA[One & <two>]]></title><link>http://a.example/1</link><pubDate>Mon</pubDate><dc:creator>A</dc:creator></item>\
    <item><title>Three</title><link>http://a.example/3</link></item></channel></rss>\n";
const ATOM: &str = "<feed xmlns=\"http://www.w3.org/2005/Atom\"><title>News</title>\
    <entry><title>One &amp; &lt;two&gt;</title><link href=\"/feed/1\"/></entry></feed>\n";
const XHTML: &str = "<html xmlns=\"http://www.w3.org/1999/xhtml\"><head><title>News</title></head>\
    <body><div/><p>One<br/>two</p></body></html>\n";
/// The item is not closed, on line 2.
const BROKEN: &str = "<rss><channel>\n<item><title>x</title></channel></rss>\n";

/// Name, media type, body.
const FEEDS: [(&str, &str, &str); 6] = [
    ("rss", "application/rss+xml", RSS),
    ("text-xml", "Text/XML; charset=utf-8", RSS),
    ("application-xml", "application/xml", RSS),
    ("atom", "application/atom+xml", ATOM),
    ("xhtml", "application/xhtml+xml", XHTML),
    ("broken", "application/rss+xml", BROKEN),
];

pub(super) fn routes() -> Router<Arc<Origin>> {
    Router::new().route("/feed/{name}", get(feed))
}

async fn feed(Path(name): Path<String>) -> Response {
    match FEEDS.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, body)) => ([(header::CONTENT_TYPE, *kind)], *body).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
