use std::io::Cursor;
use std::time::Duration;

use select::{Each, Field};
use serde_json::{Value, json};

use crate::soup::{self, Random};
use crate::{Extractor, Kind, Page};

const RSS: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<?xml-stylesheet href="x.xsl"?>
<!-- a feed -->
<rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/" xmlns:Media="http://search.yahoo.com/mrss/">
<channel><title>Feed</title><link>http://a.example/</link>
<item><title><![CDATA[One <b>&amp;</b> two]]></title><link>http://a.example/1</link><pubDate>Mon</pubDate>
<guid isPermaLink="false">g1</guid><content:encoded><![CDATA[<p>x</p>]]></content:encoded><Media:thumbnail url="t.png"/></item>
<item><title>Three &lt; four &#x26; &#53;</title><link>http://a.example/2</link><meta>m</meta><base href="no"/></item>
</channel></rss>
"#;

const ATOM: &str = r#"<feed xmlns="http://www.w3.org/2005/Atom" xml:lang="en"><title type="text">A</title>
<entry><title>E</title><link rel="alternate" href="e1"/><link rel="self" href="/e1?f"/>
<content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml"><p>p <br/>q</p></div></content></entry></feed>"#;

fn extract(select: &str, xml: &[u8], charset: Option<&str>) -> Result<(Value, &'static str), String> {
    let url = url::Url::parse("http://a.example/b/feed").unwrap();
    let extractor = Extractor::new(&[Field::parse(select).unwrap()], None, &[]).unwrap();
    let page = Page {
        kind: Kind::Xml,
        content_type_charset: charset,
        url: Some(&url),
        parse_timeout: Duration::from_secs(60),
    };
    let extracted = extractor.extract(page, &mut Cursor::new(xml)).map_err(|error| error.to_string())?;
    Ok((serde_json::to_value(&extracted.values[0]).unwrap(), extracted.charset))
}

fn check(select: &str, xml: &str, expected: &Value) {
    let (value, _) = extract(select, xml.as_bytes(), None).unwrap_or_else(|error| panic!("{error} in {xml}"));
    assert_eq!(&value, expected, "{select} on {xml}");
}

#[test]
fn feeds_are_read_by_the_names_that_are_in_them() {
    for (xml, select, expected) in [
        (RSS, "l[]=item > link", json!(["http://a.example/1", "http://a.example/2"])),
        (RSS, "l[]=//item/link", json!(["http://a.example/1", "http://a.example/2"])),
        (RSS, "l[]=//item/link/text()", json!(["http://a.example/1", "http://a.example/2"])),
        (RSS, "t[]=item > title", json!(["One <b>&amp;</b> two", "Three < four & 5"])),
        (RSS, "t[]=//item/title", json!(["One <b>&amp;</b> two", "Three < four & 5"])),
        (RSS, "t=channel > title", json!("Feed")),
        (RSS, "d=pubDate", json!("Mon")),
        (RSS, "d=pubdate", json!(null)),
        (RSS, "d=//pubDate", json!("Mon")),
        (RSS, "d=//pubdate", json!(null)),
        (RSS, "g=guid::attr(isPermaLink)", json!("false")),
        (RSS, "g=guid::attr(ispermalink)", json!(null)),
        (RSS, "g=guid[isPermaLink=false]", json!("g1")),
        (RSS, "g=//guid/@isPermaLink", json!("false")),
        (RSS, "c=encoded", json!("<p>x</p>")),
        (RSS, "c=content\\:encoded", json!("<p>x</p>")),
        (RSS, "c=//encoded", json!("<p>x</p>")),
        (RSS, "c=//*[name()='content:encoded']", json!("<p>x</p>")),
        (RSS, "c=xpath:namespace-uri(//encoded)", json!("http://purl.org/rss/1.0/modules/content/")),
        (RSS, "c=xpath:local-name(//encoded)", json!("encoded")),
        (RSS, "u=thumbnail::attr(url)", json!("t.png")),
        (RSS, "u=Media\\:thumbnail::attr(url)", json!("t.png")),
        (RSS, "m=meta", json!("m")),
        (RSS, "n=xpath:count(//rss/@*)", json!(1)),
        (RSS, "p=//processing-instruction()", json!("href=\"x.xsl\"")),
        (RSS, "p=//processing-instruction('xml-stylesheet')", json!("href=\"x.xsl\"")),
        (RSS, "p=//processing-instruction('x')", json!(null)),
        (RSS, "p=//comment()", json!(" a feed ")),
        (RSS, "h=item:nth-child(3) guid::html", json!("<guid isPermaLink=\"false\">g1</guid>")),
        (RSS, "h=item:last-child base::html", json!("<base href=\"no\"/>")),
        (RSS, "h=item:last-child title::html", json!("<title>Three &lt; four &amp; 5</title>")),
        (ATOM, "l[]=entry > link::attr(href)", json!(["http://a.example/b/e1", "http://a.example/e1?f"])),
        (ATOM, "l=//link[@rel='self']/@href", json!("http://a.example/e1?f")),
        (ATOM, "p=p", json!("p q")),
        (ATOM, "l=feed::attr(xml:lang)", json!("en")),
        (ATOM, "l=p:lang(en)", json!("p q")),
        (ATOM, "l=xpath:count(//p[lang('en')])", json!(1)),
        (ATOM, "r=:root > title", json!("A")),
    ] {
        check(select, xml, &expected);
    }
}

