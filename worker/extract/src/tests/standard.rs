//! Rules of the HTML standard that fields depend on, in both engines.

use serde_json::{Value, json};

use super::*;
use crate::charset;

/// Each selector as CSS, which may be streamed; as CSS that needs a tree; as XPath; and in an item.
fn check(css: &str, xpath: &str, html: &[u8], expected: &Value) {
    let selects = [format!("x[]={css}"), format!("y[]={xpath}")];
    for select in &selects[..if cfg!(feature = "xpath") { 2 } else { 1 }] {
        let alone: Value = serde_json::from_str(&extract(&[select], html).0).unwrap();
        assert_eq!(alone[0], *expected, "{select} on {:?}", String::from_utf8_lossy(html));
        let beside: Value = serde_json::from_str(&extract(&[select, "z=nothing:not(x)"], html).0).unwrap();
        assert_eq!(beside[0], *expected, "{select} beside a tree on {:?}", String::from_utf8_lossy(html));
    }
}

#[test]
fn content_of_a_template_is_not_in_the_page() {
    for (html, css, xpath, expected) in [
        ("<template><p>a</p></template><p>b</p>", "p", "//p", json!(["b"])),
        ("<div><template><p>a</p></template><p>b</p></div>", "div p", "//div//p", json!(["b"])),
        ("<div>x<template>a</template>y</div>", "div", "//div", json!(["xy"])),
        (
            "<template><base href=/no/></template><a href=x>",
            "a::attr(href)",
            "//a/@href",
            json!(["http://example.com/a/x"]),
        ),
        (
            "<head><template><base href=/no/></template><base href=/yes/></head><a href=x>",
            "a::attr(href)",
            "//a/@href",
            json!(["http://example.com/yes/x"]),
        ),
        ("<template><template><p>a</template></template>", "p", "//p", json!([])),
        ("<template><tr><td>a</template><table><tr><td>b</table>", "td", "//td", json!(["b"])),
        ("<template>a</template>", "template", "//template", json!([""])),
        (
            "<template id=t><p>a</template>",
            "template:empty::attr(id)",
            "//template[not(node())]/@id",
            json!(["t"]),
        ),
        ("<svg><template><p>a</template></svg><p>b", "p", "//p", json!(["a", "b"])),
        ("<p>a</p><template><p>b", "p", "//p", json!(["a"])),
    ] {
        check(css, xpath, html.as_bytes(), &expected);
    }
    // Its content is still written, as a browser does.
    let html = "<template a=\"b\"><p>x</p><template><i>y</i></template></template>";
    let (written, _) = extract(&["t=template::html"], html.as_bytes());
    assert_eq!(written, serde_json::to_string(&[html]).unwrap());
    let presets = [Preset::JsonLd, Preset::OpenGraph, Preset::Meta, Preset::Microdata];
    let html = "<template><script type=application/ld+json>{\"a\":1}</script><meta property=og:title content=x>\
        <meta name=k content=v><div itemscope><b itemprop=p>x</b></div></template>";
    let extracted =
        Extractor::new(&[], None, &presets).unwrap().extract(page(None), &mut Cursor::new(html)).unwrap();
    assert_eq!(serde_json::to_value(&extracted.values).unwrap(), json!([[], {}, {}, []]));
}

#[test]
fn names_of_attributes_are_those_of_the_element() {
    for (html, css, xpath, expected) in [
        ("<svg VIEWBOX='0 0'></svg>", "svg::attr(viewBox)", "//svg/@viewBox", json!(["0 0"])),
        ("<svg viewbox='0 0'></svg>", "svg::attr(viewbox)", "//svg/@viewbox", json!([])),
        (
            "<svg viewbox='0 0'></svg>",
            "svg[viewBox]::attr(viewBox)",
            "//svg[@viewBox]/@viewBox",
            json!(["0 0"]),
        ),
        (
            "<svg><use XLINK:HREF='#x'/></svg>",
            "use::attr(xlink:href)",
            "//use/@*[name()='xlink:href']/../@*",
            json!(["#x"]),
        ),
        ("<svg><g xml:lang=en /></svg>", "g::attr(xml:lang)", "//g/@lang", json!(["en"])),
        ("<svg><path pathlength=1 /></svg>", "path::attr(pathLength)", "//path/@pathLength", json!(["1"])),
        ("<math definitionurl=u></math>", "math::attr(definitionURL)", "//math/@definitionURL", json!(["u"])),
        ("<svg><g xmlns:xlink=u /></svg>", "g::attr(xmlns:xlink)", "//nothing", json!(null)),
        ("<div viewBox=1 xlink:href=2>", "div::attr(viewBox)", "//div/@viewBox", json!(["1"])),
        (
            "<div viewBox=1 xlink:href=2>",
            "div::attr(XLINK:HREF)",
            "//div/@*[name()='xlink:href']",
            json!(["2"]),
        ),
        ("<div Title=1>", "div::attr(TITLE)", "//div/@TITLE", json!(["1"])),
        ("<a HREF=x>", "a::attr(HREF)", "//a/@HREF", json!(["http://example.com/a/x"])),
        ("<svg><a href=x>", "a::attr(href)", "//a/@href", json!(["http://example.com/a/x"])),
        ("<svg><g HREF=x>", "g::attr(HREF)", "//g/@HREF", json!([])),
        (
            "<p>x</p><svg><foreignObject><p Title=t>y</p></foreignObject></svg>",
            "p[TITLE]::attr(tItle)",
            "//p[@TITLE]/@title",
            json!(["t"]),
        ),
    ] {
        if expected.is_null() {
            assert_eq!(extract(&[&format!("x={css}")], html.as_bytes()).0, "[\"u\"]");
        } else {
            check(css, xpath, html.as_bytes(), &expected);
        }
    }
}

