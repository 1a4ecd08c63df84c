//! JSON bodies: which bodies are JSON, which values are found, and a comparison with an independent
//! evaluator of JSONPath.

use proptest::prelude::*;
use select::jsonpath::JsonPath;
use serde_json::{Value, json};
use serde_json_path::JsonPath as Independent;
use wire::json::{self, Json};

use super::*;
use crate::found::Deadline;
use crate::jsonpath::Search;

pub(super) fn run(
    selects: &[&str],
    each: Option<&str>,
    kind: Kind,
    body: &[u8],
) -> Result<Value, ExtractError> {
    let fields = Field::parse_all(selects).unwrap();
    let each = each.map(|each| Each::parse(each).unwrap());
    let extractor = Extractor::new(&fields, each.as_ref(), &[]).unwrap();
    let page = Page { kind, ..page(None) };
    let extracted = extractor.extract(page, &mut Cursor::new(body))?;
    Ok(serde_json::to_value(&extracted.values).unwrap())
}

const STORE: &str = r#"{"store": {"book": [
    {"title": "A", "price": 8.95, "tags": ["x", "y"], "n": 9007199254740993},
    {"title": "B - b", "price": 12, "isbn": null, "ok": true}
]}, "z": 1, "a": {"c": 2, "b": 3}}"#;

#[test]
fn values_are_found_in_json() {
    let check = |selects: &[&str], want: Value| {
        assert_eq!(run(selects, None, Kind::Json, STORE.as_bytes()).unwrap(), want, "{selects:?}");
    };
    check(&["t=$.store.book[0].title"], json!(["A"]));
    check(&["t=$.store.book[9].title", "u[]=$..nope"], json!([null, []]));
    check(&["t[]=$..title"], json!([["A", "B - b"]]));
    check(&["t[]=$..title | re( - (.*))"], json!([["b"]]));
    check(&["p[]=$..price", "q[]=$..price | int"], json!([[8.95, 12], [null, 12]]));
    check(
        &["n=$..n", "i=$..isbn", "o=$..ok", "tags=$..tags"],
        json!([9007199254740993_i64, null, true, ["x", "y"]]),
    );
    check(&["tags[]=$..tags[*] | join(;)"], json!(["x;y"]));
    check(&["cheap[]=$.store.book[?@.price < 10].title"], json!([["A"]]));
    check(&["a=$.a"], json!([{"c": 2, "b": 3}]));
    let largest = "18446744073709551614";
    let body = r#"[18446744073709551613, 18446744073709551614, 18446744073709551615, -1, 1e300]"#;
    for (comparison, want) in [("<", 2), ("<=", 3), ("==", 1), (">=", 3), (">", 2)] {
        let select = format!("n[]=$[?@ {comparison} {largest}]");
        let found = run(&[&select], None, Kind::Json, body.as_bytes()).unwrap();
        assert_eq!(found[0].as_array().unwrap().len(), want, "{select}: {found}");
    }
    // Selectors for HTML find nothing in JSON.
    check(&["t=title", "l[]=a::attr(href)", "d=h1 | default(none)", "x=$.z"], json!([null, [], "none", 1]));
    let text = run(&["a=$.a"], None, Kind::Json, STORE.as_bytes()).unwrap().to_string();
    assert_eq!(text, r#"[{"c":2,"b":3}]"#, "members keep their order");
}

#[test]
fn items_are_found_in_json() {
    let items =
        run(&["t=$.title", "p=$.price", "root[]=$"], Some("$.store.book[*]"), Kind::Json, STORE.as_bytes());
    let items = items.unwrap();
    assert_eq!(items[0][1]["t"], "B - b");
    assert_eq!(items[0][0]["p"], 8.95);
    assert_eq!(items[0][0]["root"][0]["tags"], json!(["x", "y"]), "$ is the item");
    assert_eq!(run(&["t=h1"], Some("div"), Kind::Json, STORE.as_bytes()).unwrap(), json!([[]]));
}

#[test]
fn a_body_is_json_by_its_type_or_else_by_its_look() {
    use Kind::{Html, Json, Unknown};
    for (header, kind) in [
        (None, Unknown),
        (Some(""), Unknown),
        (Some("application/json"), Json),
        (Some("Application/JSON; charset=utf-8"), Json),
        (Some("application/ld+json"), Json),
        (Some("text/json"), Json),
        (Some("text/html"), Html),
        (Some("text/plain"), Html),
    ] {
        assert_eq!(Kind::of_content_type(header), kind, "{header:?}");
    }
    for (extension, kind) in [
        (Some("json"), Json),
        (Some("JSON"), Json),
        (Some("htm"), Html),
        (Some("txt"), Unknown),
        (None, Unknown),
    ] {
        assert_eq!(Kind::of_extension(extension), kind, "{extension:?}");
    }
    let x = |kind, body: &[u8]| run(&["x=$[0]"], None, kind, body);
    assert_eq!(x(Unknown, b" \n[7]").unwrap(), json!([7]));
    assert_eq!(x(Unknown, b"\xEF\xBB\xBF[7]").unwrap(), json!([7]));
    assert_eq!(x(Unknown, b"<p>[7]").unwrap(), json!([null]));
    assert_eq!(x(Json, b"\xFF\xFE[\x007\x00]\x00").unwrap(), json!([7]));
    for (kind, broken) in [
        (Json, &b"{\"a\": 1"[..]),
        (Json, b""),
        (Json, b"<html>"),
        (Unknown, b"[1,]"),
        (Json, &b"[".repeat(10_000)),
    ] {
        let error = x(kind, broken).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Parse);
        assert!(
            error.to_string().starts_with("not JSON: ") && error.to_string().contains("line 1"),
            "{error}"
        );
    }
    // A job without JSONPath does not parse JSON.
    assert_eq!(run(&["t=title"], None, Json, b"{").unwrap(), json!([null]));
    // A body of unknown type is a page if the job has no JSONPath.
    assert_eq!(run(&["t=title"], None, Unknown, b"[<title>x").unwrap(), json!(["x"]));
}

