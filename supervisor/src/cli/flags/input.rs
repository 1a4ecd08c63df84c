//! Flags that name the inputs, one by one or in lists.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueHint};

use crate::cli::values;

#[derive(Debug, Args)]
pub(in crate::cli) struct UrlFlags {
    /// URLs to fetch, before those of the input files
    #[arg(value_name = "URL", value_hint = ValueHint::Url)]
    pub(in crate::cli) urls: Vec<OsString>,
    /// Fetch the pages that the sitemap at this URL lists (repeatable)
    ///
    /// Sitemap indexes are followed and .gz files decompressed.
    #[arg(long, help_heading = "Input", value_name = "URL", value_hint = ValueHint::Url)]
    pub(in crate::cli) sitemap: Vec<String>,
    /// Fail if a sitemap, or a sitemap that an index lists, cannot be read
    #[arg(long, help_heading = "Input", value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true,
        hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub(in crate::cli) strict: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PathFlags {
    /// HTML files, and directories that are searched for *.html and *.htm files
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(in crate::cli) paths: Vec<PathBuf>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Input")]
pub(in crate::cli) struct ListFlags {
    /// Read inputs from this file, one per line; - is standard input (repeatable)
    ///
    /// In .csv, .tsv, .jsonl and .parquet files, --column names the column that holds the inputs.
    #[arg(short, long, value_name = "FILE|-", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) input: Vec<PathBuf>,
    /// Column (or JSON key) of the list that holds the inputs
    #[arg(long, value_name = "NAME", value_parser = values::column)]
    pub(in crate::cli) column: Option<String>,
    /// Copy these columns of the list into each record, as "keep" (repeatable)
    #[arg(long, value_name = "COL[,COL]…", value_parser = values::column)]
    pub(in crate::cli) keep: Vec<String>,
    /// Character between two cells of a .csv or .tsv list [default: a comma, or a tab in .tsv files]
    #[arg(long, value_name = "CHAR", value_parser = values::delimiter)]
    pub(in crate::cli) delimiter: Option<u8>,
    /// Encoding of the lists, such as windows-1252 [default: utf-8]
    ///
    /// Takes the names of the WHATWG Encoding Standard. A byte order mark in a file takes precedence.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) encoding: Option<String>,
}
