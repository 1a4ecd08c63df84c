//! Minimum and maximum. Numbers sort before text, as in SQLite. One order for all cells can be merged, and does
//! not depend on which cell came first.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::number::{Number, order};

/// Minimum or maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// `min`
    Least,
    /// `max`
    Greatest,
}

impl Side {
    const fn wanted(self) -> Ordering {
        match self {
            Self::Least => Ordering::Less,
            Self::Greatest => Ordering::Greater,
        }
    }
}

/// The smallest or largest cell so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum Extreme {
    /// All cells so far were empty.
    #[default]
    None,
    /// A number.
    Number {
        /// The parsed number.
        number: Number,
        /// The number as written in the file, without white space around it.
        #[serde(with = "serde_bytes")]
        text: Vec<u8>,
    },
    /// Text, compared byte by byte.
    Text(#[serde(with = "serde_bytes")] Vec<u8>),
}

impl Extreme {
    /// Adds a cell, whose parsed value is `number`. Of equal numbers the first is kept.
    #[inline]
    pub fn add(&mut self, side: Side, number: Number, cell: &[u8]) {
        match (number, &*self) {
            (Number::Missing, _) => {}
            (
                Number::Exact { mantissa: a, places: m },
                Self::Number { number: Number::Exact { mantissa: b, places: n }, .. },
            ) if m == *n => {
                if a.cmp(b) == side.wanted() {
                    self.set(number, cell);
                }
            }
            (Number::Not, _) => self.add_text(side, cell),
            (Number::Exact { .. } | Number::Long(_), _) => self.add_number(side, number, cell),
        }
    }

    fn add_number(&mut self, side: Side, number: Number, cell: &[u8]) {
        let closer = match self {
            Self::None => true,
            Self::Number { number: ours, text } => {
                order((number, cell), (*ours, text)) == Some(side.wanted())
            }
            Self::Text(_) => side == Side::Least,
        };
        if closer {
            self.set(number, cell);
        }
    }

    #[inline]
    fn set(&mut self, wanted: Number, cell: &[u8]) {
        let cell = cell.trim_ascii();
        if let Self::Number { number, text } = self {
            *number = wanted;
            text.clear();
            text.extend_from_slice(cell);
        } else {
            *self = Self::Number { number: wanted, text: cell.to_vec() };
        }
    }

    fn add_text(&mut self, side: Side, cell: &[u8]) {
        let closer = match self {
            Self::None => true,
            Self::Number { .. } => side == Side::Greatest,
            Self::Text(text) => cell.cmp(text.as_slice()) == side.wanted(),
        };
        if closer {
            *self = Self::Text(cell.to_vec());
        }
    }

    /// Merges the result of the next part.
    pub fn merge(&mut self, side: Side, next: Self) {
        match next {
            Self::None => {}
            Self::Number { number, text } => self.add_number(side, number, &text),
            Self::Text(text) => self.add_text(side, &text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(side: Side, cells: &[&str]) -> Extreme {
        let mut extreme = Extreme::None;
        for cell in cells {
            extreme.add(side, Number::parse(cell.as_bytes()), cell.as_bytes());
        }
        extreme
    }

    #[test]
    fn numbers_come_before_text() {
        let number = |cell: &str| {
            let text = cell.as_bytes();
            Extreme::Number { number: Number::parse(text), text: text.to_vec() }
        };
        let text = |cell: &str| Extreme::Text(cell.as_bytes().to_vec());
        let table: [(&[&str], Extreme, Extreme); 12] = [
            (&[], Extreme::None, Extreme::None),
            (&["", " "], Extreme::None, Extreme::None),
            (&["10", "9", "2.5"], number("2.5"), number("10")),
            (&["b", "a", ""], text("a"), text("b")),
            (&["b", "7", "a"], number("7"), text("b")),
            (&["1e30", "-3", "2e-5"], number("-3"), number("1e30")),
            (
                &["1712345678901234568", "1712345678901234567", "1712345678901234569"],
                number("1712345678901234567"),
                number("1712345678901234569"),
            ),
            (
                &["0.1234567890123456788", "0.1234567890123456789", "0.12345678901234567885"],
                number("0.1234567890123456788"),
                number("0.1234567890123456789"),
            ),
            (
                &["99999999999999999999", "x", "100000000000000000000"],
                number("99999999999999999999"),
                text("x"),
            ),
            (&["1e400", "-1e401", "1e401", "0"], number("-1e401"), number("1e401")),
            (&["7.50", "7.5", " 007.5 ", "+7.5"], number("7.50"), number("7.50")),
            (&[" 007.5 ", "7.5", "0"], number("0"), number("007.5")),
        ];
        for (cells, least, greatest) in table {
            for (side, want) in [(Side::Least, &least), (Side::Greatest, &greatest)] {
                assert_eq!(&of(side, cells), want, "{cells:?}");
                for cut in 0..=cells.len() {
                    let (left, right) = cells.split_at(cut);
                    let mut merged = of(side, left);
                    merged.merge(side, of(side, right));
                    assert_eq!(&merged, want, "{cells:?} at {cut}");
                }
            }
        }
    }
}
