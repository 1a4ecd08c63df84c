//! A job as the user asked for it, resolved: every default filled in, every string parsed.
//!
//! `cli` makes it from flags, environment and files. Everything behind `cli` reads the plan and never
//! the command line.

use std::fs::File;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::sync::Arc;

use encoding_rs::Encoding;
use serde::{Deserialize, Serialize};
use shared::job::{MapSpec, Mode, SandboxLevel, Work};
use shared::select::{Each, Field, Preset};
use supervisor_core::frontier::Politeness;

use crate::format::Format;
use crate::objects::Object;

/// Directories that links may lead into; `None` is any.
pub type Within = Option<Arc<[PathBuf]>>;

/// One run, as resolved from the command line.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The work done on each target, with its limits.
    pub work: Work,
    /// Files that workers open through descriptors of this process, as long as the plan exists.
    pub held: Vec<Arc<File>>,
    /// The program that each record passes through afterwards; not for [`Work::Map`].
    pub then: Option<MapSpec>,
    /// The fields extracted from each page.
    pub fields: Vec<Field>,
    /// The elements that the fields are extracted from, one object each; `None` is the page itself.
    pub each: Option<Each>,
    /// Ready-made fields, after the others.
    pub presets: Vec<Preset>,
    /// Most CPU time for the extraction of one page.
    pub parse_timeout: std::time::Duration,
    /// The sources of targets, in order.
    pub inputs: Vec<Input>,
    /// How lists among them are read.
    pub lists: ListReading,
    /// Directories that links below an input may lead into.
    pub within: Within,
    /// Where the records go.
    pub output: Output,
    /// The object that a complete output is uploaded as; `None` if it stays on this machine.
    pub object: Option<Box<Object>>,
    /// The format of the output.
    pub format: Format,
    /// Records in each file of a directory; `None` is one file for all.
    pub split: Option<NonZeroU64>,
    /// The file that describes the output.
    pub manifest: Option<PathBuf>,
    /// The number of processes, and of targets in flight in each.
    pub pool: PoolPlan,
    /// Limits for each host.
    pub politeness: Politeness,
    /// What counts as one host in those limits.
    pub host_key: HostKey,
    /// The parts of the workers' sandbox that must be in force.
    pub sandbox: SandboxLevel,
    /// Whether records are written in input order.
    pub ordered: bool,
    /// Whether a csv job fails if there are rows that it cannot use.
    pub strict: bool,
    /// Whether a live bar is drawn.
    pub progress: When,
    /// Whether standard error gets nothing but the reason why a run failed.
    pub quiet: bool,
    /// The file for the summary as JSON.
    pub summary: Option<PathBuf>,
    /// The file for the HTML report.
    pub report: Option<PathBuf>,
    /// The file that the traps of a crawl are listed in.
    pub traps: Option<PathBuf>,
    /// The file that cookies are read from and kept in.
    pub cookie_jar: Option<PathBuf>,
}

impl Plan {
    /// Whether the output is made at the end, of records that are kept elsewhere until then.
    #[must_use]
    pub const fn is_derived(&self) -> bool {
        self.split.is_some() || self.format.is_whole()
    }
}

/// What it means that a target is processed twice, because of a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Twice {
    /// Only time is lost.
    Harmless,
    /// A server may act twice on it, so as little as possible is.
    Avoided,
    /// It must not be.
    Forbidden,
}

/// What counts as one host in the limits per host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HostKey {
    /// A name or address, and its port.
    #[default]
    Host,
    /// A registrable domain, over all its subdomains and ports.
    Domain,
    /// An address, over all names and ports.
    Ip,
}

/// How lists of inputs are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ListReading {
    /// Their encoding if no byte order mark says it; `None` is UTF-8.
    pub encoding: Option<&'static Encoding>,
    /// The delimiter between cells of a table; `None` is the one that goes with its name.
    pub delimiter: Option<u8>,
    /// Whether a process of its own reads them, because they come from strangers.
    pub isolated: bool,
}

