//! Encodes records: the one place that knows every form in which a record can leave a process. The workers use it for
//! what they made, the supervisor for inputs that no worker can answer for, so that both kinds of record look alike.
//!
//! Every form is made from the [`Record`] itself. Nothing here reads back what was written.

use std::borrow::Cow;
use std::cell::{RefCell, RefMut};
use std::time::SystemTime;

use crate::clock;
use crate::framed;
use crate::job::RecordEncoding;
use crate::record::{Ending, Evidence, Record, RecordError};
use crate::redact;
use crate::sitemap::{Found, Listing};
use crate::table::{Delimited, Typed};
use crate::warc::{Id, Metadata, Writer, uri};

/// Encodes the records of one job.
#[derive(Debug)]
pub struct Encoder {
    form: Form,
}

#[derive(Debug)]
enum Form {
    JsonLine,
    Row(Delimited),
    Typed(Typed),
    // Its buffers are reused; only one record is encoded at a time.
    Warc(Box<RefCell<Writer>>),
    Listing,
}

/// The exchange that a record of a web archive is about.
#[derive(Debug, Clone, Copy)]
pub struct Exchange {
    /// When it began.
    pub date: SystemTime,
    /// The response that ended it, if there was one.
    pub response: Option<Id>,
}

/// A record on its way through the user's program, whose answer is its last part.
#[derive(Debug, PartialEq, Eq)]
pub struct Begun {
    /// Where the fields begin: in `row`, or else in the line that the program was given.
    fields_at: usize,
    /// What is encoded already, if that is not the line itself.
    row: Option<Vec<u8>>,
}

impl Encoder {
    /// For the records of a job.
    #[must_use]
    pub fn new(encoding: &RecordEncoding) -> Self {
        let form = match encoding {
            RecordEncoding::JsonLine => Form::JsonLine,
            RecordEncoding::Row(rows) => Form::Row(rows.clone()),
            RecordEncoding::Typed(rows) => Form::Typed(rows.clone()),
            RecordEncoding::Warc(spec) => Form::Warc(Box::new(RefCell::new(Writer::new(*spec)))),
            RecordEncoding::Listing => Form::Listing,
        };
        Self { form }
    }

