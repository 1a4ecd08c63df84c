//! Which encoding a page is in, decided from its first bytes.
//!
//! In order: a byte order mark, the HTTP header, what the page says of itself
//! in its first 1024 bytes, whether its start is valid UTF-8, and only then a
//! guess. Nothing here depends on how the body arrives in pieces: the same body
//! gives the same answer from memory and from a file.

use std::io;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252, X_USER_DEFINED};
use memchr::{memchr, memmem};

use super::input::Input;

/// Where a page must say its encoding; the number is the HTML standard's.
const DECLARATION_BYTES: usize = 1024;

/// How much is checked for being UTF-8 when nothing declares the encoding.
const VALIDITY_BYTES: usize = 64 * 1024;

/// How much is given to the detector: it reads 41 MB/s, and four KiB of text
/// decide as well as a whole page.
const GUESS_BYTES: usize = 4 * 1024;

/// The encoding of the input, which is left at its first byte after any byte order mark.
///
/// # Errors
/// When the input cannot be read.
pub(super) fn sniff(input: &mut Input<'_>, header_label: Option<&str>) -> io::Result<&'static Encoding> {
    let head = input.peek(DECLARATION_BYTES)?;
    if let Some((encoding, mark_bytes)) = Encoding::for_bom(head) {
        input.skip_mark(mark_bytes);
        return Ok(encoding);
    }
    if let Some(encoding) = header_label.and_then(|label| Encoding::for_label(label.as_bytes())) {
        return Ok(encoding);
    }
    if let Some(encoding) = declared(head) {
        return Ok(encoding);
    }
    let start = input.peek(VALIDITY_BYTES)?;
    Ok(if is_utf8_start(start) { UTF_8 } else { guess(start) })
}

/// The encoding of a JSON body, which is UTF-8 (RFC 8259) unless it says otherwise.
///
/// # Errors
/// When the input cannot be read.
pub(super) fn of_json(input: &mut Input<'_>, header_label: Option<&str>) -> io::Result<&'static Encoding> {
    if let Some((encoding, mark_bytes)) = Encoding::for_bom(input.peek(DECLARATION_BYTES)?) {
        input.skip_mark(mark_bytes);
        return Ok(encoding);
    }
    Ok(header_label.and_then(|label| Encoding::for_label(label.as_bytes())).unwrap_or(UTF_8))
}

/// The encoding's WHATWG name in lower case, as records show it.
pub(super) fn name(encoding: &'static Encoding) -> &'static str {
    // Every name there is, since lower case cannot be had from a static name without a copy.
    const LOWER: [&str; 40] = [
        "utf-8",
        "ibm866",
        "iso-8859-2",
        "iso-8859-3",
        "iso-8859-4",
        "iso-8859-5",
        "iso-8859-6",
        "iso-8859-7",
        "iso-8859-8",
        "iso-8859-8-i",
        "iso-8859-10",
        "iso-8859-13",
        "iso-8859-14",
        "iso-8859-15",
        "iso-8859-16",
        "koi8-r",
        "koi8-u",
        "macintosh",
        "windows-874",
        "windows-1250",
        "windows-1251",
        "windows-1252",
        "windows-1253",
        "windows-1254",
        "windows-1255",
        "windows-1256",
        "windows-1257",
        "windows-1258",
        "x-mac-cyrillic",
        "gbk",
        "gb18030",
        "big5",
        "euc-jp",
        "iso-2022-jp",
        "shift_jis",
        "euc-kr",
        "replacement",
        "utf-16be",
        "utf-16le",
        "x-user-defined",
    ];
    LOWER
        .into_iter()
        .find(|lower| lower.eq_ignore_ascii_case(encoding.name()))
        .unwrap_or_else(|| encoding.name())
}

/// Valid UTF-8, but for a last character that the window cuts in two.
fn is_utf8_start(start: &[u8]) -> bool {
    match std::str::from_utf8(start) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none() && start.len() == VALIDITY_BYTES,
    }
}

fn guess(start: &[u8]) -> &'static Encoding {
    let from = Encoding::ascii_valid_up_to(start);
    let interesting = start.get(from..).unwrap_or_default();
    let interesting = interesting.get(..GUESS_BYTES).unwrap_or(interesting);
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(interesting, false);
    // The window is not UTF-8, or we would not be here.
    detector.guess(None, Utf8Detection::Deny)
}

/// The encoding that `<meta>` or an XML declaration names in `head`.
fn declared(head: &[u8]) -> Option<&'static Encoding> {
    let head = head.get(..DECLARATION_BYTES).unwrap_or(head);
    let mut at = 0;
    while let Some(found) = memchr(b'<', head.get(at..)?) {
        let tag = head.get(at + found..)?;
        at += found
            + match tag {
                [b'<', b'!', b'-', b'-', ..] => 4 + memmem::find(tag.get(4..)?, b"-->")?,
                [b'<', b'!' | b'?', ..] => memchr(b'>', tag)?,
                [b'<', b'/', name, ..] if name.is_ascii_alphabetic() => 2 + skip_tag(tag.get(2..)?),
                [b'<', name, ..] if name.is_ascii_alphabetic() => {
                    if let Some(encoding) = meta_encoding(tag) {
                        return Some(encoding);
                    }
                    1 + skip_tag(tag.get(1..)?)
                }
                _ => 1,
            };
    }
    xml_declaration(head)
}

