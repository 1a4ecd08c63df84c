//! Any text is refused as a selector, or runs on a page of each kind.
//!
//! The first line of the input is a `--select`, the second one an `--each`.

#![no_main]

use std::io::Cursor;
use std::time::Duration;

use extract::{Extractor, Kind, Page};
use libfuzzer_sys::fuzz_target;
use select::{Each, Field, Preset};

const HTML: &str = "<!doctype html><html lang=en><title>A</title><meta name=k content=v><body class='c d' id=i dir=rtl>\
    <form><input type=checkbox checked required><input type=number min=1 max=5 value=9 pattern=x>\
    <select><optgroup disabled><option selected>o</select><textarea readonly>t</textarea></form>\
    <ul><li>1<li class=c><a href=x rel=next>2 <b>b</b></a><li lang=de>3</ul><p>p<p><svg><title>s</title></svg>\
    <table><tr><td>5</table><h2></h2><!--c-->";
const XML: &str = "<r xml:lang='en'><item id='1'><media:title xmlns:media='u'>t</media:title></item><?p i?><a href='x'/></r>";
const JSON: &str = r#"{"a":[{"b":1,"c":"x"},"y",-2.50,true],"b":null,"":{"a":{"a":[]}}}"#;

fn run(fields: &[Field], each: Option<&Each>) {
    let extractor = Extractor::new(fields, each, &[]).expect("what the parser accepts can be compiled");
    let tree = Extractor::new(fields, each, &[Preset::Microdata]).expect("a preset can be added");
    for (kind, body) in [(Kind::Html, HTML), (Kind::Xml, XML), (Kind::Json, JSON), (Kind::Unknown, JSON)] {
        let page =
            Page { kind, content_type_charset: None, url: None, parse_timeout: Duration::from_secs(2) };
        let found = extractor.extract(page, &mut Cursor::new(body));
        let by_tree = tree.extract(page, &mut Cursor::new(body));
        if let (Ok(found), Ok(by_tree)) = (found, by_tree) {
            assert_eq!(
                found.values,
                by_tree.values[..1],
                "streamed (left) and tree (right) differ in {kind:?}"
            );
        }
    }
}

fuzz_target!(|text: &str| {
    let (select, each) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(field) = Field::parse(select) else { return };
    let again = Field::parse(&field.to_string()).expect("a field that is written can be parsed");
    assert_eq!(again, field);
    let fields = [field];
    run(&fields, None);
    if let Ok(each) = Each::parse(each)
        && each.check(&fields).is_ok()
    {
        assert_eq!(Each::parse(&each.to_string()).as_ref(), Ok(&each));
        run(&fields, Some(&each));
    }
});
