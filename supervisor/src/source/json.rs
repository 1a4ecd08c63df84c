//! One key of a JSON-lines file. Every line is one target, so that a record's id is the number of its line. A
//! line without a usable value is refused alone.

use std::fmt;
use std::io;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::Bytes;
use super::kept::KeptColumns;
use super::lines::LineReader;
use super::text::trimmed;
use super::{Candidate, LINE_BYTES_MAX, NOT_UTF8};
use crate::plan::Columns;

/// Reads the value of `key` and the kept keys from every line.
pub(super) struct JsonFeed {
    pub(super) reader: LineReader,
    /// The key of the inputs; `None` if they are made from other keys.
    key: Option<String>,
    kept: KeptColumns,
}

impl JsonFeed {
    pub(super) fn new(bytes: Bytes, columns: &Columns) -> Self {
        let reader = LineReader::new(bytes, LINE_BYTES_MAX);
        Self { reader, key: columns.input.clone(), kept: KeptColumns::new(columns) }
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Candidate>> {
        loop {
            let number = self.reader.number + 1;
            let Some((line, line_bytes)) = self.reader.next()? else {
                return Ok(None);
            };
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            if line_bytes > LINE_BYTES_MAX as u64 {
                return Ok(Some(Candidate::line_too_long(line, line_bytes)));
            }
            self.kept.begin();
            let key = self.key.as_deref();
            let name = key.unwrap_or_default();
            let candidate = match value_of(line, key, &mut self.kept) {
                Ok(None) if key.is_none() => Candidate::good(Vec::new()),
                Ok(Some(Value::String(text))) => Candidate::cell(trimmed(text.as_bytes()), || {
                    format!("line {number} has an empty \"{name}\"")
                }),
                Ok(Some(_)) => Candidate::refused(line, format!("line {number}: \"{name}\" is not a string")),
                Ok(None) => Candidate::refused(line, format!("line {number} has no \"{name}\"")),
                // The values read before the error are not trustworthy.
                Err(error) => {
                    let why = match str::from_utf8(line) {
                        Ok(_) => format!("line {number} is not a JSON object: {error}"),
                        Err(_) => format!("line {number}: {NOT_UTF8}"),
                    };
                    return Ok(Some(Candidate::refused(line, why)));
                }
            };
            return Ok(Some(candidate.with(self.kept.encode())));
        }
    }
}

/// Returns the value of `key`, if the object has it, and stores the values of kept keys in `kept`.
fn value_of(line: &[u8], key: Option<&str>, kept: &mut KeptColumns) -> serde_json::Result<Option<Value>> {
    let mut json = serde_json::Deserializer::from_slice(line);
    let value = json.deserialize_map(Row { key, kept })?;
    json.end()?;
    value.map(|value| parsed(value.get())).transpose()
}

/// Parses a value. An unpaired surrogate in a string becomes U+FFFD, as in browsers.
fn parsed(json: &str) -> serde_json::Result<Value> {
    serde_json::from_str(json).or_else(|error| {
        let text = serde_json::Deserializer::from_str(json).deserialize_bytes(UnpairedSurrogates);
        text.map(Value::String).map_err(|_| error)
    })
}

/// Accepts a string that may contain unpaired surrogates, of three bytes each.
struct UnpairedSurrogates;

impl Visitor<'_> for UnpairedSurrogates {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E>(self, text: &[u8]) -> Result<String, E> {
        let mut whole = String::with_capacity(text.len());
        for chunk in text.utf8_chunks() {
            whole.push_str(chunk.valid());
            whole.extend(chunk.invalid().starts_with(&[0xed]).then_some(char::REPLACEMENT_CHARACTER));
        }
        Ok(whole)
    }
}

/// Reads the wanted values of an object, and builds nothing for the others.
struct Row<'a> {
    key: Option<&'a str>,
    kept: &'a mut KeptColumns,
}

impl<'de> Visitor<'de> for Row<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(wanted) = map.next_key_seed(Wanted { key: self.key, kept: self.kept })? {
            if wanted.is_nothing() {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = map.next_value::<&'de RawValue>()?;
            if wanted.input {
                found = Some(value);
            }
            for number in wanted.kept {
                self.kept.set_json(number, value.get());
            }
        }
        Ok(found)
    }
}

/// The uses of one value of an object.
struct Uses {
    input: bool,
    /// The numbers under which it is kept. If empty, nothing is allocated.
    kept: Vec<usize>,
}

impl Uses {
    const fn is_nothing(&self) -> bool {
        !self.input && self.kept.is_empty()
    }
}

struct Wanted<'a> {
    key: Option<&'a str>,
    kept: &'a KeptColumns,
}

