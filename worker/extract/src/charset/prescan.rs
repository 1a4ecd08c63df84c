//! Looks for an encoding in a page's first bytes, before anything can be parsed
//! (HTML 13.2.3.2, "prescan a byte stream to determine its encoding").
//!
//! `None` means that the bytes end here.

use encoding_rs::{Encoding, UTF_16BE, UTF_16LE};
use memchr::{memchr, memmem};

use super::{DECLARATION_BYTES, as_declared_in_ascii};

/// The encoding that `<meta>` or an XML declaration names in `head`.
pub(super) fn declared(head: &[u8]) -> Option<&'static Encoding> {
    let head = head.get(..DECLARATION_BYTES).unwrap_or(head);
    utf16(head).or_else(|| scan(head)).or_else(|| xml_declaration(head))
}

/// The encoding of XML, which has no `<meta>`.
pub(super) fn of_xml(head: &[u8]) -> Option<&'static Encoding> {
    utf16(head).or_else(|| xml_declaration(head))
}

/// An XML declaration in UTF-16.
fn utf16(head: &[u8]) -> Option<&'static Encoding> {
    if head.starts_with(b"<\0?\0x\0") {
        Some(UTF_16LE)
    } else if head.starts_with(b"\0<\0?\0x") {
        Some(UTF_16BE)
    } else {
        None
    }
}

fn scan(head: &[u8]) -> Option<&'static Encoding> {
    let mut at = 0;
    loop {
        at += memchr(b'<', head.get(at..)?)?;
        let rest = head.get(at..)?;
        at += match rest {
            // `<!-->` is a complete comment: its two dashes may be the same.
            [b'<', b'!', b'-', b'-', ..] => 2 + memmem::find(rest.get(2..)?, b"-->")?,
            _ if is_meta(rest) => {
                let mut attributes = Attributes { rest: rest.get(META.len()..)? };
                if let Some(encoding) = of_meta(&mut attributes)? {
                    return Some(encoding);
                }
                rest.len() - attributes.rest.len()
            }
            [b'<', name, ..] | [b'<', b'/', name, ..] if name.is_ascii_alphabetic() => {
                let name = rest.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'>')?;
                let mut attributes = Attributes { rest: rest.get(name..)? };
                while attributes.next()?.is_some() {}
                rest.len() - attributes.rest.len()
            }
            [b'<', b'!' | b'/' | b'?', ..] => memchr(b'>', rest)?,
            _ => 1,
        };
    }
}

const META: &[u8] = b"<meta";

fn is_meta(tag: &[u8]) -> bool {
    let Some((name, after)) = tag.split_at_checked(META.len()) else { return false };
    name.eq_ignore_ascii_case(META) && after.first().is_some_and(|c| c.is_ascii_whitespace() || *c == b'/')
}

/// The encoding that a `<meta>` with these attributes declares.
fn of_meta(attributes: &mut Attributes<'_>) -> Option<Option<&'static Encoding>> {
    let mut seen: Vec<Vec<u8>> = Vec::new();
    let (mut got_pragma, mut needs_pragma, mut charset) = (false, None, None);
    while let Some((name, value)) = attributes.next()? {
        let name = name.to_ascii_lowercase();
        if seen.contains(&name) {
            continue;
        }
        match name.as_slice() {
            b"http-equiv" => got_pragma = value.eq_ignore_ascii_case(b"content-type"),
            b"content" if charset.is_none() => {
                if let Some(encoding) = parameter(value).and_then(Encoding::for_label) {
                    (charset, needs_pragma) = (Some(Some(encoding)), Some(true));
                }
            }
            b"charset" => (charset, needs_pragma) = (Some(Encoding::for_label(value)), Some(false)),
            _ => {}
        }
        seen.push(name);
    }
    let counts = needs_pragma.is_some_and(|needs| got_pragma || !needs);
    Some(charset.flatten().filter(|_| counts).map(as_declared_in_ascii))
}

/// The value of `charset=` in the content of a `<meta http-equiv>`.
pub(crate) fn parameter(content: &[u8]) -> Option<&[u8]> {
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

/// "Get an XML encoding"
fn xml_declaration(head: &[u8]) -> Option<&'static Encoding> {
    let blank = |byte: &u8| *byte <= b' ';
    let past_blanks = |bytes: &'_ [u8]| bytes.iter().position(|byte| !blank(byte));
    let declaration = head.strip_prefix(b"<?xml")?;
    let declaration = declaration.get(..memchr(b'>', declaration)?)?;
    let value = declaration.get(memmem::find(declaration, b"encoding")? + b"encoding".len()..)?;
    let value = value.get(past_blanks(value)?..)?.strip_prefix(b"=")?;
    let (quote, rest) = value.get(past_blanks(value)?..)?.split_first()?;
    if !matches!(quote, b'"' | b'\'') {
        return None;
    }
    let label = rest.get(..memchr(*quote, rest)?)?;
    if label.iter().any(blank) {
        return None;
    }
    Encoding::for_label(label).map(as_declared_in_ascii)
}

/// The attributes of a tag, from where its name ends.
struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// "Get an attribute": its name and value as written, or `None` at the end of the tag.
    fn next(&mut self) -> Option<Option<(&'a [u8], &'a [u8])>> {
        self.skip(|byte| byte.is_ascii_whitespace() || *byte == b'/')?;
        if self.rest.first()? == &b'>' {
            return Some(None);
        }
        // An attribute's name may start with `=`, so its first byte never ends it.
        let ends_name = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'=' | b'/' | b'>');
        let name = self.take(1 + self.rest.get(1..)?.iter().position(ends_name)?)?;
        self.skip(u8::is_ascii_whitespace)?;
        if self.rest.first()? != &b'=' {
            return Some(Some((name, b"")));
        }
        self.take(1)?;
        self.skip(u8::is_ascii_whitespace)?;
        let value = match self.rest.first()? {
            quote @ (b'"' | b'\'') => {
                self.take(1)?;
                let value = self.take(memchr(*quote, self.rest)?)?;
                self.take(1)?;
                value
            }
            _ => self.take(self.rest.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'>')?)?,
        };
        Some(Some((name, value)))
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    fn skip(&mut self, skipped: impl Fn(&u8) -> bool) -> Option<()> {
        self.take(self.rest.iter().position(|byte| !skipped(byte))?).map(|_| ())
    }
}
