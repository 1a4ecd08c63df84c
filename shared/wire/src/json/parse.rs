//! Reads JSON as RFC 8259 has it, and, between and inside of its tokens, what scripts have besides.

use std::borrow::Cow;

use memchr::memchr2;
use serde::de::IgnoredAny;

use super::comment::{CommentEnd, comment};
use super::{Json, Members};

/// Arrays and objects inside each other. Each takes stack here and wherever the tree is gone through.
const DEPTH_MAX: usize = 127;

/// Why a text is not JSON.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// It breaks the grammar.
    #[error(transparent)]
    Syntax(serde_json::Error),
    /// It has too many values inside each other.
    #[error("it is nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
}

/// Reads a text that is one value.
///
/// # Errors
/// When it is not, or nested too deep.
pub fn parse(text: &str) -> Result<Json<'_>, JsonError> {
    let mut parser = Parser::new(text, Rules::Strict);
    let value = parser.value(0).and_then(|value| {
        parser.space();
        (parser.at == text.len()).then_some(value)
    });
    // What is wrong, and where, says a parser that says it well. Both read the same grammar, which is tested.
    value.ok_or_else(|| match serde_json::from_str::<IgnoredAny>(text) {
        Err(error) => JsonError::Syntax(error),
        Ok(_) => JsonError::TooDeep,
    })
}

/// Which grammar holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rules {
    /// That of RFC 8259.
    Strict,
    /// What is found in scripts.
    Script,
}

/// A text, and how far it is read.
pub(super) struct Parser<'t> {
    text: &'t str,
    at: usize,
    rules: Rules,
    comment_end: CommentEnd,
}

impl<'t> Parser<'t> {
    pub(super) fn new(text: &'t str, rules: Rules) -> Self {
        Self { text, at: 0, rules, comment_end: CommentEnd::default() }
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    pub(super) fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn word(&mut self, word: &str) -> Option<()> {
        self.rest().starts_with(word).then(|| self.at += word.len())
    }

    /// Skips what may stand between two tokens.
    pub(super) fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.peek() {
            self.at += 1;
        }
        if self.rules == Rules::Script {
            loop {
                let rest = self.rest();
                let spaces = |c: char| c.is_whitespace() || c.is_control() || c == '\u{feff}';
                let trimmed = rest.trim_start_matches(spaces);
                self.at += rest.len() - trimmed.len();
                let skipped = comment(self.text, self.at, &mut self.comment_end);
                if skipped == 0 {
                    return;
                }
                self.at += skipped;
            }
        }
    }

