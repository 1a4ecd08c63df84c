//! One output record: one JSON object per line, exactly one for each input.

use std::fmt;

use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::json::{Json, JsonText};

/// Why an input has no fields. The names are part of the public contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The input is not an absolute http(s) URL.
    InvalidUrl,
    /// The host name could not be resolved.
    Dns,
    /// No connection: refused, unreachable, or reset before a request was sent.
    Connect,
    /// The TLS handshake or the certificate check failed.
    Tls,
    /// A timeout of the job expired.
    Timeout,
    /// The peer violated HTTP, or closed the connection before the response was complete.
    Protocol,
    /// A status of 400 or above.
    HttpStatus,
    /// The body exceeded the size limit.
    TooLarge,
    /// The redirect limit was reached.
    TooManyRedirects,
    /// robots.txt disallows the URL.
    Robots,
    /// The address policy forbids the host's address.
    AddressDenied,
    /// The content encoding or charset could not be decoded.
    Decode,
    /// The page or file could not be read, or not parsed within its limits.
    Parse,
    /// The worker crashed on it, on every attempt.
    WorkerCrash,
    /// The worker hung on it, on every attempt.
    WorkerHang,
    /// The worker ran out of memory on it, on every attempt.
    WorkerOom,
    /// The user's program failed on it.
    Child,
}

impl ErrorKind {
    /// The name used in records and the summary.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidUrl => "invalid_url",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::HttpStatus => "http_status",
            Self::TooLarge => "too_large",
            Self::TooManyRedirects => "too_many_redirects",
            Self::Robots => "robots",
            Self::AddressDenied => "address_denied",
            Self::Decode => "decode",
            Self::Parse => "parse",
            Self::WorkerCrash => "worker_crash",
            Self::WorkerHang => "worker_hang",
            Self::WorkerOom => "worker_oom",
            Self::Child => "child",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

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

/// The fields of one page, in the order of the job's `--select` flags.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    /// Names, in order; as many as `values`.
    pub names: &'a [String],
    /// Values, in the same order.
    pub values: &'a [FieldValue],
}

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.names.len()))?;
        for (name, value) in self.names.iter().zip(self.values) {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Why a record has no fields.
#[derive(Debug, Clone, Serialize)]
pub struct RecordError<'a> {
    /// One of the kinds of the contract.
    pub kind: ErrorKind,
    /// What happened, and on what, for a person.
    pub message: &'a str,
    /// What is known about the death of a worker on this input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

/// What the black box and the exit status say about a worker that died on an input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The signal that ended the worker, by name (`SIGSEGV`), if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// The worker's phase according to its black box.
    pub phase: String,
    /// The worker's resident set when last written, in bytes; absent if it was not the worker that
    /// died.
    #[serde(skip_serializing_if = "is_zero")]
    pub rss_bytes: u64,
    /// The end of what the worker wrote to standard error.
    pub stderr: String,
}

/// One output record. Absent parts are left out of the line.
#[derive(Debug, Clone, Serialize)]
pub struct Record<'a> {
    /// The input's position, from 0.
    pub id: u64,
    /// The URL as given (fetch).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<&'a str>,
    /// The path as given (parse).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<&'a str>,
    /// Data carried along from the input's row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<&'a RawValue>,
    /// The URL after redirects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub final_url: Option<&'a str>,
    /// The status of the final response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Attempts made, including this one.
    pub attempts: u32,
    /// The slot of the worker that wrote this record.
    pub worker: u32,
    /// Time from the start of this attempt to the end of extraction, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "tenths")]
    pub elapsed_ms: Option<f64>,
    /// Size of the body after decompression (fetch) or of the file (parse).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The encoding that the text was decoded from: its WHATWG name in lower case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub charset: Option<&'a str>,
    /// What the selectors found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fields: Option<Fields<'a>>,
    /// Why there are no fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<RecordError<'a>>,
}

/// Decodes [`Target::kept`](crate::protocol::Target::kept), for [`Record::keep`].
#[must_use]
pub fn kept(encoded: &[u8]) -> Option<&RawValue> {
    // The source encoded it, so this should not fail; and a record without it is better than no
    // record.
    if encoded.is_empty() { None } else { serde_json::from_slice(encoded).ok() }
}

impl Record<'_> {
    /// Appends this record as one JSON line, newline included.
    ///
    /// # Errors
    /// Never in practice: writing to memory cannot fail, and every type here is plain data.
    pub fn write_line(&self, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        serde_json::to_writer(&mut *out, self)?;
        out.push(b'\n');
        Ok(())
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference to the field")]
fn is_zero(bytes: &u64) -> bool {
    *bytes == 0
}

// A tenth of a millisecond is finer than any network; more digits only cost bytes.
#[expect(clippy::ref_option, reason = "serde's serialize_with passes a reference to the field")]
fn tenths<S: Serializer>(ms: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    ms.map(|ms| (ms * 10.0).round() / 10.0).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_follow_the_contracts_order_and_omit_absent_parts() {
        let names = ["title".to_owned(), "links".to_owned()];
        let values = [FieldValue::Null, FieldValue::List(vec![FieldValue::Text("a".into())])];
        let record = Record {
            id: 17,
            url: Some("http://x/"),
            path: None,
            keep: kept(br#"{"n":1e400}"#),
            final_url: Some("http://x/"),
            status: Some(200),
            attempts: 1,
            worker: 2,
            elapsed_ms: Some(41.234),
            bytes: Some(5),
            charset: Some("utf-8"),
            fields: Some(Fields { names: &names, values: &values }),
            error: None,
        };
        let mut line = Vec::new();
        record.write_line(&mut line).unwrap();
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "{\"id\":17,\"url\":\"http://x/\",\"keep\":{\"n\":1e400},\"final_url\":\"http://x/\",\"status\":200,\"attempts\":1,\"worker\":2,\
             \"elapsed_ms\":41.2,\"bytes\":5,\"charset\":\"utf-8\",\"fields\":{\"title\":null,\"links\":[\"a\"]}}\n"
        );
    }

    #[test]
    fn values_keep_their_json_type() {
        let json = |value: FieldValue| serde_json::to_string(&value).unwrap();
        let object = FieldValue::Object(vec![
            ("b".to_owned(), FieldValue::Int(-1)),
            ("a".to_owned(), FieldValue::from(&crate::json::parse(r#"{"z": 1.50, "y": [true]}"#).unwrap())),
        ]);
        assert_eq!(json(object), r#"{"b":-1,"a":{"z":1.50,"y":[true]}}"#);
        assert_eq!(json(FieldValue::List(vec![FieldValue::Float(1.0), FieldValue::Null])), "[1.0,null]");
    }

    #[test]
    fn kinds_serialize_as_their_names() {
        for kind in [ErrorKind::InvalidUrl, ErrorKind::TooManyRedirects, ErrorKind::WorkerOom] {
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
        }
    }
}
