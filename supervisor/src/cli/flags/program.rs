//! The user's own program: what it is, what it is given, how long it may take.

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
    /// The program and its arguments, after --; started once in each worker
    #[arg(last = true, value_name = "CMD", value_hint = ValueHint::CommandWithArguments)]
    pub(in crate::cli) program: Vec<OsString>,
    /// Read JSON lines from a file; - is stdin; repeatable
    #[arg(short, long, help_heading = "Input", value_name = "FILE|-", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) input: Vec<PathBuf>,
    /// Longest time for one line, counted from when all before it are answered
    #[arg(
        long,
        help_heading = "Program",
        value_name = "TIME",
        default_value = "30s",
        allow_negative_numbers = true,
        value_parser = amounts::duration,
    )]
    pub(in crate::cli) timeout: Duration,
    /// Attempts after the first at a line that the program died on (0 to 100)
    #[arg(
        long,
        help_heading = "Program",
        value_name = "N",
        default_value = "2",
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(0..=100),
    )]
    pub(in crate::cli) retries: u32,
    /// Give N lines at once, and the next N when all of them are answered [default: as many as keep it busy]
    #[arg(
        long,
        help_heading = "Program",
        value_name = "N",
        allow_negative_numbers = true,
        value_parser = values::batch(BATCH_MAX),
    )]
    pub(in crate::cli) batch: Option<NonZeroU32>,
    /// Write what the program writes, whatever it is, and nothing around it
    #[arg(long, help_heading = "Output", value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", default_value = "false",
        hide_default_value = true, hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub(in crate::cli) raw: bool,
    #[command(flatten)]
    pub(in crate::cli) output: OutputFlags,
    #[command(flatten)]
    pub(in crate::cli) shown: ShownFlags,
}

/// A program behind `fetch` or `parse`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Program")]
pub(in crate::cli) struct ThenFlags {
    /// Pass each record through this program, as `map` does; its answer is the record's "value"
    #[arg(long, value_name = "CMD", value_parser = values::command_line)]
    pub(in crate::cli) map: Option<String>,
    /// Longest time the program may take for one record
    #[arg(
        long,
        value_name = "TIME",
        default_value = "30s",
        allow_negative_numbers = true,
        value_parser = amounts::duration,
    )]
    pub(in crate::cli) map_timeout: Duration,
    /// Attempts after the first at a record that the program died on (0 to 100)
    #[arg(
        long,
        value_name = "N",
        default_value = "2",
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(0..=100),
    )]
    pub(in crate::cli) map_retries: u32,
}
