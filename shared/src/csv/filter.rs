//! Selects rows: `--where`.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::number::{Number, order};

/// How to compare a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `!=`: true whenever `=` is false.
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
    /// `~`
    Contains,
}

/// A condition on one cell of a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Filter {
    /// Index of the column in the spec.
    pub column: u32,
    /// The comparison.
    pub comparison: Comparison,
    /// The value to compare with, in the encoding of the files.
    #[serde(with = "serde_bytes")]
    pub text: Vec<u8>,
    /// The value as a number, if it is one. Cells are then compared as numbers, and one that is not a number is
    /// neither less nor greater.
    pub number: Option<Number>,
}

impl Filter {
    /// Whether a cell meets the condition.
    #[must_use]
    pub fn holds(&self, cell: &[u8]) -> bool {
        if self.comparison == Comparison::Contains {
            return memchr::memmem::find(cell, &self.text).is_some();
        }
        let ordering = match self.number {
            Some(number) => order((Number::parse(cell), cell), (number, &self.text)),
            None => Some(cell.cmp(self.text.as_slice())),
        };
        match self.comparison {
            Comparison::Equal => ordering == Some(Ordering::Equal),
            Comparison::NotEqual => ordering != Some(Ordering::Equal),
            Comparison::Less => ordering == Some(Ordering::Less),
            Comparison::AtMost => ordering.is_some_and(Ordering::is_le),
            Comparison::Greater => ordering == Some(Ordering::Greater),
            Comparison::AtLeast => ordering.is_some_and(Ordering::is_ge),
            Comparison::Contains => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_as_numbers_and_text_as_text() {
        use Comparison::{AtLeast, AtMost, Contains, Equal, Greater, Less, NotEqual};
        let holds = |comparison, value: &str, as_number: bool, cell: &str| {
            let number = as_number.then(|| Number::parse(value.as_bytes()));
            Filter { column: 0, comparison, text: value.as_bytes().to_vec(), number }.holds(cell.as_bytes())
        };
        for (comparison, value, as_number, yes, no) in [
            (Equal, "7", true, ["7", "7.0", " 007"], ["8", "", "x"]),
            (NotEqual, "7", true, ["8", "", "x"], ["7", "7.0", "70e-1"]),
            (Less, "10", true, ["9", "-1", "9.99"], ["10", "", "abc"]),
            (AtMost, "10", true, ["10", "10.0", "2"], ["11", "", "1x"]),
            (Greater, "10", true, ["11", "1e2", "10.5"], ["9", "", "abc"]),
            (AtLeast, "10", true, ["10", "100", "1e2"], ["9.5", "", "zz"]),
            (Equal, "007", false, ["007", "007", "007"], ["7", "", "0070"]),
            (Less, "m", false, ["a", "", "l"], ["m", "n", "zz"]),
            (
                Equal,
                "1712345678901234567",
                true,
                ["1712345678901234567", "1712345678901234567.0", " 01712345678901234567 "],
                ["1712345678901234566", "1712345678901234568", "1712345678901234567.1"],
            ),
            (
                Less,
                "0.1234567890123456789",
                true,
                ["0.1234567890123456788", "0", "-1e400"],
                ["0.1234567890123456789", "0.12345678901234567891", "1e400"],
            ),
            (Greater, "1e400", true, ["2e400", "1.1e400", "1e401"], ["1e400", "1e399", "-1e401"]),
            (Contains, "ab", false, ["ab", "cabd", "xab"], ["a", "", "ba"]),
        ] {
            for cell in yes {
                assert!(holds(comparison, value, as_number, cell), "{cell:?} {comparison:?} {value}");
            }
            for cell in no {
                assert!(!holds(comparison, value, as_number, cell), "{cell:?} {comparison:?} {value}");
            }
        }
    }
}
