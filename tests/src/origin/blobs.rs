//! Files of any size that are never in memory or on a disk: each byte follows from the name of the file and its
//! position.
//!
//! `/blob/NAME?bytes=N`, with `Range` and `If-Range`, and an `ETag` of the name, the size and the version.
//! `break_at=K` ends the connection of the first request for the file after K bytes, `version=V` gives other content.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::Origin;

/// Size of the pieces.
const PIECE_BYTES: usize = 256 << 10;

/// The files whose connection was ended once.
pub(super) type Broken = Mutex<HashSet<String>>;

pub(super) fn routes() -> Router<Arc<Origin>> {
    Router::new().route("/blob/{*name}", get(blob))
}

#[derive(Debug, Deserialize)]
struct BlobQuery {
    bytes: u64,
    #[serde(default)]
    version: u64,
    break_at: Option<u64>,
    /// Answers as if ranges did not exist.
    #[serde(default)]
    whole: bool,
}

/// The content of a file.
#[derive(Debug, Clone)]
pub struct Content {
    table: Arc<[u8]>,
}

impl Content {
    /// The content of the file with this name in this version.
    #[must_use]
    pub fn new(name: &str, version: u64) -> Self {
        let seed =
            name.bytes().fold(version, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
        let mut table = vec![0; PIECE_BYTES];
        fastrand::Rng::with_seed(seed).fill(&mut table);
        Self { table: table.into() }
    }

    /// At most a piece of it, from `at` on and before `end`.
    #[must_use]
    pub fn piece(&self, at: u64, end: u64) -> Vec<u8> {
        let size = PIECE_BYTES as u64;
        let (number, from) = (at / size, usize::try_from(at % size).unwrap_or(0));
        let left = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
        let to = from.saturating_add(left).min(PIECE_BYTES);
        // So that no two pieces are the same.
        let mask = number.to_le_bytes();
        let bytes = self.table.get(from..to).unwrap_or_default();
        let start = from % mask.len();
        let mask: Vec<u8> = mask.iter().cycle().skip(start).take(mask.len()).copied().collect();
        bytes
            .chunks(mask.len())
            .flat_map(|chunk| chunk.iter().zip(&mask).map(|(byte, mask)| byte ^ mask))
            .collect()
    }
}

async fn blob(
    State(origin): State<Arc<Origin>>,
    Path(name): Path<String>,
    Query(query): Query<BlobQuery>,
    headers: HeaderMap,
) -> Response {
    let tag = format!("\"{}-{}-{}\"", name.len(), query.bytes, query.version);
    let first = range(&headers, &tag, query.bytes).filter(|_| !query.whole);
    let (status, from) = match first {
        None => (StatusCode::OK, 0),
        Some(first) if first < query.bytes => (StatusCode::PARTIAL_CONTENT, first),
        Some(_) => {
            let range = format!("bytes */{}", query.bytes);
            return (StatusCode::RANGE_NOT_SATISFIABLE, [(header::CONTENT_RANGE, range)]).into_response();
        }
    };
    let breaks = query.break_at.filter(|_| {
        let mut broken = origin.broken.lock().unwrap_or_else(PoisonError::into_inner);
        broken.insert(name.clone())
    });
    let body = body(Content::new(&name, query.version), from, query.bytes, breaks);
    let mut response = (status, body).into_response();
    let out = response.headers_mut();
    out.insert(header::CONTENT_LENGTH, (query.bytes - from).into());
    out.insert(header::ACCEPT_RANGES, header::HeaderValue::from_static("bytes"));
    out.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/octet-stream"));
    if let Ok(tag) = tag.parse() {
        out.insert(header::ETAG, tag);
    }
    let range = format!("bytes {from}-{}/{}", query.bytes.saturating_sub(1), query.bytes);
    if let (StatusCode::PARTIAL_CONTENT, Ok(range)) = (status, range.parse()) {
        out.insert(header::CONTENT_RANGE, range);
    }
    response
}

/// The first byte that is asked for, if it is a part of this version.
fn range(headers: &HeaderMap, tag: &str, bytes: u64) -> Option<u64> {
    let value = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let (first, last) = value(header::RANGE)?.strip_prefix("bytes=")?.split_once('-')?;
    let is_rest = last.is_empty() || last.parse::<u64>().ok()? + 1 == bytes;
    let same = value(header::IF_RANGE).is_none_or(|wanted| wanted == tag);
    first.parse().ok().filter(|_| is_rest && same)
}

fn body(content: Content, from: u64, end: u64, breaks: Option<u64>) -> Body {
    let (sender, receiver) = mpsc::channel(2);
    tokio::spawn(async move {
        let stop = breaks.unwrap_or(u64::MAX);
        let mut at = from;
        while at < end.min(stop) {
            let piece = content.piece(at, end.min(stop));
            at += piece.len() as u64;
            if sender.send(Ok(Bytes::from(piece))).await.is_err() {
                return;
            }
        }
        if at < end {
            let _ = sender.send(Err(io::Error::from(io::ErrorKind::ConnectionReset))).await;
        }
    });
    Body::new(Pieces { receiver })
}

/// A body fed by a task.
struct Pieces {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
}

impl axum::body::HttpBody for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<io::Result<hyper::body::Frame<Bytes>>>> {
        self.receiver.poll_recv(cx).map(|piece| piece.map(|bytes| bytes.map(hyper::body::Frame::data)))
    }
}
