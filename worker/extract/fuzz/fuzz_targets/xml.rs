//! Any bytes are XML or refused, and the same whether they arrive whole or in pieces.

#![no_main]

use std::io::{BufReader, Cursor};
use std::sync::LazyLock;
use std::time::Duration;

use extract::{Extractor, Kind, Page};
use libfuzzer_sys::fuzz_target;
use select::{Each, Field, Preset};

static EXTRACTORS: LazyLock<[Extractor; 2]> = LazyLock::new(|| {
    let page = [
        "texts[]=*::text",
        "html=:root::html",
        "names[]=item > title, media\\:title, [xml\\:lang]::text",
        "links[]=link::attr(href)",
        "nodes[]=//node() | //@*",
        "count=xpath:count(//*[@*])",
        "comments[]=//comment()",
    ];
    let item = ["title=title", "id=xpath:@id", "before=xpath:count(preceding::*)"];
    let presets = [Preset::Meta, Preset::Microdata];
    let each = Each::parse("item, entry").unwrap();
    [
        Extractor::new(&Field::parse_all(&page).unwrap(), None, &presets).unwrap(),
        Extractor::new(&Field::parse_all(&item).unwrap(), Some(&each), &[]).unwrap(),
    ]
});

fuzz_target!(|bytes: &[u8]| {
    let page = Page {
        kind: Kind::Xml,
        content_type_charset: None,
        url: None,
        parse_timeout: Duration::from_secs(2),
    };
    for extractor in &*EXTRACTORS {
        let whole = extractor.extract(page, &mut Cursor::new(bytes));
        let mut pieces = BufReader::with_capacity(1 + bytes.len() % 61, Cursor::new(bytes));
        let pieces = extractor.extract(page, &mut pieces);
        match (whole, pieces) {
            (Ok(whole), Ok(pieces)) => assert_eq!(whole, pieces, "whole (left) and in pieces (right)"),
            (Err(whole), Err(pieces)) => assert_eq!(whole.to_string(), pieces.to_string()),
            (whole, pieces) => panic!("whole: {whole:?}\nin pieces: {pieces:?}"),
        }
    }
});
