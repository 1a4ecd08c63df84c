//! The input being read, of any kind. Returns one target after another, and the position.

use std::path::{Path, PathBuf};

use super::blocks::BlockFeed;
use super::csv::CsvFeed;
use super::json::JsonFeed;
use super::lines::LineFeed;
use super::packed::{Opened, PackedBytes, open};
#[cfg(feature = "parquet")]
use super::parquet::ParquetFeed;
use super::text::{Returns, line_feeds};
use super::tree::Walk;
use super::{Candidate, SourceError, TargetKind};
use crate::plan::{Columns, ListReading, Within};

/// The input being read.
pub(super) struct Feed {
    /// The path, for messages.
    path: PathBuf,
    reading: Reading,
    packed_bytes: Option<PackedBytes>,
}

enum Reading {
    Lines(LineFeed),
    Blocks(BlockFeed),
    Csv(Box<CsvFeed>),
    Json(JsonFeed),
    #[cfg(feature = "parquet")]
    Parquet(Box<ParquetFeed>),
    /// A directory tree; the candidate is the named path itself, if it is a target that was not returned yet.
    Tree(Walk, Option<Candidate>),
}

impl Feed {
    pub(super) fn lines(path: PathBuf, opened: Opened, kind: TargetKind) -> Self {
        // A file name may contain a carriage return, and so may JSON between two tokens.
        let returns = if kind == TargetKind::Url { Returns::End } else { Returns::MayEnd };
        let bytes = line_feeds(opened.bytes, returns);
        let reading = match kind {
            TargetKind::Lines => Reading::Blocks(BlockFeed::new(bytes)),
            TargetKind::Url | TargetKind::Path => Reading::Lines(LineFeed::new(bytes, kind)),
        };
        Self { path, reading, packed_bytes: opened.packed_bytes }
    }

    pub(super) fn csv(path: PathBuf, columns: &Columns, lists: ListReading) -> Result<Self, SourceError> {
        let opened = open(&path, lists.encoding)?;
        let rows = CsvFeed::open(&path, opened.bytes, columns, lists.delimiter)?;
        Ok(Self { path, reading: Reading::Csv(Box::new(rows)), packed_bytes: opened.packed_bytes })
    }

    pub(super) fn json(path: PathBuf, opened: Opened, columns: &Columns) -> Self {
        let reading = Reading::Json(JsonFeed::new(line_feeds(opened.bytes, Returns::MayEnd), columns));
        Self { path, reading, packed_bytes: opened.packed_bytes }
    }

    #[cfg(feature = "parquet")]
    pub(super) fn parquet(path: PathBuf, columns: &Columns) -> Result<Self, SourceError> {
        let rows = ParquetFeed::open(&path, columns)?;
        Ok(Self { path, reading: Reading::Parquet(Box::new(rows)), packed_bytes: None })
    }

    #[cfg(not(feature = "parquet"))]
    pub(super) fn parquet(path: PathBuf, _: &Columns) -> Result<Self, SourceError> {
        let error =
            std::io::Error::other("this build cannot read Parquet; rebuild it with the feature `parquet`");
        Err(SourceError::Open { path, error })
    }

    pub(super) fn tree(path: PathBuf, within: Within) -> Self {
        let (walk, first) = Walk::begin(path.clone(), within);
        Self { path, reading: Reading::Tree(walk, first), packed_bytes: None }
    }

    /// Whether targets are found by walking, and not listed.
    pub(super) const fn is_tree(&self) -> bool {
        matches!(self.reading, Reading::Tree(..))
    }

    /// Returns the next target, of at most `inputs_max` inputs.
    pub(super) fn next(&mut self, inputs_max: usize) -> Result<Option<Candidate>, SourceError> {
        let (next, unit, number) = match &mut self.reading {
            Reading::Lines(feed) => (feed.next(), "line", feed.reader.number + 1),
            Reading::Blocks(feed) => (feed.next(inputs_max), "line", feed.reader.number + 1),
            Reading::Csv(feed) => (feed.next(), "line", feed.line()),
            Reading::Json(feed) => (feed.next(), "line", feed.reader.number + 1),
            #[cfg(feature = "parquet")]
            Reading::Parquet(feed) => (feed.next(), "row", feed.row() + 1),
            Reading::Tree(walk, first) => return Ok(first.take().or_else(|| walk.next())),
        };
        next.map_err(|error| SourceError::Read { path: self.path.clone(), unit, number, error })
    }

    pub(super) fn is_ready(&self) -> bool {
        match &self.reading {
            Reading::Lines(feed) => feed.reader.is_ready(),
            Reading::Blocks(feed) => feed.is_ready(),
            Reading::Csv(feed) => feed.is_ready(),
            Reading::Json(feed) => feed.reader.is_ready(),
            #[cfg(feature = "parquet")]
            Reading::Parquet(_) => true,
            Reading::Tree(..) => true,
        }
    }

    pub(super) fn bytes_read(&self) -> u64 {
        if let Some(packed) = &self.packed_bytes {
            return packed.get();
        }
        match &self.reading {
            Reading::Lines(feed) => feed.reader.bytes_read,
            Reading::Blocks(feed) => feed.reader.bytes_read,
            Reading::Csv(feed) => feed.bytes_read(),
            Reading::Json(feed) => feed.reader.bytes_read,
            #[cfg(feature = "parquet")]
            Reading::Parquet(feed) => feed.bytes_read(),
            Reading::Tree(..) => 0,
        }
    }
}

/// Checks before the start that a CSV or Parquet file has the columns.
///
/// # Errors
/// If the file cannot be opened or read, or lacks a column.
pub fn check_columns(path: &Path, columns: &Columns, lists: ListReading) -> Result<(), SourceError> {
    let is_parquet = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"));
    let path = path.to_owned();
    let feed = if is_parquet { Feed::parquet(path, columns) } else { Feed::csv(path, columns, lists) };
    feed.map(drop)
}
