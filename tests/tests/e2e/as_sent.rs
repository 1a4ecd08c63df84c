//! What servers send under another name, and what no double holds: in every mode the same record, and in it what was sent.

use serde_json::Value;

use crate::harness::{MODES, Origin, fetch};

/// The text of a record's fields, in every mode.
fn fields(path: &str, flags: &[&str]) -> Vec<String> {
    let url = Origin::shared().url(path);
    let of_mode = |mode| {
        let run = fetch().args(["--mode", mode]).args(flags).arg(&url).run().exits(0);
        let text = run.text();
        let at = text.find("\"fields\":").unwrap();
        text[at..].trim_end().to_owned()
    };
    MODES.into_iter().map(of_mode).collect()
}

#[test]
fn json_under_another_name_is_json_and_its_numbers_are_as_they_were() {
    let flags = ["--select", "all=$", "--select", "found[]=$[?@ > 1e399]", "--select", "title=title"];
    for path in ["/shop/plain", "/shop/page"] {
        for text in fields(path, &flags) {
            let want = "\"fields\":{\"all\":{\"id\":1712345678901234567890,\"price\":0.36995516654807925,\
                \"far\":1e400,\"note\":\"x\u{fffd}\"},\"found\":[1e400],\"title\":null}}";
            assert_eq!(text, want, "{path}");
        }
    }
}

#[test]
fn two_content_types_are_one_and_json_ld_is_read_as_it_is_meant() {
    for text in fields("/shop/twice", &["--select", "title=title", "--preset", "jsonld"]) {
        assert_eq!(text, "\"fields\":{\"title\":\"привет\",\"jsonld\":[{\"a\":\"b\\nc\",\"price\":12.50}]}}");
    }
    let run =
        fetch().args(["--select", "title=title"]).arg(Origin::shared().url("/shop/twice")).run().exits(0);
    assert_eq!(run.records()[0]["charset"], Value::from("windows-1251"));
}