impl<'de> DeserializeSeed<'de> for Wanted<'_> {
    type Value = Uses;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Uses, D::Error> {
        // As bytes, because a key with an unpaired surrogate is not valid UTF-8.
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for Wanted<'_> {
    type Value = Uses;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_bytes<E>(self, key: &[u8]) -> Result<Uses, E> {
        let named = self.kept.names().enumerate().filter(|(_, name)| name.as_bytes() == key);
        Ok(Uses {
            input: self.key.is_some_and(|wanted| wanted.as_bytes() == key),
            kept: named.map(|(number, _)| number).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::kept::shown;
    use super::*;

    fn open(text: &str, columns: &Columns) -> JsonFeed {
        JsonFeed::new(Box::new(io::Cursor::new(text.as_bytes().to_vec())), columns)
    }

    fn check(line: &str, want: Result<&str, &str>) {
        let mut feed = open(line, &"url".into());
        let candidate = feed.next().unwrap().unwrap();
        let input = String::from_utf8(candidate.input).unwrap();
        match (want, candidate.refused) {
            (Ok(want), None) => assert_eq!(input, want, "{line}"),
            (Err(want), Some(reason)) => assert!(reason.contains(want), "{line}: {reason}"),
            (want, refused) => panic!("{line}: wanted {want:?}, refused: {refused:?}"),
        }
        assert_eq!(feed.next().unwrap(), None);
    }

    #[test]
    fn a_reason_quotes_no_more_than_a_beginning() {
        let line = format!("\"{}\"", "é".repeat(100_000));
        let why = open(&line, &"url".into()).next().unwrap().unwrap().refused.unwrap();
        assert!(why.starts_with("line 1 is not a JSON object: ") && why.len() < 9000, "{} bytes", why.len());
    }

    #[test]
    fn a_line_gives_its_key() {
        check(r#"{"url":"http://a/"}"#, Ok("http://a/"));
        check(r#"{"id":[1,{"url":"no"}],"url":" http://a/ ","z":null}"#, Ok("http://a/"));
        check(r#"{"\u0075rl":"http://a/\u00e9"}"#, Ok("http://a/é"));
        check("{\"url\":\"http://a/\"}\r\n", Ok("http://a/"));
        check("{\"url\":\"\u{feff}http://a/\u{a0}\"}\n\n", Ok("http://a/"));
        check(r#"{"url":"http://a/\ud83dx\udc00"}"#, Ok("http://a/\u{fffd}x\u{fffd}"));
        // Unwanted keys that are not valid UTF-8.
        check(r#"{"\ud83d":1,"\udc00\u00e9":{"\ud83d":2},"url":"http://a/"}"#, Ok("http://a/"));
    }

    #[test]
    fn a_line_without_it_is_refused_by_itself() {
        check(r#"{"link":"http://a/"}"#, Err("line 1 has no \"url\""));
        check("\n\n{}", Err("line 3 has no"));
        check(r#"{"url":7}"#, Err("not a string"));
        check(r#"{"url":null}"#, Err("not a string"));
        check(r#"{"url":""}"#, Err("empty"));
        check("http://a/", Err("not a JSON object"));
        check(r#"{"url":"http://a/""#, Err("not a JSON object"));
        check(r#"{"url":"http://a/"} x"#, Err("not a JSON object"));
        check(r#"["http://a/"]"#, Err("not a JSON object"));
    }

    #[test]
    fn a_line_that_is_not_utf8_says_what_to_do() {
        let open = |columns: &Columns| {
            let line = b"{\"x\":\"\xe9\",\"url\":\"http://a/\"}\n".to_vec();
            JsonFeed::new(Box::new(io::Cursor::new(line)), columns)
        };
        // Unwanted values may be invalid.
        assert_eq!(open(&"url".into()).next().unwrap().unwrap().refused, None);
        let columns = Columns { keep: vec!["x".to_owned()], ..Columns::from("url") };
        let why = open(&columns).next().unwrap().unwrap().refused.unwrap();
        assert!(why.contains("line 1: it is not UTF-8") && why.contains("--encoding"), "{why}");
    }

    #[test]
    fn kept_values_are_as_they_were_written() {
        let keep = ["n", "o", "url"].map(str::to_owned).to_vec();
        let columns = Columns { keep, ..Columns::from("url") };
        let text = "{\"n\":1.50,\"url\":\"a\",\"x\":1}\n\
                    {\"o\": {\"\\u00e9\" : [1e400,\"\"]} ,\"url\":\"b\\n\"}\n\
                    {\"n\":7}\n\
                    {\"n\":7,\"n\":8,\"url\":\"c\"}\n\
                    {\"n\":7,\"url\":\"d\"";
        let mut feed = open(text, &columns);
        for (input, kept) in [
            ("a", r#"{"n":1.50,"o":null,"url":"a"}"#),
            ("b", r#"{"n":null,"o":{"\u00e9" : [1e400,""]},"url":"b\n"}"#),
            ("{\"n\":7}", r#"{"n":7,"o":null,"url":null}"#),
            ("c", r#"{"n":8,"o":null,"url":"c"}"#),
            ("{\"n\":7,\"url\":\"d\"", ""),
        ] {
            let candidate = feed.next().unwrap().unwrap();
            assert_eq!(String::from_utf8_lossy(&candidate.input), input);
            assert_eq!(shown(&candidate.kept), kept);
        }
    }

    #[test]
    fn a_long_value_is_refused() {
        let line = format!("{{\"url\":\"http://a/{}\"}}", "x".repeat(super::super::TARGET_BYTES_MAX));
        check(&line, Err("a target has at most"));
        let line = format!("{{\"url\":\"http://a/\",\"x\":\"{}\"}}", "x".repeat(LINE_BYTES_MAX));
        check(&line, Err("a line has at most 16777216"));
    }
}