    /// The writer of the web archive, if the records go into one: requests and responses stand before their record.
    pub fn archive(&self) -> Option<RefMut<'_, Writer>> {
        match &self.form {
            Form::Warc(writer) => Some(writer.borrow_mut()),
            Form::JsonLine | Form::Row(_) | Form::Typed(_) | Form::Listing => None,
        }
    }

    /// Whether records go into a web archive.
    #[must_use]
    pub const fn archives(&self) -> bool {
        matches!(self.form, Form::Warc(_))
    }

    /// Appends a record. `exchange` is what it is about in a web archive; without one it is dated now.
    pub fn write(&self, record: &Record<'_>, exchange: Option<Exchange>, out: &mut Vec<u8>) {
        let Some(error) = record.error else { return self.write_shown(record, exchange, out) };
        let shown = Shown::of(&error);
        self.write_shown(&Record { error: Some(shown.error(&error)), ..*record }, exchange, out);
    }

    /// Appends a record whose error has no secrets.
    fn write_shown(&self, record: &Record<'_>, exchange: Option<Exchange>, out: &mut Vec<u8>) {
        match &self.form {
            Form::JsonLine => record.write_line(out),
            Form::Row(rows) => rows.row(record, out),
            Form::Typed(rows) => rows.row(record, out),
            Form::Warc(writer) => archive(&mut writer.borrow_mut(), record, exchange, out),
            Form::Listing => {
                let found = record.error.map_or_else(
                    || Found::Sitemaps(Vec::new()),
                    |error| Found::Failed { kind: error.kind, message: error.message.to_owned() },
                );
                framed::push(&Listing { id: record.id, found }, out);
            }
        }
    }

    /// Appends the record of an input line, which is nothing but its id and the program's answer.
    pub fn write_answer(&self, id: u64, value: &[u8], out: &mut Vec<u8>) {
        if let Form::JsonLine = self.form {
            // A million times a second, a look at each of the parts that are not there would be seen.
            out.extend_from_slice(b"{\"id\":");
            crate::json::write(&id, out);
            out.extend_from_slice(b",\"value\":");
            out.extend_from_slice(value);
            return out.extend_from_slice(b"}\n");
        }
        self.write(&Record { id, value: Some(value), ..Record::default() }, None, out);
    }

    /// Encodes a record for the user's program: appends the JSON line that the program reads, without a newline,
    /// and returns what [`Self::end`] needs.
    pub fn begin(&self, record: &Record<'_>, line: &mut Vec<u8>) -> Begun {
        let fields_at = record.begin_line(line);
        line.push(b'}');
        let mut row = Vec::new();
        match &self.form {
            Form::Row(rows) => Begun { fields_at: rows.begin_row(record, &mut row), row: Some(row) },
            Form::Typed(rows) => Begun { fields_at: rows.begin_row(record, &mut row), row: Some(row) },
            // A web archive and a listing are never combined with a program.
            Form::JsonLine | Form::Warc(_) | Form::Listing => Begun { fields_at, row: None },
        }
    }

    /// Appends a record that [`Self::begin`] began, `line` being what the program was given.
    pub fn end(&self, begun: &Begun, line: &[u8], ending: &Ending<'_>, out: &mut Vec<u8>) {
        if let Ending::Error(error) = ending {
            let shown = Shown::of(error);
            return self.end_shown(begun, line, &Ending::Error(shown.error(error)), out);
        }
        self.end_shown(begun, line, ending, out);
    }

    /// Appends a begun record whose error has no secrets.
    fn end_shown(&self, begun: &Begun, line: &[u8], ending: &Ending<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(begun.row.as_deref().unwrap_or(line));
        let fields_at = start + begun.fields_at;
        match &self.form {
            Form::Row(rows) => rows.end_row(ending, fields_at, out),
            Form::Typed(rows) => rows.end_row(ending, start, fields_at, out),
            Form::JsonLine | Form::Warc(_) | Form::Listing => {
                // The brace that closes the line.
                out.pop();
                ending.end_line(fields_at, out);
            }
        }
    }
}

/// The texts of an error without their secrets.
struct Shown<'a> {
    message: Cow<'a, str>,
    evidence: Option<Evidence>,
}

impl<'a> Shown<'a> {
    fn of(error: &RecordError<'a>) -> Self {
        let evidence = error.evidence.map(|evidence| Evidence {
            stderr: redact::text(&evidence.stderr).into_owned(),
            ..evidence.clone()
        });
        Self { message: redact::text(error.message), evidence }
    }

