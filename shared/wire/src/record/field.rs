//! The value of one field.

use serde::{Serialize, Serializer};

use crate::json::{self, Json, JsonText};

/// What a field's selector found on one page.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldValue {
    /// Nothing.
    Null,
    /// A text, as nearly every value is.
    Text(String),
    /// A whole number.
    Int(i64),
    /// Any other finite number.
    Float(f64),
    /// Several values, in order (`[]` if none).
    List(Vec<FieldValue>),
    /// Names and values, in order, each name once.
    Object(Vec<(String, FieldValue)>),
    /// A part of a JSON body, and no text.
    Json(JsonText),
}

impl From<&Json<'_>> for FieldValue {
    fn from(value: &Json<'_>) -> Self {
        match value {
            Json::Null => Self::Null,
            Json::String(text) => Self::Text(text.clone().into_owned()),
            Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => Self::Json(value.to_text()),
        }
    }
}

impl Serialize for FieldValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(values) => serializer.collect_seq(values),
            Self::Null => serializer.serialize_none(),
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::Object(members) => {
                serializer.collect_map(members.iter().map(|(name, value)| (name, value)))
            }
            Self::Json(value) => value.serialize(serializer),
        }
    }
}

impl FieldValue {
    /// Appends it as JSON.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => json::write_text(text, out),
            Self::List(values) => json::write_list(values, out, Self::write),
            Self::Null | Self::Int(_) | Self::Float(_) | Self::Object(_) | Self::Json(_) => {
                json::write(self, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_json_type() {
        let json = |value: FieldValue| {
            let mut out = Vec::new();
            value.write(&mut out);
            let text = serde_json::to_string(&value).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), text);
            text
        };
        let object = FieldValue::Object(vec![
            ("b".to_owned(), FieldValue::Int(-1)),
            ("a".to_owned(), FieldValue::from(&crate::json::parse(r#"{"z": 1.50, "y": [true]}"#).unwrap())),
        ]);
        assert_eq!(json(object), r#"{"b":-1,"a":{"z":1.50,"y":[true]}}"#);
        assert_eq!(json(FieldValue::List(vec![FieldValue::Float(1.0), FieldValue::Null])), "[1.0,null]");
        assert_eq!(json(FieldValue::List(vec![FieldValue::Text("\"".to_owned())])), r#"["\""]"#);
        assert_eq!(json(FieldValue::List(Vec::new())), "[]");
    }
}
