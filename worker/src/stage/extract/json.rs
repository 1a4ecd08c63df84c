//! Extraction from JSON bodies: fields and items by JSONPath.
//!
//! A body is parsed only if the job looks for something in it, so a job that has
//! only selectors for HTML does not care whether JSON is well formed.

use encoding_rs::Encoding;
use serde_json::Value;
use shared::record::FieldValue;
use shared::select::jsonpath::JsonPath;
use shared::select::{Each, Field, Preset, Source};

use super::each::MEMBER_BYTES;
use super::found::{Deadline, Found};
use super::input::{Decoder, Input, is_utf8};
use super::jsonpath::Search;
use super::page::nothing;
use super::steps::{Around, Steps};
use super::{ExtractError, Rejected, presets};

/// Input decoded between two looks at the clock.
const PIECE_BYTES: usize = 64 * 1024;

/// A job, ready for one JSON body after another.
pub(super) struct JsonJob {
    each: Option<Option<JsonPath>>,
    members: Vec<Member>,
    presets: Vec<Preset>,
}

struct Member {
    name: String,
    /// `None` for what is looked for in HTML.
    path: Option<JsonPath>,
    every: bool,
    steps: Steps,
}

impl JsonJob {
    pub(super) fn new(fields: &[Field], each: Option<&Each>, presets: &[Preset]) -> Result<Self, Rejected> {
        let path =
            |text: &str| JsonPath::parse(text).map_err(|error| Rejected::JsonPath(text.to_owned(), error));
        let each = match each {
            None => None,
            Some(Each::JsonPath(text)) => Some(Some(path(text)?)),
            Some(Each::Css(_) | Each::XPath(_)) => Some(None),
        };
        let member = |field: &Field| {
            let path = match &field.source {
                Source::JsonPath(text) => Some(path(text)?),
                Source::Css { .. } | Source::XPath(_) => None,
            };
            Ok(Member { name: field.name.clone(), path, every: field.every, steps: Steps::new(field)? })
        };
        let members = fields.iter().map(member).collect::<Result<_, Rejected>>()?;
        Ok(Self { each, members, presets: presets.to_vec() })
    }

    /// Whether anything is looked for in JSON.
    pub(super) fn reads(&self) -> bool {
        self.members.iter().any(|member| member.path.is_some()) || self.presets.contains(&Preset::JsonLd)
    }

    /// The values of one body, in order.
    pub(super) fn run(
        &self,
        input: &mut Input<'_>,
        encoding: &'static Encoding,
        around: Around<'_>,
    ) -> Result<Vec<FieldValue>, ExtractError> {
        let body = if self.reads() { parse(input, encoding, around.deadline)? } else { Value::Null };
        let mut found = Found::new(0);
        let mut values = Vec::with_capacity(self.members.len() + self.presets.len());
        match &self.each {
            None => {
                for member in &self.members {
                    values.push(member.value(&body, &mut found, around)?);
                }
            }
            Some(None) => values.push(FieldValue::List(Vec::new())),
            Some(Some(path)) => {
                let items = Search::new(&body, around.deadline).run(path)?;
                let items = items.into_iter().map(|item| self.item(item, &mut found, around));
                values.push(FieldValue::List(items.collect::<Result<_, _>>()?));
            }
        }
        for preset in &self.presets {
            values.push(match preset {
                Preset::JsonLd => {
                    let mut objects = Vec::new();
                    presets::add_json_ld(body.clone(), &mut objects);
                    FieldValue::List(objects)
                }
                Preset::Microdata => FieldValue::List(Vec::new()),
                Preset::OpenGraph | Preset::Meta => FieldValue::Object(Vec::new()),
            });
        }
        Ok(values)
    }

    fn item(&self, item: &Value, found: &mut Found, around: Around<'_>) -> Result<FieldValue, ExtractError> {
        found.grow(self.members.iter().map(|member| MEMBER_BYTES + member.name.len()).sum())?;
        let members =
            self.members.iter().map(|member| Ok((member.name.clone(), member.value(item, found, around)?)));
        members.collect::<Result<_, ExtractError>>().map(FieldValue::Object)
    }
}

impl Member {
    fn value(&self, root: &Value, found: &mut Found, around: Around<'_>) -> Result<FieldValue, ExtractError> {
        let value = match &self.path {
            None => nothing(self.every),
            Some(path) => {
                let nodes = Search::new(root, around.deadline).run(path)?;
                let mut values = nodes.into_iter().map(|node| {
                    found.grow(size(node))?;
                    Ok(taken(node))
                });
                if self.every {
                    FieldValue::List(values.collect::<Result<_, ExtractError>>()?)
                } else {
                    values.next().transpose()?.unwrap_or(FieldValue::Null)
                }
            }
        };
        self.steps.run(value, around)
    }
}

/// A value as a field has it.
fn taken(value: &Value) -> FieldValue {
    match value {
        Value::String(text) => FieldValue::Text(text.clone()),
        Value::Null => FieldValue::Null,
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            FieldValue::Json(Box::new(value.clone()))
        }
    }
}

/// About what a value takes, in memory and in the record.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(|value| MEMBER_BYTES + size(value)).sum(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| MEMBER_BYTES + name.len() + size(value)).sum()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

fn parse(
    input: &mut Input<'_>,
    encoding: &'static Encoding,
    deadline: &Deadline,
) -> Result<Value, ExtractError> {
    let mut text = Vec::new();
    if is_utf8(encoding) {
        loop {
            deadline.check()?;
            let piece = input.fill()?;
            if piece.is_empty() {
                break;
            }
            let bytes = piece.len();
            text.extend_from_slice(piece);
            input.consume(bytes);
        }
    } else {
        let mut decoder = Decoder::new(encoding, PIECE_BYTES);
        while let Some(piece) = decoder.next(input)? {
            deadline.check()?;
            text.extend_from_slice(piece.as_bytes());
        }
    }
    serde_json::from_slice(&text).map_err(ExtractError::Json)
}
