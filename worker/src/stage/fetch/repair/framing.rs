//! How the body of an untidy response ends, and the head that tells a client so.
//!
//! If readers could disagree about the end, the connection closes after the response. Otherwise an attacker who
//! controls the body could make a reader take a part of it for the next response.

use std::fmt::Write as _;

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};

use super::super::fault::Fault;
use super::{Body, Chunks, Head, LENGTH_MAX};

/// Decides how the body ends and writes the client's head to `out`. Corrects the framing headers in `head`.
pub(super) fn settle(head: &mut Head, to_head: bool, out: &mut Vec<u8>) -> Result<Body, Fault> {
    let odd = is_odd(head);
    let has_no_body = to_head || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let body = match codings(&head.headers) {
        _ if has_no_body || head.status.is_informational() => Body::Length(0),
        Codings::Chunked => {
            // RFC 9112, 6.3: the length does not count then.
            head.headers.remove(CONTENT_LENGTH);
            head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            Body::Chunked(Chunks::new())
        }
        Codings::Unknown => Body::UntilClose,
        Codings::None => {
            head.headers.remove(TRANSFER_ENCODING);
            match length(&head.headers)? {
                Some(length) => {
                    head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
                    Body::Length(length)
                }
                None => Body::UntilClose,
            }
        }
    };
    write(head.status, &body, odd || closes(head), out);
    Ok(body)
}

enum Codings {
    None,
    Chunked,
    /// A coding other than `chunked` and `identity`.
    Unknown,
}

/// Reads the transfer codings. `chunked` given twice counts once, as in other readers. `identity` is obsolete and
/// has no effect.
fn codings(headers: &HeaderMap) -> Codings {
    let mut found = Codings::None;
    for name in words(headers, &TRANSFER_ENCODING) {
        if name.eq_ignore_ascii_case(b"chunked") {
            found = Codings::Chunked;
        } else if !name.eq_ignore_ascii_case(b"identity") {
            return Codings::Unknown;
        }
    }
    found
}

/// Returns the length, which all lines must agree on. One that does not fit into 64 bits is as good as the largest
/// that does: both are over any limit.
fn length(headers: &HeaderMap) -> Result<Option<u64>, Fault> {
    let mut found = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        for value in value.as_bytes().split(|byte| *byte == b',') {
            let digits = value.trim_ascii();
            if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
                return Err(Fault::Head);
            }
            let digits = std::str::from_utf8(digits).map_err(|_| Fault::Head)?;
            let length = digits.parse::<u64>().unwrap_or(u64::MAX);
            if found.replace(length).is_some_and(|before| before != length) {
                return Err(Fault::Head);
            }
        }
    }
    Ok(found)
}

/// Whether another reader may see another end: several headers give one, or one is not understood everywhere.
fn is_odd(head: &Head) -> bool {
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    let mut lengths = head.headers.get_all(CONTENT_LENGTH).iter();
    let is_plain = match (codings.next(), lengths.next()) {
        (None, None) => true,
        (Some(coding), None) => {
            coding.as_bytes().eq_ignore_ascii_case(b"chunked") && head.version != Version::HTTP_10
        }
        (None, Some(length)) => length.as_bytes().iter().all(u8::is_ascii_digit),
        (Some(_), Some(_)) => false,
    };
    head.repaired || !is_plain || codings.next().is_some() || lengths.next().is_some()
}

fn closes(head: &Head) -> bool {
    let says =
        |what: &str| words(&head.headers, &CONNECTION).any(|word| word.eq_ignore_ascii_case(what.as_bytes()));
    says("close") || (head.version == Version::HTTP_10 && !says("keep-alive"))
}

fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let values = headers.get_all(name).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    values.map(<[u8]>::trim_ascii).filter(|word| !word.is_empty())
}

/// Writes a short head with only what the client needs, because the client limits the number of fields.
fn write(status: StatusCode, body: &Body, closes: bool, out: &mut Vec<u8>) {
    let mut head = format!("HTTP/1.1 {}\r\n", status.as_str());
    let _infallible = match body {
        Body::Length(length) => write!(head, "content-length: {}\r\n", length.min(&LENGTH_MAX)),
        Body::Chunked(_) => write!(head, "transfer-encoding: chunked\r\n"),
        Body::UntilClose => Ok(()),
    };
    head.push_str(if closes { "connection: close\r\n\r\n" } else { "\r\n" });
    out.extend_from_slice(head.as_bytes());
}
