//! Makes the URLs in `href` and `src` absolute, as a browser would.
//!
//! A documentation page has hundreds of links, and nearly all of them are plain. A plain link
//! is appended to a part of the base's text. Every other link goes through
//! `Url::join`. For a plain link, both give the same text.

use std::borrow::Cow;

use encoding_rs::{EncoderResult, Encoding, UTF_8};
use url::{ParseError, Position, Url};

/// The base of a page's links, and the encoding of their queries.
#[derive(Debug)]
pub(crate) struct Links {
    base: Option<Base>,
    encoding: &'static Encoding,
}

#[derive(Debug)]
struct Base {
    url: Url,
    /// The parts of the base, if plain links can be appended to them.
    is_plain: bool,
    /// Length of `scheme://host:port` in the URL's text.
    origin_end: usize,
    /// Length of the URL's text up to and including the last `/` of its path.
    directory_end: usize,
    /// Length of the URL's text up to the end of its path.
    path_end: usize,
    /// Length of the URL's text up to its fragment.
    query_end: usize,
}

impl Links {
    /// The links of a page at `page` in `encoding`, whose first `<base href>` is `base_href`.
    ///
    /// A saved file has no URL. Its links stay as written, unless it has an absolute base.
    pub(crate) fn new(page: Option<&Url>, base_href: Option<&str>, encoding: &'static Encoding) -> Self {
        let encoding = encoding.output_encoding();
        let declared = base_href.and_then(|href| joined(page, href, encoding).ok());
        // The HTML standard ignores a base with one of these schemes.
        let declared = declared.filter(|url| !matches!(url.scheme(), "data" | "javascript"));
        Self { base: declared.or_else(|| page.cloned()).map(Base::new), encoding }
    }

    /// Whether the absolute form of `link` does not depend on the base.
    pub(crate) fn is_independent(link: &str) -> bool {
        is_plain_absolute(link)
    }

    /// Returns the absolute form of `link`, or `link` itself if it has none.
    pub(crate) fn resolve(&self, link: &str) -> String {
        let Some(base) = &self.base else {
            return trimmed(link).to_owned();
        };
        if is_plain_absolute(link) {
            return link.to_owned();
        }
        if base.is_plain
            && let Some(url) = base.plain(link)
        {
            return url;
        }
        joined(Some(&base.url), link, self.encoding).map_or_else(|_| trimmed(link).to_owned(), String::from)
    }
}

/// Joins a link to its base according to the URL standard.
fn joined(base: Option<&Url>, link: &str, encoding: &'static Encoding) -> Result<Url, ParseError> {
    let query: &dyn for<'t> Fn(&'t str) -> Cow<'t, [u8]> = &|text| encoded(text, encoding);
    let query = Some(query).filter(|_| encoding != UTF_8);
    Url::options().base_url(base).encoding_override(query).parse(link)
}

/// Encodes a part of a query in the page's encoding. An unmappable character becomes a
/// percent-encoded character reference, because the URL parser would not escape `&` and `;`.
fn encoded<'t>(text: &'t str, encoding: &'static Encoding) -> Cow<'t, [u8]> {
    if text.is_ascii() {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut encoder = encoding.new_encoder();
    let mut bytes = Vec::new();
    let mut rest = text;
    loop {
        let room = encoder.max_buffer_length_from_utf8_without_replacement(rest.len());
        bytes.reserve(room.unwrap_or(rest.len()));
        let (result, read) = encoder.encode_from_utf8_to_vec_without_replacement(rest, &mut bytes, true);
        rest = rest.get(read..).unwrap_or_default();
        match result {
            EncoderResult::InputEmpty => return Cow::Owned(bytes),
            EncoderResult::OutputFull => {}
            EncoderResult::Unmappable(c) => {
                bytes.extend_from_slice(format!("%26%23{}%3B", u32::from(c)).as_bytes());
            }
        }
    }
}

/// Removes what the URL standard strips before parsing.
fn trimmed(link: &str) -> &str {
    link.trim_matches(|c: char| c <= ' ')
}

impl Base {
    fn new(url: Url) -> Self {
        let origin_end = url[..Position::BeforePath].len();
        let path_end = url[..Position::AfterPath].len();
        let query_end = url[..Position::AfterQuery].len();
        let directory_end = url[..Position::AfterPath].rfind('/').map_or(path_end, |slash| slash + 1);
        let is_plain = matches!(url.scheme(), "http" | "https") && directory_end > origin_end;
        Self { url, is_plain, origin_end, directory_end, path_end, query_end }
    }

    /// Appends `link` to a part of the base, if `link` is plain.
    fn plain(&self, link: &str) -> Option<String> {
        let (kept, rest) = match link.as_bytes() {
            [] => (self.query_end, link),
            [b'#', ..] => (self.query_end, link),
            [b'?', ..] => (self.path_end, link),
            [b'/', b'/' | b'\\', ..] => return None,
            [b'/', ..] => (self.origin_end, link),
            [b'.', ..] => self.climb(link)?,
            _ => (self.directory_end, link),
        };
        if !is_plain_rest(rest) {
            return None;
        }
        let kept = self.url.as_str().get(..kept)?;
        let mut url = String::with_capacity(kept.len() + rest.len());
        url.push_str(kept);
        url.push_str(rest);
        Some(url)
    }

    /// Resolves leading `./` and `../` against the base's directory.
    fn climb<'a>(&self, link: &'a str) -> Option<(usize, &'a str)> {
        let path = self.url.as_str().get(self.origin_end..self.directory_end)?;
        let mut directory = path.strip_suffix('/')?;
        let mut rest = link;
        loop {
            if let Some(after) = rest.strip_prefix("../") {
                directory = directory.rfind('/').and_then(|slash| directory.get(..slash)).unwrap_or("");
                rest = after;
            } else if let Some(after) = rest.strip_prefix("./") {
                rest = after;
            } else if rest.starts_with(['.', '/']) {
                return None;
            } else {
                return Some((self.origin_end + directory.len() + 1, rest));
            }
        }
    }
}

