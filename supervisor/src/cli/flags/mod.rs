//! The command line as it is typed: commands, flags, their help and defaults.
//! The only list of flags there is: environment, files, completions and man
//! pages are all read off these definitions. One file for each group of flags
//! that commands share; the commands themselves are here.
//!
//! Nothing here is resolved; `resolve` turns it into a [`crate::plan::Plan`].

mod client;
mod csv;
mod extract;
mod input;
mod network;
mod output;
mod pool;
mod program;
mod serve;

use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;

pub(super) use self::client::{
    CancelFlags, JobsFlags, JobsVerb, ResultsFlags, ServiceFlags, StatusFlags, SubmitFlags,
};
pub(super) use self::csv::{CsvFlags, ReadingFlags, TableFlags};
pub(super) use self::extract::ExtractFlags;
pub(super) use self::input::{ListFlags, PathFlags, UrlFlags};
pub(super) use self::network::NetworkFlags;
pub(super) use self::output::{OutputFlags, ShownFlags, SideFlags, WhenFlag};
pub(super) use self::pool::{ModeFlag, PoolFlags, SandboxFlag};
pub(super) use self::program::{MapFlags, ThenFlags};
pub(super) use self::serve::ServeFlags;
use super::{help, values};

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
    /// Pass JSON lines through a program of your own, write one record for each
    #[command(after_long_help = help::MAP)]
    Map(MapFlags),
    /// Group and aggregate CSV files of any size
    #[command(after_long_help = help::CSV)]
    Csv(CsvFlags),
    /// Run the same job in all four modes and show the difference
    #[command(after_long_help = help::COMPARE, subcommand_required = false)]
    Compare(CompareFlags),
    /// Hand a job to a service, with the files it needs
    #[command(after_long_help = help::SUBMIT, subcommand_required = false, subcommand_value_name = "COMMAND")]
    Submit(SubmitFlags),
    /// Show the jobs of a service; pause, resume, retry or remove one
    #[command(after_long_help = help::JOBS, subcommand_required = false, subcommand_value_name = "COMMAND")]
    Jobs(JobsFlags),
    /// Write the records of a service's job
    #[command(after_long_help = help::RESULTS)]
    Results(ResultsFlags),
    /// Stop a job of a service for good; what was done is kept
    #[command(after_long_help = help::JOBS)]
    Cancel(CancelFlags),
    /// Show what a service is doing: its workers, its hosts, or one job
    #[command(after_long_help = help::STATUS)]
    Status(StatusFlags),
    /// Run as a service that takes jobs over HTTP; also what runs without a command
    #[command(after_long_help = help::SERVE)]
    Serve(ServeFlags),
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

/// `fetch`.
#[derive(Debug, Args)]
pub(super) struct FetchFlags {
    #[command(flatten)]
    pub(super) job: FetchJob,
    #[command(flatten)]
    pub(super) output: OutputFlags,
}

/// What `fetch` does, wherever the records go.
#[derive(Debug, Args)]
pub(super) struct FetchJob {
    #[command(flatten)]
    pub(super) targets: UrlFlags,
    #[command(flatten)]
    pub(super) lists: ListFlags,
    #[command(flatten)]
    pub(super) extract: ExtractFlags,
    #[command(flatten)]
    pub(super) network: NetworkFlags,
    #[command(flatten)]
    pub(super) then: ThenFlags,
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

/// What `parse` does, wherever the records go.
#[derive(Debug, Args)]
pub(super) struct ParseJob {
    #[command(flatten)]
    pub(super) targets: PathFlags,
    #[command(flatten)]
    pub(super) lists: ListFlags,
    #[command(flatten)]
    pub(super) extract: ExtractFlags,
    #[command(flatten)]
    pub(super) then: ThenFlags,
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

/// What `compare` runs four times; the records go nowhere.
#[derive(Debug, Subcommand)]
pub(super) enum CompareVerb {
    /// Compare the modes at fetching URLs
    #[command(after_long_help = help::COMPARE)]
    Fetch(FetchJob),
    /// Compare the modes at parsing saved HTML files
    #[command(after_long_help = help::COMPARE)]
    Parse(ParseJob),
}
