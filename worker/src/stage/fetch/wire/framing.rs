//! How the body of an untidy response ends, and the head that tells a client so.
//!
//! Where readers could disagree about the end, the connection is closed after the response:
//! what one of them took for the next response could be made by whoever made this one.

use std::fmt::Write as _;

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};

use super::super::fault::Fault;
use super::{Body, Chunks, Head};

/// Judges how the body ends, writes the client's head to `out`, and leaves in `head` what is true
/// of the body.
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
    /// One that is neither `chunked` nor nothing.
    Unknown,
}

/// Chunked twice is chunked once: nobody means it, and no reader undoes it twice. `identity` has
/// no meaning any more.
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

/// The one length that the head names, however often.
fn length(headers: &HeaderMap) -> Result<Option<u64>, Fault> {
    let mut found = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        for value in value.as_bytes().split(|byte| *byte == b',') {
            let digits = value.trim_ascii();
            if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
                return Err(Fault::Head);
            }
            let length = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u64>().ok());
            let length = length.ok_or(Fault::Head)?;
            if found.replace(length).is_some_and(|before| before != length) {
                return Err(Fault::Head);
            }
        }
    }
    Ok(found)
}

/// Whether another reader may see another end: more than one statement about it, or one that not
/// everybody reads.
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

/// A head that says no more than a client has to know: it has room for a hundred fields.
fn write(status: StatusCode, body: &Body, closes: bool, out: &mut Vec<u8>) {
    let mut head = format!("HTTP/1.1 {}\r\n", status.as_str());
    let _infallible = match body {
        Body::Length(length) => write!(head, "content-length: {length}\r\n"),
        Body::Chunked(_) => write!(head, "transfer-encoding: chunked\r\n"),
        Body::UntilClose => Ok(()),
    };
    head.push_str(if closes { "connection: close\r\n\r\n" } else { "\r\n" });
    out.extend_from_slice(head.as_bytes());
}
