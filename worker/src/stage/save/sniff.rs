//! What a body is, by its first bytes: patterns as those of the MIME Sniffing standard, and the extension that goes
//! with each type.
//!
//! A pattern that only one kind of file begins with counts more than what the server says. What many kinds begin
//! with, such as a ZIP archive, counts only if the server says nothing.

use crate::stage::media_type::MediaType;

/// How much of a body is looked at: the "resource header" of the standard.
pub(super) const HEAD_BYTES: usize = 1445;

/// Declared types that say no more than that there are bytes.
const UNKNOWN: [&str; 7] = [
    "application/octet-stream",
    "application/unknown",
    "application/x-download",
    "application/force-download",
    "binary/octet-stream",
    "text/plain",
    "unknown/unknown",
];

/// The position of a pattern, the pattern, and the type that it means. `?` stands for any byte.
const UNIQUE: [(usize, &[u8], &str); 24] = [
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"RIFF????WEBPVP", "image/webp"),
    (0, b"\0\0\x01\0", "image/x-icon"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftypheic", "image/heic"),
    (4, b"ftypM4A ", "audio/mp4"),
    (4, b"ftypqt  ", "video/quicktime"),
    (4, b"ftypisom", "video/mp4"),
    (4, b"ftypmp4", "video/mp4"),
    (4, b"ftypiso", "video/mp4"),
    (4, b"ftypavc1", "video/mp4"),
    (0, b"RIFF????WAVE", "audio/wav"),
    (0, b"RIFF????AVI ", "video/x-msvideo"),
    (0, b"FORM????AIFF", "audio/aiff"),
    (0, b"fLaC", "audio/flac"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"wOFF", "font/woff"),
    (0, b"wOF2", "font/woff2"),
    (0, b"OTTO", "font/otf"),
    (0, b"PAR1", "application/vnd.apache.parquet"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
];

/// Patterns that many kinds of files share.
const SHARED: [(usize, &[u8], &str); 14] = [
    (0, b"II*\0", "image/tiff"),
    (0, b"MM\0*", "image/tiff"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\x1a\x45\xdf\xa3", "video/webm"),
    (0, b"OggS\0", "application/ogg"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"PK\x05\x06", "application/zip"),
    (0, b"\x1f\x8b\x08", "application/gzip"),
    (0, b"\x28\xb5\x2f\xfd", "application/zstd"),
    (0, b"BZh", "application/x-bzip2"),
    (0, b"\xfd7zXZ\0", "application/x-xz"),
    (0, b"Rar!\x1a\x07", "application/vnd.rar"),
    (0, b"SQLite format 3\0", "application/vnd.sqlite3"),
    (0, b"%!PS-Adobe-", "application/postscript"),
];

/// Beginnings of text formats, in lower case, after white space.
const TEXTS: [(&[u8], &str); 6] = [
    (b"<!doctype html", "text/html"),
    (b"<html", "text/html"),
    (b"<head", "text/html"),
    (b"<body", "text/html"),
    (b"<svg", "image/svg+xml"),
    (b"<?xml", "text/xml"),
];

/// Types and their extensions.
const EXTENSIONS: [(&str, &str); 63] = [
    ("audio/aiff", "aiff"),
    ("video/x-msvideo", "avi"),
    ("font/woff", "woff"),
    ("font/woff2", "woff2"),
    ("font/otf", "otf"),
    ("text/html", "html"),
    ("application/xhtml+xml", "xhtml"),
    ("text/plain", "txt"),
    ("text/css", "css"),
    ("text/csv", "csv"),
    ("text/markdown", "md"),
    ("text/tab-separated-values", "tsv"),
    ("text/xml", "xml"),
    ("application/xml", "xml"),
    ("application/rss+xml", "rss"),
    ("application/atom+xml", "atom"),
    ("text/javascript", "js"),
    ("application/javascript", "js"),
    ("application/json", "json"),
    ("application/ld+json", "jsonld"),
    ("application/x-ndjson", "jsonl"),
    ("application/pdf", "pdf"),
    ("application/postscript", "ps"),
    ("application/rtf", "rtf"),
    ("application/epub+zip", "epub"),
    ("application/msword", "doc"),
    ("application/vnd.ms-excel", "xls"),
    ("application/vnd.ms-powerpoint", "ppt"),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docx"),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"),
    ("application/vnd.openxmlformats-officedocument.presentationml.presentation", "pptx"),
    ("application/vnd.oasis.opendocument.text", "odt"),
    ("application/vnd.oasis.opendocument.spreadsheet", "ods"),
    ("application/vnd.apache.parquet", "parquet"),
    ("application/vnd.sqlite3", "sqlite"),
    ("application/zip", "zip"),
    ("application/gzip", "gz"),
    ("application/x-gzip", "gz"),
    ("application/zstd", "zst"),
    ("application/x-bzip2", "bz2"),
    ("application/x-xz", "xz"),
    ("application/x-tar", "tar"),
    ("application/x-7z-compressed", "7z"),
    ("application/vnd.rar", "rar"),
    ("application/wasm", "wasm"),
    ("application/ogg", "ogg"),
    ("image/png", "png"),
    ("image/jpeg", "jpg"),
    ("image/gif", "gif"),
    ("image/webp", "webp"),
    ("image/avif", "avif"),
    ("image/heic", "heic"),
    ("image/tiff", "tiff"),
    ("image/svg+xml", "svg"),
    ("image/x-icon", "ico"),
    ("image/vnd.microsoft.icon", "ico"),
    ("audio/mpeg", "mp3"),
    ("audio/mp4", "m4a"),
    ("audio/wav", "wav"),
    ("audio/flac", "flac"),
    ("video/mp4", "mp4"),
    ("video/webm", "webm"),
    ("video/quicktime", "mov"),
];

/// Returns the type of a body that begins with `head`, with the `Content-Type` that its server declared.
pub(super) fn content_type(head: &[u8], declared: Option<&str>) -> String {
    if let Some(found) = matching(&UNIQUE, head) {
        return found.to_owned();
    }
    let declared = declared.and_then(MediaType::extract).map(|declared| declared.essence);
    let (says_nothing, text) = match &declared {
        None => (true, false),
        Some(essence) => (UNKNOWN.contains(&essence.as_str()), essence == "text/plain"),
    };
    match declared {
        Some(essence) if !says_nothing => essence,
        _ => {
            // A server that means plain text may show markup in it.
            let found = matching(&SHARED, head).or_else(|| if text { None } else { beginning(head) });
            found.unwrap_or(if is_text(head) { "text/plain" } else { "application/octet-stream" }).to_owned()
        }
    }
}

/// Returns the extension of files of this type, without a dot; if the type has none, that of the URL's path.
pub(super) fn extension<'a>(content_type: &str, path: &'a str) -> &'a str {
    if let Some((_, extension)) = EXTENSIONS.iter().find(|(known, _)| *known == content_type) {
        return extension;
    }
    let name = path.rsplit('/').next().unwrap_or_default();
    match name.rsplit_once('.') {
        Some((stem, extension))
            if !stem.is_empty()
                && (1..=8).contains(&extension.len())
                && extension.bytes().all(|byte| byte.is_ascii_alphanumeric()) =>
        {
            extension
        }
        Some(_) | None => "",
    }
}

