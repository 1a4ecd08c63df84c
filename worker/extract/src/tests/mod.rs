//! Tests of the public interface.

mod bodies;
mod garbage;
#[cfg(feature = "xpath")]
mod paths;
mod standard;
mod states;
mod trees;
mod values;

use std::fs::File;
use std::io::{BufReader, Cursor, Seek as _, Write as _};
use std::time::Duration;

use select::{Each, Field, Preset};
use url::Url;
use wire::record::{ErrorKind, FieldValue};

use crate::{ExtractError, Extracted, Extractor, Kind, Page};

const MINUTE: Duration = Duration::from_secs(60);

fn extractor(selects: &[&str]) -> Extractor {
    Extractor::new(&Field::parse_all(selects).unwrap(), None, &[]).unwrap()
}

fn page(url: Option<&Url>) -> Page<'_> {
    Page { kind: Kind::Html, content_type_charset: None, url, parse_timeout: MINUTE }
}

fn texts(texts: &[&str]) -> FieldValue {
    FieldValue::List(texts.iter().map(|text| FieldValue::Text((*text).to_owned())).collect())
}

/// The fields of `html` as JSON, fetched from example.com.
fn extract(selects: &[&str], html: &[u8]) -> (String, &'static str) {
    let url = Url::parse("http://example.com/a/b.html").unwrap();
    let extracted = extractor(selects).extract(page(Some(&url)), &mut Cursor::new(html)).unwrap();
    (serde_json::to_string(&extracted.values).unwrap(), extracted.charset)
}

