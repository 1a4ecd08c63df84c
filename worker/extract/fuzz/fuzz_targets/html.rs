//! Both HTML engines find the same in any bytes.
//!
//! A job without XPath, items and microdata is streamed; microdata sends the same fields to the tree engine. If the
//! streaming engine gives up on a page, the tree engine reads it in both runs, and they agree for certain.

#![no_main]

use std::io::{BufReader, Cursor};
use std::sync::LazyLock;
use std::time::Duration;

use extract::{ExtractError, Extractor, Kind, Page};
use libfuzzer_sys::fuzz_target;
use select::{Field, Preset};
use url::Url;

/// Fields that between them use every kind of step, test and value. A job of lists reads all of a page; a job
/// of first matches may stop early.
const JOBS: [&[&str]; 3] = [
    &[
        "links[]=a::attr(href)",
        "texts[]=a, b, i, code, option, textarea, pre::text",
        "blocks[]=h1, h2, p, li, div::text",
        "cells[]=td, th, tr, tbody, caption::text",
        "raw[]=title, style, script, xmp, iframe, noscript::text",
        "steps[]=div a, ul > li > a, td > a, p a, body > *, head > *::attr(class)",
        "tests[]=.c, #i, [rel=next], [rel~=prev], [href^=x], [lang|=en]::text",
        "foreign[]=svg, math, select, button, form, input, img::attr(id)",
        "any[]=*::attr(name)",
    ],
    &["title=title::text", "link=a::attr(href)"],
    &["body=body::text", "html=html::attr(lang)", "h=h1::text", "base=link::attr(href)"],
];

const STREAMED: [Preset; 3] = [Preset::JsonLd, Preset::OpenGraph, Preset::Meta];
const OF_TREE: [Preset; 4] = [Preset::JsonLd, Preset::OpenGraph, Preset::Meta, Preset::Microdata];

struct Pair {
    streaming: Extractor,
    tree: Extractor,
}

static PAIRS: LazyLock<Vec<Pair>> =
    LazyLock::new(|| JOBS.iter().enumerate().map(|(n, job)| pair(n, job)).collect());
static URL: LazyLock<Url> = LazyLock::new(|| Url::parse("http://example.com/a/b?c").unwrap());

fn pair(n: usize, job: &[&str]) -> Pair {
    let fields = Field::parse_all(job).unwrap();
    // Presets read all of a page, so they are left to the job that does that anyhow.
    let presets = if n == 0 { &STREAMED[..] } else { &[] };
    let with_tree = if n == 0 { &OF_TREE[..] } else { &OF_TREE[3..] };
    Pair {
        streaming: Extractor::new(&fields, None, presets).unwrap(),
        tree: Extractor::new(&fields, None, with_tree).unwrap(),
    }
}

fn is_limit(error: &ExtractError) -> bool {
    matches!(error, ExtractError::Deadline { .. } | ExtractError::TooMuch { .. })
}

fuzz_target!(|bytes: &[u8]| {
    let page = Page {
        kind: Kind::Html,
        content_type_charset: None,
        url: Some(&URL),
        parse_timeout: Duration::from_secs(2),
    };
    for (n, pair) in PAIRS.iter().enumerate() {
        // A page may arrive in pieces of any size.
        let mut pieces = BufReader::with_capacity(1 + bytes.len() % 61, Cursor::new(bytes));
        let streamed = pair.streaming.extract(page, &mut pieces);
        let tree = pair.tree.extract(page, &mut Cursor::new(bytes));
        match (streamed, tree) {
            (Ok(streamed), Ok(mut tree)) => {
                tree.values.pop();
                assert_eq!(
                    streamed.values, tree.values,
                    "streamed (left) and tree (right) differ in job {n}"
                );
                // A job of first matches may end before the page declares its encoding.
                if n == 0 {
                    assert_eq!(streamed.charset, tree.charset, "streamed (left) and tree (right)");
                }
            }
            (Err(error), _) | (_, Err(error)) if is_limit(&error) => {}
            (streamed, tree) => panic!("streamed: {streamed:?}\ntree: {tree:?}"),
        }
    }
});
