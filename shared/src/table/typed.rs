//! Rows with a type for each cell, from which the supervisor builds Parquet and SQLite without parsing anything.
//!
//! A row is its length in four bytes, then a cell for each column, in order. A cell is a tag and its value; texts and
//! lists have their length in four bytes before them. All numbers are little-endian.

mod cells;

use serde::{Deserialize, Serialize};
use wire::record::{Ending, FieldValue, Record};

use super::value::Value;
use super::{Column, Element, Kind, Table};

pub use self::cells::{Cell, Cells, first_row};

/// Bytes of a length.
const LENGTH_BYTES: usize = 4;

const NULL: u8 = 0;
const TEXT: u8 = 1;
const JSON: u8 = 2;
const INT: u8 = 3;
const FLOAT: u8 = 4;
const LIST: u8 = 5;

/// How rows with typed cells are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Typed {
    /// The columns.
    pub table: Table,
}

impl Typed {
    /// Appends a record.
    pub fn row(&self, record: &Record<'_>, out: &mut Vec<u8>) {
        let start = begin_length(out);
        self.cells(0, usize::MAX, record, out);
        end_length(start, out);
    }

    /// Appends the cells of a record up to its fields, these included. Returns where in `out` the fields begin.
    pub fn begin_row(&self, record: &Record<'_>, out: &mut Vec<u8>) -> usize {
        begin_length(out);
        let fields = self.table.first_field();
        self.cells(0, fields, record, out);
        let fields_at = out.len();
        self.cells(fields, self.table.first_ending(), record, out);
        fields_at
    }

    /// Ends a row that [`Self::begin_row`] began at `start` in `out`, with its fields at `fields_at`.
    pub fn end_row(&self, ending: &Ending<'_>, start: usize, fields_at: usize, out: &mut Vec<u8>) {
        let (from, record) = self.table.ended(ending);
        if record.error.is_some() {
            out.truncate(fields_at);
        }
        self.cells(from, usize::MAX, &record, out);
        end_length(start, out);
    }

    /// Appends the cells of the columns from `from` to before `to`.
    fn cells(&self, from: usize, to: usize, record: &Record<'_>, out: &mut Vec<u8>) {
        for column in self.table.columns.iter().take(to).skip(from) {
            write_cell(column, record, out);
        }
    }
}

fn write_cell(column: &Column, record: &Record<'_>, out: &mut Vec<u8>) {
    let value = column.origin.of(record);
    match (column.kind, &value) {
        (_, Value::Null) => out.push(NULL),
        (Kind::One(Element::Int), _) => write_int(whole(&value), out),
        (Kind::One(Element::Float), _) => match any(&value) {
            Some(number) => write_float(number, out),
            None => out.push(NULL),
        },
        (Kind::One(Element::Text), _) => match value.as_text() {
            Some(text) => write_text(TEXT, text.as_bytes(), out),
            None => write_json(TEXT, &value, out),
        },
        (Kind::List(_), Value::Tree(FieldValue::List(values))) => write_list(values, out),
        (Kind::List(_) | Kind::Json, _) => write_json(TEXT, &value, out),
    }
}

/// Values of a list keep their own types: what builds a file takes those that its column can hold, and a file
/// without lists shows them all, as JSON.
fn write_list(values: &[FieldValue], out: &mut Vec<u8>) {
    out.push(LIST);
    let start = begin_length(out);
    for value in values {
        match Value::of_field(value) {
            Value::Null => out.push(NULL),
            Value::Text(text) => write_text(TEXT, text.as_bytes(), out),
            Value::Int(number) => write_int(Some(number), out),
            Value::Float(number) => write_float(number, out),
            value @ (Value::Uint(_) | Value::Json(_) | Value::Tree(_)) => write_json(JSON, &value, out),
        }
    }
    end_length(start, out);
}

fn write_text(tag: u8, text: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    let start = begin_length(out);
    out.extend_from_slice(text);
    end_length(start, out);
}

fn write_json(tag: u8, value: &Value<'_>, out: &mut Vec<u8>) {
    out.push(tag);
    let start = begin_length(out);
    value.write_json(out);
    end_length(start, out);
}

fn write_int(number: Option<i64>, out: &mut Vec<u8>) {
    let Some(number) = number else { return out.push(NULL) };
    out.push(INT);
    out.extend_from_slice(&number.to_le_bytes());
}

fn write_float(number: f64, out: &mut Vec<u8>) {
    out.push(FLOAT);
    out.extend_from_slice(&number.to_le_bytes());
}

/// Leaves room for a length; returns where it stands.
fn begin_length(out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    out.len() - LENGTH_BYTES
}

/// Fills in the length that stands at `start`: of all that follows it.
fn end_length(start: usize, out: &mut [u8]) {
    // A record has at most 64 MiB.
    let bytes = u32::try_from(out.len() - start - LENGTH_BYTES).unwrap_or(u32::MAX);
    if let Some(length) = out.get_mut(start..start + LENGTH_BYTES) {
        length.copy_from_slice(&bytes.to_le_bytes());
    }
}

/// The value as a whole number, if it is one.
fn whole(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        Value::Uint(number) => i64::try_from(*number).ok(),
        Value::Json(json) => parsed(json),
        Value::Null | Value::Text(_) | Value::Float(_) | Value::Tree(_) => None,
    }
}

/// The value as a number, if it is one.
fn any(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Float(number) => Some(*number),
        Value::Int(number) => Some(nearest(*number)),
        #[expect(
            clippy::cast_precision_loss,
            reason = "the nearest double is what a column of doubles holds"
        )]
        Value::Uint(number) => Some(*number as f64),
        Value::Json(json) => parsed(json),
        Value::Null | Value::Text(_) | Value::Tree(_) => None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "the nearest double is what a column of doubles holds")]