/// Whether parsing would leave a path with its query and fragment unchanged: nothing to
/// escape, no `.` or `..` segment, and no colon that could end a scheme.
fn is_plain_rest(rest: &str) -> bool {
    let (mut in_path, mut in_first_segment) = (true, true);
    let mut previous = b'/';
    for byte in rest.bytes() {
        match byte {
            // `%2e` also means a dot.
            b'2' if in_path && previous == b'%' => return false,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => {}
            b'!' | b'$' | b'&' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b'@' | b'%' => {}
            // The start of a segment that may be `.` or `..`.
            b'.' if in_path && previous == b'/' => return false,
            b'.' => {}
            b':' if !in_first_segment => {}
            b'/' => in_first_segment = false,
            b'?' | b'#' => (in_path, in_first_segment) = (false, false),
            _ => return false,
        }
        previous = byte;
    }
    true
}

/// Whether `link` is an absolute http(s) URL that parsing would leave unchanged.
fn is_plain_absolute(link: &str) -> bool {
    let Some(rest) = link.strip_prefix("https://").or_else(|| link.strip_prefix("http://")) else {
        return false;
    };
    let Some(host_end) = rest.find('/') else {
        return false;
    };
    let (host, path) = rest.split_at(host_end);
    is_plain_host(host) && is_plain_rest(path)
}

