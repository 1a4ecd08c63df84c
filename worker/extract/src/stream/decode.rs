//! Decodes raw text and attribute values: entities, line ends and NUL bytes, according to
//! the HTML standard.

use std::borrow::Cow;

use htmlize::{Context, unescape_bytes_in};
use memchr::{memchr, memchr3};

/// The replacement of a NUL byte that cannot be dropped.
const REPLACEMENT: &[u8] = "\u{FFFD}".as_bytes();

/// An attribute's value.
pub(super) fn attribute(raw: &[u8]) -> Cow<'_, str> {
    match attribute_bytes(raw) {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => match String::from_utf8_lossy(&bytes) {
            Cow::Owned(text) => Cow::Owned(text),
            Cow::Borrowed(text) => Cow::Owned(text.to_owned()),
        },
    }
}

/// An attribute's value as bytes of the page.
pub(super) fn attribute_bytes(raw: &[u8]) -> Cow<'_, [u8]> {
    if memchr3(b'&', b'\r', 0, raw).is_none() {
        return Cow::Borrowed(raw);
    }
    Cow::Owned(unescape_bytes_in(normalized(raw, REPLACEMENT), Context::Attribute).into_owned())
}

/// Text between tags, as valid UTF-8. NUL bytes are dropped.
pub(super) fn text(raw: &[u8]) -> Cow<'_, [u8]> {
    let raw = valid(raw);
    if memchr3(b'&', b'\r', 0, &raw).is_none() {
        return raw;
    }
    Cow::Owned(unescape_bytes_in(normalized(&raw, b""), Context::General).into_owned())
}

/// Text of an element that contains only text, as valid UTF-8.
pub(super) fn raw_text(raw: &[u8], has_entities: bool) -> Cow<'_, [u8]> {
    let raw = valid(raw);
    if memchr3(b'&', b'\r', 0, &raw).is_none() {
        return raw;
    }
    let normalized = normalized(&raw, REPLACEMENT);
    if has_entities {
        Cow::Owned(unescape_bytes_in(normalized, Context::General).into_owned())
    } else {
        Cow::Owned(normalized)
    }
}

/// Replaces what is not valid UTF-8. This cannot wait until the texts of a value are put together: the ends of two
/// texts, or the bytes around a NUL, could become a character.
fn valid(raw: &[u8]) -> Cow<'_, [u8]> {
    match String::from_utf8_lossy(raw) {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

/// Replaces each line end in `raw` by a line feed, and each NUL by `nul`.
fn normalized(raw: &[u8], nul: &[u8]) -> Vec<u8> {
    if memchr(b'\r', raw).is_none() && memchr(0, raw).is_none() {
        return raw.to_vec();
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            0 => out.extend_from_slice(nul),
            b'\r' => {
                out.push(b'\n');
                bytes.next_if_eq(&&b'\n');
            }
            other => out.push(*other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_attributes_decode_each_in_their_way() {
        // (raw, as text, as an attribute)
        for (raw, in_text, in_attribute) in [
            ("a &amp; b", "a & b", "a & b"),
            ("&ampx", "&x", "&ampx"),
            ("x?a=1&copy=2", "x?a=1\u{a9}=2", "x?a=1&copy=2"),
            ("&#65;&#x42;&#67", "ABC", "ABC"),
            ("&#128;&#0;&#xD800;", "\u{20ac}\u{fffd}\u{fffd}", "\u{20ac}\u{fffd}\u{fffd}"),
            ("&notit;", "\u{ac}it;", "&notit;"),
            ("&nosuch;", "&nosuch;", "&nosuch;"),
            ("a\r\nb\rc", "a\nb\nc", "a\nb\nc"),
            ("a\0b", "ab", "a\u{fffd}b"),
        ] {
            assert_eq!(text(raw.as_bytes()), in_text.as_bytes(), "{raw:?}");
            assert_eq!(attribute(raw.as_bytes()), in_attribute, "{raw:?}");
        }
        assert_eq!(text(b"\xC5\0\xAF").as_ref(), "\u{fffd}\u{fffd}".as_bytes());
        assert_eq!(raw_text(b"\xE2\x82", false).as_ref(), "\u{fffd}".as_bytes());
        assert_eq!(raw_text(b"&lt;\r\n\0", false).as_ref(), "&lt;\n\u{fffd}".as_bytes());
        assert_eq!(raw_text(b"&lt;\r\n\0", true).as_ref(), "<\n\u{fffd}".as_bytes());
    }
}
