//! Reads JSON out of `<script>` elements, by the rules of those who read structured data.

use memchr::memchr;

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

/// The end of an HTML comment. It is kept, since many beginnings may stand before one end, and a search for each
/// would take time quadratic in the size of the script.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CommentEnd {
    /// Where `-->` stands; the end of the text if there is none.
    at: usize,
    /// Whether values begin behind it.
    values_follow: bool,
}

impl CommentEnd {
    /// Moves to the first end at `from` or behind it.
    fn seek(&mut self, text: &str, from: usize) {
        if self.at < from {
            let inside = text.get(from..).unwrap_or_default();
            let (inside, behind) = inside.split_once("-->").unwrap_or((inside, ""));
            *self = Self { at: from + inside.len(), values_follow: begins_with_any(behind, &["{", "["]) };
        }
    }
}

/// How long the comment is that stands at `at`, or the beginning or end of what hides a script from old browsers.
pub(super) fn comment(text: &str, at: usize, end: &mut CommentEnd) -> usize {
    const MARKERS: [&str; 3] = ["<![CDATA[", "]]>", "-->"];
    const OPEN: &str = "<!--";
    let rest = text.get(at..).unwrap_or_default();
    if let Some(marker) = MARKERS.iter().find(|marker| rest.starts_with(**marker)) {
        return marker.len();
    }
    if let Some(inside) = rest.strip_prefix(OPEN) {
        end.seek(text, at + OPEN.len());
        // It stands around the values, and not before them.
        let is_around = begins_with_any(inside, &["{", "[", "//", "/*", "<![CDATA["]) && !end.values_follow;
        return if is_around { OPEN.len() } else { (end.at + "-->".len()).min(text.len()) - at };
    }
    if let Some(line) = rest.strip_prefix("//") {
        let spaces = line.len() - line.trim_start_matches([' ', '\t']).len();
        let marked = line.get(spaces..).unwrap_or_default();
        // The rest of the line is not hidden by what hides the marker from JavaScript.
        if marked.starts_with(OPEN) || MARKERS.iter().any(|marker| marked.starts_with(marker)) {
            return 2 + spaces;
        }
        return 2 + memchr(b'\n', line.as_bytes()).unwrap_or(line.len());
    }
    rest.strip_prefix("/*")
        .map_or(0, |inside| 2 + inside.find("*/").map_or(inside.len(), |at| at + "*/".len()))
}

/// Whether a text begins with one of these, behind white space.
fn begins_with_any(text: &str, with: &[&str]) -> bool {
    let text = text.trim_start();
    with.iter().any(|with| text.starts_with(with))
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
