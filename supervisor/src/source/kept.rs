//! The kept columns of a row (`--keep`), which go into its record. They are collected while the row is read,
//! and passed on as an encoded JSON object. If no column is kept, nothing is built.

use super::TARGET_BYTES_MAX;

/// The kept columns of the current row.
#[derive(Debug, Default)]
pub(super) struct KeptColumns {
    columns: Vec<Column>,
    /// The number of a column in this row that is not UTF-8.
    not_text: Option<usize>,
}

#[derive(Debug)]
struct Column {
    name: String,
    /// The name as JSON, with the colon.
    key: Vec<u8>,
    /// The value as JSON; empty means `null`.
    value: Vec<u8>,
    /// The full length of the value. `value` holds at most what fits into a message.
    bytes: u64,
}

impl KeptColumns {
    pub(super) fn new(names: &[String]) -> Self {
        let columns = names.iter().map(|name| {
            let mut key = serde_json::to_vec(name).unwrap_or_default();
            key.push(b':');
            Column { name: name.clone(), key, value: Vec::new(), bytes: 0 }
        });
        Self { columns: columns.collect(), not_text: None }
    }

    /// Returns the names, in the order of their numbers.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str())
    }

    /// Starts a row, with all values `null`.
    pub(super) fn begin(&mut self) {
        self.not_text = None;
        for column in &mut self.columns {
            column.value.clear();
            column.bytes = 0;
        }
    }

    /// Sets a value to text whose full length is `bytes`. Text that is not UTF-8 is noted instead.
    pub(super) fn set_text(&mut self, number: usize, text: &[u8], bytes: u64) {
        let Some(column) = self.columns.get_mut(number) else { return };
        column.value.clear();
        column.bytes = bytes;
        if bytes <= TARGET_BYTES_MAX as u64 {
            match str::from_utf8(text) {
                // Writing to a vector cannot fail.
                Ok(text) => drop(serde_json::to_writer(&mut column.value, text)),
                Err(_) => self.not_text = Some(number),
            }
        }
    }

    /// Returns the column of this row that is not UTF-8, if any.
    pub(super) fn not_text(&self) -> Option<&str> {
        self.columns.get(self.not_text?).map(|column| column.name.as_str())
    }

    /// Sets a value to encoded JSON.
    pub(super) fn set_json(&mut self, number: usize, json: &str) {
        let Some(column) = self.columns.get_mut(number) else { return };
        column.value.clear();
        column.bytes = json.len() as u64;
        if json.len() <= TARGET_BYTES_MAX {
            column.value.extend_from_slice(json.as_bytes());
        }
    }

    /// Returns the object of the row; empty if no column is kept.
    pub(super) fn encode(&self) -> Encoded {
        let mut object = Vec::new();
        let mut bytes = 0;
        for column in &self.columns {
            object.push(if object.is_empty() { b'{' } else { b',' });
            object.extend_from_slice(&column.key);
            object.extend_from_slice(if column.value.is_empty() { b"null" } else { &column.value });
            bytes += column.bytes.max(column.value.len() as u64) + column.key.len() as u64 + 1;
            if bytes > TARGET_BYTES_MAX as u64 {
                object.truncate(1);
            }
        }
        if !object.is_empty() {
            object.push(b'}');
        }
        Encoded { object, bytes }
    }
}

/// The kept columns of one row, encoded.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Encoded {
    /// The object. Incomplete if `bytes` exceeds the limit.
    pub(super) object: Vec<u8>,
    /// The full length of the object.
    pub(super) bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(names: &[&str]) -> KeptColumns {
        KeptColumns::new(&names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn an_object_has_every_column_in_order() {
        let mut row = kept(&["a \"b\"", "n", "none"]);
        row.begin();
        row.set_text(0, b"x\n\"", 3);
        row.set_json(1, "[1e400, {}]");
        let encoded = row.encode();
        let text = String::from_utf8(encoded.object).unwrap();
        assert_eq!(text, "{\"a \\\"b\\\"\":\"x\\n\\\"\",\"n\":[1e400, {}],\"none\":null}");
        row.begin();
        let text = String::from_utf8(row.encode().object).unwrap();
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
        assert!(encoded.bytes > 1 << 40 && encoded.object.len() < 100, "{encoded:?}");
        let mut row = kept(&["a", "b"]);
        for number in 0..2 {
            row.set_text(number, &vec![b'x'; TARGET_BYTES_MAX / 2], (TARGET_BYTES_MAX / 2) as u64);
        }
        assert!(row.encode().bytes > TARGET_BYTES_MAX as u64);
    }
}
