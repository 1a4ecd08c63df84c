//! Any bytes have an encoding, whatever a header says of them; and the same one whether they arrive whole or in pieces.
//!
//! The first line of the input is the charset of the header, the rest is the body.

#![no_main]

use std::io::{BufReader, Cursor};
use std::sync::LazyLock;
use std::time::Duration;

use encoding_rs::Encoding;
use extract::{Extractor, Kind, Page};
use libfuzzer_sys::fuzz_target;
use select::Field;

static EXTRACTORS: LazyLock<[Extractor; 3]> = LazyLock::new(|| {
    // Nothing but the encoding; lists that are streamed; a tree, or JSON.
    [&[][..], &["t[]=title", "l[]=a::attr(href)"], &["h[]=*::html", "v[]=$..*"]]
        .map(|job| Extractor::new(&Field::parse_all(job).unwrap(), None, &[]).unwrap())
});

fuzz_target!(|input: &[u8]| {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (label, body) = input.split_at(end);
    let body = body.get(1..).unwrap_or_default();
    let label = std::str::from_utf8(label).ok().filter(|label| !label.is_empty());
    for kind in [Kind::Html, Kind::Xml, Kind::Json, Kind::Unknown] {
        let page =
            Page { kind, content_type_charset: label, url: None, parse_timeout: Duration::from_secs(2) };
        for extractor in &*EXTRACTORS {
            let whole = extractor.extract(page, &mut Cursor::new(body));
            let mut pieces = BufReader::with_capacity(1 + body.len() % 61, Cursor::new(body));
            let pieces = extractor.extract(page, &mut pieces);
            match (whole, pieces) {
                (Ok(whole), Ok(pieces)) => {
                    assert_eq!(whole, pieces, "whole (left) and in pieces (right)");
                    assert!(Encoding::for_label(whole.charset.as_bytes()).is_some(), "{}", whole.charset);
                }
                (Err(whole), Err(pieces)) => assert_eq!(whole.to_string(), pieces.to_string()),
                (whole, pieces) => panic!("whole: {whole:?}\nin pieces: {pieces:?}"),
            }
        }
    }
});