fn skip_tag(tag: &[u8]) -> usize {
    let mut attributes = Attributes::after_name(tag);
    while attributes.next().is_some() {}
    tag.len() - attributes.rest.len()
}

/// What a `<meta>` start tag at the beginning of `tag` declares.
fn meta_encoding(tag: &[u8]) -> Option<&'static Encoding> {
    let after = tag.get(5..)?;
    let is_meta = tag.get(1..5)?.eq_ignore_ascii_case(b"meta");
    if !is_meta || !after.first().is_some_and(|c| c.is_ascii_whitespace() || *c == b'/') {
        return None;
    }
    let (mut is_content_type, mut charset, mut content) = (false, None, None);
    for (name, value) in Attributes::after_name(after) {
        if name.eq_ignore_ascii_case(b"charset") {
            charset = charset.or(Some(value));
        } else if name.eq_ignore_ascii_case(b"http-equiv") {
            is_content_type = value.eq_ignore_ascii_case(b"content-type");
        } else if name.eq_ignore_ascii_case(b"content") {
            content = content.or_else(|| charset_parameter(value));
        }
    }
    let label = charset.or(if is_content_type { content } else { None })?;
    Encoding::for_label(label).map(as_declared_in_ascii)
}

/// A declaration we could read as ASCII cannot be in UTF-16, whatever it says;
/// these two replacements are the HTML standard's.
fn as_declared_in_ascii(encoding: &'static Encoding) -> &'static Encoding {
    if encoding == UTF_16LE || encoding == UTF_16BE {
        UTF_8
    } else if encoding == X_USER_DEFINED {
        WINDOWS_1252
    } else {
        encoding
    }
}

/// The value of `charset=` in the content of a `<meta http-equiv>`.
fn charset_parameter(content: &[u8]) -> Option<&[u8]> {
    let lower = content.to_ascii_lowercase();
    let mut at = 0;
    loop {
        at += memmem::find(lower.get(at..)?, b"charset")? + b"charset".len();
        let rest = content.get(at..)?.trim_ascii_start();
        let Some(value) = rest.strip_prefix(b"=") else {
            continue;
        };
        let value = value.trim_ascii_start();
        return match value.split_first()? {
            (quote @ (b'"' | b'\''), rest) => rest.get(..memchr(*quote, rest)?),
            _ => value.split(|c| c.is_ascii_whitespace() || *c == b';').next(),
        };
    }
}

fn xml_declaration(head: &[u8]) -> Option<&'static Encoding> {
    let declaration = head.strip_prefix(b"<?xml")?;
    let declaration = declaration.get(..memchr(b'>', declaration)?)?;
    let at = memmem::find(declaration, b"encoding")? + b"encoding".len();
    let value = declaration.get(at..)?.trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
    let (quote, rest) = value.split_first()?;
    let label = rest.get(..memchr(*quote, rest)?)?;
    Encoding::for_label(label).map(as_declared_in_ascii)
}

