//! What is known of a file that is not complete: enough to ask its server for the rest, and to be sure that it is
//! the rest of the same.

use std::time::Duration;

use http::HeaderMap;
use http::header::{ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_RANGE, DATE, ETAG, LAST_MODIFIED};
use serde::{Deserialize, Serialize};
use url::{Position, Url};

use crate::stage::content_length::content_length;

/// How much later than the last modification a response must be made, so that its time identifies the content
/// (RFC 9110, 8.8.2.2).
const SETTLED: Duration = Duration::from_secs(1);

/// Notes beside an unfinished file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Notes {
    /// The URL that answered, without credentials.
    pub(super) url: Url,
    /// Value for `If-Range`: a strong `ETag`, or the time of the last modification.
    pub(super) validator: String,
    /// Bytes of the whole body, if its server said so.
    pub(super) total: Option<u64>,
    /// The boot of the machine that wrote it.
    pub(super) boot: String,
}

/// An unfinished file that can be continued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unfinished {
    pub(super) notes: Notes,
    /// Bytes to keep.
    pub(super) offset: u64,
}

impl Unfinished {
    /// A file with these notes that has `bytes` bytes. Its last byte is asked for again if nothing else is missing, so
    /// that there is something to ask for. A file that is too long cannot be continued: what its server called the rest
    /// was something else.
    pub(super) fn new(notes: Notes, bytes: u64) -> Option<Self> {
        if notes.total.is_some_and(|total| bytes > total) {
            return None;
        }
        let last = notes.total.map_or(u64::MAX, |total| total.saturating_sub(1));
        let offset = bytes.min(last);
        (offset > 0).then_some(Self { notes, offset })
    }

    /// Whether `url` may give the rest of the file. Links that are signed have another query each time; that the
    /// content is the same is certain by its tag and its size.
    pub(super) fn is_of(&self, url: &Url) -> bool {
        let is_certain = self.notes.validator.starts_with('"') && self.notes.total.is_some();
        let end = if is_certain { Position::AfterPath } else { Position::AfterQuery };
        self.notes.url[..end] == url[..end]
    }

    /// The size of the whole, if a partial response with these headers is the rest of the file.
    pub(super) fn total_of_rest(&self, headers: &HeaderMap) -> Option<u64> {
        let value = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let (first, last, total) = parse_range(value(CONTENT_RANGE)?)?;
        let (total, known) = (total.unwrap_or(last + 1), self.notes.total);
        let is_rest = first == self.offset && last + 1 == total && known.is_none_or(|known| known == total);
        let is_framed = content_length(headers).is_none_or(|length| length == total - first);
        // A server that knows no `If-Range` sends the rest of other content. A tag is in every answer, the time of the
        // last modification need not be.
        let tag = self.notes.validator.starts_with('"');
        let is_same = if tag {
            value(ETAG) == Some(&self.notes.validator)
        } else {
            value(LAST_MODIFIED).is_none_or(|modified| modified == self.notes.validator)
        };
        (is_rest && is_framed && is_same && !is_encoded(headers)).then_some(total)
    }
}

/// Whether a body is sent encoded. A part of it cannot be decoded by itself.
pub(super) fn is_encoded(headers: &HeaderMap) -> bool {
    headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Parses `bytes FIRST-LAST/TOTAL`; a total of `*` is not known.
fn parse_range(range: &str) -> Option<(u64, u64, Option<u64>)> {
    let (unit, range) = range.trim().split_once(' ')?;
    let (positions, total) = range.split_once('/')?;
    let (first, last) = positions.trim().split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse::<u64>().ok().filter(|last| *last < u64::MAX)?);
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    (unit.eq_ignore_ascii_case("bytes") && first <= last).then_some((first, last, total))
}

/// Returns what identifies the content of a response well enough to join two parts of it.
pub(super) fn validator(headers: &HeaderMap) -> Option<String> {
    let value = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    if value(ACCEPT_RANGES).is_some_and(|ranges| ranges.eq_ignore_ascii_case("none")) {
        return None;
    }
    if let Some(etag) = value(ETAG).filter(|etag| etag.starts_with('"') && etag.len() > 1) {
        return Some(etag.to_owned());
    }
    let modified = value(LAST_MODIFIED)?;
    let time = |text| httpdate::parse_http_date(text).ok();
    let age = time(value(DATE)?)?.duration_since(time(modified)?).ok()?;
    (age >= SETTLED).then(|| modified.to_owned())
}

