//! How the bodies of a job become files below one directory: `--save`.
//!
//! Everything here is pure. The supervisor parses the [`Template`] and prepares the directory; the workers make
//! [`FileName`]s from it and write the files. Invariant: a name is a relative path of plain components, whatever
//! the server or the list of URLs says, so no file is outside the directory.

mod name;
mod template;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use self::name::{FileName, NAME_BYTES_MAX};
pub use self::template::{Subject, Template, TemplateError};

/// Directory of unfinished files, inside the directory of the saved ones. No [`FileName`] begins with this name.
pub const WORK_DIRECTORY: &str = ".muster";

/// How [`SaveSpec::work`] begins if no later run can go on with its files, because nothing records what is done.
pub const UNRECORDED: &str = "run-";

/// Where and how bodies are kept as files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaveSpec {
    /// The directory, absolute and without symbolic links.
    #[serde(with = "crate::path")]
    pub directory: PathBuf,
    /// How a file is named.
    pub name: Template,
    /// Largest body in bytes, after decompression.
    pub bytes_max: u64,
    /// Directory of this job below [`WORK_DIRECTORY`], for files that are not complete.
    pub work: String,
    /// Identifies the boot of the machine. After another boot, nobody knows what of an unfinished file is on disk.
    pub boot: String,
    /// Largest body that is also held in memory, to extract fields or for rules about blocked pages; 0 if neither is
    /// asked for.
    pub held_max: u64,
}
