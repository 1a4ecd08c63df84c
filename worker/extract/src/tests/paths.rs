//! XPath: its values and its limits.

use serde_json::{Value, json};

use super::*;
use crate::soup::{self, Random};

const PAGE: &str = "<!doctype html><html lang=en-GB><head><title> T </title></head><body><!--c-->\
    <h1 id=top>Head<b>line</b></h1><ul><li class='a x'>1</li><li>2<a href='/u'>l</a></li><li class=b>3</li></ul>\
    <p>p1</p><div><p>p2 <i>i</i></p><svg viewBox='0 0'><path d=x /></svg></div><p id=last lang=fr>p3</p></body></html>";

fn run(selects: &[&str], each: Option<&str>, html: &str) -> Result<Value, ExtractError> {
    let fields = Field::parse_all(selects).unwrap();
    let each = each.map(|each| Each::parse(each).unwrap());
    let extractor = Extractor::new(&fields, each.as_ref(), &[]).unwrap();
    let url = Url::parse("http://example.com/a/b.html").unwrap();
    let extracted = extractor.extract(page(Some(&url)), &mut Cursor::new(html.as_bytes()))?;
    Ok(serde_json::to_value(&extracted.values).unwrap())
}

#[test]
fn nodes_are_found() {
    for (path, want) in [
        ("//title", json!(["T"])),
        ("//title/text()", json!([" T "])),
        ("/html/body/ul/li[2]/a/@href", json!(["http://example.com/u"])),
        ("//li", json!(["1", "2l", "3"])),
        ("//LI[@Class]", json!(["1", "3"])),
        ("//li[last()]", json!(["3"])),
        ("//li[position() < 3][2]", json!(["2l"])),
        ("(//p)[2]", json!(["p2 i"])),
        ("//p[1]", json!(["p1", "p2 i"])),
        ("//p[.//i]", json!(["p2 i"])),
        ("//li[contains(@class, 'x') or . = 3]", json!(["1", "3"])),
        ("//li[not(@class)]/preceding-sibling::li", json!(["1"])),
        ("//li[1]/following-sibling::*[1]", json!(["2l"])),
        ("//li[3]/preceding-sibling::li[1]", json!(["2l"])),
        ("//i/ancestor::*[1]", json!(["p2 i"])),
        ("//i/ancestor-or-self::i | //h1/b", json!(["line", "i"])),
        ("//i/../../@*", json!([])),
        ("//h1/following::p", json!(["p1", "p2 i", "p3"])),
        ("//i/preceding::p", json!(["p1"])),
        ("//h1/@id/following::b", json!(["line"])),
        ("//comment()", json!(["c"])),
        ("//h1/node()", json!(["Head", "line"])),
        ("//@id", json!(["top", "last"])),
        ("//svg/@viewBox", json!(["0 0"])),
        ("//svg/@viewbox", json!([])),
        ("//path/@d", json!(["x"])),
        ("id('last top')", json!(["Headline", "p3"])),
        ("xpath:id('last')/@lang", json!(["fr"])),
        ("//*[lang('en')][self::p]", json!(["p1", "p2 i"])),
        ("//li[@class = //li/@class]", json!(["1", "3"])),
        ("//processing-instruction()", json!([])),
        ("/", json!(["T Headline12l3p1p2 ip3"])),
        ("//ul//text()[2]", json!([])),
        ("//*[name() = 'i']", json!(["i"])),
    ] {
        let path = path.strip_prefix("id").map_or_else(|| path.to_owned(), |rest| format!("xpath:id{rest}"));
        let found = run(&[&format!("x[]={path}")], None, PAGE).unwrap();
        assert_eq!(found[0], want, "{path}");
        let first = run(&[&format!("x={path}")], None, PAGE).unwrap();
        assert_eq!(&first[0], want.get(0).unwrap_or(&Value::Null), "{path}");
    }
}

