//! Streams targets one at a time, whatever the size of the input. Made from
//! [`crate::plan::Input`], read by the runtime on a thread of its own, because
//! reading a pipe may wait for ever.
//!
//! Every input gets exactly one id, in order, from 0, over all inputs together.
//! It holds one buffer and one line, or one block of lines.

mod blocks;
mod csv;
mod cut;
mod error;
mod feed;
mod header;
mod hold;
mod host;
mod host_key;
mod json;
mod kept;
mod lines;
mod listed;
mod packed;
#[cfg(feature = "parquet")]
mod parquet;
mod ranges;
mod reader;
mod remote;
mod text;
mod tree;

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shared::kept::Kept;
use shared::template::Template;

pub use self::error::SourceError;
pub(crate) use self::error::hint as column_hint;
use self::feed::Feed;
pub use self::feed::check_columns;
pub use self::header::{CsvReading, Header, HeaderError, NamedFile, read as read_header};
pub use self::hold::{Held, descriptor_or_pipe};
pub(crate) use self::host::HostFinder;
pub use self::host_key::Host;
use self::kept::Encoded;
use self::packed::OpenList;
pub use self::packed::unpacked;
pub use self::ranges::Ranges;
pub(crate) use self::ranges::shown_part;
pub(crate) use self::reader::read_list;
use self::remote::ListFormat;
pub use self::remote::Patience;
pub(crate) use self::remote::READER;
use self::text::trimmed;
pub use self::tree::{is_allowed, led_out, pages};
use crate::descriptor;
use crate::plan::{Input, ListReading, Plan, Within};

/// Longest target, in bytes, with what is kept of its row. A target must fit into one message to a worker,
/// which has at most 32 KiB. Servers take URLs of up to 8 KiB, Linux paths of up to 4 KiB.
pub const TARGET_BYTES_MAX: usize = 24 * 1024;

/// Longest line of JSON: room for a record that carries a page's text.
pub const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// An input that is read: a file, a pipe, or a slice in a test.
pub type Bytes = Box<dyn io::Read + Send>;

/// Bytes of targets after which a batch ends.
const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// Why a URL in a list cannot be used.
const NOT_UTF8: &str = "it is not UTF-8; say what the list is with --encoding, such as windows-1252";

/// Bytes of a target too long that its record shows.
const SHOWN_BYTES: usize = 200;

/// Longest reason for which a target is refused.
const REASON_BYTES_MAX: usize = 8 * 1024;

/// What a target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TargetKind {
    /// A URL to fetch; the budget of its host counts.
    Url,
    /// A file, or a part of one, to read from disk.
    Path,
    /// Lines to pass through a program; a block of them is one target.
    Lines,
}

/// One target.
#[derive(Debug, PartialEq, Eq)]
pub struct SourceItem {
    /// Its position over all inputs, from 0.
    pub id: u64,
    /// The number of inputs in it, whose ids are consecutive.
    pub inputs: u64,
    /// The URL, the path or the lines, byte for byte.
    pub input: Vec<u8>,
    /// The values that are carried into its record, encoded; may be empty.
    pub kept: Vec<u8>,
    /// The host that it asks; `None` for a path, and for anything but an http(s) URL.
    pub host: Option<Host>,
    /// Why no worker can take it, if so. The supervisor writes its record.
    pub refused: Option<Box<str>>,
}

/// How far reading has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Inputs given so far.
    pub items: u64,
    /// Inputs in all, once that is known.
    pub items_total: Option<u64>,
    /// Bytes of the input that have been read for them.
    pub bytes_read: u64,
    /// Bytes of all inputs; `None` when one is a pipe or a directory.
    pub bytes_total: Option<u64>,
}

/// What comes next of an input.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Target(Candidate),
    /// Nothing yet: the process that reads the list is still at work.
    Later,
    End,
}

impl From<Option<Candidate>> for Next {
    fn from(candidate: Option<Candidate>) -> Self {
        candidate.map_or(Self::End, Self::Target)
    }
}

