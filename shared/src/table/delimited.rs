//! Rows with a delimiter between their cells (RFC 4180): text is quoted when it
//! has to be. Nothing is an empty cell, and an empty text is `""`, so that readers
//! who care can tell them apart.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use wire::record::{Ending, FieldValue, Record};

use super::value::Value;
use super::{Kind, Table};

/// Room for a list that becomes a cell: most lists fit.
const JSON_BYTES: usize = 1024;

/// How rows are written as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delimited {
    /// What stands between two cells.
    pub delimiter: u8,
    /// The columns.
    pub table: Table,
}

impl Delimited {
    /// Appends the names of the columns.
    pub fn header(&self, out: &mut Vec<u8>) {
        for (n, column) in self.table.columns.iter().enumerate() {
            if n > 0 {
                out.push(self.delimiter);
            }
            quoted(out, column.name.as_bytes(), self.delimiter);
        }
        out.push(b'\n');
    }

    /// Appends a record.
    pub fn row(&self, record: &Record<'_>, out: &mut Vec<u8>) {
        self.cells(0, usize::MAX, record, out);
        out.push(b'\n');
    }

    /// Appends the cells of a record up to its fields, these included. Returns where in `out` the fields begin.
    pub fn begin_row(&self, record: &Record<'_>, out: &mut Vec<u8>) -> usize {
        let fields = self.table.first_field();
        self.cells(0, fields, record, out);
        let fields_at = out.len();
        self.cells(fields, self.table.first_ending(), record, out);
        fields_at
    }

    /// Ends a row that [`Self::begin_row`] began in `out`, with its fields at `fields_at`.
    pub fn end_row(&self, ending: &Ending<'_>, fields_at: usize, out: &mut Vec<u8>) {
        let (from, record) = self.table.ended(ending);
        if record.error.is_some() {
            out.truncate(fields_at);
        }
        self.cells(from, usize::MAX, &record, out);
        out.push(b'\n');
    }

    /// Appends the cells of the columns from `from` to before `to`.
    fn cells(&self, from: usize, to: usize, record: &Record<'_>, out: &mut Vec<u8>) {
        for (n, column) in self.table.columns.iter().enumerate().take(to).skip(from) {
            if n > 0 {
                out.push(self.delimiter);
            }
            self.cell(column.kind, &column.origin.of(record), out);
        }
    }

    fn cell(&self, kind: Kind, value: &Value<'_>, out: &mut Vec<u8>) {
        let text = if matches!(kind, Kind::One(_)) { value.as_text() } else { None };
        match (text, value) {
            (Some(text), _) if text.is_empty() => out.extend_from_slice(b"\"\""),
            (Some(text), _) => quoted(out, text.as_bytes(), self.delimiter),
            (None, Value::Null) => {}
            // Numbers need no quotes.
            (None, Value::Int(_) | Value::Uint(_) | Value::Float(_)) => value.write_json(out),
            (None, Value::Json(json)) => quoted(out, json, self.delimiter),
            // A list of texts has quotes, so the cell does too: double them while the list is written.
            (None, Value::Tree(FieldValue::List(values)))
                if matches!(values.first(), Some(FieldValue::Text(_))) =>
            {
                out.push(b'"');
                value.write_json(&mut Doubling(out));
                out.push(b'"');
            }
            (None, Value::Text(_) | Value::Tree(_)) => {
                let mut json = Vec::with_capacity(JSON_BYTES);
                value.write_json(&mut json);
                quoted(out, &json, self.delimiter);
            }
        }
    }
}

/// Appends a cell, in quotes if it needs them.
pub fn quoted(out: &mut Vec<u8>, cell: &[u8], delimiter: u8) {
    if !needs_quotes(cell, delimiter) {
        return out.extend_from_slice(cell);
    }
    out.push(b'"');
    double_quotes(cell, out);
    out.push(b'"');
}

fn needs_quotes(text: &[u8], delimiter: u8) -> bool {
    memchr::memchr3(b'"', b'\n', delimiter, text).is_some() || memchr::memchr(b'\r', text).is_some()
}

fn double_quotes(text: &[u8], out: &mut Vec<u8>) {
    let mut from = 0;
    for quote in memchr::memchr_iter(b'"', text) {
        // The quote ends this piece and begins the next.
        out.extend_from_slice(text.get(from..=quote).unwrap_or_default());
        from = quote;
    }
    out.extend_from_slice(text.get(from..).unwrap_or_default());
}

/// Doubles the quotes of what is written to it.
struct Doubling<'a>(&'a mut Vec<u8>);

