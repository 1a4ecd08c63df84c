//! JSON that others wrote, as a tree: what was sent is what comes out. Also [`write()`], for values of our own.
//!
//! `serde_json` keeps numbers as doubles and 64-bit integers, so that one in ten comes out with another last digit,
//! refuses those that no double holds, and refuses a whole body for half a surrogate pair. Here a number is its
//! spelling, and half a pair is U+FFFD. Everything but the body of a page goes through `serde_json` all the same.

mod comment;
mod parse;
mod script;

use std::borrow::Cow;

use indexmap::IndexMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

pub use parse::{JsonError, parse};
pub use script::script;

/// A value; texts without escapes are borrowed from the body.
#[derive(Debug, Clone, PartialEq)]
pub enum Json<'t> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as it is spelled.
    Number(Cow<'t, str>),
    /// A text.
    String(Cow<'t, str>),
    /// Values in order.
    Array(Vec<Self>),
    /// Names and values.
    Object(Box<Members<'t>>),
}

/// The members of an object in their order. Of several with one name the last counts, in the place of the first.
pub type Members<'t> = IndexMap<Cow<'t, str>, Json<'t>>;

impl Json<'_> {
    /// The value as text, without white space.
    #[must_use]
    pub fn to_text(&self) -> JsonText {
        let mut out = Vec::new();
        self.write(&mut out);
        // What was parsed is valid when it is written again.
        let text = String::from_utf8(out).ok().and_then(|text| RawValue::from_string(text).ok());
        JsonText(text.unwrap_or_else(|| RawValue::NULL.to_owned()))
    }

    /// Recursive: no value is deeper than the parser allows.
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(truth) => out.extend_from_slice(if *truth { b"true" } else { b"false" }),
            Self::Number(number) => out.extend_from_slice(number.as_bytes()),
            Self::String(text) => write_text(text, out),
            Self::Array(values) => write_list(values, out, Self::write),
            Self::Object(members) => {
                out.push(b'{');
                for (n, (name, value)) in members.iter().enumerate() {
                    if n > 0 {
                        out.push(b',');
                    }
                    write_text(name, out);
                    out.push(b':');
                    value.write(out);
                }
                out.push(b'}');
            }
        }
    }
}

/// Appends a value of ours.
pub fn write<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    // Plain data into memory: this does not fail.
    let _ = serde_json::to_writer(out, value);
}

/// Appends a list, each of whose values `write` appends.
pub fn write_list<T>(
    values: impl IntoIterator<Item = T>,
    out: &mut Vec<u8>,
    mut write: impl FnMut(T, &mut Vec<u8>),
) {
    out.push(b'[');
    for (n, value) in values.into_iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write(value, out);
    }
    out.push(b']');
}

