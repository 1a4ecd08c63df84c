//! Flags for the output and the progress display.

use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueEnum, ValueHint};

use crate::cli::values;
use crate::format::Format;

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(in crate::cli) struct OutputFlags {
    /// Write the records to this file, or to s3://BUCKET/KEY; - is standard output
    ///
    /// The name selects the format: .jsonl, .csv or .tsv, each also with .gz or .zst, .parquet, .sqlite,
    /// .warc or .warc.gz. Other names and standard output are JSON lines. With --split, the output is a
    /// directory. An s3:// object is uploaded when it is complete.
    #[arg(short, long, value_name = "FILE|DIR|URL|-", default_value = "-", value_hint = ValueHint::FilePath,
        value_parser = values::output())]
    pub(in crate::cli) output: PathBuf,
    /// Output format, overriding the output's name: jsonl, csv or tsv, each also with .gz or .zst, parquet,
    /// sqlite, warc or warc.gz [default: by the name, or jsonl]
    #[arg(long, value_name = "FORMAT", value_parser = Format::parse)]
    pub(in crate::cli) format: Option<Format>,
    /// Write a directory of files with N records each, and their manifest.json
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = values::rows)]
    pub(in crate::cli) split: Option<NonZeroU64>,
    /// Replace the output if it exists
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_missing_value = "true", default_value = "false", hide_default_value = true,
        hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub(in crate::cli) overwrite: bool,
    /// Continue the output of a run that was stopped or killed; start a new one if it does not exist
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_missing_value = "true", default_value = "false", hide_default_value = true,
        hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub(in crate::cli) resume: bool,
    /// Write the records in input order
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_missing_value = "true", default_value = "false", hide_default_value = true,
        hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub(in crate::cli) ordered: bool,
    /// Write a JSON file that describes the output: counts, size and SHA-256
    #[arg(long, value_name = "FILE.json", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) manifest: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) side: SideFlags,
}

/// Files that describe the run.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(in crate::cli) struct SideFlags {
    /// Write the summary of the run as JSON
    #[arg(long, value_name = "FILE.json", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) summary: Option<PathBuf>,
    /// Write a self-contained HTML report: timelines, throughput and latency
    #[arg(long, value_name = "FILE.html", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) report: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(in crate::cli) struct ShownFlags {
    /// When to show a progress bar on standard error
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto")]
    pub(in crate::cli) progress: WhenFlag,
}

/// `--progress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum WhenFlag {
    /// If standard error is a terminal
    Auto,
    /// Even if standard error is not a terminal
    Always,
    /// Never
    Never,
}