impl Write for Doubling<'_> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        // JSON comes in pieces, and most of its quotes come alone.
        if text == b"\"" {
            self.0.extend_from_slice(b"\"\"")
        } else {
            double_quotes(text, self.0)
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use wire::kept::{Kept, Value as Carried, push};
    use wire::record::{ErrorKind, Fields, RecordError};

    use super::super::{Element, PageInput, Subject, Table};
    use super::*;
    use crate::json;
    use crate::select::Field;

    fn error(message: &str) -> Option<RecordError<'_>> {
        Some(RecordError { kind: ErrorKind::Child, message, evidence: None })
    }

    #[test]
    fn what_a_reader_would_take_for_something_else_is_quoted() {
        let delimited = Delimited { delimiter: b',', table: Table::of(Subject::Line, &[]) };
        let mut out = Vec::new();
        delimited.header(&mut out);
        let empty = Record::default();
        for record in [
            Record { id: 1, value: Some(b"\"a,\\u0000\""), ..empty },
            Record { id: 2, attempts: Some(3), worker: Some(0), error: error("it \"died\"\n"), ..empty },
            Record { id: 3, value: Some(b"[1, 2.50]"), ..empty },
            Record { id: 4, value: Some(b"null"), error: error(""), ..empty },
            Record { id: 5, value: Some(b"{}"), ..empty },
        ] {
            delimited.row(&record, &mut out);
        }
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "id,attempts,worker,value,error_kind,error_message\n1,,,\"\"\"a,\\u0000\"\"\",,\n\
             2,3,0,,child,\"it \"\"died\"\"\n\"\n3,,,\"[1, 2.50]\",,\n4,,,,child,\"\"\n5,,,{},,\n"
        );
    }

    #[test]
    fn cells_are_what_the_record_says() {
        let fields = Field::parse_all(&["n=a | int", "t=b", "l[]=c", "f=d | float", "j=e"]).unwrap();
        let names = ["n", "t", "l", "f", "j"].map(str::to_owned);
        let subject = Subject::Page {
            input: PageInput::Path,
            fields: &fields,
            each: None,
            presets: &[],
            headers: false,
            crawled: false,
            mapped: true,
            paged: false,
        };
        let keep = ["k", "s", "none", "gone"].map(str::to_owned);
        let delimited = Delimited { delimiter: b'\t', table: Table::of(subject, &keep) };
        let mut kept = Vec::new();
        let carried = [("k", Carried::Json("1.50")), ("s", Carried::Json(r#""\u00e9\t""#))];
        for (name, value) in carried.into_iter().chain([("none", Carried::Json("null"))]) {
            assert!(push(name, value, &mut kept));
        }
        let parsed = json::parse("[1e400]").unwrap();
        let values = [
            FieldValue::Int(-3),
            FieldValue::Text("two\nlines".to_owned()),
            FieldValue::List(vec![FieldValue::Text("x\ty".to_owned()), FieldValue::Null]),
            FieldValue::Float(2.0),
            FieldValue::from(&parsed),
        ];
        let record = Record {
            id: 7,
            path: Some("a"),
            keep: Kept(&kept),
            elapsed_us: Some(1_460),
            fields: Some(Fields { names: &names, values: &values }),
            ..Record::default()
        };
        let head = "7\ta\t\t\t1.5\t\t\t1.50\t\"é\t\"\t\t\t";
        let row = "-3\t\"two\nlines\"\t\"[\"\"x\\ty\"\",null]\"\t2.0\t[1e400]";
        let check = |row: Vec<u8>, want: String| assert_eq!(String::from_utf8(row).unwrap(), want);
        let mut out = Vec::new();
        delimited.row(&record, &mut out);
        check(out, format!("{head}{row}\t\t\t\n"));
        for (ending, want) in [
            (Ending::Value(b"[1]"), format!("{head}{row}\t[1]\t\t\n")),
            (Ending::Error(error("m").unwrap()), format!("{head}\t\t\t\t\t\tchild\tm\n")),
        ] {
            let mut out = Vec::new();
            let fields_at = delimited.begin_row(&record, &mut out);
            delimited.end_row(&ending, fields_at, &mut out);
            check(out, want);
        }
    }

    #[test]
    fn a_list_of_texts_is_its_json_in_quotes() {
        let table = Table { columns: Vec::new() };
        let delimited = Delimited { delimiter: b',', table };
        let texts = ["", "a", "\"", "a \"b\" \\c", "line\nfeed\r\u{1}", "é,\u{2028}"];
        let list = FieldValue::List(texts.map(|text| FieldValue::Text(text.to_owned())).to_vec());
        let (mut cell, mut json) = (Vec::new(), Vec::new());
        let value = Value::of_field(&list);
        delimited.cell(Kind::List(Element::Text), &value, &mut cell);
        value.write_json(&mut json);
        let mut want = Vec::new();
        quoted(&mut want, &json, b',');
        assert_eq!(String::from_utf8(cell).unwrap(), String::from_utf8(want).unwrap());
    }
}
