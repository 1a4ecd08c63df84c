//! The command line as it is typed: commands, flags, their help and defaults.
//! The only list of flags there is: environment, files, completions and man
//! pages are all read off these definitions.
//!
//! Nothing here is resolved; `resolve` turns it into a [`crate::plan::Plan`].

use std::ffi::OsString;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;

use super::help;
use super::values::{self, AutoOr, Header, Limit, PerSecond};

/// Most worker processes; more than any machine has CPUs.
const WORKERS_MAX: u32 = 1024;

/// Most targets in flight in one worker; each holds a socket.
const CONCURRENCY_MAX: u32 = 16_384;

/// Most requests in flight to one host: all sockets one address can have.
const PER_HOST_MAX: u32 = 65_535;

/// Fetch and parse in bulk, on every core, losing nothing.
#[derive(Debug, Parser)]
#[command(name = "supervisor", version, long_about = help::ABOUT, after_long_help = help::ROOT, max_term_width = 100)]
pub(super) struct Flags {
    #[command(flatten)]
    pub(super) pool: PoolFlags,
    #[command(subcommand)]
    pub(super) verb: Option<Verb>,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Fetch URLs, extract fields, write one record for each
    #[command(after_long_help = help::FETCH)]
    Fetch(FetchFlags),
    /// Extract fields from saved HTML files, write one record for each
    #[command(after_long_help = help::PARSE)]
    Parse(ParseFlags),
    /// Run the same job in all four modes and show the difference
    #[command(after_long_help = help::COMPARE, subcommand_required = false)]
    Compare(CompareFlags),
    /// Print a completion script for a shell
    #[command(after_long_help = help::COMPLETIONS)]
    Completions {
        /// The shell to complete in
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },
    /// Write the man pages into a directory
    #[command(after_long_help = help::MAN)]
    Man {
        /// Where to write them; made if it does not exist
        #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
        dir: PathBuf,
    },
}

/// How the work is spread, and where more flags come from. Stand before or after the command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Pool")]
pub(super) struct PoolFlags {
    /// Worker processes; auto is one per CPU this process may use
    #[arg(
        long,
        global = true,
        value_name = "auto|N",
        default_value = "auto",
        allow_negative_numbers = true,
        value_parser = values::auto_or(WORKERS_MAX),
    )]
    pub(super) workers: AutoOr,
    /// Execution model; auto measures a few inputs, picks, and says why
    #[arg(long, global = true, value_enum, value_name = "MODE", default_value = "auto")]
    pub(super) mode: ModeFlag,
    /// Targets in flight in each worker; auto is the mode's own default
    #[arg(
        long,
        global = true,
        value_name = "auto|N",
        default_value = "auto",
        allow_negative_numbers = true,
        value_parser = values::auto_or(CONCURRENCY_MAX),
    )]
    pub(super) concurrency: AutoOr,
    /// Most memory one worker may allocate; one that grows by half of it is replaced [default: no limit]
    #[arg(long, global = true, value_name = "SIZE", value_parser = values::worker_memory)]
    pub(super) worker_memory: Option<u64>,
    /// Replace each worker after about N targets [default: never]
    #[arg(long, global = true, value_name = "N", allow_negative_numbers = true, value_parser = values::sample)]
    pub(super) recycle: Option<NonZeroU64>,
    /// Take from the workers what their job does not need: as far as this kernel can, all of it or fail, or not
    #[arg(long, global = true, value_enum, value_name = "auto|require|off", default_value = "auto")]
    pub(super) sandbox: SandboxFlag,
    /// Take defaults from this TOML file [default: /etc/muster/muster.toml, if it exists]
    #[arg(
        long,
        global = true,
        help_heading = "Flags from files",
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
    )]
    pub(super) config: Option<PathBuf>,
    /// Take the whole job from this TOML file: command, inputs, flags; flags given here override it
    #[arg(
        long,
        global = true,
        help_heading = "Flags from files",
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
    )]
    pub(super) job: Option<PathBuf>,
}

