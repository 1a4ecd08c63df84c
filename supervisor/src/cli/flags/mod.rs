//! The definitions of commands and flags, with their help and defaults. Environment variables, keys in files,
//! completions and man pages are all derived from them. Each group of flags that commands share has a file;
//! the commands are here.
//!
//! Nothing is resolved here: `resolve` turns flags into a [`crate::plan::Plan`].

mod client;
mod crawl;
mod csv;
mod extract;
mod input;
mod network;
mod next;
mod output;
mod pool;
mod program;
mod proxies;
mod request;
mod save;
mod serve;
mod since;

use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;

pub(super) use self::client::{
    CancelFlags, JobsFlags, JobsVerb, ResultsFlags, ServiceFlags, StatusFlags, SubmitFlags,
};
pub(super) use self::crawl::{CrawlFlags, FollowFlags};
pub(super) use self::csv::{CsvFlags, ReadingFlags, TableFlags};
pub(super) use self::extract::ExtractFlags;
pub(super) use self::input::{ListFlags, PathFlags, UrlFlags};
pub(super) use self::network::{AddressPolicyFlag, CookiesFlag, NetworkFlags, PerHostKeyFlag, RobotsFlag};
pub(super) use self::next::NextFlags;
pub(super) use self::output::{OutputFlags, ShownFlags, SideFlags, WhenFlag};
pub(super) use self::pool::{ModeFlag, PoolFlags, SandboxFlag};
pub(super) use self::program::{MapFlags, RecordProgramFlags};
pub(super) use self::proxies::{ProxyFlags, StickyFlag};
pub(super) use self::request::RequestFlags;
pub(super) use self::save::SaveFlags;
pub(super) use self::serve::ServeFlags;
pub(super) use self::since::SinceFlags;
use super::{help, values};

/// Fetch and parse in bulk on every core.
#[derive(Debug, Parser)]
#[command(name = "supervisor", version, long_about = help::ABOUT, after_long_help = help::ROOT, max_term_width = 100)]
pub(super) struct Flags {
    #[command(flatten)]
    pub(super) pool: PoolFlags,
    #[command(subcommand)]
    pub(super) verb: Option<Verb>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Fetch URLs, extract fields, and write one record per URL
    #[command(after_long_help = help::FETCH)]
    Fetch(FetchFlags),
    /// Fetch pages, follow their links within a scope, and write one record per page
    #[command(after_long_help = help::CRAWL)]
    Crawl(Box<CrawlFlags>),
    /// Extract fields from saved HTML files, and write one record per file
    #[command(after_long_help = help::PARSE)]
    Parse(ParseFlags),
    /// Pass JSON lines through your own program, and write one record per line
    #[command(after_long_help = help::MAP)]
    Map(MapFlags),
    /// Group and aggregate CSV files of any size
    #[command(after_long_help = help::CSV)]
    Csv(CsvFlags),
    /// Run the same job in all four modes and compare them
    #[command(after_long_help = help::COMPARE, subcommand_required = false)]
    Compare(CompareFlags),
    /// Measure a sample, and say what bounds the job, how long it takes and which mode fits
    #[command(after_long_help = help::ADVISE, subcommand_required = false)]
    Advise(AdviseFlags),
    /// Submit a job to a service, and upload its files
    #[command(after_long_help = help::SUBMIT, subcommand_required = false, subcommand_value_name = "COMMAND")]
    Submit(SubmitFlags),
    /// List the jobs of a service, or pause, resume, retry or remove one
    #[command(after_long_help = help::JOBS, subcommand_required = false, subcommand_value_name = "COMMAND")]
    Jobs(JobsFlags),
    /// Print the records of a job
    #[command(after_long_help = help::RESULTS)]
    Results(ResultsFlags),
    /// Cancel a job of a service; its records are kept
    #[command(after_long_help = help::JOBS)]
    Cancel(CancelFlags),
    /// Show the state of a service, or of one of its jobs
    #[command(after_long_help = help::STATUS)]
    Status(StatusFlags),
    /// Run as a service that accepts jobs over HTTP (the default without a command)
    #[command(after_long_help = help::SERVE)]
    Serve(ServeFlags),
    /// Print a completion script for a shell
    #[command(after_long_help = help::COMPLETIONS)]
    Completions {
        /// Shell to write the script for
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },
    /// Write the man pages to a directory
    #[command(after_long_help = help::MAN)]
    Man {
        /// Directory for the man pages; created if it does not exist
        #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
        dir: PathBuf,
    },
}