const fn nearest(number: i64) -> f64 {
    number as f64
}

fn parsed<T: std::str::FromStr>(json: &[u8]) -> Option<T> {
    str::from_utf8(json).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use wire::record::{ErrorKind, Fields, RecordError};

    use super::super::{PageInput, Subject};
    use super::*;
    use crate::json;
    use crate::select::Field;

    fn typed(select: &[&str]) -> Typed {
        let fields = Field::parse_all(select).unwrap();
        let subject = Subject::Page {
            input: PageInput::Url,
            fields: &fields,
            each: None,
            presets: &[],
            headers: false,
            crawled: false,
            mapped: true,
            paged: false,
        };
        Typed { table: Table::of(subject, &[]) }
    }

    fn shown(row: &[u8]) -> String {
        assert_eq!(first_row(row), Some(row.len()));
        let cells = Cells::of_row(row).map(|cell| {
            let mut text = Vec::new();
            let kind = match cell {
                Cell::Null => "",
                Cell::Text(_) => "t:",
                Cell::Json(_) => "j:",
                Cell::Int(_) => "i:",
                Cell::Float(_) => "f:",
                Cell::List(_) => "l:",
            };
            let _ = cell.write_text(&mut text);
            format!("{kind}{}", String::from_utf8(text).unwrap())
        });
        cells.collect::<Vec<_>>().join(" ")
    }

    fn json(text: &str) -> FieldValue {
        FieldValue::from(&json::parse(text).unwrap())
    }

    /// Which types the cells of one field get.
    fn check(select: &str, value: FieldValue, want: &str) {
        let (names, values) = (["a".to_owned()], [value]);
        let fields = Some(Fields { names: &names, values: &values });
        let mut row = Vec::new();
        typed(&[select]).row(&Record { fields, ..Record::default() }, &mut row);
        assert_eq!(shown(&row), format!("i:0         {want}   "), "{select}: {values:?}");
    }

    #[test]
    fn a_cell_is_what_its_column_holds_or_null() {
        let text = |text: &str| FieldValue::Text(text.to_owned());
        check("a=b", text("x\n\""), "t:x\n\"");
        check("a=b", text(""), "t:");
        check("a=b", FieldValue::Null, "");
        check("a=b", FieldValue::Int(-3), "t:-3");
        check("a=b", FieldValue::Float(2.0), "t:2.0");
        check("a=b", json("[1.50,{}]"), "t:[1.50,{}]");
        check("a=b | int", FieldValue::Int(i64::MIN), "i:-9223372036854775808");
        check("a=b | int", json("7"), "i:7");
        check("a=b | int", json("7.0"), "");
        check("a=b | int", FieldValue::Float(7.0), "");
        check("a=b | int", text("7"), "");
        check("a=b | float", FieldValue::Int(7), "f:7.0");
        check("a=b | float", json("1.50"), "f:1.5");
        check("a=b | float", text("1"), "");
        let list = FieldValue::List(vec![
            text("é\""),
            FieldValue::Null,
            FieldValue::Int(1),
            FieldValue::Float(1.5),
            json("[true]"),
        ]);
        check("a[]=b", list, "l:[\"é\\\"\",null,1,1.5,[true]]");
        check("a[]=b", FieldValue::List(Vec::new()), "l:[]");
        check("a[]=b | int", FieldValue::Null, "");
    }

    #[test]
    fn what_a_list_holds_is_taken_as_its_column_says() {
        let mut out = Vec::new();
        let values = [FieldValue::Int(1), FieldValue::Float(1.5), json("2"), json("2.5"), FieldValue::Null];
        write_list(&values, &mut out);
        let Some(Cell::List(cells)) = Cells::of(&out).next() else { panic!("no list") };
        let wholes: Vec<_> = cells.clone().map(|cell| cell.whole()).collect();
        assert_eq!(wholes, [Some(1), None, Some(2), None, None]);
        let numbers: Vec<_> = cells.map(|cell| cell.number()).collect();
        assert_eq!(numbers, [Some(1.0), Some(1.5), Some(2.0), Some(2.5), None]);
    }

    #[test]
    fn a_row_may_be_ended_later() {
        let (typed, names) = (typed(&["a=b"]), ["a".to_owned()]);
        let values = [FieldValue::Text("x".to_owned())];
        let fields = Some(Fields { names: &names, values: &values });
        let record = Record { id: 1, url: Some("u"), status: Some(200), fields, ..Record::default() };
        let error = RecordError { kind: ErrorKind::Child, message: "m", evidence: None };
        for (ending, want) in [
            (Ending::Value(b"\"y\""), "i:1 t:u  i:200      t:x t:\"y\"  "),
            (Ending::Value(b"null"), "i:1 t:u  i:200      t:x   "),
            (Ending::Error(error), "i:1 t:u  i:200        t:child t:m"),
        ] {
            let mut out = b"before".to_vec();
            let fields_at = typed.begin_row(&record, &mut out);
            typed.end_row(&ending, 6, fields_at, &mut out);
            assert_eq!(shown(&out[6..]), want);
        }
    }

    #[test]
    fn rows_are_told_apart_by_their_lengths() {
        let typed = typed(&["a=b"]);
        let mut out = Vec::new();
        typed.row(&Record::default(), &mut out);
        let one = out.len();
        typed.row(&Record { url: Some("x"), ..Record::default() }, &mut out);
        assert_eq!((first_row(&out), first_row(&out[..one - 1]), first_row(&[])), (Some(one), None, None));
        assert_eq!(Cells::of_row(&out[one..]).count(), typed.table.columns.len());
    }
}