/// A target before it has an id.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Candidate {
    #[serde(with = "serde_bytes")]
    input: Vec<u8>,
    /// How many inputs it is.
    inputs: u64,
    #[serde(with = "serde_bytes")]
    kept: Vec<u8>,
    refused: Option<Box<str>>,
}

impl Candidate {
    const fn good(input: Vec<u8>) -> Self {
        Self { input, inputs: 1, kept: Vec::new(), refused: None }
    }

    fn refused(shown: &[u8], mut why: String) -> Self {
        let input = shown.get(..SHOWN_BYTES).unwrap_or(shown).to_vec();
        // A reason may quote what it refuses.
        why.truncate(why.floor_char_boundary(REASON_BYTES_MAX));
        Self { input, inputs: 1, kept: Vec::new(), refused: Some(why.into()) }
    }

    fn too_long(shown: &[u8], bytes: u64) -> Self {
        Self::refused(shown, format!("{bytes} bytes; a target has at most {TARGET_BYTES_MAX}"))
    }

    fn line_too_long(shown: &[u8], bytes: u64) -> Self {
        Self::refused(shown, format!("{bytes} bytes; a line has at most {LINE_BYTES_MAX}"))
    }

    /// A cell of a table. Unlike a blank line, an empty cell counts, or ids would not be row numbers.
    fn cell(text: &[u8], why_empty: impl FnOnce() -> String) -> Self {
        if text.is_empty() {
            Self::refused(text, why_empty())
        } else if text.len() > TARGET_BYTES_MAX {
            Self::too_long(text, text.len() as u64)
        } else {
            Self::good(text.to_vec())
        }
    }

    /// Makes its URL from its row.
    fn with_url(mut self, url: &Template) -> Self {
        if self.refused.is_some() {
            return self;
        }
        let bytes_max = TARGET_BYTES_MAX.saturating_sub(self.kept.len());
        match url.fill(bytes_max, |name| Kept(&self.kept).find(name)) {
            Ok(input) => {
                self.input = input;
                self
            }
            Err(why) => Self { refused: Some(format!("--url: {why}").into()), ..self },
        }
    }

    /// Adds what is kept of its row, if there is room for both.
    fn with(mut self, kept: Encoded) -> Self {
        let bytes = kept.bytes.saturating_add(self.input.len() as u64);
        if bytes <= TARGET_BYTES_MAX as u64 {
            self.kept = kept.values;
            return self;
        }
        if self.refused.is_some() {
            return self;
        }
        let why = format!(
            "with what is kept of its row it has {bytes} bytes, and at most {TARGET_BYTES_MAX} can be carried"
        );
        Self::refused(&self.input, why)
    }
}

/// A source of targets, batch after batch.
pub trait Targets {
    /// Appends up to `max` targets to `out`; `false` when there are no more.
    ///
    /// # Errors
    /// If an input cannot be read. Targets appended before an error are good.
    fn next_batch(&mut self, out: &mut Vec<SourceItem>, max: usize) -> Result<bool, SourceError>;

    /// Returns how far reading has come; for a bar and its ETA.
    fn position(&self) -> Progress;

    /// Gives no further parts of this input file. For targets that are parts of files.
    fn leave_out(&mut self, _file: u32) {}
}

/// All targets of a run, in order.
pub struct Source {
    kind: TargetKind,
    inputs: VecDeque<Input>,
    feed: Option<Feed>,
    /// What is read in place of standard input, until it is its turn.
    stdin: Option<Bytes>,
    /// What the sitemaps list, until it is its turn.
    sitemaps: Option<Bytes>,
    lists: ListReading,
    within: Within,
    hosts: HostFinder,
    /// What URLs are made from, if they are not in a column.
    url: Option<Template>,
    next_id: u64,
    /// Bytes of the inputs that have been read to their ends.
    bytes_done: u64,
    bytes_total: Option<u64>,
    ended: bool,
    /// Inputs in all, if each is a target itself.
    literals: Option<u64>,
}

