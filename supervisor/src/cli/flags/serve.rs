//! Flags of `serve`.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueHint};
use ipnet::IpNet;

use crate::cli::{amounts, values};
use crate::logs::{LogFormat, LogLevel};

/// `serve`.
#[derive(Debug, Args)]
pub(in crate::cli) struct ServeFlags {
    /// Directory for jobs and their records [default: $STATE_DIRECTORY, else ~/.local/state/muster]
    #[arg(long, help_heading = "State", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(in crate::cli) state_dir: Option<PathBuf>,
    /// Delete jobs this long after they end
    #[arg(long, help_heading = "State", value_name = "TIME", default_value = "7d", value_parser = amounts::age)]
    pub(in crate::cli) keep_for: Duration,
    /// Maximum disk space for jobs that have ended; the oldest are deleted first
    #[arg(long, help_heading = "State", value_name = "SIZE", default_value = "10GiB", value_parser = amounts::size)]
    pub(in crate::cli) keep_bytes: u64,
    /// Maximum concurrent jobs; auto is one per worker, the highest possible number
    #[arg(
        long,
        help_heading = "Jobs",
        value_name = "auto|N",
        default_value = "auto",
        allow_negative_numbers = true,
        value_parser = values::auto_or(1024),
    )]
    pub(in crate::cli) jobs_max: values::AutoOr,
    /// Maximum queued jobs
    #[arg(long, help_heading = "Jobs", value_name = "N", default_value = "10000", allow_negative_numbers = true,
        value_parser = values::batch(10_000_000))]
    pub(in crate::cli) queue_max: NonZeroU32,
    /// Allow jobs to read files below this directory (repeatable) [default: uploaded files only]
    #[arg(long, help_heading = "Jobs", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(in crate::cli) allow_path: Vec<PathBuf>,
    /// Allow jobs to run programs on this machine (map, and --map)
    #[arg(long, help_heading = "Jobs", value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", default_value = "false",
        hide_default_value = true, hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub(in crate::cli) allow_programs: bool,
    /// Allow jobs to connect to addresses that are not public
    #[arg(long, help_heading = "Jobs", value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", default_value = "false",
        hide_default_value = true, hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub(in crate::cli) allow_private_addresses: bool,
    /// Listen on this Unix socket; none disables it [default: api.sock in $RUNTIME_DIRECTORY, else in the
    /// user's]
    #[arg(long, help_heading = "API", value_name = "PATH|none", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) socket: Option<PathBuf>,
    /// Listen on this TCP address as well (repeatable)
    #[arg(long, help_heading = "API", value_name = "IP:PORT")]
    pub(in crate::cli) listen: Vec<SocketAddr>,
    /// Require the token in this file; mandatory for addresses other than loopback
    #[arg(long, help_heading = "API", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) token_file: Option<PathBuf>,
    /// Use TLS with this certificate chain; mandatory for addresses other than loopback
    #[arg(long, help_heading = "API", value_name = "FILE.pem", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) tls_cert: Option<PathBuf>,
    /// Private key of the certificate
    #[arg(long, help_heading = "API", value_name = "FILE.pem", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) tls_key: Option<PathBuf>,
    /// Trust this reverse proxy when it names a client, in Forwarded or X-Forwarded-For (repeatable)
    #[arg(long, help_heading = "API", value_name = "ADDRESS[/BITS]", value_parser = values::network)]
    pub(in crate::cli) trusted_proxy: Vec<IpNet>,
    /// Maximum size of a request
    #[arg(long, help_heading = "API", value_name = "SIZE", default_value = "1GiB", value_parser = amounts::size)]
    pub(in crate::cli) body_max: u64,
    /// Maximum concurrent connections
    #[arg(long, help_heading = "API", value_name = "N", default_value = "512", allow_negative_numbers = true,
        value_parser = values::batch(1_000_000))]
    pub(in crate::cli) connections_max: NonZeroU32,
    /// Format of the log; auto is the systemd journal if standard error goes there, else text
    #[arg(long, help_heading = "Log", value_name = "FORMAT", default_value = "auto")]
    pub(in crate::cli) log_format: LogFormat,
    /// Lowest level to log
    #[arg(long, help_heading = "Log", value_name = "LEVEL", default_value = "info")]
    pub(in crate::cli) log_level: LogLevel,
}
