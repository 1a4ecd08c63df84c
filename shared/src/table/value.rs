//! What of a record stands in a column, before it is written in the notation of some table.

use std::borrow::Cow;
use std::io::Write;

use wire::kept;
use wire::record::{FieldValue, Record};

use super::Origin;
use crate::json::{self, Json};

/// A value of a record.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Text(&'a str),
    Int(i64),
    Uint(u64),
    Float(f64),
    /// JSON in UTF-8, as others wrote it; not `null`.
    Json(&'a [u8]),
    /// A list or an object.
    Tree(&'a FieldValue),
}

impl Origin {
    /// What stands there in `record`.
    pub(super) fn of<'a>(&self, record: &Record<'a>) -> Value<'a> {
        let text = |text: Option<&'a str>| text.map_or(Value::Null, Value::Text);
        let number = |number: Option<u64>| number.map_or(Value::Null, Value::Uint);
        match self {
            Self::Id => Value::Uint(record.id),
            Self::Url => text(record.url),
            Self::Path => text(record.path),
            Self::Depth => number(record.depth.map(u64::from)),
            Self::Parent => number(record.parent),
            Self::Found => number(record.found),
            Self::Page => number(record.page),
            Self::FinalUrl => text(record.final_url),
            Self::Status => number(record.status.map(u64::from)),
            Self::Attempts => number(record.attempts.map(u64::from)),
            Self::Worker => number(record.worker.map(u64::from)),
            Self::ElapsedMs => record.elapsed_ms().map_or(Value::Null, Value::Float),
            Self::Bytes => number(record.bytes),
            Self::Charset => text(record.charset),
            Self::ContentType => text(record.content_type),
            Self::File => text(record.file),
            Self::Sha256 => text(record.sha256),
            Self::Headers => record.headers.map_or(Value::Null, Value::of_field),
            Self::Kept(name) => {
                let found = record.keep.values().find(|(key, _)| key == name);
                found.map_or(Value::Null, |(_, value)| match value {
                    kept::Value::Text(text) => Value::Text(text),
                    kept::Value::Json(json) => Value::of_json(json.as_bytes()),
                })
            }
            Self::Field(number) => {
                let values = record.fields.map_or(&[][..], |fields| fields.values);
                values.get(*number as usize).map_or(Value::Null, Value::of_field)
            }
            Self::Value => record.value.map_or(Value::Null, Value::of_json),
            Self::ErrorKind => text(record.error.map(|error| error.kind.name())),
            Self::ErrorMessage => text(record.error.map(|error| error.message)),
        }
    }
}

impl<'a> Value<'a> {
    pub(super) fn of_field(value: &'a FieldValue) -> Self {
        match value {
            FieldValue::Null => Self::Null,
            FieldValue::Text(text) => Self::Text(text),
            FieldValue::Int(number) => Self::Int(*number),
            // JSON has no other numbers.
            FieldValue::Float(number) if !number.is_finite() => Self::Null,
            FieldValue::Float(number) => Self::Float(*number),
            FieldValue::Json(json) => Self::of_json(json.as_str().as_bytes()),
            FieldValue::List(_) | FieldValue::Object(_) => Self::Tree(value),
        }
    }

    fn of_json(json: &'a [u8]) -> Self {
        if json == b"null" { Self::Null } else { Self::Json(json) }
    }

    /// Appends the value as JSON.
    pub(super) fn write_json(&self, out: &mut impl Write) {
        // Writing to memory does not fail.
        let _ = match self {
            Self::Null => out.write_all(b"null").map_err(serde_json::Error::io),
            Self::Json(json) => out.write_all(json).map_err(serde_json::Error::io),
            Self::Text(text) => serde_json::to_writer(out, text),
            Self::Int(number) => serde_json::to_writer(out, number),
            Self::Uint(number) => serde_json::to_writer(out, number),
            Self::Float(number) => serde_json::to_writer(out, number),
            Self::Tree(value) => serde_json::to_writer(out, value),
        };
    }

    /// The text that the value is, if it is one: in JSON of others it may be written with escapes.
    pub(super) fn as_text(&self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Json(json) if json.starts_with(b"\"") => {
                let parsed = str::from_utf8(json).ok().and_then(|json| json::parse(json).ok());
                if let Some(Json::String(text)) = parsed { Some(text) } else { None }
            }
            Self::Null | Self::Int(_) | Self::Uint(_) | Self::Float(_) | Self::Json(_) | Self::Tree(_) => {
                None
            }
        }
    }
}
