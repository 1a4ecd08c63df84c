//! Bodies that only keep a decoder busy: gigabytes of compressed nothing behind a few bytes on the wire.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Path, Query};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress, write::GzEncoder};
use serde::Deserialize;

use super::Origin;

/// Size of the pieces that a hollow layer is made of. Their compressed form is repeated, so that twenty gigabytes are
/// made as quickly as one.
const PIECE_BYTES: usize = 1 << 20;

pub(super) fn routes() -> Router<Arc<Origin>> {
    Router::new().route("/hollow/{kind}", get(hollow))
}

#[derive(Debug, Deserialize)]
struct HollowQuery {
    /// Size of the layer that decodes to nothing.
    #[serde(default = "default_bytes")]
    bytes: usize,
}

const fn default_bytes() -> usize {
    64 << 20
}

/// A page whose codings hide nothing in one of these forms.
async fn hollow(Path(kind): Path<String>, Query(query): Query<HollowQuery>) -> Response {
    let made = tokio::task::spawn_blocking(move || made(kind, query.bytes)).await;
    match made {
        Ok(Ok(Some((codings, body)))) => {
            ([(header::CONTENT_TYPE, "text/html"), (header::CONTENT_ENCODING, codings)], body).into_response()
        }
        Ok(Ok(None)) => (StatusCode::NOT_FOUND, "nothing is hidden that way here\n").into_response(),
        Ok(Err(_)) | Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The names of the codings, and the bytes on the wire.
type Made = (&'static str, Bytes);

/// Makes a body, or takes the one that was made before.
fn made(kind: String, bytes: usize) -> io::Result<Option<Made>> {
    static MADE: Mutex<BTreeMap<(String, usize), Made>> = Mutex::new(BTreeMap::new());
    let mut all = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(made) = all.get(&(kind.clone(), bytes)) {
        return Ok(Some(made.clone()));
    }
    let Some((codings, body)) = make(&kind, bytes)? else { return Ok(None) };
    let made = (codings, Bytes::from(body));
    all.insert((kind, bytes), made.clone());
    Ok(Some(made))
}

fn make(kind: &str, bytes: usize) -> io::Result<Option<(&'static str, Vec<u8>)>> {
    let member = GzEncoder::new(Vec::new(), Compression::fast()).finish()?;
    Ok(Some(match kind {
        // Deflate blocks without data, packed twice.
        "blocks" => (
            "gzip, gzip, br",
            brotli(&gzip(member.get(..10).unwrap_or_default(), b"\0\0\0\xff\xff", bytes)?)?,
        ),
        "members" => ("gzip, gzip, br", brotli(&gzip(b"", &member, bytes)?)?),
        "frames" => ("zstd, gzip, br", brotli(&gzip(b"", b"\x50\x2a\x4d\x18\x08\0\0\0nonsense", bytes)?)?),
        "metadata" => ("br, gzip, br", brotli(&gzip(b"\x0c", b"\x06", bytes)?)?),
        _ => return Ok(None),
    }))
}

/// Compresses `head` and `bytes` of one pattern. The stream never ends.
fn gzip(head: &[u8], pattern: &[u8], bytes: usize) -> io::Result<Vec<u8>> {
    let piece = pattern.repeat(PIECE_BYTES / pattern.len());
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast()).finish()?;
    packed.truncate(10);
    let mut compress = Compress::new(Compression::default(), false);
    let mut block = |plain: &[u8]| {
        let mut block = Vec::with_capacity(PIECE_BYTES);
        compress.compress_vec(plain, &mut block, FlushCompress::Full).map(|_| block)
    };
    packed.write_all(&block(head)?)?;
    let block = block(&piece)?;
    for _ in 0..bytes.div_ceil(PIECE_BYTES) {
        packed.write_all(&block)?;
    }
    Ok(packed)
}

fn brotli(plain: &[u8]) -> io::Result<Vec<u8>> {
    let (buffer_bytes, quality, window_bits) = (4096, 5, 22);
    let mut writer = brotli::CompressorWriter::new(Vec::new(), buffer_bytes, quality, window_bits);
    writer.write_all(plain)?;
    writer.flush()?;
    Ok(writer.into_inner())
}