#[test]
fn xhtml_is_xml_and_html_in_one() {
    let xhtml = "<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Strict//EN\" \"http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd\">\n\
        <html xmlns=\"http://www.w3.org/1999/xhtml\"><head><base href=\"/c/\"/><title/></head><body>\
        <p>a&nbsp;b<br/>&copy; &unknown;<a href=\"d\"/></p><P>no</P><template><p>hidden</p></template>\
        <input checked=\"checked\" type=\"checkbox\" id=\"i\"/></body></html>";
    for (select, expected) in [
        ("p[]=p", json!(["a\u{a0}b\u{a9} &unknown;"])),
        ("p[]=//p", json!(["a\u{a0}b\u{a9} &unknown;"])),
        ("p=P", json!("no")),
        ("l=a::attr(href)", json!("http://a.example/c/d")),
        ("t=title", json!("")),
        ("i=:checked::attr(id)", json!("i")),
    ] {
        check(select, xhtml, &expected);
    }
}

#[test]
fn items_and_names_of_many_namespaces() {
    let fields = Field::parse_all(&["t=title", "l=link", "d=./pubDate"]).unwrap();
    let extractor = Extractor::new(&fields, Some(&Each::parse("item").unwrap()), &[]).unwrap();
    let page = Page {
        kind: Kind::Xml,
        content_type_charset: None,
        url: None,
        parse_timeout: Duration::from_secs(60),
    };
    let extracted = extractor.extract(page, &mut Cursor::new(RSS.as_bytes())).unwrap();
    let expected = json!([[
        {"t": "One <b>&amp;</b> two", "l": "http://a.example/1", "d": "Mon"},
        {"t": "Three < four & 5", "l": "http://a.example/2", "d": null},
    ]]);
    assert_eq!(serde_json::to_value(&extracted.values).unwrap(), expected);
}

#[test]
fn entities_mean_what_the_page_declares() {
    let dtd = "<!DOCTYPE r [<!ENTITY a \"x&b;\"> <!-- <!ENTITY a 'no'> --> <?pi ?> <!ELEMENT r (#PCDATA)>\n\
        <!ENTITY b '&#60;i>y&#38;amp;&lt;&#60;/i>'><!ENTITY a 'no'><!ENTITY e SYSTEM 'file:///etc/passwd'>\
        <!ENTITY % p '<!ENTITY q \"no\">'><!ENTITY s \"'>\">]>";
    for (select, body, expected) in [
        ("r=r", "<r>&a;|&s;</r>", json!("xy&<|'>")),
        ("r=i", "<r>&a;</r>", json!("y&<")),
        ("r=r::attr(t)", "<r t='&s;\t&#10;&lt;\r\n\"'/>", json!("'> \n< \"")),
        ("r=r", "<r>&e;</r>", json!("&e;")),
        ("r=r", "<r>a\r\nb\rc</r>", json!("a\nb\nc")),
    ] {
        check(select, &format!("{dtd}{body}"), &expected);
    }
    let laughs: String =
        (1..10).map(|n| format!("<!ENTITY l{n} '{}'>", format!("&l{};", n - 1).repeat(10))).collect();
    for (dtd, body, why) in [
        (
            format!("<!ENTITY l0 'ha'>{laughs}"),
            "<r>&l9;</r>",
            "line 1: entities expand to more than 1048576 bytes",
        ),
        (format!("<!ENTITY l0 ''>{laughs}"), "<r t='&l9;'/>", "entities expand to more than 1048576 bytes"),
        (
            "<!ENTITY a '&b;'><!ENTITY b '&a;'>".to_owned(),
            "<r>&a;</r>",
            "refers to itself, or is nested more than 16 deep",
        ),
        ("<!ENTITY a '<i>'>".to_owned(), "<r>&a;</i></r>", "not closed"),
        ("<!ENTITY a '</r><r>'>".to_owned(), "<r>&a;</r>", "does not match"),
        ("<!ENTITY a".to_owned(), "<r/>", "not closed"),
    ] {
        let error = extract("r=r", format!("<!DOCTYPE r [{dtd}]>{body}").as_bytes(), None).unwrap_err();
        assert!(error.starts_with("not well-formed XML, line 1: ") || error.contains("DOCTYPE"), "{error}");
        assert!(error.contains(why.trim_start_matches("line 1: ")), "{error}");
    }
}

