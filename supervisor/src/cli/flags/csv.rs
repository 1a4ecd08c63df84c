//! Flags of `csv`: files, groups and aggregates.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueHint};

use super::{ShownFlags, SideFlags};
use crate::cli::values;
use crate::format::Format;

/// `csv`.
#[derive(Debug, Args)]
pub(in crate::cli) struct CsvFlags {
    /// CSV files with a header row; - is standard input
    ///
    /// Files named .gz or .zst are decompressed. Standard input, like any other pipe, is first copied to
    /// disk.
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
    /// Make a group for each combination of values in these columns [default: one group of all rows]
    #[arg(long, value_name = "COL[,COL]")]
    pub(in crate::cli) group_by: Vec<String>,
    /// Compute this for each group, such as revenue=sum(price) (repeatable) [default: count]
    ///
    /// NAME=FUNCTION(COL), or FUNCTION(COL) alone. The functions are listed below.
    #[arg(long, value_name = "NAME=FUNC(COL)")]
    pub(in crate::cli) agg: Vec<String>,
    /// Use only rows that match 'COL OP VALUE' (repeatable; all must match)
    ///
    /// OP is one of = != < <= > >= and ~ (contains).
    #[arg(long = "where", value_name = "CONDITION")]
    pub(in crate::cli) conditions: Vec<String>,
    /// Fail if there are more than N groups
    #[arg(long, value_name = "N", default_value = "1000000", allow_negative_numbers = true, value_parser = values::groups)]
    pub(in crate::cli) groups_max: u64,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Input")]
pub(in crate::cli) struct ReadingFlags {
    /// Character between two cells [default: a comma, or a tab in .tsv files]
    #[arg(long, value_name = "CHAR", value_parser = values::delimiter)]
    pub(in crate::cli) delimiter: Option<u8>,
    /// Treat the first row as data and name the columns 1, 2, 3, …
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_missing_value = "true", default_value = "false", hide_default_value = true,
        hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub(in crate::cli) no_header: bool,
    /// Encoding of the files, such as windows-1252 [default: utf-8]
    ///
    /// Takes the names of the WHATWG Encoding Standard. A byte order mark in a file takes precedence.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) encoding: Option<String>,
    /// Fail without output if any row is malformed
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_missing_value = "true", default_value = "false", hide_default_value = true,
        hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub(in crate::cli) strict: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(in crate::cli) struct TableOutputFlags {
    /// Write the groups to this file, or to s3://BUCKET/KEY; - is standard output
    ///
    /// The name selects the format: .csv, .tsv or .jsonl, each also with .gz or .zst. Standard output is CSV.
    #[arg(short, long, value_name = "FILE|URL|-", default_value = "-", value_hint = ValueHint::FilePath,
        value_parser = values::output())]
    pub(in crate::cli) output: PathBuf,
    /// Output format, overriding the output's name: csv, tsv or jsonl, each also with .gz or .zst
    /// [default: by the name, or csv]
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