impl Source {
    /// Reads the inputs of a plan, which name targets of this kind.
    #[must_use]
    pub fn of(plan: &Plan, kind: TargetKind) -> Self {
        let source = Self::new(&plan.inputs, kind);
        let hosts = HostFinder::keyed(plan.host_key);
        Self { lists: plan.lists, within: plan.within.clone(), hosts, ..source }
    }

    /// Begins at the first input. Opens each input when it is its turn, so that a thousand `-i` need one
    /// descriptor.
    pub fn new(inputs: &[Input], kind: TargetKind) -> Self {
        let all_literal = inputs.iter().all(|input| matches!(input, Input::Literal(_)));
        Self {
            kind,
            bytes_total: inputs.iter().map(size).sum(),
            inputs: inputs.iter().cloned().collect(),
            feed: None,
            stdin: None,
            sitemaps: None,
            lists: ListReading::default(),
            within: None,
            hosts: HostFinder::default(),
            url: None,
            next_id: 0,
            bytes_done: 0,
            ended: false,
            literals: all_literal.then_some(inputs.len() as u64),
        }
    }

    /// Makes the URL of each row from its columns.
    #[must_use]
    pub fn with_urls(mut self, url: Option<&Template>) -> Self {
        self.url = url.cloned();
        self
    }

    /// Reads `bytes` where an input says standard input.
    #[must_use]
    pub fn with_stdin(mut self, bytes: Option<Bytes>) -> Self {
        self.stdin = bytes;
        self
    }

    /// Reads `entries` where an input says sitemaps: framed entries of sitemaps.
    #[must_use]
    pub fn with_sitemaps(mut self, entries: Option<Bytes>) -> Self {
        self.sitemaps = entries;
        self
    }

    /// Appends targets of up to `max` inputs to `out`; `false` when there are no more.
    ///
    /// Waits only for the first one: targets that have arrived on a pipe do not wait for more. While another
    /// process reads a list and finds nothing, returns from time to time without a target.
    /// Targets appended before an error are good.
    ///
    /// # Errors
    /// If an input cannot be opened or read, or does not have the column.
    pub fn next_batch(&mut self, out: &mut Vec<SourceItem>, max: usize) -> Result<bool, SourceError> {
        let (mut given, mut bytes) = (0, 0);
        while given < max && bytes < BATCH_BYTES_MAX {
            if given > 0 && !self.is_ready() {
                break;
            }
            let mut candidate = match self.next(max - given)? {
                Next::Target(candidate) => candidate,
                Next::Later => break,
                Next::End => {
                    self.ended = true;
                    return Ok(false);
                }
            };
            if let Some(url) = &self.url {
                candidate = candidate.with_url(url);
            }
            if candidate.refused.is_none() {
                candidate.refused = self.why_not(&candidate.input).map(Into::into);
            }
            let host = match (self.kind, &candidate.refused) {
                (TargetKind::Url, None) => self.hosts.find(&candidate.input),
                (TargetKind::Url, Some(_)) | (TargetKind::Path | TargetKind::Lines, _) => None,
            };
            let inputs = candidate.inputs;
            given = given.saturating_add(usize::try_from(inputs).unwrap_or(usize::MAX));
            bytes += candidate.input.len();
            out.push(SourceItem {
                id: self.next_id,
                inputs,
                input: candidate.input,
                kept: candidate.kept,
                host,
                refused: candidate.refused,
            });
            self.next_id += inputs;
        }
        Ok(true)
    }

    /// Returns how far reading has come; for a bar and its ETA.
    pub fn position(&self) -> Progress {
        Progress {
            items: self.next_id,
            items_total: if self.ended { Some(self.next_id) } else { self.literals },
            bytes_read: self.bytes_done + self.feed.as_ref().map_or(0, Feed::bytes_read),
            bytes_total: self.bytes_total,
        }
    }

