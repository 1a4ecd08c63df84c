//! One key of a JSON-lines file: every line is one target, so that a record's
//! id is the line it came from. A line without a usable value is refused by
//! itself; the others go on.

use std::fmt;
use std::io;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::Candidate;
use super::lines::{Bytes, LineReader};

/// Longest line taken: room for a record that carries a page's text.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Reads `key` out of every line.
pub(super) struct JsonFeed {
    pub(super) reader: LineReader,
    key: String,
}

impl JsonFeed {
    pub(super) fn new(bytes: Bytes, key: String) -> Self {
        Self { reader: LineReader::new(bytes, LINE_BYTES_MAX), key }
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
                return Ok(Some(Candidate::too_long(line, line_bytes)));
            }
            return Ok(Some(match value_of(line, &self.key) {
                Ok(Some(Value::String(text))) => Candidate::cell(text.trim().as_bytes(), || {
                    format!("line {number} has an empty \"{}\"", self.key)
                }),
                Ok(Some(_)) => {
                    Candidate::refused(line, format!("line {number}: \"{}\" is not a string", self.key))
                }
                Ok(None) => Candidate::refused(line, format!("line {number} has no \"{}\"", self.key)),
                Err(error) => {
                    Candidate::refused(line, format!("line {number} is not a JSON object: {error}"))
                }
            }));
        }
    }
}

fn value_of(line: &[u8], key: &str) -> serde_json::Result<Option<Value>> {
    let mut json = serde_json::Deserializer::from_slice(line);
    let value = json.deserialize_map(OneValue(key))?;
    json.end()?;
    Ok(value)
}

/// Takes one value of an object and builds nothing for the others.
struct OneValue<'a>(&'a str);

impl<'de> Visitor<'de> for OneValue<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(wanted) = map.next_key_seed(IsKey(self.0))? {
            if wanted {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

struct IsKey<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for IsKey<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for IsKey<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, want: Result<&str, &str>) {
        let mut feed = JsonFeed::new(Box::new(io::Cursor::new(line.as_bytes().to_vec())), "url".to_owned());
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
    fn a_line_gives_its_key() {
        check(r#"{"url":"http://a/"}"#, Ok("http://a/"));
        check(r#"{"id":[1,{"url":"no"}],"url":" http://a/ ","z":null}"#, Ok("http://a/"));
        check(r#"{"\u0075rl":"http://a/\u00e9"}"#, Ok("http://a/é"));
        check("{\"url\":\"http://a/\"}\r\n", Ok("http://a/"));
        check("\u{feff}{\"url\":\"http://a/\"}\n\n", Ok("http://a/"));
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
    fn a_long_value_is_refused() {
        let line = format!("{{\"url\":\"http://a/{}\"}}", "x".repeat(super::super::TARGET_BYTES_MAX));
        check(&line, Err("bytes"));
    }
}
