//! One output record: one JSON object per line, exactly one for each input.

mod field;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::json;
use crate::kept::Kept;

pub use self::field::FieldValue;

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
    /// The answer was a page that turns requests away: a rule of the job matches it, or the host answers other URLs
    /// with the same page.
    Blocked,
    /// Its request may have been sent before a crash, and must not be sent twice.
    Uncertain,
    /// Every proxy that was tried failed.
    Proxy,
    /// The page wants a login, also right after one that succeeded.
    Login,
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
            Self::Blocked => "blocked",
            Self::Uncertain => "uncertain",
            Self::Proxy => "proxy",
            Self::Login => "login",
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

/// The fields of one page, in the order of the job's `--select` flags.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    /// Names, in order; as many as `values`.
    pub names: &'a [String],
    /// Values, in the same order.
    pub values: &'a [FieldValue],
}

impl Fields<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let mut separator = b'{';
        for (name, value) in self.names.iter().zip(self.values) {
            out.push(separator);
            separator = b',';
            json::write_text(name, out);
            out.push(b':');
            value.write(out);
        }
        if separator == b'{' {
            out.push(b'{');
        }
        out.push(b'}');
    }
}

/// Why a record has no fields.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct RecordError<'a> {
    /// One of the kinds of the contract.
    pub kind: ErrorKind,
    /// What happened, and on what, for a person.
    pub message: &'a str,
    /// What is known about the death of a worker on this input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<&'a Evidence>,
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

/// One output record. Absent parts are left out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Record<'a> {
    /// The input's position, from 0.
    pub id: u64,
    /// The URL as given (fetch).
    pub url: Option<&'a str>,
    /// The path as given (parse).
    pub path: Option<&'a str>,
    /// Values carried along from the input's row.
    pub keep: Kept<'a>,
    /// Links on the shortest way from a page that the user named, in a crawl.
    pub depth: Option<u32>,
    /// The page that it was found on in a crawl, or the page before this one in a list of pages.
    pub parent: Option<u64>,
    /// Pages that a crawl may follow the links of this page to, each counted once.
    pub found: Option<u64>,
    /// Which page of its list it is, from 1.
    pub page: Option<u64>,
    /// The URL after redirects.
    pub final_url: Option<&'a str>,
    /// The status of the final response.
    pub status: Option<u16>,
    /// Attempts made, including this one.
    pub attempts: Option<u32>,
    /// The slot of the worker that wrote this record.
    pub worker: Option<u32>,
    /// Time from the start of this attempt to the end of extraction, in microseconds.
    pub elapsed_us: Option<u64>,
    /// Size of the body after decompression (fetch) or of the file (parse).
    pub bytes: Option<u64>,
    /// The encoding that the text was decoded from: its WHATWG name in lower case.
    pub charset: Option<&'a str>,
    /// The type of the saved file's content.
    pub content_type: Option<&'a str>,
    /// The file that the body was saved as, relative to the directory of the files.
    pub file: Option<&'a str>,
    /// The SHA-256 of its content, in hexadecimal digits.
    pub sha256: Option<&'a str>,
    /// Headers of the response.
    pub headers: Option<&'a FieldValue>,
    /// What the selectors found.
    pub fields: Option<Fields<'a>>,
    /// What the user's program answered: one JSON value, in UTF-8.
    pub value: Option<&'a [u8]>,
    /// Why there are no fields, or no value.
    pub error: Option<RecordError<'a>>,
}

/// How the record of an input ends that went through the user's program.
#[derive(Debug, Clone, Copy)]
pub enum Ending<'a> {
    /// With the program's answer: one JSON value, in UTF-8.
    Value(&'a [u8]),
    /// With an error, in place of the fields as well.
    Error(RecordError<'a>),
}

impl Record<'_> {
    /// Appends this record as one JSON line, newline included.
    pub fn write_line(&self, out: &mut Vec<u8>) {
        self.begin_line(out);
        if let Some(value) = self.value {
            write_value(value, out);
        }
        if let Some(error) = &self.error {
            member(",\"error\":", error, out);
        }
        out.extend_from_slice(b"}\n");
    }

    /// Appends this record as a JSON line up to its fields, these included; a value, an error and the end are missing.
    /// Returns where in `out` the fields begin, with the comma before them.
    pub fn begin_line(&self, out: &mut Vec<u8>) -> usize {
        member("{\"id\":", &self.id, out);
        optional(",\"url\":", self.url, out);
        optional(",\"path\":", self.path, out);
        if !self.keep.is_empty() {
            out.extend_from_slice(b",\"keep\":");
            self.keep.write_object(out);
        }
        optional(",\"depth\":", self.depth, out);
        optional(",\"parent\":", self.parent, out);
        optional(",\"found\":", self.found, out);
        optional(",\"page\":", self.page, out);
        optional(",\"final_url\":", self.final_url, out);
        optional(",\"status\":", self.status, out);
        optional(",\"attempts\":", self.attempts, out);
        optional(",\"worker\":", self.worker, out);
        optional(",\"elapsed_ms\":", self.elapsed_ms(), out);
        optional(",\"bytes\":", self.bytes, out);
        optional(",\"charset\":", self.charset, out);
        if self.file.is_some() {
            optional(",\"content_type\":", self.content_type, out);
            optional(",\"file\":", self.file, out);
            optional(",\"sha256\":", self.sha256, out);
        }
        optional(",\"headers\":", self.headers, out);
        let fields_at = out.len();
        if let Some(fields) = &self.fields {
            out.extend_from_slice(b",\"fields\":");
            fields.write(out);
        }
        fields_at
    }

    /// The time in milliseconds. A tenth of one is finer than any network; more digits only cost bytes.
    #[must_use]
    pub fn elapsed_ms(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "shown to a tenth of a millisecond")]
        self.elapsed_us.map(|us| (us as f64 / 1e3 * 10.0).round() / 10.0)
    }
}