/// One source of targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A single target given on the command line.
    Literal(Vec<u8>),
    /// A file with one target per line; blank lines and `#` comments are skipped.
    Lines(PathBuf),
    /// The same, from standard input.
    StdinLines,
    /// One column of a CSV file with a header, or of a `.tsv` file, which has tabs between cells.
    CsvColumn(PathBuf, Columns),
    /// One key of a JSON-lines file.
    JsonColumn(PathBuf, Columns),
    /// One column of a Parquet file.
    ParquetColumn(PathBuf, Columns),
    /// The pages that these sitemaps list; the sitemaps are read first.
    Sitemaps(Sitemaps),
    /// A file, or a directory walked for `*.html` and `*.htm`, sorted by name.
    Tree(PathBuf),
}

/// The columns of a table that are used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Columns {
    /// The column that holds the inputs; `None` if they are made from other columns.
    pub input: Option<String>,
    /// The columns that are carried into the records, in this order.
    pub keep: Vec<String>,
    /// Other columns that a request is made from. They are carried to the worker, and not into the records.
    pub used: Vec<String>,
}

impl Columns {
    /// The columns whose values are carried along, in this order.
    pub fn carried(&self) -> impl Iterator<Item = &String> {
        self.keep.iter().chain(&self.used)
    }
}

impl From<&str> for Columns {
    fn from(input: &str) -> Self {
        Self { input: Some(input.to_owned()), keep: Vec::new(), used: Vec::new() }
    }
}

/// Sitemaps to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sitemaps {
    /// Their URLs.
    pub urls: Vec<String>,
    /// Members of an entry that are carried into the record of its page, such as `lastmod`.
    pub keep: Vec<String>,
    /// Whether the run fails if one of them, or one that they name, cannot be read.
    pub strict: bool,
}

/// The destination of the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// A file that must not exist, or may be replaced.
    File {
        /// Its path.
        path: PathBuf,
        /// Whether an existing file is replaced. Always set for what is not a regular
        /// file (`/dev/null`, a named pipe), which is opened and written, never renamed onto.
        overwrite: bool,
        /// Whether an unfinished run's output is continued; never together with `overwrite`.
        resume: bool,
    },
    /// Nowhere: a comparison needs only the numbers.
    Discard,
}

/// One job run in every mode, as resolved from the command line.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// The job. Its mode is not set, its records are discarded, and its inputs can be read again and again.
    pub plan: Plan,
    /// How many inputs each run takes, from the first; `None` is all.
    pub sample: Option<NonZeroU64>,
}

/// One job to be advised on, as resolved from the command line.
#[derive(Debug, Clone)]
pub struct Survey {
    /// The job. Its mode is not set, its records are discarded, and nothing is tried again.
    pub plan: Plan,
    /// Most inputs, and requests, of the sample.
    pub sample: NonZeroU64,
    /// Whether the advice is printed as JSON.
    pub json: bool,
}

/// The number of processes, and of targets in flight in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolPlan {
    /// Worker processes; `None` is one per usable CPU. Always 1 in a mode with one worker.
    pub workers: Option<NonZeroU32>,
    /// The execution model; `None` is `auto`.
    pub mode: Option<Mode>,
    /// Targets in flight per worker; `None` is the default of the mode. Always 1 in a blocking mode.
    pub concurrency: Option<NonZeroU32>,
    /// Most memory that one worker may allocate, in bytes. A worker that has grown by half of it is recycled.
    pub worker_memory_bytes: Option<u64>,
    /// Targets after which a worker is replaced; ± 10 %, so that not all are replaced at once.
    pub recycle_after: Option<NonZeroU64>,
}

/// When something meant for a person is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// If standard error is a terminal.
    Auto,
    /// Also when piped.
    Always,
    /// Never.
    Never,
}
