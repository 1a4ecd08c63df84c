use std::io::Write as _;

use shared::framed;

use super::*;
use crate::stage::mutation::mutated;

/// Reads a sitemap; the entries as JSON, one a line. Of an entry of an index, there is its URL.
fn lines(body: &[u8]) -> Result<(bool, String), SitemapError> {
    let (mut entries, is_index) = (Vec::new(), matches!(read(body)?, Found::Sitemaps(_)));
    match read(body)? {
        Found::Sitemaps(urls) => {
            entries.extend(urls.into_iter().map(|loc| Entry { loc, ..Entry::default() }))
        }
        Found::Pages(pages) => {
            let mut rest = pages.entries.as_slice();
            while let Some((entry, after)) = framed::first(rest) {
                entries.push(entry);
                rest = after;
            }
            assert_eq!((pages.count, rest.len()), (entries.len() as u64, 0));
        }
        Found::Failed { message, .. } => panic!("{message}"),
    }
    let line = |entry: Entry| {
        let parts = ["loc", "lastmod", "changefreq", "priority"].map(|name| (name, entry.part(name)));
        let parts = parts.into_iter().filter_map(|(name, part)| Some(format!("\"{name}\":{:?}", part?)));
        format!("{{{}}}\n", parts.collect::<Vec<_>>().join(","))
    };
    Ok((is_index, entries.into_iter().map(line).collect()))
}

#[track_caller]
fn check(body: &str, want: &str) {
    let (is_index, lines) = lines(body.as_bytes()).unwrap();
    assert_eq!((is_index, lines.trim_end()), (body.contains("sitemapindex"), want), "{body}");
}

#[track_caller]
fn refused(body: &[u8], says: &str) {
    let error = lines(body).unwrap_err().to_string();
    assert!(error.contains(says), "{error}");
}

#[test]
fn entries_are_read_however_they_are_written() {
    let page = r#"{"loc":"http://a/?x=1&y=2"}"#;
    check("<urlset><url><loc> http://a/?x=1&amp;y=2\n</loc></url></urlset>", page);
    check("<urlset><url><loc><![CDATA[http://a/?x=1&y=2]]></loc></url></urlset>", page);
    check("<urlset><url><loc>http://a/?x=1&#38;y<![CDATA[=]]>&#x32;</loc></url></urlset>", page);
    // Nobody escaped it, and what was meant is plain.
    check("<urlset><url><loc>http://a/?x=1&y=2</loc></url></urlset>", page);
    check(
        "<?xml version='1.0'?>\n<!-- c --><s:urlset xmlns:s='x'><s:url><s:loc>http://a/?x=1&amp;y=2</s:loc>\
         </s:url><url><loc>no</loc></url></s:urlset>",
        page,
    );
    check(
        "<urlset><url><loc>http://a/?x=1&amp;y=2</loc><image:image><image:loc>i</image:loc><loc>j</loc>\
         </image:image><image:loc>k</image:loc><loc>second</loc></url><other><loc>no</loc></other></urlset>",
        page,
    );
    check(
        "<sitemapindex><sitemap><loc>http://a/1.xml</loc><lastmod>2024-01-02</lastmod></sitemap>\
         <url><loc>no</loc></url></sitemapindex>",
        r#"{"loc":"http://a/1.xml"}"#,
    );
    check(
        "<urlset><url><priority>0.5</priority><changefreq>daily</changefreq><loc>/a\"b</loc></url>\
         <url><lastmod/></url></urlset>",
        "{\"loc\":\"/a\\\"b\",\"changefreq\":\"daily\",\"priority\":\"0.5\"}\n{\"loc\":\"\",\"lastmod\":\"\"}",
    );
    check("<urlset/>", "");
    check(
        "http://a/\r\n\n  http://b/ \nnonsense",
        "{\"loc\":\"http://a/\"}\n{\"loc\":\"http://b/\"}\n{\"loc\":\"nonsense\"}",
    );
}

#[test]
fn an_entity_is_never_expanded() {
    let mut bomb = String::from("<!DOCTYPE urlset [<!ENTITY a0 \"http://a/\">");
    for level in 1..60 {
        bomb.push_str(&format!("<!ENTITY a{level} \"{}\">", format!("&a{};", level - 1).repeat(10)));
    }
    bomb.push_str(
        "<!ENTITY file SYSTEM \"file:///etc/passwd\">]><urlset><url><loc>&a59;&file;</loc></url></urlset>",
    );
    let (_, lines) = lines(bomb.as_bytes()).unwrap();
    assert_eq!(lines, "{\"loc\":\"&a59;&file;\"}\n");
}

