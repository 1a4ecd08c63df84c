//! Flags of the commands that talk to a service.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, Subcommand, ValueEnum, ValueHint};

use super::{CrawlFlags, CsvFlags, FetchFlags, MapFlags, ParseFlags};
use crate::cli::help;
use crate::view::JobId;

/// The service to talk to, and the form of the output. Accepted anywhere after the command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Service")]
pub(in crate::cli) struct ServiceFlags {
    /// Connect to the service at this Unix socket [default: the user's, else /run/muster/api.sock]
    #[arg(long, global = true, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) socket: Option<PathBuf>,
    /// Connect to the service at this URL, such as https://muster.example:8443
    #[arg(long, global = true, value_name = "URL", value_hint = ValueHint::Url)]
    pub(in crate::cli) url: Option<String>,
    /// Authenticate with the token in this file
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) token_file: Option<PathBuf>,
    /// Trust only the CA certificates in this file [default: the system's CA certificates]
    #[arg(long, global = true, value_name = "FILE.pem", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) ca: Option<PathBuf>,
    /// Print the answer of the service as JSON
    #[arg(long, global = true, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", default_value = "false",
        hide_default_value = true, hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub(in crate::cli) json: bool,
}

/// `submit`: the flags of a job, and those that only a queue has.
#[derive(Debug, Args)]
pub(in crate::cli) struct SubmitFlags {
    /// Name of the job
    #[arg(long, global = true, help_heading = "Queue", value_name = "TEXT")]
    pub(in crate::cli) name: Option<String>,
    /// Priority, from -100 to 100; jobs with a higher one start first [default: 0]
    #[arg(long, global = true, help_heading = "Queue", value_name = "N", allow_negative_numbers = true,
        value_parser = clap::value_parser!(i32).range(-100..=100))]
    pub(in crate::cli) priority: Option<i32>,
    /// Submit at most one job for this key
    ///
    /// If a job with the same key exists, its number is printed and no new job is made. A different
    /// job with the same key is refused.
    #[arg(long, global = true, help_heading = "Queue", value_name = "KEY")]
    pub(in crate::cli) idempotency_key: Option<String>,
    /// Show progress until the job ends, and exit with its status
    #[arg(long, global = true, help_heading = "Queue", value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", default_value = "false",
        hide_default_value = true, hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub(in crate::cli) wait: bool,
    #[command(flatten)]
    pub(in crate::cli) service: ServiceFlags,
    #[command(subcommand)]
    pub(in crate::cli) verb: Option<SubmitVerb>,
}

/// The commands that can be submitted.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum SubmitVerb {
    /// Submit a job that fetches URLs
    #[command(after_long_help = help::SUBMIT)]
    Fetch(Box<FetchFlags>),
    /// Submit a job that fetches URLs and follows their links
    #[command(after_long_help = help::SUBMIT)]
    Crawl(Box<CrawlFlags>),
    /// Submit a job that extracts fields from HTML files, and upload the files
    #[command(after_long_help = help::SUBMIT)]
    Parse(Box<ParseFlags>),
    /// Submit a job that passes JSON lines through a program on the service's machine
    #[command(after_long_help = help::SUBMIT)]
    Map(Box<MapFlags>),
    /// Submit a job that aggregates CSV files, and upload the files
    #[command(after_long_help = help::SUBMIT)]
    Csv(Box<CsvFlags>),
}

/// `jobs`: lists jobs, or acts on one.
#[derive(Debug, Args)]
pub(in crate::cli) struct JobsFlags {
    /// List only jobs in these states
    #[arg(long, value_enum, value_name = "STATE[,STATE]", value_delimiter = ',')]
    pub(in crate::cli) state: Vec<StateFlag>,
    /// List at most N jobs, newest first
    #[arg(long, value_name = "N", default_value = "20", allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(in crate::cli) limit: u32,
    #[command(flatten)]
    pub(in crate::cli) service: ServiceFlags,
    #[command(subcommand)]
    pub(in crate::cli) verb: Option<JobsVerb>,
}

/// Actions on a job.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum JobsVerb {
    /// Pause a job once its targets in flight are finished
    Pause(JobFlag),
    /// Continue a paused job
    Resume(JobFlag),
    /// Submit a new job with the failed inputs of a job that has ended
    RetryFailed(JobFlag),
    /// Delete a job that has ended, with its records
    Remove(JobFlag),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct JobFlag {
    /// Number of the job
    #[arg(value_name = "ID", value_parser = job)]
    pub(in crate::cli) id: JobId,
}

/// `results`.
#[derive(Debug, Args)]
pub(in crate::cli) struct ResultsFlags {
    #[command(flatten)]
    pub(in crate::cli) job: JobFlag,
    /// Keep printing new records until the job ends
    #[arg(short, long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", default_value = "false",
        hide_default_value = true, hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub(in crate::cli) follow: bool,
    /// Skip the first N records
    #[arg(long, value_name = "N", default_value = "0")]
    pub(in crate::cli) from: u64,
    /// Print only records of this kind
    #[arg(long, value_enum, value_name = "WHICH")]
    pub(in crate::cli) only: Option<OnlyFlag>,
    /// Write the records to this file; - is standard output
    #[arg(short, long, value_name = "FILE|-", default_value = "-", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) output: PathBuf,
    /// Replace the output file if it exists
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_missing_value = "true", default_value = "false", hide_default_value = true,
        hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub(in crate::cli) overwrite: bool,
    #[command(flatten)]
    pub(in crate::cli) service: ServiceFlags,
}

/// `cancel`.
#[derive(Debug, Args)]
pub(in crate::cli) struct CancelFlags {
    #[command(flatten)]
    pub(in crate::cli) job: JobFlag,
    #[command(flatten)]
    pub(in crate::cli) service: ServiceFlags,
}

/// `status`.
#[derive(Debug, Args)]
pub(in crate::cli) struct StatusFlags {
    /// Number of a job to show [default: show the service, its workers and its hosts]
    #[arg(value_name = "ID", value_parser = job)]
    pub(in crate::cli) id: Option<JobId>,
    #[command(flatten)]
    pub(in crate::cli) service: ServiceFlags,
}

/// `--state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum StateFlag {
    /// Waiting for workers
    Queued,
    /// Being worked on
    Running,
    /// Paused by the user
    Paused,
    /// Finishing its targets in flight
    Draining,
    /// Every input has a record
    Done,
    /// Ended by an error
    Failed,
    /// Cancelled by the user
    Cancelled,
}

/// `--only`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum OnlyFlag {
    /// Records with an error
    Failed,
    /// Records of inputs that were set aside because workers died on them
    Quarantined,
}

fn job(text: &str) -> Result<JobId, String> {
    text.parse().map_err(|_| "give the number of a job; `supervisor jobs` lists them".to_owned())
}
