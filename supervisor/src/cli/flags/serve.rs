//! `serve`: where jobs are kept, how they come in, what they may do.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueHint};

use crate::cli::{amounts, values};
use crate::logs::{LogFormat, LogLevel};

/// `serve`.
#[derive(Debug, Args)]
pub(in crate::cli) struct ServeFlags {
    /// Keep jobs and their records here [default: $STATE_DIRECTORY, else ~/.local/state/muster]
    #[arg(long, help_heading = "State", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(in crate::cli) state_dir: Option<PathBuf>,
    /// Keep an ended job for so long
    #[arg(long, help_heading = "State", value_name = "TIME", default_value = "7d", value_parser = amounts::age)]
    pub(in crate::cli) keep_for: Duration,
    /// Keep so much of ended jobs; the oldest go first
    #[arg(long, help_heading = "State", value_name = "SIZE", default_value = "10GiB", value_parser = amounts::size)]
    pub(in crate::cli) keep_bytes: u64,
    /// Run so many jobs at once; never more than there are workers
    #[arg(
        long,
        help_heading = "Jobs",
        value_name = "auto|N",
        default_value = "auto",
        allow_negative_numbers = true,
        value_parser = values::auto_or(1024),
    )]
    pub(in crate::cli) jobs_max: values::AutoOr,
    /// Let so many jobs wait
    #[arg(long, help_heading = "Jobs", value_name = "N", default_value = "10000", allow_negative_numbers = true,
        value_parser = values::batch(10_000_000))]
    pub(in crate::cli) queue_max: NonZeroU32,
    /// Let jobs name files in this directory of this machine; repeatable [default: only files that come along]
    #[arg(long, help_heading = "Jobs", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(in crate::cli) allow_path: Vec<PathBuf>,
    /// Let jobs run programs of this machine: map, and --map
    #[arg(long, help_heading = "Jobs", value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", default_value = "false",
        hide_default_value = true, hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub(in crate::cli) allow_programs: bool,
    /// Let jobs reach addresses that are not public
    #[arg(long, help_heading = "Jobs", value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", default_value = "false",
        hide_default_value = true, hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub(in crate::cli) allow_private_addresses: bool,
    /// Listen on this Unix socket; none is none [default: api.sock in $RUNTIME_DIRECTORY, else in the user's]
    #[arg(long, help_heading = "API", value_name = "PATH|none", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) socket: Option<PathBuf>,
    /// Listen on this TCP address, too; repeatable
    #[arg(long, help_heading = "API", value_name = "IP:PORT")]
    pub(in crate::cli) listen: Vec<SocketAddr>,
    /// Want the token that is in this file; needed for any address but loopback
    #[arg(long, help_heading = "API", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) token_file: Option<PathBuf>,
    /// Speak TLS with this certificate chain; needed for any address but loopback
    #[arg(long, help_heading = "API", value_name = "FILE.pem", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) tls_cert: Option<PathBuf>,
    /// The certificate's private key
    #[arg(long, help_heading = "API", value_name = "FILE.pem", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) tls_key: Option<PathBuf>,
    /// Largest request
    #[arg(long, help_heading = "API", value_name = "SIZE", default_value = "1GiB", value_parser = amounts::size)]
    pub(in crate::cli) body_max: u64,
    /// Most connections at once
    #[arg(long, help_heading = "API", value_name = "N", default_value = "512", allow_negative_numbers = true,
        value_parser = values::batch(1_000_000))]
    pub(in crate::cli) connections_max: NonZeroU32,
    /// Write the log like this; auto is the journal where standard error goes there, else text
    #[arg(long, help_heading = "Log", value_name = "FORMAT", default_value = "auto")]
    pub(in crate::cli) log_format: LogFormat,
    /// Log nothing below this
    #[arg(long, help_heading = "Log", value_name = "LEVEL", default_value = "info")]
    pub(in crate::cli) log_level: LogLevel,
}
