//! Values come out as sent: numbers, broken text, JSON under other media types, JSON-LD.

use serde_json::json;

use super::bodies::run;
use super::*;

/// The fields, as in the record.
fn written(selects: &[&str], each: Option<&str>, body: &str) -> String {
    let fields = Field::parse_all(selects).unwrap();
    let each = each.map(|each| Each::parse(each).unwrap());
    let extractor = Extractor::new(&fields, each.as_ref(), &[]).unwrap();
    let page = Page { kind: Kind::Json, ..page(None) };
    let extracted = extractor.extract(page, &mut Cursor::new(body.as_bytes())).unwrap();
    serde_json::to_string(&extracted.values).unwrap()
}

#[test]
fn numbers_keep_their_spelling() {
    let list = "0.36995516654807925,1.7976931348623158e308,-0.0,1e400,12.50,18446744073709551616,5E-1";
    let long = "0.1000000000000000055511151231257827";
    let body = format!(r#"{{"a":[{list}],"b":{{"c":{long}}}}}"#);
    assert_eq!(written(&["a[]=$.a[*]", "l=$.a"], None, &body), format!("[[{list}],[{list}]]"));
    assert_eq!(written(&["r=$"], None, &body), format!("[{body}]"));
    assert_eq!(
        written(&["j[]=$..* | re(^[0-9.]+$)"], None, &body),
        format!(r#"[["0.36995516654807925","12.50","18446744073709551616","{long}"]]"#)
    );
    assert_eq!(
        written(&["x=$.c", "y=$"], Some("$.b"), &body),
        format!(r#"[[{{"x":{long},"y":{{"c":{long}}}}}]]"#)
    );
}

#[test]
fn numbers_compare_by_value_however_they_are_spelled() {
    let body =
        "[1e400,10e399,1.0,1,18446744073709551616,18446744073709551617,0.1,0.10000000000000000001,-1e400,-0]";
    for (filter, want) in [
        ("@ == 1e400", "1e400,10e399"),
        ("@ == 100e398", "1e400,10e399"),
        ("@ == 1", "1.0,1"),
        ("@ == 1.00", "1.0,1"),
        ("@ == 18446744073709551616", "18446744073709551616"),
        ("@ > 18446744073709551616", "1e400,10e399,18446744073709551617"),
        ("@ >= 0.1 && @ < 1", "0.1,0.10000000000000000001"),
        ("@ > 0.1 && @ < 1", "0.10000000000000000001"),
        ("@ < -9e399", "-1e400"),
        ("@ == 0", "-0"),
        ("@ <= $[9]", "-1e400,-0"),
        ("@ == count($[0:1])", "1.0,1"),
    ] {
        assert_eq!(written(&[&format!("n[]=$[?{filter}]")], None, body), format!("[[{want}]]"), "{filter}");
    }
}

#[test]
fn a_broken_character_is_replaced_alone() {
    let body = r#"{"a":"x\ud83d","b":[1,{"\udc00":"\ud83d\ude00"}],"c\ud83d":7}"#;
    let got = written(&["a=$.a", "b=$.b", "c=$['c\u{fffd}']"], None, body);
    assert_eq!(got, "[\"x\u{fffd}\",[1,{\"\u{fffd}\":\"\u{1f600}\"}],7]");
    let bytes = run(&["x=$.a", "y=$.b"], None, Kind::Json, b"{\"a\":\"caf\xe9\",\"b\":1}").unwrap();
    assert_eq!(bytes, json!(["caf\u{fffd}", 1]));
}

#[test]
fn a_body_that_begins_like_json_is_tried_as_json() {
    use Kind::{Html, Unknown};
    let spaces = " \n".repeat(5_000);
    for kind in [Html, Unknown] {
        let x = |selects: &[&str], body: &[u8]| run(selects, None, kind, body);
        assert_eq!(x(&["x=$[0]"], b"[7]").unwrap(), json!([7]));
        let marked = b"\xEF\xBB\xBF \r\n{\"a\": 7.50}";
        assert_eq!(x(&["x=$.a", "t=title"], marked).unwrap(), json!([7.5, null]));
        assert_eq!(x(&["x=$.a"], format!("{spaces}{{\"a\":1}}").as_bytes()).unwrap(), json!([1]));
        assert_eq!(x(&["x=$[0]"], b"\xFE\xFF\x00 \x00[\x007\x00]").unwrap(), json!([7]));
        // A page, whatever the job looks for.
        assert_eq!(x(&["x=$[0]", "t=title"], b"<title>a").unwrap(), json!([null, "a"]));
        assert_eq!(x(&["x=$[0]"], spaces.as_bytes()).unwrap(), json!([null]));
        // A body that only begins like JSON is an error, not a page without values.
        assert!(matches!(x(&["x=$.a"], b"{\"a\": 1"), Err(ExtractError::Json(_))));
        // The job has no JSONPath.
        assert_eq!(x(&["t=title"], b"[<title>a").unwrap(), json!(["a"]));
    }
    // A body sent as a page may be a page.
    let body = b"\xEF\xBB\xBF{% raw %}<title>caf\xc3\xa9</title>";
    assert_eq!(run(&["x=$.a", "t=title"], None, Html, body).unwrap(), json!([null, "caf\u{e9}"]));
    let items = run(&["x=$.a"], Some("$.items[*]"), Html, b"{\"items\":[{\"a\":1},{}]}").unwrap();
    assert_eq!(items, json!([[{"x": 1}, {"x": null}]]));
}

fn json_ld(html: &str) -> String {
    let extractor = Extractor::new(&[], None, &[Preset::JsonLd]).unwrap();
    let extracted = extractor.extract(page(None), &mut Cursor::new(html.as_bytes())).unwrap();
    serde_json::to_string(&extracted.values[0]).unwrap()
}

#[test]
fn a_script_is_json_ld_by_its_type() {
    for kind in [
        "application/ld+json",
        "APPLICATION/LD+JSON",
        "application/ld+json;profile=\"http://www.w3.org/ns/json-ld#flattened\"",
        "application/ld+json; charset=utf-8",
        " application/ld+json\n",
        "application/ld+json ; charset=utf-8",
        " application/ld+json;charset=utf-8",
    ] {
        let html = format!("<script type='{kind}'>{{\"price\":12.50}}</script>");
        assert_eq!(json_ld(&html), r#"[{"price":12.50}]"#, "{kind}");
    }
    for kind in ["application/json", "application/ld+jsonp", "text/ld+json", ""] {
        assert_eq!(json_ld(&format!("<script type='{kind}'>{{\"a\":1}}</script>")), "[]", "{kind}");
    }
}

#[test]
fn a_script_of_json_ld_is_what_its_readers_find() {
    let found = |script: &str| json_ld(&format!("<p>x<script type=application/ld+json>{script}</script>"));
    for script in [
        "{\"a\":\"b\\nc\"}",
        "{\"a\":\"b\nc\"};",
        "<!-- {\"a\":\"b\nc\"} -->",
        "//<![CDATA[\n{\"a\":\"b\nc\"}\n//]]>",
        "[[], 1, {\"a\":\"b\nc\",},]",
        "{&quot;a&quot;:&quot;b\nc&quot;}",
    ] {
        assert_eq!(found(script), r#"[{"a":"b\nc"}]"#, "{script}");
    }
    assert_eq!(found("{\"a\":\"&quot;&amp;\"}"), r#"[{"a":"&quot;&amp;"}]"#, "a script has no entities");
    assert_eq!(
        found("{\"a\":0.36995516654807925}{\"b\":1e400}"),
        r#"[{"a":0.36995516654807925},{"b":1e400}]"#
    );
    assert_eq!(found("nothing"), "[]");
}