#[test]
fn any_encoding_is_read() {
    let document =
        "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><urlset><url><loc>http://a/é</loc></url></urlset>";
    let want = "{\"loc\":\"http://a/é\"}\n";
    let latin1: Vec<u8> = document.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    let little: Vec<u8> = document.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = document.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let utf8 = document.replace("ISO-8859-1", "utf-16");
    for (body, name) in [
        (latin1, "Latin-1"),
        ([&[0xff, 0xfe][..], &little].concat(), "UTF-16LE with its mark"),
        (little, "UTF-16LE"),
        ([&[0xfe, 0xff][..], &big].concat(), "UTF-16BE with its mark"),
        (big, "UTF-16BE"),
        ([&[0xef, 0xbb, 0xbf][..], utf8.as_bytes()].concat(), "UTF-8 with its mark"),
        (utf8.into_bytes(), "UTF-8 that calls itself UTF-16"),
    ] {
        assert_eq!(lines(&body).unwrap().1, want, "{name}");
    }
}

#[test]
fn what_is_no_sitemap_is_refused_with_why() {
    refused(b"", "it is empty");
    refused(b" \n", "it is empty");
    refused(b"<!-- nothing -->", "it is empty");
    refused(b"<html><body></body></html>", "outermost element is <html>");
    refused(b"<urlset></urlset><urlset></urlset>", "outermost element is <urlset>");
    refused(b"{\"json\":1}", "neither XML nor a list");
    refused(b"<urlset><url><loc>http://a/</url></urlset>", "not well-formed XML, at byte");
    refused(b"<urlset><url><loc>http://a/</loc>", "ends in the middle of <urlset>");
    refused(b"<urlset><url", "not well-formed XML");
    refused(&gzip(b"<urlset/>")[..20], "gzip data is broken");
    refused(b"\x1f\x8bnothing", "gzip data is broken");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_packed_one_is_unpacked_within_bounds() {
    let packed = gzip(b"<urlset><url><loc>http://a/</loc></url></urlset>");
    assert_eq!(lines(&packed).unwrap().1, "{\"loc\":\"http://a/\"}\n");
    let bomb = gzip(&vec![b' '; 100 << 20]);
    assert!(bomb.len() < 1 << 20);
    assert_eq!(read(&bomb), Err(SitemapError::TooLarge));
}

#[test]
fn a_packed_one_that_comes_to_nothing_is_refused() {
    refused(&gzip(b"").repeat(100_000), "almost empty");
}

#[test]
fn more_entries_than_the_protocol_allows_are_refused() {
    let urls = |count: u64| (0..count).map(|n| format!("http://a/{n}\n")).collect::<String>();
    let Ok(Found::Pages(pages)) = read(urls(ENTRIES_MAX).as_bytes()) else { panic!("no pages") };
    assert_eq!(pages.count, ENTRIES_MAX);
    assert_eq!(read(urls(ENTRIES_MAX + 1).as_bytes()), Err(SitemapError::TooMany));
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(body: Vec<u8>, tail in "[<>/&;a-z!\\[\\]\"= ?-]{0,200}") {
        let _ = read(&body);
        let _ = read(format!("<urlset><url><loc>{tail}").as_bytes());
    }
}

#[test]
fn fuzz_sitemaps() {
    let page =
        "<url><loc>http://a/?x=1&amp;y=2</loc><lastmod>2024-01-02</lastmod><priority>0.5</priority></url>";
    let index =
        "<sitemap><loc><![CDATA[http://a/]]></loc></sitemap><!-- no --><sitemap><loc>b</loc></sitemap>";
    let texts = [
        format!("<?xml version='1.0' encoding='utf-8'?>\n<urlset xmlns='http://x'>{page}{page}</urlset>"),
        format!("<s:sitemapindex xmlns:s='http://x'>{index}</s:sitemapindex>"),
        "<!DOCTYPE a [<!ENTITY b 'c'>]><urlset><url><loc>&b;&#x32;</loc></url></urlset>".to_owned(),
        "http://a/\r\n\nhttp://b/\n".to_owned(),
    ];
    let utf16 = |text: &String| format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_be_bytes).collect();
    let mut seeds: Vec<Vec<u8>> = texts.iter().map(|text| text.clone().into_bytes()).collect();
    seeds.extend(texts.iter().map(utf16));
    seeds.extend(texts.iter().map(|text| gzip(text.as_bytes())));
    mutated(&seeds, |body, _| {
        if let Ok((_, lines)) = lines(body) {
            assert!(lines.lines().count() as u64 <= ENTRIES_MAX);
        }
    });
}