/// Appends a string. Few need an escape, and `serde_json` looks for one byte by byte.
pub fn write_text(text: &str, out: &mut Vec<u8>) {
    if !is_plain(text.as_bytes()) {
        return write(text, out);
    }
    out.reserve(text.len() + 2);
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// Whether a string needs no escape.
fn is_plain(bytes: &[u8]) -> bool {
    // Without a way out between two bytes, the compiler compares 16 of them at once.
    fn is_plain_block(block: &[u8]) -> bool {
        let is_special = |byte: u8| (byte < b' ') | (byte == b'"') | (byte == b'\\');
        !block.iter().fold(false, |any, byte| any | is_special(*byte))
    }
    let Some(last) = bytes.last_chunk::<16>() else { return is_plain_block(bytes) };
    let (blocks, _) = bytes.as_chunks::<16>();
    blocks.iter().all(|block| is_plain_block(block)) && is_plain_block(last)
}

/// The text of one JSON value.
#[derive(Debug, Clone)]
pub struct JsonText(Box<RawValue>);

impl JsonText {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for JsonText {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Serialize for JsonText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl From<bool> for JsonText {
    fn from(truth: bool) -> Self {
        Json::Bool(truth).to_text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: &str) {
        let got = parse(text).map(|value| value.to_text().as_str().to_owned());
        assert_eq!(got.unwrap_or_else(|error| format!("error: {error}")), want, "{text}");
    }

    #[test]
    fn numbers_come_out_as_they_stand() {
        for number in [
            "0",
            "-0",
            "-0.0",
            "12.50",
            "0.36995516654807925",
            "1.7976931348623158e308",
            "1e400",
            "-1E+400",
            "1e-400",
            "5e-324",
            "18446744073709551616",
            "123456789012345678901234567890.10",
            "0.1000000000000000055511151231257827",
        ] {
            check(number, number);
            check(
                &format!(" [ {number} , {{ \"n\" : {number} }} ] "),
                &format!("[{number},{{\"n\":{number}}}]"),
            );
        }
    }

    #[test]
    fn half_a_surrogate_pair_is_a_replacement_character() {
        check(r#""\ud83d""#, "\"\u{fffd}\"");
        check(r#""a\ud83db""#, "\"a\u{fffd}b\"");
        check(r#""\ude00\ud83d""#, "\"\u{fffd}\u{fffd}\"");
        check(r#""\ud83d\ud83d\ude00""#, "\"\u{fffd}\u{1f600}\"");
        check(r#""\ud83d\u0041""#, "\"\u{fffd}A\"");
        check(r#""\ud83d\n""#, "\"\u{fffd}\\n\"");
        check(r#""\uD83D\uDE00 \u00e9""#, "\"\u{1f600} \u{e9}\"");
        check(r#"{"\ud83d":1,"a\udc00":{"\udfff":[]}}"#, "{\"\u{fffd}\":1,\"a\u{fffd}\":{\"\u{fffd}\":[]}}");
    }

    #[test]
    fn values_are_written_as_they_were_read() {
        check(" \t\r\n{ } ", "{}");
        check("[[],{},null,true,false,\"\"]", "[[],{},null,true,false,\"\"]");
        check(r#""\"\\\/\b\f\n\r\t\u0000\u001f\u007f""#, "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\u{7f}\"");
        check(r#"{"b":1,"a":2,"b":[3]}"#, r#"{"b":[3],"a":2}"#);
        check(r#"{"$serde_json::private::RawValue":"[1]"}"#, r#"{"$serde_json::private::RawValue":"[1]"}"#);
        check(r#"{"$serde_json::private::Number":"1"}"#, r#"{"$serde_json::private::Number":"1"}"#);
        let deep = format!("{}{}", "[".repeat(127), "]".repeat(127));
        check(&deep, &deep);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        check("", "error: EOF while parsing a value at line 1 column 0");
        check("{\"a\": 1", "error: EOF while parsing an object at line 1 column 7");
        check("[1,]", "error: expected value at line 1 column 4");
        check("[01]", "error: invalid number at line 1 column 3");
        check(
            "[\"a\nb\"]",
            "error: control character (\\u0000-\\u001F) found while parsing a string at line 1 column 3",
        );
        check("\u{feff}[]", "error: expected value at line 1 column 1");
        check(r#""\x""#, "error: invalid escape at line 1 column 3");
        check("{} {}", "error: trailing characters at line 1 column 4");
        let deep = format!("{}{}", "{\"a\":[".repeat(64), "]}".repeat(64));
        check(&deep, "error: it is nested deeper than 127 levels");
    }

    #[test]
    fn texts_are_written_as_serde_json_does() {
        let specials = ['"', '\\', '\n', '\0', '\u{1f}', '\u{7f}', 'ä', '\u{2028}', ' ', '€'];
        for length in 0..70 {
            for place in 0..=length {
                for special in specials {
                    let text = format!("{}{special}{}", "a".repeat(place), "b".repeat(length - place));
                    let mut out = Vec::new();
                    write_text(&text, &mut out);
                    assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(&text).unwrap());
                }
            }
        }
    }
}
