//! Scans a head once: do both clients read it, and alike?
//!
//! Every response passes here, so a head must cost only a few hundred nanoseconds: a search for its end, a pass
//! that counts control bytes, and a pass that reads the names.

use std::sync::LazyLock;

use memchr::memchr_iter;
use memchr::memmem::Finder;

use super::{Body, Chunks, LENGTH_MAX, TIDY_BYTES_MAX, TIDY_HEADERS_MAX};

static HEAD_END: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r\n\r\n"));

/// Length of a status line up to the reason: `HTTP/1.1 200`.
const STATUS_BYTES: usize = 12;

/// Whether a field name may contain this byte (RFC 9110, 5.6.2).
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~'
        )
}

/// The headers that define the end of the body.
#[derive(Default)]
struct Framing {
    length: Option<u64>,
    chunked: bool,
}

/// Returns the length of the head at the start of `bytes` and how its body ends, if the head is complete and tidy.
/// `None` does not mean that the head is invalid.
pub(super) fn tidy(bytes: &[u8], to_head: bool) -> Option<(usize, Body)> {
    let length = HEAD_END.find(bytes)? + 4;
    // All lines with their ends, without the empty line.
    let head = bytes.get(..length - 2).filter(|_| length <= TIDY_BYTES_MAX)?;
    let mut lines = memchr_iter(b'\n', head).scan(0, |start, end| {
        let line = head.get(*start..end);
        *start = end + 1;
        Some(line.unwrap_or_default())
    });
    let (version, status) = status(lines.next()?)?;
    let mut framing = Framing::default();
    let mut count = 1;
    for line in lines {
        field(line, &mut framing)?;
        count += 1;
    }
    // The only control bytes allowed are the two of each line end.
    if count > TIDY_HEADERS_MAX + 1 || controls(head) != 2 * count {
        return None;
    }
    let body = match framing {
        _ if to_head || matches!(status, 204 | 304) => Body::Length(0),
        Framing { length: None, chunked: true } if version == b'1' => Body::Chunked(Chunks::new()),
        Framing { chunked: true, .. } => return None,
        Framing { length: Some(length), .. } => Body::Length(length),
        Framing { length: None, .. } => Body::UntilClose,
    };
    Some((length, body))
}

/// Returns the minor version and the status of a final response.
fn status(line: &[u8]) -> Option<(u8, u16)> {
    let (start, reason) = line.strip_suffix(b"\r")?.split_at_checked(STATUS_BYTES)?;
    let &[version @ (b'0' | b'1'), b' ', hundreds @ b'2'..=b'9', tens @ b'0'..=b'9', ones @ b'0'..=b'9'] =
        start.strip_prefix(b"HTTP/1.")?
    else {
        return None;
    };
    let digit = |byte: u8| u16::from(byte - b'0');
    let is_separate = reason.first().is_none_or(|byte| *byte == b' ');
    is_separate.then(|| (version, 100 * digit(hundreds) + 10 * digit(tens) + digit(ones)))
}

fn field(line: &[u8], framing: &mut Framing) -> Option<()> {
    let line = line.strip_suffix(b"\r")?;
    let colon = line.iter().position(|byte| !is_token(*byte))?;
    let (name, value) = line.split_at_checked(colon)?;
    let value = value.strip_prefix(b":").filter(|_| !name.is_empty())?;
    if name.eq_ignore_ascii_case(b"content-length") {
        let length = length(value.trim_ascii())?;
        return framing.length.replace(length).is_none().then_some(());
    }
    if name.eq_ignore_ascii_case(b"transfer-encoding") {
        let is_first = !std::mem::replace(&mut framing.chunked, true);
        return (is_first && value.trim_ascii().eq_ignore_ascii_case(b"chunked")).then_some(());
    }
    Some(())
}

/// Reads a length that all readers understand alike.
fn length(value: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(value).ok()?;
    // `parse` would accept a sign.
    let length = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?;
    length.filter(|length| *length <= LENGTH_MAX)
}

/// Counts control bytes other than tabs. Written so that the compiler vectorises it.
fn controls(head: &[u8]) -> usize {
    head.chunks(255)
        .map(|chunk| {
            let found = chunk.iter().fold(0_u8, |found, byte| {
                found + u8::from((*byte < b' ' && *byte != b'\t') || *byte == 0x7f)
            });
            usize::from(found)
        })
        .sum()
}