    /// A value `depth` levels down; `None` where it stops being one.
    pub(super) fn value(&mut self, depth: usize) -> Option<Json<'t>> {
        self.space();
        match self.peek()? {
            b'{' if depth < DEPTH_MAX => self.object(depth),
            b'[' if depth < DEPTH_MAX => self.array(depth),
            b'"' => self.string().map(Json::String),
            b't' => self.word("true").map(|()| Json::Bool(true)),
            b'f' => self.word("false").map(|()| Json::Bool(false)),
            b'n' => self.word("null").map(|()| Json::Null),
            b'-' | b'0'..=b'9' | b'N' | b'I' => self.number(),
            _ => None,
        }
    }

    fn array(&mut self, depth: usize) -> Option<Json<'t>> {
        let mut values = Vec::new();
        self.at += 1;
        self.space();
        if !self.take(b']') {
            loop {
                values.push(self.value(depth + 1)?);
                if self.ends(b']')? {
                    break;
                }
            }
        }
        Some(Json::Array(values))
    }

    fn object(&mut self, depth: usize) -> Option<Json<'t>> {
        let mut members = Members::default();
        self.at += 1;
        self.space();
        if !self.take(b'}') {
            loop {
                self.space();
                if self.peek() != Some(b'"') {
                    return None;
                }
                let name = self.string()?;
                self.space();
                if !self.take(b':') {
                    return None;
                }
                let value = self.value(depth + 1)?;
                members.insert(name, value);
                if self.ends(b'}')? {
                    break;
                }
            }
        }
        Some(Json::Object(Box::new(members)))
    }

    /// After a value in brackets: whether they close. `None` if neither that nor a comma follows.
    fn ends(&mut self, bracket: u8) -> Option<bool> {
        self.space();
        if self.take(bracket) {
            return Some(true);
        }
        if !self.take(b',') {
            return None;
        }
        if self.rules == Rules::Script {
            self.space();
            return Some(self.take(bracket));
        }
        Some(false)
    }

    fn number(&mut self) -> Option<Json<'t>> {
        let start = self.at;
        let negative = self.take(b'-');
        if self.rules == Rules::Script && matches!(self.peek(), Some(b'N' | b'I')) {
            // What JavaScript and Python write for no number, and `JSON.stringify` as null.
            let word = if negative { "Infinity" } else { "NaN" };
            return self.word(word).or_else(|| self.word("Infinity")).map(|()| Json::Null);
        }
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _signed = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        self.text.get(start..self.at).map(|number| Json::Number(Cow::Borrowed(number)))
    }

    /// One digit at least.
    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    /// A text, at its opening quote.
    fn string(&mut self) -> Option<Cow<'t, str>> {
        self.at += 1;
        let mut out = Cow::Borrowed("");
        loop {
            let rest = self.rest();
            let plain = memchr2(b'"', b'\\', rest.as_bytes())?;
            let (text, special) = rest.split_at_checked(plain)?;
            if self.rules == Rules::Strict && text.bytes().any(|byte| byte < b' ') {
                return None;
            }
            if out.is_empty() {
                out = Cow::Borrowed(text);
            } else {
                out.to_mut().push_str(text);
            }
            self.at += plain + 1;
            if special.starts_with('"') {
                return Some(out);
            }
            self.escape(out.to_mut())?;
        }
    }

    /// What a backslash, which is taken, and what follows it stand for.
    fn escape(&mut self, out: &mut String) -> Option<()> {
        let character = self.rest().chars().next()?;
        self.at += character.len_utf8();
        let stands_for = match character {
            '"' | '\\' | '/' => character,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' if self.rules == Rules::Strict || self.hex(4).is_some() => self.unicode()?,
            _ if self.rules == Rules::Strict => return None,
            '\'' => '\'',
            'x' if self.hex(2).is_some() => {
                let code = self.hex(2)?;
                self.at += 2;
                char::from_u32(code)?
            }
            // A backslash that nobody escaped, as in a path.
            other => {
                out.push('\\');
                other
            }
        };
        out.push(stands_for);
        Some(())
    }

    /// The character of `\u` and four digits, behind the `u`; of two that make a pair.
    fn unicode(&mut self) -> Option<char> {
        let first = self.hex(4)?;
        self.at += 4;
        if (0xd800..0xdc00).contains(&first) && self.rest().starts_with("\\u") {
            let behind = Self { at: self.at + 2, ..*self };
            if let Some(second @ 0xdc00..0xe000) = behind.hex(4) {
                self.at += 6;
                return char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00));
            }
        }
        Some(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    /// The value of the next `count` hexadecimal digits, which are not taken.
    fn hex(&self, count: usize) -> Option<u32> {
        let digits =
            self.rest().get(..count).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        u32::from_str_radix(digits, 16).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::script;

    /// What `serde_json` finds wrong, this finds wrong, and nothing else.
    fn agrees(text: &str) {
        let theirs = serde_json::from_str::<IgnoredAny>(text).is_ok();
        let ours = parse(text);
        assert_eq!(ours.is_ok(), theirs, "{text:?}: {ours:?}");
        if let Ok(value) = &ours {
            // What is valid reads the same under the rules for scripts.
            assert_eq!(script(text).first(), Some(value), "{text:?}");
        }
    }

    #[test]
    fn the_grammar_is_that_of_the_standard() {
        for text in [
            "1",
            "-1",
            "01",
            "-01",
            "1.",
            ".5",
            "1.e1",
            "1e",
            "1e+",
            "1E-5",
            "+1",
            "-",
            "--1",
            "1 2",
            "NaN",
            "-Infinity",
            "\"a",
            "\"\\",
            "\"\\u12\"",
            "\"\\u12g4\"",
            "\"\\ud800\\u\"",
            "\"\t\"",
            "'a'",
            "nul",
            "truefalse",
            "[",
            "]",
            "[1",
            "[1,",
            "[,1]",
            "[1 2]",
            "{",
            "{}}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{1:1}",
            "{\"a\" \"b\"}",
            "\u{a0}1",
            "\u{c}1",
            "/**/1",
            "1//",
            "\u{0}",
            "[\u{0}]",
            "\"\u{7f}\u{80}\"",
            "[1]x",
            "-0",
            "-0e-0",
        ] {
            agrees(text);
        }
    }

    proptest! {
        #[test]
        fn anything_is_json_for_both_parsers_or_for_none(text in "[\\[\\]{}:,\"\\\\ \n0-2eE.+\\-utrfalsn\u{1}é/*]{0,14}") {
            agrees(&text);
        }

        #[test]
        fn broken_json_is_broken_for_both_parsers(cut in 0..80_usize, byte in "[\\[\\]{}:,\"\\\\0e.\n]?") {
            let text = r#"{"a": [1.5e-3, true, {"b\u00e9\n": "x\"y"}, [], {}], "c": null, "d": -0.25}"#;
            let at = cut.min(text.len());
            agrees(&text[..at]);
            agrees(&format!("{}{byte}{}", &text[..at], &text[at..]));
            agrees(&format!("{}{byte}{}", &text[..at], text.get(at + 1..).unwrap_or("")));
        }
    }
}