/// The attributes of a start tag, as far as the window reaches.
struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    fn after_name(tag: &'a [u8]) -> Self {
        let end = tag.iter().position(|c| c.is_ascii_whitespace() || matches!(c, b'/' | b'>'));
        Self { rest: end.and_then(|end| tag.get(end..)).unwrap_or_default() }
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.rest.iter().position(|c| !c.is_ascii_whitespace() && *c != b'/')?;
        self.rest = self.rest.get(start..)?;
        if self.rest.first() == Some(&b'>') {
            return None;
        }
        // An attribute may start with `=`, so that the first byte never ends the name.
        let name_end = 1 + self
            .rest
            .get(1..)?
            .iter()
            .position(|c| c.is_ascii_whitespace() || matches!(c, b'=' | b'/' | b'>'))?;
        let (name, rest) = self.rest.split_at_checked(name_end)?;
        self.rest = rest;
        let Some(value) = rest.trim_ascii_start().strip_prefix(b"=") else {
            return Some((name, b""));
        };
        let value = value.trim_ascii_start();
        let (value, rest) = match value.split_first()? {
            (quote @ (b'"' | b'\''), quoted) => {
                let end = memchr(*quote, quoted)?;
                (quoted.get(..end)?, quoted.get(end + 1..)?)
            }
            _ => {
                let end = value.iter().position(|c| c.is_ascii_whitespace() || *c == b'>')?;
                value.split_at_checked(end)?
            }
        };
        self.rest = rest;
        Some((name, value))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Cursor};

    use super::*;

    /// The same answer for every way in which the body can arrive.
    fn check(header: Option<&str>, body: &[u8], expected: &str) {
        for capacity in [1, 7, 1000, 1 << 20] {
            let mut reader = BufReader::with_capacity(capacity, Cursor::new(body));
            let mut input = Input::new(&mut reader);
            let encoding = sniff(&mut input, header).unwrap();
            assert_eq!(name(encoding), expected, "{:?}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn the_order_is_mark_header_declaration_validity_guess() {
        check(Some("iso-8859-1"), b"\xEF\xBB\xBF<meta charset=koi8-r>", "utf-8");
        check(None, b"\xFF\xFEa\0", "utf-16le");
        check(Some("Shift_JIS"), b"<meta charset=koi8-r>", "shift_jis");
        check(Some("no-such-thing"), b"<meta charset=koi8-r>", "koi8-r");
        check(None, "plain é".as_bytes(), "utf-8");
        check(None, b"", "utf-8");
        check(None, b"caf\xE9 cr\xE8me br\xFBl\xE9e d\xE9j\xE0 vu", "windows-1252");
        let russian = encoding_rs::WINDOWS_1251.encode("Съешь же ещё этих мягких французских булок").0;
        check(None, &russian, "windows-1251");
    }

    #[test]
    fn declarations_are_read_as_the_standard_says() {
        for (head, expected) in [
            ("<meta charset=koi8-r>", "koi8-r"),
            ("<META CHARSET='koi8-r' />", "koi8-r"),
            ("<meta/charset=koi8-r>", "koi8-r"),
            ("<meta charset = \"koi8-r\">", "koi8-r"),
            ("<meta http-equiv=content-type content='text/html; charset=koi8-r'>", "koi8-r"),
            ("<meta content='text/html; CHARSET = \"koi8-r\"' http-equiv=Content-Type>", "koi8-r"),
            ("<meta name=x content='charset=koi8-r'>é", "utf-8"),
            ("<!-- <meta charset=koi8-r> --><p title='>'>é", "utf-8"),
            ("<!-- x --><meta charset=koi8-r>", "koi8-r"),
            ("<p title='<meta charset=koi8-r>'>é", "utf-8"),
            ("<metal charset=koi8-r>é", "utf-8"),
            ("</p a='>'><meta charset=koi8-r>", "koi8-r"),
            ("<meta charset=utf-16>", "utf-8"),
            ("<meta charset=x-user-defined>", "windows-1252"),
            ("<meta charset=nonsense><meta charset=koi8-r>", "koi8-r"),
            ("<?xml version='1.0' encoding='koi8-r'?><p>", "koi8-r"),
            ("<?xml version='1.0' encoding='koi8-r'?><meta charset=gbk>", "gbk"),
            ("<meta charset=koi8-r", "utf-8"),
            ("a < b <meta charset=koi8-r>", "koi8-r"),
        ] {
            check(None, head.as_bytes(), expected);
        }
    }

    #[test]
    fn only_the_first_1024_bytes_may_declare() {
        let early = format!("{}<meta charset=koi8-r>", " ".repeat(1003));
        check(None, early.as_bytes(), "koi8-r");
        let late = format!("{}<meta charset=koi8-r>", " ".repeat(1004));
        check(None, late.as_bytes(), "utf-8");
    }

    #[test]
    fn a_character_cut_by_the_window_is_still_utf8() {
        let cut = format!("{}é", " ".repeat(VALIDITY_BYTES - 1));
        check(None, cut.as_bytes(), "utf-8");
        let mut broken = vec![b' '; 100];
        broken.push(0xC3);
        check(None, &broken, "windows-1252");
    }
}
