//! `--select` finds what an independent parser finds.

use std::collections::BTreeMap;

use e2e::origin::site;
use scraper::{ElementRef, Html, Selector};
use serde_json::{Value, json};
use url::Url;

use crate::harness::{Dir, Origin, by_id, fetch, kind, parse};

/// Pages compared; enough for each of the site's oddities to occur.
const PAGES: u32 = 110;

/// Fields, and the same as selector, attribute, and whether every match is wanted.
///
/// Some can be found while a page streams by, some need the whole of it.
const FIELDS: &[(&str, &str, Option<&str>, bool)] = &[
    ("title=title::text", "title", None, false),
    ("h1=h1.headline", "h1.headline", None, false),
    ("links[]=a::attr(href)", "a", Some("href"), true),
    ("images[]=img::attr(src)", "img", Some("src"), true),
    ("alts[]=figure > img::attr(alt)", "figure > img", Some("alt"), true),
    ("cells[]=td", "td", None, true),
    ("items[]=ul.plain li", "ul.plain li", None, true),
    ("description=meta[name=description]::attr(content)", "meta[name=description]", Some("content"), false),
    ("prefixed[]=a[href^='/site/']::text", "a[href^='/site/']", None, true),
    ("none=blink", "blink", None, false),
    ("nones[]=blink", "blink", None, true),
    ("second[]=tr:nth-child(2) td", "tr:nth-child(2) td", None, true),
    ("after[]=h2 + p", "h2 + p", None, true),
    ("not_first[]=li:not(:first-child)", "li:not(:first-child)", None, true),
];

/// HTML's white space.
const SPACE: [char; 5] = [' ', '\t', '\n', '\r', '\u{c}'];

fn oracle(page: &str, url: &Url) -> BTreeMap<String, Value> {
    let document = Html::parse_document(page);
    let select = |css: &str| Selector::parse(css).unwrap();
    let base =
        document.select(&select("base[href]")).next().and_then(|base| url.join(base.attr("href")?).ok());
    let base = base.unwrap_or_else(|| url.clone());
    let taken = |element: ElementRef<'_>, attribute: Option<&str>| match attribute {
        // What HTML calls white space; a no-break space is text.
        None => Some(element.text().collect::<String>().trim_matches(SPACE).to_owned()),
        Some(name @ ("href" | "src")) => {
            let link = element.attr(name)?;
            Some(base.join(link).map_or_else(|_| link.trim().to_owned(), String::from))
        }
        Some(name) => element.attr(name).map(str::to_owned),
    };
    FIELDS
        .iter()
        .map(|(field, css, attribute, every)| {
            let name = field.split(['=', '[']).next().unwrap();
            let selector = select(css);
            let mut found = document.select(&selector).filter_map(|element| taken(element, *attribute));
            (name.to_owned(), if *every { found.collect() } else { json!(found.next()) })
        })
        .collect()
}

fn compare(records: &BTreeMap<u64, Value>, oracles: &[BTreeMap<String, Value>], fields: &[usize]) {
    assert_eq!(records.len(), oracles.len());
    for (record, oracle) in records.values().zip(oracles) {
        for (field, _, _, _) in fields.iter().map(|at| FIELDS[*at]) {
            let name = field.split(['=', '[']).next().unwrap();
            assert_eq!(record["fields"][name], oracle[name], "{name} of {}", record["url"]);
        }
    }
}

#[test]
fn fields_equal_an_independent_parsers_alone_and_together() {
    let origin = Origin::shared();
    let urls: Vec<_> = (0..PAGES).map(|n| origin.url(&format!("/site/page/{n}"))).collect();
    let oracles: Vec<_> = (0..PAGES)
        .zip(&urls)
        .map(|(n, url)| oracle(&site::page(n, origin.pages()), &Url::parse(url).unwrap()))
        .collect();
    let all: Vec<_> = (0..FIELDS.len()).collect();
    // Alone, a field may be found in another way than beside one that needs the whole page.
    let mut groups: Vec<Vec<usize>> = all.iter().map(|at| vec![*at]).collect();
    groups.push(all[..11].to_vec());
    groups.push(all);
    for group in groups {
        let selects = group.iter().flat_map(|at| ["--select", FIELDS[*at].0]);
        let records =
            by_id(fetch().args(["--mode", "both"]).args(selects).urls(&urls).run().exits(0).records());
        compare(&records, &oracles, &group);
    }
}

#[test]
fn a_first_match_does_not_stop_every_match() {
    let page = "<title>T</title><p>one</p><p>two</p><title>late</title>";
    let dir = Dir::new();
    let file = dir.write("a.html", page);
    let selects = ["--select", "t=title", "--select", "p=p", "--select", "ps[]=p", "--select", "ts[]=title"];
    let record = &parse().args(selects).arg(file).run().exits(0).records()[0];
    assert_eq!(record["fields"], json!({"t": "T", "p": "one", "ps": ["one", "two"], "ts": ["T", "late"]}));
}

#[test]
fn entities_are_decoded_in_text_and_attributes() {
    let page = "<title> A &amp; B &lt;c&gt; &#8212; &eacute;&nbsp;x &notit; &copy </title>\
                <a href='?a=1&amp;b=2&copy=3' title='&quot;q&quot; &amp;amp;'>x</a>";
    let dir = Dir::new();
    let file = dir.write("a.html", page);
    let selects = ["--select", "t=title", "--select", "h=a::attr(href)", "--select", "q=a::attr(title)"];
    // Alone and with a selector that needs the whole page.
    for more in [&[][..], &["--select", "x=p:nth-child(2)"]] {
        let record = &parse().args(selects).args(more).arg(&file).run().exits(0).records()[0];
        assert_eq!(record["fields"]["t"], "A & B <c> — é\u{a0}x ¬it; ©", "{record}");
        assert_eq!(record["fields"]["h"], "?a=1&b=2&copy=3", "{record}");
        assert_eq!(record["fields"]["q"], "\"q\" &amp;", "{record}");
    }
}

/// A page that is deep enough to take a parser minutes ends within its limit.
#[test]
fn a_megabyte_of_nested_elements_ends() {
    let origin = Origin::shared();
    let url = origin.url("/nested?bytes=1000000");
    let record = &fetch().args(["--select", "t=title"]).arg(&url).run().exits(0).records()[0];
    assert_eq!(record["fields"]["t"], "Nested");
}

/// So does one whose fields need all of it, and the page beside it is none the worse.
#[test]
fn a_whole_tree_of_nested_elements_ends() {
    let origin = Origin::shared();
    let url = origin.url("/nested?bytes=1000000");
    let whole_page = ["--select", "x[]=div:nth-child(2)", "--parse-timeout", "1s"];
    let run = fetch().args(whole_page).args([&url, &origin.url("/site/page/1")]).run();
    let records = by_id(run.records());
    assert!(["", "parse"].contains(&kind(&records[&0])), "{run}");
    assert_eq!(kind(&records[&1]), "", "{run}");
}
