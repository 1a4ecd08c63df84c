//! Tests that both HTML engines give the same fields: if the streaming engine gives an answer,
//! the tree engine gives the same one, on tag soup, on odd pages and for any size of pieces.

use std::io::{BufReader, Cursor};
use std::time::Duration;

use encoding_rs::UTF_8;
use proptest::prelude::*;
use select::{Field, Preset};
use url::Url;
use wire::record::FieldValue;

use crate::charset::Charset;
use crate::dom::{Built, Dom, build};
use crate::found::{Deadline, Found};
use crate::input::Input;
use crate::links::Links;
use crate::pick::Pick;
use crate::soup::{Random, page};
use crate::stream::{Stream, Streamed};

/// Jobs that together use every kind of step, value and test.
const JOBS: [&[&str]; 12] = [
    &["title=title::text"],
    &["title=title::text", "links[]=a::attr(href)"],
    &["link=a::attr(href)"],
    &["texts[]=a::text", "all[]=b, i, code::text"],
    &["heads[]=h1, h2::text", "ps[]=p::text", "lis[]=li::text"],
    &["cells[]=td, th::text", "rows[]=tr::text", "bodies[]=tbody::text", "tables[]=table::text"],
    &["c[]=.c::text", "i=#i::text", "first=.c::attr(href)"],
    &[
        "d[]=div a::attr(href)",
        "u[]=ul > li > a::text",
        "t[]=td > a, p a::attr(href)",
        "b[]=body > *::attr(class)",
    ],
    &["body=body::text", "html=html::attr(lang)", "head[]=head::text", "in[]=head > *::attr(href)"],
    &[
        "rel[]=[rel=next], [rel~=prev]::attr(href)",
        "img[]=img::attr(src)",
        "q[]=[href^=x]::attr(href)",
        "any[]=*::attr(id)",
    ],
    &[
        "opt[]=option::text",
        "ta[]=textarea::text",
        "pre[]=pre::text",
        "s[]=script, style::text",
        "n[]=noscript img::attr(src)",
    ],
    &["p=p::text", "h=h1::text"],
];

/// The picks of a job and of the presets.
fn picks(fields: &[Field]) -> Vec<Pick> {
    let presets = [Preset::JsonLd, Preset::OpenGraph, Preset::Meta];
    fields.iter().filter_map(Pick::of_field).chain(presets.into_iter().filter_map(Pick::of_preset)).collect()
}

fn values(picks: &[Pick], found: &Found) -> Vec<FieldValue> {
    let url = Url::parse("http://example.com/a/b").unwrap();
    let links = Links::new(Some(&url), found.base_href(), UTF_8);
    picks.iter().enumerate().map(|(n, pick)| found.read().of(n, pick, &links)).collect()
}

/// The values in `html`: from the streaming engine, unless it gives up, and from the tree engine.
fn both(picks: &[Pick], html: &[u8], buffer: usize) -> (Option<Vec<FieldValue>>, Vec<FieldValue>) {
    let deadline = Deadline::after(Duration::from_secs(60));
    let mut found = Found::new(picks.len());
    let mut reader = BufReader::with_capacity(buffer, Cursor::new(html));
    let mut input = Input::new(&mut reader);
    let stream = Stream::new(picks).unwrap();
    let end = stream.run(picks, &mut input, Charset::certain(UTF_8), &deadline, &mut found).unwrap();
    let streamed = (end == Streamed::Done).then(|| values(picks, &found));

    let mut found = Found::new(picks.len());
    let mut reader = Cursor::new(html);
    let built = build(&mut Input::new(&mut reader), Charset::certain(UTF_8), &deadline).unwrap();
    let Built::Page(page) = built else { panic!("the encoding was certain") };
    Dom::new(picks).unwrap().collect(&page, &deadline, &mut found).unwrap();
    (streamed, values(picks, &found))
}

/// Checks that both engines find the same `<meta>` on a page whose encoding is not known.
fn check_encoding(picks: &[Pick], html: &str) {
    let deadline = Deadline::after(Duration::from_secs(60));
    let mut found = Found::new(picks.len());
    let stream = Stream::new(picks).unwrap();
    let charset = Charset::tentative(UTF_8);
    let mut body = Cursor::new(html);
    let streamed = stream.run(picks, &mut Input::new(&mut body), charset, &deadline, &mut found).unwrap();
    let mut body = Cursor::new(html);
    let tree = match build(&mut Input::new(&mut body), charset, &deadline).unwrap() {
        Built::Redecode(declared) => Some(declared),
        Built::Page(_) => None,
    };
    match streamed {
        Streamed::Redecode(declared) => assert_eq!(Some(declared), tree, "{html:?}"),
        // It may end before the `<meta>`, if its values are the same in every encoding.
        Streamed::Done => assert!(tree.is_none() || found.is_ascii(), "{html:?}"),
        Streamed::NeedsTree => {}
    }
}

