//! Reads a response head as browsers do, also where it breaks the grammar: joins folded lines, skips lines that
//! are not fields, and removes control bytes. Rejects only NUL, an invalid status line and heads over a limit.

use std::borrow::Cow;

use http::header::{CONTENT_LENGTH, LOCATION, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};

use super::super::fault::Fault;
use super::HEADERS_MAX;

/// The head of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::stage::fetch) struct Head {
    pub(super) version: Version,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// A framing header was not written as the grammar requires.
    pub(super) repaired: bool,
}

/// A field that may continue on the next line.
struct Field {
    name: HeaderName,
    value: Vec<u8>,
    is_repaired: bool,
}

impl Head {
    /// Reads a head from all its lines.
    pub(super) fn read(lines: &[u8]) -> Result<Self, Fault> {
        if lines.contains(&0) {
            return Err(Fault::Head);
        }
        let mut lines = lines.split(|byte| *byte == b'\n');
        let (version, status) = lines.next().and_then(status_line).ok_or(Fault::Head)?;
        let mut head = Self { version, status, headers: HeaderMap::new(), repaired: false };
        let mut open: Option<Field> = None;
        for line in lines {
            if matches!(line.first(), Some(b' ' | b'\t')) {
                // A continuation of a line that is not a field is skipped like that line.
                if let Some(field) = &mut open {
                    field.fold(line);
                }
                continue;
            }
            head.close(open.take())?;
            open = Field::read(line);
        }
        head.close(open)?;
        Ok(head)
    }

    /// Rejects a line that is not a status line.
    pub(super) fn check_status_line(line: &[u8]) -> Result<(), Fault> {
        status_line(line).map(drop).ok_or(Fault::Head)
    }

    /// Whether another response follows. A protocol switch is final.
    pub(super) fn is_interim(&self) -> bool {
        self.status.is_informational() && self.status != StatusCode::SWITCHING_PROTOCOLS
    }

    fn close(&mut self, field: Option<Field>) -> Result<(), Fault> {
        let Some(Field { name, value, is_repaired }) = field else { return Ok(()) };
        let value = HeaderValue::from_bytes(&clean(&name, &value)).map_err(|_| Fault::Head)?;
        self.repaired |= is_repaired && (name == TRANSFER_ENCODING || name == CONTENT_LENGTH);
        self.headers.try_append(name, value).map_err(|_| Fault::HeadTooLarge)?;
        if self.headers.len() > HEADERS_MAX { Err(Fault::HeadTooLarge) } else { Ok(()) }
    }
}

impl Field {
    /// Reads a field, or returns `None` if the line is not one.
    fn read(line: &[u8]) -> Option<Self> {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (written, value) = line.split_at_checked(colon)?;
        let name = trim(written);
        let is_repaired = name.len() != written.len();
        let name = HeaderName::from_bytes(name).ok()?;
        let value = trim_both(value.get(1..).unwrap_or_default()).to_vec();
        Some(Self { name, value, is_repaired })
    }

    /// Appends a continuation line. The line break becomes a space (RFC 9112, 5.2).
    fn fold(&mut self, line: &[u8]) {
        self.is_repaired = true;
        let line = trim_both(line);
        if !self.value.is_empty() && !line.is_empty() {
            self.value.push(b' ');
        }
        self.value.extend_from_slice(line);
    }
}

/// Reads a status line. Any space separates its words (RFC 9112, 4); the reason is ignored.
fn status_line(line: &[u8]) -> Option<(Version, StatusCode)> {
    let (protocol, rest) = trim_both(line).split_at_checked(7)?;
    let (minor, rest) = rest.split_first()?;
    let version = match minor {
        b'0' => Version::HTTP_10,
        b'1'..=b'9' => Version::HTTP_11,
        _ => return None,
    };
    let code = trim_both(rest);
    let is_separate = code.len() < rest.len() && !code.get(3).is_some_and(u8::is_ascii_digit);
    let is_http = is_separate && protocol.eq_ignore_ascii_case(b"HTTP/1.");
    let status = StatusCode::from_bytes(code.get(..3)?).ok()?;
    is_http.then_some((version, status))
}

/// Removes what a header value cannot contain. A CR counts as a space (RFC 9112, 2.2).
fn clean<'a>(name: &HeaderName, value: &'a [u8]) -> Cow<'a, [u8]> {
    let is_control = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
    if !value.iter().any(is_control) {
        return Cow::Borrowed(value);
    }
    let mut cleaned = Vec::with_capacity(value.len());
    for byte in value {
        match byte {
            b'\r' => cleaned.push(b' '),
            // In a URL these bytes matter, so encode them.
            _ if is_control(byte) && name == LOCATION => {
                cleaned.extend_from_slice(format!("%{byte:02X}").as_bytes());
            }
            _ if is_control(byte) => {}
            _ => cleaned.push(*byte),
        }
    }
    Cow::Owned(cleaned)
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0x0b | 0x0c | b'\r')
}

/// Removes spaces at the end, and the CR of a line end.
fn trim(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|byte| !is_space(*byte)).map_or(0, |last| last + 1);
    line.get(..end).unwrap_or_default()
}

fn trim_both(line: &[u8]) -> &[u8] {
    let start = line.iter().position(|byte| !is_space(*byte)).unwrap_or(line.len());
    trim(line.get(start..).unwrap_or_default())
}
