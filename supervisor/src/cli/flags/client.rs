//! Commands that talk to a service: where it is, and what they want of it.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, Subcommand, ValueEnum, ValueHint};

use super::{CsvFlags, FetchFlags, MapFlags, ParseFlags};
use crate::cli::help;
use crate::view::JobId;

/// Where the service is, and how it is shown. Stand anywhere behind the command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Service")]
pub(in crate::cli) struct ServiceFlags {
    /// Talk to the service on this Unix socket [default: the user's, else /run/muster/api.sock]
    #[arg(long, global = true, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) socket: Option<PathBuf>,
    /// Talk to the service at this address, such as https://muster.example:8443
    #[arg(long, global = true, value_name = "URL", value_hint = ValueHint::Url)]
    pub(in crate::cli) url: Option<String>,
    /// Send the token that is in this file
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) token_file: Option<PathBuf>,
    /// Trust the certificates in this file, and no others [default: those that the system trusts]
    #[arg(long, global = true, value_name = "FILE.pem", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) ca: Option<PathBuf>,
    /// Write what the service says as JSON
    #[arg(long, global = true, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", default_value = "false",
        hide_default_value = true, hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub(in crate::cli) json: bool,
}

/// `submit`: a job as for the command line, with what only a queue needs.
#[derive(Debug, Args)]
pub(in crate::cli) struct SubmitFlags {
    /// Call the job so
    #[arg(long, global = true, help_heading = "Queue", value_name = "TEXT")]
    pub(in crate::cli) name: Option<String>,
    /// Higher goes first (-100 to 100) [default: 0]
    #[arg(long, global = true, help_heading = "Queue", value_name = "N", allow_negative_numbers = true,
        value_parser = clap::value_parser!(i32).range(-100..=100))]
    pub(in crate::cli) priority: Option<i32>,
    /// Submitting again with the same key is the same job
    #[arg(long, global = true, help_heading = "Queue", value_name = "KEY")]
    pub(in crate::cli) idempotency_key: Option<String>,
    /// Show how far it is until it has ended, and exit with its code
    #[arg(long, global = true, help_heading = "Queue", value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", default_value = "false",
        hide_default_value = true, hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub(in crate::cli) wait: bool,
    #[command(flatten)]
    pub(in crate::cli) service: ServiceFlags,
    #[command(subcommand)]
    pub(in crate::cli) verb: Option<SubmitVerb>,
}

/// What can be submitted.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum SubmitVerb {
    /// Submit a job that fetches URLs
    #[command(after_long_help = help::SUBMIT)]
    Fetch(Box<FetchFlags>),
    /// Submit a job that extracts from HTML files, which are sent along
    #[command(after_long_help = help::SUBMIT)]
    Parse(Box<ParseFlags>),
    /// Submit a job that passes JSON lines through a program of the service's machine
    #[command(after_long_help = help::SUBMIT)]
    Map(Box<MapFlags>),
    /// Submit a job that aggregates CSV files, which are sent along
    #[command(after_long_help = help::SUBMIT)]
    Csv(Box<CsvFlags>),
}

/// `jobs`: the list, or something to do with one of them.
#[derive(Debug, Args)]
pub(in crate::cli) struct JobsFlags {
    /// Only jobs in one of these states
    #[arg(long, value_enum, value_name = "STATE[,STATE]", value_delimiter = ',')]
    pub(in crate::cli) state: Vec<StateFlag>,
    /// The newest N
    #[arg(long, value_name = "N", default_value = "20", allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(in crate::cli) limit: u32,
    #[command(flatten)]
    pub(in crate::cli) service: ServiceFlags,
    #[command(subcommand)]
    pub(in crate::cli) verb: Option<JobsVerb>,
}

/// What can be done with a job.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum JobsVerb {
    /// Let a job finish what is in flight, then wait
    Pause(JobFlag),
    /// Let a paused job go on
    Resume(JobFlag),
    /// Make a new job of the inputs that failed in one that has ended
    RetryFailed(JobFlag),
    /// Forget a job that has ended, and its records
    Remove(JobFlag),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct JobFlag {
    /// The job's number
    #[arg(value_name = "ID", value_parser = job)]
    pub(in crate::cli) id: JobId,
}

/// `results`.
#[derive(Debug, Args)]
pub(in crate::cli) struct ResultsFlags {
    #[command(flatten)]
    pub(in crate::cli) job: JobFlag,
    /// Go on until the job has ended
    #[arg(short, long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", default_value = "false",
        hide_default_value = true, hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub(in crate::cli) follow: bool,
    /// Skip the first N records
    #[arg(long, value_name = "N", default_value = "0")]
    pub(in crate::cli) from: u64,
    /// Only records with an error, or only those of inputs that were set aside
    #[arg(long, value_enum, value_name = "WHICH")]
    pub(in crate::cli) only: Option<OnlyFlag>,
    /// Where the records go; - is stdout
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
    /// One job's number, for all about it [default: the service, its workers, its hosts]
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
    /// At work
    Running,
    /// Set aside by the user
    Paused,
    /// Finishing what is in flight
    Draining,
    /// Every input has its record
    Done,
    /// Could not be done
    Failed,
    /// Stopped for good by the user
    Cancelled,
}

/// `--only`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum OnlyFlag {
    /// Records with an error
    Failed,
    /// Records of inputs on which workers died
    Quarantined,
}

fn job(text: &str) -> Result<JobId, String> {
    text.parse().map_err(|_| "a job has a number; `supervisor jobs` shows it".to_owned())
}
