//! The validators of a page (RFC 9110, 8.8), and what is sent back of them.

use http::header::{ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Longest entity tag that is kept. Real ones have less than a tenth of that.
const TAG_BYTES_MAX: usize = 1024;

/// Longest date that is kept: RFC 850's has 33 bytes.
const DATE_BYTES_MAX: usize = 40;

/// What servers append to the tag of a page when they compress it, and do not recognize when it comes back: Apache's
/// `mod_deflate` and `mod_brotli`, unless they are told otherwise.
const SUFFIXES: [&str; 2] = ["-gzip", "-br"];

/// What a server named a version of a page by. It is sent back to the server as it was received.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validators {
    /// The entity tag, weak or strong.
    pub etag: Option<String>,
    /// The date of the last change.
    pub last_modified: Option<String>,
}

impl Validators {
    /// The validators in the head of a response; `None` if it has none that can be sent back.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let one = |name: HeaderName| {
            let mut values = headers.get_all(name).iter();
            // Of several, nobody knows which is meant.
            values.next().filter(|_| values.next().is_none())?.to_str().ok()
        };
        let etag = one(ETAG).filter(|tag| is_entity_tag(tag)).map(str::to_owned);
        let last_modified = one(LAST_MODIFIED).filter(|date| is_like_date(date)).map(str::to_owned);
        (etag.is_some() || last_modified.is_some()).then_some(Self { etag, last_modified })
    }

    /// The header that asks whether the page has changed: by its tag, or by its date if it has none.
    #[must_use]
    pub fn condition(&self) -> Option<(HeaderName, HeaderValue)> {
        match (&self.etag, &self.last_modified) {
            (Some(tag), _) => Some((IF_NONE_MATCH, HeaderValue::from_str(&tags(tag)).ok()?)),
            (None, Some(date)) => Some((IF_MODIFIED_SINCE, HeaderValue::from_str(date).ok()?)),
            (None, None) => None,
        }
    }
}

/// Whether this is an entity tag in visible ASCII (RFC 9110, 8.8.3).
fn is_entity_tag(text: &str) -> bool {
    let opaque = text.strip_prefix("W/").unwrap_or(text);
    let inner = opaque.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let is_tag_byte = |byte: u8| byte.is_ascii_graphic() && byte != b'"';
    text.len() <= TAG_BYTES_MAX && inner.is_some_and(|inner| inner.bytes().all(is_tag_byte))
}

/// Whether this has only what a date has. The server judges the rest.
fn is_like_date(text: &str) -> bool {
    let is_date_byte = |byte: u8| byte.is_ascii_alphanumeric() || b" ,:-+".contains(&byte);
    !text.is_empty() && text.len() <= DATE_BYTES_MAX && text.bytes().all(is_date_byte)
}

/// The tag, and what it was before the server compressed the page.
fn tags(tag: &str) -> String {
    let inner = tag.strip_suffix('"').unwrap_or(tag);
    match SUFFIXES.iter().find_map(|suffix| inner.strip_suffix(suffix)) {
        Some(before) => format!("{tag}, {before}\""),
        None => tag.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(HeaderName, &[u8])]) -> Option<Validators> {
        let value = |bytes: &[u8]| HeaderValue::from_bytes(bytes).unwrap();
        let mut map = HeaderMap::new();
        for (name, bytes) in headers {
            map.append(name, value(bytes));
        }
        Validators::of(&map)
    }

    fn sent(headers: &[(HeaderName, &[u8])]) -> Option<(HeaderName, String)> {
        let (name, value) = of(headers)?.condition()?;
        Some((name, value.to_str().unwrap().to_owned()))
    }

    #[test]
    fn a_tag_is_sent_back_as_received_and_without_the_suffix_of_its_compression() {
        for (tag, want) in [
            ("\"x\"", "\"x\""),
            ("\"\"", "\"\""),
            ("W/\"x\"", "W/\"x\""),
            ("\"5e-62-gzip\"", "\"5e-62-gzip\", \"5e-62\""),
            ("W/\"5e-62-br\"", "W/\"5e-62-br\", W/\"5e-62\""),
            ("\"-gzip-gzip\"", "\"-gzip-gzip\", \"-gzip\""),
            ("\"gzip\"", "\"gzip\""),
            ("\"a,b\\\"", "\"a,b\\\""),
        ] {
            assert_eq!(sent(&[(ETAG, tag.as_bytes())]), Some((IF_NONE_MATCH, want.to_owned())), "{tag}");
        }
    }

    #[test]
    fn what_is_no_tag_is_not_sent_back() {
        let long = format!("\"{}\"", "x".repeat(TAG_BYTES_MAX));
        let tags: [&[u8]; 12] = [
            b"",
            b"x",
            b"\"",
            b"\"x",
            b"x\"",
            b"w/\"x\"",
            b"W/ \"x\"",
            b"\"a\"b\"",
            b"\"a b\"",
            b"\"caf\xe9\"",
            b"\"x\"-gzip",
            long.as_bytes(),
        ];
        for tag in tags {
            assert_eq!(of(&[(ETAG, tag)]), None, "{}", tag.escape_ascii());
        }
        assert_eq!(of(&[(ETAG, b"\"a\""), (ETAG, b"\"b\"")]), None);
    }

    #[test]
    fn the_date_is_sent_only_without_a_tag() {
        let date = b"Wed, 21 Oct 2015 07:28:00 GMT";
        let text = String::from_utf8(date.to_vec()).unwrap();
        assert_eq!(sent(&[(LAST_MODIFIED, date)]), Some((IF_MODIFIED_SINCE, text)));
        assert_eq!(sent(&[(LAST_MODIFIED, date), (ETAG, b"\"x\"")]).unwrap().0, IF_NONE_MATCH);
        assert_eq!(sent(&[(LAST_MODIFIED, date), (ETAG, b"no tag")]).unwrap().0, IF_MODIFIED_SINCE);
        for wrong in [b"\"now\"".as_slice(), b"", &[b'1'; DATE_BYTES_MAX + 1], b"a;b"] {
            assert_eq!(of(&[(LAST_MODIFIED, wrong)]), None, "{}", wrong.escape_ascii());
        }
    }
}
