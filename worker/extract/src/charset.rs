//! Decides which encoding a page is in, from its first bytes.
//!
//! These count, in this order: a byte order mark, the HTTP header, the declaration
//! in the first 1024 bytes, whether the start is valid UTF-8, and finally a
//! guess. The size of the pieces in which a body arrives does not matter: the same body
//! gives the same answer from memory and from a file.

mod prescan;

use std::io;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252, X_USER_DEFINED};

use crate::input::Input;
pub(crate) use prescan::parameter;

/// Bytes at the start of a page in which it may declare its encoding; the number is the HTML standard's.
const DECLARATION_BYTES: usize = 1024;

/// Bytes that must be valid UTF-8 if nothing declares the encoding.
const VALIDITY_BYTES: usize = 64 * 1024;

/// Bytes given to the detector. It reads 41 MB/s, and 4 KiB of text give the same answer as a whole page.
const GUESS_BYTES: usize = 4 * 1024;

/// The encoding of a page, and whether its parser may still change it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Charset {
    pub(crate) encoding: &'static Encoding,
    /// The encoding comes from the page's first bytes, not from HTTP or a byte order mark.
    is_tentative: bool,
}

impl Charset {
    pub(crate) const fn certain(encoding: &'static Encoding) -> Self {
        Self { encoding, is_tentative: false }
    }

    pub(crate) const fn tentative(encoding: &'static Encoding) -> Self {
        Self { encoding, is_tentative: true }
    }

    /// Whether a `<meta>` may still change the encoding.
    pub(crate) const fn is_tentative(self) -> bool {
        self.is_tentative
    }

    /// Handles the label of a `<meta>` found by the parser (HTML 13.2.3.4). If it names another
    /// encoding, returns that encoding: the page must be decoded again.
    pub(crate) fn declare(&mut self, label: &[u8]) -> Option<&'static Encoding> {
        if !self.is_tentative {
            return None;
        }
        let declared = Encoding::for_label(label).map(as_declared_in_ascii)?;
        self.is_tentative = false;
        (declared != self.encoding).then_some(declared)
    }
}

/// The encoding of the input, which is left at its first byte after any byte order mark.
///
/// # Errors
/// Fails if the input cannot be read.
pub(crate) fn sniff(input: &mut Input<'_>, header_label: Option<&str>) -> io::Result<Charset> {
    if let Some(encoding) = transported(input, header_label)? {
        return Ok(Charset::certain(encoding));
    }
    let head = input.peek(DECLARATION_BYTES)?;
    if let Some(encoding) = prescan::declared(head) {
        return Ok(Charset::tentative(encoding));
    }
    let start = input.peek(VALIDITY_BYTES)?;
    Ok(Charset::tentative(if is_utf8_start(start) { UTF_8 } else { guess(start) }))
}

