//! What both processes agree on about `csv`: what is asked for ([`CsvSpec`]), what a target is
//! ([`Part`]), what comes back for one ([`Report`]), and the aggregates that are merged
//! ([`Groups`]). Filled in `worker::stage::csv`, merged in `supervisor::aggregate`.
//!
//! Invariant: every aggregate can be merged, and what it comes to depends on the file alone,
//! never on how many workers there were or which of them was faster.

mod aggregate;
mod column;
mod extreme;
mod filter;
mod groups;
mod lines;
mod moments;
mod number;
mod quantiles;
mod report;
mod sketch;
mod sum;
mod text;
mod wide;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::file_state::FileState;

pub use aggregate::{Aggregate, Function, Value};
pub use column::{Column, Kept};
pub use extreme::{Extreme, Side};
pub use filter::{Comparison, Filter};
pub use groups::{Groups, GroupsFull, cells_of_key, push_key_cell};
pub use lines::LineCounter;
pub use moments::Moments;
pub use number::{Number, Read, order, short};
pub use quantiles::Quantiles;
pub use report::{
    Bad, BadRow, Done, Found, Part, Place, Report, Stray, StrayKind, frame, read_part, unframe, write_part,
};
pub use sketch::Distinct;
pub use sum::{Sum, Total};
pub use text::{Decoded, Text, is_split_safe};

/// Most columns one line of any file may have; a header with more is not one.
pub const FIELDS_MAX: usize = 100_000;

/// Longest cell that is compared, grouped by or counted, in bytes; a row with a longer one in a column that is
/// used is bad. Cells of other columns may be of any length.
pub const CELL_BYTES_MAX: usize = 1 << 20;

/// Bad rows that are remembered, to be shown.
pub const BAD_SHOWN_MAX: usize = 10;

/// Which files, which columns of them, and what is worked out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CsvSpec {
    /// The files, in the order in which they were given.
    pub files: Vec<CsvFile>,
    /// Columns that are used, each once; `CsvFile::positions` says where they are.
    pub columns: Vec<String>,
    /// Columns to group by, as indices into `columns`, in the order of the output.
    pub keys: Vec<u32>,
    /// What is worked out for each group, in the order of the output.
    pub aggregates: Vec<Aggregate>,
    /// Rows count only if all of these hold.
    pub filters: Vec<Filter>,
    /// Most groups there may be.
    pub groups_max: u64,
    /// Encoding of the files' text, by its WHATWG name, when it is not UTF-8.
    pub encoding: Option<String>,
}

impl CsvSpec {
    /// What is kept for each group: no column twice for the same, however many aggregates are made of it.
    #[must_use]
    pub fn kept(&self) -> Vec<Column> {
        let mut kept: Vec<Column> = Vec::new();
        for column in self.aggregates.iter().filter_map(Aggregate::keeps) {
            if !kept.iter().any(|other| other.is_same(&column)) {
                kept.push(column);
            }
        }
        kept
    }
}

/// One file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CsvFile {
    /// Its path as it was given.
    #[serde(with = "crate::path")]
    pub path: PathBuf,
    /// Where workers open it; differs from `path` if that means something only in the supervisor.
    #[serde(with = "crate::path")]
    pub at: PathBuf,
    /// Whether `at` is a descriptor of the supervisor, which the sandbox hides: it is opened before that.
    pub held: bool,
    /// What it was when its header was read.
    pub state: FileState,
    /// Between two cells; ASCII.
    pub delimiter: u8,
    /// Cells that each row must have.
    pub fields: u32,
    /// For each of [`CsvSpec::columns`], which cell of a row it is.
    pub positions: Vec<u32>,
    /// Where the first row after the header begins, in bytes of the text as it is after
    /// unpacking and decoding.
    pub data_start: u64,
    /// Bytes of the file on the disk.
    pub bytes: u64,
    /// How it is packed.
    pub packing: Packing,
    /// What its text has to be decoded from before it can be cut into cells, by its WHATWG name; `None` where
    /// commas, quotes and line ends are single bytes that mean nothing else.
    pub decode: Option<String>,
}

impl CsvFile {
    /// Whether it can be read from the middle.
    #[must_use]
    pub fn can_be_split(&self) -> bool {
        self.packing == Packing::None && self.decode.is_none()
    }
}

/// How a file is packed, by its extension.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Packing {
    /// Not at all.
    #[default]
    None,
    /// `.gz`
    Gzip,
    /// `.zst`
    Zstd,
}
