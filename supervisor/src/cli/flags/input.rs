//! What is to be worked on: named one by one, or in lists.

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
    /// Fetch the pages that this sitemap lists; an index is followed, .gz unpacked; repeatable
    #[arg(long, help_heading = "Input", value_name = "URL", value_hint = ValueHint::Url)]
    pub(in crate::cli) sitemap: Vec<String>,
    /// End the run if a sitemap, or one that an index names, cannot be read
    #[arg(long, help_heading = "Input", value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true,
        hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub(in crate::cli) strict: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PathFlags {
    /// HTML files, and directories to walk for *.html and *.htm
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(in crate::cli) paths: Vec<PathBuf>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Input")]
pub(in crate::cli) struct ListFlags {
    /// Read inputs from a file, one a line, or from .csv, .tsv, .jsonl, .parquet with --column; - is stdin; repeatable
    #[arg(short, long, value_name = "FILE|-", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) input: Vec<PathBuf>,
    /// Column of a table, or key of a JSON-lines file, that holds the input
    #[arg(long, value_name = "NAME", value_parser = values::column)]
    pub(in crate::cli) column: Option<String>,
    /// Columns carried into each record as its "keep"; repeatable
    #[arg(long, value_name = "COL[,COL]…", value_parser = values::column)]
    pub(in crate::cli) keep: Vec<String>,
    /// Character between two cells of a .csv or .tsv list [default: a comma, and a tab in .tsv files]
    #[arg(long, value_name = "CHAR", value_parser = values::delimiter)]
    pub(in crate::cli) delimiter: Option<u8>,
    /// Encoding of the lists, by its WHATWG name, such as windows-1252; a byte order mark wins [default: UTF-8]
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) encoding: Option<String>,
}
