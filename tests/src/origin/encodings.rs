//! Content codings: valid, stacked, corrupt and unknown ones, and a bomb in each.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use serde::Deserialize;

use super::Origin;

/// Default size of a bomb: twice what a client reads at most.
const BOMB_BYTES: u64 = 32 << 20;

pub(super) fn routes() -> Router<Arc<Origin>> {
    Router::new()
        .route("/encoding/{coding}", get(encoded))
        .route("/corrupt/{coding}", get(corrupt))
        .route("/bomb/{coding}", get(bomb))
}

/// One step of a `Content-Encoding` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Coding {
    Gzip,
    Deflate,
    /// `deflate` without the zlib wrapper, which some servers send under the same name.
    RawDeflate,
    Brotli,
    Zstd,
    Identity,
    /// An unknown coding. The body is sent unchanged.
    Unknown,
}

impl Coding {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "gzip" => Self::Gzip,
            "deflate" => Self::Deflate,
            "raw-deflate" => Self::RawDeflate,
            "br" => Self::Brotli,
            "zstd" => Self::Zstd,
            "identity" => Self::Identity,
            "unknown" => Self::Unknown,
            _ => return None,
        })
    }

    const fn header(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate | Self::RawDeflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Identity => "identity",
            Self::Unknown => "x-no-such-coding",
        }
    }

    fn encode(self, plain: &mut dyn Read) -> io::Result<Vec<u8>> {
        let fast = flate2::Compression::fast();
        match self {
            Self::Gzip => copy(plain, flate2::write::GzEncoder::new(Vec::new(), fast))?.finish(),
            Self::Deflate => copy(plain, flate2::write::ZlibEncoder::new(Vec::new(), fast))?.finish(),
            Self::RawDeflate => copy(plain, flate2::write::DeflateEncoder::new(Vec::new(), fast))?.finish(),
            Self::Brotli => {
                let (buffer_bytes, quality, window_bits) = (4096, 1, 22);
                let writer = brotli::CompressorWriter::new(Vec::new(), buffer_bytes, quality, window_bits);
                Ok(copy(plain, writer)?.into_inner())
            }
            Self::Zstd => copy(plain, zstd::stream::write::Encoder::new(Vec::new(), 1)?)?.finish(),
            Self::Identity | Self::Unknown => copy(plain, Vec::new()),
        }
    }
}

fn copy<W: io::Write>(plain: &mut dyn Read, mut writer: W) -> io::Result<W> {
    io::copy(plain, &mut writer)?;
    writer.flush()?;
    Ok(writer)
}

#[derive(Debug, Deserialize)]
struct PageQuery {
    #[serde(default)]
    page: u32,
    /// Whether to cut a corrupt body in half instead of flipping bits.
    #[serde(default)]
    cut: bool,
}

/// A page of the site with the coding `coding`, or several separated by commas, applied in that order.
async fn encoded(
    State(origin): State<Arc<Origin>>,
    Path(coding): Path<String>,
    Query(query): Query<PageQuery>,
) -> Response {
    let page = origin.site.page(query.page).unwrap_or_default();
    let codings: Option<Vec<_>> = coding.split(',').map(Coding::parse).collect();
    let Some(codings) = codings else {
        return unknown_name();
    };
    let body = codings.iter().try_fold(page, |body, coding| coding.encode(&mut &body[..]).map(Bytes::from));
    let names: Vec<_> = codings.iter().map(|coding| coding.header()).collect();
    respond(&names.join(", "), body)
}

/// A body that decoders must reject.
async fn corrupt(
    State(origin): State<Arc<Origin>>,
    Path(coding): Path<String>,
    Query(query): Query<PageQuery>,
) -> Response {
    let page = origin.site.page(query.page).unwrap_or_default();
    let Some(coding) = Coding::parse(&coding) else {
        return unknown_name();
    };
    let body = coding.encode(&mut &page[..]).map(|mut body| {
        let middle = body.len() / 2;
        if query.cut {
            body.truncate(middle);
        } else {
            body.iter_mut().skip(middle).for_each(|byte| *byte ^= 0x5a);
        }
        Bytes::from(body)
    });
    respond(coding.header(), body)
}

/// The compressed bombs made so far. Each takes seconds to make and kilobytes to keep.
#[derive(Debug, Default)]
pub(super) struct Bombs(Mutex<HashMap<(Coding, u64), Bytes>>);

#[derive(Debug, Deserialize)]
struct BombQuery {
    bytes: Option<u64>,
}

/// A page that is small when transferred and huge in memory.
async fn bomb(
    State(origin): State<Arc<Origin>>,
    Path(coding): Path<String>,
    Query(query): Query<BombQuery>,
) -> Response {
    let Some(coding) = Coding::parse(&coding) else {
        return unknown_name();
    };
    let bytes = query.bytes.unwrap_or(BOMB_BYTES);
    let made = tokio::task::spawn_blocking(move || origin.bombs.get(coding, bytes)).await;
    respond(coding.header(), made.unwrap_or_else(|error| Err(io::Error::other(error))))
}

impl Bombs {
    fn get(&self, coding: Coding, bytes: u64) -> io::Result<Bytes> {
        // Hold the lock while making one, so that two requests do not make the same.
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bomb) = made.get(&(coding, bytes)) {
            return Ok(bomb.clone());
        }
        let head = &b"<!DOCTYPE html>\n<title>Bomb</title>\n"[..];
        let bomb = Bytes::from(coding.encode(&mut head.chain(io::repeat(b' ').take(bytes)))?);
        made.insert((coding, bytes), bomb.clone());
        Ok(bomb)
    }
}

fn respond(content_encoding: &str, body: io::Result<Bytes>) -> Response {
    match (HeaderValue::from_str(content_encoding), body) {
        (Ok(name), Ok(body)) => {
            let kind = HeaderValue::from_static("text/html; charset=utf-8");
            ([(header::CONTENT_TYPE, kind), (header::CONTENT_ENCODING, name)], body).into_response()
        }
        (Err(_), _) | (_, Err(_)) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn unknown_name() -> Response {
    (StatusCode::NOT_FOUND, "no such coding here\n").into_response()
}
