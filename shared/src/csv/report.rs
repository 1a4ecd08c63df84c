//! What a worker gets as a target, and what it returns.

use bincode::config::Configuration;
use serde::{Deserialize, Serialize};

use super::groups::Groups;
use crate::framed;

/// A part of a file, as sent to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// A range of bytes. Both ends are at the start of a row, if the file follows RFC 4180.
    Range {
        /// Index of the file in the spec.
        file: u32,
        /// The first byte.
        start: u64,
        /// The byte after the last one.
        end: u64,
        /// Whether the file ends there, perhaps without a line end.
        last: bool,
    },
    /// The whole file, in one pass.
    Whole {
        /// Index of the file in the spec.
        file: u32,
    },
}

impl Part {
    /// Returns the index of the file in the spec.
    #[must_use]
    pub const fn file(self) -> u32 {
        match self {
            Self::Range { file, .. } | Self::Whole { file } => file,
        }
    }
}

/// A worker's report on one part.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Slot of the worker.
    pub slot: u32,
    /// The part.
    pub part: Part,
    /// The result.
    pub found: Found,
}

/// The result of one part.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Found {
    /// The part's groups.
    Done(Box<Done>),
    /// The part does not follow RFC 4180, so the ranges of this file are wrong and their results do not count.
    Stray(Stray),
    /// There are more groups than allowed.
    GroupsFull,
    /// The part cannot be aggregated, and another attempt would fail too: the reason.
    Failed(String),
}

/// The groups and counts of one part.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Done {
    /// The groups.
    pub groups: Groups,
    /// Rows read, including bad ones and those that `--where` excludes.
    pub rows: u64,
    /// Number of bad rows.
    pub bad: u64,
    /// The first bad rows.
    pub bad_first: Vec<BadRow>,
    /// In a file read in one pass: the fault that prevents reading it in ranges.
    pub stray: Option<Stray>,
}

/// A fault in the quoting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stray {
    /// Position of the fault, exactly or nearly.
    pub place: Place,
    /// Kind of the fault.
    pub kind: StrayKind,
}

/// Ways in which quotes break RFC 4180.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StrayKind {
    /// A quote in a cell that does not begin with one.
    Inside,
    /// Something other than a delimiter after a closing quote.
    After,
    /// A quoted cell has no end.
    Open,
    /// The part does not end at the end of a row.
    Cut,
}

/// A position in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// At this byte. Its line number is computed when it is shown.
    Offset(u64),
    /// On this line, from 1.
    Line(u64),
}

/// A bad row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadRow {
    /// Where the row begins.
    pub place: Place,
    /// What is wrong with it.
    pub bad: Bad,
}

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bad {
    /// It has this many cells, which is not the header's number.
    Ragged(u64),
    /// A cell that must be a number is not one.
    NotANumber {
        /// Index of the column in the spec.
        column: u32,
        /// The beginning of the cell.
        #[serde(with = "serde_bytes")]
        cell: Vec<u8>,
    },
    /// A used cell is longer than [`super::CELL_BYTES_MAX`].
    TooLong {
        /// Index of the column in the spec.
        column: u32,
    },
}

const CONFIG: Configuration = bincode::config::standard();

/// Encodes a part as the bytes of a target.
#[must_use]
pub fn write_part(part: Part) -> Vec<u8> {
    // Plain data written to memory: this cannot fail.
    bincode::serde::encode_to_vec(part, CONFIG).unwrap_or_default()
}

/// Decodes the part from a target's bytes.
#[must_use]
pub fn read_part(input: &[u8]) -> Option<Part> {
    bincode::serde::decode_from_slice(input, CONFIG).ok().map(|(part, _)| part)
}

/// Appends a report to `line`, preceded by its length.
pub fn frame(report: &Report, line: &mut Vec<u8>) {
    framed::push(report, line);
}

/// Splits off the first report in `lines`. Returns `None` if they are not reports.
#[must_use]
pub fn unframe(lines: &[u8]) -> Option<(Report, &[u8])> {
    framed::first(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_reports_can_be_sent() {
        for part in [Part::Whole { file: 3 }, Part::Range { file: 0, start: 5, end: u64::MAX, last: true }] {
            assert_eq!(read_part(&write_part(part)), Some(part));
            let mut lines = Vec::new();
            for slot in 0..3 {
                frame(&Report { slot, part, found: Found::Done(Box::default()) }, &mut lines);
            }
            let mut rest = lines.as_slice();
            for slot in 0..3 {
                let (report, after) = unframe(rest).unwrap();
                assert_eq!((report.slot, report.part), (slot, part));
                rest = after;
            }
            assert!(rest.is_empty());
            assert!(unframe(&lines[..lines.len() / 3 - 1]).is_none());
        }
    }
}