/// Whether a name is in lower case, and neither an IP address nor an internationalized name.
fn is_plain_host(host: &str) -> bool {
    let plain_bytes = host.bytes().all(|c| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'));
    plain_bytes
        && !host.contains("xn--")
        && host.split('.').all(|label| !label.is_empty())
        && host.rsplit('.').next().is_some_and(|last| last.starts_with(|c: char| c.is_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn by_the_book(page: &str, link: &str) -> String {
        Url::parse(page).unwrap().join(link).map_or_else(|_| trimmed(link).to_owned(), String::from)
    }

    const BASES: [&str; 7] = [
        "http://example.com/",
        "http://example.com/a/b/c.html?q=1#frag",
        "https://user:pw@example.com:8443/a//b/",
        "http://127.0.0.1:8000/docs/index.html",
        "file:///home/me/page.html",
        "http://[::1]/x/y",
        "http://example.com/a/b;p/?x=/y/",
    ];

    #[test]
    fn links_resolve_as_in_a_browser() {
        for (link, expected) in [
            ("http://other.org/x?y#z", "http://other.org/x?y#z"),
            ("HTTP://Other.org:80", "http://other.org/"),
            ("//cdn.example/x.js", "http://cdn.example/x.js"),
            ("/root", "http://example.com/root"),
            ("d.html#x", "http://example.com/a/b/d.html#x"),
            ("../d.html", "http://example.com/a/d.html"),
            ("../../../d.html", "http://example.com/d.html"),
            ("./d/../e", "http://example.com/a/b/e"),
            ("?p=2", "http://example.com/a/b/c.html?p=2"),
            ("#top", "http://example.com/a/b/c.html?q=1#top"),
            ("", "http://example.com/a/b/c.html?q=1"),
            (" d.html\n", "http://example.com/a/b/d.html"),
            ("a b", "http://example.com/a/b/a%20b"),
            ("caf\u{e9}", "http://example.com/a/b/caf%C3%A9"),
            ("mailto:me@example.com", "mailto:me@example.com"),
            ("javascript:void(0)", "javascript:void(0)"),
            ("http://[", "http://["),
            (" http://[ ", "http://["),
        ] {
            let links = Links::new(Some(&Url::parse(BASES[1]).unwrap()), None, UTF_8);
            assert_eq!(links.resolve(link), expected, "{link}");
        }
    }

    #[test]
    fn a_query_is_in_the_encoding_of_the_page() {
        use encoding_rs::{
            BIG5, EUC_KR, GB18030, ISO_8859_2, SHIFT_JIS, UTF_16LE, WINDOWS_1251, WINDOWS_1252,
        };
        const BASE: &str = "http://example.com/a/b?\u{e9}";
        for (encoding, link, expected) in [
            (WINDOWS_1251, "?q=привет", "http://example.com/a/b?q=%EF%F0%E8%E2%E5%F2"),
            (WINDOWS_1251, "/п?п#п", "http://example.com/%D0%BF?%EF#%D0%BF"),
            (WINDOWS_1251, "http://п.example/?п", "http://xn--o1a.example/?%EF"),
            (WINDOWS_1251, "HTTPS://o.org?п&amp=1;'", "https://o.org/?%EF&amp=1;%27"),
            (WINDOWS_1251, "?日x", "http://example.com/a/b?%26%2326085%3Bx"),
            (WINDOWS_1251, "?\u{1f600}п", "http://example.com/a/b?%26%23128512%3B%EF"),
            (WINDOWS_1251, "?a\nп\tб", "http://example.com/a/b?a%EF%E1"),
            (WINDOWS_1251, "x:y?п", "x:y?%D0%BF"),
            (WINDOWS_1251, "ws://h/?п", "ws://h/?%D0%BF"),
            (WINDOWS_1251, "file:///?п", "file:///?%EF"),
            (WINDOWS_1251, "ftp://h/?п", "ftp://h/?%EF"),
            (WINDOWS_1252, "?é€", "http://example.com/a/b?%E9%80"),
            (ISO_8859_2, "?ř", "http://example.com/a/b?%F8"),
            (SHIFT_JIS, "?日本", "http://example.com/a/b?%93%FA%96{"),
            (EUC_KR, "?한", "http://example.com/a/b?%C7%D1"),
            (GB18030, "?中\u{1f600}", "http://example.com/a/b?%D6%D0%949%FC6"),
            (BIG5, "?中", "http://example.com/a/b?%A4%A4"),
            (UTF_16LE, "?п", "http://example.com/a/b?%D0%BF"),
            (UTF_8, "?п", "http://example.com/a/b?%D0%BF"),
        ] {
            let links = Links::new(Some(&Url::parse(BASE).unwrap()), None, encoding);
            assert_eq!(links.resolve(link), expected, "{link} in {encoding:?}");
        }
        let links = Links::new(Some(&Url::parse(BASE).unwrap()), Some("/?п"), WINDOWS_1251);
        assert_eq!(links.resolve(""), "http://example.com/?%EF");
        let links = Links::new(None, Some("http://o.org/?п"), WINDOWS_1251);
        assert_eq!(links.resolve(""), "http://o.org/?%EF");
    }

    #[test]
    fn the_base_element_counts() {
        let page = Url::parse("http://example.com/a/b").unwrap();
        for (page, base, expected) in [
            (Some(&page), Some("/root/"), "http://example.com/root/x"),
            (Some(&page), Some("http://other.org/y/z"), "http://other.org/y/x"),
            (Some(&page), Some("http://["), "http://example.com/a/x"),
            (Some(&page), Some("data:text/html,x"), "http://example.com/a/x"),
            (None, Some("http://other.org/y/z"), "http://other.org/y/x"),
            (None, Some("/root/"), "x"),
            (None, None, "x"),
        ] {
            assert_eq!(Links::new(page, base, UTF_8).resolve("x"), expected, "{base:?}");
        }
        assert_eq!(Links::new(None, None, UTF_8).resolve(" ../Up it.html\t"), "../Up it.html");
    }

    proptest! {
        #[test]
        fn plain_links_are_exactly_what_joining_gives(
            base in 0..BASES.len(),
            link in "(https?:|HTTP:|a:)?(//)?([a-z0-9.-]{0,9}|xn--[a-z]{2}|0x1|1.2)?((/|\\./|\\.\\./|\\?|#|%2[eE]|%41|\\.\\.|:)?[a-zA-Z0-9_.~!$&'()*+,;=:@%?#/ \\\\^|é\"<-]{0,5}){0,6}",
        ) {
            let links = Links::new(Some(&Url::parse(BASES[base]).unwrap()), None, UTF_8);
            prop_assert_eq!(links.resolve(&link), by_the_book(BASES[base], &link));
        }
    }
}
