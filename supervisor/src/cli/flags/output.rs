//! Where the records go, and what is shown meanwhile.

use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueEnum, ValueHint};

use crate::cli::values;
use crate::format::Format;

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(in crate::cli) struct OutputFlags {
    /// Where the records go; its name says in which format: .jsonl, .csv, .tsv (each also .gz or .zst), .parquet,
    /// .sqlite, .warc.gz; with --split, a directory; s3://BUCKET/KEY is uploaded when it is whole; - is stdout
    #[arg(short, long, value_name = "FILE|DIR|URL|-", default_value = "-", value_hint = ValueHint::FilePath,
        value_parser = values::output())]
    pub(in crate::cli) output: PathBuf,
    /// Write in this format, whatever the output's name: jsonl, csv or tsv, each also with .gz or .zst behind
    /// it, parquet, sqlite, warc or warc.gz [default: as the name says, or jsonl]
    #[arg(long, value_name = "FORMAT", value_parser = Format::parse)]
    pub(in crate::cli) format: Option<Format>,
    /// Write a directory of files with N records each, and a manifest.json
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = values::rows)]
    pub(in crate::cli) split: Option<NonZeroU64>,
    /// Replace the output file if it exists
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_missing_value = "true", default_value = "false", hide_default_value = true,
        hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub(in crate::cli) overwrite: bool,
    /// Go on with an output whose run was stopped or killed; starts one that is not there
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_missing_value = "true", default_value = "false", hide_default_value = true,
        hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub(in crate::cli) resume: bool,
    /// Write the records in the order of the inputs
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_missing_value = "true", default_value = "false", hide_default_value = true,
        hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub(in crate::cli) ordered: bool,
    /// Write what is in the output as JSON: counts, size, SHA-256
    #[arg(long, value_name = "FILE.json", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) manifest: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) side: SideFlags,
}

/// Files about the run, beside its output.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(in crate::cli) struct SideFlags {
    /// Write the summary as JSON
    #[arg(long, value_name = "FILE.json", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) summary: Option<PathBuf>,
    /// Write a self-contained HTML page: timelines, throughput, latency
    #[arg(long, value_name = "FILE.html", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) report: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(in crate::cli) struct ShownFlags {
    /// Draw a live bar on stderr; auto does if it is a terminal
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto")]
    pub(in crate::cli) progress: WhenFlag,
}

/// `--progress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum WhenFlag {
    /// If stderr is a terminal
    Auto,
    /// Also when stderr is piped
    Always,
    /// Not at all
    Never,
}
