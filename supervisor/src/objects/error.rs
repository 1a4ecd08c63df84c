//! Why an object cannot be written.

use std::io;
use std::path::PathBuf;

/// Why an object cannot be written. No message holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The object is there, and nobody said that it may be replaced.
    #[error("{url} exists; name another output, or replace it with --overwrite")]
    Exists {
        /// The object, or the prefix that holds an output.
        url: String,
    },
    /// The records of an unfinished run are there, and nobody said what to do with them.
    #[error(
        "{url} is the output of a run that was not finished, whose records are in {}: --resume does the rest, \
         --overwrite starts anew", directory.display()
    )]
    Unfinished {
        /// The object.
        url: String,
        /// Where its records are kept.
        directory: PathBuf,
    },
    /// It was not there when the run began, and is none of its.
    #[error(
        "{url} has come to be there since the run began, and is something else than was to be uploaded: move it \
         away, or start anew with --overwrite"
    )]
    InTheWay {
        /// The object.
        url: String,
    },
    /// It is no output of ours, so that nothing can be said about its records.
    #[error(
        "{url} exists, and does not say how many records are in it: it was not written by this program; \
             --overwrite starts anew"
    )]
    Foreign {
        /// The object.
        url: String,
    },
    /// Another supervisor is at it.
    #[error("another supervisor is writing to {url} now: it has locked {}", path.display())]
    Locked {
        /// The object.
        url: String,
        /// What is locked.
        path: PathBuf,
    },
    /// The records cannot be kept on this machine, or what is kept cannot be read.
    #[error("cannot use {}, where the records are kept until they are uploaded: {cause}; set XDG_STATE_HOME to \
             a directory with room", path.display())]
    Working {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The store said no, or nothing.
    #[error("cannot {doing} {url}: {why}{}", advice.map_or(String::new(), |advice| format!("; {advice}")))]
    Store {
        /// What was to be done.
        doing: &'static str,
        /// To which object.
        url: String,
        /// What came of it.
        why: String,
        /// What may help.
        advice: Option<&'static str>,
    },
    /// What is in the store afterwards is something else.
    #[error("{url} was uploaded, and {why}: somebody else writes there as well, or the store lost something")]
    Altered {
        /// The object.
        url: String,
        /// What is wrong.
        why: String,
    },
}
