//! Texts with columns in them: `https://example.com/{id}`, `{"name": "{name}"}`.
//!
//! `{name}` is the value of that column in the input's row, and `{{` is a brace. A brace that cannot begin a name stands
//! for itself, so that JSON can be written as it is. What a value becomes depends on its place, so no value can end the
//! text that surrounds it: it is percent-encoded in a URL, and escaped in a string of JSON.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::json::{self, Json};
use crate::kept::Value;

/// What a template makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    /// A URL.
    Url,
    /// A JSON text.
    Json,
    /// Any bytes.
    Data,
    /// One line of printable ASCII: a method, the value of a header.
    Word,
}

/// A text with columns in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    form: Form,
    parts: Vec<Part>,
}

/// A piece of the text, and the column after it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    #[serde(with = "serde_bytes")]
    text: Vec<u8>,
    column: Option<(String, Place)>,
}

/// Where a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Place {
    /// At the start of a URL, which it is or begins.
    UrlStart,
    /// Elsewhere in a URL: in a segment of its path, or in its query.
    UrlPart,
    /// In a string of JSON.
    JsonString,
    /// Where JSON has a value.
    JsonValue,
    /// Where any bytes may be.
    Data,
    /// Where one line of printable ASCII may be.
    Word,
}

/// Where the text is while it is parsed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Nothing,
    String,
    /// After a backslash in a string.
    Escape,
}

impl Template {
    /// A text without columns, whatever braces it has.
    #[must_use]
    pub fn verbatim(text: Vec<u8>, form: Form) -> Self {
        Self { form, parts: vec![Part { text, column: None }] }
    }

    /// Parses a text. A brace that begins no name stands for itself, so any text can be parsed.
    #[must_use]
    pub fn parse(text: &[u8], form: Form) -> Self {
        let (mut parts, mut part, mut within) = (Vec::new(), Part::default(), Within::Nothing);
        let mut rest = text;
        while let Some((&byte, after)) = rest.split_first() {
            if byte == b'{' && (form != Form::Json || within != Within::Escape) {
                if let Some(after) = after.strip_prefix(b"{") {
                    part.text.push(byte);
                    rest = after;
                    continue;
                }
                if let Some((name, after)) = name(after) {
                    let is_start = parts.is_empty() && part.text.is_empty();
                    part.column = Some((name.to_owned(), place(form, is_start, within)));
                    parts.push(std::mem::take(&mut part));
                    rest = after;
                    continue;
                }
            }
            within = match (within, byte) {
                (Within::Nothing, b'"') | (Within::Escape, _) => Within::String,
                (Within::String, b'"') => Within::Nothing,
                (Within::String, b'\\') => Within::Escape,
                (Within::Nothing | Within::String, _) => within,
            };
            part.text.push(byte);
            rest = after;
        }
        parts.push(part);
        Self { form, parts }
    }

    /// The names of the columns in it.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| part.column.as_ref()).map(|(name, _)| name.as_str())
    }

    /// Returns its text, if it has no columns.
    #[must_use]
    pub fn constant(&self) -> Option<&[u8]> {
        match self.parts.as_slice() {
            [Part { text, column: None }] => Some(text),
            _ => None,
        }
    }

    /// Returns what it was parsed from, with every brace doubled that begins no name.
    #[must_use]
    pub fn source(&self) -> Vec<u8> {
        let mut source = Vec::new();
        for part in &self.parts {
            for byte in &part.text {
                let doubled = *byte == b'{';
                source.extend(std::iter::repeat_n(*byte, if doubled { 2 } else { 1 }));
            }
            if let Some((name, _)) = &part.column {
                source.extend(format!("{{{name}}}").into_bytes());
            }
        }
        source
    }

    /// Checks that it can make what its form says.
    ///
    /// # Errors
    /// Why it cannot, whatever the columns hold.
    pub fn check(&self) -> Result<(), String> {
        match self.form {
            Form::Json => self.check_json(),
            Form::Url => match self.text().find(|byte| !(b'!'..=b'~').contains(byte) && byte.is_ascii()) {
                Some(_) => Err("a URL has no spaces or control characters; percent-encode them".to_owned()),
                None => Ok(()),
            },
            Form::Word if !self.text().all(is_printable) => {
                Err("it must be printable ASCII on one line".to_owned())
            }
            Form::Word | Form::Data => Ok(()),
        }
    }

    fn text(&self) -> impl Iterator<Item = u8> {
        self.parts.iter().flat_map(|part| part.text.iter().copied())
    }

    /// Puts a value in the place of each column, which must then be JSON.
    fn check_json(&self) -> Result<(), String> {
        let mut filled = Vec::new();
        for part in &self.parts {
            filled.extend_from_slice(&part.text);
            if let Some((_, Place::JsonValue)) = part.column {
                filled.extend_from_slice(b"null");
            }
        }
        let text = str::from_utf8(&filled).map_err(|_| "it is not UTF-8".to_owned())?;
        json::parse(text).map(drop).map_err(|error| format!("it is not JSON: {error}"))
    }

    /// Makes the text for a row, whose values `value` returns: at most `bytes_max` bytes.
    ///
    /// # Errors
    /// Why this row has none: a value is missing, or cannot stand where its column does, or the text is too long.
    pub fn fill<'v>(
        &self,
        bytes_max: usize,
        value: impl Fn(&str) -> Option<Value<'v>>,
    ) -> Result<Vec<u8>, String> {
        let (mut out, mut path_at) = (Vec::new(), 0);
        // The column whose value left a segment of the path empty so far.
        let mut gap: Option<&str> = None;
        for part in &self.parts {
            if out.len().saturating_add(part.text.len()) > bytes_max {
                return Err(too_long(bytes_max));
            }
            out.extend_from_slice(&part.text);
            let ends_segment = match part.text.first() {
                Some(first) => matches!(first, b'/' | b'?' | b'#'),
                None => part.column.is_none(),
            };
            if let Some(name) = gap.filter(|_| ends_segment) {
                return Err(format!("\"{name}\" is empty, and stands for a whole part of the path"));
            }
            let Some((name, place)) = &part.column else { continue };
            let (found, before) = (value(name).unwrap_or(Value::Json("null")), out.len());
            place.write(found, &mut out).map_err(|why| format!("\"{name}\" {why}"))?;
            // A value is as short as a row, so this is soon enough.
            if out.len() > bytes_max {
                return Err(too_long(bytes_max));
            }
            if *place == Place::UrlStart {
                path_at = out.len();
            }
            let is_gap = *place == Place::UrlPart && out.len() == before && {
                let made = out.get(path_at..).unwrap_or_default();
                made.ends_with(b"/") && !made.iter().any(|byte| matches!(byte, b'?' | b'#'))
            };
            gap = is_gap.then_some(name);
        }
        let made = out.get(path_at..).unwrap_or_default();
        if self.form == Form::Url && self.constant().is_none() && has_dots(made) {
            return Err("a part of the path would be . or .., which leads to another path".to_owned());
        }
        Ok(out)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.source()))
    }
}

