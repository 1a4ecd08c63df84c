//! Flags for the user's own program.

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueHint};

use super::{OutputFlags, ShownFlags};
use crate::cli::{amounts, values};

/// Most lines in a batch.
const BATCH_MAX: u32 = 65_536;

/// `map`.
#[derive(Debug, Args)]
pub(in crate::cli) struct MapFlags {
    /// Program and its arguments, after --; each worker runs one copy
    #[arg(last = true, value_name = "CMD", value_hint = ValueHint::CommandWithArguments)]
    pub(in crate::cli) program: Vec<OsString>,
    /// Read JSON lines from this file; - is standard input (repeatable)
    #[arg(short, long, help_heading = "Input", value_name = "FILE|-", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) input: Vec<PathBuf>,
    /// Maximum time for one line, measured from the answer to the previous line
    #[arg(
        long,
        help_heading = "Program",
        value_name = "TIME",
        default_value = "30s",
        allow_negative_numbers = true,
        value_parser = amounts::duration,
    )]
    pub(in crate::cli) timeout: Duration,
    /// Retries for a line on which the program died, from 0 to 100
    #[arg(
        long,
        help_heading = "Program",
        value_name = "N",
        default_value = "2",
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(0..=100),
    )]
    pub(in crate::cli) retries: u32,
    /// Send N lines at once, and wait for all N answers before the next N [default: keep the program busy]
    #[arg(
        long,
        help_heading = "Program",
        value_name = "N",
        allow_negative_numbers = true,
        value_parser = values::batch(BATCH_MAX),
    )]
    pub(in crate::cli) batch: Option<NonZeroU32>,
    /// Write the lines of the program unchanged, instead of records
    #[arg(long, help_heading = "Output", value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", default_value = "false",
        hide_default_value = true, hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub(in crate::cli) raw: bool,
    #[command(flatten)]
    pub(in crate::cli) output: OutputFlags,
    #[command(flatten)]
    pub(in crate::cli) shown: ShownFlags,
}

/// Flags for a program that the records of `fetch` or `parse` go through.
#[derive(Debug, Args)]
#[command(next_help_heading = "Program")]
pub(in crate::cli) struct RecordProgramFlags {
    /// Pass each record through this program, and add its answer to the record as "value"
    #[arg(long, value_name = "CMD", value_parser = values::command_line)]
    pub(in crate::cli) map: Option<String>,
    /// Maximum time for one record
    #[arg(
        long,
        value_name = "TIME",
        default_value = "30s",
        allow_negative_numbers = true,
        value_parser = amounts::duration,
    )]
    pub(in crate::cli) map_timeout: Duration,
    /// Retries for a record on which the program died, from 0 to 100
    #[arg(
        long,
        value_name = "N",
        default_value = "2",
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(0..=100),
    )]
    pub(in crate::cli) map_retries: u32,
}
