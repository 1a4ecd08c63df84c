//! Streams targets: what is to be fetched or parsed, one at a time, whatever
//! the size of the input. Fed by [`crate::plan::Input`], pulled by the runtime
//! on a thread of its own, because reading a pipe may wait for ever.
//!
//! Every input gets exactly one id, in order, from 0, over all inputs together.
//! Nothing is held but one buffer and one line.

mod csv;
mod header;
mod host;
mod json;
mod lines;
mod ranges;
mod tree;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use self::csv::CsvFeed;
pub use self::header::{HeaderError, Reading as HeaderReading, read as read_header};
pub use self::host::Host;
use self::host::HostFinder;
use self::json::JsonFeed;
pub use self::lines::Bytes;
use self::lines::LineFeed;
pub use self::ranges::{Abandoned, Ranges};
use self::tree::Walk;
use crate::plan::Input;

/// Longest target, in bytes. A message to a worker is at most 32 KiB and a target
/// must fit in one; servers stop at 8 KiB of URL, Linux at 4 KiB of path.
pub const TARGET_BYTES_MAX: usize = 24 * 1024;

/// How much of something too long is shown in its record.
const SHOWN_BYTES: usize = 200;

/// What a target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetKind {
    /// To be fetched; has a host whose budget counts.
    Url,
    /// To be read from disk.
    Path,
}

/// One target.
#[derive(Debug, PartialEq, Eq)]
pub struct SourceItem {
    /// Its position over all inputs, from 0.
    pub id: u64,
    /// The URL or path, byte for byte.
    pub input: Vec<u8>,
    /// Whom it asks; `None` for a path and for what is not an http(s) URL.
    pub host: Option<Host>,
    /// Why it cannot be handed to a worker. Its record is written without one.
    pub refused: Option<Box<str>>,
}

/// How far reading has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Targets given so far.
    pub items: u64,
    /// How many there are in all, once that is known.
    pub items_total: Option<u64>,
    /// Bytes of the inputs that these targets took up.
    pub bytes_read: u64,
    /// Bytes of all inputs; `None` when one is a pipe or a directory.
    pub bytes_total: Option<u64>,
}

/// Why targets cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// An input cannot be opened.
    #[error("cannot open {}: {error}", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// An input cannot be read to its end.
    #[error("cannot read {} at line {line}: {error}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Where, from 1.
        line: u64,
        /// Why.
        error: io::Error,
    },
    /// A place to cut a file cannot be looked for.
    #[error("cannot read {} at byte {at}: {error}", path.display())]
    Cut {
        /// Which.
        path: PathBuf,
        /// Where.
        at: u64,
        /// Why.
        error: io::Error,
    },
    /// A CSV file has no such column.
    #[error("{}: no column \"{column}\" in its header; {}", path.display(), hint(names, nearest.as_deref()))]
    NoColumn {
        /// Which file.
        path: PathBuf,
        /// What was asked for.
        column: String,
        /// The columns there are (the first thousand).
        names: Vec<String>,
        /// The one that was probably meant.
        nearest: Option<String>,
    },
}

fn hint(names: &[String], nearest: Option<&str>) -> String {
    match (nearest, names) {
        (Some(nearest), _) => format!("did you mean \"{nearest}\"?"),
        (None, []) => "it is empty".to_owned(),
        (None, names) => format!("it has: {}", names.get(..20).unwrap_or(names).join(", ")),
    }
}

/// A target before it has an id.
#[derive(Debug, PartialEq, Eq)]
struct Candidate {
    input: Vec<u8>,
    refused: Option<Box<str>>,
}

impl Candidate {
    const fn good(input: Vec<u8>) -> Self {
        Self { input, refused: None }
    }

    fn refused(shown: &[u8], why: String) -> Self {
        Self { input: shown.get(..SHOWN_BYTES).unwrap_or(shown).to_vec(), refused: Some(why.into()) }
    }

    fn too_long(shown: &[u8], bytes: u64) -> Self {
        Self::refused(shown, format!("{bytes} bytes; a target has at most {TARGET_BYTES_MAX}"))
    }

