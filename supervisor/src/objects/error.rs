//! Why an object cannot be written.

use std::io;
use std::path::PathBuf;

/// Why an object cannot be written. No message holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The object exists, and the user did not ask to replace it.
    #[error("{url} exists; name another output, or replace it with --overwrite")]
    Exists {
        /// The object, or the prefix that holds an output.
        url: String,
    },
    /// Records of an unfinished run exist, and the user did not say what to do with them.
    #[error(
        "{url} is the output of an unfinished run, whose records are in {}: --resume does the rest, \
         --overwrite starts anew", directory.display()
    )]
    Unfinished {
        /// The object.
        url: String,
        /// Directory of its records.
        directory: PathBuf,
    },
    /// The object did not exist when the run began, and this run did not write it.
    #[error(
        "{url} was created since the run began, with contents other than those to upload: move it \
         away, or start anew with --overwrite"
    )]
    InTheWay {
        /// The object.
        url: String,
    },
    /// The object was not written by this program, so its records are unknown.
    #[error(
        "{url} exists, but its metadata has no record count: it was not written by this program; \
             --overwrite starts anew"
    )]
    Foreign {
        /// The object.
        url: String,
    },
    /// Another supervisor is writing to it.
    #[error("another supervisor is writing to {url}: it has locked {}", path.display())]
    Locked {
        /// The object.
        url: String,
        /// The locked file.
        path: PathBuf,
    },
    /// The records cannot be kept on this machine, or the kept ones cannot be read.
    #[error("cannot use {}, where the records are kept until they are uploaded: {cause}; set XDG_STATE_HOME to \
             a directory with enough space", path.display())]
    Working {
        /// The file or directory.
        path: PathBuf,
        /// Error of the system.
        cause: io::Error,
    },
    /// The store refused a request or did not answer.
    #[error("cannot {doing} {url}: {why}{}", advice.map_or(String::new(), |advice| format!("; {advice}")))]
    Store {
        /// What was attempted.
        doing: &'static str,
        /// The object.
        url: String,
        /// The reason.
        why: String,
        /// Advice for the user.
        advice: Option<&'static str>,
    },
    /// After the upload, the store has something else.
    #[error("{url} was uploaded, but {why}: another program writes there too, or the store lost data")]
    Altered {
        /// The object.
        url: String,
        /// What is wrong.
        why: String,
    },
}
