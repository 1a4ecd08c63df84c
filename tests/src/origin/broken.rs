//! Responses that are not HTTP, end too early, or never arrive.

use std::sync::Arc;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;

use super::Origin;
use super::wire::{Sabotage, Script, Then};

/// Path, bytes to send, and what follows them.
const ENDPOINTS: &[(&str, &str, Then)] = &[
    ("/drop", "", Then::Close),
    ("/reset", "", Then::Reset),
    ("/hang", "", Then::Hang),
    ("/hang-in-head", "HTTP/1.1 200 OK\r\nContent-Type: text/", Then::Hang),
    (
        "/hang-after-head",
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 100\r\n\r\n",
        Then::Hang,
    ),
    ("/hang-in-body", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n<title>Half a page</title>", Then::Hang),
    ("/drop-in-head", "HTTP/1.1 200 OK\r\nContent-Type: text/", Then::Close),
    ("/drop-after-head", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", Then::Close),
    ("/truncated", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n<title>Half a page</title>", Then::Close),
    (
        "/reset-in-body",
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n<title>Half a page</title>",
        Then::Reset,
    ),
    (
        "/truncated-chunked",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n<title>Half",
        Then::Close,
    ),
    // The last chunk is missing: all data arrives, but nothing marks its end.
    (
        "/unfinished-chunked",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n<title>Whole</title>\r\n",
        Then::Close,
    ),
    ("/bad-chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n<title>", Then::Close),
    // More bytes than announced: the surplus is not part of the response.
    (
        "/wrong-length",
        "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n<title>Short</title><p>and more",
        Then::Close,
    ),
    ("/bad-length", "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n<title>Short</title>", Then::Close),
    (
        "/two-lengths",
        "HTTP/1.1 200 OK\r\nContent-Length: 20\r\nContent-Length: 25\r\n\r\n<title>Short</title>12345",
        Then::Close,
    ),
    ("/bad-status-line", "HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n", Then::Close),
    ("/bad-version", "HTTP/7.9 200 OK\r\nContent-Length: 0\r\n\r\n", Then::Close),
    ("/not-http", "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", Then::Close),
    ("/nul-in-head", "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n", Then::Close),
    // Invalid but unambiguous: browsers read all of these.
    (
        "/untidy-head",
        "HTTP/1.1 200 OK\r\n lost\r\nno colon here\r\nPHP Warning: x\r\nSet-Cookie: a=b\r\n   c: d\r\n\
         Content-Type : text/html;\r\n\tcharset=utf-8\r\nX: \x01\x1b[0m\x7f\r\nServer: a\n\r\n\
         <title>Untidy</title>",
        Then::Close,
    ),
    ("/odd-status-line", "HTTP/1.1\t 200  O\x01K\r\n\r\n<title>Odd</title>", Then::Close),
    (
        "/chunked-twice",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked, chunked\r\n\r\n\
         14\r\n<title>Twice</title>\r\n0\r\n\r\n",
        Then::Close,
    ),
    (
        "/identity-chunked",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity, chunked\r\n\r\n\
         16\r\n<title>Chunked</title>\r\n0\r\n\r\n",
        Then::Close,
    ),
    (
        "/identity",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n<title>Identity</title>",
        Then::Close,
    ),
    // Valid but old: the end of the connection ends the body.
    (
        "/until-close",
        "HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<title>Until the end</title>",
        Then::Close,
    ),
    // Valid but rare: an interim response before the final one.
    (
        "/early-hints",
        "HTTP/1.1 103 Early Hints\r\nLink: </s.css>; rel=preload\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 20\r\nConnection: close\r\n\r\n<title>After</title>",
        Then::Close,
    ),
];

/// Header bytes that `/huge-head` sends: far more than any client reads.
const HUGE_HEAD_BYTES: usize = 4 << 20;

pub(super) fn routes() -> Router<Arc<Origin>> {
    let plain = ENDPOINTS.iter().fold(Router::new(), |router, &(path, bytes, then)| {
        router.route(
            path,
            get(move |ConnectInfo(sabotage): ConnectInfo<Sabotage>| async move {
                play(&sabotage, Bytes::from_static(bytes.as_bytes()), then)
            }),
        )
    });
    plain
        .route("/huge-head", get(huge_head))
        .route("/many-headers", get(many_headers))
        .route("/large-head", get(large_head))
        .route("/long-chunk-lines", get(long_chunk_lines))
}

async fn huge_head(ConnectInfo(sabotage): ConnectInfo<Sabotage>) -> Response {
    let line = "X-Filler: all work and no play makes a long head\r\n";
    let head = format!("HTTP/1.1 200 OK\r\n{}", line.repeat(HUGE_HEAD_BYTES / line.len()));
    play(&sabotage, Bytes::from(head), Then::Close)
}

async fn many_headers(ConnectInfo(sabotage): ConnectInfo<Sabotage>) -> Response {
    let lines: String = (0..5000).map(|i| format!("X-{i}: {i}\r\n")).collect();
    let bytes = Bytes::from(format!("HTTP/1.1 200 OK\r\n{lines}\r\n<title>Many headers</title>"));
    play(&sabotage, bytes, Then::Close)
}

async fn large_head(ConnectInfo(sabotage): ConnectInfo<Sabotage>) -> Response {
    let value = "v".repeat(300_000);
    let bytes = Bytes::from(format!("HTTP/1.1 200 OK\r\nX: {value}\r\n\r\n<title>Large head</title>"));
    play(&sabotage, bytes, Then::Close)
}

async fn long_chunk_lines(ConnectInfo(sabotage): ConnectInfo<Sabotage>) -> Response {
    let (extension, padding) = ("x=y;".repeat(5000), " ".repeat(100));
    let bytes = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
         7;{extension}\r\n<title>\r\na{padding}\r\nLong lines\r\n0{padding}\r\nX: {padding}\r\n\r\n"
    );
    play(&sabotage, Bytes::from(bytes), Then::Close)
}

/// The response returned here is never sent. It only makes the server write and close.
fn play(sabotage: &Sabotage, bytes: Bytes, then: Then) -> Response {
    sabotage.play(Script { bytes, then });
    (StatusCode::OK, [(header::CONNECTION, "close")]).into_response()
}
