//! Flags for pages that have not changed.

use std::path::PathBuf;

use clap::{Args, ValueHint};

#[derive(Debug, Args)]
#[command(next_help_heading = "Changes")]
pub(in crate::cli) struct SinceFlags {
    /// Ask servers only for what has changed since the run that wrote OUTPUT
    ///
    /// A page that has not changed is a record with status 304 and the earlier fields. Each run with --since keeps what
    /// the next one needs beside its own output, in OUTPUT.validators. If OUTPUT.validators does not exist, every page
    /// is fetched whole, so the first run can be called like all others.
    #[arg(long, value_name = "OUTPUT", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) since: Option<PathBuf>,
}
