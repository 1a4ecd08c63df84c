//! What values become in their places.

use proptest::prelude::*;
use url::Url;

use super::*;

fn fill(text: &str, form: Form, values: &[(&str, Value<'_>)]) -> Result<String, String> {
    let template = Template::parse(text.as_bytes(), form);
    template.check()?;
    let find = |name: &str| values.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    template.fill(1 << 16, find).map(|text| String::from_utf8(text).unwrap())
}

#[track_caller]
fn check(text: &str, form: Form, values: &[(&str, Value<'_>)], want: Result<&str, &str>) {
    match (fill(text, form, values), want) {
        (Ok(got), Ok(want)) => assert_eq!(got, want, "{text}"),
        (Err(got), Err(want)) => assert!(got.contains(want), "{text}: {got}"),
        (got, want) => panic!("{text}: {got:?}, not {want:?}"),
    }
}

#[test]
fn values_in_urls_are_percent_encoded() {
    let values = [
        ("id", Value::Text("a b/c?d&e=ü%{x}")),
        ("n", Value::Json("5")),
        ("s", Value::Json(r#""x\ny""#)),
        ("url", Value::Text("http://h/p")),
        ("up", Value::Text("..")),
        ("dot", Value::Text(".")),
        ("null", Value::Json("null")),
        ("line", Value::Text("http://h/\r\nX: y")),
    ];
    let encoded = "a%20b%2Fc%3Fd%26e%3D%C3%BC%25%7Bx%7D";
    check("http://a/{id}/x?q={id}", Form::Url, &values, Ok(&format!("http://a/{encoded}/x?q={encoded}")));
    check("http://a/{n}-{s}", Form::Url, &values, Ok("http://a/5-x%0Ay"));
    check("{url}/{n}?a={{b}", Form::Url, &values, Ok("http://h/p/5?a={b}"));
    check("http://a/{up}/x", Form::Url, &values, Err("leads to another path"));
    check("http://a/{dot}{dot}", Form::Url, &values, Err("leads to another path"));
    check("http://a/x{up}?q={up}", Form::Url, &values, Ok("http://a/x..?q=.."));
    check("http://a/?q={up}", Form::Url, &values, Ok("http://a/?q=.."));
    check("http://a/{null}", Form::Url, &values, Err("\"null\" has no value in this row"));
    check("http://a/{nowhere}", Form::Url, &values, Err("\"nowhere\" has no value"));
    check("{line}", Form::Url, &values, Err("control character"));
    check("http://a/ {n}", Form::Url, &values, Err("no spaces"));
    check("http://a/\r\n{n}", Form::Url, &values, Err("no spaces"));
}

#[test]
fn an_empty_value_is_no_part_of_a_path() {
    let values = [("e", Value::Text("")), ("v", Value::Text("v"))];
    let gap = Err("\"e\" is empty, and stands for a whole part of the path");
    for text in [
        "http://a/{e}",
        "http://a/{e}/x",
        "http://a/{e}?x",
        "http://a/{e}#x",
        "http://a/{e}{e}",
        "http://{e}/",
    ] {
        check(text, Form::Url, &values, gap);
    }
    check("http://a/{e}{v}", Form::Url, &values, Ok("http://a/v"));
    check("http://a/{v}{e}/{e}x", Form::Url, &values, Ok("http://a/v/x"));
    check("http://a/?q=/{e}/&r={e}", Form::Url, &values, Ok("http://a/?q=//&r="));
    check("a/{e}/", Form::Data, &values, Ok("a//"));
}

#[test]
fn a_long_text_ends_where_it_is_too_long() {
    let (row, calls) = ("x".repeat(1000), std::cell::Cell::new(0));
    let fill = |text: &str| {
        Template::parse(text.as_bytes(), Form::Data).fill(5000, |_| {
            calls.set(calls.get() + 1);
            Some(Value::Text(&row))
        })
    };
    assert_eq!(fill(&"{a}".repeat(5)).unwrap().len(), 5000);
    calls.set(0);
    assert!(fill(&"{a}".repeat(1_000_000)).unwrap_err().contains("more than 5000 bytes"));
    assert_eq!(calls.get(), 6);
    assert!(fill(&"y".repeat(5001)).is_err());
}

#[test]
fn values_in_json_are_escaped_or_json() {
    let values = [
        ("name", Value::Text("a \"b\"\n\\ü")),
        ("n", Value::Text("1e400")),
        ("list", Value::Json("[1, {\"a\": 2}]")),
        ("s", Value::Json("\"x\"")),
        ("null", Value::Json("null")),
    ];
    check(
        r#"{"a":"{name}","b":{n},"c":{"d":{list}},"e":{},"f":"\"{s}"}"#,
        Form::Json,
        &values,
        Ok(r#"{"a":"a \"b\"\n\\ü","b":1e400,"c":{"d":[1, {"a": 2}]},"e":{},"f":"\"x"}"#),
    );
    check(r#"[{s}, {null}, "{{s}"]"#, Form::Json, &values, Ok(r#"["x", null, "{s}"]"#));
    check(r#"{"a":{name}}"#, Form::Json, &values, Err("\"name\" is not a JSON value"));
    check(r#"{"a":"{null}"}"#, Form::Json, &values, Err("no value in this row"));
    check(r#"{"a":"{name}""#, Form::Json, &values, Err("it is not JSON"));
    check("{name}x", Form::Json, &values, Err("it is not JSON"));
}

#[test]
fn data_is_raw_and_words_are_one_line() {
    let values = [("a", Value::Text("x&\r\ny")), ("verb", Value::Text("PUT"))];
    check("q={a}&r={{a}", Form::Data, &values, Ok("q=x&\r\ny&r={a}"));
    check("query { user }", Form::Data, &[], Ok("query { user }"));
    check("{verb}", Form::Word, &values, Ok("PUT"));
    check("{a}", Form::Word, &values, Err("\"a\" must be printable ASCII"));
    check("a\nb", Form::Word, &[], Err("printable ASCII"));
    assert_eq!(Template::parse(b"{{x}{", Form::Data).constant(), Some(b"{x}{".as_slice()));
    assert_eq!(Template::parse(b"a{b}{{c}", Form::Data).to_string(), "a{b}{{c}");
    assert_eq!(Template::parse(b"{a}", Form::Data).constant(), None);
}

proptest! {
    #[test]
    fn no_value_leaves_its_place(value: String, prefix in "[a-z]{0,3}") {
        let values = [("v", Value::Text(value.as_str()))];
        if let Ok(made) = fill(&format!("http://host/{prefix}{{v}}/end?q={{v}}&z=1#f"), Form::Url, &values) {
            let url = Url::parse(&made).unwrap();
            prop_assert_eq!(url.host_str(), Some("host"));
            prop_assert_eq!(url.path_segments().unwrap().count(), 2);
            prop_assert!(url.path().ends_with("/end"));
            let pairs: Vec<_> = url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
            prop_assert_eq!(pairs, [("q".to_owned(), value.clone()), ("z".to_owned(), "1".to_owned())]);
        }
        let made = fill(r#"{"a":"{v}","b":1}"#, Form::Json, &values).unwrap();
        let parsed: serde_json::Value = serde_json::from_str(&made).unwrap();
        prop_assert_eq!(parsed, serde_json::json!({"a": value, "b": 1}));
        if let Ok(word) = fill("{v}", Form::Word, &values) {
            prop_assert!(word.bytes().all(is_printable));
        }
    }

    #[test]
    fn any_text_is_a_template(text: Vec<u8>) {
        for form in [Form::Url, Form::Json, Form::Data, Form::Word] {
            let template = Template::parse(&text, form);
            let _ = template.check();
            let _ = template.fill(1 << 16, |_| Some(Value::Text("1")));
        }
    }
}
