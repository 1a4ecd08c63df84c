//! What goes to a worker as a target, and what comes back for it.

use bincode::config::Configuration;
use serde::{Deserialize, Serialize};

use super::groups::Groups;
use crate::framed;

/// A part of a file, as handed to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// From one byte up to another; both stand where a row begins, if the file keeps to the rules.
    Range {
        /// Which of the spec's files.
        file: u32,
        /// The first byte.
        start: u64,
        /// The byte after the last.
        end: u64,
        /// Whether the file ends there, perhaps without a line end.
        last: bool,
    },
    /// All of it, in one pass.
    Whole {
        /// Which of the spec's files.
        file: u32,
    },
}

impl Part {
    /// Which of the spec's files.
    #[must_use]
    pub const fn file(self) -> u32 {
        match self {
            Self::Range { file, .. } | Self::Whole { file } => file,
        }
    }
}

/// What a worker found in one part.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The slot of the worker.
    pub slot: u32,
    /// Which part.
    pub part: Part,
    /// What.
    pub found: Found,
}

/// What a worker found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Found {
    /// Groups.
    Done(Box<Done>),
    /// The part does not keep to the rules by which the file was cut: nothing found in this file counts.
    Stray(Stray),
    /// More groups than may be.
    GroupsFull,
    /// The part cannot be aggregated, and no other attempt will do better: why.
    Failed(String),
}

/// What one part comes to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Done {
    /// The groups.
    pub groups: Groups,
    /// Rows read, bad ones and those left out included.
    pub rows: u64,
    /// Rows that could not be used.
    pub bad: u64,
    /// The first of those.
    pub bad_first: Vec<BadRow>,
    /// In a file read in one pass: what was found that keeps it from being cut.
    pub stray: Option<Stray>,
}

/// Where quotes do not keep to the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stray {
    /// At or near which byte.
    pub place: Place,
    /// In which way.
    pub kind: StrayKind,
}

/// In which way quotes do not keep to the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StrayKind {
    /// A quote in a cell that does not begin with one.
    Inside,
    /// Something else than a delimiter after a closing quote.
    After,
    /// A quoted cell has no end.
    Open,
    /// The part does not end where a row does.
    Cut,
}

/// Where something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// At this byte of the file; its line is found out when it is shown.
    Offset(u64),
    /// On this line, from 1.
    Line(u64),
}

/// A row that could not be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadRow {
    /// Where it begins.
    pub place: Place,
    /// Why.
    pub bad: Bad,
}

/// Why a row could not be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bad {
    /// It has this many cells, and not as many as the header.
    Ragged(u64),
    /// A cell is no number, and one is needed.
    NotANumber {
        /// Which of the spec's columns.
        column: u32,
        /// The beginning of the cell.
        #[serde(with = "serde_bytes")]
        cell: Vec<u8>,
    },
    /// A cell that is used is longer than [`super::CELL_BYTES_MAX`].
    TooLong {
        /// Which of the spec's columns.
        column: u32,
    },
}

const CONFIG: Configuration = bincode::config::standard();

/// A part as the bytes of a target.
#[must_use]
pub fn write_part(part: Part) -> Vec<u8> {
    // Plain data into memory: this does not fail.
    bincode::serde::encode_to_vec(part, CONFIG).unwrap_or_default()
}

/// The part that a target's bytes stand for.
#[must_use]
pub fn read_part(input: &[u8]) -> Option<Part> {
    bincode::serde::decode_from_slice(input, CONFIG).ok().map(|(part, _)| part)
}

/// Appends a report to `line`, with its length before it.
pub fn frame(report: &Report, line: &mut Vec<u8>) {
    framed::push(report, line);
}

/// The first report in `lines`, and what follows it; `None` when they are no reports.
#[must_use]
pub fn unframe(lines: &[u8]) -> Option<(Report, &[u8])> {
    framed::first(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_reports_travel() {
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
