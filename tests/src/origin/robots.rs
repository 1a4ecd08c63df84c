//! `/robots.txt`, good and bad: what `--robots` of the server says.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use clap::ValueEnum;

use super::answers::{sleep_s, small_page, with_status};
use super::redirects::to;
use super::{Origin, bodies};

/// Forbids a few pages to all robots, and others to `other`.
const RULES: &str = "\
User-agent: other
Disallow: /

User-agent: *
Disallow: /counted/0
Disallow: /*private
Allow: /echo/private/not
";

/// The same with a byte order mark, old line ends, and a path in Latin-1.
const ODD: &[u8] =
    b"\xef\xbb\xbfuser-agent : * # all\rDISALLOW /counted/0\r\nDissallow: /caf\xe9\n\0\xff\xfe: x\n";

/// Size of a huge one: more than a client should read.
const HUGE_BYTES: usize = 1 << 30;

/// What `/robots.txt` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum RobotsKind {
    /// Not there
    Missing,
    /// A small file
    Rules,
    /// The same, for clients with an `Authorization` header; 401 for others
    Private,
    /// The same, compressed
    Gzip,
    /// The same, untidy
    Odd,
    /// The same, and a gigabyte of comments
    Huge,
    /// A page
    Html,
    /// The small file, after a redirect
    Moved,
    /// A redirect to itself
    Loop,
    /// 503 for the first three seconds of the server, then the small file
    Down,
    /// The small file, after a second
    Slow,
    /// Never sent
    Silent,
    /// A delay of 0.2 s
    Delay,
    /// A delay of a day
    Never,
}

/// How long [`RobotsKind::Down`] lasts.
const DOWN: Duration = Duration::from_secs(3);

pub(super) fn routes() -> Router<Arc<Origin>> {
    Router::new()
        .route("/robots.txt", get(robots))
        .route("/moved/robots.txt", get(|| async { text(RULES.as_bytes()) }))
}

async fn robots(State(origin): State<Arc<Origin>>, headers: HeaderMap) -> Response {
    match origin.robots {
        RobotsKind::Missing => StatusCode::NOT_FOUND.into_response(),
        RobotsKind::Rules => text(RULES.as_bytes()),
        RobotsKind::Private if headers.contains_key(header::AUTHORIZATION) => text(RULES.as_bytes()),
        RobotsKind::Private => StatusCode::UNAUTHORIZED.into_response(),
        RobotsKind::Gzip => gzip().unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response()),
        RobotsKind::Odd => text(ODD),
        RobotsKind::Huge => bodies::repeated(RULES.as_bytes(), "# nothing but comments\n", HUGE_BYTES),
        RobotsKind::Html => small_page("No rules"),
        RobotsKind::Moved => to("/moved/robots.txt", 301),
        RobotsKind::Loop => to("/robots.txt", 302),
        RobotsKind::Down if origin.stats.age() < DOWN => with_status(StatusCode::SERVICE_UNAVAILABLE, None),
        RobotsKind::Down => text(RULES.as_bytes()),
        RobotsKind::Slow => {
            sleep_s(1.0).await;
            text(RULES.as_bytes())
        }
        RobotsKind::Silent => std::future::pending().await,
        RobotsKind::Delay => text(b"User-agent: *\nCrawl-delay: 0.2\n"),
        RobotsKind::Never => text(b"User-agent: *\nCrawl-delay: 86400\n"),
    }
}

fn text(body: &'static [u8]) -> Response {
    ([(header::CONTENT_TYPE, "text/plain")], Bytes::from_static(body)).into_response()
}

fn gzip() -> std::io::Result<Response> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(RULES.as_bytes())?;
    let headers = [(header::CONTENT_TYPE, "text/plain"), (header::CONTENT_ENCODING, "gzip")];
    Ok((headers, writer.finish()?).into_response())
}
