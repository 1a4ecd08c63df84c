//! The input being read, of any kind. Returns one target after another, and the position.

use std::path::{Path, PathBuf};

use super::blocks::BlockFeed;
use super::csv::CsvFeed;
use super::json::JsonFeed;
use super::lines::LineFeed;
use super::listed::ListedFeed;
use super::packed::{ListFile, OpenList, PackedBytes, read};
#[cfg(feature = "parquet")]
use super::parquet::ParquetFeed;
use super::remote::{ListFormat, RemoteFeed};
use super::text::{CarriageReturns, line_feeds};
use super::tree::Walk;
use super::{Bytes, Candidate, Next, SourceError, TargetKind};
use crate::plan::{Columns, ListReading, Within};

/// The input being read.
pub(super) struct Feed {
    /// The path, for messages.
    path: PathBuf,
    reading: FeedKind,
    packed_bytes: Option<PackedBytes>,
}

enum FeedKind {
    Lines(LineFeed),
    Blocks(BlockFeed),
    Csv(Box<CsvFeed>),
    Json(JsonFeed),
    Listed(ListedFeed),
    #[cfg(feature = "parquet")]
    Parquet(Box<ParquetFeed>),
    /// A list that another process reads.
    Remote(Box<RemoteFeed>),
    /// A directory tree; the candidate is the named path itself, if it is a target that was not returned yet.
    Tree(Walk, Option<Candidate>),
}

impl Feed {
    /// Reads a list in this process.
    pub(super) fn list(
        list: ListFile,
        format: &ListFormat,
        kind: TargetKind,
        lists: ListReading,
    ) -> Result<Self, SourceError> {
        let path = list.path.clone();
        match format {
            ListFormat::Lines => Ok(Self::lines(path, read(list, lists.encoding)?, kind)),
            ListFormat::Json(columns) => Ok(Self::json(path, read(list, lists.encoding)?, columns)),
            ListFormat::Csv(columns) => Self::csv(list, columns, lists),
            ListFormat::Parquet(columns) => Self::parquet(list, columns),
        }
    }

    /// Reads a list, in this process or in one of its own.
    pub(super) fn open(
        path: &Path,
        format: &ListFormat,
        kind: TargetKind,
        lists: ListReading,
    ) -> Result<Self, SourceError> {
        if !lists.isolated {
            return Self::list(ListFile::open(path)?, format, kind, lists);
        }
        let reading = FeedKind::Remote(Box::new(RemoteFeed::open(path, format, kind, lists)?));
        Ok(Self { path: path.to_owned(), reading, packed_bytes: None })
    }

    pub(super) fn lines(path: PathBuf, opened: OpenList, kind: TargetKind) -> Self {
        // A file name may contain a carriage return, and so may JSON between two tokens.
        let returns = if kind == TargetKind::Url { CarriageReturns::End } else { CarriageReturns::MayEnd };
        let bytes = line_feeds(opened.bytes, returns);
        let reading = match kind {
            TargetKind::Lines => FeedKind::Blocks(BlockFeed::new(bytes)),
            TargetKind::Url | TargetKind::Path => FeedKind::Lines(LineFeed::new(bytes, kind)),
        };
        Self { path, reading, packed_bytes: opened.packed_bytes }
    }

    fn csv(list: ListFile, columns: &Columns, lists: ListReading) -> Result<Self, SourceError> {
        let path = list.path.clone();
        let opened = read(list, lists.encoding)?;
        let rows = CsvFeed::open(&path, opened.bytes, columns, lists.delimiter)?;
        Ok(Self { path, reading: FeedKind::Csv(Box::new(rows)), packed_bytes: opened.packed_bytes })
    }

    fn json(path: PathBuf, opened: OpenList, columns: &Columns) -> Self {
        let reading =
            FeedKind::Json(JsonFeed::new(line_feeds(opened.bytes, CarriageReturns::MayEnd), columns));
        Self { path, reading, packed_bytes: opened.packed_bytes }
    }

    /// What sitemaps list.
    pub(super) fn listed(bytes: Bytes, keep: &[String]) -> Self {
        let reading = FeedKind::Listed(ListedFeed::new(bytes, keep));
        Self { path: PathBuf::from("what the sitemaps list"), reading, packed_bytes: None }
    }