#[test]
fn fields_are_extracted() {
    // The last selector of each pair needs a tree, and gives the same value.
    for (selects, html, expected) in [
        (["t=title", "t=title:not(x)"], "<title>\n A &amp; B \n</title>", r#"["A & B"]"#),
        (["t=title", "t=title:not(x)"], "<p>none", "[null]"),
        (["t[]=title", "t[]=title:not(x)"], "<p>none", "[[]]"),
        (["t=h1", "t=h1:not(x)"], "<h1> a <b>b\n c</b>  d </h1>", r#"["a b\n c  d"]"#),
        (
            ["l[]=a::attr(href)", "l[]=a:not(x)::attr(href)"],
            "<a href=c><a name=x><a href='/d?x&amp;y#z'>",
            r#"[["http://example.com/a/c","http://example.com/d?x&y#z"]]"#,
        ),
        (
            ["l=a::attr(href)", "l=a:not(x)::attr(href)"],
            "<a>x</a><a href=y>z</a>",
            r#"["http://example.com/a/y"]"#,
        ),
        (
            ["i[]=img::attr(src)", "i[]=img:not(x)::attr(src)"],
            "<img src=http://[><img src=' i.png '>",
            r#"[["http://[","http://example.com/a/i.png"]]"#,
        ),
        (["t=a::attr(title)", "t=a:not(x)::attr(title)"], "<a title=' as is '>", r#"[" as is "]"#),
        (
            ["l=a::attr(href)", "l=a:not(x)::attr(href)"],
            "<a href=x></a><base href=http://o.org/d/><base href=/no>",
            r#"["http://o.org/d/x"]"#,
        ),
        (["h[]=h1, h2", "h[]=h1:not(x), h2"], "<h2>b</h2><h1>a</h1>", r#"[["b","a"]]"#),
        (
            ["n=noscript img::attr(alt)", "n=noscript > img::attr(alt)"],
            "<body><noscript><img alt=x></noscript>",
            r#"["x"]"#,
        ),
        (["d[]=div", "d[]=div:not(x)"], "<div>a<div>b</div>c</div>", r#"[["abc","b"]]"#),
    ] {
        for select in selects {
            assert_eq!(extract(&[select], html.as_bytes()).0, expected, "{select} on {html}");
        }
    }
}

#[test]
fn any_bytes_are_a_page() {
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0<a\0\x03\0\0\0\x01\xFF";
    let noise: Vec<u8> = (0..100_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    for bytes in [&b""[..], b"\0", b"<", b"\xEF\xBB\xBF", b"%PDF-1.7\n\xE2\xE3\n", png, &noise] {
        let (values, _) = extract(&["t=title", "l[]=a::attr(href)", "f=p:first-child"], bytes);
        assert!(values.starts_with("[null,["), "{values}");
        assert!(extract(&["t=title", "l[]=a::attr(href)"], bytes).0.starts_with("[null,["));
    }
}

#[test]
fn text_is_decoded_from_its_charset() {
    for select in ["t=title", "t=title:not(x)"] {
        for (html, expected, charset) in [
            (
                &b"<meta charset=windows-1252><title>caf\xE9 \x80</title>"[..],
                "caf\u{e9} \u{20ac}",
                "windows-1252",
            ),
            (b"<title>caf\xC3\xA9</title>", "caf\u{e9}", "utf-8"),
            (b"\xEF\xBB\xBF<title>caf\xC3\xA9</title>", "caf\u{e9}", "utf-8"),
            (
                b"<meta charset=utf-8><title>a\xFFb\xE2\x82c\xE2\x82</title>",
                "a\u{fffd}b\u{fffd}c\u{fffd}",
                "utf-8",
            ),
            (b"\xFF\xFE<\0t\0i\0t\0l\0e\0>\0\xE9\0", "\u{e9}", "utf-16le"),
            (b"<meta charset=shift_jis><title>\x93\xFA\x96{</title>", "\u{65e5}\u{672c}", "shift_jis"),
        ] {
            let (values, found) = extract(&[select], html);
            assert_eq!((values, found), (format!("[\"{expected}\"]"), charset));
        }
    }
}

#[test]
fn bytes_that_are_not_utf_8_stay_apart() {
    for select in ["b=body", "b=body:not(x)"] {
        for html in [
            &b"<meta charset=utf-8><body>x\xC5\0\xAF"[..],
            b"<meta charset=utf-8><body>x\xC5<b>\xAF</b>",
            b"<meta charset=utf-8><body>x\xC5<!-- c -->\xAF",
            b"<meta charset=utf-8><body><textarea>x\xC5</textarea>\xAF",
        ] {
            assert_eq!(extract(&[select], html), ("[\"x\u{fffd}\u{fffd}\"]".to_owned(), "utf-8"), "{select}");
        }
    }
}

#[test]
fn a_saved_page_keeps_its_links_as_written() {
    let html = "<a href=' ../x y '></a><a href=HTTP://A.org></a>";
    let links = extractor(&["l[]=a::attr(href)"]);
    let extracted = links.extract(page(None), &mut Cursor::new(html.as_bytes())).unwrap();
    assert_eq!(extracted.values, [texts(&["../x y", "HTTP://A.org"])]);
    let based = format!("<base href=http://b.org/c/>{html}");
    let extracted = links.extract(page(None), &mut Cursor::new(based.as_bytes())).unwrap();
    assert_eq!(extracted.values, [texts(&["http://b.org/x%20y", "http://a.org/"])]);
}

#[test]
fn reading_stops_once_every_first_match_is_final() {
    let filler = "<p>filler &amp; more</p>\n".repeat(20_000);
    // (fields, page, whether the filler behind it is left unread)
    for (selects, head, stops) in [
        (&["t=title"][..], "<title>T</title>", true),
        (&["t=title", "h=h1"], "<title>T</title><h1>x</h1>", true),
        (&["t=title", "h=h1"], "<title>T</title>", false),
        (&["t[]=title"], "<title>T</title>", false),
        // A later base would change the link; only the first one counts.
        (&["l=a::attr(href)"], "<body>x<a href=y>", false),
        (&["l=a::attr(href)"], "<base href=/z><body>x<a href=y>", true),
        (&["l=a::attr(href)"], "<body>x<a href=http://a.org/y>", true),
        (&["l=a::attr(href) | re(y) | url"], "<body>x<a href=http://a.org/y>", false),
        (&["l=b | url"], "<body>x<b>http://a.org/y</b>", false),
        (&["l=b | url"], "<base href=/z><body>x<b>y</b>", true),
        (&["l=b | re(y)"], "<body>x<b>y</b>", true),
        // A later heading may be moved before this table.
        (&["h=h1"], "<body>x<table><tr><td><h1>x</h1>", false),
        // A later tag may add a class to the body.
        (&["c=.c"], "<body>x<b class=c>x</b>", false),
    ] {
        let html = format!("<!doctype html>{head}{filler}");
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(html.as_bytes()).unwrap();
        let mut reader = BufReader::with_capacity(8 * 1024, file);
        reader.rewind().unwrap();
        let from_file = extractor(selects).extract(page(None), &mut reader).unwrap();
        let mut memory = Cursor::new(html.as_bytes());
        let from_memory = extractor(selects).extract(page(None), &mut memory).unwrap();
        assert_eq!(from_file.values, from_memory.values);
        let whole = u64::try_from(html.len()).unwrap();
        for read in [reader.stream_position().unwrap(), memory.position()] {
            assert_eq!(read < whole / 4, stops, "{selects:?} on {head}: {read} of {whole}");
            assert!(stops || read == whole, "{selects:?} on {head}: {read} of {whole}");
        }
    }
}

#[test]
fn a_page_that_cannot_be_streamed_is_read_again() {
    let html = "<title>caf\u{e9}</title><table><a href=1>moved</a><tr><td><a href=2>x</a></table>";
    for mark in ["", "\u{feff}"] {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(format!("{mark}{html}").as_bytes()).unwrap();
        let mut reader: BufReader<File> = BufReader::with_capacity(16, file);
        reader.rewind().unwrap();
        let extracted = extractor(&["t=title", "l[]=a"]).extract(page(None), &mut reader).unwrap();
        assert_eq!(serde_json::to_string(&extracted.values).unwrap(), "[\"caf\u{e9}\",[\"moved\",\"x\"]]");
    }
}

#[test]
fn a_job_without_fields_reports_the_charset() {
    let body = b"<meta charset=koi8-r>".repeat(1000);
    let extracted = extractor(&[]).extract(page(None), &mut Cursor::new(&body)).unwrap();
    assert_eq!(extracted, Extracted { values: vec![], charset: "koi8-r" });
}

#[test]
fn a_page_that_takes_too_long_is_stopped() {
    let nested = "<div>".repeat(60_000);
    let short = Page { parse_timeout: Duration::from_millis(100), ..page(None) };
    for select in ["d=p > div:first-child", "d=p div"] {
        let error = extractor(&[select]).extract(short, &mut Cursor::new(nested.as_bytes())).unwrap_err();
        assert!(matches!(error, ExtractError::Deadline { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::Parse);
        assert!(error.to_string().contains("100ms"), "{error}");
    }
}

#[test]
fn fields_cannot_grow_without_end() {
    let html = format!("{}{}", "<div>".repeat(200), "x".repeat(1 << 20));
    for select in ["d[]=div", "d[]=div:not(x)"] {
        let error = extractor(&[select]).extract(page(None), &mut Cursor::new(html.as_bytes())).unwrap_err();
        assert!(matches!(error, ExtractError::TooMuch { .. }), "{error}");
    }
}

#[test]
fn a_body_that_cannot_be_read_is_an_error() {
    let directory = File::open("/").unwrap();
    let error = extractor(&["t=title"]).extract(page(None), &mut BufReader::new(directory)).unwrap_err();
    assert!(error.to_string().starts_with("cannot read the page: "), "{error}");
}

#[test]
fn one_extractor_can_serve_several_threads() {
    fn check<T: Send + Sync>() {}
    check::<Extractor>();
}