#[test]
fn html_starts_again_where_the_standard_says_so() {
    for (html, css, xpath, expected) in [
        (
            "<math><annotation-xml encoding=text/html><div>a</div></annotation-xml></math>",
            "annotation-xml > div",
            "//annotation-xml/div",
            json!(["a"]),
        ),
        (
            "<math><annotation-xml encoding=Application/XHTML+xml><div>a</div>",
            "math div",
            "//math//div",
            json!(["a"]),
        ),
        ("<math><annotation-xml><div>a</div>", "body > div", "//body/div", json!(["a"])),
        ("<math><annotation-xml encoding=x><div>a</div>", "body > div", "//body/div", json!(["a"])),
        ("<svg><desc><p>a</svg>", "desc > p", "//desc/p", json!(["a"])),
        ("<p>a<svg><![CDATA[<b>x", "p", "//p", json!(["a<b>x"])),
        ("<p>a<svg><![CDATA[x>y", "p", "//p", json!(["ax>y"])),
        ("<p>a<svg><![CDATA[x]]", "p", "//p", json!(["ax]]"])),
        ("<p>a<svg><![CDATA[x]]>y</svg>z", "p", "//p", json!(["axyz"])),
        ("<p>a<svg><![CDATA[", "p", "//p", json!(["a"])),
        ("<p>a<![CDATA[x", "p", "//p", json!(["a"])),
        ("<p>a<svg><![CDATA", "p", "//p", json!(["a"])),
    ] {
        check(css, xpath, html.as_bytes(), &expected);
    }
}

#[test]
fn quirks_mode_ignores_the_case_of_classes_and_ids() {
    let body = "<p class='Foo bar' id=Top>x</p>";
    let strict =
        "<!DOCTYPE html PUBLIC \"-//W3C//DTD HTML 4.01//EN\" \"http://www.w3.org/TR/html4/strict.dtd\">";
    for (doctype, quirks) in [
        ("", true),
        ("<!doctype html>", false),
        ("<!-- c --><!DOCTYPE HTML>", false),
        (strict, false),
        ("<!DOCTYPE html PUBLIC \"-//W3C//DTD HTML 4.01 Transitional//EN\">", true),
        (
            "<!DOCTYPE html PUBLIC \"-//W3C//DTD HTML 4.01 Transitional//EN\" \"http://www.w3.org/TR/html4/loose.dtd\">",
            false,
        ),
        ("<!DOCTYPE html PUBLIC '-//W3C//DTD HTML 3.2 Final//EN'>", true),
        ("<!DOCTYPE x>", true),
        ("<p></p><!doctype html>", true),
    ] {
        for (selector, always) in [
            (".foo", false),
            ("#top", false),
            (".Foo", true),
            ("#Top", true),
            ("p.BAR#tOP", false),
            ("[class~=foo]", false),
        ] {
            let is_found = always || (quirks && !selector.starts_with('['));
            let expected = if is_found { "[[\"x\"]]" } else { "[[]]" };
            for select in [format!("x[]={selector}"), format!("x[]={selector}:not(x)")] {
                let found = extract(&[&select], format!("{doctype}{body}").as_bytes()).0;
                assert_eq!(found, expected, "{select} with {doctype}");
            }
        }
    }
}

#[test]
fn a_late_meta_declares_the_encoding() {
    use encoding_rs::{EUC_KR, GBK, ISO_8859_2, KOI8_R, SHIFT_JIS, WINDOWS_1251, WINDOWS_1254};
    let filler = format!("<script>{}</script>", "var x = 1;".repeat(120));
    for (encoding, label, text) in [
        (WINDOWS_1251, "windows-1251", "Привет"),
        (KOI8_R, "koi8-r", "Привет"),
        (ISO_8859_2, "ISO-8859-2", "Žluťoučký"),
        (EUC_KR, "euc-kr", "한국어"),
        (SHIFT_JIS, "Shift_JIS", "日本語"),
        (WINDOWS_1254, "windows-1254", "ğüşı"),
        (GBK, "gbk", "中文网页"),
        (encoding_rs::UTF_8, "utf-8", "é"),
        (encoding_rs::WINDOWS_1252, "x-user-defined", "é"),
        (encoding_rs::UTF_8, "utf-16", "é"),
    ] {
        let content = format!("text/html; charset={label}");
        for meta in
            [format!("<meta charset={label}>"), format!("<meta http-equiv=Content-Type content='{content}'>")]
        {
            for html in [
                format!("<!doctype html><head>{filler}{meta}<title>{text}</title>"),
                format!("<!doctype html><head><title>{text}</title>{filler}{meta}"),
                format!("<!doctype html><title>{text}</title><body><p>x</p>{filler}{meta}<p>y"),
                format!(
                    "<!doctype html><title>{text}</title><table>{filler}<b>moved</b><tr><td>{meta}</table>"
                ),
            ] {
                let bytes = encoding.encode(&html).0;
                for select in ["t=title", "t=title:not(x)"] {
                    let expected = serde_json::to_string(&[text]).unwrap();
                    let name = charset::name(encoding);
                    assert_eq!(extract(&[select], &bytes), (expected, name), "{select} on {label}: {meta}");
                }
            }
        }
    }
}