    /// A cell of a table: unlike a blank line, an empty one counts, or ids would not be rows.
    fn cell(text: &[u8], why_empty: impl FnOnce() -> String) -> Self {
        if text.is_empty() {
            Self::refused(text, why_empty())
        } else if text.len() > TARGET_BYTES_MAX {
            Self::too_long(text, text.len() as u64)
        } else {
            Self::good(text.to_vec())
        }
    }
}

/// Gives targets, one batch after another.
pub trait Targets {
    /// Appends up to `max` targets to `out`; `false` when there are no more.
    ///
    /// # Errors
    /// When an input cannot be read. Targets appended before an error are good.
    fn next_batch(&mut self, out: &mut Vec<SourceItem>, max: usize) -> Result<bool, SourceError>;

    /// How far reading has come; for a bar and its ETA.
    fn position(&self) -> Progress;
}

/// All targets of a run, in order.
pub struct Source {
    kind: TargetKind,
    inputs: VecDeque<Input>,
    feed: Option<Feed>,
    /// What is read as standard input, until it is.
    stdin: Option<Bytes>,
    hosts: HostFinder,
    next_id: u64,
    /// Bytes of the inputs that are behind us.
    bytes_done: u64,
    bytes_total: Option<u64>,
    ended: bool,
    /// Targets in all, when every input is a target.
    literals: Option<u64>,
}

impl Source {
    /// Begins at the first input. Opens nothing yet, so that a thousand `-i` need one file at a time.
    pub fn new(inputs: &[Input], kind: TargetKind) -> Self {
        let all_literal = inputs.iter().all(|input| matches!(input, Input::Literal(_)));
        Self {
            kind,
            bytes_total: inputs.iter().map(size).sum(),
            inputs: inputs.iter().cloned().collect(),
            feed: None,
            stdin: None,
            hosts: HostFinder::default(),
            next_id: 0,
            bytes_done: 0,
            ended: false,
            literals: all_literal.then_some(inputs.len() as u64),
        }
    }

    /// Reads `bytes` where an input says standard input.
    #[must_use]
    pub fn with_stdin(mut self, bytes: Option<Bytes>) -> Self {
        self.stdin = bytes;
        self
    }

    /// Appends up to `max` targets to `out`; `false` when there are no more.
    ///
    /// Waits for the first one only: what has arrived on a pipe is not held back
    /// until more of it does. Targets appended before an error are good.
    ///
    /// # Errors
    /// When an input cannot be opened, read on, or has not the column asked for.
    pub fn next_batch(&mut self, out: &mut Vec<SourceItem>, max: usize) -> Result<bool, SourceError> {
        for given in 0..max {
            if given > 0 && !self.is_ready() {
                break;
            }
            let Some(candidate) = self.next()? else {
                self.ended = true;
                return Ok(false);
            };
            let host = match (self.kind, &candidate.refused) {
                (TargetKind::Url, None) => self.hosts.find(&candidate.input),
                (TargetKind::Url, Some(_)) | (TargetKind::Path, _) => None,
            };
            out.push(SourceItem {
                id: self.next_id,
                input: candidate.input,
                host,
                refused: candidate.refused,
            });
            self.next_id += 1;
        }
        Ok(true)
    }

    /// How far reading has come; for a bar and its ETA.
    pub fn position(&self) -> Progress {
        Progress {
            items: self.next_id,
            items_total: if self.ended { Some(self.next_id) } else { self.literals },
            bytes_read: self.bytes_done + self.feed.as_ref().map_or(0, Feed::bytes_read),
            bytes_total: self.bytes_total,
        }
    }

