//! The input being read, whichever kind it is: one target after the other, and
//! how far that has come.

use std::path::{Path, PathBuf};

use super::blocks::BlockFeed;
use super::csv::CsvFeed;
use super::json::JsonFeed;
use super::lines::LineFeed;
use super::listed::ListedFeed;
use super::packed::{Opened, PackedBytes, open};
#[cfg(feature = "parquet")]
use super::parquet::ParquetFeed;
use super::text::{Returns, line_feeds};
use super::tree::Walk;
use super::{Bytes, Candidate, SourceError, TargetKind};
use crate::plan::{Columns, ListReading, Within};

/// The input being read.
pub(super) struct Feed {
    /// For messages.
    path: PathBuf,
    reading: Reading,
    packed_bytes: Option<PackedBytes>,
}

enum Reading {
    Lines(LineFeed),
    Blocks(BlockFeed),
    Csv(Box<CsvFeed>),
    Json(JsonFeed),
    Listed(ListedFeed),
    #[cfg(feature = "parquet")]
    Parquet(Box<ParquetFeed>),
    /// With the target that the named path itself is, not yet given.
    Tree(Walk, Option<Candidate>),
}

impl Feed {
    pub(super) fn lines(path: PathBuf, opened: Opened, kind: TargetKind) -> Self {
        // A file's name may have a carriage return in it, and so may JSON between two tokens.
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

    /// What sitemaps list.
    pub(super) fn listed(bytes: Bytes, keep: &[String]) -> Self {
        let reading = Reading::Listed(ListedFeed::new(bytes, keep));
        Self { path: PathBuf::from("what the sitemaps list"), reading, packed_bytes: None }
    }

    #[cfg(feature = "parquet")]
    pub(super) fn parquet(path: PathBuf, columns: &Columns) -> Result<Self, SourceError> {
        let rows = ParquetFeed::open(&path, columns)?;
        Ok(Self { path, reading: Reading::Parquet(Box::new(rows)), packed_bytes: None })
    }

    #[cfg(not(feature = "parquet"))]
    pub(super) fn parquet(path: PathBuf, _: &Columns) -> Result<Self, SourceError> {
        let error = std::io::Error::other("this build does not read Parquet");
        Err(SourceError::Open { path, error })
    }

    pub(super) fn tree(path: PathBuf, within: Within) -> Self {
        let (walk, first) = Walk::begin(path.clone(), within);
        Self { path, reading: Reading::Tree(walk, first), packed_bytes: None }
    }

    /// Whether targets are found, and not listed by somebody.
    pub(super) const fn is_tree(&self) -> bool {
        matches!(self.reading, Reading::Tree(..))
    }

    /// The next target, of at most `inputs_max` inputs.
    pub(super) fn next(&mut self, inputs_max: usize) -> Result<Option<Candidate>, SourceError> {
        let (next, unit, number) = match &mut self.reading {
            Reading::Lines(feed) => (feed.next(), "line", feed.reader.number + 1),
            Reading::Blocks(feed) => (feed.next(inputs_max), "line", feed.reader.number + 1),
            Reading::Csv(feed) => (feed.next(), "line", feed.line()),
            Reading::Json(feed) => (feed.next(), "line", feed.reader.number + 1),
            Reading::Listed(feed) => (feed.next(), "entry", feed.number + 1),
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
            Reading::Listed(feed) => feed.is_ready(),
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
            Reading::Listed(feed) => feed.bytes_read,
            #[cfg(feature = "parquet")]
            Reading::Parquet(feed) => feed.bytes_read(),
            Reading::Tree(..) => 0,
        }
    }
}

/// Refuses a CSV or Parquet file without the columns, before anything is started.
///
/// # Errors
/// When the file cannot be opened or read, or has no such columns.
pub fn check_columns(path: &Path, columns: &Columns, lists: ListReading) -> Result<(), SourceError> {
    let is_parquet = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"));
    let path = path.to_owned();
    let feed = if is_parquet { Feed::parquet(path, columns) } else { Feed::csv(path, columns, lists) };
    feed.map(drop)
}
