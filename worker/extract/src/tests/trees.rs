//! Values that need the tree engine: HTML, items, microdata; and the presets.

use serde_json::{Value, json};

use super::*;

/// The fields of `html` as JSON, in order, fetched from example.com.
fn check(selects: &[&str], each: Option<&str>, presets: &[Preset], html: &str, want: Value) {
    let fields = Field::parse_all(selects).unwrap();
    let each = each.map(|each| Each::parse(each).unwrap());
    let extractor = Extractor::new(&fields, each.as_ref(), presets).unwrap();
    let url = Url::parse("http://example.com/a/b.html").unwrap();
    let extracted = extractor.extract(page(Some(&url)), &mut Cursor::new(html.as_bytes())).unwrap();
    assert_eq!(serde_json::to_value(&extracted.values).unwrap(), want, "{selects:?} {each:?} on {html}");
}

#[test]
fn elements_are_serialized_as_the_standard_says() {
    for (html, want) in [
        (
            "<h1 id=x Class='b a' >a &amp; &lt;b&gt;\u{a0}c</H1>",
            "<h1 id=\"x\" class=\"b a\">a &amp; &lt;b&gt;&nbsp;c</h1>",
        ),
        ("<h1><br><img src='a&quot;<>'></h1>", "<h1><br><img src=\"a&quot;&lt;&gt;\"></h1>"),
        (
            "<h1><script>a<b && c</script><style>a>b</style></h1>",
            "<h1><script>a<b && c</script><style>a>b</style></h1>",
        ),
        ("<h1><noscript>a&lt;b<p></noscript></h1>", "<h1><noscript>a&lt;b<p></p></noscript></h1>"),
        (
            "<h1><!-- c --><svg viewBox=x><path/></svg>",
            "<h1><!-- c --><svg viewBox=\"x\"><path></path></svg></h1>",
        ),
        ("<h1>\n<pre>\n\nx</pre>", "<h1>\n<pre>\nx</pre></h1>"),
    ] {
        check(&["h=h1::html"], None, &[], html, json!([want]));
        check(&["h[]=h1::html"], None, &[], html, json!([[want]]));
        check(&["h=:scope::html"], Some("h1"), &[], html, json!([[{"h": want}]]));
    }
    check(&["h=h2::html"], None, &[], "<h1>", json!([null]));
}

#[test]
fn items_contain_their_own_content() {
    let shop = "<base href=/shop/><div class=p id=1><h2> A </h2><a href=a>x</a><a href=b>y</a><b>1,200</b></div>\
                <h2>between</h2><div class=p id=2><h2>B</h2><div class=p id=3><h2>C</h2></div></div>";
    check(
        &["name=h2", "links[]=a::attr(href)", "price=b | int", "id=:scope::attr(id)"],
        Some("div.p"),
        &[],
        shop,
        json!([[
            {"name": "A", "links": ["http://example.com/shop/a", "http://example.com/shop/b"], "price": 1200, "id": "1"},
            {"name": "B", "links": [], "price": null, "id": "2"},
            {"name": "C", "links": [], "price": null, "id": "3"},
        ]]),
    );
    // Ancestors in a selector may be outside the item; `:scope` is the item.
    check(&["n[]=body h2"], Some("div"), &[], shop, json!([[{"n": ["A"]}, {"n": ["B", "C"]}, {"n": ["C"]}]]));
    check(&["n[]=:scope > h2"], Some("div"), &[], shop, json!([[{"n": ["A"]}, {"n": ["B"]}, {"n": ["C"]}]]));
    check(&["n=h2"], Some("h2"), &[], shop, json!([[{"n": null}, {"n": null}, {"n": null}, {"n": null}]]));
    check(&["n=h2"], Some("video"), &[], shop, json!([[]]));
    check(&["n=$.a | default(x)"], None, &[], shop, json!(["x"]));
    check(&["n[]=$.a"], Some("$.b"), &[], shop, json!([[]]));
}

#[test]
fn items_cannot_grow_without_end() {
    let html = "<p>".repeat(600_000);
    let fields = Field::parse_all(&["a=b", "c=d"]).unwrap();
    let extractor = Extractor::new(&fields, Some(&Each::Css("p".into())), &[]).unwrap();
    let error = extractor.extract(page(None), &mut Cursor::new(html.as_bytes())).unwrap_err();
    assert!(matches!(error, ExtractError::TooMuch { .. }), "{error}");
}

