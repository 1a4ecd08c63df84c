//! Flags of every command: the worker pool, and files of further flags.

use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueEnum, ValueHint};

use crate::cli::amounts;
use crate::cli::values::{self, AutoOr};

/// Most worker processes. No machine has more CPUs.
const WORKERS_MAX: u32 = 1024;

/// Most targets in flight in one worker. Each holds a socket.
const CONCURRENCY_MAX: u32 = 16_384;

/// Flags of every command, accepted before or after it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Pool")]
pub(in crate::cli) struct PoolFlags {
    /// Number of worker processes; auto is one per available CPU
    #[arg(
        long,
        global = true,
        value_name = "auto|N",
        default_value = "auto",
        allow_negative_numbers = true,
        value_parser = values::auto_or(WORKERS_MAX),
    )]
    pub(in crate::cli) workers: AutoOr,
    /// Execution model
    #[arg(long, global = true, value_enum, value_name = "MODE", default_value = "auto")]
    pub(in crate::cli) mode: ModeFlag,
    /// Maximum targets in flight per worker; auto depends on the mode
    #[arg(
        long,
        global = true,
        value_name = "auto|N",
        default_value = "auto",
        allow_negative_numbers = true,
        value_parser = values::auto_or(CONCURRENCY_MAX),
    )]
    pub(in crate::cli) concurrency: AutoOr,
    /// Maximum memory of each worker [default: no limit]
    ///
    /// A worker that has grown by half of this size is replaced.
    #[arg(long, global = true, value_name = "SIZE", value_parser = amounts::worker_memory)]
    pub(in crate::cli) worker_memory: Option<u64>,
    /// Replace each worker after about N targets [default: never]
    #[arg(long, global = true, value_name = "N", allow_negative_numbers = true, value_parser = values::sample)]
    pub(in crate::cli) recycle: Option<NonZeroU64>,
    /// Sandbox the workers: remove rights that their job does not need
    #[arg(long, global = true, value_enum, value_name = "auto|require|off", default_value = "auto")]
    pub(in crate::cli) sandbox: SandboxFlag,
    /// Print only errors on standard error: no progress, summary table, notices or count of failed inputs
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
    /// Read defaults of flags from this TOML file [default: /etc/muster/muster.toml, if it exists]
    #[arg(
        long,
        global = true,
        help_heading = "Flags from files",
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
    )]
    pub(in crate::cli) config: Option<PathBuf>,
    /// Read the job from this TOML file: command, inputs and flags
    ///
    /// Flags on the command line override those in the file.
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
    /// As far as this kernel allows
    Auto,
    /// Fully, or refuse to run
    Require,
    /// Not at all
    Off,
}

/// `--mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ModeFlag {
    /// Grow the load while that helps, and say why it stopped
    Auto,
    /// One worker, one target at a time
    Sequential,
    /// One worker, many targets in flight
    Concurrent,
    /// One worker per CPU, one target at a time in each
    Parallel,
    /// One worker per CPU, many targets in flight in each
    Both,
}