#[test]
fn a_body_in_json_ld_is_one() {
    let extractor = Extractor::new(&[], None, &[Preset::JsonLd, Preset::Meta]).unwrap();
    let page = Page { kind: Kind::Json, ..page(None) };
    let extracted = extractor.extract(page, &mut Cursor::new(b"{\"@type\":\"T\"}")).unwrap();
    assert_eq!(serde_json::to_value(&extracted.values).unwrap(), json!([[{"@type": "T"}], {}]));
}

#[test]
fn queries_stop_at_their_limits() {
    let deep = format!("{}{}", "[".repeat(120), "]".repeat(120));
    let wide = format!("[{}]", vec![deep; 2000].join(","));
    let short = Page { parse_timeout: Duration::from_millis(200), kind: Kind::Json, ..page(None) };
    for select in
        ["x[]=$..*..*..*..*", "x[]=$[?$..[?$..*]]", "x[]=$..[?count($..*) > 1]", "x[]=$..[?@..* == $..*]"]
    {
        let Ok(fields) = Field::parse_all(&[select]) else {
            assert!(select.contains("=="), "only a comparison of several is refused at once: {select}");
            continue;
        };
        let extractor = Extractor::new(&fields, None, &[]).unwrap();
        let error = extractor.extract(short, &mut Cursor::new(wide.as_bytes())).unwrap_err();
        assert!(
            matches!(error, ExtractError::Deadline { .. } | ExtractError::TooMany { .. }),
            "{select}: {error}"
        );
    }
}

fn same(path: &str, body: &Value) {
    let deadline = Deadline::after(MINUTE);
    let text = body.to_string();
    let tree = json::parse(&text).unwrap();
    let spelled = |nodes: Vec<&Json<'_>>| -> Vec<String> {
        nodes.iter().map(|node| node.to_text().as_str().to_owned()).collect()
    };
    let ours = JsonPath::parse(path).map(|path| spelled(Search::new(&tree, &deadline).run(&path).unwrap()));
    let theirs = Independent::parse(path).map(|path| path.query(body).all());
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => {
            let theirs: Vec<String> = theirs.iter().map(ToString::to_string).collect();
            assert_eq!(ours, theirs, "{path} on {body}");
        }
        (Err(_), Err(_)) => {}
        (ours, theirs) => panic!("{path}: {ours:?} and {theirs:?}"),
    }
}

#[test]
fn an_independent_evaluator_finds_the_same() {
    let body: Value = serde_json::from_str(STORE).unwrap();
    for path in [
        "$",
        "$.*",
        "$..*",
        "$..book[0,1]['title','price']",
        "$..book[-1:]",
        "$..book[::-1].title",
        "$..book[5:0:-2]",
        "$..[?@.price]",
        "$..[?!@.isbn]",
        "$..[?@.price > 8.95 || @.title == 'A']",
        "$..[?length(@) == 2]",
        "$..[?count(@.*) >= 3]",
        "$..[?match(@.title, 'B.*')]",
        "$..[?search(@.title, '[a-b]')]",
        "$..[?@ == $.z]",
        "$..[?value(@..c) == 2]",
        "$..[?@.tags[?@ == 'x']]",
        "$..[?@.nope == @.neither]",
        "$..[?(@.price)]",
        "$..[?@.ok == true && @.isbn == null]",
        "$ ['a'] .b",
        "$[ 'a' , 'z' ]",
        "$..[?@ < 'B']",
        "$..[?@.tags == ['x']]",
        "$.a.",
        "$..",
        "$[?@.a==1.0e0]",
        "$[0:0]",
        "$['\\'']",
        "$[\"\\u0061\"]",
        "$[?@['title']=='A']",
        "$[?length(@.*) > 1]",
    ] {
        same(path, &body);
    }
}

fn json_values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..4).prop_map(Value::from),
        prop_oneof![Just(0.5), Just(1.0)].prop_map(Value::from),
        "[ab]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[abc]", inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    // Only numbers and texts are compared for order. For other values, the other evaluator departs from RFC 9535,
    // 2.3.5.2.2: two absent values are `<=` because they are `==`, and `true > false` does not hold.
    #[test]
    fn an_independent_evaluator_finds_the_same_in_anything(
        body in json_values(),
        path in "\\$((\\.|\\.\\.)[abc*]|(\\.\\.)?\\[(-?[0-3]|\\*|'[abc]'|-?[0-2]?:-?[0-2]?(:-?[0-2])?|\\?!?[@$](\\.[abc*]|\\[-?[01]\\])?|\\?[@$](\\.[abc]|\\[-?[01]\\])?( )?((==|!=)( )?(1|0\\.5|'a'|null|true|@\\.[abc]|\\$\\[0\\])|(<|<=|>|>=)( )?(1|0\\.5|'a')))\\]){0,4}",
    ) {
        same(&path, &body);
    }
}
