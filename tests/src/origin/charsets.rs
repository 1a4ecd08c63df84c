//! The same page in many encodings, declared correctly, wrongly or not at all.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
use serde::Deserialize;

use super::Origin;

pub(super) fn routes() -> Router<Arc<Origin>> {
    Router::new().route("/charset/{label}", get(page))
}

#[derive(Debug, Deserialize)]
struct CharsetQuery {
    #[serde(default)]
    by: Declared,
}

/// Where the page declares its encoding.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Declared {
    /// In `Content-Type`.
    #[default]
    Header,
    /// In `<meta charset>`.
    Meta,
    /// In `<meta http-equiv>`.
    HttpEquiv,
    /// In `<meta charset>`, after a script that is longer than the part examined before parsing.
    LateMeta,
    /// By a byte order mark (Unicode encodings only).
    Bom,
    /// Correctly in `Content-Type` and wrongly in `<meta>`. The header has precedence.
    HeaderOverMeta,
    /// As a different charset.
    Wrong,
    /// As an unknown charset.
    Unknown,
    /// Not at all.
    Nowhere,
}

/// The title of each page, in letters that its encoding has.
///
/// The first element is the encoding's WHATWG name in lower case, as in records.
const TITLES: &[(&str, &str)] = &[
    ("windows-1252", "Café “naïve” – 5 €, façade"),
    ("iso-8859-2", "Žluťoučký kůň příšerně úpěl"),
    ("windows-1251", "Привет, широкий мир"),
    ("koi8-r", "Съешь ещё этих мягких булок"),
    ("shift_jis", "日本語のページへようこそ"),
    ("euc-jp", "東京の天気は晴れです"),
    ("euc-kr", "한국어 페이지에 오신 것을"),
    ("gbk", "欢迎来到中文页面"),
    ("big5", "歡迎來到中文網頁"),
    ("utf-16le", "Łódź ☃ 東京 🚂"),
    ("utf-16be", "Łódź ☃ 東京 🚂"),
    ("utf-8", "Łódź ☃ 東京 🚂"),
];

/// The title of `/charset/{label}`.
#[must_use]
pub fn title(encoding: &str) -> &'static str {
    TITLES.iter().find(|(name, _)| *name == encoding).map_or("Plain", |(_, title)| title)
}

async fn page(Path(label): Path<String>, Query(query): Query<CharsetQuery>) -> Response {
    let Some(encoding) = Encoding::for_label(label.as_bytes()) else {
        return (StatusCode::NOT_FOUND, "not an encoding\n").into_response();
    };
    let name = encoding.name().to_ascii_lowercase();
    // Never declare a superset: windows-1252 text must be invalid as UTF-8, and the reverse.
    let other = if encoding == UTF_8 { "windows-1252" } else { "utf-8" };
    let meta = match query.by {
        Declared::Meta => format!("<meta charset=\"{name}\">"),
        Declared::LateMeta => {
            format!("<script>{}</script><meta charset=\"{name}\">", "var page = 1; ".repeat(100))
        }
        Declared::HttpEquiv => {
            format!("<meta http-equiv=\"Content-Type\" content=\"text/html; charset={name}\">")
        }
        Declared::HeaderOverMeta => format!("<meta charset=\"{other}\">"),
        Declared::Header | Declared::Bom | Declared::Wrong | Declared::Unknown | Declared::Nowhere => {
            String::new()
        }
    };
    let content_type = match query.by {
        Declared::Header | Declared::HeaderOverMeta => format!("text/html; charset={name}"),
        Declared::Wrong => format!("text/html; charset={other}"),
        Declared::Unknown => "text/html; charset=x-no-such-charset".to_owned(),
        Declared::Meta | Declared::HttpEquiv | Declared::LateMeta | Declared::Bom | Declared::Nowhere => {
            "text/html".to_owned()
        }
    };
    let title = title(&name);
    let text = format!(
        "<!DOCTYPE html>\n<html><head>{meta}<title>{title}</title></head><body><p>{title}. <a href=\"/site/\">{title}</a></p>\
         </body></html>\n"
    );
    ([(header::CONTENT_TYPE, content_type)], encode(encoding, &text, query.by == Declared::Bom))
        .into_response()
}

fn encode(encoding: &'static Encoding, text: &str, bom: bool) -> Bytes {
    let text = if bom { format!("\u{feff}{text}") } else { text.to_owned() };
    // The Encoding Standard has no encoder for UTF-16, because browsers never send forms in it.
    if encoding == UTF_16LE {
        return text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    }
    if encoding == UTF_16BE {
        return text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    }
    Bytes::from(encoding.encode(&text).0.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_title_survives_its_encoding() {
        for (name, title) in TITLES {
            let encoding = Encoding::for_label(name.as_bytes()).unwrap();
            assert_eq!(encoding.name().to_ascii_lowercase(), *name);
            let bytes = encode(encoding, title, false);
            assert_eq!(encoding.decode_without_bom_handling(&bytes).0, *title, "{name}");
        }
    }
}
