//! Takes secrets out of events.

use std::fmt::{self, Debug};
use std::io::{self, Write};

use serde_json::{Map, Value};
use shared::redact;
use tracing::field::{Field, Visit};
use tracing_subscriber::field::{MakeVisitor, VisitFmt, VisitOutput};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{DefaultFields, DefaultVisitor, Writer};

/// The usual format of fields in text, without secrets.
pub(super) struct RedactedFields;

impl<'a> MakeVisitor<Writer<'a>> for RedactedFields {
    type Visitor = RedactedVisitor<'a>;

    fn make_visitor(&self, target: Writer<'a>) -> Self::Visitor {
        RedactedVisitor(DefaultFields::new().make_visitor(target))
    }
}

/// Redacts each field and passes it on.
pub(super) struct RedactedVisitor<'a>(DefaultVisitor<'a>);

impl Visit for RedactedVisitor<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.record_str(field, &redact::field(field.name(), value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let value = format!("{value:?}");
        self.0.record_debug(field, &format_args!("{}", redact::field(field.name(), &value)));
    }
}

impl VisitOutput<fmt::Result> for RedactedVisitor<'_> {
    fn finish(self) -> fmt::Result {
        self.0.finish()
    }
}

impl VisitFmt for RedactedVisitor<'_> {
    fn writer(&mut self) -> &mut dyn fmt::Write {
        self.0.writer()
    }
}

/// Writes events in JSON without their secrets. The library that formats them does not let the fields be changed
/// before, so each event is parsed again.
pub(super) struct RedactedJson<W>(pub(super) W);

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for RedactedJson<W> {
    type Writer = RedactedLine<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        RedactedLine(self.0.make_writer())
    }
}

/// Writes one event, which arrives as a whole.
pub(super) struct RedactedLine<W>(W);

impl<W: Write> Write for RedactedLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let mut fields: Map<String, Value> = serde_json::from_slice(event)?;
        for (name, value) in &mut fields {
            if let Value::String(text) = value {
                *text = redact::field(name, text).into_owned();
            }
        }
        let mut line = serde_json::to_vec(&fields)?;
        line.push(b'\n');
        self.0.write_all(&line)?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
