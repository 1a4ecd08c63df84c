//! Smallest and largest. Numbers come before text, as in SQLite: one order for all cells, whatever
//! a column holds, so that it can be merged and does not depend on what was seen first.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::number::{Number, order};

/// Which end.
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
    /// No cell yet that was not empty.
    #[default]
    None,
    /// A number.
    Number(Number),
    /// Text, compared byte by byte.
    Text(#[serde(with = "serde_bytes")] Vec<u8>),
}

impl Extreme {
    /// Takes a cell in, of which `number` is the reading.
    #[inline]
    pub fn add(&mut self, side: Side, number: Number, cell: &[u8]) {
        match (number, &*self) {
            (Number::Missing, _) => {}
            (
                Number::Exact { mantissa: a, places: m },
                Self::Number(Number::Exact { mantissa: b, places: n }),
            ) if m == *n => {
                if a.cmp(b) == side.wanted() {
                    *self = Self::Number(number);
                }
            }
            (Number::Not, _) => self.add_text(side, cell),
            (Number::Exact { .. } | Number::Rounded(_), _) => self.merge(side, Self::Number(number)),
        }
    }

    fn add_text(&mut self, side: Side, cell: &[u8]) {
        let closer = match self {
            Self::None => true,
            Self::Number(_) => side == Side::Greatest,
            Self::Text(text) => cell.cmp(text.as_slice()) == side.wanted(),
        };
        if closer {
            *self = Self::Text(cell.to_vec());
        }
    }

    /// Takes in what another has seen.
    pub fn merge(&mut self, side: Side, other: Self) {
        let ordering = match (&other, &*self) {
            (Self::None, _) => return,
            (_, Self::None) => side.wanted(),
            (Self::Number(a), Self::Number(b)) => order(*a, *b).unwrap_or(Ordering::Equal),
            (Self::Number(_), Self::Text(_)) => Ordering::Less,
            (Self::Text(_), Self::Number(_)) => Ordering::Greater,
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
        };
        if ordering == side.wanted() {
            *self = other;
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
        let number = |cell: &str| Extreme::Number(Number::parse(cell.as_bytes()));
        let text = |cell: &str| Extreme::Text(cell.as_bytes().to_vec());
        let table: [(&[&str], Extreme, Extreme); 6] = [
            (&[], Extreme::None, Extreme::None),
            (&["", " "], Extreme::None, Extreme::None),
            (&["10", "9", "2.5"], number("2.5"), number("10")),
            (&["b", "a", ""], text("a"), text("b")),
            (&["b", "7", "a"], number("7"), text("b")),
            (&["1e30", "-3", "2e-5"], number("-3"), number("1e30")),
        ];
        for (cells, least, greatest) in table {
            for (side, want) in [(Side::Least, &least), (Side::Greatest, &greatest)] {
                assert_eq!(&of(side, cells), want, "{cells:?}");
                for cut in 0..=cells.len() {
                    let (left, right) = cells.split_at(cut);
                    let mut merged = of(side, right);
                    merged.merge(side, of(side, left));
                    assert_eq!(&merged, want, "{cells:?} at {cut}");
                }
            }
        }
    }
}
