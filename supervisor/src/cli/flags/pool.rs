//! How the work is spread over processes, and where more flags come from.

use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueEnum, ValueHint};

use crate::cli::amounts;
use crate::cli::values::{self, AutoOr};

/// Most worker processes; more than any machine has CPUs.
const WORKERS_MAX: u32 = 1024;

/// Most targets in flight in one worker; each holds a socket.
const CONCURRENCY_MAX: u32 = 16_384;

/// How the work is spread, and where more flags come from. Stand before or after the command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Pool")]
pub(in crate::cli) struct PoolFlags {
    /// Worker processes; auto is one per CPU this process may use
    #[arg(
        long,
        global = true,
        value_name = "auto|N",
        default_value = "auto",
        allow_negative_numbers = true,
        value_parser = values::auto_or(WORKERS_MAX),
    )]
    pub(in crate::cli) workers: AutoOr,
    /// Execution model; auto measures a few inputs, picks, and says why
    #[arg(long, global = true, value_enum, value_name = "MODE", default_value = "auto")]
    pub(in crate::cli) mode: ModeFlag,
    /// Targets in flight in each worker; auto is the mode's own default
    #[arg(
        long,
        global = true,
        value_name = "auto|N",
        default_value = "auto",
        allow_negative_numbers = true,
        value_parser = values::auto_or(CONCURRENCY_MAX),
    )]
    pub(in crate::cli) concurrency: AutoOr,
    /// Most memory one worker may allocate; one that grows by half of it is replaced [default: no limit]
    #[arg(long, global = true, value_name = "SIZE", value_parser = amounts::worker_memory)]
    pub(in crate::cli) worker_memory: Option<u64>,
    /// Replace each worker after about N targets [default: never]
    #[arg(long, global = true, value_name = "N", allow_negative_numbers = true, value_parser = values::sample)]
    pub(in crate::cli) recycle: Option<NonZeroU64>,
    /// Take from the workers what their job does not need: as far as this kernel can, all of it or fail, or not
    #[arg(long, global = true, value_enum, value_name = "auto|require|off", default_value = "auto")]
    pub(in crate::cli) sandbox: SandboxFlag,
    /// Say nothing on stderr but errors: no bar, no table, no notices, no count of failed inputs
    #[arg(
        short,
        long,
        global = true,
        help_heading = "Output",
        value_name = "BOOL",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        default_value = "false",
        hide_default_value = true,
        hide_possible_values = true,
        value_parser = BoolishValueParser::new(),
    )]
    pub(in crate::cli) quiet: bool,
    /// Take defaults from this TOML file [default: /etc/muster/muster.toml, if it exists]
    #[arg(
        long,
        global = true,
        help_heading = "Flags from files",
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
    )]
    pub(in crate::cli) config: Option<PathBuf>,
    /// Take the whole job from this TOML file: command, inputs, flags; flags given here override it
    #[arg(
        long,
        global = true,
        help_heading = "Flags from files",
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
    )]
    pub(in crate::cli) job: Option<PathBuf>,
}

/// `--sandbox`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum SandboxFlag {
    /// As much as this kernel has
    Auto,
    /// All of it, or the run is refused
    Require,
    /// None
    Off,
}

/// `--mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ModeFlag {
    /// Measure a few inputs and pick
    Auto,
    /// One worker, one target at a time
    Sequential,
    /// One worker, many targets waiting at once
    Concurrent,
    /// A worker per CPU, one target each
    Parallel,
    /// A worker per CPU, many targets waiting in each
    Both,
}
