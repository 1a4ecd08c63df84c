//! What is taken out of each page.

use std::time::Duration;

use clap::Args;

use crate::cli::values;

#[derive(Debug, Args)]
#[command(next_help_heading = "Extraction")]
pub(in crate::cli) struct ExtractFlags {
    /// Extract a field: NAME=CSS::text or ::attr(A); NAME[]= takes every match; repeatable
    #[arg(long, value_name = "NAME=SEL", value_parser = values::select)]
    pub(in crate::cli) select: Vec<String>,
    /// CPU time that extracting one page may take
    #[arg(
        long,
        value_name = "TIME",
        default_value = "10s",
        allow_negative_numbers = true,
        value_parser = values::duration,
    )]
    pub(in crate::cli) parse_timeout: Duration,
    /// Largest page, after decompression; a larger one is a too_large error
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "16MiB",
        allow_negative_numbers = true,
        value_parser = values::body_bytes,
    )]
    pub(in crate::cli) body_bytes_max: u64,
}
