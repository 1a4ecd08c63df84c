//! Reads rows with typed cells, and writes their cells as text or JSON.

use super::{FLOAT, INT, JSON, LENGTH_BYTES, LIST, NULL, TEXT, nearest, parsed};

/// One cell.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell<'a> {
    /// Nothing.
    Null,
    /// Text in UTF-8.
    Text(&'a [u8]),
    /// JSON in UTF-8, and no text. Stands in lists only: in a cell it is text.
    Json(&'a [u8]),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// The values of a list.
    List(Cells<'a>),
}

/// The cells of a row or of a list, in order. Ends early if it was not encoded here.
#[derive(Debug, Clone, PartialEq)]
pub struct Cells<'a> {
    rest: &'a [u8],
    /// Whether these are the cells of a list, which may not hold lists. A compromised worker could nest lists until
    /// writing them exhausts the stack.
    is_list: bool,
}

/// Whole rows at the beginning of `bytes`: the length of the first, if it is there to its end.
#[must_use]
pub fn first_row(bytes: &[u8]) -> Option<usize> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
    let length = u32::from_le_bytes(*length) as usize;
    (rest.len() >= length).then_some(LENGTH_BYTES + length)
}

impl<'a> Cells<'a> {
    /// The cells of one row, which is given with its length.
    #[must_use]
    pub fn of_row(row: &'a [u8]) -> Self {
        Self::of(row.get(LENGTH_BYTES..).unwrap_or_default())
    }

    /// The cells that these bytes hold.
    pub(super) const fn of(cells: &'a [u8]) -> Self {
        Self { rest: cells, is_list: false }
    }

    fn take_chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*bytes)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = u32::from_le_bytes(self.take_chunk()?) as usize;
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(bytes)
    }

    /// Appends the values as a JSON list.
    pub fn write_json(self, out: &mut Vec<u8>) {
        wire::json::write_list(self, out, |cell, out| match cell {
            Cell::Null => out.extend_from_slice(b"null"),
            Cell::Text(text) => wire::json::write(&String::from_utf8_lossy(text), out),
            Cell::Json(json) => out.extend_from_slice(json),
            Cell::Int(number) => wire::json::write(&number, out),
            Cell::Float(number) => wire::json::write(&number, out),
            Cell::List(cells) => cells.write_json(out),
        });
    }
}

impl<'a> Iterator for Cells<'a> {
    type Item = Cell<'a>;

    fn next(&mut self) -> Option<Cell<'a>> {
        let (tag, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(match *tag {
            NULL => Cell::Null,
            TEXT => Cell::Text(self.bytes()?),
            JSON => Cell::Json(self.bytes()?),
            INT => Cell::Int(i64::from_le_bytes(self.take_chunk()?)),
            FLOAT => Cell::Float(f64::from_le_bytes(self.take_chunk()?)),
            LIST if !self.is_list => Cell::List(Self { rest: self.bytes()?, is_list: true }),
            _ => return None,
        })
    }
}

impl Cell<'_> {
    /// The value as a whole number, if it is one.
    #[must_use]
    pub fn whole(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Json(json) => parsed(json),
            Self::Null | Self::Text(_) | Self::Float(_) | Self::List(_) => None,
        }
    }

    /// The value as a number, if it is one.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Float(number) => Some(*number),
            Self::Int(number) => Some(nearest(*number)),
            Self::Json(json) => parsed(json),
            Self::Null | Self::Text(_) | Self::List(_) => None,
        }
    }

    /// Appends the value as text; other values than text are written as JSON. Returns false for a null, and appends
    /// nothing.
    #[must_use]
    pub fn write_text(&self, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Null => return false,
            Self::Text(text) | Self::Json(text) => out.extend_from_slice(text),
            Self::Int(number) => wire::json::write(number, out),
            Self::Float(number) => wire::json::write(number, out),
            Self::List(cells) => cells.clone().write_json(out),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::{begin_length, end_length};
    use super::*;

    #[test]
    fn lists_in_lists_are_not_followed() {
        let mut cell = Vec::new();
        for _ in 0..1_000 {
            let inner = std::mem::take(&mut cell);
            cell.push(LIST);
            let start = begin_length(&mut cell);
            cell.extend_from_slice(&inner);
            end_length(start, &mut cell);
        }
        let mut json = Vec::new();
        Cells::of(&cell).write_json(&mut json);
        assert_eq!(json, b"[[]]");
    }

    proptest::proptest! {
        #[test]
        fn garbage_is_never_a_panic(bytes: Vec<u8>) {
            let _ = first_row(&bytes);
            let mut out = Vec::new();
            Cells::of_row(&bytes).write_json(&mut out);
        }
    }
}
