//! Texts and values of fields as bytes. `bincode` cannot read a [`FieldValue`] back, because it writes one as JSON.
//! Each value is a tag and its content, with lengths of four bytes, little-endian.

use crate::json;
use crate::record::FieldValue;

const NULL: u8 = 0;
const TEXT: u8 = 1;
const INT: u8 = 2;
const FLOAT: u8 = 3;
const LIST: u8 = 4;
const OBJECT: u8 = 5;
const JSON: u8 = 6;

/// How deep a value may be: far deeper than any that is extracted, and shallow enough for every stack.
const DEPTH_MAX: u8 = 64;

/// How many values a value is in.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Depth(u8);

impl Depth {
    fn deeper(self) -> Option<Self> {
        (self.0 < DEPTH_MAX).then(|| Self(self.0 + 1))
    }
}

fn put_length(length: usize, out: &mut Vec<u8>) {
    // What is longer is larger than a note can be, and is not kept.
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}

fn take_length(rest: &mut &[u8]) -> Option<usize> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    usize::try_from(u32::from_le_bytes(*length)).ok()
}

/// Appends a text.
pub(super) fn put_text(text: &str, out: &mut Vec<u8>) {
    put_length(text.len(), out);
    out.extend_from_slice(text.as_bytes());
}

/// Splits off a text.
pub(super) fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let length = take_length(rest)?;
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    str::from_utf8(text).ok()
}

/// Splits off a number of eight bytes.
pub(super) fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let (number, after) = rest.split_first_chunk::<8>()?;
    *rest = after;
    Some(u64::from_le_bytes(*number))
}

/// Appends a value.
pub(super) fn put_value(value: &FieldValue, out: &mut Vec<u8>) {
    match value {
        FieldValue::Null => out.push(NULL),
        FieldValue::Text(text) => {
            out.push(TEXT);
            put_text(text, out);
        }
        FieldValue::Int(number) => {
            out.push(INT);
            out.extend_from_slice(&number.to_le_bytes());
        }
        FieldValue::Float(number) => {
            out.push(FLOAT);
            out.extend_from_slice(&number.to_le_bytes());
        }
        FieldValue::List(values) => {
            out.push(LIST);
            put_length(values.len(), out);
            values.iter().for_each(|value| put_value(value, out));
        }
        FieldValue::Object(members) => {
            out.push(OBJECT);
            put_length(members.len(), out);
            for (name, value) in members {
                put_text(name, out);
                put_value(value, out);
            }
        }
        FieldValue::Json(value) => {
            out.push(JSON);
            put_text(value.as_str(), out);
        }
    }
}

/// Splits off a value.
pub(super) fn take_value(rest: &mut &[u8], depth: Depth) -> Option<FieldValue> {
    Some(match *rest.split_off_first()? {
        NULL => FieldValue::Null,
        TEXT => FieldValue::Text(take_text(rest)?.to_owned()),
        INT => FieldValue::Int(take_number(rest)?.cast_signed()),
        FLOAT => {
            FieldValue::Float(Some(f64::from_bits(take_number(rest)?)).filter(|number| number.is_finite())?)
        }
        LIST => {
            let (count, depth) = (take_length(rest)?, depth.deeper()?);
            let values = (0..count).map(|_| take_value(rest, depth));
            FieldValue::List(values.collect::<Option<_>>()?)
        }
        OBJECT => {
            let (count, depth) = (take_length(rest)?, depth.deeper()?);
            let members = (0..count).map(|_| Some((take_text(rest)?.to_owned(), take_value(rest, depth)?)));
            FieldValue::Object(members.collect::<Option<_>>()?)
        }
        JSON => FieldValue::Json(json::parse(take_text(rest)?).ok()?.to_text()),
        _ => return None,
    })
}
