//! The columns of a row that are carried along: those that go into its record (`--keep`), and those that its request is
//! made from. They are collected while the row is read, and passed on encoded. If there are none, nothing is built.

use shared::kept::{Value, push, push_found, push_unshown};

use super::TARGET_BYTES_MAX;
use crate::plan::Columns;

/// The kept columns of the current row.
#[derive(Debug, Default)]
pub(super) struct KeptColumns {
    columns: Vec<Column>,
    /// How many of them go into the record; they are the first.
    shown: usize,
    /// The number of a column in this row that is not UTF-8.
    not_text: Option<usize>,
    /// Whether the rows are what others list, such as a sitemap.
    found: bool,
}

#[derive(Debug)]
struct Column {
    name: String,
    value: String,
    /// Whether the value is JSON, and not a text.
    is_json: bool,
    /// Full length of the value, of which no more than fits in a message is in `value`.
    bytes: u64,
}

impl Column {
    fn set(&mut self, value: &str, is_json: bool) {
        self.value.clear();
        self.value.push_str(value);
        self.is_json = is_json;
    }
}

impl KeptColumns {
    pub(super) fn new(columns: &Columns) -> Self {
        Self { shown: columns.keep.len(), ..Self::named(columns.carried()) }
    }

    /// The columns of rows that the user did not name.
    pub(super) fn of_found(names: &[String]) -> Self {
        Self { found: true, ..Self::named(names.iter()) }
    }

    fn named<'a>(names: impl Iterator<Item = &'a String>) -> Self {
        let columns = names.map(|name| Column {
            name: name.clone(),
            value: "null".to_owned(),
            is_json: true,
            bytes: 0,
        });
        let columns: Vec<_> = columns.collect();
        Self { shown: columns.len(), columns, not_text: None, found: false }
    }

    /// Returns the names, in the order of their numbers.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str())
    }

    /// Starts a row, with all values `null`.
    pub(super) fn begin(&mut self) {
        self.not_text = None;
        for column in &mut self.columns {
            column.set("null", true);
            column.bytes = 0;
        }
    }

    /// Sets a text of the row, `bytes` long in full. A value that is not UTF-8 is not kept; see [`Self::not_text`].
    pub(super) fn set_text(&mut self, number: usize, text: &[u8], bytes: u64) {
        let Some(column) = self.columns.get_mut(number) else { return };
        column.bytes = bytes;
        column.set("null", true);
        if bytes <= TARGET_BYTES_MAX as u64 {
            match str::from_utf8(text) {
                Ok(text) => column.set(text, false),
                Err(_) => self.not_text = Some(number),
            }
        }
    }

    /// Returns the column of this row that is not UTF-8, if any.
    pub(super) fn not_text(&self) -> Option<&str> {
        self.columns.get(self.not_text?).map(|column| column.name.as_str())
    }

    /// Sets a value that is JSON already.
    pub(super) fn set_json(&mut self, number: usize, json: &str) {
        let Some(column) = self.columns.get_mut(number) else { return };
        column.bytes = json.len() as u64;
        column.set(if json.len() <= TARGET_BYTES_MAX { json } else { "null" }, true);
    }

    /// Encodes the values of the row.
    pub(super) fn encode(&self) -> Encoded {
        let (mut values, mut bytes) = (Vec::new(), 0);
        if self.found {
            push_found(&mut values);
        }
        for (number, column) in self.columns.iter().enumerate() {
            if number == self.shown {
                push_unshown(&mut values);
            }
            let value = if column.is_json { Value::Json(&column.value) } else { Value::Text(&column.value) };
            // Those of a row that is too long are of no use.
            let has_room = bytes <= TARGET_BYTES_MAX as u64 && push(&column.name, value, &mut values);
            bytes += column.bytes.max(column.value.len() as u64) + column.name.len() as u64 + OVERHEAD_BYTES;
            if !has_room {
                bytes = bytes.max(TARGET_BYTES_MAX as u64 + 1);
            }
        }
        Encoded { values, bytes }
    }
}

/// Bytes of a value besides its name and itself.
const OVERHEAD_BYTES: u64 = 4;

/// The kept columns of one row, encoded.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Encoded {
    /// The values. Incomplete if `bytes` exceeds the limit.
    pub(super) values: Vec<u8>,
    /// Their full length.
    pub(super) bytes: u64,
}

/// The values of a target, as its record shows them.
#[cfg(test)]
pub(super) fn shown(kept: &[u8]) -> String {
    let mut object = Vec::new();
    if !shared::kept::Kept(kept).is_empty() {
        shared::kept::Kept(kept).write_object(&mut object);
    }
    String::from_utf8(object).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(names: &[&str]) -> KeptColumns {
        let keep = names.iter().map(|&name| name.to_owned()).collect();
        KeptColumns::new(&Columns { keep, ..Columns::from("url") })
    }

    #[test]
    fn every_column_is_carried_in_order() {
        let mut row = kept(&["a \"b\"", "n", "none"]);
        row.begin();
        row.set_text(0, b"x\n\"", 3);
        row.set_json(1, "[1e400, {}]");
        let text = shown(&row.encode().values);
        assert_eq!(text, "{\"a \\\"b\\\"\":\"x\\n\\\"\",\"n\":[1e400, {}],\"none\":null}");
        row.begin();
        let text = shown(&row.encode().values);
        assert_eq!(text, "{\"a \\\"b\\\"\":null,\"n\":null,\"none\":null}");
    }

    #[test]
    fn nothing_kept_is_nothing() {
        assert_eq!(kept(&[]).encode(), Encoded::default());
    }

    #[test]
    fn what_is_too_long_is_counted_and_not_held() {
        let mut row = kept(&["a", "b", "c"]);
        row.set_text(0, b"begin", 1 << 40);
        row.set_json(1, &"1".repeat(TARGET_BYTES_MAX + 1));
        let encoded = row.encode();
        assert!(encoded.bytes > 1 << 40 && encoded.values.len() < 100, "{encoded:?}");
        let mut row = kept(&["a", "b"]);
        for number in 0..2 {
            row.set_text(number, &vec![b'x'; TARGET_BYTES_MAX / 2], (TARGET_BYTES_MAX / 2) as u64);
        }
        assert!(row.encode().bytes > TARGET_BYTES_MAX as u64);
    }
}