/// Checks one page with one job, and returns whether it was streamed.
fn check(picks: &[Pick], html: &str, buffer: usize) -> bool {
    let (streamed, tree) = both(picks, html.as_bytes(), buffer);
    if let Some(streamed) = &streamed {
        assert_eq!(streamed, &tree, "streamed (left) and tree (right) differ for {picks:?} on\n{html:?}");
    }
    streamed.is_some()
}

fn plain(job: &[&str]) -> Vec<Pick> {
    Field::parse_all(job).unwrap().iter().filter_map(Pick::of_field).collect()
}

/// Each job alone, and one with the presets.
fn jobs() -> Vec<Vec<Pick>> {
    let with_presets = picks(&Field::parse_all(JOBS[0]).unwrap());
    JOBS.iter().map(|job| plain(job)).chain([with_presets]).collect()
}

#[test]
fn both_engines_agree_on_tag_soup() {
    let jobs = jobs();
    let (mut streamed, mut pages) = (0, 0);
    for seed in 0..3_000 {
        let mut random = Random::new(seed);
        let html = page(&mut random, 25);
        let buffer = [1 << 16, 1 << 16, 7, 1][random.below(4)];
        let job = &jobs[random.below(jobs.len())];
        streamed += usize::from(check(job, &html, buffer));
        check_encoding(job, &html);
        pages += 1;
    }
    // The streaming engine often gives up on such pages, but it must not always give up.
    assert!(streamed * 3 > pages, "only {streamed} of {pages} pages were streamed");
}

#[test]
fn regular_pages_are_streamed() {
    for html in [
        "<!doctype html><html lang=en><head><meta charset=utf-8><title>T</title></head><body class=c>\
         <p>One <a href=1>link</a> and <b>bold <i>both</i></b>.<p>Two<ul><li>a<li><a href=2>b</a></ul>\
         <table><tr><td><a href=3>x</a><td>y</table></body></html>\n",
        "<title>no doctype</title><h1>H</h1><p>a<br>b<hr><img src=x><pre>\n x</pre>",
        "<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Strict//EN\" \"x\"><html xmlns=\"x\"><head/><body><p>a<table><tr><td>b</td></tr></table></p>",
        "<body><form><select><option>a<option>b</select><textarea>\nx</textarea><input><button>b</button></form>",
        "<head><noscript><link href=x></noscript><script>if (a < b) document.write('<p>')</script></head><body>x",
    ] {
        for job in jobs() {
            assert!(check(&job, html, 1 << 16), "given up: {html}");
        }
    }
    let titles = plain(JOBS[1]);
    let links = plain(&["links[]=a::attr(href)"]);
    assert!(check(&links, "<body><p><b>bold over<p>two <a href=1>paragraphs</a></b>", 1 << 16));
    let html = "<body><svg viewBox='0 0 1 1'><title>t</title><g><path d=x /></g></svg><a href=1>x</a>";
    assert!(check(&links, html, 1 << 16));
    // The title of an SVG drawing is also an element called `title`.
    assert!(!check(&titles, html, 1 << 16));
}

#[test]
fn pages_that_need_a_tree_are_given_up() {
    let job = plain(&["links[]=a::attr(href)"]);
    for html in [
        "<table><a href=1>fostered</a><tr><td>x</table>",
        "<a href=1><div>x</a>y</div>",
        "<p><a href=1>x<p>y",
        "<template><a href=1></template>",
        "<frameset><frame src=x></frameset>",
        "<svg><a href=1></a></svg>",
        "<body class=a><body id=b><a href=1>",
        "<table>text</table>",
    ] {
        assert!(!check(&job, html, 1 << 16), "streamed: {html}");
    }
}

proptest! {
    #[test]
    fn both_engines_agree_on_any_markup(
        html in "(<!doctype html>)?([a-z \\n&;\0]{0,4}|</?(a|p|b|td|tr|table|li|ul|div|h1|title|svg|option)( (href|class|id)=?['\"]?[a-z>&]{0,3}['\"]?)?/?>|<!--.{0,4}-->){0,25}",
        job in 0..=JOBS.len(),
    ) {
        check(&jobs()[job], &html, 1 << 16);
    }
}