#[test]
fn a_page_that_is_not_well_formed_is_an_error() {
    for (xml, line, why) in [
        ("<r>\n<item>\n</r>", 3, "expected `</item>`, but `</r>` was found"),
        ("<r>\n<item>", 2, "an element is not closed"),
        ("<r/>\n<r/>", 2, "`<r>` is a second root element"),
        ("<r/>\n\nx", 3, "`x` is outside the root element"),
        ("x<r/>", 1, "`x` is outside the root element"),
        ("<r>\n&nbsp;</r>", 2, "entity `&nbsp;` is not declared"),
        ("<r>\n a & b</r>", 2, "entity or character reference not closed"),
        ("<r a='a & b'/>", 1, "write `&amp;`"),
        ("<r a='<'/>", 1, "write `&lt;`"),
        ("<r>\n a < b</r>", 2, "is not a name"),
        ("<r\n a=b/>", 2, "in `<r>`: attribute value must be enclosed"),
        ("<r a/>", 1, "in `<r>`: attribute key must be directly followed by `=`"),
        ("<r a='1' a='2'/>", 1, "in `<r>`: attribute `a` appears twice"),
        ("<r xmlns:a='u' xmlns:b='u' a:x='' b:x=''/>", 1, "attribute `x` appears twice"),
        ("<a:r/>", 1, "the prefix in `a:r` is not declared"),
        ("<r>&#0;</r>", 1, "`&#0;` is not a character allowed in XML"),
        ("<r>&#8;</r>", 1, "`&#8;` is not a character allowed in XML"),
        ("<r>\n\u{8}</r>", 2, "control characters are not allowed in XML"),
        ("\n<?xml version='1.0'?><r/>", 2, "the XML declaration is not at the start"),
        ("", 1, "the document has no root element"),
        ("<!-- x -->", 1, "the document has no root element"),
        ("<r><![CDATA[x</r>", 1, "CDATA not closed"),
        ("<r><!-- x</r>", 1, "comment not closed"),
        ("<r><!-- x -- y --></r>", 1, "`--` was found in a comment"),
        ("<r>\n<br>\n</r>", 3, "expected `</br>`, but `</r>` was found"),
    ] {
        let error = extract("r=r", xml.as_bytes(), None).unwrap_err();
        assert!(error.starts_with(&format!("not well-formed XML, line {line}: ")), "{error} in {xml:?}");
        assert!(error.contains(why), "{error} in {xml:?}");
    }
}

#[test]
fn any_text_is_a_tree_or_an_error() {
    for seed in 0..500 {
        let page = soup::page(&mut Random::new(seed), 25);
        for xml in [page.clone(), format!("<r>{page}</r>"), format!("<!DOCTYPE r [{page}]><r/>")] {
            if let Err(error) = extract("t[]=*::html", xml.as_bytes(), Some("utf-8")) {
                assert!(error.starts_with("not well-formed XML, line "), "{error} in {xml:?}");
            }
        }
    }
}

#[test]
fn a_page_of_any_size_ends() {
    let attributes: String = (0..200_000).map(|n| format!(" a{n}=''")).collect();
    check("n=xpath:count(//r/@*)", &format!("<r{attributes}/>"), &json!(200_000));
    let depth = 50_000;
    check("n=xpath:count(//*)", &format!("{}{}", "<r>".repeat(depth), "</r>".repeat(depth)), &json!(depth));
    check("n=xpath:string-length(/)", &format!("<r>{}</r>", "a&amp;".repeat(200_000)), &json!(400_000));
}

#[test]
fn the_encoding_comes_from_mark_header_or_declaration() {
    let latin = b"<?xml version='1.0' encoding='iso-8859-1'?><r>\xE9</r>";
    let utf16: Vec<u8> =
        "<?xml version='1.0' encoding='utf-16'?><r>é</r>".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let marked: Vec<u8> = [b"\xFF\xFE", &*utf16].concat();
    for (body, header, charset) in [
        (&latin[..], None, "windows-1252"),
        (b"<r>\xC3\xA9</r>", None, "utf-8"),
        (b"\xEF\xBB\xBF<?xml version='1.0' encoding='koi8-r'?><r>\xC3\xA9</r>", Some("koi8-r"), "utf-8"),
        (b"<?xml version='1.0' encoding='koi8-r'?><r>\xC3\xA9</r>", Some("utf-8"), "utf-8"),
        (&utf16, None, "utf-16le"),
        (&marked, None, "utf-16le"),
        // XML has no `<meta>`.
        (b"<r><meta charset='koi8-r'/>\xC3\xA9</r>", None, "utf-8"),
    ] {
        assert_eq!(extract("r=r", body, header).unwrap(), (json!("é"), charset));
    }
}
