//! The parts of a `csv` job that both processes use: the request ([`CsvSpec`]), a target ([`Part`]), its result
//! ([`Report`]), and the aggregates to merge ([`Groups`]). `worker::stage::csv` fills them,
//! `supervisor::aggregate` merges them.
//!
//! Invariant: every aggregate can be merged, and its value depends on the files alone, never on the number of
//! workers or their speed.

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

/// Maximum number of columns in a header.
pub const FIELDS_MAX: usize = 100_000;

/// Maximum length of a cell that is compared, grouped by or counted, in bytes. A row with a longer one in such a
/// column is bad. Cells of other columns may have any length.
pub const CELL_BYTES_MAX: usize = 1 << 20;

/// Maximum number of bad rows to keep for display.
pub const BAD_SHOWN_MAX: usize = 10;

/// Which files to read, which columns to use, and what to compute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CsvSpec {
    /// Files, in the order given.
    pub files: Vec<CsvFile>,
    /// Columns that are used, each once. `CsvFile::positions` gives their positions.
    pub columns: Vec<String>,
    /// Columns to group by, as indices into `columns`, in the order of the output.
    pub keys: Vec<u32>,
    /// Aggregates to compute for each group, in the order of the output.
    pub aggregates: Vec<Aggregate>,
    /// Conditions that a row must meet to count.
    pub filters: Vec<Filter>,
    /// Maximum number of groups.
    pub groups_max: u64,
    /// WHATWG name of the files' encoding, if it is not UTF-8.
    pub encoding: Option<String>,
}

impl CsvSpec {
    /// Returns what to keep for each group. Aggregates that need the same values of a column share them.
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

/// One input file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CsvFile {
    /// Path as given.
    #[serde(with = "crate::path")]
    pub path: PathBuf,
    /// Path that workers open. It differs from `path` if that has a meaning only in the supervisor.
    #[serde(with = "crate::path")]
    pub at: PathBuf,
    /// Whether `at` is a descriptor of the supervisor. The sandbox hides those, so it is opened before.
    pub held: bool,
    /// State of the file when its header was read.
    pub state: FileState,
    /// Delimiter; ASCII.
    pub delimiter: u8,
    /// Number of cells that each row must have.
    pub fields: u32,
    /// For each of [`CsvSpec::columns`], the index of the cell in a row.
    pub positions: Vec<u32>,
    /// Offset of the first row after the header, in the text after unpacking and decoding.
    pub data_start: u64,
    /// Size of the file on disk, in bytes.
    pub bytes: u64,
    /// Compression of the file.
    pub packing: Packing,
    /// WHATWG name of the encoding, if the text must be decoded before it can be split into cells. `None` if
    /// commas, quotes and line ends are single bytes without another meaning.
    pub decode: Option<String>,
}

impl CsvFile {
    /// Whether reading may start in the middle.
    #[must_use]
    pub fn can_be_split(&self) -> bool {
        self.packing == Packing::None && self.decode.is_none()
    }
}

/// Compression of a file, recognised by its extension.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Packing {
    /// Not compressed.
    #[default]
    None,
    /// `.gz`
    Gzip,
    /// `.zst`
    Zstd,
}
