//! The validators of a page (RFC 9110, 8.8), and what is sent back of them.

use std::time::Duration;

use http::header::{CONTENT_ENCODING, DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Longest entity tag that is kept. Real ones have less than a tenth of that.
const TAG_BYTES_MAX: usize = 1024;

/// How long ago a page must have changed for its date to name a version: a date has whole seconds, and a page may change
/// twice in one (RFC 9110, 8.8.2.2).
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// What servers append to the tag of a page when they compress it in this way, and do not recognize when it comes back:
/// Apache's `mod_deflate` and `mod_brotli`, unless they are told otherwise.
const SUFFIXES: [(&str, &str); 2] = [("gzip", "-gzip"), ("br", "-br")];

/// What a server named a version of a page by. It is sent back to the server as it was received.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validators {
    /// The entity tag, weak or strong.
    pub etag: Option<String>,
    /// The same before the server compressed the page, if the tag says that it did.
    pub plain_etag: Option<String>,
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
        let etag = one(ETAG).filter(|tag| is_entity_tag(tag));
        let plain_etag = etag.and_then(|tag| plain(tag, one(CONTENT_ENCODING)?));
        let etag = etag.map(str::to_owned);
        let is_settled = |date: &&str| one(DATE).and_then(|now| is_settled(date, now)) == Some(true);
        let last_modified = one(LAST_MODIFIED).filter(is_settled).map(str::to_owned);
        (etag.is_some() || last_modified.is_some()).then_some(Self { etag, plain_etag, last_modified })
    }

    /// The header that asks whether the page has changed: by its tag, or by its date if it has none.
    #[must_use]
    pub fn condition(&self) -> Option<(HeaderName, HeaderValue)> {
        match (&self.etag, &self.last_modified) {
            (Some(tag), _) => {
                let plain = self.plain_etag.iter().flat_map(|plain| [", ", plain]);
                let tags: String = [tag.as_str()].into_iter().chain(plain).collect();
                Some((IF_NONE_MATCH, HeaderValue::from_str(&tags).ok()?))
            }
            (None, Some(date)) => Some((IF_MODIFIED_SINCE, HeaderValue::from_str(date).ok()?)),
            (None, None) => None,
        }
    }

    /// Whether a 304 with these headers is about this version. One that names another selects no page that is known
    /// (RFC 9111, 4.3.4): a server behind others may answer with a version of its own.
    #[must_use]
    pub fn are_meant(&self, headers: &HeaderMap) -> bool {
        let is_meant = |tag: &str| {
            let known = [&self.etag, &self.plain_etag].into_iter().flatten();
            known.into_iter().any(|known| opaque(known) == opaque(tag))
        };
        let tags = headers.get_all(ETAG).iter().filter_map(|value| value.to_str().ok());
        tags.filter(|tag| is_entity_tag(tag)).all(is_meant)
    }
}

/// A tag without the mark of a weak one. Whether a page has changed is asked by this part (RFC 9110, 8.8.3.2).
fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

/// Whether this is an entity tag in visible ASCII (RFC 9110, 8.8.3).
fn is_entity_tag(text: &str) -> bool {
    let inner = opaque(text).strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let is_tag_byte = |byte: u8| byte.is_ascii_graphic() && byte != b'"';
    text.len() <= TAG_BYTES_MAX && inner.is_some_and(|inner| inner.bytes().all(is_tag_byte))
}

/// Whether a page that changed at this date cannot have changed again in the same second after it was sent.
fn is_settled(date: &str, sent: &str) -> Option<bool> {
    let (date, sent) = (httpdate::parse_http_date(date).ok()?, httpdate::parse_http_date(sent).ok()?);
    Some(sent.duration_since(date).is_ok_and(|age| age >= SETTLED_AFTER))
}

