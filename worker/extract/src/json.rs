//! Extraction from JSON bodies: fields and items by JSONPath.
//!
//! A body is parsed only if the job has a field in JSONPath. So a job with
//! selectors for HTML only accepts any body.

use std::string::FromUtf8Error;

use encoding_rs::Encoding;
use select::jsonpath::JsonPath;
use select::{Each, Field, Preset, Source};
use wire::json::{self, Json};
use wire::record::FieldValue;

use crate::each::MEMBER_BYTES;
use crate::found::nothing;
use crate::found::{Deadline, Found};
use crate::input::{Decoder, Input, is_utf8};
use crate::jsonpath::Search;
use crate::steps::{Around, Steps};
use crate::{ExtractError, Rejected, presets};

/// Input decoded between two checks of the deadline.
const PIECE_BYTES: usize = 64 * 1024;

/// A job, compiled for JSON bodies.
pub(crate) struct JsonJob {
    each: Option<Option<JsonPath>>,
    members: Vec<Member>,
    presets: Vec<Preset>,
}

struct Member {
    name: String,
    /// `None` for a field in CSS or XPath.
    path: Option<JsonPath>,
    every: bool,
    steps: Steps,
}

impl JsonJob {
    pub(crate) fn new(fields: &[Field], each: Option<&Each>, presets: &[Preset]) -> Result<Self, Rejected> {
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

    /// Whether the job has a JSONPath.
    pub(crate) fn has_paths(&self) -> bool {
        self.members.iter().any(|member| member.path.is_some()) || matches!(self.each, Some(Some(_)))
    }

    /// Whether the job has anything to find in JSON.
    pub(crate) fn reads(&self) -> bool {
        self.has_paths() || self.presets.contains(&Preset::JsonLd)
    }

    /// The values of one body, in order.
    pub(crate) fn run(
        &self,
        input: &mut Input<'_>,
        encoding: &'static Encoding,
        around: Around<'_>,
    ) -> Result<Vec<FieldValue>, ExtractError> {
        let text = if self.reads() { text(input, encoding, around.deadline)? } else { "null".to_owned() };
        let body = json::parse(&text)?;
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
                    presets::add_json_ld(&body, &mut objects);
                    FieldValue::List(objects)
                }
                Preset::Microdata => FieldValue::List(Vec::new()),
                Preset::OpenGraph | Preset::Meta => FieldValue::Object(Vec::new()),
            });
        }
        Ok(values)
    }

    fn item(
        &self,
        item: &Json<'_>,
        found: &mut Found,
        around: Around<'_>,
    ) -> Result<FieldValue, ExtractError> {
        found.grow(self.members.iter().map(|member| MEMBER_BYTES + member.name.len()).sum())?;
        let members =
            self.members.iter().map(|member| Ok((member.name.clone(), member.value(item, found, around)?)));
        members.collect::<Result<_, ExtractError>>().map(FieldValue::Object)
    }
}

impl Member {
    fn value(
        &self,
        root: &Json<'_>,
        found: &mut Found,
        around: Around<'_>,
    ) -> Result<FieldValue, ExtractError> {
        let value = match &self.path {
            None => nothing(self.every),
            Some(path) => {
                let nodes = Search::new(root, around.deadline).run(path)?;
                let mut values = nodes.into_iter().map(|node| {
                    let value = FieldValue::from(node);
                    found.grow(MEMBER_BYTES + size(&value))?;
                    Ok(value)
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

/// The size of a value in a record, in bytes.
fn size(value: &FieldValue) -> usize {
    match value {
        FieldValue::Text(text) => text.len(),
        FieldValue::Json(json) => json.as_str().len(),
        FieldValue::Null
        | FieldValue::Int(_)
        | FieldValue::Float(_)
        | FieldValue::List(_)
        | FieldValue::Object(_) => 0,
    }
}

/// The text of a body. Bytes that are not valid in its encoding become U+FFFD, as in HTML.
fn text(
    input: &mut Input<'_>,
    encoding: &'static Encoding,
    deadline: &Deadline,
) -> Result<String, ExtractError> {
    if is_utf8(encoding) {
        let mut bytes = Vec::new();
        loop {
            deadline.check()?;
            let piece = input.fill()?;
            if piece.is_empty() {
                break;
            }
            let taken = piece.len();
            bytes.extend_from_slice(piece);
            input.consume(taken);
        }
        let lossy = |error: FromUtf8Error| String::from_utf8_lossy(error.as_bytes()).into_owned();
        Ok(String::from_utf8(bytes).unwrap_or_else(lossy))
    } else {
        let mut text = String::new();
        let mut decoder = Decoder::new(encoding, PIECE_BYTES);
        while let Some(piece) = decoder.next(input)? {
            deadline.check()?;
            text.push_str(piece);
        }
        Ok(text)
    }
}