/// The encoding of a JSON body, which is UTF-8 (RFC 8259) unless it says otherwise.
///
/// # Errors
/// Fails if the input cannot be read.
pub(crate) fn of_json(input: &mut Input<'_>, header_label: Option<&str>) -> io::Result<&'static Encoding> {
    Ok(transported(input, header_label)?.unwrap_or(UTF_8))
}

/// The encoding of an XML body (RFC 7303, section 3): that of its declaration, or UTF-8.
///
/// # Errors
/// Fails if the input cannot be read.
pub(crate) fn of_xml(input: &mut Input<'_>, header_label: Option<&str>) -> io::Result<&'static Encoding> {
    if let Some(encoding) = transported(input, header_label)? {
        return Ok(encoding);
    }
    Ok(prescan::of_xml(input.peek(DECLARATION_BYTES)?).unwrap_or(UTF_8))
}

/// The encoding from a byte order mark, which is skipped, or from the HTTP header.
fn transported(input: &mut Input<'_>, header_label: Option<&str>) -> io::Result<Option<&'static Encoding>> {
    if let Some((encoding, mark_bytes)) = Encoding::for_bom(input.peek(DECLARATION_BYTES)?) {
        input.skip_mark(mark_bytes);
        return Ok(Some(encoding));
    }
    Ok(header_label.and_then(|label| Encoding::for_label(label.as_bytes())))
}

/// The encoding's WHATWG name in lower case, as records show it.
pub(crate) fn name(encoding: &'static Encoding) -> &'static str {
    // All names: a static name cannot be turned into lower case without a copy.
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

/// Whether the start of a page is valid UTF-8; its last character may be incomplete.
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
    // Only text that is not valid UTF-8 gets here.
    detector.guess(None, Utf8Detection::Deny)
}

/// Replaces encodings that a declaration in ASCII cannot name, as the HTML standard says: such a page
/// is not in UTF-16.
fn as_declared_in_ascii(encoding: &'static Encoding) -> &'static Encoding {
    if encoding == UTF_16LE || encoding == UTF_16BE {
        UTF_8
    } else if encoding == X_USER_DEFINED {
        WINDOWS_1252
    } else {
        encoding
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
            let charset = sniff(&mut input, header).unwrap();
            assert_eq!(name(charset.encoding), expected, "{:?}", String::from_utf8_lossy(body));
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
            // A comment may end in the dashes that it began with.
            ("<!--><meta charset=koi8-r>", "koi8-r"),
            ("<!---><meta charset=koi8-r>", "koi8-r"),
            ("<!-- --!><meta charset=koi8-r>é", "utf-8"),
            ("<!-- > <meta charset=koi8-r>é", "utf-8"),
            // Anything else is skipped up to the next `>`.
            ("</ <meta charset=koi8-r>é", "utf-8"),
            ("</ ><meta charset=koi8-r>", "koi8-r"),
            ("</><meta charset=koi8-r>", "koi8-r"),
            ("<!x <meta charset=koi8-r>é", "utf-8"),
            ("<?x <meta charset=koi8-r>é", "utf-8"),
            ("<3 <meta charset=koi8-r>", "koi8-r"),
            ("< /p <meta charset=koi8-r>", "koi8-r"),
            // A tag name ends at white space or `>`, whatever it contains.
            ("<a<meta charset=koi8-r>é", "utf-8"),
            ("<a/b='<meta charset=koi8-r>'>é", "utf-8"),
            ("</p/a='>'><meta charset=koi8-r>", "koi8-r"),
            ("</p a='><meta charset=koi8-r>'>é", "utf-8"),
            ("<p =='<meta charset=koi8-r>'>é", "utf-8"),
            ("<p a = '<meta charset=koi8-r>'>é", "utf-8"),
            ("<p a= ><meta charset=koi8-r>", "koi8-r"),
            ("<p a='><meta charset=koi8-r>", "utf-8"),
            ("<meta a charset=koi8-r>", "koi8-r"),
            ("<meta a=b/charset=koi8-r>é", "utf-8"),
            ("<meta a='b'charset=koi8-r>", "koi8-r"),
            ("<meta charset=koi8-r/>é", "utf-8"),
            ("<meta\u{b}charset=koi8-r>é", "utf-8"),
            ("<meta charset>é<meta charset=koi8-r>", "koi8-r"),
            // Of two attributes with the same name, the first counts.
            ("<meta charset=koi8-r charset=gbk>", "koi8-r"),
            ("<meta charset=x charset=gbk>é", "utf-8"),
            ("<meta http-equiv=refresh http-equiv=content-type content='charset=koi8-r'>é", "utf-8"),
            ("<meta http-equiv=content-type http-equiv=refresh content='charset=koi8-r'>", "koi8-r"),
            ("<meta http-equiv=content-type content='charset=x' content='charset=koi8-r'>é", "utf-8"),
            ("<meta http-equiv=content-type content='charset=gbk' charset=koi8-r>", "koi8-r"),
            ("<meta charset=koi8-r content='charset=gbk'>", "koi8-r"),
            ("<meta charset=x http-equiv=content-type content='charset=gbk'>é", "utf-8"),
            ("<meta http-equiv='content-type ' content='charset=koi8-r'>é", "utf-8"),
            ("<meta http-equiv=Content-Type content='a charset b charset = koi8-r;x'>", "koi8-r"),
            ("<meta http-equiv=content-type content=\"charset='koi8-r'\">", "koi8-r"),
            ("<meta http-equiv=content-type content=\"charset='koi8-r\">é", "utf-8"),
            ("<meta http-equiv=content-type content='charset='>é", "utf-8"),
            ("<?xml version='1.0' encoding = \"koi8-r\"?>", "koi8-r"),
            ("<?xml version='1.0' encoding='koi8 r'?>é", "utf-8"),
            ("<?xml version='1.0' encoding='utf-16'?>é", "utf-8"),
            (" <?xml version='1.0' encoding='koi8-r'?>é", "utf-8"),
        ] {
            check(None, head.as_bytes(), expected);
        }
    }

    #[test]
    fn an_xml_declaration_in_utf16_tells_so_itself() {
        for (big, expected) in [(false, "utf-16le"), (true, "utf-16be")] {
            let text = "<?xml version='1.0'?><p>".bytes();
            let body: Vec<u8> = text.flat_map(|byte| if big { [0, byte] } else { [byte, 0] }).collect();
            check(None, &body, expected);
        }
    }

    #[test]
    fn a_meta_may_change_what_nothing_but_the_page_has_said() {
        for (charset, label, other) in [
            (Charset::tentative(UTF_8), "koi8-r", Some("koi8-r")),
            (Charset::tentative(UTF_8), " KOI8-R ", Some("koi8-r")),
            (Charset::tentative(UTF_8), "utf-8", None),
            (Charset::tentative(UTF_8), "utf-16", None),
            (Charset::tentative(UTF_8), "x-user-defined", Some("windows-1252")),
            (Charset::tentative(UTF_8), "nonsense", None),
            (Charset::certain(UTF_8), "koi8-r", None),
        ] {
            let mut charset = charset;
            assert_eq!(charset.declare(label.as_bytes()).map(name), other, "{label}");
            assert_eq!(charset.is_tentative(), label == "nonsense", "{label}");
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