/// Reads a column's name up to its brace. Names of columns have no spaces around them, and JSON has a quote after a
/// brace.
fn name(text: &[u8]) -> Option<(&str, &[u8])> {
    let end = text.iter().position(|byte| matches!(byte, b'{' | b'}' | b'"' | b'\n' | b'\r'))?;
    let (name, after) = text.split_at_checked(end)?;
    let after = after.strip_prefix(b"}")?;
    let name = str::from_utf8(name).ok().filter(|name| !name.is_empty() && name.trim() == *name)?;
    Some((name, after))
}

const fn place(form: Form, is_start: bool, within: Within) -> Place {
    match (form, within) {
        (Form::Url, _) if is_start => Place::UrlStart,
        (Form::Url, _) => Place::UrlPart,
        (Form::Json, Within::Nothing) => Place::JsonValue,
        (Form::Json, Within::String | Within::Escape) => Place::JsonString,
        (Form::Data, _) => Place::Data,
        (Form::Word, _) => Place::Word,
    }
}

impl Place {
    /// Appends a value as this place needs it.
    fn write(self, value: Value<'_>, out: &mut Vec<u8>) -> Result<(), String> {
        if self == Self::JsonValue {
            let (Value::Json(text) | Value::Text(text)) = value;
            json::parse(text).map_err(|error| {
                format!("is not a JSON value, and no quotes are around it in --json: {error}")
            })?;
            out.extend_from_slice(text.as_bytes());
            return Ok(());
        }
        let parsed;
        let text = match value {
            Value::Text(text) => text,
            Value::Json(json) => {
                parsed = json::parse(json).map_err(|error| error.to_string())?;
                match &parsed {
                    Json::Null => return Err("has no value in this row".to_owned()),
                    Json::String(text) => text,
                    Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => json,
                }
            }
        };
        match self {
            Self::UrlStart if text.chars().any(char::is_control) => {
                return Err("has a control character, which no URL can have".to_owned());
            }
            Self::Word if !text.bytes().all(is_printable) => {
                return Err("must be printable ASCII on one line".to_owned());
            }
            Self::UrlPart => percent_encode(text, out),
            Self::JsonString => {
                let start = out.len();
                json::write(text, out);
                // Without its quotes: those of the template are around it.
                out.pop();
                out.remove(start);
            }
            Self::UrlStart | Self::Data | Self::Word | Self::JsonValue => {
                out.extend_from_slice(text.as_bytes())
            }
        }
        Ok(())
    }
}

fn too_long(bytes_max: usize) -> String {
    format!("with the values of this row it has more than {bytes_max} bytes")
}

fn is_printable(byte: u8) -> bool {
    (b' '..=b'~').contains(&byte)
}

/// Encodes all but what means nothing anywhere in a URL (RFC 3986, 2.3).
fn percent_encode(text: &str, out: &mut Vec<u8>) {
    const DIGITS: [u8; 16] = *b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(byte);
        } else {
            let digit = |value: u8| DIGITS.get(usize::from(value & 15)).copied().unwrap_or_default();
            out.extend([b'%', digit(byte >> 4), digit(byte)]);
        }
    }
}

/// Whether a segment of the path is `.` or `..`, which the standard removes, with the segment before it.
fn has_dots(url: &[u8]) -> bool {
    let path = url.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default();
    path.split(|byte| matches!(byte, b'/' | b'\\')).any(|segment| matches!(segment, b"." | b".."))
}

#[cfg(test)]
mod tests;
