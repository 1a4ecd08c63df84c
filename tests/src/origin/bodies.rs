//! Bodies that are slow, huge or deep.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Query;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::Origin;
use super::answers::html;

/// Size of the pieces of a generated body.
const CHUNK_BYTES: usize = 64 << 10;

/// Maximum nesting, because the page is made in memory.
const NESTED_BYTES_MAX: usize = 64 << 20;

pub(super) fn routes() -> Router<Arc<Origin>> {
    Router::new().route("/drip", get(drip)).route("/huge", get(huge)).route("/nested", get(nested))
}

#[derive(Debug, Deserialize)]
struct DripQuery {
    bytes: usize,
    seconds: f64,
    /// Whether to announce the length; otherwise the body is chunked.
    #[serde(default)]
    length: bool,
    /// Makes the page differ from others.
    #[serde(default)]
    text: String,
}

/// A body that arrives byte by byte over `seconds`.
async fn drip(Query(query): Query<DripQuery>) -> Response {
    let head = "<title>Drip</title>";
    let text = head.chars().chain(query.text.chars()).chain(std::iter::repeat('.'));
    let text: String = text.take(query.bytes).collect();
    let pause = query.seconds / f64::from(u32::try_from(query.bytes.max(1)).unwrap_or(u32::MAX));
    let pause = Duration::try_from_secs_f64(pause).unwrap_or(Duration::ZERO);
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        for byte in text.into_bytes() {
            tokio::time::sleep(pause).await;
            if sender.send(Bytes::from(vec![byte])).await.is_err() {
                return;
            }
        }
    });
    streamed(receiver, query.length.then_some(query.bytes))
}

#[derive(Debug, Deserialize)]
struct SizeQuery {
    bytes: usize,
    #[serde(default)]
    length: bool,
}

/// A page of any size, which is never in memory as a whole.
async fn huge(Query(query): Query<SizeQuery>) -> Response {
    let line = "<p>All work and no play makes a long page. <a href=\"/site/\">More</a></p>\n";
    let receiver = cycle(b"<!DOCTYPE html>\n<title>Huge</title>\n", line, query.bytes);
    streamed(receiver, query.length.then_some(query.bytes))
}

/// A text of any size: `head`, and then one line again and again.
pub(super) fn repeated(head: &'static [u8], line: &str, bytes: usize) -> Response {
    streamed(cycle(head, line, bytes), Some(bytes))
}

fn cycle(head: &'static [u8], line: &str, bytes: usize) -> mpsc::Receiver<Bytes> {
    let block: Bytes = line.bytes().cycle().take(CHUNK_BYTES).collect();
    let head = Bytes::from_static(head);
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        let mut left = bytes;
        let mut chunk = head;
        while left > 0 {
            let chunk_now = chunk.slice(..chunk.len().min(left));
            left -= chunk_now.len();
            if sender.send(chunk_now).await.is_err() {
                return;
            }
            chunk = block.clone();
        }
    });
    receiver
}

fn streamed(receiver: mpsc::Receiver<Bytes>, length: Option<usize>) -> Response {
    let mut response = ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], Body::new(Chunks { receiver }))
        .into_response();
    if let Some(length) = length {
        response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    }
    response
}

/// A body fed by a task.
struct Chunks {
    receiver: mpsc::Receiver<Bytes>,
}

impl axum::body::HttpBody for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
        self.receiver.poll_recv(cx).map(|chunk| chunk.map(|bytes| Ok(hyper::body::Frame::data(bytes))))
    }
}

/// Nested `<div>` elements, `bytes` long, none of them closed.
async fn nested(Query(query): Query<SizeQuery>) -> Response {
    let head = "<!DOCTYPE html>\n<title>Nested</title>\n";
    let depth = query.bytes.min(NESTED_BYTES_MAX).saturating_sub(head.len()) / "<div>".len();
    html(format!("{head}{}", "<div>".repeat(depth)))
}