    #[cfg(feature = "parquet")]
    fn parquet(list: ListFile, columns: &Columns) -> Result<Self, SourceError> {
        let path = list.path.clone();
        let rows = ParquetFeed::open(list, columns)?;
        Ok(Self { path, reading: FeedKind::Parquet(Box::new(rows)), packed_bytes: None })
    }

    #[cfg(not(feature = "parquet"))]
    fn parquet(list: ListFile, _: &Columns) -> Result<Self, SourceError> {
        let error =
            std::io::Error::other("this build cannot read Parquet; rebuild it with the feature `parquet`");
        Err(SourceError::Open { path: list.path, error })
    }

    pub(super) fn tree(path: PathBuf, within: Within) -> Self {
        let (walk, first) = Walk::begin(path.clone(), within);
        Self { path, reading: FeedKind::Tree(walk, first), packed_bytes: None }
    }

    /// Whether targets are found by walking, and not listed.
    pub(super) const fn is_tree(&self) -> bool {
        matches!(self.reading, FeedKind::Tree(..))
    }

    /// Returns the next target, of at most `inputs_max` inputs.
    pub(super) fn next(&mut self, inputs_max: usize) -> Result<Next, SourceError> {
        let (next, unit, number) = match &mut self.reading {
            FeedKind::Lines(feed) => (feed.next(), "line", feed.reader.number + 1),
            FeedKind::Blocks(feed) => (feed.next(inputs_max), "line", feed.reader.number + 1),
            FeedKind::Csv(feed) => (feed.next(), "line", feed.line()),
            FeedKind::Json(feed) => (feed.next(), "line", feed.reader.number + 1),
            FeedKind::Listed(feed) => (feed.next(), "entry", feed.number + 1),
            #[cfg(feature = "parquet")]
            FeedKind::Parquet(feed) => (feed.next(), "row", feed.row() + 1),
            FeedKind::Remote(feed) => return feed.next(inputs_max),
            FeedKind::Tree(walk, first) => return Ok(first.take().or_else(|| walk.next()).into()),
        };
        next.map(Next::from).map_err(|error| SourceError::Read {
            path: self.path.clone(),
            unit,
            number,
            error,
        })
    }

    pub(super) fn is_ready(&self) -> bool {
        match &self.reading {
            FeedKind::Lines(feed) => feed.reader.is_ready(),
            FeedKind::Blocks(feed) => feed.is_ready(),
            FeedKind::Csv(feed) => feed.is_ready(),
            FeedKind::Json(feed) => feed.reader.is_ready(),
            FeedKind::Listed(feed) => feed.is_ready(),
            #[cfg(feature = "parquet")]
            FeedKind::Parquet(_) => true,
            FeedKind::Remote(feed) => feed.is_ready(),
            FeedKind::Tree(..) => true,
        }
    }

    pub(super) fn bytes_read(&self) -> u64 {
        if let Some(packed) = &self.packed_bytes {
            return packed.get();
        }
        match &self.reading {
            FeedKind::Lines(feed) => feed.reader.bytes_read,
            FeedKind::Blocks(feed) => feed.reader.bytes_read,
            FeedKind::Csv(feed) => feed.bytes_read(),
            FeedKind::Json(feed) => feed.reader.bytes_read,
            FeedKind::Listed(feed) => feed.bytes_read,
            #[cfg(feature = "parquet")]
            FeedKind::Parquet(feed) => feed.bytes_read(),
            FeedKind::Remote(feed) => feed.bytes_read(),
            FeedKind::Tree(..) => 0,
        }
    }
}

/// Checks before the start that a CSV or Parquet file has the columns.
///
/// # Errors
/// If the file cannot be opened or read, or lacks a column.
pub fn check_columns(path: &Path, columns: &Columns, lists: ListReading) -> Result<(), SourceError> {
    let is_parquet = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"));
    let columns = columns.clone();
    let format = if is_parquet { ListFormat::Parquet(columns) } else { ListFormat::Csv(columns) };
    Feed::open(path, &format, TargetKind::Url, lists).map(drop)
}
