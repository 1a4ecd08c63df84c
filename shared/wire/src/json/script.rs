//! Reads JSON out of `<script>` elements, by the rules of those who read structured data.

use super::Json;
use super::parse::{Parser, Rules};

/// Reads the values that a `<script>` of JSON begins with, as the readers of structured data do: there may be
/// comments, a comment or CDATA section around it, raw control characters in texts, escapes of JavaScript, commas
/// before closing brackets, several values, and anything behind the last that can be read.
#[must_use]
pub fn script(text: &str) -> Vec<Json<'_>> {
    let mut parser = Parser::new(text, Rules::Script);
    let mut values = Vec::new();
    loop {
        parser.space();
        while parser.take(b',') || parser.take(b';') {
            parser.space();
        }
        match parser.value(0) {
            Some(value) => values.push(value),
            None => return values,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: &[&str]) {
        let got: Vec<String> = script(text).iter().map(|value| value.to_text().as_str().to_owned()).collect();
        assert_eq!(got, want, "{text:?}");
    }

    #[test]
    fn scripts_hold_what_their_readers_find() {
        const A: &str = r#"{"a":1}"#;
        for text in [
            "{\"a\":1}",
            "\u{feff}\u{a0}{\"a\":1}\u{2028}",
            "{\"a\":1};",
            "{\"a\":1} ; ;",
            "{\"a\":1,}",
            "<!-- {\"a\":1} -->",
            "<!--\n{\"a\":1}\n//-->",
            "<!-- a comment -->\n{\"a\":1}",
            "<!-- one --><!-- two -->{\"a\":1}",
            "<!-- {\"old\": true} -->\n{\"a\":1}",
            "<![CDATA[{\"a\":1}]]>",
            "//<![CDATA[\n{\"a\":1}\n//]]>",
            "// <![CDATA[ {\"a\":1} // ]]>",
            "/*<![CDATA[*/ {\"a\":1} /*]]>*/",
            "/* <![CDATA[ */{\"a\":1}/* ]]> */",
            "<!--//--><![CDATA[//><!--\n{\"a\":1}\n//--><!]]>",
            "// about it\n{\"a\": /* one */ 1 // still\n}",
            "{\"a\":1}}",
            "{\"a\":1} and more",
            "{\"a\":1}</script>",
        ] {
            check(text, &[A]);
        }
        check("{\"a\":1}{\"b\":2}", &[A, r#"{"b":2}"#]);
        check("{\"a\":1},\n{\"b\":2};[3,]", &[A, r#"{"b":2}"#, "[3]"]);
        check("{\"a\":1} {\"b\":", &[A]);
        for nothing in
            ["", " ", ";", "<!-- -->", "no JSON", "{\"a\":1", "{a:1}", "{'a':1}", "[1,,2]", "//{\"a\":1}"]
        {
            check(nothing, &[]);
        }
    }

    #[test]
    fn many_comments_take_time_in_proportion_to_their_number() {
        let values = |text: &str| script(text).len();
        let spaces = " ".repeat(500_000);
        assert_eq!(values(&"<!--{}".repeat(100_000)), 100_000);
        assert_eq!(values(&format!("{}-->{spaces}", "<!--{}".repeat(100_000))), 100_000);
        assert_eq!(values(&"<!--{}-->".repeat(100_000)), 100_000);
        check(&format!("{}-->{spaces}[1]", "<!--{}".repeat(100_000)), &["[1]"]);
    }

    #[test]
    fn texts_in_scripts_may_hold_anything() {
        check("{\"a\":\"one\ntwo\ttab\u{1}\"}", &[r#"{"a":"one\ntwo\ttab\u0001"}"#]);
        check(
            r#"{"a":"it\'s \x41\x e9 C:\Windows \u00e9 \u12"}"#,
            &[r#"{"a":"it's A\\x e9 C:\\Windows é \\u12"}"#],
        );
        check(
            r#"{"a":"//no <!-- comment","b":"\ud83d"}"#,
            &["{\"a\":\"//no <!-- comment\",\"b\":\"\u{fffd}\"}"],
        );
        check("[NaN, Infinity, -Infinity, 1.50, -0]", &["[null,null,null,1.50,-0]"]);
        check("[-NaN]", &[]);
    }
}