impl Ending<'_> {
    /// Ends a line that [`Record::begin_line`] began in `out`, with its fields at `fields_at`.
    pub fn end_line(&self, fields_at: usize, out: &mut Vec<u8>) {
        match self {
            Self::Value(value) => write_value(value, out),
            Self::Error(error) => {
                out.truncate(fields_at);
                member(",\"error\":", error, out);
            }
        }
        out.extend_from_slice(b"}\n");
    }
}

fn write_value(value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"value\":");
    out.extend_from_slice(value);
}

/// Appends `value` after its key, which is given as JSON with what stands around it.
fn member<T: Serialize + ?Sized>(key: &str, value: &T, out: &mut Vec<u8>) {
    out.extend_from_slice(key.as_bytes());
    json::write(value, out);
}

fn optional<T: Serialize>(key: &str, value: Option<T>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        member(key, &value, out);
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference to the field")]
fn is_zero(bytes: &u64) -> bool {
    *bytes == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kept::{Value, push};

    #[test]
    fn lines_follow_the_contracts_order_and_omit_absent_parts() {
        let names = ["title".to_owned(), "links".to_owned()];
        let values = [FieldValue::Null, FieldValue::List(vec![FieldValue::Text("a".into())])];
        let mut kept = Vec::new();
        assert!(push("n", Value::Json("1e400"), &mut kept));
        let headers = FieldValue::Object(vec![("etag".to_owned(), FieldValue::Text("x".into()))]);
        let record = Record {
            id: 17,
            url: Some("http://x/"),
            keep: Kept(&kept),
            final_url: Some("http://x/"),
            status: Some(200),
            attempts: Some(1),
            worker: Some(2),
            elapsed_us: Some(41_234),
            bytes: Some(5),
            charset: Some("utf-8"),
            headers: Some(&headers),
            fields: Some(Fields { names: &names, values: &values }),
            ..Record::default()
        };
        let mut line = Vec::new();
        record.write_line(&mut line);
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "{\"id\":17,\"url\":\"http://x/\",\"keep\":{\"n\":1e400},\"final_url\":\"http://x/\",\"status\":200,\"attempts\":1,\"worker\":2,\
             \"elapsed_ms\":41.2,\"bytes\":5,\"charset\":\"utf-8\",\"headers\":{\"etag\":\"x\"},\"fields\":{\"title\":null,\"links\":[\"a\"]}}\n"
        );
    }

    #[test]
    fn a_line_may_be_ended_later() {
        let names = ["a".to_owned()];
        let values = [FieldValue::Text("}".into())];
        let fields = Some(Fields { names: &names, values: &values });
        let record = Record { id: 7, url: Some("http://x/?,\"fields\":1"), fields, ..Record::default() };
        let error = RecordError { kind: ErrorKind::Child, message: "it died", evidence: None };
        for (ending, want) in [
            (Ending::Value(b"1"), ",\"fields\":{\"a\":\"}\"},\"value\":1}\n"),
            (Ending::Error(error), ",\"error\":{\"kind\":\"child\",\"message\":\"it died\"}}\n"),
        ] {
            let mut line = b"before ".to_vec();
            let fields_at = record.begin_line(&mut line);
            ending.end_line(fields_at, &mut line);
            let want = format!("before {{\"id\":7,\"url\":\"http://x/?,\\\"fields\\\":1\"{want}");
            assert_eq!(String::from_utf8(line).unwrap(), want);
        }
        let (mut whole, fields) = (Vec::new(), Some(Fields { names: &[], values: &[] }));
        let record = Record { fields, value: Some(b"[]"), ..record };
        record.write_line(&mut whole);
        assert!(whole.ends_with(b",\"fields\":{},\"value\":[]}\n"));
    }

    #[test]
    fn kinds_serialize_as_their_names() {
        for kind in [ErrorKind::InvalidUrl, ErrorKind::TooManyRedirects, ErrorKind::WorkerOom] {
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
        }
    }
}