#[test]
fn pages_say_what_they_are() {
    let html = r#"<head><title>x</title>
        <meta property="og:title" content="T &amp; t"><meta property=og:image content=1.png>
        <meta property=og:image content=2.png><meta name="article:author" content=Me><meta property=other content=no>
        <meta property=og:empty><meta name=Description content=" d "><meta name=keywords content=a><meta name=keywords content=b>
        <script type="application/ld+json">{"@type":"Product","z":1,"a":{"price":1.50}}</script>
        <script type="application/ld+json">[{"b":1}, 2, {"c":null}]</script>
        <script type="application/ld+json">{"broken":</script>
        <script type="Application/LD+JSON"><!-- {"d":"</b>"} --></script>
        <script>{"not":"this"}</script></head>"#;
    let json_ld =
        json!([{"@type": "Product", "z": 1, "a": {"price": 1.5}}, {"b": 1}, {"c": null}, {"d": "</b>"}]);
    let open_graph = json!({"og:title": "T & t", "og:image": ["1.png", "2.png"], "article:author": "Me"});
    let meta = json!({"article:author": "Me", "description": " d ", "keywords": ["a", "b"]});
    let presets = [Preset::JsonLd, Preset::OpenGraph, Preset::Meta];
    check(&["t=title"], None, &presets, html, json!(["x", json_ld, open_graph, meta]));
    // The same, in a job that needs a tree.
    check(&["t=title:not(a)"], None, &presets, html, json!(["x", json_ld, open_graph, meta]));
    check(&["t=title"], Some("head"), &presets, html, json!([[{"t": "x"}], json_ld, open_graph, meta]));
    check(&[], None, &presets, "<p>", json!([[], {}, {}]));
}

#[test]
fn microdata_becomes_json_as_the_standard_says() {
    let check = |html: &str, want: Value| check(&[], None, &[Preset::Microdata], html, json!([want]));
    check("<p itemprop=x>y", json!([]));
    check(
        "<div itemscope itemtype='http://a/T  http://a/U' itemid=i><p itemprop='n m'> A <b>b</b></p>\
         <a itemprop=u href=x>no</a><img itemprop=i src=/y><meta itemprop=c content=C><time itemprop=t datetime=2020>no</time>\
         <time itemprop=t>2021</time><data itemprop=d value=5>no</data><object itemprop=o data=z></object></div>",
        json!([{
            "type": ["http://a/T", "http://a/U"],
            "id": "http://example.com/a/i",
            "properties": {
                "n": [" A b"], "m": [" A b"], "u": ["http://example.com/a/x"], "i": ["http://example.com/y"],
                "c": ["C"], "t": ["2020", "2021"], "d": ["5"], "o": ["http://example.com/a/z"],
            },
        }]),
    );
    // An item inside an item, and elements that belong to neither.
    check(
        "<div itemscope><div itemprop=in itemscope><b itemprop=x>1</b></div><div itemscope><b itemprop=y>2</b></div>\
         <b itemprop=z>3</b></div>",
        json!([
            {"properties": {"in": [{"properties": {"x": ["1"]}}], "z": ["3"]}},
            {"properties": {"y": ["2"]}},
        ]),
    );
    // References, in document order; an item inside itself.
    check(
        "<i id=a itemprop=p>1</i><div itemscope itemref='b a b none'><b itemprop=p>2</b></div><i id=b itemprop=p>3</i>",
        json!([{"properties": {"p": ["1", "2", "3"]}}]),
    );
    check(
        "<div itemscope><div id=x itemprop=p itemscope itemref=x></div></div>",
        json!([{"properties": {"p": [{"properties": {}}]}}]),
    );
    check(
        "<div itemscope itemref=a></div><i id=a itemprop=p itemscope itemref=b></i><i id=b itemprop=q itemscope itemref=a></i>",
        json!([{"properties": {"p": [{"properties": {"q": [{"properties": {"p": ["ERROR"]}}]}}]}}]),
    );
}

#[test]
fn microdata_stops_at_its_limits() {
    let extractor = Extractor::new(&[], None, &[Preset::Microdata]).unwrap();
    let run = |html: &str| extractor.extract(page(None), &mut Cursor::new(html.as_bytes()));
    // Nested items: text by name, and hundreds of names.
    let nested = format!("<div itemscope>{}x", "<div itemprop='a b c d' itemscope>".repeat(40));
    assert!(matches!(run(&nested).unwrap_err(), ExtractError::TooMuch { .. }));
    let deep = format!("<div itemscope>{}<b itemprop=y>z", "<div itemprop=a itemscope>".repeat(300));
    let values = run(&deep).unwrap().values;
    let text = serde_json::to_string(&values).unwrap();
    assert!(text.contains("ERROR") && !text.contains('z'), "{text}");
    // Two ways down at each of many levels.
    let levels: String = (0..40)
        .map(|n| format!("<p id=l{n}><b itemprop=a itemscope itemref=l{0}></b><b itemprop=b itemscope itemref=l{0}></b></p>", n + 1))
        .collect();
    let error = run(&format!("<div itemscope itemref=l0></div>{levels}")).unwrap_err();
    assert!(matches!(error, ExtractError::TooMuch { .. } | ExtractError::Deadline { .. }), "{error}");
}
