//! What was asked for, resolved: every default filled in, every string parsed.
//!
//! `cli` makes it from flags, environment and files; everything behind
//! it takes its part and asks nothing of the command line any more.

use std::fs::File;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::sync::Arc;

use encoding_rs::Encoding;
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
    /// What is done to each target, with its limits.
    pub work: Work,
    /// Files that workers find as descriptors of this process, for as long as the plan is there.
    pub held: Vec<Arc<File>>,
    /// The program that each record is passed through afterwards; not for [`Work::Map`].
    pub then: Option<MapSpec>,
    /// The fields extracted from each page.
    pub fields: Vec<Field>,
    /// What the fields are taken of, one object each; `None` is the page itself.
    pub each: Option<Each>,
    /// Fields that need no selector, after the others.
    pub presets: Vec<Preset>,
    /// CPU time one page's extraction may take.
    pub parse_timeout: std::time::Duration,
    /// Where the targets come from, in order.
    pub inputs: Vec<Input>,
    /// How lists among them are read.
    pub lists: ListReading,
    /// Where links below an input may lead to.
    pub within: Within,
    /// Where the records go.
    pub output: Output,
    /// What becomes of the output once it is whole; `None` is that it stays where it is.
    pub object: Option<Box<Object>>,
    /// In which form.
    pub format: Format,
    /// How many of them go into each file of a directory; `None` is all into one.
    pub split: Option<NonZeroU64>,
    /// Where it is written what is in the output.
    pub manifest: Option<PathBuf>,
    /// How many processes, how many waits.
    pub pool: PoolPlan,
    /// How hosts are spared.
    pub politeness: Politeness,
    /// How much of the workers' sandbox must be in force.
    pub sandbox: SandboxLevel,
    /// Records in input order.
    pub ordered: bool,
    /// Whether a csv job fails if there are rows that it cannot use.
    pub strict: bool,
    /// Whether a live bar is drawn.
    pub progress: When,
    /// Nothing is said on standard error but why a run could not be done.
    pub quiet: bool,
    /// Where the summary goes as JSON.
    pub summary: Option<PathBuf>,
    /// Where the HTML report goes.
    pub report: Option<PathBuf>,
}

impl Plan {
    /// Whether the output is made of records that are kept elsewhere meanwhile: it appears when it is whole.
    #[must_use]
    pub const fn is_derived(&self) -> bool {
        self.split.is_some() || self.format.is_whole()
    }
}

/// How lists of inputs are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ListReading {
    /// Their encoding where no byte order mark says it; `None` is UTF-8.
    pub encoding: Option<&'static Encoding>,
    /// What stands between two cells of a table; `None` is what its name says.
    pub delimiter: Option<u8>,
}

/// One place that targets come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A single target given on the command line.
    Literal(Vec<u8>),
    /// A file with one target a line; blank lines and `#` comments are skipped.
    Lines(PathBuf),
    /// The same, from standard input.
    StdinLines,
    /// One column of a CSV file with a header; of a `.tsv` file, whose cells tabs separate.
    CsvColumn(PathBuf, Columns),
    /// One key of a JSON-lines file.
    JsonColumn(PathBuf, Columns),
    /// One column of a Parquet file.
    ParquetColumn(PathBuf, Columns),
    /// The pages that these sitemaps list, read out before the run.
    Sitemaps(Sitemaps),
    /// A file, or a directory walked for `*.html` and `*.htm`, sorted by name.
    Tree(PathBuf),
}

/// What is used of a table's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// The column that holds the inputs.
    pub input: String,
    /// Those that are carried into the records, in this order.
    pub keep: Vec<String>,
}

impl From<&str> for Columns {
    fn from(input: &str) -> Self {
        Self { input: input.to_owned(), keep: Vec::new() }
    }
}

/// Sitemaps to be read out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sitemaps {
    /// Where they are.
    pub urls: Vec<String>,
    /// What of an entry is carried into its page's record: `lastmod` and the like.
    pub keep: Vec<String>,
    /// Whether the run ends if one of them, or one that they name, cannot be read.
    pub strict: bool,
}

/// Where the records go.
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
    /// Nowhere: a comparison is after the numbers.
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

/// How many processes and how many waits in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolPlan {
    /// Worker processes; `None` is one per usable CPU. Always 1 in a mode that has one worker.
    pub workers: Option<NonZeroU32>,
    /// The execution model; `None` measures and picks.
    pub mode: Option<Mode>,
    /// Targets in flight per worker; `None` is the default of the mode. Always 1 in a mode that blocks.
    pub concurrency: Option<NonZeroU32>,
    /// Most memory one worker may allocate, in bytes; half of it above its own baseline recycles it.
    pub worker_memory_bytes: Option<u64>,
    /// Targets after which a worker is replaced; ± 10 %, so that not all go at once.
    pub recycle_after: Option<NonZeroU64>,
}

/// Whether something meant for a person is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// If standard error is a terminal.
    Auto,
    /// Also when piped.
    Always,
    /// Not at all.
    Never,
}