    fn next(&mut self) -> Result<Option<Candidate>, SourceError> {
        loop {
            if let Some(feed) = &mut self.feed {
                if let Some(candidate) = feed.next()? {
                    return Ok(Some(candidate));
                }
                self.bytes_done += feed.bytes_read();
                self.feed = None;
            }
            let Some(input) = self.inputs.pop_front() else {
                return Ok(None);
            };
            self.feed = Some(match input {
                Input::Literal(input) => {
                    self.bytes_done += input.len() as u64;
                    return Ok(Some(Candidate::cell(&input, || "empty".to_owned())));
                }
                Input::StdinLines => {
                    let lines =
                        LineFeed::new(self.stdin.take().unwrap_or_else(|| Box::new(io::stdin())), self.kind);
                    Feed { path: PathBuf::from("standard input"), reading: Reading::Lines(lines) }
                }
                Input::Lines(path) => {
                    Feed { reading: Reading::Lines(LineFeed::new(open(&path)?, self.kind)), path }
                }
                Input::CsvColumn(path, column) => {
                    let rows = CsvFeed::open(&path, open(&path)?, &column)?;
                    Feed { path, reading: Reading::Csv(Box::new(rows)) }
                }
                Input::JsonColumn(path, key) => {
                    Feed { reading: Reading::Json(JsonFeed::new(open(&path)?, key)), path }
                }
                Input::Tree(path) => {
                    let (walk, first) = Walk::begin(path.clone());
                    Feed { path, reading: Reading::Tree(walk, first) }
                }
            });
        }
    }

    /// Whether the next target is there without waiting for whoever writes the input.
    fn is_ready(&self) -> bool {
        match (&self.feed, self.inputs.front()) {
            (Some(feed), _) => feed.is_ready(),
            (None, None | Some(Input::Literal(_) | Input::Tree(_))) => true,
            (None, Some(_)) => false,
        }
    }
}

impl Targets for Source {
    fn next_batch(&mut self, out: &mut Vec<SourceItem>, max: usize) -> Result<bool, SourceError> {
        Self::next_batch(self, out, max)
    }

    fn position(&self) -> Progress {
        Self::position(self)
    }
}

/// Bytes an input will be read for, if that is known.
fn size(input: &Input) -> Option<u64> {
    match input {
        Input::Literal(input) => Some(input.len() as u64),
        Input::Lines(path) | Input::CsvColumn(path, _) | Input::JsonColumn(path, _) => {
            fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|metadata| metadata.len())
        }
        Input::StdinLines | Input::Tree(_) => None,
    }
}

/// Refuses a CSV file without the column, before anything is started.
///
/// # Errors
/// When the file cannot be opened or read, or has no such column.
pub fn check_column(path: &Path, column: &str) -> Result<(), SourceError> {
    CsvFeed::open(path, open(path)?, column).map(drop)
}

fn open(path: &Path) -> Result<Bytes, SourceError> {
    File::open(path)
        .map(|file| Box::new(file) as Bytes)
        .map_err(|error| SourceError::Open { path: path.to_owned(), error })
}

/// The input being read.
struct Feed {
    /// For messages.
    path: PathBuf,
    reading: Reading,
}

enum Reading {
    Lines(LineFeed),
    Csv(Box<CsvFeed>),
    Json(JsonFeed),
    /// With the target that the named path itself is, not yet given.
    Tree(Walk, Option<Candidate>),
}

impl Feed {
    fn next(&mut self) -> Result<Option<Candidate>, SourceError> {
        let (next, line) = match &mut self.reading {
            Reading::Lines(feed) => (feed.next(), feed.reader.number + 1),
            Reading::Csv(feed) => (feed.next(), feed.line()),
            Reading::Json(feed) => (feed.next(), feed.reader.number + 1),
            Reading::Tree(walk, first) => return Ok(first.take().or_else(|| walk.next())),
        };
        next.map_err(|error| SourceError::Read { path: self.path.clone(), line, error })
    }

    fn is_ready(&self) -> bool {
        match &self.reading {
            Reading::Lines(feed) => feed.reader.is_ready(),
            Reading::Csv(feed) => feed.is_ready(),
            Reading::Json(feed) => feed.reader.is_ready(),
            Reading::Tree(..) => true,
        }
    }

    const fn bytes_read(&self) -> u64 {
        match &self.reading {
            Reading::Lines(feed) => feed.reader.bytes_read,
            Reading::Csv(feed) => feed.bytes_read(),
            Reading::Json(feed) => feed.reader.bytes_read,
            Reading::Tree(..) => 0,
        }
    }
}

#[cfg(test)]
mod tests;