    fn error(&self, error: &RecordError<'_>) -> RecordError<'_> {
        RecordError { kind: error.kind, message: &self.message, evidence: self.evidence.as_ref() }
    }
}

/// Appends the metadata record that every input has exactly one of.
fn archive(writer: &mut Writer, record: &Record<'_>, exchange: Option<Exchange>, out: &mut Vec<u8>) {
    let url = record.url.map(redact::url);
    let record = Record { url: url.as_deref(), ..*record };
    let uri = record.final_url.or(record.url).and_then(uri);
    let mut json = Vec::new();
    record.write_line(&mut json);
    let metadata = Metadata {
        target: record.id,
        date: exchange.map_or_else(clock::wall, |exchange| exchange.date),
        uri: uri.as_deref(),
        concurrent_to: exchange.and_then(|exchange| exchange.response),
        json: &json,
    };
    writer.append_metadata(&metadata, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::WarcSpec;
    use crate::record::ErrorKind;
    use crate::table::{Subject, Table, first_row};

    fn error(message: &str) -> RecordError<'_> {
        RecordError { kind: ErrorKind::Child, message, evidence: None }
    }

    fn forms() -> [RecordEncoding; 3] {
        let table = Table::of(Subject::Line, &[]);
        [
            RecordEncoding::JsonLine,
            RecordEncoding::Row(Delimited { delimiter: b',', table: table.clone() }),
            RecordEncoding::Typed(Typed { table }),
        ]
    }

    /// Begun and ended, a record is what it would have been in one piece; an error stands in place of the fields.
    #[test]
    fn a_record_may_be_ended_later() {
        let record = Record { id: 7, attempts: Some(2), worker: Some(0), ..Record::default() };
        for form in forms() {
            let encoder = Encoder::new(&form);
            for (ending, whole) in [
                (Ending::Value(b"[1]"), Record { value: Some(b"[1]"), ..record }),
                (Ending::Error(error("m")), Record { error: Some(error("m")), ..record }),
            ] {
                let (mut line, mut want) = (Vec::new(), Vec::new());
                let begun = encoder.begin(&record, &mut line);
                assert_eq!(line, b"{\"id\":7,\"attempts\":2,\"worker\":0}");
                let mut got = b"before".to_vec();
                encoder.end(&begun, &line, &ending, &mut got);
                encoder.write(&whole, None, &mut want);
                assert_eq!(got.get(6..), Some(want.as_slice()), "{form:?}");
            }
        }
    }

    #[test]
    fn an_answer_is_a_record_with_a_value() {
        for form in forms() {
            let encoder = Encoder::new(&form);
            let (mut got, mut want) = (Vec::new(), Vec::new());
            encoder.write_answer(u64::MAX >> 1, b"{}", &mut got);
            let record = Record { id: u64::MAX >> 1, value: Some(b"{}"), ..Record::default() };
            encoder.write(&record, None, &mut want);
            assert_eq!(got, want, "{form:?}");
            let is_row = matches!(form, RecordEncoding::Typed(_));
            assert!(!is_row || first_row(&got) == Some(got.len()));
        }
    }

    #[test]
    fn errors_are_written_without_secrets() {
        for form in forms() {
            let evidence = Evidence {
                signal: None,
                phase: "fetch".to_owned(),
                rss_bytes: 0,
                stderr: "Cookie: hunter2".to_owned(),
            };
            let message = "redirect to http://u:hunter2@h/";
            let error = RecordError { kind: ErrorKind::Child, message, evidence: Some(&evidence) };
            let (encoder, mut out) = (Encoder::new(&form), Vec::new());
            encoder.write(&Record { id: 1, error: Some(error), ..Record::default() }, None, &mut out);
            let mut line = Vec::new();
            let begun = encoder.begin(&Record { id: 1, ..Record::default() }, &mut line);
            encoder.end(&begun, &line, &Ending::Error(error), &mut out);
            let text = String::from_utf8_lossy(&out);
            assert!(text.contains("redirect to http://***@h/") && !text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn a_target_without_a_response_has_its_metadata() {
        let encoder = Encoder::new(&RecordEncoding::Warc(WarcSpec { gzip: false, info: [1; 16] }));
        for (input, final_url, shown, uri) in [
            ("http://u:p@a/b#c", None, "http://***@a/b#c", Some("http://a/b")),
            ("http://a/", Some("http://b/c"), "http://a/", Some("http://b/c")),
            ("a b\r\nWARC-Type: response", None, "a b\\r\\nWARC-Type: response", None),
            ("ftp://a/", None, "ftp://a/", None),
            ("", None, "", None),
        ] {
            let mut out = Vec::new();
            encoder.write(
                &Record { id: 3, url: Some(input), final_url, ..Record::default() },
                None,
                &mut out,
            );
            let text = String::from_utf8(out).unwrap();
            assert_eq!(text.matches("\r\nWARC-Type: ").count(), 1, "{text}");
            assert!(text.contains("WARC-Type: metadata\r\n"), "{text}");
            assert!(text.contains(&format!("\r\n\r\n{{\"id\":3,\"url\":\"{shown}\"")), "{text}");
            let line = uri.map(|uri| format!("WARC-Target-URI: {uri}\r\n"));
            assert_eq!(text.contains("WARC-Target-URI"), line.is_some(), "{text}");
            assert!(line.is_none_or(|line| text.contains(&line)), "{text}");
        }
    }

    #[test]
    fn a_sitemap_that_failed_is_listed_as_that() {
        let mut out = Vec::new();
        let record = Record { id: 3, error: Some(error("gone")), ..Record::default() };
        Encoder::new(&RecordEncoding::Listing).write(&record, None, &mut out);
        let found = Found::Failed { kind: ErrorKind::Child, message: "gone".to_owned() };
        assert_eq!(framed::first(&out), Some((Listing { id: 3, found }, &[][..])));
    }
}