#[test]
fn values_are_compared_and_rounded() {
    for (path, want) in [
        ("true() < 2", json!(true)),
        ("2 > true()", json!(true)),
        ("true() <= 0", json!(false)),
        ("false() < true()", json!(true)),
        ("1 < 2 < 3", json!(true)),
        ("3 > 2 > 1", json!(false)),
        ("true() = 2", json!(true)),
        ("true() != 'x'", json!(false)),
        ("false() = ''", json!(true)),
        ("'2' > true()", json!(true)),
        ("'x' < true()", json!(false)),
        ("'10' < '9'", json!(false)),
        ("'a' = 'a' = true()", json!(true)),
        ("//nothing = false()", json!(true)),
        ("//nothing < true()", json!(true)),
        ("//li < true()", json!(false)),
        ("//li >= true()", json!(true)),
        ("0 div 0 != 0 div 0", json!(true)),
        ("round(0.49999999999999994)", json!(0)),
        ("round(-0.49999999999999994)", json!(0)),
        ("round(0.5)", json!(1)),
        ("round(1.5)", json!(2)),
        ("round(2.5)", json!(3)),
        ("round(-1.5)", json!(-1)),
        ("round(-2.5)", json!(-2)),
        ("round(-2.6)", json!(-3)),
        ("round(4503599627370497)", json!(4_503_599_627_370_497_i64)),
        ("1 div round(-0.5)", json!(null)),
        ("string(1 div round(-0.5))", json!("-Infinity")),
        ("string(1 div round(-0.2))", json!("-Infinity")),
        ("string(1 div round(-0))", json!("-Infinity")),
        ("string(1 div round(0.2))", json!("Infinity")),
        ("string(round(0 div 0))", json!("NaN")),
        ("string(round(-1 div 0))", json!("-Infinity")),
        ("string(round(-0.2))", json!("0")),
        ("substring('12345', 1.5, 2.6)", json!("234")),
        ("substring('12345', 0.49999999999999994, 1)", json!("")),
        ("substring('12345', -42, 1 div 0)", json!("12345")),
        ("substring('12345', 0 div 0, 3)", json!("")),
        ("name(//li/@class)", json!("class")),
    ] {
        let found = run(&[&format!("x=xpath:{path}")], None, PAGE).unwrap();
        assert_eq!(found[0], want, "{path}");
        let every = run(&[&format!("x[]=xpath:{path}")], None, PAGE).unwrap();
        assert_eq!(every[0], json!([want]), "{path}");
    }
}

#[test]
fn expressions_give_values_of_their_own_type() {
    for (path, want) in [
        ("count(//li)", json!(3)),
        ("count(//li) div 2", json!(1.5)),
        ("1 div 0", json!(null)),
        ("sum(//li[not(a)])", json!(4)),
        ("-7 mod 3 + 2 * 3", json!(5)),
        ("- -2", json!(2)),
        ("boolean(//h1)", json!(true)),
        ("//h1 = 'Headline' and //li > 2 and not(//li > 3)", json!(true)),
        ("//li != 2 and 2 < //li", json!(true)),
        ("true() != false()", json!(true)),
        ("string(//h1)", json!("Headline")),
        ("concat(//h1/b, '-', 1, '-', 0.5, '-', true())", json!("line-1-0.5-true")),
        ("normalize-space('  a \n b ')", json!("a b")),
        ("substring('12345', 2, 3)", json!("234")),
        ("substring('12345', 1.5, 2.6)", json!("234")),
        ("substring('12345', 0, 3)", json!("12")),
        ("substring('12345', -42, 1 div 0)", json!("12345")),
        ("substring('12345', 0 div 0)", json!("")),
        ("substring-before('1999/04/01', '/')", json!("1999")),
        ("substring-after('1999/04/01', '/')", json!("04/01")),
        ("translate('--aaa--', 'abc-', 'ABC')", json!("AAA")),
        ("string-length('\u{e9}\u{1f600}')", json!(2)),
        ("starts-with('ab', 'a') and contains('ab', 'b')", json!(true)),
        ("round(-2.5) + floor(2.9) + ceiling(2.1)", json!(3)),
        ("number('12') + number(' -1.5 ')", json!(10.5)),
        ("string(number('1e3'))", json!("NaN")),
        ("local-name(//svg)", json!("svg")),
        ("namespace-uri(//svg)", json!("http://www.w3.org/2000/svg")),
        ("string(//nope)", json!("")),
    ] {
        let found = run(&[&format!("x=xpath:{path}")], None, PAGE).unwrap();
        assert_eq!(found[0], want, "{path}");
        let every = run(&[&format!("x[]=xpath:{path}")], None, PAGE).unwrap();
        assert_eq!(every[0], json!([want]), "{path}");
    }
}