/// `fetch`.
#[derive(Debug, Args)]
pub(super) struct FetchFlags {
    #[command(flatten)]
    pub(super) targets: UrlFlags,
    #[command(flatten)]
    pub(super) lists: ListFlags,
    #[command(flatten)]
    pub(super) extract: ExtractFlags,
    #[command(flatten)]
    pub(super) network: NetworkFlags,
    #[command(flatten)]
    pub(super) output: OutputFlags,
    #[command(flatten)]
    pub(super) shown: ShownFlags,
}

/// `parse`.
#[derive(Debug, Args)]
pub(super) struct ParseFlags {
    #[command(flatten)]
    pub(super) targets: PathFlags,
    #[command(flatten)]
    pub(super) lists: ListFlags,
    #[command(flatten)]
    pub(super) extract: ExtractFlags,
    #[command(flatten)]
    pub(super) output: OutputFlags,
    #[command(flatten)]
    pub(super) shown: ShownFlags,
}

/// `compare`: its own flags stand before or after the command it runs.
#[derive(Debug, Args)]
pub(super) struct CompareFlags {
    /// Run on the first N inputs only [default: all of them]
    #[arg(
        long,
        global = true,
        value_name = "N",
        allow_negative_numbers = true,
        value_parser = values::sample,
    )]
    pub(super) sample: Option<NonZeroU64>,
    /// Write a self-contained HTML page: timelines, throughput, latency
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) report: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) verb: Option<CompareVerb>,
}

/// What `compare` runs four times.
#[derive(Debug, Subcommand)]
pub(super) enum CompareVerb {
    /// Compare the modes at fetching URLs
    #[command(after_long_help = help::COMPARE)]
    Fetch(CompareFetchFlags),
    /// Compare the modes at parsing saved HTML files
    #[command(after_long_help = help::COMPARE)]
    Parse(CompareParseFlags),
}

/// `compare fetch`: as `fetch`, but the records go nowhere.
#[derive(Debug, Args)]
pub(super) struct CompareFetchFlags {
    #[command(flatten)]
    pub(super) targets: UrlFlags,
    #[command(flatten)]
    pub(super) lists: ListFlags,
    #[command(flatten)]
    pub(super) extract: ExtractFlags,
    #[command(flatten)]
    pub(super) network: NetworkFlags,
    #[command(flatten)]
    pub(super) shown: ShownFlags,
}

/// `compare parse`: as `parse`, but the records go nowhere.
#[derive(Debug, Args)]
pub(super) struct CompareParseFlags {
    #[command(flatten)]
    pub(super) targets: PathFlags,
    #[command(flatten)]
    pub(super) lists: ListFlags,
    #[command(flatten)]
    pub(super) extract: ExtractFlags,
    #[command(flatten)]
    pub(super) shown: ShownFlags,
}