fn matching(patterns: &[(usize, &[u8], &'static str)], head: &[u8]) -> Option<&'static str> {
    let fits = |at: usize, pattern: &[u8]| {
        head.get(at..at + pattern.len()).is_some_and(|bytes| {
            bytes.iter().zip(pattern).all(|(byte, wanted)| *wanted == b'?' || byte == wanted)
        })
    };
    patterns.iter().find(|(at, pattern, _)| fits(*at, pattern)).map(|(_, _, found)| *found)
}

/// Finds a text format by its first tag.
fn beginning(head: &[u8]) -> Option<&'static str> {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let starts =
        |pattern: &[u8]| head.get(..pattern.len()).is_some_and(|bytes| bytes.eq_ignore_ascii_case(pattern));
    TEXTS.iter().find(|(pattern, _)| starts(pattern)).map(|(_, found)| *found)
}

/// Whether there is no "binary data byte" of the standard.
fn is_text(head: &[u8]) -> bool {
    head.starts_with(b"\xfe\xff")
        || head.starts_with(b"\xff\xfe")
        || !head.iter().any(|byte| matches!(byte, 0..=8 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_mean_one_thing_count_more_than_the_server() {
        let png = b"\x89PNG\r\n\x1a\n....";
        for (head, declared, want) in [
            (&png[..], Some("text/html"), "image/png"),
            (png, None, "image/png"),
            (b"\xff\xd8\xff\xe0", Some("image/png"), "image/jpeg"),
            (b"RIFF\x01\x02\x03\x04WEBPVP8 ", Some("application/octet-stream"), "image/webp"),
            (b"\0\0\0\x20ftypisom", None, "video/mp4"),
            (b"%PDF-1.7", Some("text/plain"), "application/pdf"),
            (b"PK\x03\x04", Some("application/epub+zip"), "application/epub+zip"),
            (b"PK\x03\x04", Some("application/octet-stream"), "application/zip"),
            (b"\x1f\x8b\x08", None, "application/gzip"),
            (b"<html>", Some("text/plain"), "text/plain"),
            (b"\n <!DOCTYPE HTML>", None, "text/html"),
            (b"<rss>", Some("application/rss+xml; charset=utf-8"), "application/rss+xml"),
            (b"hello", None, "text/plain"),
            (b"\0\x01\x02", Some("text/plain"), "application/octet-stream"),
            (b"", Some("garbage"), "text/plain"),
            (b"", None, "text/plain"),
        ] {
            assert_eq!(content_type(head, declared), want, "{head:?} {declared:?}");
        }
    }

    #[test]
    fn extensions_come_from_the_type_and_else_from_the_url() {
        for (content_type, path, want) in [
            ("image/jpeg", "/a.php", "jpg"),
            ("application/octet-stream", "/a/b.bin", "bin"),
            ("application/octet-stream", "/a.b/c", ""),
            ("application/octet-stream", "/.htaccess", ""),
            ("application/octet-stream", "/a.!", ""),
            ("application/octet-stream", "/a.muchtoolong", ""),
        ] {
            assert_eq!(extension(content_type, path), want, "{content_type} {path}");
        }
    }
}
