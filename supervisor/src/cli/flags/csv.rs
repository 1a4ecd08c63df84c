//! `csv`: which files, which groups, what is worked out.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueHint};

use super::{ShownFlags, SideFlags};
use crate::cli::values;
use crate::format::Format;

/// `csv`.
#[derive(Debug, Args)]
pub(in crate::cli) struct CsvFlags {
    /// CSV files with a header; .gz and .zst are unpacked; - is stdin, which like any pipe is copied first
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) table: TableFlags,
    #[command(flatten)]
    pub(in crate::cli) reading: ReadingFlags,
    #[command(flatten)]
    pub(in crate::cli) output: TableOutputFlags,
    #[command(flatten)]
    pub(in crate::cli) shown: ShownFlags,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Groups")]
pub(in crate::cli) struct TableFlags {
    /// One group for each combination of values in these columns [default: one group of all rows]
    #[arg(long, value_name = "COL[,COL]")]
    pub(in crate::cli) group_by: Vec<String>,
    /// Work this out for each group: n=count, revenue=sum(price), p95=quantile(price, 0.95); repeatable [default: count]
    #[arg(long, value_name = "NAME=FUNC(COL)")]
    pub(in crate::cli) agg: Vec<String>,
    /// Only rows for which this holds: 'COL OP VALUE' with = != < <= > >= or ~ (contains); repeatable
    #[arg(long = "where", value_name = "CONDITION")]
    pub(in crate::cli) conditions: Vec<String>,
    /// Most groups there may be; beyond it the run fails
    #[arg(long, value_name = "N", default_value = "1000000", allow_negative_numbers = true, value_parser = values::groups)]
    pub(in crate::cli) groups_max: u64,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Input")]
pub(in crate::cli) struct ReadingFlags {
    /// Between two cells [default: a comma, and a tab in .tsv files]
    #[arg(long, value_name = "CHAR", value_parser = values::delimiter)]
    pub(in crate::cli) delimiter: Option<u8>,
    /// The first row is data; columns are called 1, 2, 3, …
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_missing_value = "true", default_value = "false", hide_default_value = true,
        hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub(in crate::cli) no_header: bool,
    /// Encoding of the files, by its WHATWG name, such as windows-1252; a byte order mark wins [default: UTF-8]
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) encoding: Option<String>,
    /// Fail if a row cannot be used, and write nothing
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_missing_value = "true", default_value = "false", hide_default_value = true,
        hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub(in crate::cli) strict: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(in crate::cli) struct TableOutputFlags {
    /// Where the groups go: .csv, .tsv or .jsonl, each also .gz or .zst, a file or s3://BUCKET/KEY; - is CSV on stdout
    #[arg(short, long, value_name = "FILE|URL|-", default_value = "-", value_hint = ValueHint::FilePath,
        value_parser = values::output())]
    pub(in crate::cli) output: PathBuf,
    /// Write in this format, whatever the output's name: csv, tsv or jsonl, each also with .gz or .zst behind it
    /// [default: as the name says, or csv]
    #[arg(long, value_name = "FORMAT", value_parser = Format::parse)]
    pub(in crate::cli) format: Option<Format>,
    /// Replace the output file if it exists
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_missing_value = "true", default_value = "false", hide_default_value = true,
        hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub(in crate::cli) overwrite: bool,
    #[command(flatten)]
    pub(in crate::cli) side: SideFlags,
}
