//! Flags for bodies that are kept as files.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use shared::save::Template;

use crate::cli::amounts;

#[derive(Debug, Args)]
#[command(next_help_heading = "Files")]
pub(in crate::cli) struct SaveFlags {
    /// Save each body as a file in this directory
    ///
    /// The record gets file, sha256 and content_type. A file has its name only when it is complete. A body that breaks
    /// off is continued if the server allows it, also by --resume. No file is replaced by other content: if a name is
    /// taken, the file is called NAME~HASH. Fields are extracted from bodies up to --body-bytes-max; those of larger ones
    /// are null.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(in crate::cli) save: Option<PathBuf>,
    /// How saved files are named, with {id}, {host}, {path}, {sha256}, {shard} and {ext}
    ///
    /// {host} and {path} are those of the input, {path} with its query and its directories. {shard} is two directories
    /// by the first digits of the hash. {ext} is the extension of the content's type, with its dot.
    #[arg(long, value_name = "TEMPLATE", requires = "save", default_value_t)]
    pub(in crate::cli) save_name: Template,
    /// Maximum size of a saved body after decompression; larger ones fail with too_large
    #[arg(
        long,
        value_name = "SIZE",
        requires = "save",
        default_value = "1TiB",
        allow_negative_numbers = true,
        value_parser = amounts::size,
    )]
    pub(in crate::cli) save_bytes_max: u64,
}