    /// Returns why an entry of a list cannot be used, if so.
    fn why_not(&self, input: &[u8]) -> Option<&'static str> {
        let is_listed = self.feed.as_ref().is_some_and(|feed| !feed.is_tree());
        match self.kind {
            TargetKind::Url if is_listed && str::from_utf8(input).is_err() => Some(NOT_UTF8),
            TargetKind::Path
                if is_listed && descriptor::is_of_a_process(Path::new(OsStr::from_bytes(input))) =>
            {
                Some("it is something else in each process; name it on the command line, and not in a list")
            }
            TargetKind::Url | TargetKind::Path | TargetKind::Lines => None,
        }
    }

    /// Reads the next target, of at most `inputs_max` inputs.
    fn next(&mut self, inputs_max: usize) -> Result<Next, SourceError> {
        loop {
            if let Some(feed) = &mut self.feed {
                match feed.next(inputs_max)? {
                    Next::End => {}
                    next @ (Next::Target(_) | Next::Later) => return Ok(next),
                }
                self.bytes_done += feed.bytes_read();
                self.feed = None;
            }
            let Some(input) = self.inputs.pop_front() else {
                return Ok(Next::End);
            };
            self.check(&input)?;
            self.feed = Some(match input {
                Input::Literal(input) => {
                    self.bytes_done += input.len() as u64;
                    let input = if self.kind == TargetKind::Url { trimmed(&input) } else { &input };
                    return Ok(Next::Target(Candidate::cell(input, || "empty".to_owned())));
                }
                Input::StdinLines => {
                    let bytes = self.stdin.take().unwrap_or_else(|| Box::new(io::stdin()));
                    let opened = OpenList::stream(bytes, self.lists.encoding);
                    Feed::lines(PathBuf::from("standard input"), opened, self.kind)
                }
                Input::Lines(path) => self.list(&path, &ListFormat::Lines)?,
                Input::CsvColumn(path, columns) => self.list(&path, &ListFormat::Csv(columns))?,
                Input::JsonColumn(path, columns) => self.list(&path, &ListFormat::Json(columns))?,
                Input::ParquetColumn(path, columns) => self.list(&path, &ListFormat::Parquet(columns))?,
                Input::Sitemaps(sitemaps) => {
                    let bytes = self.sitemaps.take().unwrap_or_else(|| Box::new(io::empty()));
                    Feed::listed(bytes, &sitemaps.keep)
                }
                Input::Tree(path) => Feed::tree(path, self.within.clone()),
            });
        }
    }

    fn list(&self, path: &Path, format: &ListFormat) -> Result<Feed, SourceError> {
        Feed::open(path, format, self.kind, self.lists)
    }

    /// Refuses a list outside of the directories that a job may read. It may have been changed since the job began.
    fn check(&self, input: &Input) -> Result<(), SourceError> {
        let path = match input {
            Input::Lines(path)
            | Input::CsvColumn(path, _)
            | Input::JsonColumn(path, _)
            | Input::ParquetColumn(path, _) => path,
            Input::Literal(_) | Input::StdinLines | Input::Sitemaps(_) | Input::Tree(_) => return Ok(()),
        };
        if is_allowed(path, &self.within) {
            return Ok(());
        }
        let why = "it leads out of the directories that jobs may read here (--allow-path)";
        let error = io::Error::new(io::ErrorKind::PermissionDenied, why);
        Err(SourceError::Open { path: path.clone(), error })
    }

    /// Whether the next target can be read without waiting for the writer of the input.
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

/// Returns the size of an input in bytes, if it is known.
fn size(input: &Input) -> Option<u64> {
    match input {
        Input::Literal(input) => Some(input.len() as u64),
        Input::Lines(path)
        | Input::CsvColumn(path, _)
        | Input::JsonColumn(path, _)
        | Input::ParquetColumn(path, _) => {
            fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|metadata| metadata.len())
        }
        Input::StdinLines | Input::Sitemaps(_) | Input::Tree(_) => None,
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
