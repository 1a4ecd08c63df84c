//! Bytes to text, and sitemaps that are nothing but text: one URL a line.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
use shared::sitemap::{Entry, Found};

use super::{Listed, SitemapError};

/// How far an XML declaration may reach; it comes first and is short.
const DECLARATION_BYTES_MAX: usize = 256;

/// Decodes a sitemap as its byte order mark, its first bytes or its XML declaration say.
pub(super) fn decode(body: &[u8]) -> Cow<'_, str> {
    if let Some((encoding, length)) = Encoding::for_bom(body) {
        return encoding.decode_without_bom_handling(body.get(length..).unwrap_or_default()).0;
    }
    let encoding = match body {
        [b'<', 0, ..] => UTF_16LE,
        [0, b'<', ..] => UTF_16BE,
        _ => declared(body).unwrap_or(UTF_8),
    };
    encoding.decode_without_bom_handling(body).0
}

fn declared(body: &[u8]) -> Option<&'static Encoding> {
    let begin = body.trim_ascii_start();
    let begin = begin.get(..DECLARATION_BYTES_MAX).unwrap_or(begin);
    let declaration = begin.strip_prefix(b"<?xml")?;
    let declaration = declaration.get(..memchr::memmem::find(declaration, b"?>")?)?;
    let value = declaration.get(memchr::memmem::find(declaration, b"encoding")? + "encoding".len()..)?;
    let value = value.trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
    let (quote, value) = value.split_first()?;
    let label = value.split(|byte| byte == quote).next()?;
    // It could be read this far, so it is not in two bytes a letter, whatever it says.
    Encoding::for_label(label).filter(|encoding| encoding.is_ascii_compatible())
}

/// One URL a line.
pub(super) fn read(text: &str) -> Result<Found, SitemapError> {
    let mut listed = Listed::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if listed.is_empty() && !line.contains("://") {
            return Err(SitemapError::Neither);
        }
        listed.push(Entry { loc: line.to_owned(), ..Entry::default() })?;
    }
    Ok(listed.found())
}
