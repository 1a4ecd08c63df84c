//! Targets as records of a web archive: for every hop what was sent and what came
//! back. After them, [`Encoder`](shared::encoder::Encoder) writes one metadata record
//! with all that a JSON line would have said.

use std::fmt::Write as _;

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use shared::clock;
use shared::encoder::Exchange;
use shared::warc::{Id, Kind, Record, Writer};

use super::fetch::recording::{Hop, Recording, Response};

/// Types of content that are compressed already: compressing them again takes time and saves nothing.
const DENSE: [&str; 13] = [
    "image/jpeg",
    "image/png",
    "image/gif",
    "image/webp",
    "image/avif",
    "video/",
    "audio/",
    "font/woff",
    "application/gzip",
    "application/x-gzip",
    "application/zip",
    "application/zstd",
    "application/pdf",
];

/// Says what a revisit is (WARC 1.1, 6.7.3).
const NOT_MODIFIED: &str = "WARC-Profile: http://netpreserve.org/warc/1.1/revisit/server-not-modified\r\n";

/// Appends what was sent and what came back for a target. Returns what the target's metadata record is about.
pub(super) fn write_exchanges(
    writer: &mut Writer,
    target: u64,
    recording: &Recording,
    out: &mut Vec<u8>,
) -> Exchange {
    let mut last = None;
    for (number, hop) in recording.hops().iter().enumerate() {
        if let Some(response) = &hop.response {
            let is_last = number + 1 == recording.hops().len();
            let kind = if is_last && recording.is_unchanged() { Kind::Revisit } else { Kind::Response };
            last = Some(exchange(writer, (target, number), hop, kind, response, out));
        }
    }
    let date = recording.hops().last().map_or_else(clock::wall, |hop| hop.sent);
    Exchange { date, response: last }
}

/// Appends a request and its response. Returns the id of the response.
fn exchange(
    writer: &mut Writer,
    (target, number): (u64, usize),
    hop: &Hop,
    kind: Kind,
    response: &Response,
    out: &mut Vec<u8>,
) -> Id {
    let id = writer.id(target, kind, number);
    let mut extra = String::new();
    // Writing to a string cannot fail.
    if let Some(peer) = response.peer {
        let _ = write!(extra, "WARC-IP-Address: {peer}\r\n");
    }
    if response.is_http2 {
        extra.push_str("WARC-Protocol: h2\r\n");
    }
    let request = Record {
        kind: Kind::Request,
        id: writer.id(target, Kind::Request, number),
        date: hop.sent,
        target: Some(hop.url.as_str()),
        concurrent_to: Some(id),
        extra: &extra,
        head: &hop.request,
        payload: None,
        shrinks: true,
    };
    writer.append(&request, out);
    let mut extra = extra.clone();
    if let Some(truncated) = response.truncated {
        let _ = write!(extra, "WARC-Truncated: {}\r\n", truncated.name());
    }
    if kind == Kind::Revisit {
        extra.push_str(NOT_MODIFIED);
    }
    let record = Record {
        kind,
        id,
        concurrent_to: None,
        extra: &extra,
        head: &response.head,
        payload: (kind == Kind::Response).then_some(&response.body),
        shrinks: !is_dense(&response.headers),
        ..request
    };
    writer.append(&record, out);
    id
}

/// Whether a body with these headers is compressed as it is.
fn is_dense(headers: &HeaderMap) -> bool {
    let encoded = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
    let content = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes()).to_ascii_lowercase();
    encoded || DENSE.iter().any(|dense| content.starts_with(dense.as_bytes()))
}

#[cfg(test)]
mod tests;