#[cfg(test)]
mod tests {
    use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue};

    use super::*;

    fn headers(lines: &[(HeaderName, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_what_identifies_each_byte_is_a_validator() {
        let (modified, later) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:38 GMT");
        for (lines, want) in [
            (&[(ETAG, "\"a\"")][..], Some("\"a\"")),
            (&[(ETAG, "W/\"a\"")], None),
            (&[(ETAG, "a")], None),
            (&[(ETAG, "\"a\""), (ACCEPT_RANGES, "none")], None),
            (&[(ETAG, "W/\"a\""), (LAST_MODIFIED, modified), (DATE, later)], Some(modified)),
            (&[(LAST_MODIFIED, modified), (DATE, modified)], None),
            (&[(LAST_MODIFIED, modified)], None),
            (&[], None),
        ] {
            assert_eq!(validator(&headers(lines)).as_deref(), want, "{lines:?}");
        }
    }

    #[test]
    fn only_the_rest_of_the_same_file_continues_it() {
        let notes = |total| notes("http://h/", "\"a\"", total);
        for (total, bytes, range, want) in [
            (Some(10), 4, "bytes 4-9/10", true),
            (Some(10), 4, "BYTES 4-9/10", true),
            (Some(10), 4, "bytes 4-9/*", true),
            (Some(10), 4, "bytes 4-8/10", false),
            (Some(10), 4, "bytes 4-10/11", false),
            (Some(10), 4, "bytes 0-9/10", false),
            (Some(10), 4, "bytes 9-4/10", false),
            (Some(10), 4, "bytes 4-18446744073709551615/*", false),
            (Some(10), 4, "rows 4-9/10", false),
            (Some(10), 4, "bytes */10", false),
            (Some(10), 10, "bytes 9-9/10", true),
            (None, 4, "bytes 4-9/10", true),
        ] {
            let unfinished = Unfinished::new(notes(total), bytes).unwrap();
            let headers = headers(&[(CONTENT_RANGE, range), (ETAG, "\"a\"")]);
            assert_eq!(unfinished.total_of_rest(&headers).is_some(), want, "{total:?} {bytes} {range}");
        }
        assert_eq!(Unfinished::new(notes(Some(10)), 11), None, "too long");
        assert_eq!(Unfinished::new(notes(None), 0), None);
        assert_eq!(Unfinished::new(notes(Some(1)), 1), None);
    }

    fn notes(url: &str, validator: &str, total: Option<u64>) -> Notes {
        let url = Url::parse(url).unwrap();
        Notes { url, validator: validator.to_owned(), total, boot: String::new() }
    }

    #[test]
    fn parts_of_different_contents_are_not_joined() {
        let (modified, later) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:38 GMT");
        for (validator, lines, want) in [
            ("\"a\"", &[(ETAG, "\"a\"")][..], true),
            ("\"a\"", &[(ETAG, "\"b\"")], false),
            ("\"a\"", &[(ETAG, "W/\"a\"")], false),
            ("\"a\"", &[], false),
            ("\"a\"", &[(ETAG, "\"a\""), (CONTENT_LENGTH, "6")], true),
            ("\"a\"", &[(ETAG, "\"a\""), (CONTENT_LENGTH, "10")], false),
            ("\"a\"", &[(ETAG, "\"a\""), (CONTENT_ENCODING, "gzip")], false),
            ("\"a\"", &[(ETAG, "\"a\""), (CONTENT_ENCODING, "identity")], true),
            (modified, &[(LAST_MODIFIED, modified)], true),
            (modified, &[], true),
            (modified, &[(LAST_MODIFIED, later)], false),
        ] {
            let unfinished = Unfinished::new(notes("http://h/", validator, Some(10)), 4).unwrap();
            let mut headers = headers(lines);
            headers.insert(CONTENT_RANGE, HeaderValue::from_static("bytes 4-9/10"));
            assert_eq!(unfinished.total_of_rest(&headers), want.then_some(10), "{validator} {lines:?}");
        }
    }

    #[test]
    fn a_signed_link_may_have_another_signature_if_the_content_is_certain() {
        for (validator, total, url, want) in [
            ("\"a\"", Some(10), "http://h/f?signed=2", true),
            ("\"a\"", Some(10), "http://h/g?signed=1", false),
            ("\"a\"", Some(10), "http://i/f?signed=1", false),
            ("\"a\"", None, "http://h/f?signed=2", false),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(10), "http://h/f?signed=2", false),
            ("Sun, 06 Nov 1994 08:49:37 GMT", None, "http://h/f?signed=1", true),
        ] {
            let unfinished = Unfinished::new(notes("http://h/f?signed=1", validator, total), 4).unwrap();
            assert_eq!(unfinished.is_of(&Url::parse(url).unwrap()), want, "{validator} {total:?} {url}");
        }
    }
}