#[derive(Debug, Args)]
pub(super) struct UrlFlags {
    /// URLs to fetch, before those of the input files
    #[arg(value_name = "URL", value_hint = ValueHint::Url)]
    pub(super) urls: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(super) struct PathFlags {
    /// HTML files, and directories to walk for *.html and *.htm
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(super) paths: Vec<PathBuf>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Input")]
pub(super) struct ListFlags {
    /// Read inputs from a file, one a line, or from .csv, .tsv, .jsonl with --column; - is stdin; repeatable
    #[arg(short, long, value_name = "FILE|-", value_hint = ValueHint::FilePath)]
    pub(super) input: Vec<PathBuf>,
    /// Column of a CSV file, or key of a JSON-lines file, that holds the input
    #[arg(long, value_name = "NAME", value_parser = values::column)]
    pub(super) column: Option<String>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Extraction")]
pub(super) struct ExtractFlags {
    /// Extract a field: NAME=CSS::text or ::attr(A); NAME[]= takes every match; repeatable
    #[arg(long, value_name = "NAME=SEL", value_parser = values::select)]
    pub(super) select: Vec<String>,
    /// CPU time that extracting one page may take
    #[arg(
        long,
        value_name = "TIME",
        default_value = "10s",
        allow_negative_numbers = true,
        value_parser = values::duration,
    )]
    pub(super) parse_timeout: Duration,
    /// Largest page, after decompression; a larger one is a too_large error
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "16MiB",
        allow_negative_numbers = true,
        value_parser = values::body_bytes,
    )]
    pub(super) body_bytes_max: u64,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(super) struct NetworkFlags {
    /// Longest time for one target, redirects included
    #[arg(
        long,
        value_name = "TIME",
        default_value = "30s",
        allow_negative_numbers = true,
        value_parser = values::duration,
    )]
    pub(super) timeout: Duration,
    /// Longest time to resolve, connect and finish the TLS handshake
    #[arg(
        long,
        value_name = "TIME",
        default_value = "10s",
        allow_negative_numbers = true,
        value_parser = values::duration,
    )]
    pub(super) connect_timeout: Duration,
    /// Attempts after the first, for failures that may pass (0 to 100)
    #[arg(
        long,
        value_name = "N",
        default_value = "2",
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(0..=100),
    )]
    pub(super) retries: u32,
    /// Redirects followed before a target fails (0 to 100)
    #[arg(
        long,
        value_name = "N",
        default_value = "10",
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(0..=100),
    )]
    pub(super) redirects_max: u32,
    /// Requests in flight to one host, all workers together; auto is 8, and no limit on loopback
    #[arg(
        long,
        value_name = "auto|N|unlimited",
        default_value = "auto",
        allow_negative_numbers = true,
        value_parser = values::limit(PER_HOST_MAX),
    )]
    pub(super) per_host: Limit,
    /// Requests begun to one host, all workers together: 5/s, 300/m, 1000/h [default: no limit]
    #[arg(long, value_name = "N/s", allow_negative_numbers = true, value_parser = values::rate)]
    pub(super) rate: Option<PerSecond>,
    /// Send this request header; repeatable
    #[arg(short = 'H', long, value_name = "NAME: VALUE", value_parser = values::header)]
    pub(super) header: Vec<Header>,
    /// The User-Agent header
    #[arg(
        short = 'A',
        long,
        value_name = "TEXT",
        default_value = concat!("muster/", env!("CARGO_PKG_VERSION")),
        value_parser = values::header_value,
    )]
    pub(super) user_agent: String,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(super) struct OutputFlags {
    /// Where the records go, as JSON lines; - is stdout
    #[arg(short, long, value_name = "FILE|-", default_value = "-", value_hint = ValueHint::FilePath)]
    pub(super) output: PathBuf,
    /// Replace the output file if it exists
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_missing_value = "true", default_value = "false", hide_default_value = true,
        hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub(super) overwrite: bool,
    /// Go on with an output whose run was stopped or killed; starts one that is not there
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_missing_value = "true", default_value = "false", hide_default_value = true,
        hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub(super) resume: bool,
    /// Write the records in the order of the inputs
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_missing_value = "true", default_value = "false", hide_default_value = true,
        hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub(super) ordered: bool,
    /// Write the summary as JSON
    #[arg(long, value_name = "FILE.json", value_hint = ValueHint::FilePath)]
    pub(super) summary: Option<PathBuf>,
    /// Write a self-contained HTML page: timelines, throughput, latency
    #[arg(long, value_name = "FILE.html", value_hint = ValueHint::FilePath)]
    pub(super) report: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(super) struct ShownFlags {
    /// Draw a live bar on stderr; auto does if it is a terminal
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto")]
    pub(super) progress: WhenFlag,
}

/// `--sandbox`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum SandboxFlag {
    /// As much as this kernel has
    Auto,
    /// All of it, or the run is refused
    Require,
    /// None
    Off,
}

/// `--mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ModeFlag {
    /// Measure a few inputs and pick
    Auto,
    /// One worker, one target at a time
    Sequential,
    /// One worker, many targets waiting at once
    Concurrent,
    /// A worker per CPU, one target each
    Parallel,
    /// A worker per CPU, many targets waiting in each
    Both,
}

/// `--progress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum WhenFlag {
    /// If stderr is a terminal
    Auto,
    /// Also when stderr is piped
    Always,
    /// Not at all
    Never,
}