/// `fetch`.
#[derive(Debug, Args)]
pub(super) struct FetchFlags {
    #[command(flatten)]
    pub(super) job: FetchJob,
    #[command(flatten)]
    pub(super) save: SaveFlags,
    #[command(flatten)]
    pub(super) since: SinceFlags,
    #[command(flatten)]
    pub(super) next: NextFlags,
    #[command(flatten)]
    pub(super) output: OutputFlags,
}

/// The flags of `fetch`, except for its output.
#[derive(Debug, Args)]
pub(super) struct FetchJob {
    #[command(flatten)]
    pub(super) targets: UrlFlags,
    #[command(flatten)]
    pub(super) lists: ListFlags,
    #[command(flatten)]
    pub(super) extract: ExtractFlags,
    #[command(flatten)]
    pub(super) network: Box<NetworkFlags>,
    #[command(flatten)]
    pub(super) then: RecordProgramFlags,
    #[command(flatten)]
    pub(super) shown: ShownFlags,
}

/// `parse`.
#[derive(Debug, Args)]
pub(super) struct ParseFlags {
    #[command(flatten)]
    pub(super) job: ParseJob,
    #[command(flatten)]
    pub(super) output: OutputFlags,
}

/// The flags of `parse`, except for its output.
#[derive(Debug, Args)]
pub(super) struct ParseJob {
    #[command(flatten)]
    pub(super) targets: PathFlags,
    #[command(flatten)]
    pub(super) lists: ListFlags,
    #[command(flatten)]
    pub(super) extract: ExtractFlags,
    #[command(flatten)]
    pub(super) then: RecordProgramFlags,
    #[command(flatten)]
    pub(super) shown: ShownFlags,
}

/// `compare`: its flags are accepted before or after the command that it runs.
#[derive(Debug, Args)]
pub(super) struct CompareFlags {
    /// Use only the first N inputs [default: all]
    #[arg(
        long,
        global = true,
        value_name = "N",
        allow_negative_numbers = true,
        value_parser = values::sample,
    )]
    pub(super) sample: Option<NonZeroU64>,
    /// Write a self-contained HTML report: timelines, throughput and latency
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) report: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) verb: Option<CompareVerb>,
}

/// The commands that `compare` runs in each mode. Their records are discarded.
#[derive(Debug, Subcommand)]
pub(super) enum CompareVerb {
    /// Compare the modes on fetching URLs. Each request is sent four times
    #[command(after_long_help = help::COMPARE)]
    Fetch(FetchJob),
    /// Compare the modes on parsing saved HTML files
    #[command(after_long_help = help::COMPARE)]
    Parse(ParseJob),
}

/// `advise`: its flags are accepted before or after the command that it samples.
#[derive(Debug, Args)]
pub(super) struct AdviseFlags {
    /// Most inputs, and most requests, of the sample
    #[arg(
        long,
        global = true,
        value_name = "N",
        default_value = "200",
        allow_negative_numbers = true,
        value_parser = values::sample,
    )]
    pub(super) sample: NonZeroU64,
    /// Print the advice as JSON
    #[arg(long, global = true, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", default_value = "false",
        hide_default_value = true, hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) verb: Option<AdviseVerb>,
}

/// The commands that `advise` samples.
#[derive(Debug, Subcommand)]
pub(super) enum AdviseVerb {
    /// Advise on fetching URLs
    #[command(after_long_help = help::ADVISE)]
    Fetch(FetchJob),
    /// Advise on parsing saved HTML files
    #[command(after_long_help = help::ADVISE)]
    Parse(ParseJob),
}