/// The tag that a page had before the server compressed it.
fn plain(tag: &str, coding: &str) -> Option<String> {
    let (_, suffix) = SUFFIXES.iter().find(|(name, _)| coding.eq_ignore_ascii_case(name))?;
    let before = tag.strip_suffix('"')?.strip_suffix(suffix)?;
    (!before.ends_with('"')).then(|| format!("{before}\""))
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
        for (tag, coding, want) in [
            ("\"x\"", "gzip", "\"x\""),
            ("\"\"", "gzip", "\"\""),
            ("W/\"x\"", "br", "W/\"x\""),
            ("\"5e-62-gzip\"", "gzip", "\"5e-62-gzip\", \"5e-62\""),
            ("W/\"5e-62-br\"", "BR", "W/\"5e-62-br\", W/\"5e-62\""),
            ("\"-gzip-gzip\"", "gzip", "\"-gzip-gzip\", \"-gzip\""),
            ("\"gzip\"", "gzip", "\"gzip\""),
            // It is the tag's own, or nothing would be left.
            ("\"home-br\"", "gzip", "\"home-br\""),
            ("\"home-br\"", "", "\"home-br\""),
            ("\"-gzip\"", "gzip", "\"-gzip\""),
            ("W/\"-br\"", "br", "W/\"-br\""),
            ("\"a,b\\\"", "gzip", "\"a,b\\\""),
        ] {
            let headers = [(ETAG, tag.as_bytes()), (CONTENT_ENCODING, coding.as_bytes())];
            assert_eq!(sent(&headers), Some((IF_NONE_MATCH, want.to_owned())), "{tag}");
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

    const MODIFIED: &[u8] = b"Wed, 21 Oct 2015 07:28:00 GMT";
    const LATER: (HeaderName, &[u8]) = (DATE, b"Wed, 21 Oct 2015 07:28:02 GMT");

    #[test]
    fn the_date_is_sent_only_without_a_tag() {
        let text = String::from_utf8(MODIFIED.to_vec()).unwrap();
        let date = (LAST_MODIFIED, MODIFIED);
        assert_eq!(sent(&[date.clone(), LATER]), Some((IF_MODIFIED_SINCE, text)));
        assert_eq!(sent(&[date.clone(), LATER, (ETAG, b"\"x\"")]).unwrap().0, IF_NONE_MATCH);
        assert_eq!(sent(&[date, LATER, (ETAG, b"no tag")]).unwrap().0, IF_MODIFIED_SINCE);
        for wrong in [b"\"now\"".as_slice(), b"", b"2015-10-21", b"a;b"] {
            assert_eq!(of(&[(LAST_MODIFIED, wrong), LATER]), None, "{}", wrong.escape_ascii());
        }
    }

    #[test]
    fn a_date_counts_only_if_the_page_could_not_change_again_under_it() {
        let sent_at = |sent: &[u8]| of(&[(LAST_MODIFIED, MODIFIED), (DATE, sent)]).is_some();
        assert!(sent_at(b"Wed, 21 Oct 2015 07:28:02 GMT"));
        for sent in ["Wed, 21 Oct 2015 07:28:01 GMT", "Wed, 21 Oct 2015 07:28:00 GMT"] {
            assert!(!sent_at(sent.as_bytes()), "{sent}");
        }
        assert!(!sent_at(b"Wed, 21 Oct 2015 07:27:00 GMT"), "the future");
        assert!(!sent_at(b"now"));
        assert_eq!(of(&[(LAST_MODIFIED, MODIFIED)]), None, "nobody knows when it was sent");
    }

    #[test]
    fn a_304_that_names_another_version_is_not_about_this_one() {
        let tagged = of(&[(ETAG, b"\"x-gzip\""), (CONTENT_ENCODING, b"gzip")]).unwrap();
        let dated = of(&[(LAST_MODIFIED, MODIFIED), LATER]).unwrap();
        for (tag, of_tagged, of_dated) in [
            (&b"\"x-gzip\""[..], true, false),
            (b"W/\"x-gzip\"", true, false),
            (b"\"x\"", true, false),
            (b"\"y\"", false, false),
            (b"W/\"y\"", false, false),
            (b"no tag", true, true),
        ] {
            let headers: HeaderMap = [(ETAG, HeaderValue::from_bytes(tag).unwrap())].into_iter().collect();
            let shown = tag.escape_ascii();
            assert_eq!(
                (tagged.are_meant(&headers), dated.are_meant(&headers)),
                (of_tagged, of_dated),
                "{shown}"
            );
        }
        assert!(tagged.are_meant(&HeaderMap::new()) && dated.are_meant(&HeaderMap::new()));
    }
}