#[test]
fn only_a_meta_declares_the_encoding() {
    let filler = format!("<script>{}</script>", "var x = 1;".repeat(120));
    let text = WINDOWS_1252_TEXT;
    for hidden in [
        "<script>'<meta charset=koi8-r>'</script>",
        "<style><meta charset=koi8-r></style>",
        "<!-- <meta charset=koi8-r> -->",
        "<p title='<meta charset=koi8-r>'>",
        "<textarea><meta charset=koi8-r></textarea>",
        "<meta name=charset content=koi8-r>",
        "<meta charset=nonsense>",
        "<meta http-equiv=refresh content='charset=koi8-r'>",
        "<metal charset=koi8-r>",
        "<link rel=stylesheet charset=koi8-r>",
        "<base charset=koi8-r>",
        "<bgsound http-equiv=content-type content='charset=koi8-r'>",
    ] {
        let html = format!("<title>{text}</title>{filler}{hidden}");
        let bytes = encoding_rs::WINDOWS_1252.encode(&html).0;
        for select in ["t=title", "t=title:not(x)"] {
            let expected = serde_json::to_string(&[text]).unwrap();
            assert_eq!(extract(&[select], &bytes), (expected, "windows-1252"), "{select} with {hidden}");
        }
    }
    // The header and the byte order mark are certain; of several `<meta>`, the first counts.
    let late = format!("{filler}<meta charset=koi8-r><meta charset=gbk><title>é</title>");
    let marked = format!("\u{feff}{late}");
    assert_eq!(extract(&["t=title"], marked.as_bytes()), ("[\"é\"]".to_owned(), "utf-8"));
    assert_eq!(extract(&["t=title"], late.as_bytes()).1, "koi8-r");
    let told = Page { content_type_charset: Some("utf-8"), ..page(None) };
    for select in ["t=title", "t=title:not(x)"] {
        let extracted = extractor(&[select]).extract(told, &mut Cursor::new(late.as_bytes())).unwrap();
        assert_eq!((extracted.charset, &extracted.values[0]), ("utf-8", &FieldValue::Text("é".into())));
    }
    // A script in the first 1024 bytes may contain a `<meta>`, which the parser does not take for one.
    let script = "<script>'<meta charset=koi8-r>'</script><meta charset=utf-8><title>é</title>";
    assert_eq!(extract(&["t=title"], script.as_bytes()), ("[\"é\"]".to_owned(), "utf-8"));
}

#[test]
fn one_byte_order_mark_is_removed() {
    for select in ["b=body", "b=body:not(x)"] {
        let (values, _) = extract(&[select], "\u{feff}\u{feff}x".as_bytes());
        assert_eq!(values, "[\"\u{feff}x\"]", "{select}");
    }
}

const WINDOWS_1252_TEXT: &str = "café crème brûlée déjà vu, où est la forêt";

#[test]
fn a_query_is_encoded_as_its_page_is() {
    for (html, encoding, expected) in [
        (
            "<meta charset=windows-1251><a href='?q=привет'>",
            encoding_rs::WINDOWS_1251,
            "http://example.com/a/b.html?q=%EF%F0%E8%E2%E5%F2",
        ),
        (
            "<meta charset=windows-1251><base href='http://o.org/п?x'><a href='?q=日'>",
            encoding_rs::WINDOWS_1251,
            "http://o.org/%D0%BF?q=%26%2326085%3B",
        ),
        (
            "<meta charset=utf-8><a href='?q=привет'>",
            encoding_rs::UTF_8,
            "http://example.com/a/b.html?q=%D0%BF%D1%80%D0%B8%D0%B2%D0%B5%D1%82",
        ),
    ] {
        let html = html.replace("日", "&#26085;");
        check("a::attr(href)", "//a/@href", &encoding.encode(&html).0, &json!([expected]));
        let piped = extract(&["x[]=a::attr(title) | url", "y=//a/@href | url"], &encoding.encode(&html).0).0;
        assert_eq!(piped, format!("[[],\"{expected}\"]"));
    }
}