#[test]
fn items_go_with_x_path_on_either_side() {
    let want =
        json!([[{"t": "1", "n": 1, "all": 3}, {"t": "2", "n": 2, "all": 3}, {"t": "3", "n": 3, "all": 3}]]);
    for each in ["li", "//li"] {
        let selects = ["t=./text()", "n=xpath:count(preceding-sibling::li) + 1", "all=xpath:count(//li)"];
        assert_eq!(run(&selects, Some(each), PAGE).unwrap(), want, "{each}");
    }
    assert_eq!(
        run(&["a=a::attr(href)"], Some("//li[a]"), PAGE).unwrap(),
        json!([[{"a": "http://example.com/u"}]])
    );
    assert_eq!(run(&["a=a"], Some("//li/text()"), PAGE).unwrap(), json!([[]]));
}

#[test]
fn steps_follow() {
    let found = run(&["n[]=//li/text() | int", "l=//a/@href | re([a-z]$)", "j[]=//p | join(+)"], None, PAGE);
    assert_eq!(found.unwrap(), json!([[1, 2, 3], "u", "p1+p2 i+p3"]));
}

#[test]
fn expressions_stop_at_their_limits() {
    let html = "<div><p>x</p>".repeat(300) + &"<p>y</p>".repeat(3000);
    let short = Page { parse_timeout: Duration::from_millis(200), ..page(None) };
    for path in [
        "//*[count(//*[count(//*) > 0]) > 0]",
        "//*//*//*[.//*[.//*]]",
        "//p[. = //p[. != //p]]",
        "//*[preceding::*[following::*[preceding::*]]]",
        "//*/ancestor::*/descendant::*/ancestor::*[string-length(.) > count(//node())]",
    ] {
        let fields = Field::parse_all(&[format!("x[]={path}")]).unwrap();
        let extractor = Extractor::new(&fields, None, &[]).unwrap();
        let error = extractor.extract(short, &mut Cursor::new(html.as_bytes())).unwrap_err();
        assert!(matches!(error, ExtractError::Deadline { .. }), "{path}: {error}");
    }
}

/// The texts of nested nodes are far larger than the page.
#[test]
fn nested_texts_are_counted_without_collecting_them() {
    let many = "<div>a<b>b</b>".repeat(1000) + &"x<i>y</i>".repeat(50_000);
    let long = "<div>a<b>b</b>".repeat(1000) + &"x".repeat(200_000);
    let run = |path: &str, html: &str, seconds: u64| {
        let page = Page { parse_timeout: Duration::from_secs(seconds), ..page(None) };
        let fields = Field::parse_all(&[format!("x={path}")]).unwrap();
        let extractor = Extractor::new(&fields, None, &[]).unwrap();
        extractor.extract(page, &mut Cursor::new(html.as_bytes())).unwrap_err()
    };
    for path in ["xpath:count(//div[number(.) > 3])", "//b[//div = 'z']", "//b['z' = //div]"] {
        let before = wire::clock::thread_cpu();
        let error = run(path, &many, 1);
        let took = wire::clock::thread_cpu() - before;
        assert!(matches!(error, ExtractError::Deadline { .. }), "{path}: {error}");
        assert!(took < Duration::from_secs(2), "{path}: {took:?}");
    }
    let error = run("//b[. = //div]", &long, 60);
    assert!(matches!(error, ExtractError::TooMuch { .. }), "{error}");
}

#[test]
fn tag_soup_is_evaluated_like_any_page() {
    let selects = [
        "a[]=//a/@href",
        "b[]=//*[not(*)]",
        "c=xpath:count(//node())",
        "d[]=//text()/..",
        "e[]=//@*",
        "f[]=//td//following::*[1]",
        "g[]=//template//*",
    ];
    let fields = Field::parse_all(&selects).unwrap();
    let extractor = Extractor::new(&fields, None, &[]).unwrap();
    for seed in 0..300 {
        let html = soup::page(&mut Random::new(seed), 40);
        let values = extractor.extract(page(None), &mut Cursor::new(html.as_bytes())).unwrap().values;
        assert_eq!(values.len(), selects.len());
    }
}
