//! Files of any size that are never in memory or on a disk: each byte follows from the name of the file and its
//! position.
//!
//! `/blob/NAME?bytes=N`, with `Range` and `If-Range`, and an `ETag` of the name, the size and the version.
//! `break_at=K` ends the connection of the first request for the file after K bytes, `version=V` gives other content.
//! `/sha256/NAME?bytes=N` is the hash of the file, in hexadecimal digits.
//!
//! Pieces are not copied, so that the server costs little beside the clients that are measured with it.

use std::collections::HashSet;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::{self, Poll};

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use hyper::body::Frame;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::Origin;

/// Size of the pieces.
const PIECE_BYTES: usize = 256 << 10;

/// Bytes at the start of each piece that no other piece has.
const STAMP_BYTES: usize = 16;

/// What follows the stamp, in every piece of every file.
static FILLING: LazyLock<Bytes> = LazyLock::new(|| {
    let mut filling = vec![0; PIECE_BYTES - STAMP_BYTES];
    fastrand::Rng::with_seed(1).fill(&mut filling);
    filling.into()
});

/// The files whose connection was ended once.
pub(super) type Broken = Mutex<HashSet<String>>;

pub(super) fn routes() -> Router<Arc<Origin>> {
    Router::new().route("/blob/{*name}", get(blob)).route("/sha256/{*name}", get(sha256))
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
    /// What is wrong with the answer to a request for a range.
    lie: Option<Lie>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Lie {
    /// It is of another version, and says so.
    Version,
    /// It is the whole file.
    Long,
    /// It has no length, and ends after a thousand bytes; the second one is right.
    Short,
    /// It is said to be compressed.
    Packed,
}

impl Origin {
    /// Whether it is the first time that something may go wrong with this file.
    fn breaks_first(&self, name: &str) -> bool {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned())
    }
}

/// The content of a file.
#[derive(Debug, Clone, Copy)]
pub struct Content {
    seed: u64,
}

impl Content {
    /// The content of the file with this name in this version.
    #[must_use]
    pub fn new(name: &str, version: u64) -> Self {
        let seed =
            name.bytes().fold(version, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
        Self { seed }
    }

    /// What of it can be had at once, from `at` on and before `end`; nothing if there is nothing.
    #[must_use]
    pub fn piece(self, at: u64, end: u64) -> Bytes {
        let size = PIECE_BYTES as u64;
        let (number, from) = (at / size, usize::try_from(at % size).unwrap_or(0));
        let left = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
        let to = from.saturating_add(left).min(PIECE_BYTES);
        match from.checked_sub(STAMP_BYTES) {
            Some(from) => FILLING.slice(from..to - STAMP_BYTES),
            None => {
                let stamp = [self.seed.to_be_bytes(), number.to_be_bytes()].concat();
                Bytes::from(stamp).slice(from..to.min(STAMP_BYTES))
            }
        }
    }

    /// The hash of the first `bytes` bytes, in hexadecimal digits.
    #[must_use]
    pub fn sha256(self, bytes: u64) -> String {
        let (mut hasher, mut at) = (Sha256::new(), 0);
        while at < bytes {
            let piece = self.piece(at, bytes);
            at += piece.len() as u64;
            hasher.update(&piece);
        }
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

async fn sha256(Path(name): Path<String>, Query(query): Query<BlobQuery>) -> String {
    Content::new(&name, query.version).sha256(query.bytes)
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
    let breaks = query.break_at.filter(|_| origin.breaks_first(&name));
    let mut body =
        Pieces { content: Content::new(&name, query.version), at: from, stop: breaks, end: query.bytes };
    let lie = query.lie.filter(|_| status == StatusCode::PARTIAL_CONTENT);
    let lie = lie.filter(|lie| *lie != Lie::Short || origin.breaks_first(&format!("{name} short")));
    match lie {
        Some(Lie::Version) => body.content = Content::new(&name, query.version + 1),
        Some(Lie::Long) => body.at = 0,
        Some(Lie::Short) => body.end = from + 1000,
        Some(Lie::Packed) | None => {}
    }
    let (at, end) = (body.at, body.end);
    let mut response = (status, Body::new(body)).into_response();
    let out = response.headers_mut();
    if lie != Some(Lie::Short) {
        out.insert(header::CONTENT_LENGTH, (end - at).into());
    }
    if lie == Some(Lie::Packed) {
        out.insert(header::CONTENT_ENCODING, header::HeaderValue::from_static("gzip"));
    }
    let tag = if lie == Some(Lie::Version) { "\"another\"".to_owned() } else { tag };
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

/// The rest of a file, which is made while it is sent.
struct Pieces {
    content: Content,
    at: u64,
    /// Where the connection breaks.
    stop: Option<u64>,
    end: u64,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let end = self.end.min(self.stop.unwrap_or(u64::MAX));
        if self.at >= self.end {
            return Poll::Ready(None);
        }
        let piece = self.content.piece(self.at, end);
        if piece.is_empty() {
            return Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())));
        }
        self.at += piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}
